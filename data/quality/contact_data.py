"""Finds e-mail addresses, phone numbers, IBANs and card numbers.

IBANs and card numbers have check digits, which are verified, so that order numbers are not taken
for them. Phone numbers are found by `phonenumbers` where it is installed, and otherwise, or in
other spellings, by an international prefix or by a word such as "call" before them.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["e-mail address", "phone number", "IBAN", "card number", "secret", "name"]

EMAIL = re.compile(
    r"(?<![\w.+-])[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@"
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}(?![\w-])"
)
# ISO 13616: country, two check digits, up to 30 letters and digits, often in groups of four
IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]){11,30}(?![A-Za-z0-9])")
IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22,
    "BR": 29, "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28,
    "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23,
    "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26,
    "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20,
    "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30,
    "NL": 18, "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22,
    "SA": 24, "SC": 31, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "ST": 25, "SV": 28, "TL": 23,
    "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
}  # fmt: skip
CARD = re.compile(r"(?<![\w.-])[2-6](?:[ -]?\d){12,18}(?![\w-])(?!\.\d)")
NUMBER = re.compile(
    r"(?<![\w.,:/=#-])(?:\+|\()?\d[\d()\s./\u2010\u2011-]{4,22}\d(?![\w-])(?![.,:]\d)"
)
CALLED = re.compile(
    r"\b(?:call(?:\s+(?:us|me|him|her|them))?|dial|ring|phone|telephone|tel|mobile|cell|fax|"
    r"hotline|whatsapp|sms|text(?:\s+me)?|telefon|handy|anrufen|rufnummer|durchwahl|appelez|"
    r"téléphone|teléfono|llame|telefono|chiamare)\b[^\w\n]{0,4}(?:(?:number|no|nummer|is|ist|on|at|"
    r"via|unter|au|al|the|desk|line)\b[^\w\n]{0,3}){0,4}$",
    re.IGNORECASE,
)
SPACED = re.compile(r"\d[\s()./-]+\d")
BEFORE = 40  # characters before a number in which such a word counts
REGIONS = ("US", "GB", "DE", "FR")  # whose national numbers `phonenumbers` is asked for
DATE = re.compile(r"^\d{1,4}[./-]\d{1,2}[./-]\d{1,4}(?:\D|$)|^(?:1[89]|20)\d\d\s*[-\u2013]")


@dataclass(frozen=True)
class Span:
    """Private words in a text, from `start` to `end`."""

    kind: Kind
    start: int
    end: int


def emails(text: str) -> list[Span]:
    if "@" not in text:
        return []
    return [Span("e-mail address", *found.span()) for found in EMAIL.finditer(text)]


def ibans(text: str) -> list[Span]:
    return [
        Span("IBAN", found.start(), found.start() + length)
        for found in IBAN.finditer(text)
        if (length := _iban_length(found.group()))
    ]


def cards(text: str) -> list[Span]:
    return [
        Span("card number", *found.span())
        for found in CARD.finditer(text)
        if _is_card(re.sub(r"\D", "", found.group()))
    ]


def phones(text: str) -> list[Span]:
    found = [Span("phone number", *span) for span in _phones(text)] if _digits(text, 6) else []
    taken = [*ibans(text), *cards(text)] if found else []
    return [one for one in found if not any(_overlap(one, other) for other in taken)]


FINDERS: dict[Kind, Callable[[str], list[Span]]] = {
    "e-mail address": emails,
    "IBAN": ibans,
    "card number": cards,
    "phone number": phones,
}


def key(words: str) -> str:
    """Equal for two spellings of one address or number."""
    if "@" in words:
        return words.casefold()
    plain = re.sub(r"[^0-9A-Za-z+]", "", words).casefold()
    return plain.removeprefix("+") if not plain.startswith("00") else plain[2:]


def _phones(text: str) -> Iterator[tuple[int, int]]:
    for found in NUMBER.finditer(text):
        number, start = found.group().strip(), found.start()
        digits = re.sub(r"\D", "", number)
        end = start + len(found.group().rstrip())
        if not 6 <= len(digits) <= 15 or DATE.match(number) or "\n" in number:
            continue
        international = number.startswith(("+", "00")) and len(digits) >= 8
        called = CALLED.search(text[max(0, start - BEFORE) : start])
        if international or called or (SPACED.search(number) and _is_national(number)):
            yield start, end


def _is_national(number: str) -> bool:
    """Whether it is a number as people in one of `REGIONS` write it."""
    try:
        import phonenumbers
    except ImportError:
        return False
    for region in REGIONS:
        leniency = phonenumbers.Leniency.STRICT_GROUPING
        matcher = phonenumbers.PhoneNumberMatcher(number, region, leniency=leniency)
        if any(match.start == 0 and match.end == len(number) for match in matcher):
            return True
    return False


def phones_by_library() -> bool:
    """Whether `phonenumbers` is installed, so that national numbers are found, too."""
    import importlib.util

    return importlib.util.find_spec("phonenumbers") is not None


def _digits(text: str, least: int) -> bool:
    """Whether a text has that many digits; a quick no for most texts."""
    return sum(map(text.count, "0123456789")) >= least


def _iban_length(written: str) -> int:
    """How many characters of `written` are an IBAN with correct check digits (ISO 7064, mod 97);
    0 if it is none."""
    wanted, seen = IBAN_LENGTHS.get(written[:2], 0), 0
    for at, char in enumerate(written):
        seen += char.isalnum()
        if seen == wanted:
            compact = re.sub(r"[^A-Z0-9]", "", written[: at + 1])
            turned = compact[4:] + compact[:4]
            value = int("".join(str(int(char, 36)) for char in turned))
            rest = written[at + 1 : at + 2]
            return at + 1 if value % 97 == 1 and not rest.isalnum() else 0
    return 0


def _is_card(digits: str) -> bool:
    """Whether the number has the length and first digits of a card network and a correct check
    digit (Luhn, ISO/IEC 7812)."""
    lengths = {"3": (14, 15), "4": (13, 16, 19), "5": (16,), "6": (16, 19), "2": (16,)}
    if len(digits) not in lengths.get(digits[0], ()) or len(set(digits)) == 1:
        return False
    if digits[0] == "3" and digits[1] not in "04678":
        return False
    if digits[0] == "5" and digits[1] not in "0123456789"[1:6]:
        return False
    if digits[0] == "2" and not 2221 <= int(digits[:4]) <= 2720:
        return False
    doubled = [int(d) * 2 if i % 2 else int(d) for i, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def _overlap(one: Span, other: Span) -> bool:
    return one.start < other.end and other.start < one.end
