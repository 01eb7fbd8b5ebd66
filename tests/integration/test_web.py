"""The page's process against a control socket written here: TLS, headers, cookies, hostile requests."""
import json
import os
import re
import select
import socket
import ssl
import stat
import subprocess
import threading
import time

import pytest

from lib.fake_gateway import CLAIM_CODE, LEAST, PASSWORD, FakeGateway, fill_site
from lib.page_server import HEADERS, PageServer
from lib.process import Child
from lib.gateway import program
from lib.wait import wait_until

OPEN = {name for name, least in LEAST.items() if least == 0}


@pytest.fixture
def site(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    fake = FakeGateway(state)
    fill_site(fake)
    page = PageServer(state, tmp_path)
    fake.page = page
    yield fake
    page.stop()
    fake.close()


@pytest.fixture
def page(site):
    return site.page


# --- TLS ---

def handshake(page, **versions):
    context = page.context()
    context.minimum_version = versions.get("minimum", ssl.TLSVersion.TLSv1_2)
    context.maximum_version = versions.get("maximum", ssl.TLSVersion.TLSv1_3)
    context.set_ciphers(versions.get("ciphers", "DEFAULT") + ":@SECLEVEL=0")
    with socket.create_connection(("127.0.0.1", page.port), timeout=20) as raw, context.wrap_socket(raw) as connection:
        return connection.version(), connection.cipher()[0]


def test_tls_versions(page):
    assert handshake(page)[0] == "TLSv1.3"
    version, cipher = handshake(page, maximum=ssl.TLSVersion.TLSv1_2)
    assert version == "TLSv1.2" and cipher.startswith("ECDHE-") and ("GCM" in cipher or "CHACHA" in cipher)
    for old in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            handshake(page, minimum=old, maximum=old)
    for weak in ("AES128-SHA", "ECDHE-ECDSA-AES128-SHA", "AES128-GCM-SHA256"):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            handshake(page, maximum=ssl.TLSVersion.TLSv1_2, ciphers=weak)


def test_certificate_is_of_this_machine_and_its_key_is_private(page):
    folder = page.state / "web"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "key.pem").stat().st_mode) == 0o600
    # Trusted by hand, it holds for the names in it.
    status, _, body = page.request("GET", "/", verify=True)
    assert status == 200 and body.startswith(b"<!doctype html>")
    text = subprocess.run(["openssl", "x509", "-in", folder / "certificate.pem", "-noout", "-text", "-dates"],
                          capture_output=True, text=True, check=True).stdout
    assert "prime256v1" in text and "DNS:localhost" in text and f"DNS:{socket.gethostname()}" in text
    assert "IP Address:127.0.0.1" in text and "CA:FALSE" in text and "TLS Web Server Authentication" in text
    assert subprocess.run(["openssl", "x509", "-in", folder / "certificate.pem", "-noout", "-checkend",
                           str(825 * 86400)], capture_output=True, check=False).returncode == 1
    assert subprocess.run(["openssl", "x509", "-in", folder / "certificate.pem", "-noout", "-checkend",
                           str(700 * 86400)], capture_output=True, check=False).returncode == 0


