"""Bar "right values": pymodbus is the meter, paho the office; every value, unit, quality and total must be exact.

What a meter served is known from pymodbus's log of words, decoded here by lib/maps.py. Values change with every request,
so that a value of another poll, meter or register cannot pass.
"""
import csv
import io
import json
import re
from datetime import datetime, timezone
from decimal import Decimal

import pytest

from lib import registers as r
from lib.gateway import PROFILES
from lib.maps import MAPS, decode, registers_of
from lib.values_site import PATIENCE_MS
from lib.wait import wait_until

pytestmark = pytest.mark.slow_start("values_site")

MINUTE_MS = 60000


def milliseconds(text):
    """RFC 3339 with milliseconds and Z, nothing else."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text), text
    return int(datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc).timestamp() * 1000 + 0.5)


def served_before(case, reading):
    """{register: word} as it last went over the wire until the reading's `at`, or until one of the requests in the 2 ms after
    it: the clock rounds, and a poll that is late is followed at once by the next one. Of these the one whose total it has."""
    at_ms = milliseconds(reading["at"])
    total, channel = next(item for item in MAPS[case.profile].channels.items() if item[1].kind == "counter")
    words, nearest = {}, []
    for request in case.served.log:
        if request.at * 1000 > at_ms + 2:
            break
        if request.at * 1000 > at_ms - 1:
            nearest.append(dict(words))
        if request.words:
            words.update(zip(range(request.first, request.first + request.count), request.words))
    for state in [words] + nearest[::-1]:
        if set(registers_of(channel)) <= set(state) and \
                reading["channels"][total]["value"] == r.counter_text(decode(channel, state)):
            return state
    return words


def assert_value(case, name, channel, value, words, quality, why):
    """One channel of one reading, `value` with numbers as text."""
    place = f"{case.meter} {name} {value}"
    assert value.get("unit") == channel.unit, place
    assert value["quality"] == quality and value.get("why") == why, place
    exact = decode(channel, words)
    if channel.kind == "counter":
        assert value["value"] == r.counter_text(exact), f"{place}: served {exact}"
    elif channel.kind in ("bits", "identity"):
        assert value["value"] == exact, f"{place}: served {exact}"
    else:
        assert r.gauge_matches(value["value"], exact), f"{place}: served {exact}"


def as_text(message):
    """A message's JSON with every number as the text that was sent."""
    return json.loads(message.payload, parse_float=str, parse_int=str)


def readings_as_text(office, meter):
    return [as_text(message) for message in list(office.messages)
            if message.topic == f"{office.base}/reading/{meter}" and not message.properties.get("replay")]


def answered(readings):
    """Those with a value. These meters share an interpreter with all other tests and may be late now and then: what they did
    not answer in time must be missing as a whole, and rare. What was due while the link was listened to for one response
    time-out, which is before the first request of all, does not count."""
    silent = [reading for reading in readings if {value["quality"] for value in reading["channels"].values()} == {"missing"}]
    assert all(value["value"] is None for reading in silent for value in reading["channels"].values()), silent
    listened_ms = min(milliseconds(reading["at"]) for reading in readings) + PATIENCE_MS
    late = [reading for reading in silent if milliseconds(reading["at"]) >= listened_ms]
    assert len(late) <= 0.05 * len(readings), f"{len(late)} of {len(readings)} without an answer: {late[0]}"
    return [reading for reading in readings if reading not in silent]


def test_every_value_of_every_reading_at_the_office(values_site):
    for case in values_site.cases:
        wait_until(lambda: len(readings_as_text(values_site.office, case.meter)) >= 20, 60,
                   f"20 readings of {case.meter} at the office")
        table = MAPS[case.profile]
        for reading in answered(readings_as_text(values_site.office, case.meter)):
            assert set(reading["channels"]) == set(table.channels), case.meter
            words = served_before(case, reading)
            for name, channel in table.channels.items():
                assert_value(case, name, channel, reading["channels"][name], words, case.quality, case.why)


