"""The unanswered questions of a domain in groups of the same meaning, each with its best draft.

Every front end shows these groups, and answers or dismisses a group as a whole
(`data/feedback/unanswered.py`). All functions block; call them off the event loop.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlite_utils import Database

from data.domains import Domain
from data.feedback import unanswered
from data.feedback.unanswered import Unanswered
from data.pairs.pairs import Pair
from data.search import question_groups
from data.search.search import PairSearch, Reference
from data.store.db import Store
from data.store.errors import NotFound

ID_LENGTH = 8  # of the short id that people type: the end of the reply's id


@dataclass(frozen=True)
class UnansweredGroup:
    """Questions that ask the same."""

    questions: tuple[Unanswered, ...]  # the oldest first
    draft: Reference | None  # the nearest approved pair, as a start for an answer

    @property
    def id(self) -> str:
        return self.questions[0].reply_id[-ID_LENGTH:]

    @property
    def question(self) -> str:
        return self.questions[0].question

    @property
    def people(self) -> int:
        """How many people asked."""
        return len({q.person for q in self.questions})

    def asked_since(self, since: int, until: int | None = None) -> int:
        """How many of the questions were asked from `since` on, and before `until` (microseconds
        since the epoch)."""
        return sum(
            since <= q.created_at and (until is None or q.created_at < until)
            for q in self.questions
        )

    @property
    def want_person(self) -> int:
        """How many of the questions should be answered by a person."""
        return sum(q.person_asked_at is not None for q in self.questions)

    @property
    def last_at(self) -> int:
        return self.questions[-1].created_at

    @property
    def reply_ids(self) -> tuple[str, ...]:
        return tuple(q.reply_id for q in self.questions)


def list_groups(
    store: Store, search: PairSearch, domain: Domain, drafts: int | None = None
) -> list[UnansweredGroup]:
    """The groups, those that most people asked for first. Only the first `drafts` of them come with
    a draft, by default all: a draft takes a search, see `with_draft`."""
    asked = unanswered.open_questions(store.db, domain)
    grouped = [tuple(asked[n] for n in members) for members in _groups(asked, search)]
    found = [UnansweredGroup(questions, None) for questions in grouped]
    found.sort(key=lambda g: (-g.people, -g.last_at))
    for number, group in enumerate(found[:drafts]):
        found[number] = with_draft(store, search, domain, group)
    return found


def with_draft(
    store: Store, search: PairSearch, domain: Domain, group: UnansweredGroup
) -> UnansweredGroup:
    """The group with its draft."""
    found = search.find(domain, group.question, limit=1).references
    return UnansweredGroup(group.questions, found[0] if found else None)


def find(store: Store, search: PairSearch, domain: Domain, group_id: str) -> UnansweredGroup:
    """The group with a question of that id, or of that end of an id. Raises NotFound."""
    asked = unanswered.open_questions(store.db, domain)
    for members in _groups(asked, search):
        group = UnansweredGroup(tuple(asked[n] for n in members), None)
        if len(group_id) >= ID_LENGTH and any(i.endswith(group_id) for i in group.reply_ids):
            return with_draft(store, search, domain, group)
    raise NotFound(
        f"{domain.name} has no unanswered question {group_id!r}. "
        f"`understudy unanswered list {domain.name}` shows them."
    )


def answer(
    store: Store,
    search: PairSearch,
    domain: Domain,
    group_id: str,
    response: str,
    actor: str,
    question: str = "",
) -> Pair:
    """Make an approved pair of a group's question and `response`. Raises the errors of
    `unanswered.answer`."""
    group = find(store, search, domain, group_id)

    def write(db: Database) -> Pair:
        return unanswered.answer(db, domain, group.reply_ids, response, actor, question)

    return store.submit_soon(write).result()


def dismiss(store: Store, search: PairSearch, domain: Domain, group_id: str, actor: str) -> int:
    """Close a group without an answer; returns the number of its questions."""
    group = find(store, search, domain, group_id)

    def write(db: Database) -> int:
        return unanswered.dismiss(db, domain, group.reply_ids, actor)

    return store.submit_soon(write).result()


def _groups(asked: Sequence[Unanswered], search: PairSearch) -> list[list[int]]:
    questions = [q.question for q in asked]
    vectors = search.encode(questions) if questions else None
    if vectors is None:
        return question_groups.by_words(questions)
    return question_groups.by_meaning(vectors)
