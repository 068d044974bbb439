"""Searches the approved pairs for a question, before anything else is decided about it."""

from collections.abc import Sequence
from dataclasses import replace

from sqlite_utils import Database

from bot.answering import grounding, plan, routing, small_talk
from bot.answering.grounding import Grounds
from bot.answering.prompt import Ask
from bot.answering.routing import Target
from data.config.settings import Settings
from data.conversations.conversations import Message
from data.domains import Domain
from data.pairs import reply_sources
from data.pairs.reply_sources import FoundPair, Source
from data.search import answerable, domain_calibration
from data.search.search import PairSearch, Reference, SearchResult
from data.store.db import Store
from data.store.errors import Invalid

MAX_QUOTED = 600  # characters of a thread or file that are searched with


class NotPlain(Invalid):
    """The domain gives no answers in the form that the caller wants."""


class ReferenceFinder:
    """Finds what the answers of one process rest on."""

    def __init__(self, store: Store, settings: Settings, search: PairSearch) -> None:
        self._store = store
        self._settings = settings
        self._search = search

    async def find(self, ask: Ask) -> Grounds | None:
        """The grounds of an answer; None if the answer does not rest on pairs: the caller or the
        domain wants none, or the bare base was asked for by its name."""
        turns = self._settings.bot.history_turns
        domain, history, compared = await self._store.read(lambda db: _conversation(db, ask, turns))
        if not ask.references or ask.pinned == f"{domain.name}@base":
            return None
        mode = answerable.mode(domain, self._settings.answers)
        if compared is not None and compared.variant is not None:
            mode = compared.variant.answer_mode or mode
        if mode == "adapter":
            return None
        if (continued := ask.continues) is not None:
            sources = await self._store.read(lambda db: reply_sources.of_reply(db, continued))
            return Grounds(
                domain, _again(sources), sources, 0.0, may_quote=False, may_decline=False
            )
        if mode == "quote" and ask.constrained and ask.pinned is None:
            raise NotPlain(
                f"{domain.name} gives approved answers word for word (`[answers] mode`), so an "
                "answer can have no other form."
            )
        if ask.rests_on_tools:
            return None
        said = "" if ask.constrained else small_talk.reply(ask.text, domain)
        if said and ask.pinned is not None:
            return None  # whoever pins an adapter wants to see what it says
        earlier: Sequence[Message] = () if said else history
        if ask.quoted.text and not said:
            earlier = [*earlier, Message("user", ask.quoted.text[:MAX_QUOTED])]
        limit = self._settings.answers.references
        found = await self._search.afind(domain, ask.text, earlier, limit=limit)
        least = answerable.least_similarity(found.method, domain, self._settings.answers)
        if found.similarity >= grounding.GREETING:
            said = ""  # a pair answers this greeting
        by_confidence = not answerable.overridden(domain, self._settings.answers)
        sources, thresholds = await self._store.read(
            lambda db: (
                _described(db, found),
                domain_calibration.thresholds(db, domain, found.encoder, _version(ask))
                if by_confidence
                else None,
            )
        )
        approved = {s.pair_id for s in sources}  # one may have been rejected since the search
        kept = tuple(r for r in found.references if r.pair_id in approved)
        may_quote = ask.pinned is None and ask.second_variant is None and not ask.constrained
        only_quote = mode == "quote" and may_quote
        return Grounds(
            domain,
            replace(found, references=kept),
            sources,
            least,
            said,
            only_quote,
            may_quote,
            thresholds=thresholds,
            compared=compared,
        )


def _version(ask: Ask) -> int | None:
    """The version that was asked for by its name; None if it is chosen here."""
    _, _, version = (ask.pinned or "").partition("@")
    return int(version) if version.isascii() and version.isdigit() else None


def _conversation(
    db: Database, ask: Ask, turns: int
) -> tuple[Domain, Sequence[Message], Target | None]:
    """The domain and the earlier turns, and the variant that answers if it does so in its own
    way."""
    domain, history = plan.conversation(db, ask, turns)
    if ask.pinned is not None or not ask.plain:
        return domain, history, None
    compared = routing.variant_with_own_answers(db, domain, ask.person, ask.second_variant)
    return domain, history, compared


def _described(db: Database, found: SearchResult) -> tuple[Source, ...]:
    wanted = [FoundPair(r.pair_id, r.score, r.similarity) for r in found.references]
    return reply_sources.describe(db, wanted)


def _again(sources: tuple[Source, ...]) -> SearchResult:
    """The references of an answer that is continued."""
    references = tuple(
        Reference(s.pair_id, s.prompt, s.response, "", s.score, s.similarity) for s in sources
    )
    return SearchResult(references, "encoder", "")
