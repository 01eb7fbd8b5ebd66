"""A gateway that is only its control socket, written from the contract: what the page's process talks to.

It keeps sessions and roles of its own and writes down every request, so that a test can say what reached the gateway.
"""
import base64
import json
import socket
import struct
import threading
import time
from datetime import datetime, timedelta, timezone

CLAIM_CODE = "AB12-CD34-EF56-GH78-JK90-MN12-PQ34"
PASSWORD = "correct horse battery"
ROLES = ["none", "viewer", "technician", "specialist", "leader"]
LEAST = {"status": 1, "bus": 1, "metrics": 0, "live": 1, "alerts": 1, "completeness": 1, "read": 2, "config-get": 2, "reload": 3, "user-list": 4, "audit": 4,
         "backup": 4, "backup-read": 4, "texts": 0, "claim-state": 0, "claim": 0, "login": 0, "logout": 0, "session": 0, "page-settings": 0}


def stamp(at=None):
    at = at or datetime.now(timezone.utc)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z"


class Raw(str):
    """A number as it shall stand in the JSON: no double in between."""


def dump(value):
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(json.dumps(k) + ":" + dump(v) for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(dump(v) for v in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def channel(value, unit=None, quality="good", why=None):
    out = {"value": value}
    if unit is not None:
        out["unit"] = unit
    out["quality"] = quality
    if why:
        out["why"] = why
    return out


class FakeGateway:
    """Listens on DIR/control.sock until it is closed."""

    def __init__(self, state, claimed=True):
        self.state = state
        self.claimed = claimed
        self.accounts = {"anna": ("leader", PASSWORD), "bert": ("viewer", PASSWORD)} if claimed else {}
        self.sessions = {}
        self.requests = []  # (command, whole request)
        self.backup = bytes(range(256)) * 40
        self.open_alerts = []
        self.ledgers = []  # of the last gas day
        self.meters = []
        self.links = []
        self.office = None
        self.clock_known = True
        self.hold = threading.Event()  # cleared: `read` waits
        self.hold.set()
        self.tokens = 0
        self.started = time.time() - 3 * 86400 - 4000
        self.listener = None
        self.connections = []
        self.listen()

    # --- socket ---

    def listen(self):
        path = self.state / "control.sock"
        path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(64)
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def close(self):
        """As a gateway that ends: the socket goes, connections break."""
        if self.listener:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None
            (self.state / "control.sock").unlink(missing_ok=True)
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            connection.close()
        self.connections.clear()

    def exactly(self, connection, count):
        data = b""
        while len(data) < count:
            part = connection.recv(count - len(data))
            if not part:
                raise OSError("closed")
            data += part
        return data

    def serve(self, connection):
        lock = threading.Lock()
        try:
            while True:
                (length,) = struct.unpack(">I", self.exactly(connection, 4))
                request = json.loads(self.exactly(connection, length))
                # Each on its own, as the gateway does: a slow one holds nobody up.
                threading.Thread(target=self.answer, args=(connection, lock, request), daemon=True).start()
        except (OSError, ValueError):
            connection.close()

    def answer(self, connection, lock, request):
        self.requests.append((request.get("command"), request))
        try:
            body = '"ok":true,"result":' + dump(self.run(request))
        except Refusal as refusal:
            body = '"ok":false,"code":' + json.dumps(refusal.code) + ',"error":' + json.dumps(refusal.text)
        text = ('{"id":%d,' % request["id"] + body + "}").encode()
        try:
            with lock:
                connection.sendall(struct.pack(">I", len(text)) + text)
        except OSError:
            pass

    # --- commands ---

    def run(self, request):
        command = request["command"]
        arguments = request.get("arguments", {})
        who = self.sessions.get(request.get("token"))
        local = "door" not in request and "token" not in request
        role = 4 if local else ROLES.index(who[1]) if who else 0
        if command not in LEAST:
            raise Refusal("unknown", f"there is no command '{command}'")
        if role < LEAST[command]:
            raise Refusal("session" if role == 0 else "role", f"{command} needs more")
        method = getattr(self, "do_" + command.replace("-", "_"), None)
        return method(arguments, request, who) if method else {}

    def new_session(self, name):
        self.tokens += 1
        token = f"{self.tokens:032x}"
        self.sessions[token] = (name, self.accounts[name][0])
        return {"token": token, "name": name, "role": self.accounts[name][0]}

    def do_login(self, arguments, _request, _who):
        account = self.accounts.get(arguments.get("name"))
        if arguments.get("name") == "slow":
            raise Refusal("throttled", "too many tries: wait 42 s")
        if not account or account[1] != arguments.get("password"):
            raise Refusal("denied", "name or password is wrong")
        return self.new_session(arguments["name"])

    def do_claim(self, arguments, _request, _who):
        if self.claimed or arguments.get("code") != CLAIM_CODE:
            raise Refusal("denied", "the claim code is wrong")
        self.claimed = True
        self.accounts[arguments["name"]] = ("leader", arguments["password"])
        return self.new_session(arguments["name"])

    def do_logout(self, _arguments, request, _who):
        self.sessions.pop(request.get("token"), None)
        return {}

    def do_session(self, _arguments, _request, who):
        return {"name": who[0] if who else None, "role": who[1] if who else "none"}

    def do_claim_state(self, _arguments, _request, _who):
        return {"claimed": self.claimed}

    def do_backup(self, _arguments, _request, _who):
        return {"file": "site-042-1.backup", "folder": "backups", "gateway": "site-042", "at": stamp(),
                "bytes": len(self.backup), "sha256": "", "left_out": None}

    def do_backup_read(self, arguments, _request, _who):
        at = arguments["offset"]
        piece = self.backup[at:at + 3000]
        return {"data": base64.b64encode(piece).decode(), "next": at + 3000 if at + 3000 < len(self.backup) else None}

    def do_page_settings(self, _arguments, _request, _who):
        return {"listen": "127.0.0.1:1", "certificate": "", "key": ""}

    def do_read(self, arguments, _request, _who):
        self.hold.wait(20)
        return {"meter": arguments["meter"]}

    def do_live(self, _arguments, _request, _who):
        return {"at": stamp(), "meters": self.meters, "links": self.links}

    def do_alerts(self, _arguments, _request, _who):
        return {"open": self.open_alerts, "recent": []}

    def do_completeness(self, arguments, _request, _who):
        end = datetime.now(timezone.utc).replace(hour=22, minute=0, second=0, microsecond=0)
        start = end - timedelta(days=arguments["days_back"] + 1)
        meters = self.ledgers if arguments["days_back"] == 1 else []
        total = {key: sum(one[key] for one in meters) for key in ("expected", "good", "suspect", "missing")}
        share = 100 * (total["expected"] - total["missing"]) / total["expected"] if meters else 100
        return {"from": stamp(start), "to": stamp(start + timedelta(days=1)), **total, "complete": round(share, 2),
                "meters": meters, "outages": [], "gaps": [], "gap_count": 1 if meters else 0}

    def do_status(self, _arguments, _request, _who):
        return {"gateway": "site-042", "name": "North Works", "software": "1.0-test",
                "uptime_s": int(time.time() - self.started),
                "clock": {"known": self.clock_known, "now": stamp()},
                "config": {"file": "/etc/metergate/site.yaml", "revision": "9f86d081884c7d65", "error": None},
                "store": {"stream": "-", "error": None, "readings": 12345, "rounds": 99, "refused": 0, "waiting": 0,
                          "last_commit": stamp(), "bytes": 48123904, "wal_bytes": 1048576,
                          "disk_free_bytes": 23456789012},
                "office": self.office, "alerts": [], "links": self.links, "meters": self.meters}


class Refusal(Exception):
    """A reply that says no."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code, self.text = code, text


def fill_site(gateway):
    """A works with a few meters, one of them silent, one unverified."""
    now = stamp()
    old = stamp(datetime.now(timezone.utc) - timedelta(minutes=7))
    gas = lambda volume, flow, pressure, temperature, **how: {  # noqa: E731
        "volume_base": channel(volume, "m3", **how), "volume_measured": channel(Raw("412933.0415"), "m3", **how),
        "flow_base": channel(flow, "m3/h", **how), "flow_measured": channel(Raw("42.7"), "m3/h", **how),
        "temperature": channel(temperature, "degC", **how), "pressure": channel(pressure, "kPa", **how)}
    gateway.links = [
        {"link": "hall-1", "url": "rtu:///dev/ttyS0?baud=9600&parity=N&stop=1", "open": True, "error": "",
         "requests": 81234, "replies": 81230, "timeouts": 4, "crc_errors": 1, "frame_errors": 0, "exceptions": 0,
         "reconnects": 1, "polls": 40617, "late": 3, "refused": 0, "busy_us": 1},
        {"link": "tunnel", "url": "tcp://192.168.20.17:502", "open": False,
         "error": "192.168.20.17 port 502: connection refused: is the meter's network module on?", "requests": 120,
         "replies": 0, "timeouts": 120, "crc_errors": 0, "frame_errors": 0, "exceptions": 0, "reconnects": 60,
         "polls": 60, "late": 0, "refused": 0, "busy_us": 1}]
    half = gas(Raw("552012.25"), Raw("61"), Raw("300.1"), Raw("17.9"))
    half["pressure"] = channel(None, "kPa", "missing", "exception-2")
    silent = {name: channel(None, one["unit"], "missing", "link-down")
              for name, one in gas(Raw("0"), Raw("0"), Raw("0"), Raw("0")).items()}
    power = {"energy_import": channel(Raw("9007199254740.993001"), "kWh")}
    for phase in ("l1", "l2", "l3"):
        power[f"voltage_{phase}"] = channel(Raw("230.41"), "V")
        power[f"current_{phase}"] = channel(Raw("61.2"), "A")
        power[f"power_{phase}"] = channel(Raw("-13.908"), "kW")
    power["frequency"] = channel(Raw("50.01"), "Hz")
    power["status"] = channel([])
    power["meter_clock"] = channel(int(time.time()), "s")
    power["serial_number"] = channel("PAC-00412-77")
    def row(meter, name, link, unit, profile, at, answered, channels):
        return {"meter": meter, "name": name, "link": link, "unit": unit, "profile": profile, "at": at,
                "answered": answered, "channels": channels}
    gateway.meters = [
        row("boiler-1", "Boiler house 1", "hall-1", 1, "fuxin-totalizer", now, True,
            gas(Raw("1234581.2204"), Raw("128.4"), Raw("301.4"), Raw("18.25"))),
        row("boiler-2", "Boiler house 2", "hall-1", 2, "fuxin-totalizer", now, True,
            gas(Raw("987.5"), Raw("0"), Raw("299.87"), Raw("-3.5"), quality="suspect", why="unverified")),
        row("boiler-3", "Boiler house 3, the one behind the long hall", "hall-1", 3, "fuxin-totalizer", now, True, half),
        row("kiln", "Tunnel kiln", "tunnel", 1, "fd-tms", old, False, silent),
        row("power", "Main switchboard", "hall-1", 9, "siemens-pac2200", now, True, power)]
    gateway.office = {"url": "mqtts://mqtt.example.com:8883", "state": "online", "error": None, "since": old, "mqtt": 5,
                      "published": 4123, "acknowledged": 4120, "reconnects": 2,
                      "lanes": {"alert": {"last": 4, "acknowledged": 4, "confirmed": 0, "waiting": 0, "oldest": None},
                                "live": {"last": 2210, "acknowledged": 2207, "confirmed": 2100, "waiting": 3, "oldest": now},
                                "backfill": {"last": 90210, "acknowledged": 77001, "confirmed": 0, "waiting": 13209, "oldest": old}}}
    gateway.open_alerts = [{
        "schema": "alert/1", "at": old, "link": "tunnel", "id": "5f0c9e0e-0000-4000-8000-000000000001",
        "kind": "link-down", "severity": "critical", "state": "open", "since": old,
        "text": {"en": "No meter on link tunnel answers. Check its cable, power and converter.",
                 "zh": "链路 tunnel 上的仪表均无应答，请检查电缆、电源和转换器。"},
        "evidence": {"observed": None, "expected_low": None, "expected_high": None, "unit": None, "rule": "-",
                     "from": old, "to": now}}]
