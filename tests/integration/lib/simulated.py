"""`metergate simulate` with its stdin, stdout and log at hand, and foreign clients of its links."""
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import time
from decimal import Decimal
from pathlib import Path

from pymodbus.client import ModbusSerialClient, ModbusTcpClient
from pymodbus.transaction import ModbusRtuFramer

from .gateway import PROFILES, program
from .process import sanitizer_faults


class Simulated:
    """A running simulator with its stdin and stdout at hand."""

    def __init__(self, folder, site, *options, profiles=PROFILES):
        self.folder = folder
        path = folder / "sim.yaml"
        if isinstance(site, Path):
            path = site
        else:
            path.write_text(site)
        self.log_path = folder / "frames.log"
        self.errors = open(folder / "simulate.err", "w+b")
        self.process = subprocess.Popen(
            [program(), "simulate", "--site", path, "--log", self.log_path, "--profiles", profiles, *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, cwd=folder)
        self._rest = b""
        self.links = {}
        while True:
            line = self.line()
            if line.get("ready"):
                self.ready = line
                break
            self.links[line["link"]] = line

    def line(self, deadline_s=20):
        """The next line of stdout."""
        end = time.monotonic() + deadline_s
        while b"\n" not in self._rest:
            left = end - time.monotonic()
            assert left > 0 and select.select([self.process.stdout], [], [], left)[0], f"no line; {self.said()}"
            data = os.read(self.process.stdout.fileno(), 65536)
            assert data, f"the simulator ended: {self.said()}"
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        return json.loads(line, parse_float=Decimal)

    def order(self, text):
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()
        return self.line()

    def must(self, text):
        answer = self.order(text)
        assert answer["ok"], answer
        return answer

    def said(self):
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")

    def port(self, link):
        return int(self.links[link]["url"].rsplit(":", 1)[1])

    def device(self, link):
        return re.fullmatch(r"rtu://(/[^?]+)\?.*", self.links[link]["url"])[1]

    def frames(self):
        return [json.loads(line, parse_float=Decimal) for line in self.log_path.read_text().splitlines()]

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            status = self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        self.process.stdin.close()
        self.process.stdout.close()
        said = self.said()
        self.errors.close()
        assert not sanitizer_faults(said), said
        return status


def client_of(simulated, link, timeout=2):
    if link == "tcp":
        client = ModbusTcpClient("127.0.0.1", port=simulated.port(link), timeout=timeout)
    elif link == "server":
        client = ModbusTcpClient("127.0.0.1", port=simulated.port(link), framer=ModbusRtuFramer, timeout=timeout)
    else:
        client = ModbusSerialClient(simulated.device(link), baudrate=115200, timeout=timeout, strict=False)
    assert client.connect()
    return client


def read(client, function, first, count, unit):
    method = {1: client.read_coils, 2: client.read_discrete_inputs, 3: client.read_holding_registers,
              4: client.read_input_registers}[function]
    return method(first, count, slave=unit)


def words_of(client, field, unit):
    reply = read(client, field.function, field.first, field.count, unit)
    assert not reply.isError(), reply
    return [int(bit) for bit in reply.bits[:1]] if field.function <= 2 else reply.registers


def crc16(data):
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return struct.pack("<H", crc)


class Raw:
    """A TCP port spoken by hand: bytes out, bytes in."""

    def __init__(self, port, rtu):
        self.rtu = rtu
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.transaction = 0x4000

    def close(self):
        self.socket.close()

    def request(self, unit, first=0, count=4):
        pdu = struct.pack(">BHH", 3, first, count)
        self.transaction += 1
        frame = struct.pack(">B", unit) + pdu
        frame = frame + crc16(frame) if self.rtu else struct.pack(">HHH", self.transaction, 0, 6) + frame
        self.socket.sendall(frame)
        return frame

    def bytes(self, silence_s=0.15, first_s=5):
        """All bytes until the line has been silent so long; b"" when none came within first_s."""
        data = b""
        while select.select([self.socket], [], [], silence_s if data else first_s)[0]:
            part = self.socket.recv(4096)
            if not part:
                return data + b"closed"
            data += part
        return data

    def ask(self, unit, **keys):
        self.request(unit, **keys)
        return self.bytes()
