"""`metergate web` on a state directory, and an HTTPS client that sends what it is told, right or wrong."""
import http.client
import json
import signal
import socket
import ssl

from .gateway import program
from .ports import free_port, listens
from .process import Child, sanitizer_faults
from .wait import wait_until

HEADERS = {"Content-Type": "application/json", "X-Metergate": "page"}


class PageClient:
    """Speaks with a page that listens on a port of loopback."""

    def __init__(self, port, state):
        self.port = port
        self.state = state

    def context(self, verify=False):
        context = ssl.create_default_context()
        if verify:
            context.load_verify_locations(self.state / "web" / "certificate.pem")
        else:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def open(self, timeout_s=20):
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s)
        return self.context().wrap_socket(raw, server_hostname="localhost")

    def raw(self, data, timeout_s=20):
        """Sends bytes; returns all that comes until the other side closes, or the answer is whole."""
        with self.open(timeout_s) as connection:
            connection.sendall(data)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            body = answer.read()
            return answer.status, dict((k.lower(), v) for k, v in answer.getheaders()), body

    def request(self, method, path, body=None, headers=None, verify=False):
        connection = http.client.HTTPSConnection("localhost" if verify else "127.0.0.1", self.port, timeout=40,
                                                 context=self.context(verify))
        try:
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, dict((k.lower(), v) for k, v in answer.getheaders()), answer.read()
        finally:
            connection.close()

    def call(self, command, arguments=None, cookie=None, **headers):
        """One command as the page sends it: status, headers, parsed body."""
        wanted = {**HEADERS, **{k.replace("_", "-"): v for k, v in headers.items()}}
        if cookie:
            wanted["Cookie"] = cookie
        wanted = {k: v for k, v in wanted.items() if v is not None}
        status, got, body = self.request("POST", f"/api/{command}", json.dumps(arguments or {}), wanted)
        assert got.get("content-type") == "application/json", (status, got, body)
        return status, got, json.loads(body)

    def log_in(self, name="anna", password="correct horse battery"):
        status, headers, body = self.call("login", {"name": name, "password": password})
        assert status == 200, body
        return headers["set-cookie"].split(";")[0]


class PageServer(PageClient):
    """The page's process alone."""

    def __init__(self, state, folder, *options):
        super().__init__(free_port(), state)
        self.child = Child([program(), "web", "--state", state, "--listen", f"127.0.0.1:{self.port}", *options], folder,
                           "web")
        wait_until(self.up, 20, lambda: f"the page listens; it says:\n{self.child.stderr()[-3000:]}")

    def up(self):
        assert self.child.runs(), f"the page ended:\n{self.child.stderr()[-3000:]}"
        return listens(self.port)

    def stop(self):
        status = self.child.stop(signal.SIGTERM)
        faults = sanitizer_faults(self.child.stderr())
        assert not faults, self.child.stderr()[-4000:]
        assert status == 0, f"the page ended with {status}:\n{self.child.stderr()[-3000:]}"
