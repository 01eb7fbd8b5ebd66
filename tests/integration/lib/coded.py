"""What a simulated meter's registers must hold, worked out from the profile's YAML and the rule of coded values.

Written from tests/sites/README.md alone: it shares nothing with the program under test.
"""
import re
import struct
from decimal import Decimal

import yaml

MASK = (1 << 64) - 1


class Field:
    """Words of one number, as a profile names them."""

    def __init__(self, entry, default_type=None, register_size=2):
        entry = {"register": entry} if isinstance(entry, int) else entry
        kind = entry.get("type", default_type)
        self.first, self.function = int(entry["register"]), int(entry.get("function", 3))
        self.kind = re.match(r"[a-z]+", kind)[0]
        self.bits = int(re.search(r"\d+", kind)[0])
        self.words = {"bcd": self.bits // 4, "string": self.bits // 2}.get(self.kind, self.bits // 16)
        self.count = self.words * 2 // register_size if self.words > 1 else 1  # numbers in a request
        order = entry.get("order", "ABCD")
        self.reverse = order[0] in "CGDH"  # the last word first
        self.swap = order[0] in "BDH"      # the last byte first
        self.scale = Decimal(str(entry.get("scale", 1)))

    def wire(self, bits):
        """Words on the wire of raw bits (an int)."""
        words = [bits >> 16 * (self.words - 1 - i) & 0xFFFF for i in range(self.words)]
        if self.reverse:
            words.reverse()
        return [(word & 0xFF) << 8 | word >> 8 for word in words] if self.swap else words

    def raw(self, words):
        """Raw bits of words on the wire."""
        words = [(word & 0xFF) << 8 | word >> 8 for word in words] if self.swap else list(words)
        bits = 0
        for word in reversed(words) if self.reverse else words:
            bits = bits << 16 | word
        return bits

    def number(self, words):
        bits = self.raw(words)
        size = 2 * self.words
        if self.kind == "f":
            return Decimal(struct.unpack(">f" if size == 4 else ">d", bits.to_bytes(size, "big"))[0])
        if self.kind == "bcd":
            return Decimal(f"{bits:x}")
        return Decimal(bits - (1 << 8 * size) if self.kind == "i" and bits >> (8 * size - 1) else bits)


def profile_fields(path):
    """(fields of coded numbers, registers of scale registers) of a profile."""
    document = yaml.safe_load(path.read_text())
    fields, scales = [], []
    size = document.get("limits", {}).get("register_size", 2)
    for entry in document["channels"].values():
        for part in entry.get("parts", [entry]):
            inherited = {key: entry[key] for key in ("function", "type", "order") if key in entry}
            fields.append(Field({**inherited, **part}, None, size))
            if "scale_register" in entry or "scale_register" in part:
                scales.append(entry.get("scale_register", part.get("scale_register")))
    fields += [Field(entry, None, size) for entry in document.get("identity", {}).values()]
    fields += [Field(entry, "u16", size) for entry in document.get("status", [])]
    return fields, scales


def splitmix64(number):
    number = (number + 0x9E3779B97F4A7C15) & MASK
    number = ((number ^ number >> 30) * 0xBF58476D1CE4E5B9) & MASK
    number = ((number ^ number >> 27) * 0x94D049BB133111EB) & MASK
    return number ^ number >> 31


def fnv1a64(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 & MASK
    return value


def coded_words(meter, unit, field, tick):
    """What the help text says that the field's registers hold."""
    bits = 0
    for i in range(field.words):
        key = fnv1a64(meter) ^ (unit << 56 | field.function << 48 | field.first + i << 32 | tick)
        bits = bits << 16 | splitmix64(key) & 0xFFFF
    size = 16 * field.words
    if field.function <= 2:
        bits &= 1
    elif field.kind == "f":
        bits = 0x44800000 | bits & 0x7FFFFF if size == 32 else 0x4090000000000000 | bits & 0x000FFFFF00000000
    elif field.kind in "ui" and size == 64:
        bits &= 0xFFFFFFFF
    elif field.kind == "i":
        bits &= (1 << (size - 1)) - 1
    elif field.kind == "bcd":
        bits = int("".join(str(int(digit, 16) % 10) for digit in f"{bits:0{size // 4}x}"), 16)
    elif field.kind == "string":
        bits = int.from_bytes(bytes(ord("A") + byte % 26 for byte in bits.to_bytes(size // 8, "big")), "big")
    return field.wire(bits)
