"""Answers to what chat programs ask by themselves: titles, tags, suggestions, search queries.

Such a task is no question about the domain, so it is neither searched for an answer nor declined.
What can be told from the conversation and the approved pairs is told at once, without an engine:

- title: the person's first question, shortened
- tags: the domain
- follow-up questions: the approved questions nearest to the person's last one, because the bot can
  answer these
- search queries: the person's last question

Everything else is written by the base model. So is everything if the request names a version or the
base itself, because then somebody chose that model for such tasks. Nothing of a task is stored.
"""

from collections.abc import Callable
from dataclasses import replace

import orjson

from bot.answering import grounding, small_talk
from bot.answering.prompt import Ask
from data.config.settings import Settings
from data.domains import Domain
from data.pairs.pairs import normalise
from data.search import answerable
from data.search.search import PairSearch

TITLE_CHARS = 50
FOLLOW_UPS = 3
SEARCHED = FOLLOW_UPS + 3  # some of what is found has been asked already
MAX_SEARCHED = 2_000  # characters of a question that are searched with


class TaskAnswers:
    """Answers the tasks that need no model."""

    def __init__(self, settings: Settings, search: PairSearch) -> None:
        self._settings = settings
        self._search = search

    async def text(self, ask: Ask) -> str | None:
        """The answer; None if a model has to write it."""
        task = ask.task
        if task is None or ask.pinned is not None or not task.questions:
            return None
        if ask.tools is not None or ask.after:
            return None  # only a model calls them
        if ask.constrained and not task.as_json:
            return None  # its schema is not the one that is known here
        match task.kind:
            case "title":
                title = title_of(task.questions, ask.domain)
                return _json(title=title) if task.as_json else title
            case "tags":
                return _json(tags=[ask.domain.title])
            case "queries":
                return _json(queries=[task.questions[-1]])
            case "follow_ups":
                return _json(follow_ups=await self._follow_ups(ask, task.questions))
            case "other":
                return None

    async def _follow_ups(self, ask: Ask, questions: tuple[str, ...]) -> list[str]:
        """The approved questions near the last one; if there are none, the domain's own."""
        domain, last = ask.domain, questions[-1][:MAX_SEARCHED]
        found = await self._search.afind(domain, last, limit=SEARCHED)
        least = answerable.least_similarity(found.method, domain, self._settings.answers)
        near = [
            r.prompt
            for r in found.references
            if r.similarity >= grounding.NEAR[found.method] * least
        ]
        if near and found.similarity >= least:
            del near[0]  # it asks what the last question asked
        fresh = _without(questions)
        return [q for q in near if fresh(q)][:FOLLOW_UPS] or [
            q for q in domain.suggested_prompts if fresh(q)
        ][:FOLLOW_UPS]


def by_model(ask: Ask) -> Ask:
    """The task for a model: the one that the request names, or else the base. Its words are not
    stored even for the time in which it is written."""
    pinned = ask.pinned or f"{ask.domain.name}@base"
    return replace(ask, pinned=pinned, references=False, store=False, system=ask.system or "")


def title_of(questions: tuple[str, ...], domain: Domain) -> str:
    """The first line that is more than a greeting, at most `TITLE_CHARS` long."""
    lines = [" ".join(line.split()) for question in questions for line in question.splitlines()]
    said = [line for line in lines if line]
    title = next((line for line in said if not small_talk.reply(line, domain)), said[0])
    title = title.rstrip(" .,;:?!。？！") or title
    if len(title) <= TITLE_CHARS:
        return title
    cut = title[:TITLE_CHARS]
    return (cut.rpartition(" ")[0] or cut[:-1]).rstrip(" .,;:?!") + "…"


def _without(asked: tuple[str, ...]) -> Callable[[str], bool]:
    known = {normalise(question) for question in asked}
    return lambda question: normalise(question) not in known


def _json(**fields: object) -> str:
    return orjson.dumps(fields).decode()
