"""Periods over a time when the gateway did not run: worked out here from the readings that the office has."""
from decimal import ROUND_FLOOR, Decimal

import pytest

from test_right_values import milliseconds

pytestmark = pytest.mark.slow_start("restart_site")

MINUTE_MS = 60000
RESOLUTION = Decimal("0.0001")  # of the Fuxin's counter


def interpolated(readings, boundary_ms):
    """Linear between the last reading before and the first one after, rounded down to the counter's resolution."""
    before = [one for one in readings if one[0] < boundary_ms][-1]
    after = next(one for one in readings if one[0] >= boundary_ms)
    assert boundary_ms + 1000 <= after[0] < boundary_ms + 2 * 1000 + 60000, "otherwise there is nothing to interpolate"
    exact = before[1] + (after[1] - before[1]) * (boundary_ms - before[0]) / (after[0] - before[0])
    return exact.quantize(RESOLUTION, rounding=ROUND_FLOOR)


def test_periods_over_a_time_away(restart_site):
    restart_site.wait_back()
    office, missed = restart_site.office, restart_site.first_missed
    last = office.wait_for("summary", "one", lambda body: milliseconds(body["from"]) == missed + MINUTE_MS,
                           deadline_s=120)[0]
    summaries = {milliseconds(body["from"]): body for body in office.of("summary", "one")}
    dying, away, back = summaries[missed - MINUTE_MS], summaries[missed], last
    readings = [(milliseconds(body["at"]), body["channels"]["volume_base"]["value"])
                for body in office.of("reading", "one") if body["channels"]["volume_base"]["quality"] == "good"]

    def count(from_ms):
        return len([at for at, _ in readings if from_ms <= at < from_ms + MINUTE_MS])

    # The first boundary has no reading near enough after it: nothing is known there.
    index = dying["channels"]["volume_base"]
    assert index["end"] is None and index["delta"] is None and index["quality"] == "missing", index
    assert dying["reads"]["good"] == count(missed - MINUTE_MS)
    assert dying["reads"]["expected"] == dying["reads"]["good"] + dying["reads"]["missing"]
    # A whole minute away: expected all the same. Its end lies between two readings that are near enough.
    assert away["reads"] == {"expected": 60, "good": 0, "suspect": 0, "missing": 60}, away
    index = away["channels"]["volume_base"]
    between = interpolated(readings, missed + MINUTE_MS)
    assert index["start"] is None and index["delta"] is None, index
    assert index["end"] == between, (index, between)
    # The minute of the return begins where the one before ended.
    index = back["channels"]["volume_base"]
    assert index["start"] == between and index["quality"] == "estimated", index
    assert index["delta"] == index["end"] - between, index
    assert back["reads"]["expected"] == 60 and back["reads"]["good"] == count(missed + MINUTE_MS), back
    assert 30 <= back["reads"]["good"] < 60 and back["quality"] == "estimated", back


def test_what_was_made_before_the_session_is_backfill_and_whole(restart_site):
    restart_site.wait_back()
    office = restart_site.office
    assert not office.holes()
    assert {body["stream"] for body in office.of("reading", "one")} == {office.of("reading", "one")[0]["stream"]}
