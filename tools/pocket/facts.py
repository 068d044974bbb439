"""Made-up facts, each with one answer and many phrasings of its question.

Tuning will teach facts of this form, so the base model learns the form here: recognise the meaning
of a question, then recite a sentence with exact commands, paths, numbers and names.
"""

import random
from dataclasses import dataclass

from tools.pocket import lexicon as lex
from tools.pocket.answers import HEDGES, HOW_HEDGE, MAIN, TAILS
from tools.pocket.fillers import error_message, product, words
from tools.pocket.phrasing import article, capital, expand, gerund, plural
from tools.pocket.questions import FRAMES, OPENERS, TERSE
from tools.pocket.statements import STATEMENTS

KINDS = ("how",) * 6 + tuple(FRAMES)


@dataclass(frozen=True)
class MadeUpFact:
    """A made-up fact: its question, the words for it, and its answer."""

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
        """A random choice of words for this fact, for the templates in `questions`."""
        bare = self.bare(rng)
        it = done = f"the {bare}"
        if not self.after:
            determiner = rng.choice(["the", "the", "a", "a", "my", "our", "all"])
            it = done = f"{determiner} {bare}"
            if determiner == "a":
                it, done = f"the {bare}", article(bare)
            elif determiner == "all":
                it = done = plural(bare)
        verb = rng.choice(self.verbs)
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
        frames = TERSE if rng.random() < 0.25 else FRAMES
        text = expand(rng, rng.choice(frames[self.kind]), self.slots(rng))
        if rng.random() < 0.1:
            first = text[0] if text.startswith(("I ", "I'")) else text[0].lower()
            text = f"{expand(rng, OPENERS)}, {first}{text[1:]}"
        text = capital(text) if frames is FRAMES or rng.random() < 0.4 else text
        if rng.random() < 0.12:
            text = text.lower().rstrip("?.")
        return text

    def hedge(self, rng: random.Random) -> str:
        """The answer of somebody who does not know this fact."""
        templates = [HOW_HEDGE, *HEDGES] if self.kind == "how" else HEDGES
        return capital(expand(rng, rng.choice(templates), self.slots(rng)))


def make(rng: random.Random) -> MadeUpFact:
    """A new fact of a random kind about a random thing."""
    kind = rng.choice(KINDS)
    nouns_of, groups = lex.THINGS[rng.choice(list(lex.THINGS))]
    nouns = tuple(noun.strip() for noun in rng.choice(nouns_of).split("|"))
    verbs = tuple(rng.choice(groups).split("|"))
    if kind in ("why", "does"):
        verbs = tuple(verb.strip() for verb in rng.choice(lex.PREDICATES).split("|"))
    before = rng.choice(lex.ADJECTIVES) if rng.random() < 0.3 else ""
    after = ""
    if rng.random() < 0.3:
        name, team = rng.choice(lex.NAMES), rng.choice(lex.TEAMS)
        place = rng.choice(lex.PLACES)
        month = rng.choice(lex.MONTHS)
        ends = [f"of {name}", f"for {name}", f"in {place}", f"from {month}", f"in {product(rng)}"]
        after = " " + rng.choice([*ends, f"of the {team} team", f"for the {team} team"])
    if kind == "difference":
        after = f" and the {rng.choice(nouns_of).split('|')[0].strip()}"
    bare = f"{before} {nouns[0]}{after}".lstrip()
    values = words(rng, verbs, nouns, bare)
    templates = STATEMENTS if rng.random() < 0.35 else MAIN[kind]
    answer = expand(rng, rng.choice(templates), values)
    while len(answer.split()) < rng.choice([6, 10, 14, 22]):
        answer += " " + capital(expand(rng, rng.choice(TAILS), values))
    return MadeUpFact(kind, verbs, nouns, before, after, error_message(rng), capital(answer))
