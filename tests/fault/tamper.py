"""Random edits of a store with SQL, each of which `metergate verify` has to find.

The store is built through the product (tamper_store.c). The edits are made by Python's sqlite3, which knows nothing of
the chains: another value in any column of any row, a row copied, deleted, exchanged with another, an end cut off (with
the head that was published handed to verify), an older copy put back. Not edits: those after which the row is as before.
Bit flips of the file are a second kind: found, refused, or in bytes that hold nothing; never a crash.
"""
import random
import re
import shutil
import sqlite3
import subprocess
import time
from pathlib import Path

# What the chains and verify promise to cover: rows of these tables, all columns.
TABLES = ("period", "alert", "alert_change", "gap", "audit", "audit_head", "chain", "chain_hole", "ledger", "revision", "account",
          "setting", "meter", "decoder", "series")
READING_TABLES = ("tail", "segment", "pack", "segment_lane", "reading_chain")
# A chain whose end is cut: table, condition, its row in table chain.
TAILS = (("period", "span = 3", 3), ("period", "span = 5", 5), ("period", "span = 6", 6), ("alert_change", "1", 8), ("gap", "1", 9),
         ("ledger", "1", 12), ("revision", "1", 13))
KINDS = ("change", "insert", "delete", "swap", "cut", "rollback")
WEIGHTS = (60, 10, 12, 12, 5, 1)


def build(builder, folder, seed, killed=False):
    folder.mkdir(parents=True)
    ended = subprocess.run([builder, folder, str(seed)] + (["killed"] if killed else []), capture_output=True, text=True, timeout=300)
    assert ended.returncode == (-9 if killed else 0), f"{ended.returncode}: {ended.stderr}"


def verify(binary, folder, *more):
    """Exit status and what it says; a crash fails the run."""
    ended = subprocess.run([binary, "verify", "--state", folder, *more], capture_output=True, text=True, errors="replace", timeout=120)
    assert ended.returncode in (0, 1), f"verify ended with {ended.returncode}: {ended.stdout[-300:]} {ended.stderr[-3000:]}"
    return ended.returncode, ended.stdout + ended.stderr


def key_columns(database, table):
    keys = [row[1] for row in database.execute(f"PRAGMA table_info({table})") if row[5]]
    return keys or ["rowid"]


