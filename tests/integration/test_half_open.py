"""Half-open links, in short: one cut inside a PUBLISH or PUBACK over TCP and over TLS, one while nothing is sent."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "fault"))

import halfopen  # noqa: E402

from lib.gateway import program  # noqa: E402

SEED = 20261124


def test_half_open_links_are_found_and_lose_nothing(tmp_path):
    figures = halfopen.run(tmp_path, program(), cuts=3, seed=SEED, sides=3, meters=2)
    assert figures["cuts"] == 3 and figures["kinds"]["idle"] == 1, figures
    assert figures["stored"] >= 3 * 2, figures  # the first of each meter is waited for
