"""How the links do: what `status`, the page's commands and /metrics say, beside what pymodbus was asked and answered."""
import itertools
import os

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lib import control, fuxin
from lib.gateway import run
from lib.page_server import PageClient
from lib.ports import free_port, listens
from lib.site import Site
from lib.wait import wait_until

pytestmark = pytest.mark.timing

CHECKED = {"display_checked": "2026-11-20"}
TOKEN = "s3cret-token-of-16-or-more"


@pytest.fixture
def site(meters, gateway, tmp_path):
    """Three meters on one link: one is well, one refuses, one is silent."""
    bus = meters.tcp([1, 2, 3])
    for unit in (1, 2, 3):
        fuxin.put(bus[unit])
    bus[1].delay_s = 0.03
    bus[2].refused = {(3, register) for register in range(0, 100)}
    bus[3].silent = True
    port = free_port()
    token = tmp_path / "metrics.token"
    token.write_text(TOKEN + "\n", encoding="ascii")
    os.chmod(token, 0o600)
    site = Site(web={"listen": f"127.0.0.1:{port}", "metrics_token_file": str(token)})
    site.link("hall", bus.url, response_timeout_ms=150, retries=0)
    for unit, name in ((1, "well"), (2, "refuses"), (3, "silent")):
        site.meter(name, "hall", unit, **CHECKED)
    gateway.web = True
    gateway.write(site)
    gateway.start()
    gateway.page = PageClient(port, gateway.state)
    gateway.token = token
    wait_until(lambda: counts(gateway)["well"]["replies"] >= 3 and counts(gateway)["silent"]["timeouts"] >= 2, 30,
               "some polls")
    return gateway, bus


def bus_of(gateway):
    return control.call(gateway.state, "bus", {"link": "hall"})


def counts(gateway):
    return {meter["meter"]: meter["counts"] for meter in bus_of(gateway)["meters"]}


def test_counts_are_those_of_the_meters(site):
    gateway, bus = site
    before = {unit: len(bus[unit].log) for unit in (1, 2)}
    told = counts(gateway)
    after = {unit: len(bus[unit].log) for unit in (1, 2)}
    # Between two looks at the meters' own logs lies what was told; one answer may still be on its way. Each request
    # that a meter saw was answered in time, or, on a busy machine, too late.
    for unit, name in ((1, "well"), (2, "refuses")):
        assert before[unit] - 1 <= told[name]["requests"], (before, told)
        assert told[name]["requests"] - told[name]["timeouts"] <= after[unit], (told, after)
    answered = {name: told[name]["replies"] + sum(told[name]["exceptions"].values()) for name in told}
    assert all(answered[name] + told[name]["timeouts"] == told[name]["requests"] for name in told), told
    assert told["well"]["exceptions"] == {} and set(told["refuses"]["exceptions"]) == {"2"}
    assert told["refuses"]["replies"] == 0 and told["silent"]["replies"] == 0
    assert told["silent"]["timeouts"] >= 2
    # pymodbus waits 30 ms before it answers: nothing in a bucket below that.
    slow = {entry["up_to"]: entry["count"] for entry in told["well"]["histogram"]}
    assert sum(slow.values()) == told["well"]["replies"]
    assert not any(count for bound, count in slow.items() if bound is not None and bound <= 20)
    assert told["well"]["response_ms"]["p50"] >= 50
    whole = bus_of(gateway)["counts"]
    assert whole["requests"] >= sum(one["requests"] for one in told.values())


def test_status_and_load(site):
    gateway, _ = site
    status = gateway.status()
    meters = {meter["meter"]: meter["bus"] for meter in status["meters"]}
    assert meters["well"]["replies"] >= 3 and meters["refuses"]["exceptions"]["2"] >= 1
    # A silent meter costs 150 ms of each second at the most, a slow one 30.
    assert 0 < float(status["links"][0]["busy_percent"]) < 60
    text = run("status", "--state", gateway.state, "--link", "hall")
    assert text.status == 0, text.stderr
    for part in ("well", "refuses", "silent", "RESPONSE TIME", "NEWEST FRAMES", "asks unit 1 for registers"):
        assert part in text.stdout, text.stdout
    wrong = run("status", "--state", gateway.state, "--link", "yard")
    assert wrong.status == 1 and "there is no link 'yard'" in wrong.stderr


def test_frames_have_a_meaning(site):
    gateway, _ = site
    frames = bus_of(gateway)["frames"]
    asked = [frame for frame in frames if frame["sent"]]
    assert asked and all(frame["kind"] == "request" for frame in asked)
    # MBAP: protocol 0, length 6, unit, function 3
    assert all(frame["bytes"].split()[2:6] == ["00", "00", "00", "06"] for frame in asked)
    refusals = [frame for frame in frames if frame["kind"] == "exception"]
    assert refusals and all(frame["unit"] == 2 and frame["bytes"].split()[-2:] == ["83", "02"] for frame in refusals)
    assert "no such register" in refusals[0]["text"]["en"]
    replies = [frame for frame in frames if frame["kind"] == "reply"]
    assert replies and all(frame["unit"] == 1 for frame in replies)


def scrape(gateway, token):
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    return gateway.page.request("GET", "/metrics", headers=headers)


def samples(text):
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text) for sample in family.samples}


def test_metrics(site):
    gateway, _ = site
    wait_until(lambda: listens(gateway.page.port), 20, "the page listens")
    assert scrape(gateway, None)[0] == 401
    assert scrape(gateway, "wrong-token-of-the-same-form")[0] == 403
    assert gateway.page.request("POST", "/metrics")[0] == 405
    told = counts(gateway)
    status, headers, body = scrape(gateway, TOKEN)
    assert status == 200 and headers["content-type"] == "text/plain; version=0.0.4", body
    found = samples(body.decode())
    well = (("link", "hall"), ("meter", "well"))
    assert found["metergate_results_total", (*well, ("result", "reply"))] >= told["well"]["replies"]
    silent = (("link", "hall"), ("meter", "silent"), ("result", "timeout"))
    assert found["metergate_results_total", silent] >= told["silent"]["timeouts"]
    assert found["metergate_exceptions_total", (("code", "2"), ("link", "hall"), ("meter", "refuses"))] >= 1
    assert found["metergate_link_up", (("link", "hall"),)] == 1
    assert 0 < found["metergate_link_busy_ratio", (("link", "hall"),)] < 0.6
    names = [line.partition("{")[0] for line in body.decode().splitlines() if line[:1] not in ("", "#")]
    runs = [name for name, _ in itertools.groupby(names)
            if not name.startswith("metergate_response_seconds")]  # one name of a histogram after the other, link by link
    assert len(runs) == len(set(runs)) and "metergate_link_load_ratio" in runs, "the format wants a name's samples together"
    buckets = [value for (name, _), value in found.items() if name == "metergate_response_seconds_bucket"]
    assert buckets == sorted(buckets)
    assert buckets[-1] == found["metergate_response_seconds_count", (("link", "hall"),)]
    refused = [one for one in run("export", "audit", "--state", gateway.state, "--json").json_lines()
               if one["action"] == "metrics"]
    assert refused and TOKEN not in str(refused)
    # Readable by others, the file opens nothing.
    os.chmod(gateway.token, 0o644)
    assert scrape(gateway, TOKEN)[0] == 403
