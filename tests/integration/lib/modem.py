"""A meter's modem: dials in to the gateway, says its hello, and carries the bytes of a pymodbus meter."""
import re
import select
import socket
import threading

from .wait import wait_until


class Modem:
    """Dials `port` on loopback; what comes goes to the bus behind it, and back."""

    def __init__(self, port, bus, hello=b"", heartbeat=b""):
        self.port, self.hello, self.heartbeat = port, hello, heartbeat
        self.meter_port = int(re.search(r":(\d+)$", bus.url)[1])
        self.sockets = []

    def _dial(self):
        try:
            self.sockets = [socket.create_connection(("127.0.0.1", self.port), 1)]
        except OSError:
            return False
        return True

    def dial(self, deadline_s=10):
        """Connects as soon as somebody listens."""
        wait_until(self._dial, deadline_s, f"somebody listens on {self.port}")
        self.sockets[0].sendall(self.hello)
        self.sockets.append(socket.create_connection(("127.0.0.1", self.meter_port), 5))
        threading.Thread(target=self._carry, args=tuple(self.sockets), daemon=True).start()

    def _carry(self, gateway, meter):
        other = {gateway: meter, meter: gateway}
        try:
            while True:
                for one in select.select([gateway, meter], [], [])[0]:
                    data = one.recv(4096)
                    if not data:
                        raise OSError("hung up")
                    # Heartbeats come when they like: here before each reply and after it.
                    beat = self.heartbeat if one is meter else b""
                    other[one].sendall(beat + data + beat)
        except (OSError, ValueError):
            for one in (gateway, meter):
                one.close()

    def hang_up(self):
        for one in self.sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the other side was first
