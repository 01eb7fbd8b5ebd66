"""mosquitto as head office's broker, on free ports of loopback."""
import os
import signal

from .ports import free_port, listens
from .process import Child
from .wait import wait_until


class Broker:
    """A plain listener always; with `tls` (an Authority) one more that asks for a client certificate."""

    def __init__(self, folder, tls=None, names="DNS:localhost,IP:127.0.0.1"):
        self.folder = folder
        self.port = free_port()
        self.tls_port = free_port() if tls else None
        lines = ["per_listener_settings false", "allow_anonymous true", "persistence false",
                 "max_inflight_messages 0", "max_queued_messages 0", "set_tcp_nodelay true",
                 "log_type error", "log_type warning", "log_type notice", "log_dest stderr",
                 f"listener {self.port} 127.0.0.1"]
        if tls:
            certificate, key = tls.sign("broker", names)
            lines += [f"listener {self.tls_port} 127.0.0.1", f"cafile {tls.certificate}", f"certfile {certificate}",
                      f"keyfile {key}", "require_certificate true", "tls_version tlsv1.2"]
        if os.getuid() == 0:
            lines.append("user root")  # its files are ours
        self._file = folder / "mosquitto.conf"
        self._file.write_text("\n".join(lines) + "\n")
        self._child = None
        self.start()

    @property
    def url(self):
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self):
        self._child = Child(["/usr/sbin/mosquitto", "-c", self._file], self.folder, "mosquitto")
        try:
            wait_until(lambda: listens(self.port) and (not self.tls_port or listens(self.tls_port)), 10,
                       lambda: f"mosquitto listens; it says: {self._child.stderr()[-1000:]}")
        except BaseException:
            self.stop()
            raise

    def stop(self):
        if self._child:
            self._child.stop(signal.SIGTERM)
        self._child = None

    def log(self):
        return (self.folder / "mosquitto.err").read_text(errors="replace")

    def pid(self):
        return self._child.pid
