"""Values to words of the wire, and what a correct reader makes of them.

Written from the Modbus and maker documents by struct and integers alone: it shares nothing with the program under test.
"""
import struct
from decimal import ROUND_HALF_EVEN, Decimal

MICRO = Decimal("0.000001")
_ORDERS_TWO = {"ABCD": (0, 1, 2, 3), "CDAB": (2, 3, 0, 1), "BADC": (1, 0, 3, 2), "DCBA": (3, 2, 1, 0)}


def words_of(data):
    """Big-endian words of an even number of bytes."""
    return list(struct.unpack(f">{len(data) // 2}H", data))


def f32(value, order="ABCD"):
    data = struct.pack(">f", value)
    return words_of(bytes(data[i] for i in _ORDERS_TWO[order]))


def u32(value, order="ABCD"):
    data = struct.pack(">I", value)
    return words_of(bytes(data[i] for i in _ORDERS_TWO[order]))


def integer(value, kind, order=None):
    """`kind`: u16 to i64. Eight letters of an order are four words."""
    letter = {"16": "h", "32": "i", "64": "q"}[kind[1:]]
    data = struct.pack(">" + (letter.upper() if kind[0] == "u" else letter), value)
    return words_of(bytes(data["ABCDEFGH".index(letter)] for letter in order) if order else data)


def order_of(kind, word_order):
    """The letters of a word order for a type: twice as many for four registers, None where there is no order."""
    four = {"ABCD": "ABCDEFGH", "CDAB": "GHEFCDAB", "BADC": "BADCFEHG", "DCBA": "HGFEDCBA"}
    return {"32": word_order, "64": four[word_order]}.get(kind[1:]) if kind[0] in "uif" else None


def f64(value, order="ABCDEFGH"):
    data = struct.pack(">d", value)
    return words_of(bytes(data["ABCDEFGH".index(letter)] for letter in order))


def bcd(value, digits):
    """`digits` decimal digits, four to a register."""
    text = f"{value:0{digits}d}"
    assert len(text) == digits
    return [int(text[i:i + 4], 16) for i in range(0, digits, 4)]


def f32_exact(value):
    """The decimal that the wire carries when `value` was packed as a 32-bit float."""
    return Decimal(struct.unpack(">f", struct.pack(">f", value))[0])


def counter(value):
    """A float total as the contract stores it: rounded half to even to 10^-6."""
    return Decimal(value).quantize(MICRO, rounding=ROUND_HALF_EVEN)


def counter_text(value):
    """Canonical decimal text of a counter: all digits, no exponent, no trailing zeros."""
    text = format(Decimal(value).quantize(MICRO, rounding=ROUND_HALF_EVEN), "f").rstrip("0").rstrip(".")
    return "0" if text in ("", "-0") else text


def gauge_matches(text, exact):
    """Whether a printed gauge is `exact` to 7 significant digits, and has no more digits than that."""
    printed, exact = Decimal(text), Decimal(exact)
    if len(printed.normalize().as_tuple().digits) > 7:
        return False
    if exact == 0:
        return printed == 0
    # The last of 7 digits may be rounded: half of it each way.
    return abs(printed - exact) <= Decimal(5).scaleb(exact.adjusted() - 7)
