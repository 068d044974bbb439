"""Short builders for test data: an adapter, an answer, some pairs."""

from dataclasses import dataclass
from pathlib import Path

from sqlite_utils import Database

from data.adapters import registry
from data.adapters.registry import Adapter
from data.conversations import conversations
from data.domains import Domain
from data.experiments import experiments, metric_sums
from data.pairs import pairs
from data.pairs.pairs import Draft
from data.store.db import rows, value


def adapter(
    db: Database, domain: Domain, state: str = "candidate", dataset_id: int | None = None
) -> Adapter:
    """The domain's next adapter."""
    version = registry.next_version(db, domain)
    made = registry.register(
        db,
        domain,
        version=version,
        sha256=f"{version:064x}",
        path=f"adapters/{domain.name}/{version}",
        base_model="pocket",
        rank=16,
        size_bytes=1_000,
        recipe={"epochs": 3},
        scores={"golden": {"exact": 0.5}},
        dataset_id=dataset_id,
        state="rejected" if state == "rejected" else "candidate",
        state_reason="not finite" if state == "rejected" else "",
    )
    with_folder(db, made)
    return registry.promote(db, made, "cli:ann") if state == "live" else made


def with_folder(db: Database, adapter: Adapter) -> Adapter:
    """The adapter, with a folder for its files."""
    file = value(db, "SELECT file FROM pragma_database_list WHERE name = 'main'")
    if file:
        adapter.folder(Path(file).parent).mkdir(parents=True, exist_ok=True)
    return adapter


def reply(
    db: Database,
    domain: Domain,
    person: str = "slack:T1/U1",
    question: str = "How?",
    answer: str = "So.",
    variant: experiments.Variant | None = None,
    status: conversations.Status = "done",
) -> str:
    """A question of that person and its answer; returns the reply's id."""
    reply_id = conversations.new_reply_id()
    thread = conversations.open_thread(db, f"thread:{reply_id}", domain.id, person)
    conversations.ask(
        db,
        reply_id=reply_id,
        conversation=thread,
        person=person,
        text=question,
        adapter_id=variant.adapter_id if variant else None,
        variant_id=variant.id if variant else None,
    )
    if status != "streaming":
        conversations.finish_reply(db, reply_id, answer, status=status, finish_reason="stop")
    return reply_id


def approved(db: Database, domain: Domain, *drafts: Draft) -> list[int]:
    """Approved pairs; returns their ids."""
    return pairs.add(db, domain, list(drafts), source="import", status="approved").ids


def same_sides(db: Database, experiment: experiments.Experiment) -> experiments.Experiment:
    """The comparison, with the same people on the same sides every time a test runs."""
    db.execute("UPDATE experiments SET salt = 'the same' WHERE id = ?", [experiment.id])
    return experiments.get(db, experiment.id)


@dataclass(frozen=True)
class Counts:
    """What a variant has collected."""

    people: int
    replies: int
    failed: int
    up: int
    down: int
    ratings: tuple[float, ...]  # the mean of each person who rated


def counts(db: Database, experiment: experiments.Experiment) -> list[Counts]:
    """Of each variant, the control first, as comparisons read them."""
    collected = metric_sums.collect(db, experiment)
    sql = "SELECT up, down FROM ratings WHERE variant_id = ? AND up + down > 0 ORDER BY person"
    return [
        Counts(
            people=sum(stage.cells[n].assigned for stage in collected.stages),
            replies=known.replies,
            failed=known.failed,
            up=known.up,
            down=known.down,
            ratings=tuple(r["up"] / (r["up"] + r["down"]) for r in rows(db, sql, [variant.id])),
        )
        for n, (variant, known) in enumerate(
            zip(experiment.variants, collected.variants, strict=True)
        )
    ]
