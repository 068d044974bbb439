"""Made-up facts: one answer each, and so many ways to ask that the words differ while the meaning stays.

A fact is what tuning will have to teach later, so the base learns its shape here: find what is asked for behind the
phrasing, then recite a sentence with exact commands, paths, numbers and names in it.
"""

import random
from dataclasses import dataclass

from tuning.pocket import lexicon as lex
from tuning.pocket.phrasing import article, capital, expand, gerund
from tuning.pocket.questions import FRAMES, OPENERS

ACTIONS = ("how", "can", "who", "when", "happens", "long")
KINDS = ("how",) * 6 + tuple(FRAMES)

_MAIN: dict[str, list[str]] = {
    "how": [
        "[Run|Type|Enter|Use|Call|Send] `{command}`[ in {place2}| in a terminal| in the chat| as an admin|].",
        "[Run|Type|Enter|Use] `{command}`[ and wait {span}| and confirm with `{word}`| and press {button}|].",
        "[Open|Go to|Visit] {page}[, choose {page2}|, scroll down|, select the {bare}|] and [press|click|choose] "
        "{button}.",
        "[Press|Click] {button} on the {page} page[, then {button2}| and pick {page2}|].",
        "[Write to|Ask|Call|Tell] {role}[ at {mail}| before {time}| in #{word}-{word2}|].",
        "Edit `{file}`, set `{key}` to {value}, [then|and] run `{command}`.",
        "[Put|Place] the {bare} in {place} and [wait {span}|tell {role}|press {button}|close the lid].",
        "[First|To begin,] [open|unlock] {place}, then [use|take] the {color} {word}[ and wait {span}|].",
        "[Fill in|Complete|Sign] form {letter}{number} and [hand it to|give it to|send it to] {role}.",
    ],
    "can": [
        "[Yes|Yes, you can|Yes, that is allowed|Sure], [with `{command}`|on the {page} page|at {place}|through {role}].",
        "[No|No, that is not possible|No, sorry], only {role} can do that[ with `{command}`|].",
        "[Yes|Yes, but] [only on {day}s|only before {time}|only {number} times a week|only with the {word} key].",
        "[No|Not yet], [but|however] you can use `{command}` instead.",
    ],
    "who": [
        "[Only {role}|{role_cap}|{role_cap} and {role2}|{person}] [can do that|may do it|does that|has that right].",
        "[Anyone|Everybody|Any member] with the {word} [role|badge|key|right] can do that.",
        "That is [the job of|up to|done by] {person} from the {team} team.",
    ],
    "when": [
        "[Every {day} at {time}|On {day}s between {time} and {time2}|Any day after {time}|Before {day}, {time}].",
        "[At the end of {month}|On {month} {number}|In the first week of {month}][, after {role} agrees|].",
        "[Every {span}|Once in {span}|After {span}|Not later than {span} before the deadline].",
    ],
    "happens": [
        "The {bare} [is kept for {span}|moves to `{file}`|goes to {role}|gets the mark {word}|becomes read-only].",
        "[Nothing is lost|Nothing changes at first]: {role} [is told|gets a mail|has {span} to undo it].",
        "[It takes effect|The change counts] [at once|after {span}|at {time}|on {day}], and {role} [sees it|is told].",
        "[A {color} {word} appears on|A new entry appears on] the {page} page[ within {span}|].",
    ],
    "long": [
        "[It takes|That takes|Usually] [about |around |less than |up to |]{span}[, or {count2} with a {word}|].",
        "[Between {number} and|Not more than] {span}[, depending on the {word}|, then {role} steps in|].",
    ],
    "where": [
        "[It is|It lives|It is kept|It is stored|You find it|You will find it] in `{file}`[ on the {word} server|].",
        "[It is|You find it|It stands|It is kept] in {place}[, next to the {word}|, behind the {word}|].",
        "[Look|See] [on the {page} page|under {page}|in #{word}-{word2}|in the {word} folder][, below {page2}|].",
        "{person} [keeps it|has it|stores it] in {place}.",
    ],
    "what": [
        "[A|One] [kind of {word} {word2}|{color} {word}|small {word} in {place}] that [{role} uses|keeps the {word2}|"
        "holds {count}|stops after {span}].",
        "[It is|That is] [a name for|our word for|the short name of] [a {word} of {count}|the {word} in `{file}`|"
        "the {word} {word2} of {product}].",
        "[It tells|It shows|It decides] [who|when|how] the {word} [is used|is opened|is sent to {role}|works].",
    ],
    "limit": [
        "[At most|No more than|Up to] {count}[; ask {role} for more|; more needs `{key}`|, and {count2} for guests|].",
        "[The limit is|The maximum is] {count}[, set by `{key}` in `{file}`|, counted every {day}|].",
        "[There is no limit|None], but {role} [gets a note|asks why] above {count}.",
    ],
    "default": [
        "[It is|The default is|It starts at] {value}[; change it with `{key}` in `{file}`|, unless {role} changes it|].",
        "[{value_cap}|Set to {value}], [see|as written in] `{file}`.",
    ],
    "owner": [
        "[That is|Ask|It belongs to] {person} [from|in] the {team} team[, phone {number}{number2}| at {mail}|].",
        "[Write to|Contact] {mail}[ or ask in #{word}-{word2}|, {person} reads it|].",
        "{role_cap}[, in {place}|, on {day}s|, until {month}].",
    ],
    "cost": [
        "[It costs|That is|The price is] {number} [euros|dollars|pounds] [a {word}|per {unit1}|each][, paid on {day}s|].",
        "[It is free|Nothing|It costs nothing] [for the first {count}|for members of the {team} team|until {month}].",
    ],
    "open": [
        "[From {time} to {time2}|Daily from {time}|Every {day} from {time} to {time2}][, except in {month}|].",
        "[On {day}s and {day2}s|From {day} to {day2}][, {time} to {time2}|, after {time}|].",
    ],
    "error": [
        "The {word} [is full|is missing|is locked|does not answer|has expired]: [run `{command}`|ask {role}|restart it].",
        "[It means that|That means|You see it when] `{key}` in `{file}` is [wrong|empty|not set|too small][; {tail}|].",
        "[Somebody else|Another {word}|{role_cap}] [uses|holds|has locked] the {word2}; [wait {span}|try again on {day}].",
        "[Wait {span} and try again|Check `{file}` first|Run `{command}` and try again][, then tell {role}|].",
    ],
}

