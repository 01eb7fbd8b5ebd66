"""A TCP proxy that stops forwarding to order, both ways, and keeps the connections open: a half-open link.

It is exact to the byte, so a cut can fall into the middle of a PUBLISH or of a PUBACK. When a side closes what was
cut, the instant is kept: that is when the fault was found, whatever the program says of itself.
"""
import select
import socket
import threading
import time

from .ports import free_port
from .wait import wait_until

CHUNK = 65536
UP, DOWN = "up", "down"


class CutProxy:
    def __init__(self, upstream_port):
        self.port = free_port()
        self._upstream = ("127.0.0.1", upstream_port)
        self._lock = threading.Lock()
        self._ended = False
        self._left = {}            # direction -> bytes that still pass before the cut
        self.passed = {UP: 0, DOWN: 0}
        self.last_passed = time.monotonic()
        self.connections = 0       # that reached the broker
        self.cut_at = None         # monotonic; of the last cut
        self.found_at = None       # the gateway closed what was cut then
        self._number = 0           # of cuts
        self._threads = []
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._listener.settimeout(0.2)
        self._start(self._accept)

    def _start(self, work, *arguments):
        thread = threading.Thread(target=work, args=arguments, name="cut-proxy", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        while not self._ended:
            try:
                client, _ = self._listener.accept()
            except (TimeoutError, socket.timeout):
                continue
            except OSError:
                return
            self._start(self._serve, client)

    def _allowance(self, direction, count):
        """How many of these bytes may pass; the cut happens after them."""
        with self._lock:
            left = self._left.get(direction)
            if left is None or count < left:
                if left is not None:
                    self._left[direction] = left - count
                self.passed[direction] += count
                self.last_passed = time.monotonic()
                return count
            self.passed[direction] += left
            self._cut()
            return left

    def _cut(self):
        self._left = {}
        self._number += 1
        self.found_at = None
        self.cut_at = time.monotonic()

    def _serve(self, client):
        try:
            upstream = socket.create_connection(self._upstream, timeout=5)
        except OSError:
            client.close()
            return
        for one in (client, upstream):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one.settimeout(20)
        self.connections += 1
        born = self._number
        with client, upstream:
            try:
                while not self._ended and self._number == born:
                    ready, _, _ = select.select([client, upstream], [], [], 0.05)
                    for source in ready:
                        if self._number != born:
                            break
                        data = source.recv(CHUNK)
                        if not data:
                            return
                        direction = UP if source is client else DOWN
                        (upstream if source is client else client).sendall(data[:self._allowance(direction, len(data))])
            except OSError:
                return
            self._watch(client, born + 1)

    def _watch(self, client, number):
        """The connection is dead: nothing is read and nothing said until the gateway closes its end."""
        watch = select.poll()
        watch.register(client, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
        while not self._ended and not watch.poll(20):
            pass
        with self._lock:
            if self._number == number and self.found_at is None:
                self.found_at = time.monotonic()

    # --- orders ---

    def cut_after(self, direction, count):
        """Cuts when so many more bytes have passed that way, on whatever connection."""
        with self._lock:
            self.cut_at = None
            self._left = {direction: max(1, count)}

    def cut_now(self):
        with self._lock:
            self._cut()

    def quiet_s(self):
        return time.monotonic() - self.last_passed

    def wait_cut(self, deadline_s):
        wait_until(lambda: self.cut_at is not None, deadline_s, lambda: f"the cut comes, {self._left} are left")

    def wait_found(self, deadline_s):
        """Seconds from the cut until the gateway closed the connection."""
        wait_until(lambda: self.found_at is not None, deadline_s, "the gateway finds the half-open connection",
                   interval_s=0.02)
        return self.found_at - self.cut_at

    def close(self):
        self._ended = True
        self._listener.close()
        for thread in self._threads:
            thread.join(10)
