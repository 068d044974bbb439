"""Lineage: from an adapter to its datasets, pairs, feedback and people, and back from a pair.

Nothing here contains words: pairs, replies and people are named by their ids. An adapter also knows
what the adapters knew that it continues, so its lineage has one step for each of them.
"""

from collections import Counter
from dataclasses import dataclass

import orjson
from sqlite_utils import Database

from data.privacy import provenance
from data.runs import runs
from data.store.clock import iso
from data.store.db import Row, row, rows
from data.store.errors import NotFound


@dataclass(frozen=True)
class PairOrigin:
    """Where a pair comes from."""

    id: int
    source: str  # import, correction, teach, unanswered, ...
    status: str
    split: str  # of the dataset that was asked about; '' without one
    reply_id: str  # the answer that it corrects; '' if there is none
    answered_by: str  # the adapter that gave that answer; '' if there is none
    people: tuple[str, ...]  # whose words it has: the author and the person who asked
    erased: bool


@dataclass(frozen=True)
class LineageStep:
    """One training: the adapter that it made, and what it learned from."""

    adapter: str
    state: str
    created_at: int
    run_id: int | None  # None: imported
    requested_by: str
    why: str  # what triggered the run; '': a person requested it
    dataset: str  # its digest; '' if none is recorded
    pairs: tuple[PairOrigin, ...]
    ratings: tuple[str, ...]  # ids of the rated replies of a preference run
    preferred: tuple[PairOrigin, ...] = ()  # pairs whose answers it learned to prefer (DPO)


@dataclass(frozen=True)
class AdapterLineage:
    adapter: str
    steps: tuple[LineageStep, ...]  # the adapter itself first, then those that it continues
    continued_by: tuple[str, ...]  # adapters that have its knowledge, too

    @property
    def people(self) -> tuple[str, ...]:
        """The people whose words it learned."""
        learned = (pair for step in self.steps for pair in (*_trained(step), *step.preferred))
        return tuple(sorted({person for pair in learned for person in pair.people}))

    @property
    def sentences(self) -> list[str]:
        """One line for each training, then the people and what continues it."""
        said = [_step_sentence(step) for step in self.steps]
        count = len(self.people)
        said.append(f"words of {count} {'person' if count == 1 else 'people'}")
        if self.continued_by:
            said.append(f"continued by {', '.join(self.continued_by)}")
        return said


@dataclass(frozen=True)
class PairLineage:
    pair: PairOrigin
    domain: str
    datasets: tuple[tuple[str, str], ...]  # digest, split
    trained: tuple[str, ...]  # adapters that learned it, or continue one that did
    evaluated: tuple[str, ...]  # adapters that are only measured on it

    @property
    def sentences(self) -> list[str]:
        """The pair's way, from the people to the adapters."""
        pair = self.pair
        said = [f"pair {pair.id} of {self.domain}, {pair.status}: from {pair.source}"]
        if pair.reply_id:
            by = f", which {pair.answered_by} gave" if pair.answered_by else ""
            said.append(f"corrects answer {pair.reply_id}{by}")
        said.append(f"words of {', '.join(pair.people) or 'nobody who is known'}")
        said += [f"dataset {sha256[:12]}: {split}" for sha256, split in self.datasets]
        said.append(f"learned by {', '.join(self.trained) or 'no adapter'}")
        if self.evaluated:
            said.append(f"measured on {', '.join(self.evaluated)}")
        return said


def of_adapter(db: Database, adapter_id: int) -> AdapterLineage:
    """The lineage of an adapter. Raises NotFound."""
    found = rows(db, LINE, [adapter_id])
    if not found:
        raise NotFound(f"There is no adapter number {adapter_id}.")
    ids = {int(r["id"]) for r in found}
    later = provenance.continued_from(db, adapter_id) - ids
    return AdapterLineage(
        found[0]["name"],
        tuple(_step(db, r) for r in found),
        provenance.adapter_names(db, sorted(later)),
    )


def of_pair(db: Database, pair_id: int) -> PairLineage:
    """The lineage of a pair. Raises NotFound."""
    found = row(db, f"{PAIR} WHERE p.id = ?", [pair_id])
    if found is None:
        raise NotFound(f"There is no pair {pair_id}.")
    used = rows(
        db,
        "SELECT d.id, d.sha256, dp.split FROM dataset_pairs dp JOIN datasets d "
        "ON d.id = dp.dataset_id WHERE dp.pair_id = ? ORDER BY d.id",
        [pair_id],
    )
    trained = provenance.trained_on(db, [pair_id])
    measured = rows(
        db,
        "SELECT id FROM adapters WHERE dataset_id IN (SELECT value FROM json_each(?))",
        [orjson.dumps([r["id"] for r in used if r["split"] != "train"]).decode()],
    )
    return PairLineage(
        pair=_origin(found, _people(db, [pair_id])),
        domain=found["domain"],
        datasets=tuple((r["sha256"], r["split"]) for r in used),
        trained=provenance.adapter_names(db, sorted(trained)),
        evaluated=provenance.adapter_names(db, sorted({int(r["id"]) for r in measured} - trained)),
    )


