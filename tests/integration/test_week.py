"""An hour without a broker, time compressed: nothing lost, alerts and live rows in time while the backlog drains."""
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "fault"))

import week  # noqa: E402


def test_an_hour_without_a_broker_loses_nothing():
    release = Path(os.environ.get("METERGATE_RELEASE", ROOT / "build" / "metergate"))
    figures = week.run(release.parent, hours=1, meters=10)
    assert figures["offered"] > 600 and figures["backlog"] >= 630, figures
    assert figures["alerts"] >= 3 and figures["live_rows"] >= 1, figures
