"""Every frame that the program sent to a meter in this session, walked byte by byte: reads, well-formed, and nothing else.

Fed by the simulated meters' raw bytes (pymodbus's connections and terminals, raw sockets) and by the simulator's frame logs.
"""
import json
import struct
import threading
from collections import Counter

READS = {1: 2000, 2: 2000, 3: 125, 4: 125}  # function: most that one request may ask for (application protocol V1.1b3, 6)


def crc16(data):
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0xA001 if crc & 1 else 0)
    return crc


def fault_of(frame, rtu):
    """What is wrong with one request; None when nothing is."""
    if rtu:
        if struct.unpack("<H", frame[6:])[0] != crc16(frame[:6]):
            return "check sum"
        body = frame[:6]
    else:
        _, protocol, length = struct.unpack(">HHH", frame[:6])
        if (protocol, length) != (0, 6):
            return f"protocol {protocol}, length {length}"
        body = frame[6:]
    _, function, first, count = struct.unpack(">BBHH", body)
    if function not in READS:
        return f"function {function}"
    if not 1 <= count <= READS[function] or first + count > 0x10000:
        return f"{count} from {first} on"
    return None


class Stream:
    """The bytes of one connection or terminal towards the meters."""

    def __init__(self, walk, name, rtu):
        self.walk, self.name, self.rtu = walk, name, rtu
        self.rest = b""

    def feed(self, data):
        self.rest += data
        size = 8 if self.rtu else 12
        while len(self.rest) >= size:
            self.walk.frame(self.name, self.rest[:size], self.rtu)
            self.rest = self.rest[size:]


class Walk:
    def __init__(self):
        self.functions = Counter()
        self.faults = []
        self._logs = {}  # path -> (links that carry RTU frames, lines walked)
        self._lock = threading.Lock()

    def frame(self, name, frame, rtu):
        fault = f"{len(frame)} bytes" if len(frame) != (8 if rtu else 12) else fault_of(frame, rtu)
        with self._lock:
            if fault:
                self.faults.append(f"{name}: {frame.hex()}: {fault}")
            else:
                self.functions[frame[1 if rtu else 7]] += 1

    def stream(self, name, rtu):
        return Stream(self, name, rtu)

    def log(self, path, links):
        """A frame log of `metergate simulate`; `links`: {link id: URL}."""
        self._logs[path] = [{link for link, url in links.items() if not url.startswith("tcp:")}, 0]

    def logs(self):
        """Walks what the logs hold that was not walked yet."""
        for path, state in self._logs.items():
            if not path.exists():
                continue
            lines = path.read_text().split("\n")[:-1]
            for line in lines[state[1]:]:
                entry = json.loads(line)
                if entry["dir"] == "in":  # "none" says that nobody answers the "in" before it
                    self.frame(f"{path.name} {entry['link']}", bytes.fromhex(entry["hex"]), entry["link"] in state[0])
            state[1] = len(lines)


WALK = Walk()
