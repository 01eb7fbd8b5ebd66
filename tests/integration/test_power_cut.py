"""Short forms of `make fault`'s power cuts and faults of the disk. SEED=N repeats them."""
import os
import secrets
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "fault"))
import powercut  # noqa: E402


def seed_and_build():
    seed = int(os.environ.get("SEED", secrets.randbelow(10**9)))
    print(f"seed {seed}")
    return seed, Path(os.environ.get("METERGATE_RELEASE", ROOT / "build" / "metergate")).resolve().parent


def test_power_cuts_take_nothing_that_was_acknowledged():
    """2,000 cuts, and one in each call of two short lives, and under files that are replaced whole; the same with
    synchronous=NORMAL loses rows, without a journal it leaves damage, or the harness were blind."""
    seed, build = seed_and_build()
    figures = powercut.run(build, 2000, seed)
    assert figures["full"]["cuts"] == 2000 and figures["full"]["second_cuts"] > 300, figures
    assert figures["every"]["cuts"] > figures["every"]["calls"] > 300, figures


def test_a_disk_that_fails_takes_nothing_that_was_acknowledged():
    """Errors, a full disk and short writes, at every 40th call: an error and on, or an end and a clean start."""
    seed, build = seed_and_build()
    figures = powercut.fail(build, 40, seed)
    assert figures["cases"] > 60 and figures["went_on"] > 20 and figures["ended"] > 10, figures
