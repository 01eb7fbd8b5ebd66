"""Short form of `make fault`'s gas days: some zones, some starts, all years, against Python's zoneinfo. SEED=N repeats it."""
import os
import secrets
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "fault"))
import gasdays  # noqa: E402


def test_no_hour_is_doubled_or_lost():
    seed = int(os.environ.get("SEED", secrets.randbelow(10**9)))
    print(f"seed {seed}")
    build = Path(os.environ.get("METERGATE_RELEASE", ROOT / "build" / "metergate")).resolve().parent
    figures = gasdays.run(build, seed, zones=5, starts=4)
    assert figures["pairs"] == 4 * figures["zones"] and figures["odd_days"] > 100, figures