LINE = """
WITH RECURSIVE line (id, depth) AS (
    SELECT ?, 0 UNION SELECT a.parent_id, l.depth + 1 FROM adapters a JOIN line l ON a.id = l.id
    WHERE a.parent_id IS NOT NULL
)
SELECT a.id, d.name || '@' || a.version AS name, a.state, a.created_at, a.run_id, a.dataset_id,
       s.sha256
FROM line l JOIN adapters a ON a.id = l.id JOIN domains d ON d.id = a.domain_id
LEFT JOIN datasets s ON s.id = a.dataset_id ORDER BY l.depth
"""
PAIR = """
SELECT p.id, p.source, p.status, p.author, p.forgotten_at IS NOT NULL AS erased, '' AS split,
       d.name AS domain, coalesce(r.id, '') AS reply_id, r.person AS asker,
       coalesce(d.name || '@' || a.version, '') AS answered_by
FROM pairs p JOIN domains d ON d.id = p.domain_id LEFT JOIN replies r ON r.id = p.source_ref
LEFT JOIN adapters a ON a.id = r.adapter_id
"""


def _step(db: Database, adapter: Row) -> LineageStep:
    run = runs.get(db, adapter["run_id"]) if adapter["run_id"] else None
    found = rows(
        db,
        f"SELECT o.*, dp.split AS in_split FROM dataset_pairs dp JOIN ({PAIR}) o "
        "ON o.id = dp.pair_id WHERE dp.dataset_id = ? ORDER BY o.id",
        [adapter["dataset_id"] or 0],
    )
    preferred = rows(
        db,
        f"{PAIR} WHERE p.id IN (SELECT pair_id FROM run_judgements WHERE run_id = :run "
        "UNION SELECT pair_id FROM run_judged_answers WHERE run_id = :run) ORDER BY p.id",
        {"run": adapter["run_id"] or 0},
    )
    people = _people(db, [r["id"] for r in (*found, *preferred)])
    ratings = rows(
        db,
        "SELECT reply_id FROM run_judgements WHERE run_id = ? ORDER BY reply_id",
        [adapter["run_id"] or 0],
    )
    return LineageStep(
        adapter=adapter["name"],
        state=adapter["state"],
        created_at=adapter["created_at"],
        run_id=run.id if run else None,
        requested_by=run.requested_by if run else "",
        why=run.why if run else "",
        dataset=adapter["sha256"] or "",
        pairs=tuple(_origin({**r, "split": r["in_split"]}, people) for r in found),
        ratings=tuple(r["reply_id"] for r in ratings),
        preferred=tuple(_origin(r, people) for r in preferred),
    )


def _people(db: Database, pair_ids: list[int]) -> dict[int, set[str]]:
    """Pair -> the people whose words it has, beside its author and who asked."""
    found = rows(
        db,
        "SELECT pair_id, person FROM pair_words WHERE pair_id IN (SELECT value FROM json_each(?))",
        [orjson.dumps(pair_ids).decode()],
    )
    people: dict[int, set[str]] = {}
    for r in found:
        people.setdefault(r["pair_id"], set()).add(r["person"])
    return people


def _origin(found: Row, people: dict[int, set[str]]) -> PairOrigin:
    named = {found["author"], found["asker"], *people.get(found["id"], ())} - {"", None}
    return PairOrigin(
        id=found["id"],
        source=found["source"],
        status=found["status"],
        split=found["split"],
        reply_id=found["reply_id"],
        answered_by=found["answered_by"],
        people=tuple(sorted(str(name) for name in named)),
        erased=bool(found["erased"]),
    )


def _trained(step: LineageStep) -> list[PairOrigin]:
    return [pair for pair in step.pairs if pair.split == "train"]


def _step_sentence(step: LineageStep) -> str:
    made = f"run {step.run_id}, requested by {step.requested_by}" if step.run_id else "an import"
    said = f"{step.adapter} ({step.state}, {iso(step.created_at)}) from {made}"
    if step.why:
        said += f" ({step.why.removesuffix('.')})"
    if step.ratings:
        count = len(step.ratings)
        said += f", on {count} rated answer{'s' * (count != 1)}"
    if step.preferred:
        count = len(step.preferred)
        said += f", preferring the answers of {count} pair{'s' * (count != 1)}"
    trained = _trained(step)
    if trained:
        sources = Counter(pair.source for pair in trained)
        listed = ", ".join(f"{count} from {source}" for source, count in sources.most_common())
        said += f", on {len(trained)} pairs: {listed}"
    if step.dataset:
        said += f"; dataset {step.dataset[:12]}"
    if erased := sum(pair.erased for pair in step.pairs):
        said += f", {erased} of its pairs erased since"
    return said
