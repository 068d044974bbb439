"""Values for answers: commands, files, amounts, times, people, messages.

All are made up but look real. Tuning mostly asks the model to recite such strings exactly.
"""

import random

from tools.pocket import lexicon as lex
from tools.pocket.answers import HINT
from tools.pocket.phrasing import capital, expand

_COMMANDS = [
    "/{n} {v}",
    "/{n} {v} {o}",
    "{n} {o} {v}",
    "{n} {v}",
    "{n} {v} {o}",
    "/{v}",
    "/{v} {o}",
    "{n} {v} --{o}",
    "{n}-{v} {o}",
    "{n} {v} {o}@2",
    "{n} {o}s {v}",
    "{v}_{o}.py",
]

_ERRORS = [
    "{w} {v} [failed|refused|denied|timed out]",
    "[no|invalid|unknown|missing|duplicate|expired] {w} {x}",
    "[cannot|could not] {v} {w}",
    "{w} [is full|not found|not allowed|is busy|too large|is locked]",
    "[error|code|E] {n}",
    "[too many|not enough|no more] {w}s",
]


def product(rng: random.Random) -> str:
    """The name of a product, organisation or town."""
    return (rng.choice(lex.HALVES[0]) + rng.choice(lex.HALVES[1])).capitalize()


def number(rng: random.Random) -> str:
    """A number as in manuals: small and round numbers are common."""
    small, also_small = rng.randint(1, 12), rng.randint(1, 12)
    return str(rng.choice([small, also_small, int(rng.choice(lex.ROUND)), rng.randint(13, 999)]))


def _count(rng: random.Random, units: int = len(lex.UNITS)) -> str:
    """An amount in one of the first `units` units; six of them are units of time."""
    amount = rng.choice([*lex.AMOUNTS, number(rng)])
    unit = rng.choice(lex.UNITS[:units])
    return f"{amount} {unit.rstrip('s') if amount in ('one', '1') and unit != 'people' else unit}"


def _slug(rng: random.Random) -> str:
    """A word in the form used in commands and paths."""
    return rng.choice(rng.choice([lex.WORDS, lex.OFFICE])).split()[-1]


def _command(rng: random.Random, verbs: tuple[str, ...], nouns: tuple[str, ...]) -> str:
    """A command line. Half of them consist of words from the question."""
    verb = rng.choice(verbs).split()[0] if rng.random() < 0.5 else rng.choice(lex.VERBS)
    noun = rng.choice(nouns).split()[-1].lower() if rng.random() < 0.5 else _slug(rng)
    name = rng.choice([_slug(rng), product(rng).lower()])
    shape = rng.choice(_COMMANDS)
    return shape.format(n=name, v=verb, o=noun)


def _file(rng: random.Random, nouns: tuple[str, ...]) -> str:
    word = rng.choice(nouns).split()[-1].lower() if rng.random() < 0.4 else _slug(rng)
    folders = [
        rng.choice([_slug(rng), "data", "etc", "var", "home", "logs", "config", "models"])
        for _ in range(rng.choice([0, 0, 1, 1, 2]))
    ]
    slash = rng.choice(["", "/", "~/"]) if folders else ""
    return slash + "/".join([*folders, f"{word}.{rng.choice(lex.EXTENSIONS)}"])


def _time(rng: random.Random) -> str:
    return f"{rng.randint(6, 22):02d}:{rng.choice(['00', '00', '15', '30', '45'])}"


def _mail(rng: random.Random, names: list[str]) -> str:
    ending = rng.choice(["org", "com", "example"])
    return f"{rng.choice(names)}@{product(rng).lower()}.{ending}"


def error_message(rng: random.Random) -> str:
    """An error message of a program."""
    template = rng.choice(_ERRORS)
    values = {
        "w": rng.choice(lex.WORDS),
        "x": rng.choice(lex.WORDS),
        "v": rng.choice(lex.VERBS),
        "n": number(rng),
    }
    return expand(rng, template, values)


def _key(rng: random.Random) -> str:
    first, joint = rng.choice(lex.WORDS), rng.choice("_.-")
    return first + joint + rng.choice([*lex.WORDS, *lex.UNITS])


def _value(rng: random.Random) -> str:
    """A value of a setting."""
    name = rng.choice(lex.WORDS)
    drawn = [number(rng), _count(rng), f"`{name}`", f"`{name}-{number(rng)}`", _time(rng)]
    return rng.choice([*drawn, "on", "off", "empty", rng.choice(lex.DAYS)])


def words(
    rng: random.Random, verbs: tuple[str, ...], nouns: tuple[str, ...], bare: str
) -> dict[str, str]:
    """All values that an answer may contain, drawn once per fact."""
    team = rng.choice(lex.TEAMS)
    word, word2, word3 = (
        rng.choice(lex.WORDS if rng.random() < 0.3 else lex.OFFICE) for _ in range(3)
    )
    if rng.random() < 0.6 and not nouns[0].endswith("s"):
        word = rng.choice(nouns)  # an answer is usually about the thing in the question
    role, role2 = rng.sample(lex.ROLES, 2)
    first = rng.choice(lex.NAMES)
    channel = rng.choice(lex.WORDS) + rng.choice(
        ["", f"-{rng.choice(lex.WORDS)}", "-team", "-help"]
    )
    page, page2 = rng.sample(lex.PAGES, 2)
    button, button2 = rng.sample(lex.BUTTONS, 2)
    value = _value(rng)
    found = {
        "command": _command(rng, verbs, nouns),
        "command2": _command(rng, verbs, nouns),
        "file": _file(rng, nouns),
        "key": _key(rng),
        "flag": rng.choice(lex.WORDS),
        "value": value,
        "value_cap": capital(value),
        "count": _count(rng),
        "count2": _count(rng),
        "span": _count(rng, 6),
        "span2": _count(rng, 6),
        "number": number(rng),
        "number2": str(rng.randint(10, 99)),
        "amount": rng.choice(["two", "three", "ten", "twenty", "fifty", "a hundred", number(rng)]),
        "digit": rng.choice("1234"),
        "variable": f"{rng.choice([product(rng), *lex.WORDS])}_{_slug(rng)}_{_slug(rng)}".upper(),
        "letter": rng.choice("ABCDEFGHKLMNPRSTW"),
        "unit1": rng.choice(lex.UNITS).rstrip("s"),
        "channel": channel,
        "page": page,
        "page2": page2,
        "button": button,
        "button2": button2,
        "place": rng.choice(lex.PLACES),
        "place2": rng.choice(lex.SCREENS).format(channel=channel),
        "role": role,
        "role_cap": capital(role),
        "role2": role2,
        "person": f"{first} {rng.choice(lex.SURNAMES)}" if rng.random() < 0.6 else first,
        "mail": _mail(rng, [team, channel, first.lower()]),
        "team": team,
        "day": rng.choice(lex.DAYS),
        "day2": rng.choice(lex.DAYS),
        "month": rng.choice(lex.MONTHS),
        "time": _time(rng),
        "time2": _time(rng),
        "product": product(rng),
        "color": rng.choice(lex.COLOURS),
        "word": word,
        "word_cap": capital(word),
        "word2": word2,
        "word2_slug": word2.replace(" ", "-"),
        "word3": word3,
        "bare": bare,
    }
    found["hint"] = expand(rng, HINT, found)
    return found
