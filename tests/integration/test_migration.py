"""Stores of every earlier version (tests/data/stores) are brought to this one, whole: what they export is what the old program said."""
import csv
import re
import shutil
import sqlite3
from pathlib import Path

import pytest

from lib.gateway import run

STORES = Path(__file__).resolve().parent.parent / "data" / "stores"
NAMES = sorted((path.stem for path in STORES.glob("v*.sql")), key=lambda name: int(name[1:]))
EXPORTS = ("readings", "periods", "alerts", "audit")
MIGRATE = Path(__file__).resolve().parents[2] / "gateway" / "store" / "migrate.c"


def load(name, state):
    """The store as its program left it."""
    state.mkdir(mode=0o700)
    text = (STORES / f"{name}.sql").read_text()
    with sqlite3.connect(state / "metergate.db") as database:
        database.executescript(text)
        version = database.execute("PRAGMA user_version").fetchone()[0]
    assert name.startswith(f"v{version}"), f"{name} holds version {version}"
    return state


def rows(text):
    return list(csv.DictReader(text.splitlines()))


def as_before(old, new):
    """The columns that there were: later versions may have more."""
    return [{key: row.get(key) for key in old[0]} for row in new] if old else new


def bring_up_to_date(state):
    """Any command that opens the store for writing does."""
    result = run("user", "list", "--state", state)
    assert result.status == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("name", NAMES)
def test_store_of_an_earlier_version(name, tmp_path):
    state = load(name, tmp_path / "state")
    refused = run("export", "readings", "--state", state)
    assert refused.status == 1 and "start the gateway once" in refused.stderr, refused.stderr
    assert "ann" in bring_up_to_date(state)
    for what in EXPORTS:
        result = run("export", what, "--state", state)
        assert result.status == 0, result.stderr
        old = rows((STORES / f"{name}-{what}.csv").read_text())
        assert old, f"{what}: the fixture says nothing"
        assert as_before(old, rows(result.stdout)) == old, what
    verified = run("verify", "--state", state)
    assert verified.status == 0, verified.stdout
    # It is a store like any other: it can be backed up, restored, and opened again.
    copy = tmp_path / "one.backup"
    assert run("backup", copy, "--state", state).status == 0
    restored = run("restore", copy, "--state", state)
    assert restored.status == 0, restored.stderr
    assert run("verify", "--state", state).stdout == verified.stdout


@pytest.mark.parametrize("name", NAMES[:1])
def test_a_cut_in_between_is_gone_on_with(name, tmp_path):
    """A copy of the file, as it is after a power cut, at every step: a step is one transaction."""
    state = load(name, tmp_path / "state")
    with sqlite3.connect(state / "metergate.db") as database:
        before = database.execute("PRAGMA user_version").fetchone()[0]
        # A table that a step makes is there already, as nobody's but an error of ours would have it.
        database.execute("CREATE TABLE series(one)")
    failed = run("user", "list", "--state", state)
    assert failed.status == 1 and "version 2" in failed.stderr, failed.stderr
    with sqlite3.connect(state / "metergate.db") as database:
        assert database.execute("PRAGMA user_version").fetchone()[0] == before, "a step is taken whole, or not at all"
        database.execute("DROP TABLE series")
    assert "ann" in bring_up_to_date(state)


def test_newer_store_is_left_alone(tmp_path):
    state = load(NAMES[-1], tmp_path / "state")
    with sqlite3.connect(state / "metergate.db") as database:
        database.execute("PRAGMA user_version = 999")
    before = shutil.copy(state / "metergate.db", tmp_path / "before")
    refused = run("user", "list", "--state", state)
    assert refused.status == 1 and "newer" in refused.stderr, refused.stderr
    assert Path(before).read_bytes()[100:] == (state / "metergate.db").read_bytes()[100:]


def test_every_step_has_its_fixture():
    """Who adds a step stores what the version before it left (tests/data/stores/make.py); the newest may be on its way."""
    steps = len(re.findall(r"^    \{\"", MIGRATE.read_text(), re.MULTILINE))
    versions = {int(re.match(r"v(\d+)", name)[1]) for name in NAMES}
    assert versions >= set(range(1, steps - 1)), f"no fixture of {sorted(set(range(1, steps - 1)) - versions)}"
