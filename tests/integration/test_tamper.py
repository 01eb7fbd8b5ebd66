"""Short form of the tamper bar: random edits of a store with SQL, each found by `metergate verify`."""
import os
import secrets
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "fault"))

import tamper  # noqa: E402

from lib.gateway import program  # noqa: E402


def test_each_edit_of_a_store_is_found(tmp_path):
    seed = int(os.environ.get("SEED") or secrets.randbelow(10**9))
    print(f"seed {seed}")
    release = Path(os.environ.get("METERGATE_RELEASE", ROOT / "build" / "metergate"))  # the tools lie beside it alone
    figures = tamper.run(tmp_path, program(), release.resolve().parent / "tests/fault/tamper_store", edits=300, flips=60,
                         seed=seed)
    assert figures["missed"] == 0 and figures["clean"] == 5, figures
    assert figures["flips_told"] > 0, figures
