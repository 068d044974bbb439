"""Masks contact data and secrets in pairs that wait for review.

A person who corrects an answer may paste their own number or a password. A reviewer has no need to
see it, so the pair is stored with its kind in its place, such as `[phone number]`. What the domain
already tells everybody stays: in its approved pairs, in its system prompt, or on its allow-list
("call 0555 1234" is often the right answer).

The original words stay in `masked_words` until the pair is decided on, so that a reviewer who needs
them can ask for them. That is recorded in the audit log.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from sqlite_utils import Database

from data.domains import Domain
from data.pairs import masked_words, pairs, review_status
from data.pairs.masked_words import MaskedWords
from data.pairs.pairs import Draft, Pair
from data.quality import person_names, secrets
from data.quality.contact_data import FINDERS, Span, key
from data.quality.findings import NotChecked
from data.store import audit
from data.store.db import rows
from data.store.errors import Conflict

Finder = Callable[[str], list[Span]]
FINDING: tuple[Finder, ...] = (secrets.find, *FINDERS.values())


@dataclass(frozen=True)
class AddedForReview:
    """A pair that was added for review, or the pair with the same words that exists. None: it was
    changed at the same moment."""

    pair: Pair | None
    new: bool


@dataclass(frozen=True)
class MaskedDraft:
    draft: Draft
    words: tuple[MaskedWords, ...]  # what was masked, in order


def spans(text: str, finders: Sequence[Finder] = FINDING) -> list[Span]:
    """The private words of a text, without overlaps, in order."""
    found: list[Span] = []
    for finder in finders:
        try:
            found += finder(text)
        except NotChecked:  # detect-secrets is optional; `pairs check` says so
            found += [Span("secret", *m.span("value")) for m in secrets.ASSIGNED.finditer(text)]
            found += [Span("secret", *m.span()) for m in secrets.PRIVATE_KEY.finditer(text)]
    kept: list[Span] = []
    for span in sorted(found, key=lambda one: (one.start, -one.end)):
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
    return kept


def masked_text(text: str, allowed: Collection[str] = ()) -> str:
    """A text with the kind of each private word in its place."""
    return _masked(text, "prompt", lambda words: key(words) in allowed)[0]


def mask_draft(
    draft: Draft, is_allowed: Callable[[str], bool], finders: Sequence[Finder] = FINDING
) -> MaskedDraft:
    """The draft with private words masked, by default of every kind."""
    words: list[MaskedWords] = []

    def mask(text: str, field: str) -> str:
        shown, found = _masked(text, field, is_allowed, finders)
        words.extend(found)
        return shown

    turns = tuple(
        replace(turn, content=mask(turn.content, f"turn {n}"))
        for n, turn in enumerate(draft.turns, 1)
    )
    prompt, response = mask(draft.prompt, "prompt"), mask(draft.response, "response")
    return MaskedDraft(replace(draft, prompt=prompt, response=response, turns=turns), tuple(words))


def mask_for_review(db: Database, domain: Domain, draft: Draft) -> MaskedDraft:
    """The draft of a pair that waits for review, with its private words masked, save those that
    the domain already tells everybody."""
    if not any(spans(text) for text in _texts(draft)):
        return MaskedDraft(draft, ())
    known = allowed(db, domain)
    return mask_draft(
        draft, lambda words: key(words) in known or _is_approved(db, domain.id, words)
    )


def mask_conversation(
    db: Database, domain: Domain, draft: Draft, people: Collection[str]
) -> MaskedDraft:
    """The same for a pair from what people wrote to each other: their names are masked, too, save
    those on the allow-list."""
    find_names = person_names.finder(people)
    texts = _texts(draft)
    names = {text[span.start : span.end] for text in texts for span in find_names(text)}
    if not names:
        return mask_for_review(db, domain, draft)
    known = allowed(db, domain)

    def is_allowed(words: str) -> bool:
        return key(words) in known or (words not in names and _is_approved(db, domain.id, words))

    return mask_draft(draft, is_allowed, (*FINDING, find_names))


def add_for_review(
    db: Database, domain: Domain, draft: Draft, *, source: str, source_ref: str, author: str
) -> AddedForReview:
    """Add a pending pair with its private words masked. A withdrawn pair with the same words waits
    for review again."""
    masked = mask_for_review(db, domain, draft)
    number = 1
    while masked.words and _hides_other_words(db, domain, masked):
        number += 1  # another person's number, masked alike, must not be taken for this one
        masked = _numbered(db, domain, draft, number)
    added = pairs.add(
        db, domain, [masked.draft], source=source, source_ref=source_ref, author=author
    )
    if added.ids:
        masked_words.keep(db, added.ids[0], masked.words)
        return AddedForReview(pairs.get(db, added.ids[0]), new=True)
    known = review_status.reopen_if_withdrawn(db, domain.id, masked.draft)
    if known is not None and known.status == "pending":
        masked_words.drop(db, known.id)
        masked_words.keep(db, known.id, masked.words)
    return AddedForReview(known, new=False)


def _hides_other_words(db: Database, domain: Domain, masked: MaskedDraft) -> bool:
    """Whether a pending pair with the same words after masking had others before."""
    same = pairs.find_same_words(db, domain.id, masked.draft)
    if same is None or same.status != "pending":
        return False
    return masked_words.of_pair(db, same.id) != list(masked.words)


def _numbered(db: Database, domain: Domain, draft: Draft, number: int) -> MaskedDraft:
    """The masked draft with a number in each mask, such as `[phone number 2]`."""
    masked = mask_for_review(db, domain, draft)
    words = tuple(replace(one, kind=f"{one.kind} {number}") for one in masked.words)
    return MaskedDraft(masked_words.filled(masked.draft, masked.words, words), words)


def reveal(db: Database, pair_id: int, reviewer: str) -> Pair:
    """Put the masked words of a pending pair back, because a reviewer asks for them. Raises
    NotFound, and Conflict if none are masked or the pair was decided on."""
    pair = pairs.get(db, pair_id)
    found = masked_words.of_pair(db, pair_id)
    if pair.status != "pending" or not found:
        raise Conflict(f"Pair {pair_id} has no masked words that could be shown.")
    masked_words.put_back(db, pair, found)
    kinds = ", ".join(sorted({one.kind for one in found}))
    audit.record(db, reviewer, "pairs show-masked", f"pair {pair_id}", kinds=kinds)
    return pairs.get(db, pair_id)


def allowed(db: Database, domain: Domain) -> frozenset[str]:
    """Keys of the contact data on the domain's allow-list and in its system prompt."""
    listed = [r["words"] for r in rows(db, LISTED, [domain.id])]
    prompt = domain.system_prompt
    said = [prompt[span.start : span.end] for span in spans(prompt)]
    return frozenset(key(words) for words in [*listed, *said])


