"""Replies damaged in every way: nothing that fails a check is believed, and what passes by chance is not called good."""
import os
import secrets
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "fault"))
import damaged  # noqa: E402


def test_damaged_frames():
    """The short form of `make fault`'s ten million, on pseudo-terminals, RTU over TCP and Modbus TCP. SEED=N repeats it."""
    seed = int(os.environ.get("SEED", secrets.randbelow(10**9)))
    print(f"seed {seed}")
    release = Path(os.environ.get("METERGATE_RELEASE", ROOT / "build" / "metergate"))
    figures = damaged.run(release.resolve().parent, 20000, seed, lines=80)
    assert figures["believed_failing"] == 0 and figures["wrong_otherwise"] == 0, figures
    for kind in ("serial", "rtu_over_tcp", "tcp"):
        assert figures[f"damaged_{kind}"] >= 500, figures
    ends = {end: figures["by_chance"][end] + figures["helped"][end] for end in ("good", "suspect", "discarded")}
    assert sum(ends.values()) >= 100, figures  # how few were called good the program itself judges