def test_each_total_was_served_and_comes_once(values_site):
    """A reading is one poll: no reply is stored twice, and none under another meter."""
    for case in values_site.cases:
        name = next(name for name, channel in MAPS[case.profile].channels.items() if channel.kind == "counter")
        totals = [Decimal(reading["channels"][name]["value"])
                  for reading in answered(readings_as_text(values_site.office, case.meter))]
        assert len(totals) == len(set(totals)), f"{case.meter}: a total came twice"
        assert totals == sorted(totals), f"{case.meter}: totals out of order"


def test_exception_on_one_block_spares_the_others(values_site):
    case = values_site.faulty["sdm-part"]
    table = MAPS[case.profile]
    wait_until(lambda: len(readings_as_text(values_site.office, case.meter)) >= 5, 60, "readings of sdm-part")
    refused = {register for _, register in case.served.refused}
    missing = {name for name, channel in table.channels.items() if set(registers_of(channel)) & refused}
    assert len(missing) == 1, "a refused request is cut until only what the meter refuses is missing"
    for reading in answered(readings_as_text(values_site.office, case.meter)):
        words = served_before(case, reading)
        for name, channel in table.channels.items():
            value = reading["channels"][name]
            if name in missing:
                assert value == {"value": None, "unit": channel.unit, "quality": "missing", "why": "exception-2"}
            else:
                assert_value(case, name, channel, value, words, "good", None)


def test_silence_is_missing_and_never_an_old_value(values_site):
    case = values_site.faulty["fx-silent"]
    wait_until(lambda: len(readings_as_text(values_site.office, case.meter)) >= 5, 60, "readings of fx-silent")
    for reading in readings_as_text(values_site.office, case.meter):
        for name, channel in MAPS[case.profile].channels.items():
            assert reading["channels"][name] == {"value": None, "unit": channel.unit, "quality": "missing",
                                                 "why": "timeout"}


def test_what_is_no_number_is_null_and_suspect(values_site):
    case = values_site.faulty["fx-odd"]
    wait_until(lambda: len(readings_as_text(values_site.office, case.meter)) >= 5, 60, "readings of fx-odd")
    reasons = {"flow_measured": "not-a-number", "temperature": "not-a-number", "volume_measured": "bad-bcd"}
    for reading in answered(readings_as_text(values_site.office, case.meter)):
        words = served_before(case, reading)
        for name, channel in MAPS[case.profile].channels.items():
            value = reading["channels"][name]
            if name in reasons:
                assert value == {"value": None, "unit": channel.unit, "quality": "suspect", "why": reasons[name]}
            else:
                assert_value(case, name, channel, value, words, "good", None)