_TAILS = [
    "[It takes|This takes|Expect] [about |]{span}.",
    "[You can|Members can|Anyone can] undo it [within {span}|until {time}|with `{command2}`].",
    "[Only {role} can do that|Only {role} may do this|You need the {word} role for it].",
    "The [change|result] [is|becomes] visible [at once|after {span}|on the {page} page|in `{file}`].",
    "[The old one|The original|Nothing] is [kept for {span}|lost|deleted|changed].",
    "[A copy|The result|The list] [is kept in|goes to|is written to] `{file}`.",
    "[If it fails|If that does not help|When in doubt], [ask {role}|run `{command2}`|try again after {span}|call {person}].",
    "[It works|This works] [only on {day}s|for up to {count}|in every {word}|without a {word}].",
    "{person} from the {team} team [can help|knows more|will answer|checks it on {day}s].",
    "[Do not forget|Remember] [the {color} {word}|to save|to press {button}|to tell {role}].",
    "[Add|Use] `--{word}` [to see more|for the {word2}|to skip the {word2}|to limit it to {count}].",
    "[You will get|Everyone gets|{role_cap} gets] [a mail|a message|a reply] [within {span}|at {time}|afterwards].",
    "The {word} [stays as it is|is not touched|must be empty|starts again|keeps running].",
]

HEDGES = [
    "[I do not know|I don't know|I am not sure|I have not learned|I cannot say] [yet |]how to {do}.",
    "[I have no notes|I have nothing|I know nothing|I have not heard anything] about {it}[ yet|].",
    "[Sorry|I am sorry|I'm sorry], [I do not know|I have not learned|I cannot help with] that[ yet|].",
    "[That is|This is] [a good question|something I would have to learn|new to me], [but |and ]I do not know the answer.",
    "[I am not sure|I do not know enough] about {it}. [Please ask a person who knows|Could you tell me more|"
    "A colleague may know|Perhaps the documentation says more].",
    "[Nobody has told me|I have not been told] about {it} [yet|so far].",
]