def test_certificate_stays_over_a_restart_and_a_damaged_one_is_replaced(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    certificate, key = state / "web" / "certificate.pem", state / "web" / "key.pem"
    PageServer(state, tmp_path).stop()
    first, first_key = certificate.read_text(), key.read_text()
    PageServer(state, tmp_path).stop()
    assert certificate.read_text() == first and key.read_text() == first_key
    certificate.write_text(first[:200])
    PageServer(state, tmp_path).stop()
    assert certificate.read_text() != first and key.read_text() == first_key
    PageServer(state, tmp_path, "--certificate", certificate, "--key", key).stop()


def test_plain_http_gets_nothing(page):
    with socket.create_connection(("127.0.0.1", page.port), timeout=20) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        while part := raw.recv(4096):
            answer += part
    assert b"HTTP" not in answer and b"html" not in answer
    assert page.request("GET", "/")[0] == 200


# --- files and headers ---

def test_files_and_security_headers(page):
    for path, kind in (("/", "text/html"), ("/page.js", "text/javascript"), ("/page.css", "text/css"),
                       ("/icon.svg", "image/svg+xml"), ("/texts.zh.json", "application/json")):
        status, headers, body = page.request("GET", path)
        assert status == 200 and headers["content-type"].startswith(kind) and body
        again = page.request("GET", path, headers={"If-None-Match": headers["etag"]})
        assert again[0] == 304 and again[2] == b""
        head = page.request("HEAD", path)
        assert head[0] == 200 and head[2] == b"" and head[1]["etag"] == headers["etag"]
    for status, headers, _ in (page.request("GET", "/"), page.request("GET", "/nothing"),
                               page.request("POST", "/api/status", "{}", HEADERS), page.request("PUT", "/")):
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
        assert "base-uri 'none'" in policy and "form-action 'self'" in policy
        assert int(re.fullmatch(r"max-age=(\d+)", headers["strict-transport-security"])[1]) >= 31536000
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers and "set-cookie" not in headers or status == 401
    assert page.request("POST", "/api/session", "{}", HEADERS)[1]["cache-control"] == "no-store"


def test_both_languages_say_the_same_things(page):
    english, chinese = (json.loads(page.request("GET", f"/texts.{one}.json")[2]) for one in ("en", "zh"))
    assert english.keys() == chinese.keys() and len(english) > 100
    for key, text in english.items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", chinese[key])), key
    used = set()
    for path in ("/", "/page.js", "/door.js", "/overview.js", "/completeness.js", "/meter.js", "/format.js"):
        used |= set(re.findall(r"[\"'`](page\.[a-z.\-]+[a-z])[\"'`]", page.request("GET", path)[2].decode()))
    assert len(used) > 40 and used <= english.keys(), used - english.keys()


# --- sessions ---

def test_nothing_without_a_session(site, page):
    for command, least in LEAST.items():
        if command in ("login", "claim"):
            continue
        status, headers, body = page.call(command)
        assert (status == 401) == (least > 0), (command, status)
        assert body["ok"] == (least == 0)
    assert all(one["door"] == "page" and "token" not in one for _, one in site.requests[1:])
    for cookie in ("__Host-metergate=", "__Host-metergate=zz", "__Host-metergate=" + "0" * 31,
                   "__Host-metergate=" + "0" * 33, "__Host-metergate=" + "A" * 32, "metergate=" + "0" * 32,
                   "__Host-metergate=" + "0" * 32 + "; __Host-metergate=" + "0" * 32):
        assert page.call("status", cookie=cookie)[0] == 401
        assert "token" not in site.requests[-1][1]
    status, headers, _ = page.call("status", cookie="__Host-metergate=" + "f" * 32)
    assert status == 401 and site.requests[-1][1]["token"] == "f" * 32
    assert "Max-Age=0" in headers["set-cookie"]


def test_login_cookie_and_logout(site, page):
    status, headers, body = page.call("login", {"name": "anna", "password": PASSWORD})
    assert status == 200 and body["result"] == {"name": "anna", "role": "leader"}  # no token for the script
    name, _, rest = headers["set-cookie"].partition("=")
    token, *flags = [part.strip() for part in rest.split(";")]
    assert name == "__Host-metergate" and re.fullmatch(r"[0-9a-f]{32}", token)
    assert set(flags) == {"Path=/", "Secure", "HttpOnly", "SameSite=Strict"}
    cookie = f"other=1; __Host-metergate={token}; more=2"
    assert page.call("status", cookie=cookie)[0] == 200
    assert site.requests[-1][1]["token"] == token and site.requests[-1][1]["door"] == "page"
    assert "background" not in site.requests[-1][1]
    assert page.call("live", cookie=cookie, X_Metergate="background")[0] == 200
    assert site.requests[-1][1]["background"] is True
    status, headers, _ = page.call("logout", cookie=cookie)
    assert status == 200 and "Max-Age=0" in headers["set-cookie"]
    assert page.call("status", cookie=cookie)[0] == 401


def test_answers_of_the_gateway(page):
    assert page.call("login", {"name": "anna", "password": "wrong horse"})[0] == 403
    assert page.call("login", {"name": "slow", "password": "x"})[0] == 429
    viewer = page.log_in("bert")
    status, _, body = page.call("reload", cookie=viewer)
    assert status == 403 and body["code"] == "role"
    assert page.call("no-such-command", cookie=viewer)[0] == 404


def test_numbers_come_through_verbatim(page):
    cookie = page.log_in()
    _, _, body = page.request("POST", "/api/live", "{}", {**HEADERS, "Cookie": cookie})
    assert b'"value":9007199254740.993001' in body and b'"value":1234581.2204' in body


def test_claim(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    fake = FakeGateway(state, claimed=False)
    page = PageServer(state, tmp_path)
    assert page.call("claim-state")[2]["result"] == {"claimed": False}
    assert page.call("claim", {"code": "X", "name": "eve", "password": PASSWORD})[0] == 403
    status, headers, _ = page.call("claim", {"code": CLAIM_CODE, "name": "anna", "password": PASSWORD})
    assert status == 200
    assert page.call("status", cookie=headers["set-cookie"].split(";")[0])[0] == 200
    page.stop()
    fake.close()


# --- cross-site ---

def test_other_sites_cannot_send_commands(site, page):
    cookie = page.log_in()
    own = f"https://127.0.0.1:{page.port}"
    before = len(site.requests)
    for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": own.replace("https", "http")},
                    {"Origin": own + "0"}, {"Origin": f"https://127.0.0.1:{page.port + 1}"},
                    {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"}, {"Sec_Fetch_Site": "none"},
                    {"X_Metergate": None}, {"X_Metergate": "1"}):
        status, _, body = page.call("status", cookie=cookie, **headers)
        assert status == 403 and body["code"] == "origin", headers
    for kind in (None, "text/plain", "application/x-www-form-urlencoded", "application/jsonx"):
        assert page.call("status", cookie=cookie, Content_Type=kind)[0] == 415
    assert page.request("GET", "/api/status", headers={**HEADERS, "Cookie": cookie})[0] == 405
    assert len(site.requests) == before  # nothing of it reached the gateway
    assert page.call("status", cookie=cookie, Origin=own, Sec_Fetch_Site="same-origin")[0] == 200
    assert page.call("status", cookie=cookie, Content_Type="application/json; charset=utf-8")[0] == 200


# --- hostile requests ---

def test_hosts(page):
    def status(lines):
        return page.raw(b"GET / HTTP/1.1\r\n" + lines + b"Connection: close\r\n\r\n")[0]
    for good in (b"localhost", b"localhost:8443", b"192.168.0.5:8443", b"[::1]", b"[fe80::1]:8443", b"gw-1.works.cn"):
        assert status(b"Host: " + good + b"\r\n") == 200, good
    for bad in (b"", b" ", b"a b", b"a/b", b"user@host", b"host:", b"host:99999x", b"[::1", b"<script>", b"a" * 300,
                b"\xff\xfe", b"-x", b"."):
        assert status(b"Host: " + bad + b"\r\n") == 400, bad
    assert status(b"") == 400
    assert status(b"Host: a\r\nHost: b\r\n") == 400
    assert page.raw(b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")[0] == 400


@pytest.mark.parametrize("path", ["/../etc/passwd", "/..%2f..%2fetc/passwd", "/page.js%00", "//page.js", "/PAGE.JS",
                                  "/api", "/api/", "/api/../page.js", "/api/status/", "/api/" + "a" * 40,
                                  "/api/st%61tus", "/certificate.pem", "/key.pem", "/index.html/"])
def test_paths(page, path):
    with page.open() as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nX-Metergate: page\r\nContent-Type: "
                           "application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}".encode())
        answer = connection.recv(100)
    assert answer.split()[1] in (b"404", b"405", b"400"), answer


def closes_or(connection, allowed):
    """The status of the answer, or None when the connection ended."""
    try:
        data = connection.recv(64)
    except (ConnectionError, ssl.SSLError):
        return None
    if not data:
        return None
    status = int(data.split()[1])
    assert status in allowed, data
    return status


def test_oversized_and_broken_requests(site, page):
    for data in (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20000 + b"\r\n\r\n",
                 b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
                 b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
                 b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 70000\r\n\r\n" + b"{" * 70000,
                 b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
                 b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n{}",
                 b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFF\r\n{}",
                 b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
                 b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n",
                 b"GET\r\n\r\n", b"\r\n\r\n\r\n\x00\x01\x02\r\n\r\n", b"\x16\x03\x01" * 5000):
        with page.open() as connection:
            try:
                connection.sendall(data)
            except (ConnectionError, ssl.SSLError, OSError):
                pass
            closes_or(connection, (400, 405, 411, 413, 414, 415, 403, 404, 431, 501, 505))
    cookie = page.log_in()
    for body in ("[]", "1", "{", "", "null", '{"a":1,"a":2}', "{}{}", "\x00", "[" * 50000, '"x"'):
        status, _, _ = page.request("POST", "/api/status", body.encode(), {**HEADERS, "Cookie": cookie})
        assert status == (200 if body == "" else 400), body[:20]
    assert page.request("POST", "/api/status", b'{"a":"\xff"}', {**HEADERS, "Cookie": cookie})[0] == 400
    for method in ("PUT", "DELETE", "OPTIONS", "PATCH"):
        assert page.request(method, "/api/status")[0] == 405
        assert page.request(method, "/")[0] == 405
    assert page.call("status", cookie=cookie)[0] == 200  # it lives


def test_headers_cannot_be_split(page):
    status, headers, _ = page.raw(b"GET /%0d%0aSet-Cookie:%20x=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert status == 404 and "set-cookie" not in headers
    # Whatever the command is called, it reaches the gateway as one name or not at all.
    assert page.request("POST", '/api/x","token":"0', "{}", HEADERS)[0] in (400, 404)


def honest_visit(page):
    begun = time.monotonic()
    cookie = page.log_in()
    for _ in range(20):
        assert page.call("live", cookie=cookie)[0] == 200
    return time.monotonic() - begun, cookie


def test_slow_visitors_do_not_stop_an_honest_one(site, page):
    alone_s, _ = honest_visit(page)
    slow = []
    for i in range(40):
        if i % 4 == 0:  # not even a handshake
            slow.append(socket.create_connection(("127.0.0.1", page.port), timeout=20))
            continue
        connection = page.open()
        connection.sendall([b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ",
                            b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{"][i % 3])
        slow.append(connection)
    among_them_s, cookie = honest_visit(page)
    assert among_them_s < 5 * alone_s + 2, (among_them_s, alone_s)
    # And each is ended, though it sends a byte now and then.
    open_ones = {one.fileno(): one for one in slow}
    begun = time.monotonic()
    while open_ones and time.monotonic() - begun < 30:
        for fd in select.select(list(open_ones), [], [], 0.5)[0]:
            one = open_ones[fd]
            try:
                ended = one.recv(100) == b""
            except (OSError, ssl.SSLError):
                ended = True
            if ended:
                del open_ones[fd]
                one.close()
        for one in open_ones.values():
            try:
                one.send(b"x")
            except OSError:
                pass
    assert not open_ones
    assert page.call("live", cookie=cookie)[0] == 200


def test_more_visitors_than_fit(page):
    many = [socket.create_connection(("127.0.0.1", page.port), timeout=20) for _ in range(300)]
    for one in many[:280]:
        one.close()  # room again
    assert page.request("GET", "/")[0] == 200
    for one in many[280:]:
        one.close()


# --- the gateway goes and comes ---

def test_without_a_gateway(site, page):
    cookie = page.log_in()
    site.close()
    status, _, body = page.call("live", cookie=cookie)
    assert status == 503 and body["code"] == "away"
    assert page.request("GET", "/")[0] == 200 and page.request("GET", "/texts.en.json")[0] == 200
    site.listen()
    assert page.call("live", cookie=cookie)[0] == 200


def test_a_request_in_flight_when_the_gateway_goes(site, page):
    cookie = page.log_in()
    site.hold.clear()
    answers = []
    waiting = threading.Thread(
        target=lambda: answers.append(page.call("read", {"meter": "boiler-1"}, cookie=cookie)))
    waiting.start()
    wait_until(lambda: site.requests[-1][0] == "read", 20, "the read arrives")
    assert page.call("live", cookie=cookie)[0] == 200  # others pass it
    site.close()
    waiting.join(20)
    site.hold.set()
    assert answers and answers[0][0] == 503


def test_a_visitor_who_leaves_while_waiting(site, page):
    cookie = page.log_in()
    site.hold.clear()
    with page.open() as connection:
        connection.sendall(f"POST /api/read HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\nX-Metergate: page\r\n"
                           "Content-Type: application/json\r\nContent-Length: 20\r\n\r\n{\"meter\":\"boiler-1\"}"
                           .encode())
        wait_until(lambda: site.requests[-1][0] == "read", 20, "the read arrives")
    site.hold.set()
    assert page.call("live", cookie=cookie)[0] == 200


def test_the_process_holds_nothing_of_the_gateway(page):
    page.call("session")
    files = set()
    for one in os.listdir(f"/proc/{page.child.pid}/fd"):
        try:
            files.add(os.readlink(f"/proc/{page.child.pid}/fd/{one}"))
        except OSError:
            pass
    assert not any(".db" in name or "tty" in name for name in files), files


def test_usage(tmp_path):
    def run(*arguments):
        return subprocess.run([program(), "web", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert run("--help").returncode == 0 and "--listen" in run("--help").stdout
    for arguments in ((), ("--state",), ("--state", tmp_path, "x"), ("--nonsense",),
                      ("--state", tmp_path, "--certificate", "x")):
        done = run(*arguments)
        assert done.returncode == 2 and "--help" in done.stderr
    for arguments in (("--state", tmp_path / "no"), ("--state", tmp_path, "--listen", "here"),
                      ("--state", tmp_path, "--listen", "192.0.2.1:8443"),
                      ("--state", tmp_path, "--certificate", "/no", "--key", "/no")):
        done = run(*arguments)
        assert done.returncode == 1 and done.stderr.count("metergate web:") == 1, done.stderr


def test_a_port_in_use_is_named(page, tmp_path):
    other = Child([program(), "web", "--state", tmp_path, "--listen", f"127.0.0.1:{page.port}"], tmp_path, "second")
    assert other.process.wait(20) == 1
    assert f"127.0.0.1:{page.port}" in other.stderr() and "in use" in other.stderr()
