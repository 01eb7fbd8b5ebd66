#!/usr/bin/python3
"""Checks the direction of includes: meter -> driver -> reading -> recorder -> store -> office and page.

A folder may include itself and what stands before it in ORDER. Prints every include that goes the other way.
"""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# Each folder and the folders it may use besides itself.
MAY_USE = {
    "base": set(),
    "drivers": {"base"},
    "config": {"base", "drivers", "gas"},
    "gas": {"base"},
    "live": {"base", "drivers", "config", "poll"},
    "poll": {"base", "drivers", "config", "gas", "live"},
    "detect": {"base", "drivers", "config", "gas", "poll"},
    "scan": {"base", "drivers", "config", "poll"},
    "record": {"base", "drivers", "config", "gas", "poll", "detect", "store", "live"},
    "store": {"base", "drivers", "config", "gas", "poll", "detect", "record"},
    "report": {"base", "gas", "record"},
    "office": {"base", "drivers", "config", "gas", "poll", "detect", "record", "store", "live"},
    "control": {"base", "drivers", "config", "gas", "poll", "detect", "record", "store", "office", "live", "gateway", "scan"},
    "gateway": None,  # owns every part
    "cli": None,
    "simulator": {"base", "drivers", "config", "cli", "gas"},
    "web": {"base", "control", "cli"},
}
PURE = {"gas", "detect", "report"}
IMPURE_HEADERS = {"pthread.h", "sqlite3.h", "modbus/modbus.h", "MQTTAsync.h", "sys/socket.h"}


def subject(path):
    parts = path.relative_to(ROOT).parts
    if parts[0] == "gateway":
        if len(parts) == 2:
            return "live" if path.stem == "live" else "gateway"
        return parts[1]
    if parts[:2] == ("drivers", "simulator"):
        return "simulator"
    return parts[0]


def resolve(name):
    for base in (ROOT / "gateway", ROOT):
        if (base / name).is_file():
            return base / name
    return None


def main():
    faults = 0
    for folder in ("gateway", "drivers", "config", "web"):
        for path in sorted((ROOT / folder).rglob("*.[ch]")):
            source = subject(path)
            allowed = MAY_USE[source]
            for number, line in enumerate(path.read_text().splitlines(), 1):
                match = re.match(r'\s*#include\s+[<"]([^>"]+)[>"]', line)
                if not match:
                    continue
                place = f"{path.relative_to(ROOT)}:{number}"
                if source in PURE and match[1] in IMPURE_HEADERS:
                    print(f"{place}: {source}/ is pure and may not include {match[1]}")
                    faults += 1
                target = resolve(match[1])
                if target is None or allowed is None:
                    continue
                if subject(target) != source and subject(target) not in allowed:
                    print(f"{place}: {source}/ may not include {match[1]}")
                    faults += 1
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