class Editor:
    """Makes one edit at a time in an open database; says what it did, None when nothing came of it."""

    def __init__(self, database, rng):
        self.database = database
        self.rng = rng
        names = {row[0] for row in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        self.live_slots = live_slots(database) if "tail" in names else 0
        self.tables = [table for table in TABLES + READING_TABLES if table in names and self.rows(table)]
        if "reading" in names and self.rows("reading"):
            self.tables.append("reading")

    def rows(self, table):
        # Slots of the tail that a segment was made of hold nothing any more: they are written over.
        where = f" WHERE slot < {self.live_slots}" if table == "tail" else ""
        return [tuple(row) for row in self.database.execute(f"SELECT * FROM {table}{where}")]

    def columns(self, table):
        return [row[1] for row in self.database.execute(f"PRAGMA table_info({table})")]

    def place(self, table, row):
        columns = self.columns(table)
        keys = key_columns(self.database, table)
        return " AND ".join(f"{key} IS ?" for key in keys), [row[columns.index(key)] for key in keys]

    def other_value(self, value):
        rng = self.rng
        if value is None:
            return rng.choice([0, 1, rng.randrange(1 << 40), b"\x00" * 32, "x"])
        if isinstance(value, int):
            return rng.choice([value + 1, value - 1, -value, value ^ (1 << rng.randrange(40)), rng.randrange(1 << 44), None])
        if isinstance(value, float):
            return rng.choice([value + 1, -value, value * (1 + 2**-40), rng.uniform(-1e6, 1e6), None])
        if isinstance(value, str):
            at = rng.randrange(len(value) + 1)
            return rng.choice([value + "x", value[:at] + "\x00" + value[at:], value[:at], value.swapcase(), "", value[::-1]])
        at = rng.randrange(len(value) or 1)
        flipped = bytes(byte ^ (1 << rng.randrange(8)) if i == at else byte for i, byte in enumerate(value))
        return rng.choice([flipped, flipped, value[:at], value + b"\x00", rng.randbytes(len(value)), b"", None])

    def change(self):
        table = self.rng.choice(self.tables)
        row = self.rng.choice(self.rows(table))
        column = self.rng.choice(self.columns(table))
        value = self.other_value(row[self.columns(table).index(column)])
        where, key = self.place(table, row)
        self.database.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", [value] + key)
        return f"{table} {key}: {column} = {value!r:.60}"

    def insert(self):
        table = self.rng.choice(self.tables)
        columns = self.columns(table)
        row = list(self.rng.choice(self.rows(table)))
        key = key_columns(self.database, table)[-1]
        at = columns.index(key)
        if not isinstance(row[at], int):
            return None
        newest = max(one[at] for one in self.rows(table))
        row[at] = self.rng.choice([newest + 1, newest + self.rng.randrange(2, 1000), row[at] + 1, -row[at] - 1, 0])
        if self.rng.random() < 0.5:  # with something else in it
            other = self.rng.randrange(len(columns))
            row[other] = self.other_value(row[other]) if other != at else row[other]
        self.database.execute(f"INSERT INTO {table} VALUES ({','.join('?' * len(row))})", row)
        return f"{table}: a copy at {key} {row[at]}"

    def delete(self):
        table = self.rng.choice(self.tables)
        row = self.rng.choice(self.rows(table))
        where, key = self.place(table, row)
        self.database.execute(f"DELETE FROM {table} WHERE {where}", key)
        return f"{table} {key} deleted"

    def swap(self):
        """Two rows change places: all columns but the key, or the key alone, or all but key, link and hash."""
        table = self.rng.choice(self.tables)
        rows = self.rows(table)
        if len(rows) < 2:
            return None
        one, other = self.rng.sample(rows, 2)
        columns = self.columns(table)
        keys = key_columns(self.database, table)
        kept = set(keys) | (set() if self.rng.random() < 0.5 else {"link", "hash"})
        moved = [column for column in columns if column not in kept]
        if not moved:
            return None
        before = (one, other)
        # Out of the way first: a value may have to be unique.
        where, key = self.place(table, one)
        other_where, other_key = self.place(table, other)
        new_one = [other[columns.index(c)] if c in moved else v for c, v in zip(columns, one)]
        new_other = [one[columns.index(c)] if c in moved else v for c, v in zip(columns, other)]
        if (tuple(new_one), tuple(new_other)) == before:
            return None
        self.database.execute(f"DELETE FROM {table} WHERE {where}", key)
        self.database.execute(f"DELETE FROM {table} WHERE {other_where}", other_key)
        marks = ",".join("?" * len(columns))
        self.database.execute(f"INSERT INTO {table} VALUES ({marks})", new_one)
        self.database.execute(f"INSERT INTO {table} VALUES ({marks})", new_other)
        return f"{table} {key} and {other_key} exchanged"

    def cut(self):
        """The end of a chain goes, its head with it: only the published head can tell."""
        rng = self.rng
        if rng.random() < 0.4:
            last = self.database.execute("SELECT max(number) FROM audit").fetchone()[0]
            to = last - rng.randrange(1, min(last, 30))
            self.database.execute("DELETE FROM audit WHERE number > ?", [to])
            self.database.execute("UPDATE audit_head SET (number, hash) = (SELECT number, hash FROM audit WHERE number = ?)", [to])
            return f"audit cut behind {to}"
        table, where, chain = rng.choice(TAILS)
        rows = self.database.execute(f"SELECT link, hash, rowid FROM {table} WHERE {where} ORDER BY link DESC LIMIT 20").fetchall()
        if len(rows) < 2:
            return None
        link, head, row = rng.choice(rows[1:])
        if table == "alert_change":
            self.database.execute("DELETE FROM alert WHERE number NOT IN (SELECT alert FROM alert_change WHERE id <= ?)", [row])
        self.database.execute(f"DELETE FROM {table} WHERE {where} AND link > ?", [link])
        self.database.execute("UPDATE chain SET number = ?, hash = ? WHERE chain = ?", [link, head, chain])
        if table == "alert_change":
            self.database.execute("UPDATE alert SET last_change = (SELECT max(id) FROM alert_change WHERE alert = number)")
            self.database.execute("UPDATE alert SET closed_ms = (SELECT CASE state WHEN 4 THEN at_ms END FROM alert_change WHERE id = last_change)")
        return f"{table} {where} cut behind link {link}"


def live_slots(database):
    """How many pages of the tail hold rows: those whose first row is not in a segment already."""
    begins = database.execute("SELECT coalesce(max(first + count), 1) FROM segment").fetchone()[0]
    count = 0
    for slot, body in database.execute("SELECT slot, body FROM tail ORDER BY slot"):
        if slot != count or int.from_bytes(body[8:16], "big") < begins:
            break
        count += 1
    return count


def restore(folder, pristine):
    for name in ("metergate.db-wal", "metergate.db-shm"):
        (folder / name).unlink(missing_ok=True)
    (folder / "metergate.db").write_bytes(pristine)


def edit_once(folder, pristine, rng, kind):
    """What was done, or None when this draw made no edit."""
    restore(folder, pristine)
    database = sqlite3.connect(folder / "metergate.db", isolation_level=None)
    try:
        database.execute("PRAGMA foreign_keys = OFF")
        database.execute("PRAGMA synchronous = OFF")
        editor = Editor(database, rng)
        before = {table: editor.rows(table) for table in editor.tables}
        database.execute("BEGIN")
        try:
            what = getattr(editor, kind)()
        except sqlite3.Error:  # the schema itself refuses it
            what = None
        if what is not None and all(editor.rows(table) == rows for table, rows in before.items()):
            what = None
        database.execute("COMMIT" if what else "ROLLBACK")
        return what
    finally:
        database.close()


def run_edits(binary, folder, pristine, edits, rng, say):
    heads = ("--heads", str(folder / "heads.jsonl"))
    stages = sorted(folder.glob("stage-*.db"))[:-1]
    counts = dict.fromkeys(KINDS, 0)
    missed = []
    began = time.monotonic()
    while sum(counts.values()) < edits:
        kind = rng.choices(KINDS, WEIGHTS)[0]
        if kind == "rollback":
            old = rng.choice(stages)
            restore(folder, old.read_bytes())
            what = f"{old.name} put back"
        else:
            what = edit_once(folder, pristine, rng, kind)
        if what is None:
            continue
        counts[kind] += 1
        try:
            status, text = verify(binary, folder, *(heads if kind in ("cut", "rollback") else ()))
        except AssertionError as error:
            raise AssertionError(f"after {kind}: {what}: {error}") from error
        named = re.search(r"[a-z-]+:? ?-?[0-9]+|file:|chain |removed:|register:", text)
        if status != 1 or not named:
            missed.append(f"{kind}: {what}: {text.strip()[-200:]}")
            if len(missed) >= 20:
                break
        done = sum(counts.values())
        if done % 1000 == 0:
            say(f"  {done} edits, {len(missed)} not found, {done / (time.monotonic() - began):.0f} a second")
    return counts, missed, time.monotonic() - began


def run_flips(binary, folder, pristine, flips, rng):
    """One bit each. Not found is allowed only where every row of every table is as before: bytes that hold nothing."""
    told = unused = 0
    tables = None
    for _ in range(flips):
        at = rng.randrange(len(pristine))
        damaged = bytearray(pristine)
        damaged[at] ^= 1 << rng.randrange(8)
        restore(folder, bytes(damaged))
        status, _ = verify(binary, folder)
        if status == 1:
            told += 1
            continue
        tables = tables or contents(pristine, folder.parent)
        assert contents(bytes(damaged), folder.parent) == tables, f"bit flip in byte {at} changed rows and was not found"
        unused += 1
    return told, unused


COVERED = TABLES + READING_TABLES


def contents(image, folder):
    path = folder / "flipped.db"
    path.write_bytes(image)
    database = sqlite3.connect(path)
    try:
        names = [row[0] for row in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
        slots = live_slots(database) if "tail" in names else 0
        return {name: sorted(map(repr, database.execute(f"SELECT * FROM {name}" + (f" WHERE slot < {slots}" if name == "tail" else ""))))
                for name in names if name in COVERED}
    finally:
        database.close()


def run(folder, binary, builder, edits, flips, seed, say=print):
    rng = random.Random(seed)
    clean = 0
    for killed in (False, True):
        place = folder / ("killed" if killed else "store")
        build(builder, place, seed, killed)
        status, text = verify(binary, place, "--heads", str(place / "heads.jsonl"))
        assert status == 0, f"an untouched store ({'killed' if killed else 'clean stop'}) is said to be damaged: {text}"
        clean += 1
    place = folder / "store"
    for stage in sorted(place.glob("stage-*.db")):
        old = folder / stage.stem
        old.mkdir()
        shutil.copy(stage, old / "metergate.db")
        status, text = verify(binary, old)
        assert status == 0, f"{stage.name} is said to be damaged: {text}"
        clean += 1
    pristine = (place / "metergate.db").read_bytes()
    counts, missed, seconds = run_edits(binary, place, pristine, edits, rng, say)
    for line in missed:
        say(f"  NOT FOUND {line}")
    told, unused = run_flips(binary, place, pristine, flips, rng)
    return {"edits": sum(counts.values()), "counts": counts, "missed": len(missed), "clean": clean, "flips": flips,
            "flips_told": told, "flips_unused": unused, "bytes": len(pristine), "seconds": round(seconds, 1),
            "rate": round(sum(counts.values()) / seconds, 1)}


if __name__ == "__main__":
    import sys
    import tempfile
    with tempfile.TemporaryDirectory(prefix="metergate-tamper-") as name:
        print(run(Path(name), Path(sys.argv[1]) / "metergate", Path(sys.argv[1]) / "tests/fault/tamper_store", int(sys.argv[2]), 200, int(sys.argv[3])))
