"""Chats for pretraining: short ones train memory, long ones train attention. One seed gives them
all.

Short chats ask one question. Most questions are about a fixed pool of facts, in always new
phrasings, as in tuning: the model learns to associate an answer with a meaning. The answer to a
question about anything else is "I do not know". Long chats first state new facts (in the system
prompt, as messages, or as questions and answers) and later ask about them in other words, so that
the model learns to find and use information in the conversation.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from tools.pocket import facts, fillers, prose, smalltalk
from tools.pocket.facts import MadeUpFact
from tools.pocket.lexicon import HALVES, TEAMS
from tools.pocket.phrasing import capital, expand
from tools.pocket.questions import BRIEFLY, RECALLS, REPEATS


@dataclass(frozen=True)
class ChatTurn:
    """One message: its role (`system`, `user`, `assistant`) and its text."""

    role: str
    content: str


Chat = list[ChatTurn]

_SYSTEM = [
    "You are [a|the|a helpful|a friendly|a patient] [assistant|help desk|chat bot|guide][ of "
    "{org}| for the {team} team|].",
    "You are {org}[, an assistant|, the assistant of the {team} team|].[ Answer briefly.| Be "
    "polite.|]",
    "[Answer|You answer] [questions|every question] [about {org}|of the {team} team][ briefly| "
    "in one or two sentences|"
    " in plain words|].",
    "[Be brief|Be helpful and brief|Answer in one or two sentences|Keep answers short].[ If you "
    "do not know, say so.|]",
    "You are [a helpful assistant|the {org} assistant]. [Answer in one or two sentences.|Say so "
    "when you do not know.|"
    "You help people with {org}.|Give exact commands and names.]",
]


def system_prompt(rng: random.Random) -> str:
    """One of many short system prompts that say who answers, and how."""
    org = (rng.choice(HALVES[0]) + rng.choice(HALVES[1])).capitalize()
    return expand(rng, rng.choice(_SYSTEM), {"org": org, "team": rng.choice(TEAMS)})


def _opening(rng: random.Random) -> Chat:
    return [ChatTurn("system", system_prompt(rng))] if rng.random() < 0.6 else []


def _said(ask: str, reply: str) -> Chat:
    return [ChatTurn("user", ask), ChatTurn("assistant", reply)]


def short_chat(rng: random.Random, pool: list[MadeUpFact]) -> Chat:
    """A chat with one question, usually about a fact of the pool."""
    chat = _opening(rng)
    draw = rng.random()
    if draw < 0.74:
        item = rng.choice(pool) if draw < 0.34 else rng.choice(prose.explained())
        return chat + _said(item.ask(rng), item.answer)
    if draw < 0.87:
        return chat + _said(*smalltalk.exchange(rng))
    if draw < 0.95:
        fact = facts.make(rng)
        return chat + _said(fact.ask(rng), fact.hedge(rng))
    word = rng.choice(
        [lambda r: facts.make(r).answer, fillers.product, lambda r: facts.make(r).ask(r)]
    )(rng)
    return chat + _said(expand(rng, "[Repeat|Say|Write|Repeat after me|Copy this]: ") + word, word)


def _notes(rng: random.Random, known: list[MadeUpFact]) -> Chat:
    """A system prompt that contains the facts as notes."""
    lines = [
        f"- {capital(fact.slots(rng)['bare'])}: {fact.ask(rng)} {fact.answer}" for fact in known
    ]
    return [ChatTurn("system", f"{system_prompt(rng)}\nNotes:\n" + "\n".join(lines))]


def _told(rng: random.Random, fact: MadeUpFact) -> Chat:
    """The turns that introduce a fact: the user states it, or its question gets its first
    answer."""
    ask = fact.ask(rng)
    draw = rng.random()
    if draw < 0.3:
        noted = expand(
            rng, "[Thank you, I will remember that|Noted|Good to know|I have learned that|Thanks]."
        )
        return _said(
            expand(rng, "[Remember|Note|Please note|Learn this|For later]: ")
            + f"{ask} {fact.answer}",
            noted,
        )
    if draw < 0.5:
        hedged = _said(ask, fact.hedge(rng))
        thanks = expand(
            rng, "[Thank you, now I know|Thanks for telling me|I see, thank you|Good to know]."
        )
        return hedged + _said(
            expand(rng, "[The answer is|It is this|Here is the answer|I found out]: ")
            + fact.answer,
            thanks,
        )
    return _said(ask, fact.answer)


def _follow_up(rng: random.Random, ask: str, reply: str) -> Chat:
    """A message that people send after an answer."""
    draw = rng.random()
    if draw < 0.3:
        return _said(expand(rng, rng.choice(REPEATS)), reply)
    if draw < 0.5:
        first = reply.split(". ")[0].rstrip(".") + "."
        return _said(expand(rng, rng.choice(BRIEFLY)), first)
    if draw < 0.65:
        return _said(expand(rng, rng.choice(RECALLS)), f'You asked: "{ask}"')
    return _said(*smalltalk.exchange(rng))


def explaining_chat(rng: random.Random, sentences: int) -> Chat:
    """Questions about documentation, some of them asked twice."""
    chat = _opening(rng)
    known = [rng.choice(prose.explained()) for _ in range(sentences)]
    for item in known + rng.choices(known, k=sentences):
        chat += _said(item.ask(rng), item.answer)
    return chat


def long_chat(rng: random.Random, facts_given: int) -> Chat:
    """A conversation that first states facts and later asks about them in other words."""
    known = [facts.make(rng) for _ in range(facts_given)]
    if rng.random() < 0.35:
        chat = _notes(rng, known)
    else:
        chat = _opening(rng)
        for fact in known:
            chat += _told(rng, fact)
    for fact in rng.choices(known, k=facts_given + rng.randint(1, facts_given)):
        ask = fact.ask(rng)
        chat += _said(ask, fact.answer)
        if rng.random() < 0.2:
            chat += _follow_up(rng, ask, fact.answer)
        if rng.random() < 0.08:
            unknown = facts.make(rng)
            chat += _said(unknown.ask(rng), unknown.hedge(rng))
    return chat


def pool_of(rng: random.Random, size: int) -> list[MadeUpFact]:
    """The pool of made-up facts for short chats."""
    return [facts.make(rng) for _ in range(size)]


def long_texts(rng: random.Random) -> Iterator[Chat | str]:
    """Endless long chats, mixed with passages of prose."""
    while True:
        draw = rng.random()
        if draw < 0.4:
            yield prose.passage(rng, rng.randint(3, 10))
        elif draw < 0.6:
            yield explaining_chat(rng, rng.choice([2, 3, 5, 8]))
        else:
            yield long_chat(rng, rng.choice([1, 2, 2, 3, 4, 6]))
