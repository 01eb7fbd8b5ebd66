"""Short forms of the fault bars; `make fault` runs them in full (tests/fault)."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "fault"))

import kill9  # noqa: E402
import outage  # noqa: E402

from lib.gateway import program  # noqa: E402

SEED = 20261123


def test_ten_kills_lose_nothing_that_was_stored(tmp_path):
    kill9.run(tmp_path, program(), kills=10, meters=12, seed=SEED, witnessed=50)


def test_kills_in_front_of_calls_lose_nothing_that_was_stored(tmp_path):
    """A kill in front of single calls that change a file of the store, from the first of a start on."""
    calls = [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144]
    figures = kill9.run(tmp_path, program(), kills=len(calls), meters=12, seed=SEED, kill=kill9.at_calls(tmp_path, calls),
                        commit_ms=100)
    assert figures["stored"] >= figures["witnessed"] >= kill9.WITNESSED_LEAST, figures


def test_twenty_seconds_without_a_broker_lose_nothing(tmp_path):
    figures = outage.run(tmp_path, program(), minutes=20 / 60, meters=12, least=12 * 10)
    assert figures["backlog"] >= 12 * 10, figures