def test_every_due_poll_makes_one_reading(values_site):
    """A second's interval: readings of a meter are one a second, answered or not."""
    for meter in ("fx", "fx-silent"):
        wait_until(lambda: len(readings_as_text(values_site.office, meter)) >= 20, 60, f"20 readings of {meter}")

        def seconds():
            return [milliseconds(reading["at"]) // 1000 for reading in readings_as_text(values_site.office, meter)]

        def one_a_second():
            found = seconds()
            return abs(max(found) - min(found) + 1 - len(found)) <= 1
        # One that is answered late falls into a later second, with that second's own; as the newest of all it leaves a hole
        # until they are there. One that was lost or came twice is so for ever.
        wait_until(one_a_second, 20, lambda: f"{meter}: {seconds()}")


def test_only_what_a_profile_names_is_read(values_site):
    """Requests go to the profile's function, units that are configured, and within 125 registers."""
    for case in [*values_site.cases, *values_site.faulty.values()]:
        table = MAPS[case.profile]
        wanted = {register for channel in table.channels.values() for register in registers_of(channel)}
        for request in list(case.served.log):
            asked = set(range(request.first, request.first + request.count))
            assert request.function == table.function and request.count <= 125 and asked & wanted, request


def test_export_says_what_the_office_got(values_site):
    gateway, office = values_site.gateway, values_site.office
    wait_until(lambda: len(readings_as_text(office, "fx")) >= 20, 60, "20 readings of fx")
    sent = {(m.body["meter"], m.body["at"]): m.body for m in list(office.messages) if "/reading/" in m.topic}
    exported = gateway.export("readings")
    assert [(line["at"], line["meter"]) for line in exported] == sorted((line["at"], line["meter"]) for line in exported)
    by_key = {(line["meter"], line["at"]): line for line in exported}
    assert len(by_key) == len(exported)
    for key, body in sent.items():
        expected = {name: value for name, value in body.items() if name not in ("stream", "lane", "seq")}
        assert by_key[key] == expected, key


def csv_text(value):
    """A value of the JSON export as one CSV field: nothing for null, status names joined by ';'."""
    return "" if value is None else ";".join(value) if isinstance(value, list) else value


def test_csv_export_says_what_the_json_export_says(values_site):
    gateway, office = values_site.gateway, values_site.office
    wait_until(lambda: len(readings_as_text(office, "fx")) >= 20, 60, "20 readings of fx")
    bounds = [readings_as_text(office, "fx")[i]["at"] for i in (5, 15)]
    span = ("--from", bounds[0], "--to", bounds[1])
    result = gateway.command("export", "readings", "--state", gateway.state, *span)
    assert result.status == 0, result.stderr
    rows = list(csv.reader(io.StringIO(result.stdout)))
    assert rows[0] == ["meter", "at", "channel", "value", "unit", "quality", "why"]
    lines = [json.loads(line, parse_float=str, parse_int=str)
             for line in gateway.command("export", "readings", "--state", gateway.state, "--json", *span)
             .stdout.splitlines()]
    assert lines and all(bounds[0] <= line["at"] < bounds[1] for line in lines)
    expected = [[line["meter"], line["at"], name, csv_text(value["value"]), value.get("unit", ""), value["quality"],
                 value.get("why", "")] for line in lines for name, value in line["channels"].items()]
    assert rows[1:] == expected
    one = gateway.command("export", "readings", "--state", gateway.state, "--meter", "pac", *span).stdout
    assert {row[0] for row in list(csv.reader(io.StringIO(one)))[1:]} == {"pac"}


def boundary_index(readings, boundary_ms, name):
    """The first good value in [boundary, boundary + min(interval, 60 s)); the interval is 1 s here."""
    for reading in readings:
        at = milliseconds(reading["at"])
        if boundary_ms <= at < boundary_ms + 1000 and reading["channels"][name]["quality"] == "good":
            return Decimal(reading["channels"][name]["value"])
    return None


def time_weighted_mean(values, end_ms):
    """A value stands until the next reading or the period's end, at most two intervals of 1 s."""
    ends = [at for at, _ in values[1:]] + [end_ms]
    spans = [min(end - at, 2000) for (at, _), end in zip(values, ends)]
    return sum(value * span for (_, value), span in zip(values, spans)) / sum(spans)


def assert_summary(summary, readings, table):
    """One whole minute, from the readings that the office itself got."""
    begin, end = milliseconds(summary["from"]), milliseconds(summary["to"])
    assert end - begin == MINUTE_MS and begin % MINUTE_MS == 0
    within = [reading for reading in readings if begin <= milliseconds(reading["at"]) < end]
    for name, channel in table.channels.items():
        if channel.kind not in ("counter", "gauge"):
            assert name not in summary["channels"]
            continue
        entry = summary["channels"][name]
        assert entry["unit"] == channel.unit
        if channel.kind == "counter":
            start, stop = boundary_index(readings, begin, name), boundary_index(readings, end, name)
            assert start is not None and stop is not None
            assert (entry["start"], entry["end"]) == (start, stop), f"{name}: {entry}"
            assert entry["delta"] == stop - start, f"{name}: {entry}"
        else:
            values = [(milliseconds(reading["at"]), Decimal(reading["channels"][name]["value"])) for reading in within
                      if reading["channels"][name]["quality"] == "good"]
            assert entry["min"] == min(value for _, value in values), f"{name}: {entry}"
            assert entry["max"] == max(value for _, value in values), f"{name}: {entry}"
            mean = time_weighted_mean(values, end)
            assert abs(entry["mean"] - mean) <= abs(mean) * Decimal("0.000001"), f"{name}: {entry} and {mean}"


def test_summaries_are_what_the_readings_say(values_site):
    office = values_site.office
    for case in values_site.cases:
        if case.quality != "good":
            continue
        summary = office.wait_for("summary", case.meter, lambda body: body["reads"]["good"] == 60, deadline_s=200)[0]
        end = milliseconds(summary["to"])
        wait_until(lambda: any(milliseconds(reading["at"]) >= end + 1000
                               for reading in readings_as_text(office, case.meter)), 30, "a reading after the boundary")
        assert summary["reads"] == {"expected": 60, "good": 60, "suspect": 0, "missing": 0}, summary
        assert summary["quality"] == "good" and summary["version"] == 1 and summary["alerts"] == []
        assert_summary(summary, readings_as_text(office, case.meter), MAPS[case.profile])


def test_consecutive_summaries_touch(values_site):
    office = values_site.office
    for case in values_site.cases:
        summaries = office.wait_for("summary", case.meter, count=2, deadline_s=200)
        for before, after in zip(summaries, summaries[1:]):
            assert before["to"] == after["from"]
            for name, channel in MAPS[case.profile].channels.items():
                if channel.kind == "counter":
                    assert before["channels"][name]["end"] == after["channels"][name]["start"], (case.meter, name)


def test_summaries_of_what_is_not_good_say_so(values_site):
    office = values_site.office

    def whole_minute(meter):
        return office.wait_for("summary", meter, lambda body: body["reads"]["expected"] == 60, deadline_s=200)[0]

    suspect = whole_minute("fx-unverified")
    assert suspect["reads"]["suspect"] == 60 and suspect["quality"] == "suspect"
    silent = whole_minute("fx-silent")
    assert silent["reads"] == {"expected": 60, "good": 0, "suspect": 0, "missing": 60} and silent["quality"] == "missing"
    assert silent["channels"]["volume_base"]["delta"] is None and silent["channels"]["pressure"]["mean"] is None
    assert len(silent["alerts"]) == 1
    part = whole_minute("sdm-part")
    assert part["reads"]["missing"] == 60, "a poll counts by its worst channel"
    assert part["channels"]["voltage_l1"]["quality"] == "good"
    assert part["channels"]["energy_total"]["quality"] == "missing"


def test_exported_periods_say_what_the_office_got(values_site):
    gateway, office = values_site.gateway, values_site.office
    office.wait_for("summary", "fx", count=2, deadline_s=200)
    exported = gateway.export("periods", "--meter", "fx")
    for summary in office.of("summary", "fx"):
        expected = {name: value for name, value in summary.items() if name not in ("stream", "lane", "seq")}
        assert expected in exported, f"{expected} is not among {exported[:3]}"


def test_read_shows_what_is_served(values_site):
    """`read` of a configured meter through the running gateway, and of an address past it."""
    gateway, case = values_site.gateway, values_site.cases[0]
    for arguments, quality in ((("--config", gateway.config, "--state", gateway.state, "fx"), ("good", None)),
                               (("--link", values_site.tcp.url, "--unit", 1, "--profile", "fuxin-totalizer"),
                                ("suspect", "unverified"))):
        result = gateway.command("read", *arguments, "--json", "--profiles", PROFILES)
        assert result.status == 0, result.stderr
        reading = json.loads(result.stdout, parse_float=str, parse_int=str)
        words = served_before(case, reading)
        for name, channel in MAPS[case.profile].channels.items():
            assert_value(case, name, channel, reading["channels"][name], words, *quality)
