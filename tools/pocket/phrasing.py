"""The template grammar: `[a|b]` chooses one of the alternatives, `{name}` inserts a value.

Most of the corpus comes from such templates, so that one line of source produces dozens of
sentences.
"""

import random
import re
from collections.abc import Mapping

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_DOUBLED = {"begin", "cut", "get", "put", "run", "set", "shut", "stop", "swap", "log"}


def expand(rng: random.Random, template: str, values: Mapping[str, str] | None = None) -> str:
    """One sentence of a template; alternatives may nest, values are put in last and left as they
    are.
    """
    while match := _CHOICE.search(template):
        choice = rng.choice(match[1].split("|"))
        template = template[: match.start()] + choice + template[match.end() :]
    return template.format_map(values) if values else template


def capital(text: str) -> str:
    """The text with an upper-case first letter."""
    return text[:1].upper() + text[1:]


def gerund(phrase: str) -> str:
    """`kick off` -> `kicking off`: the first word takes -ing."""
    first, _, rest = phrase.partition(" ")
    if first in _DOUBLED:
        first += first[-1]
    elif first.endswith("ie"):
        first = first[:-2] + "y"
    elif first.endswith("e") and not first.endswith("ee"):
        first = first[:-1]
    return f"{first}ing {rest}".rstrip()


def article(noun: str) -> str:
    """The noun with `a` or `an`; a plural gets no article."""
    if noun.split()[-1].endswith("s") and not noun.endswith("ss"):
        return noun
    return f"{'an' if noun[0].lower() in 'aeio' else 'a'} {noun}"


def plural(noun: str) -> str:
    """The plural of a noun: `invoice` -> `invoices`, `policy` -> `policies`."""
    if noun.endswith("s") and not noun.endswith("ss"):
        return noun
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")
