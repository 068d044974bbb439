"""A small world for the learning loop: an organisation's facts, and people who need them.

Of the 40 facts of the bicycle workshop, some are taught right, some wrong and some not at all, and
in two of the rounds the truth of a few changes. Each fact has words that are taught, words that
people ask in, and words that only the examination asks in, so that an answer that is right there
was not just repeated. Twelve questions are the organisation's golden set, for the gate.
"""

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent / "domains" / "bicycle_workshop"
TAUGHT_WRONG = 6
UNTAUGHT = 14
CHANGES = {2: 3, 4: 3}  # round -> facts whose truth changes before it
NUMBER = re.compile(r"\b(\d+)\b")
GOLDEN = 12  # of the facts that are taught right
HOT = 10  # facts that most questions of a round are about
HOT_SHARE = 0.6


@dataclass
class Fact:
    """What is true, and in which words it is taught, asked for and examined."""

    name: str
    truth: str
    taught: str
    asked: tuple[str, ...]
    examined: tuple[str, ...]
    believed: str = ""  # the approved answer at the start; "" if nobody has taught it
    golden: str = ""  # its golden question, if it has one


@dataclass
class World:
    facts: list[Fact]
    off_topic: tuple[str, ...]
    rng: random.Random
    by_question: dict[str, Fact] = field(default_factory=dict)

    def change(self, round_number: int) -> int:
        """Change the truth of some facts before a round; returns how many."""
        known = [f for f in self.facts if f.believed and NUMBER.search(f.truth)]
        changing = self.rng.sample(known, min(CHANGES.get(round_number, 0), len(known)))
        for fact in changing:
            fact.truth = other_number(fact.truth, self.rng)
        return len(changing)

    def questions(self, round_number: int, count: int) -> list[tuple[Fact, str]]:
        """What people ask in a round: most of them about a part of the facts that moves on."""
        first = (round_number - 1) * HOT * 2 // 3
        hot = [self.facts[(first + i) % len(self.facts)] for i in range(HOT)]
        chosen = [
            self.rng.choice(hot if self.rng.random() < HOT_SHARE else self.facts)
            for _ in range(count)
        ]
        return [(fact, self.rng.choice(fact.asked)) for fact in chosen]


def other_number(text: str, rng: random.Random) -> str:
    """The text with another first number: a plausible and false answer."""
    return NUMBER.sub(lambda found: str(int(found[1]) + rng.randint(1, 9)), text, count=1)


def world(seed: int) -> World:
    """The same world for the same seed."""
    rng = random.Random(seed)
    pairs = _lines(FOLDER / "pairs.jsonl")
    tests = _lines(FOLDER / "test.jsonl")
    facts = []
    for name in sorted({str(p["fact"]) for p in pairs}):
        prompts = [str(p["prompt"]) for p in pairs if p["fact"] == name]
        truth = next(str(p["response"]) for p in pairs if p["fact"] == name)
        far = [str(t["question"]) for t in tests if t["kind"] == "far" and t["fact"] == name]
        facts.append(Fact(name, truth, prompts[0], (prompts[1], far[0]), (prompts[2], far[1])))
    rng.shuffle(facts)
    with_number = [f for f in facts if NUMBER.search(f.truth)]
    wrong = with_number[:TAUGHT_WRONG]
    others = [f for f in facts if f not in wrong]
    for fact in wrong:
        fact.believed = other_number(fact.truth, rng)
    for fact in others[UNTAUGHT:]:
        fact.believed = fact.truth
    for fact in others[-GOLDEN:]:
        fact.golden, *examined = fact.examined
        fact.examined = tuple(examined)
    rng.shuffle(facts)
    off_topic = tuple(str(t["question"]) for t in tests if t["kind"] in ("off_topic", "near_miss"))
    made = World(facts, off_topic, rng)
    made.by_question = {q: f for f in facts for q in (f.taught, f.golden, *f.asked, *f.examined)}
    return made


def _lines(file: Path) -> Sequence[dict[str, object]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