@dataclass(frozen=True)
class Fact:
    """One made-up fact: what can be asked, in which words, and what is answered."""

    kind: str
    verbs: tuple[str, ...]
    nouns: tuple[str, ...]
    before: str
    after: str
    error: str
    answer: str

    def bare(self, rng: random.Random) -> str:
        """The thing without an article: `weekly report of Lena`."""
        return f"{self.before} {rng.choice(self.nouns)}{self.after}".lstrip()

    def slots(self, rng: random.Random) -> dict[str, str]:
        """One choice among the words that mean this fact, for the templates of `questions`."""
        bare = self.bare(rng)
        determiner = rng.choice(["the", "the", "the", "a", "my", "our"]) if not self.after else "the"
        it = f"the {bare}" if determiner == "a" else f"{determiner} {bare}"
        verb = rng.choice(self.verbs)
        done = article(bare) if determiner == "a" else it
        return {
            "verb": verb,
            "do": f"{verb} {done}",
            "doing": f"{gerund(verb)} {done}",
            "it": it,
            "bare": bare,
            "some": article(bare),
            "error": self.error,
        }

    def ask(self, rng: random.Random) -> str:
        """One of the many questions that this fact answers."""
        text = expand(rng, rng.choice(FRAMES[self.kind]), self.slots(rng))
        if rng.random() < 0.1:
            opener = expand(rng, OPENERS)
            text = f"{opener}, {text[0].lower() if text[:2] not in ('I ', 'I’', chr(73) + chr(39)) else 'I'}{text[1:]}"
        text = capital(text)
        if rng.random() < 0.12:
            text = text.lower().rstrip("?.")
        return text

    def hedge(self, rng: random.Random) -> str:
        """What somebody says who does not know this fact."""
        return capital(expand(rng, rng.choice(HEDGES), self.slots(rng)))


def product(rng: random.Random) -> str:
    """The name of a product, organisation or town."""
    return (rng.choice(lex.HALVES[0]) + rng.choice(lex.HALVES[1])).capitalize()


def number(rng: random.Random) -> str:
    """A number as it stands in manuals: small ones and round ones are common."""
    return str(
        rng.choice([rng.randint(1, 12), rng.randint(1, 12), rng.choice([15, 20, 24, 25, 30, 40, 45, 48, 50, 60, 64, 75,
        80, 90, 100, 120, 128, 200, 250, 256, 300, 365, 500, 512, 1000, 1024, 2000, 2048, 5000]), rng.randint(13, 999)])
    )  # fmt: skip


def _count(rng: random.Random, units: int = len(lex.UNITS)) -> str:
    """An amount of one of the first `units` units, of which six are of time."""
    amount = rng.choice(["one", "two", "three", "four", "five", "six", "seven", "eight", "ten", "twelve", number(rng)])
    unit = rng.choice(lex.UNITS[:units])
    return f"{amount} {unit.rstrip('s') if amount in ('one', '1') and unit != 'people' else unit}"


def _command(rng: random.Random, verbs: tuple[str, ...], nouns: tuple[str, ...]) -> str:
    """A command line; half of the time it is made of the words of the question."""
    verb = rng.choice(verbs).split()[0] if rng.random() < 0.5 else rng.choice(lex.VERBS)
    noun = rng.choice(nouns).split()[-1].lower() if rng.random() < 0.5 else rng.choice(lex.WORDS)
    name = rng.choice([rng.choice(lex.WORDS), product(rng).lower()])
    shape = rng.choice(["/{n} {v}", "/{n} {v} {o}", "{n} {o} {v}", "{n} {v}", "{n} {v} {o}", "/{v}", "/{v} {o}",
                        "{n} {v} --{o}", "{n}-{v} {o}", "{n} {v} {o}@2", "{n} {o}s {v}", "{v}_{o}.py"])  # fmt: skip
    return shape.format(n=name, v=verb, o=noun)


def _file(rng: random.Random, nouns: tuple[str, ...]) -> str:
    word = rng.choice(nouns).split()[-1].lower() if rng.random() < 0.4 else rng.choice(lex.WORDS)
    folders = [rng.choice([rng.choice(lex.WORDS), "data", "etc", "var", "home", "logs", "config", "models"])
               for _ in range(rng.choice([0, 0, 1, 1, 2]))]  # fmt: skip
    slash = rng.choice(["", "/", "~/"]) if folders else ""
    return slash + "/".join([*folders, f"{word}.{rng.choice(lex.EXTENSIONS)}"])


def _time(rng: random.Random) -> str:
    return f"{rng.randint(6, 22):02d}:{rng.choice(['00', '00', '15', '30', '45'])}"