LISTED = "SELECT words FROM allowed_words WHERE domain_id = ? ORDER BY words"


def allow_list(db: Database, domain: Domain) -> list[str]:
    """The contact data that may stay in the pairs of a domain."""
    return [str(r["words"]) for r in rows(db, LISTED, [domain.id])]


def allow(db: Database, domain: Domain, words: str, actor: str) -> None:
    """Add an address or a number to the allow-list."""
    sql = "INSERT OR IGNORE INTO allowed_words (domain_id, words) VALUES (?, ?)"
    db.execute(sql, [domain.id, words.strip()])
    audit.record(db, actor, "pairs allow", domain.name, words=words.strip())


def disallow(db: Database, domain: Domain, words: str, actor: str) -> None:
    """Remove it again. Raises Conflict if it is not on the list."""
    sql = "DELETE FROM allowed_words WHERE domain_id = ? AND words = ?"
    if not db.execute(sql, [domain.id, words.strip()]).rowcount:
        raise Conflict(f"{words.strip()} is not on the allow-list of {domain.name}.")
    audit.record(db, actor, "pairs disallow", domain.name, words=words.strip())


def sentence(words: Sequence[MaskedWords]) -> str:
    """What was masked and where, for a reviewer; '' if nothing was."""
    if not words:
        return ""
    places = {"prompt": "question", "response": "answer"}
    parts = list(dict.fromkeys(f"{w.kind} in the {places.get(w.field, w.field)}" for w in words))
    return f"Masked: {', '.join(parts)}."


def _masked(
    text: str,
    field: str,
    is_allowed: Callable[[str], bool],
    finders: Sequence[Finder] = FINDING,
) -> tuple[str, list[MaskedWords]]:
    parts, words, at = [], [], 0
    for span in spans(text, finders):
        original = text[span.start : span.end]
        if is_allowed(original):
            continue
        parts += [text[at : span.start], f"[{span.kind}]"]
        words.append(MaskedWords(field, span.kind, original))
        at = span.end
    return "".join([*parts, text[at:]]), words


def _texts(draft: Draft) -> list[str]:
    return [draft.prompt, draft.response, *(turn.content for turn in draft.turns)]


def _is_approved(db: Database, domain_id: int, words: str) -> bool:
    """Whether an approved pair holds the words, in any spelling of a number."""
    wanted = key(words)
    # a number may be grouped in another way, but hardly within its last three digits
    part = words if re.search(r"[^\d\s()+./-]", words) else words.rstrip()[-3:]
    sql = (
        "SELECT prompt, response FROM pairs WHERE domain_id = ? AND status = 'approved' "
        "AND (instr(lower(response), lower(?)) OR instr(lower(prompt), lower(?)))"
    )
    for prompt, response in db.execute(sql, [domain_id, part, part]):
        for text in (response, prompt):
            if any(key(text[span.start : span.end]) == wanted for span in spans(text)):
                return True
            if words.casefold() in text.casefold():
                return True
    return False
