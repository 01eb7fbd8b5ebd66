"""A meter with Enron Modbus on a raw socket: one register number of 5001 to 7999 holds four bytes.

Shares nothing with the program or pymodbus, which has no such registers. Numbers below 5001 have two bytes. A number that
was not put into the meter is refused with exception 2, and so is a request over numbers of both sizes.
"""
import socket
import struct
import threading

from .frames import WALK


def crc16(data):
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return struct.pack("<H", crc)


class EnronMeter:
    def __init__(self, unit=1, rtu=False):
        self.unit = unit
        self.rtu = rtu
        self.data = {}  # number -> its bytes
        self.log = []  # (function, first, count) of each request
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"{'rtu-over-tcp' if rtu else 'tcp'}://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def put(self, number, data):
        assert len(data) == (4 if 5001 <= number < 8000 else 2)
        self.data[number] = data

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(5)

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                try:
                    while self._answer(connection):
                        pass
                except OSError:
                    pass

    def _answer(self, connection):
        """One request; False when the other side has gone."""
        head = b"" if self.rtu else self._take(connection, 6)
        frame = self._take(connection, 8 if self.rtu else struct.unpack(">H", head[4:])[0]) if self.rtu or head else b""
        if not frame:
            return False
        WALK.frame("an Enron meter", head + frame, self.rtu)
        if self.rtu:
            assert crc16(frame[:-2]) == frame[-2:]
        function, first, count = struct.unpack(">BHH", frame[1:6])
        if frame[0] != self.unit:
            return True
        self.log.append((function, first, count))
        body = bytes([self.unit]) + self._reply(function, first, count)
        connection.sendall(body + crc16(body) if self.rtu else head[:4] + struct.pack(">H", len(body)) + body)
        return True

    def _reply(self, function, first, count):
        if function != 3:
            return bytes([function | 0x80, 1])
        cells = [self.data.get(number) for number in range(first, first + count)]
        if None in cells or len({len(cell) for cell in cells}) != 1:
            return bytes([function | 0x80, 2])
        data = b"".join(cells)
        return bytes([function | 0x80, 3]) if len(data) > 250 else bytes([function, len(data)]) + data

    @staticmethod
    def _take(connection, size):
        data = b""
        while len(data) < size:
            more = connection.recv(size - len(data))
            if not more:
                return b""
            data += more
        return data
