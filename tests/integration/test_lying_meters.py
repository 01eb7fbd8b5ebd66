"""Whatever is wrong with a reply, a stored value is that of the meter, unit, register and moment that were asked for.

Coded values of the simulator prove it: each register's words are a function of meter, unit, address and tenth of a second.
"""
import json

import pytest

from lib import registers as r
from lib.coded import Field, coded_words
from lib.lying_site import OF_LINK, TIMEOUT_MS
from lib.maps import FUXIN, decode
from lib.wait import wait_until

from test_right_values import milliseconds, readings_as_text

pytestmark = pytest.mark.slow_start("lying_site")

READINGS = 30       # of each meter
EACH_FAULT = 2      # so often at least, each kind must have struck
TICK_S = 0.1
POLL_S = 3 * TIMEOUT_MS / 1000 + 0.15  # all attempts of one poll, less than the second to the one before


def fault_counts(log):
    counts = {}
    for line in log.read_text().splitlines():
        frame = json.loads(line)
        for kind in (frame["fault"] or "").split("+"):
            counts[frame["link"], kind] = counts.get((frame["link"], kind), 0) + 1
    return counts


def words_at(meter, unit, tick):
    """{register: word} of a whole coded meter."""
    words = {}
    for channel in FUXIN.channels.values():
        for part in channel.parts:
            field = Field({"register": part.register, "function": FUXIN.function, "type": part.type})
            words.update(enumerate(coded_words(meter, unit, field, tick), part.register))
    return words


def matches(name, text, words):
    """Whether a printed value is what the words say."""
    channel = FUXIN.channels[name]
    exact = decode(channel, words)
    return text == r.counter_text(exact) if channel.kind == "counter" else r.gauge_matches(text, exact)


def test_no_damaged_late_or_foreign_reply_becomes_a_value(lying_site):
    office, units = lying_site.office, lying_site.units
    wait_until(lambda: all(len(readings_as_text(office, meter)) >= READINGS for meter in units), 90,
               f"{READINGS} readings of each meter")

    def all_struck():  # a late reply over TCP is not in the log: the connection is closed by then
        counts = fault_counts(lying_site.log)
        return all(counts.get((link, kind), 0) >= EACH_FAULT for link, kinds in OF_LINK.items()
                   for kind in kinds) and counts.get(("bus", "late"), 0) >= EACH_FAULT

    wait_until(all_struck, 120, lambda: f"every fault has struck: {fault_counts(lying_site.log)}", interval_s=1)
    good = {meter: 0 for meter in units}
    for meter, unit in units.items():
        for reading in readings_as_text(office, meter):
            at_s = milliseconds(reading["at"]) / 1000 - lying_site.started
            # After a failure the block is asked for in parts: each value for itself is of one tick of this poll.
            newest, oldest = int(at_s / TICK_S) + 1, int((at_s - POLL_S) / TICK_S)
            moments = [words_at(meter, unit, tick) for tick in range(newest, oldest, -1)]
            for name, value in reading["channels"].items():
                if value["quality"] == "missing":
                    assert value["value"] is None and value["why"], reading
                else:
                    assert any(matches(name, value["value"], words) for words in moments), \
                        f"{meter} {name} at {at_s:.3f} s: {reading}"
            good[meter] += all(value["quality"] == "good" for value in reading["channels"].values())
    assert min(good.values()) >= READINGS // 3, f"good readings between the bad ones: {good}"
