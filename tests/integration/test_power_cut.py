"""Short form of `make fault`'s power cuts."""
import os
import secrets
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "fault"))
import powercut  # noqa: E402


def test_power_cuts_take_nothing_that_was_acknowledged():
    """2,000 cuts, and one in each call of two short lives; the same with synchronous=NORMAL loses rows, without a journal it
    leaves damage, or the harness were blind. SEED=N repeats it."""
    seed = int(os.environ.get("SEED", secrets.randbelow(10**9)))
    print(f"seed {seed}")
    release = Path(os.environ.get("METERGATE_RELEASE", ROOT / "build" / "metergate"))
    figures = powercut.run(release.resolve().parent, 2000, seed)
    assert figures["full"]["cuts"] == 2000 and figures["full"]["second_cuts"] > 300, figures
    assert figures["every"]["cuts"] > figures["every"]["calls"] > 300, figures