def _error(rng: random.Random) -> str:
    return expand(
        rng,
        rng.choice([
            "{w} {v} [failed|refused|denied|timed out]",
            "[no|invalid|unknown|missing|duplicate|expired] {w} {x}",
            "[cannot|could not] {v} {w}",
            "{w} [is full|not found|not allowed|is busy|too large|is locked]",
            "[error|code|E] {n}",
            "[too many|not enough|no more] {w}s",
        ]),
        {"w": rng.choice(lex.WORDS), "x": rng.choice(lex.WORDS), "v": rng.choice(lex.VERBS), "n": number(rng)},
    )  # fmt: skip


def _words(rng: random.Random, verbs: tuple[str, ...], nouns: tuple[str, ...], bare: str) -> dict[str, str]:
    """Everything that an answer may mention, drawn once for one fact."""
    team, word, word2 = rng.choice(lex.TEAMS), rng.choice(lex.WORDS), rng.choice(lex.WORDS)
    role, role2 = rng.sample(lex.ROLES, 2)
    first = rng.choice(lex.NAMES)
    page, page2 = rng.sample(lex.PAGES, 2)
    button, button2 = rng.sample(lex.BUTTONS, 2)
    value = rng.choice([number(rng), _count(rng), f"`{rng.choice(lex.WORDS)}`", "on", "off", "empty", _time(rng),
                        f"`{rng.choice(lex.WORDS)}-{number(rng)}`", rng.choice(lex.DAYS)])  # fmt: skip
    return {
        "command": _command(rng, verbs, nouns),
        "command2": _command(rng, verbs, nouns),
        "file": _file(rng, nouns),
        "key": rng.choice(lex.WORDS) + rng.choice(["_", ".", "-"]) + rng.choice([*lex.WORDS, *lex.UNITS]),
        "value": value,
        "value_cap": capital(value),
        "count": _count(rng),
        "count2": _count(rng),
        "span": _count(rng, 6),
        "span2": _count(rng, 6),
        "number": number(rng),
        "number2": str(rng.randint(10, 99)),
        "letter": rng.choice("ABCDEFGHKLMNPRSTW"),
        "unit1": rng.choice(lex.UNITS).rstrip("s"),
        "page": page,
        "page2": page2,
        "button": button,
        "button2": button2,
        "place": rng.choice(lex.PLACES),
        "place2": rng.choice(["a terminal", "the console", "the main folder", f"#{word2}", "any channel", "Slack"]),
        "role": role,
        "role_cap": capital(role),
        "role2": role2,
        "person": f"{first} {rng.choice(lex.SURNAMES)}" if rng.random() < 0.6 else first,
        "mail": f"{rng.choice([team, word, first.lower()])}@{product(rng).lower()}.{rng.choice(['org', 'com', 'example'])}",
        "team": team,
        "day": rng.choice(lex.DAYS),
        "day2": rng.choice(lex.DAYS),
        "month": rng.choice(lex.MONTHS),
        "time": _time(rng),
        "time2": _time(rng),
        "product": product(rng),
        "color": rng.choice(["red", "green", "blue", "yellow", "white", "black", "grey", "orange", "small", "big"]),
        "word": word,
        "word2": word2,
        "bare": bare,
        "tail": "ask again later",
    }


def make(rng: random.Random) -> Fact:
    """One new fact, of any kind, about any thing."""
    kind = rng.choice(KINDS)
    nouns_of, groups = lex.THINGS[rng.choice(list(lex.THINGS))]
    nouns = tuple(noun.strip() for noun in rng.choice(nouns_of).split("|"))
    verbs = tuple(rng.choice(groups).split("|"))
    before = rng.choice(lex.ADJECTIVES) if rng.random() < 0.3 else ""
    after = ""
    if rng.random() < 0.3:
        name, team = rng.choice(lex.NAMES), rng.choice(lex.TEAMS)
        after = rng.choice([f" of {name}", f" for {name}", f" of the {team} team", f" in {product(rng)}",
                            f" at {product(rng)}", f" from {rng.choice(lex.MONTHS)}", f" in {rng.choice(lex.PLACES)}",
                            f" for the {team} team"])  # fmt: skip
    bare = f"{before} {nouns[0]}{after}".lstrip()
    words = _words(rng, verbs, nouns, bare)
    answer = expand(rng, rng.choice(_MAIN[kind]), words)
    while len(answer.split()) < rng.choice([6, 10, 14, 22]):
        answer += " " + capital(expand(rng, rng.choice(_TAILS), words))
    return Fact(kind, verbs, nouns, before, after, _error(rng), capital(answer))
