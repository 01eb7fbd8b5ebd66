"""The way to the office in short: an hour without a broker, time compressed, and a broker that accepts and closes."""
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "fault"))

import reconnects  # noqa: E402
import week  # noqa: E402

RELEASE = Path(os.environ.get("METERGATE_RELEASE", ROOT / "build" / "metergate")).parent


def test_an_hour_without_a_broker_loses_nothing():
    figures = week.run(RELEASE, hours=1, meters=10)
    assert figures["offered"] > 600 and figures["backlog"] >= 630, figures
    assert figures["alerts"] >= 3 and figures["live_rows"] >= 1, figures


def test_a_broker_that_closes_leaves_nothing_behind():
    figures = reconnects.run(RELEASE, attempts=60)
    assert figures["attempts"] == 54, figures
