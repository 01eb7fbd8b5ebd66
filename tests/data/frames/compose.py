#!/usr/bin/env python3
"""Composes the golden frames of a profile from its card: cards/NAME.csv to NAME.json.

A card is the meter's map written down a second time, from the maker's document and not from the profile, with a
value for every register: what stands in it (`raw`) and what must be shown for it (`value`, `unit`). This program
encodes the raw numbers and computes the check sums; it shares nothing with metergate.

    compose.py            writes all NAME.json
    compose.py --check    1 if one of them is not what its card gives

Columns of a card: case, function, register, type, order, raw, channel, value, unit. Rows of one channel are its
parts: the first has value and unit. A row without channel is a register that the profile reads beside (a scale
register). Where the meter has no value, `value` is empty and `unit` still named. Lines of the form
`# units CASE CHANNEL=UNIT …`, `# word_order CASE ORDER` say what the meter's entry would say, `# register_size 4` (Enron)
and `# unit N` how the meter is asked.
"""
import csv
import json
import struct
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
MOST_REGISTERS = 60
FORMATS = {"u16": ">H", "i16": ">h", "u32": ">I", "i32": ">i", "u64": ">Q", "i64": ">q", "f32": ">f", "f64": ">d"}


def crc16(data):
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return struct.pack("<H", crc)


def ordered(data, order):
    """Big-endian bytes in the order that the letters name: 'A' is the most significant."""
    return bytes(data["ABCDEFGH".index(letter)] for letter in order) if order else data


def encode(kind, order, raw):
    """The bytes of one value on the wire."""
    if kind.startswith("bcd"):
        digits = int(kind[3:])
        return bytes.fromhex(f"{int(raw):0{digits}d}")
    if kind.startswith("string"):
        return raw.encode().ljust(int(kind[6:]), b"\0")
    if raw.startswith("0x"):
        return ordered(bytes.fromhex(raw[2:].zfill(2 * struct.calcsize(FORMATS[kind]))), order)
    number = float(raw) if kind[0] == "f" else int(raw)
    return ordered(struct.pack(FORMATS[kind], number), order)


def frames(words, register_size, unit):
    """Requests and replies that read {(function, register): bytes}, one for each run without a gap."""
    made = []
    places = sorted(words)
    while places:
        function, first = places[0]
        data, place = b"", first
        while (function, place) in words:
            piece = words[(function, place)]
            if len(data + piece) // 2 > MOST_REGISTERS:
                break
            data += piece
            places.remove((function, place))
            place += 1 if function <= 2 else len(piece) // register_size
        count = len(data) // 2 if function <= 2 else len(data) // register_size
        if function <= 2:  # one bit each
            bits = sum((data[2 * i + 1] & 1) << i for i in range(count))
            data = bits.to_bytes((count + 7) // 8, "little")
        request = struct.pack(">BBHH", unit, function, first, count)
        reply = struct.pack(">BBB", unit, function, len(data)) + data
        made.append({"request": (request + crc16(request)).hex(), "reply": (reply + crc16(reply)).hex()})
    return made


def shown(row):
    """What the feed says of a channel."""
    value = {"value": row["value"] if row["value"] else None}
    if row["channel"] == "status":
        value["value"] = row["value"].split(";") if row["value"] else []
    if row["unit"]:
        value["unit"] = row["unit"]
    if value["value"] is None:
        value.update(quality="missing", why="not-available")
    return value


def read_card(path):
    settings, lines = {}, []
    for line in path.read_text().splitlines():
        if line.startswith("# "):
            name, *rest = line[2:].split()
            settings.setdefault(name, []).append(rest)
        elif line:
            lines.append(line)
    return settings, list(csv.DictReader(lines))


def case_of(name, settings, rows):
    register_size = int(settings.get("register_size", [["2"]])[0][0])
    words = {(int(row["function"]), int(row["register"])): encode(row["type"], row["order"], row["raw"]) for row in rows}
    made = {"origin": "constructed"}
    for case, *entries in settings.get("units", []):
        if case == name:
            made["units"] = dict(entry.split("=") for entry in entries)
    for case, order in settings.get("word_order", []):
        if case == name:
            made["word_order"] = order
    made["frames"] = frames(words, register_size, int(settings.get("unit", [["1"]])[0][0]))
    made["values"] = {row["channel"]: shown(row) for row in reversed(rows) if row["channel"]}
    for row in rows:  # the first row of a channel says what is shown
        if row["channel"] and (row["value"] or row["unit"]):
            made["values"][row["channel"]] = shown(row)
    made["values"] = dict(reversed(made["values"].items()))
    return made


def printed(case):
    """JSON with one line for each frame and each value."""
    lines = []
    for key, value in case.items():
        if key == "frames":
            value = "[\n   " + ",\n   ".join(map(json.dumps, value)) + "]"
        elif key == "values":
            value = "{\n   " + ",\n   ".join(f"{json.dumps(name)}: {json.dumps(one)}" for name, one in value.items()) + "}"
        else:
            value = json.dumps(value)
        lines.append(f"{json.dumps(key)}: {value}")
    return " {" + ",\n  ".join(lines) + "}"


def compose(path):
    settings, rows = read_card(path)
    names = list(dict.fromkeys(row["case"] for row in rows))
    cases = [case_of(name, settings, [row for row in rows if row["case"] == name]) for name in names]
    return '{"cases": [\n' + ",\n".join(printed(case) for case in cases) + "\n]}\n"


def main():
    wrong = []
    for path in sorted((FOLDER / "cards").glob("*.csv")):
        target = FOLDER / f"{path.stem}.json"
        text = compose(path)
        if "--check" not in sys.argv[1:]:
            target.write_text(text)
        elif not target.exists() or target.read_text() != text:
            wrong.append(target.name)
    if wrong:
        print("not what their cards give:", *wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
