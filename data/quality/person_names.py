"""Finds the names of people in what they write to each other.

No dictionary tells a name from a word, so only two kinds are found: names that are known to take
part in the conversation, and those in a greeting or under a closing line.
"""

import re
from collections.abc import Callable, Collection

from data.quality.contact_data import Span

NAME = r"[^\W\d_a-z][\w'’.-]*"  # begins with a capital
NAMES = rf"((?:{NAME})(?:[ ]{NAME}){{0,2}})"
GREETING = re.compile(
    r"(?:^|(?<=[.!?\n] )|(?<=\n))[ \t]*(?i:hi|hello|hey|dear|good (?:morning|afternoon|evening)|"
    r"thanks|thank you|hallo|moin|guten (?:tag|morgen)|liebe[r]?|sehr geehrte[r]? (?:frau|herr)|"
    rf"bonjour|chère?|hola|ciao|buongiorno)[ ,]+{NAMES}(?=[ \t]*[,!.:;–-]|[ \t]*$)",
    re.MULTILINE,
)
CLOSING = re.compile(
    r"(?im:^[ \t]*(?:(?:kind|best|warm|many)? ?(?:regards|wishes|thanks)|cheers|thank you|thx|best|"
    r"sincerely|yours(?: \w+)?|(?:viele|liebe|beste|mit freundlichen) (?:grüße|grüßen)|mfg|"
    rf"cordialement|saludos|merci|danke)[,.!]?[ \t]*\n\s*){NAMES}[ \t]*$",
    re.MULTILINE,
)
NOBODY = frozenset({
    "there", "all", "team", "everyone", "everybody", "folks", "support", "sir", "madam", "friends",
    "zusammen", "damen", "herren", "again", "customer", "admin",
})  # fmt: skip
SHORTEST = 2  # letters of a known name


def finder(known: Collection[str]) -> Callable[[str], list[Span]]:
    """A function that finds these people's names, whole or in part, and names in greetings."""
    words = {part for name in known for part in (name.strip(), *name.split())}
    words = {word for word in words if len(word) >= SHORTEST and not word.islower()}
    longest_first = sorted(words, key=len, reverse=True)
    whole = "|".join(map(re.escape, longest_first))
    pattern = re.compile(rf"(?<!\w)(?:{whole})(?!\w)") if words else None

    def find(text: str) -> list[Span]:
        found = [match.span() for match in pattern.finditer(text)] if pattern else []
        for one in (GREETING, CLOSING):
            found += [m.span(1) for m in one.finditer(text) if not _is_nobody(m.group(1))]
        return [Span("name", *span) for span in found]

    return find


def _is_nobody(words: str) -> bool:
    return any(word.casefold().strip(".") in NOBODY for word in words.split())
