"""Modbus meters served by python3-pymodbus: registers that the test sets, and a log of every request."""
import asyncio
import os
import select
import threading
import time
import tty
from collections import namedtuple

from pymodbus.datastore import ModbusServerContext
from pymodbus.interfaces import IModbusSlaveContext
from pymodbus.server.async_io import (
    ModbusConnectedRequestHandler,
    ModbusSerialServer,
    ModbusSingleRequestHandler,
    ModbusTcpServer,
)
from pymodbus.transaction import ModbusRtuFramer, ModbusSocketFramer

from .frames import WALK
from .ports import free_port

# One request that was answered: when (Unix seconds), what was asked, and the words that went back (None: an exception).
Request = namedtuple("Request", "at unit function first count words")


def poison(function, register):
    """What a register holds that no test has set: never plausible, and different everywhere."""
    return 0xE000 | ((function * 977 + register * 131) & 0x0FFF)


class Meter(IModbusSlaveContext):
    """One Modbus unit."""

    def __init__(self, unit):
        self.unit = unit
        self.words = {}           # (function, register) -> word
        self.wide = {}            # (function, number) -> the two words of an Enron number, which is one address
        self.refused = set()      # (function, register) that answer exception 2
        self.silent = False       # answers nothing
        self.delay_s = 0          # answers so much later
        self.drip_s = 0           # between two bytes of a reply,
        self.drip_bytes = None    # which ends after so many
        self.log = []             # Request, in order
        self.before_read = None   # called with (meter, function, first, count) before words are taken

    def put(self, function, first, words):
        changed = dict(self.words)
        changed.update({(function, first + i): word for i, word in enumerate(words)})
        self.words = changed  # at once: a request sees all of it or nothing

    def put_all(self, function, fields):
        """`fields`: {first register: words}. All at once."""
        changed = dict(self.words)
        for first, words in fields.items():
            changed.update({(function, first + i): word for i, word in enumerate(words)})
        self.words = changed

    def validate(self, fc_as_hex, address, count=1):
        allowed = not any((fc_as_hex, address + i) in self.refused for i in range(count))
        if not allowed:
            self.log.append(Request(time.time(), self.unit, fc_as_hex, address, count, None))
        return allowed

    def getValues(self, fc_as_hex, address, count=1):
        if self.before_read:
            self.before_read(self, fc_as_hex, address, count)
        now = self.words
        words = [now.get((fc_as_hex, address + i), poison(fc_as_hex, address + i)) for i in range(count)]
        if any((fc_as_hex, address + i) in self.wide for i in range(count)):
            numbers = [self.wide.get((fc_as_hex, address + i), [words[i]] * 2) for i in range(count)]
            words = [word for number in numbers for word in number]
        self.log.append(Request(time.time(), self.unit, fc_as_hex, address, count, tuple(words)))
        return words

    def setValues(self, fc_as_hex, address, values):
        raise AssertionError(f"something wrote to a meter: function {fc_as_hex} register {address}")


class _Manners:
    """What pymodbus's handlers do with a reply that is ready: nothing, or later, if its meter is so."""

    def send(self, message, *addr, **kwargs):
        meter = self.server.context[message.unit_id]
        if meter.silent:
            return
        if meter.drip_s:
            loop = asyncio.get_running_loop()
            for i, byte in enumerate(self.framer.buildPacket(message)[:meter.drip_bytes]):
                loop.call_later(i * meter.drip_s, self._send_byte, bytes([byte]))
            return
        if meter.delay_s:
            asyncio.get_running_loop().call_later(meter.delay_s, self._send_late, message, addr, kwargs)
            return
        super().send(message, *addr, **kwargs)

    def _send_byte(self, byte):
        if not self.transport.is_closing():
            self._send_(byte)

    def _send_late(self, message, addr, kwargs):
        if not self.transport.is_closing():
            super().send(message, *addr, **kwargs)


class _TcpHandler(_Manners, ModbusConnectedRequestHandler):
    def connection_made(self, transport):
        super().connection_made(transport)
        self.walked = WALK.stream("a TCP connection", rtu=isinstance(self.framer, ModbusRtuFramer))

    def data_received(self, data):
        self.walked.feed(data)
        super().data_received(data)


class _SerialHandler(_Manners, ModbusSingleRequestHandler):
    pass


