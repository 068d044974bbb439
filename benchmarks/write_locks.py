"""For how long `golden add` and the freezing of a dataset keep others from writing.

    python benchmarks/write_locks.py [--golden 50000] [--freeze 200000] [--adapters 3]

Both are measured in one transaction, as they were, and in short ones. The pairs are invented; the
adapters were trained on all of them. The table shows the longest transaction and the whole time.
The last line is JSON.
"""

import argparse
import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import report
from sqlite_utils import Database

from data import domains
from data.adapters import registry
from data.domains import Domain
from data.pairs import datasets, golden, pairs
from data.pairs.pairs import Draft
from data.store.db import Store

TOGETHER = 1_000  # pairs added in one transaction


class Timed(Store):
    """A store that records how long its transactions last, in seconds."""

    lasted: list[float]

    @contextlib.contextmanager
    def write(self) -> Iterator[Database]:
        with super().write() as db:
            began = time.monotonic()
            yield db
        # the commit is part of it
        self.__dict__.setdefault("lasted", []).append(time.monotonic() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--golden", type=int, default=50_000)
    parser.add_argument("--freeze", type=int, default=200_000)
    parser.add_argument("--adapters", type=int, default=3)
    asked = parser.parse_args()
    lines, figures = [], {}
    with tempfile.TemporaryDirectory() as folder, Timed(Path(folder) / "understudy.db") as store:
        with store.write() as db:
            domain = domains.create(db, "desk")
        fill(store, domain, 0, asked.golden)
        dataset = datasets.freeze_in(store, domain)
        for version in range(1, asked.adapters + 1):
            with store.write() as db:
                trained(db, domain, version, dataset.id)

        def whole_golden() -> None:
            with store.write() as db:
                golden.add(db, domain, "Is there a first golden one?", "Yes.", "ann")

        def short_golden() -> None:
            golden.add_to(store, domain, "Is there a second golden one?", "Yes.", "ann")

        def whole_freeze() -> None:
            with store.write() as db:
                datasets.freeze(db, domain)

        for name, n, run in (
            ("golden add, one transaction", asked.golden, whole_golden),
            ("golden add", asked.golden, short_golden),
        ):
            lines.append(measured(store, name, n, run, figures))
        fill(store, domain, asked.golden, asked.freeze)
        lines.append(
            measured(
                store, "freeze", asked.freeze, lambda: datasets.freeze_in(store, domain), figures
            )
        )
        fill(store, domain, asked.freeze, asked.freeze + 1)  # otherwise it exists already
        lines.append(
            measured(store, "freeze, one transaction", asked.freeze, whole_freeze, figures)
        )
    report.table(("what", "pairs", "longest transaction, ms", "whole, s"), lines)
    report.finish(benchmark="write_locks", **figures)


def fill(store: Store, domain: Domain, first: int, last: int) -> None:
    for start in range(first, last, TOGETHER):
        drafts = [
            Draft(f"Where is thing number {n} of the store room?", f"On shelf {n % 97}, box {n}.")
            for n in range(start, min(last, start + TOGETHER))
        ]
        with store.write() as db:
            pairs.add(db, domain, drafts, source="import", status="approved", import_id=1)


def trained(db: Database, domain: Domain, version: int, dataset_id: int) -> None:
    registry.register(
        db, domain, version=version, sha256=f"{version:064x}", path=f"adapters/desk/{version}",
        base_model="pocket", rank=8, size_bytes=1, recipe={}, scores={}, dataset_id=dataset_id,
    )  # fmt: skip


def measured(
    store: Timed, name: str, n: int, run: Callable[[], object], figures: dict[str, object]
) -> list[object]:
    store.lasted.clear()
    began = time.monotonic()
    run()
    whole, longest = time.monotonic() - began, max(store.lasted)
    figures[name.replace(", ", "_").replace(" ", "_")] = {
        "pairs": n, "longest_ms": longest * 1000, "seconds": whole,
        "transactions": len(store.lasted),
    }  # fmt: skip
    return [name, f"{n:,}", f"{longest * 1000:,.0f}", f"{whole:.1f}"]


if __name__ == "__main__":
    main()
