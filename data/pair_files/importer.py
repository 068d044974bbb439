"""Imports a file of pairs into a domain, or shows what an import would do.

An import writes in transactions of `TOGETHER` rows. An interrupted import can simply be run again,
because pairs are recognised by their fingerprint. Everything that a file says is stored, obeyed,
refused or named in the report.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import orjson
from sqlite_utils import Database

from data.domains import Domain
from data.pair_files import conflicting_answers
from data.pair_files.columns import ColumnMap, UnusedColumn
from data.pair_files.conflicting_answers import ConflictingAnswer
from data.pair_files.formats import AUTO
from data.pair_files.open_rows import open_rows
from data.pair_files.reading import Reading
from data.pair_files.verdicts import BadRow, CandidatePair, LeftOut, NumberedRow
from data.pairs import imports, judged_answers, masked_words, pairs
from data.pairs.contamination import Guard, Leak
from data.pairs.judged_answers import JudgedDraft
from data.pairs.masked_words import MaskedWords
from data.pairs.pairs import Draft, Status
from data.quality import private_words
from data.quality.unusable import Unusable, UnusableDraft, UnusableDrafts
from data.store.db import Store

TOGETHER = 1_000  # rows in one transaction, so that others can write in between
SHOWN_BAD = 100  # bad rows that a report lists; all are counted
SHOWN_CONFLICTS = 20  # conflicting answers that a report lists; all are counted
SHOWN_ROWS = 5  # rows that a preview shows
MOST_REASONS = 50  # kinds of rows that are counted one by one


@dataclass(frozen=True)
class ImportReport:
    """The result of an import."""

    added: int
    duplicates: int  # already in the domain, or repeated in the file
    bad: tuple[BadRow, ...]  # the first `SHOWN_BAD` bad rows
    bad_total: int
    complete: bool = True  # False: stopped before the end of the file
    batch: int | None = None  # the import's id; None: nothing was stored
    waiting: int = 0  # of the added ones: those that wait for review
    rated_answers: int = 0  # added for preference tuning
    known: Mapping[str, int] = field(default_factory=dict)  # duplicates by status, or "in the file"
    left_out: Mapping[str, int] = field(default_factory=dict)  # rows by what the file says of them
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # field -> columns
    unused: tuple[UnusedColumn, ...] = ()
    conflicts: tuple[ConflictingAnswer, ...] = ()  # the first `SHOWN_CONFLICTS`
    conflicts_total: int = 0
    systems: Mapping[str, int] = field(default_factory=dict)  # system prompts of the file
    unusable: tuple[Unusable, ...] = ()  # the first `SHOWN_BAD` that no run can learn, by line
    unusable_total: Mapping[str, int] = field(default_factory=dict)  # those that were added
    notes: tuple[str, ...] = ()  # about the file as a whole
    shown: tuple[Draft | JudgedDraft, ...] = ()  # of a preview: the first rows

    @property
    def rows(self) -> int:
        return self.added + self.duplicates + self.bad_total + sum(self.left_out.values())


@dataclass
class _Tally:
    """What has happened so far."""

    added: int = 0
    waiting: int = 0
    rated_answers: int = 0
    bad_total: int = 0
    bad: list[BadRow] = field(default_factory=list)
    known: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    conflicts: list[ConflictingAnswer] = field(default_factory=list)
    conflicts_total: int = 0
    systems: Counter[str] = field(default_factory=Counter)
    unusable: list[Unusable] = field(default_factory=list)
    unusable_total: Counter[str] = field(default_factory=Counter)
    only_train: bool = True  # every row is marked `train`
    marked: list[int] = field(default_factory=list)  # such pairs, while that is so
    shown: list[Draft | JudgedDraft] = field(default_factory=list)
    batch: int | None = None

    def report(self, reading: Reading, *, complete: bool) -> ImportReport:
        return ImportReport(
            added=self.added,
            duplicates=self.known.total(),
            bad=tuple(self.bad),
            bad_total=self.bad_total,
            complete=complete,
            batch=self.batch if self.added or self.rated_answers else None,
            waiting=self.waiting,
            rated_answers=self.rated_answers,
            known=dict(self.known),
            left_out=dict(self.left_out.most_common()),
            columns=dict(reading.columns.used),
            unused=reading.columns.report(),
            conflicts=tuple(self.conflicts),
            conflicts_total=self.conflicts_total,
            systems=dict(self.systems.most_common(5)),
            unusable=tuple(self.unusable),
            unusable_total=dict(self.unusable_total),
            notes=(*reading.notes, *reading.columns.notes()),
            shown=tuple(self.shown),
        )

    def refuse(self, found: BadRow) -> None:
        self.bad_total += 1
        if len(self.bad) < SHOWN_BAD:
            self.bad.append(found)

    def note_unusable(self, line: int, found: UnusableDraft) -> None:
        self.unusable_total[found.fault.check] += 1
        if len(self.unusable) < SHOWN_BAD:
            self.unusable.append(replace(found.fault, pair_id=line))

    def leave_out(self, found: LeftOut) -> None:
        known = found.reason in self.left_out or len(self.left_out) < MOST_REASONS
        self.left_out[found.reason if known else "other marks"] += 1

    def show(self, draft: Draft | JudgedDraft) -> None:
        if len(self.shown) < SHOWN_ROWS:
            self.shown.append(draft)

    def note_conflicts(self, found: Sequence[ConflictingAnswer]) -> None:
        self.conflicts_total += len(found)
        self.conflicts += found[: SHOWN_CONFLICTS - len(self.conflicts)]

    def note_system(self, draft: Draft) -> None:
        if draft.system and (draft.system in self.systems or len(self.systems) < MOST_REASONS):
            self.systems[draft.system] += 1


def import_file(
    store: Store,
    domain: Domain,
    path: Path,
    *,
    format: str = AUTO,
    author: str = "",
    status: Status = "approved",
    golden: bool = False,
    columns: Mapping[str, str] | None = None,
    channels: Sequence[str] = (),
    name: str = "",
    unusable: UnusableDrafts | None = None,
    progress: Callable[[int, ImportReport], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> ImportReport:
    """Add a file's pairs to the domain; with `golden`, all of them as golden questions. `columns`
    says what columns hold (`columns.parse`), `channels` which ones of a Slack export are read.
    `name` is that of the import, which `data/pairs/imports.py` undoes. `unusable` finds the pairs
    that no run can learn. `progress` receives the number of bytes read, and what has been
    committed. `stop` is asked between transactions. A row whose question would be both trained on
    and evaluated is skipped like an unreadable one.

    Raises what `files.read` raises, StoreFull or StoreBusy, and ImportUndone if somebody takes the
    import back meanwhile. Otherwise, committed rows stay; running it again adds the rest."""
    tally = _Tally()
    reading = Reading(path, ColumnMap(columns), channels=tuple(channels))
    with open_rows(reading, format) as numbered:
        guard = Guard(store.db, domain)
        while chunk := list(itertools.islice(numbered, TOGETHER)):
            if stop():
                return tally.report(reading, complete=False)
            with store.write() as db:
                if tally.batch is None:
                    tally.batch = imports.begin(db, domain, name, path.name, author)
                imports.refuse_undone(db, tally.batch)
                one = _Chunk(
                    db, domain, guard, tally, tally.batch, path.name, author, status, unusable
                )
                one.add(chunk, golden=golden)
                if not (tally.added or tally.rated_answers):
                    imports.drop(db, tally.batch)
                    tally.batch = None
            if progress is not None:
                progress(numbered.position, tally.report(reading, complete=False))
    if tally.only_train and tally.marked:
        _may_be_held_out(store, tally.marked)
        reading.notes.append(
            "Every row is marked as split=train. Some facts are still held out for validation."
        )
    return tally.report(reading, complete=True)


def preview_file(
    store: Store,
    domain: Domain,
    path: Path,
    *,
    format: str = AUTO,
    status: Status = "approved",
    golden: bool = False,
    columns: Mapping[str, str] | None = None,
    channels: Sequence[str] = (),
    progress: Callable[[int], None] = lambda read: None,
    unusable: UnusableDrafts | None = None,
) -> ImportReport:
    """What `import_file` would do, and the first rows. Reads the whole file, changes nothing.
    `progress` receives the number of bytes read. Raises what `files.read` raises."""
    tally, seen = _Tally(), set[str]()
    db = store.db
    reading = Reading(path, ColumnMap(columns), channels=tuple(channels))
    with open_rows(reading, format) as numbered:
        guard = Guard(db, domain)
        while chunk := list(itertools.islice(numbered, TOGETHER)):
            drafts = [
                _masked(db, domain, row.found)[0] for row in chunk if isinstance(row.found, Draft)
            ]
            known = pairs.find_fingerprints(db, domain, map(pairs.fingerprint_stored, drafts))
            new: list[tuple[int, Draft]] = []
            for row in chunk:
                if isinstance(row.found, BadRow):
                    tally.refuse(replace(row.found, member=row.member))
                elif isinstance(row.found, LeftOut):
                    tally.leave_out(row.found)
                elif isinstance(row.found, JudgedDraft):
                    tally.rated_answers += 1
                    tally.show(row.found)
                else:
                    faulty = unusable.judge(row.found) if unusable is not None else None
                    if faulty is not None and faulty.instead is None:
                        tally.refuse(BadRow(row.line, faulty.fault.sentence, row.member))
                        continue
                    draft = faulty.instead if faulty and faulty.instead else row.found
                    draft, _ = _masked(db, domain, draft)
                    draft = replace(draft, split="golden") if golden else draft
                    digest = pairs.fingerprint_stored(draft)
                    try:
                        guard.refuse(draft)
                    except Leak as leak:
                        tally.refuse(BadRow(row.line, str(leak), row.member))
                        continue
                    if digest in seen or digest in known:
                        tally.known["in the file" if digest in seen else known[digest]] += 1
                        continue
                    seen.add(digest)
                    tally.added += 1
                    tally.waiting += (draft.status or status) == "pending"
                    tally.note_system(draft)
                    tally.show(draft)
                    if faulty is not None:
                        tally.note_unusable(row.line, faulty)
                    new.append((row.line, draft))
            tally.note_conflicts(conflicting_answers.find(db, domain, new))
            progress(numbered.position)
    return tally.report(reading, complete=True)


@dataclass
class _Chunk:
    """Adds the rows of one transaction."""

    db: Database
    domain: Domain
    guard: Guard
    tally: _Tally
    batch: int
    file: str
    author: str
    status: Status
    unusable: UnusableDrafts | None

    def add(self, chunk: Sequence[NumberedRow], *, golden: bool) -> None:
        new: list[tuple[int, Draft]] = []
        for row in _naming_facts(self.db, self.domain, chunk):
            ref = f"{self.file}{f'/{row.member}' if row.member else ''}:{row.line}"
            if isinstance(row.found, BadRow):
                self.tally.refuse(replace(row.found, member=row.member))
            elif isinstance(row.found, LeftOut):
                self.tally.leave_out(row.found)
            elif isinstance(row.found, JudgedDraft):
                self._add_rated(row.found, ref)
            else:
                draft = replace(row.found, split="golden") if golden else row.found
                self._add_pair(draft, row, ref, new)
        if new:
            self.tally.note_conflicts(conflicting_answers.find(self.db, self.domain, new))

    def _add_rated(self, draft: JudgedDraft, ref: str) -> None:
        stored = judged_answers.add(
            self.db,
            self.domain,
            draft,
            source_ref=ref,
            author=self.author,
            import_id=self.batch,
        )
        if stored:
            self.tally.rated_answers += 1
        else:
            self.tally.known["rated"] += 1

    def _add_pair(
        self, draft: Draft, row: NumberedRow, ref: str, new: list[tuple[int, Draft]]
    ) -> None:
        faulty = self.unusable.judge(draft) if self.unusable is not None else None
        if faulty is not None and faulty.instead is None:
            self.tally.refuse(BadRow(row.line, faulty.fault.sentence, row.member))
            return
        draft = faulty.instead if faulty and faulty.instead else draft
        as_written = draft
        draft, hidden = _masked(self.db, self.domain, draft)
        same = pairs.find_same_words(self.db, self.domain.id, as_written) if hidden else None
        if same is not None:  # a reviewer asked for the masked words
            self.tally.known[same.status] += 1
            return
        try:
            self.guard.refuse(draft)
        except Leak as leak:
            self.tally.refuse(BadRow(row.line, str(leak), row.member))
            return
        self.tally.only_train &= draft.split in ("train", "golden")
        result = pairs.add(
            self.db,
            self.domain,
            [draft],
            source="import",
            source_ref=ref,
            author=self.author,
            status=self.status,
            import_id=self.batch,
        )
        status = draft.status or self.status
        added = len(result.ids)
        for pair_id, known, batch in result.known:
            if known == "rejected" and imports.reinstate(
                self.db, pairs.get(self.db, pair_id), status, self.batch
            ):
                added += 1
            else:
                self.tally.known["in the file" if batch == self.batch else known] += 1
        for pair_id in result.ids:
            self.guard.note(pair_id, draft)
            masked_words.keep(self.db, pair_id, hidden)
        if draft.split == "train" and self.tally.only_train:
            self.tally.marked += result.ids
        self.tally.added += added
        if added:
            self.tally.waiting += status == "pending"
            self.tally.note_system(draft)
            if faulty is not None:
                self.tally.note_unusable(row.line, faulty)
            if status not in ("rejected", "quarantined"):
                new.append((row.line, draft))


def _masked(db: Database, domain: Domain, draft: Draft) -> tuple[Draft, Sequence[MaskedWords]]:
    """A candidate with its private words masked, and these; any other draft as it is."""
    if not isinstance(draft, CandidatePair):
        return draft, ()
    masked = private_words.mask_conversation(db, domain, draft, draft.people)
    return masked.draft, masked.words


def _may_be_held_out(store: Store, pair_ids: Sequence[int]) -> None:
    """Remove the mark `train` from pairs: a mark that all rows have tells none of them apart. It is
    removed at the end, so that an import that is interrupted leaves what the file says."""
    for start in range(0, len(pair_ids), TOGETHER):
        some = orjson.dumps(pair_ids[start : start + TOGETHER]).decode()
        with store.write() as db:
            sql = "UPDATE pairs SET split = 'auto' WHERE id IN (SELECT value FROM json_each(?))"
            db.execute(f"{sql} AND split = 'train'", [some])


def _naming_facts(
    db: Database, domain: Domain, chunk: Sequence[NumberedRow]
) -> Iterator[NumberedRow]:
    """The rows; a draft without a fact has that of an approved pair that asks the same."""
    drafts = [row.found for row in chunk if isinstance(row.found, Draft)]
    named = iter(pairs.naming_facts(db, domain, drafts))
    for row in chunk:
        yield row._replace(found=next(named)) if isinstance(row.found, Draft) else row