class Bus:
    """One link's far end: units on a TCP port or on a pseudo-terminal. Made by Meters."""

    def __init__(self, url, meters, server):
        self.url = url
        self.meters = meters
        self.server = server

    def __getitem__(self, unit):
        return self.meters[unit]

    def connections(self):
        """Addresses of the clients that are connected now (TCP)."""
        return set(self.server.active_connections)

    @property
    def log(self):
        return sorted((entry for meter in self.meters.values() for entry in meter.log), key=lambda entry: entry.at)


class Meters:
    """A thread with an event loop that serves any number of buses."""

    def __init__(self):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="meters", daemon=True)
        self._thread.start()
        self._servers = []
        self._ptys = []

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    @staticmethod
    def _context(units):
        meters = {unit: Meter(unit) for unit in units}
        return meters, ModbusServerContext(slaves=meters, single=False)

    def tcp(self, units, port=None, rtu=False):
        """A Modbus TCP server, or with `rtu` a serial server that carries RTU frames over TCP."""
        port = port or free_port()
        meters, context = self._context(units)

        async def start():
            server = ModbusTcpServer(context, framer=ModbusRtuFramer if rtu else ModbusSocketFramer,
                                     address=("127.0.0.1", port), allow_reuse_address=True, backlog=100,
                                     handler=_TcpHandler, ignore_missing_slaves=True)
            task = asyncio.ensure_future(server.serve_forever())
            await server.serving
            return server, task

        server, task = self._run(start())
        self._servers.append((server, task))
        scheme = "rtu-over-tcp" if rtu else "tcp"
        return Bus(f"{scheme}://127.0.0.1:{port}", meters, server)

    def serial(self, units, baud=9600, line=None):
        """A serial bus: two pseudo-terminals back to back, pymodbus on one end, the gateway's device at the other.

        `line` is what the line between them does to the bytes (PtyPair)."""
        pair = PtyPair(line)
        self._ptys.append(pair)
        meters, context = self._context(units)

        async def start():
            server = ModbusSerialServer(context, framer=ModbusRtuFramer, port=pair.far, baudrate=baud,
                                        handler=_SerialHandler, ignore_missing_slaves=True)
            await server.start()
            return server

        server = self._run(start())
        self._servers.append((server, None))
        return Bus(f"rtu://{pair.near}?baud={baud}&parity=N&stop=1", meters, server)

    def drop(self, bus):
        """The far end vanishes: its port is closed, its connections are cut."""
        for server, task in self._servers:
            if server is bus.server:
                self._run(self._stop_one(server, task))
        self._servers = [entry for entry in self._servers if entry[0] is not bus.server]

    def unplug(self, bus):
        """The adapter of a serial bus is pulled out: its device is gone."""
        self.drop(bus)
        pair = next(one for one in self._ptys if f"//{one.near}?" in bus.url)
        self._ptys.remove(pair)
        pair.close()

    @staticmethod
    async def _stop_one(server, task):
        if task is None:
            await server.shutdown()
            return
        for handler in list(server.active_connections.values()):
            handler.transport.abort()
        server.server.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def close(self):
        for server, task in self._servers:
            self._run(self._stop_one(server, task))

        async def settle():
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        self._run(settle())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        for pair in self._ptys:
            pair.close()


class PtyPair:
    """Two pseudo-terminals whose masters are joined by a thread: `near` and `far` are device paths.

    `line(to_far, data)`, where given, is asked what becomes of bytes on their way: [(to_far, data), ...]."""

    def __init__(self, line=None):
        self._line = line or (lambda to_far, data: [(to_far, data)])
        self._walked = WALK.stream("a serial line", rtu=True)
        self._masters, self._slaves = [], []
        for _ in range(2):
            master, slave = os.openpty()
            tty.setraw(slave)
            self._masters.append(master)
            self._slaves.append(slave)
        self.near, self.far = (os.ttyname(slave) for slave in self._slaves)
        self._stop_read, self._stop_write = os.pipe()
        self._thread = threading.Thread(target=self._carry, name="pty", daemon=True)
        self._thread.start()

    def _carry(self):
        while True:
            ready, _, _ = select.select([*self._masters, self._stop_read], [], [])
            if self._stop_read in ready:
                return
            for end in ready:
                came = os.read(end, 4096)
                if end == self._masters[0]:
                    self._walked.feed(came)
                for to_far, data in self._line(end == self._masters[0], came):
                    os.write(self._masters[1 if to_far else 0], data)

    def close(self):
        os.write(self._stop_write, b"x")
        self._thread.join(5)
        for fd in (*self._masters, *self._slaves, self._stop_read, self._stop_write):
            os.close(fd)
