"""How much a new round of training makes an adapter forget, by method.

    python benchmarks/forgetting.py --folder work/forgetting
    python benchmarks/forgetting.py --folder work/forgetting --methods naive,replay --seeds 1
    python benchmarks/forgetting.py --folder work/forgetting --minutes 20

Five topics of the demo's documentation, with no fact in common, are taught one after the other to
the pocket model, each in a round of its own that continues the adapter before. `full` trains on
all topics so far instead, from the bare base. Every round is a run of the product: the same frozen
dataset, recipe and loop; only the settings in `METHODS` differ. The rounds of all methods but
`full` see each new pair equally often.

After each round, every topic so far is asked in phrasings that no run was trained on. `forgetting`
is the mean fall of a topic's score from its best until the last round; `new` is the mean score of a
topic right after its round. A score is the share of answers that are right word for word.

It can be stopped at any time: finished rounds are in the folder, and a stopped one is trained again
from its checkpoint. The last line is JSON.
"""

import argparse
import json
import os
import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import report

from data import domains
from data.adapters import registry
from data.adapters.registry import Adapter
from data.config.settings import Settings
from data.domains import Domain
from data.pairs import pairs
from data.pairs.pairs import Draft
from data.runs import runs
from data.runs.phases import Phase
from data.search.search import PairSearch
from data.store.db import Store
from tuning.data.examples import encode
from tuning.data.run_inputs import RunInputs, freeze_dataset
from tuning.evaluation import metrics
from tuning.model import greedy_answers
from tuning.model.base_model import Base
from tuning.progress import StepProgress
from tuning.training import job

DEMO = Path(__file__).parents[1] / "data" / "examples" / "helpdesk"
SYSTEM = json.loads((DEMO / "domain.json").read_text())["system_prompt"]
ROUNDS = 5
FACTS = 8  # of a topic
PHRASINGS = 5  # of a fact, at least
ASKED = 2  # of them, which are never trained on
ROWS = 48  # answers generated at once
FULL_EPOCHS = 20.0  # of a round from the bare base
NAME = "forgetting"

METHODS: dict[str, dict[str, Any]] = {
    "naive": {"replay_share": 0.0},
    "replay": {},
    "on-policy": {"replay_answers": "adapter"},
    "ewc": {"replay_share": 0.0, "ewc": 10.0},
    "full": {},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=24.0, help="of a continuing round")
    parser.add_argument("--minutes", type=float, default=0, help="start no round after so many")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="recipe")
    options = parser.parse_args()
    from tuning.recipe import recipe

    extra = recipe.parse_all(options.set)
    names = options.methods.split(",")
    deadline = time.monotonic() + 60 * options.minutes if options.minutes else None
    found: dict[str, list[list[list[float]]]] = {}
    for seed in range(options.seeds):
        for name in names:
            scores = sequence(options.folder, name, seed, options.epochs, extra, deadline)
            if len(scores) == ROUNDS:
                found.setdefault(name, []).append(scores)
    show(found, options.epochs, extra)


def sequence(
    folder: Path, name: str, seed: int, epochs: float, extra: dict[str, Any], deadline: float | None
) -> list[list[float]]:
    """The scores after each round: of each topic so far. Fewer rounds when the time is over."""
    home = folder / f"{name}-{seed}"
    first = folder / f"first-{seed}"
    asked = METHODS[name] | extra
    for number in range(ROUNDS):
        if not (done := read(home)) and number == 0:
            if not read(first):
                if late(deadline):
                    break
                one_round(first, 0, {"epochs": FULL_EPOCHS, "seed": seed}, full=True)
            shutil.copytree(first, home, dirs_exist_ok=True)  # the first round is the same for all
            continue
        if len(done) > number:
            continue
        if late(deadline):
            break
        more = {"epochs": FULL_EPOCHS if name == "full" else epochs, "max_steps": 0, "seed": seed}
        one_round(home, number, more | asked, full=name == "full")
    return [one["exact"] for one in read(home)]


def late(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() > deadline


def read(home: Path) -> list[dict[str, Any]]:
    """The finished rounds of a folder."""
    file = home / "scores.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def one_round(home: Path, number: int, asked: dict[str, Any], *, full: bool) -> None:
    """Teach the topic `number`, and score every topic so far."""
    settings = Settings(home=home)
    home.mkdir(parents=True, exist_ok=True)
    with Store(settings.store_path) as store:
        domain, run = requested(store, number, asked, full=full)
        inputs = freeze_dataset(store, run)
        todo = job.TrainingJob(settings, inputs, search=PairSearch(store, settings.search))
        prepared = job.prepare_training(store.db, todo)
        loaded = job.load_model(todo, prepared)
        began = time.monotonic()
        done = job.train_adapter(todo, prepared, loaded, settings.checkpoints_path(run.id), Quiet())
        spent = time.monotonic() - began
        scores = [score(loaded.base, loaded.model, topic) for topic in topics()[: number + 1]]
        keep(store, settings, domain, inputs, loaded.model, done)
    line = {
        "round": number, "exact": [one["exact"] for one in scores],
        "f1": [one["f1"] for one in scores], "steps": done.outcome.steps, "seconds": round(spent),
        "new": done.training_set.new,
    }  # fmt: skip
    print(home.name, line, flush=True)
    with (home / "scores.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def requested(
    store: Store, number: int, asked: dict[str, Any], *, full: bool
) -> tuple[Domain, runs.Run]:
    """The run of a round, claimed. One that was stopped is taken up again."""
    with store.write() as db:
        if number == 0 and not domains.list_domains(db):
            domains.create(db, NAME, system_prompt=SYSTEM, validation_share=0.0)
        domain = domains.get(db, NAME)
        open_run = next((run for run in runs.recent(db, domain, limit=1) if run.open), None)
        if open_run is None:
            pairs.add(db, domain, topics()[number], source="benchmark", status="approved")
            runs.request(db, domain, "benchmark", full=full, recipe=asked)
        elif open_run.state == "running":
            db.execute("UPDATE runs SET state = 'queued', worker = '' WHERE id = ?", [open_run.id])
        claimed = runs.claim(db, "benchmark")
        assert claimed is not None
        return domain, claimed


def keep(
    store: Store, settings: Settings, domain: Domain, inputs: RunInputs, model: Any,
    done: job.TrainingResult,
) -> Adapter:  # fmt: skip
    """Make the adapter the live one, from which the next round continues."""
    with store.write() as db:
        version = registry.next_version(db, domain)
    path = f"adapters/{NAME}/{version}"
    model.save_pretrained(settings.home / path)
    with store.write() as db:
        adapter = registry.register(
            db, domain, version=version, sha256=f"{version:064x}", path=path,
            base_model=settings.base.model, rank=done.training_set.recipe.rank, size_bytes=1,
            recipe=done.training_set.recipe.model_dump(mode="json"), scores={},
            dataset_id=inputs.dataset.id, parent_id=inputs.parent.id if inputs.parent else None,
            run_id=inputs.run.id,
        )  # fmt: skip
        runs.finish(db, inputs.run, adapter.id)
        return registry.promote(db, adapter, "benchmark")


def topics() -> list[list[Draft]]:
    """Neighbouring facts of the documentation, which is ordered by subject."""
    lines = [json.loads(line) for line in (DEMO / "pairs.jsonl").read_text().splitlines()]
    by_fact: dict[str, list[Draft]] = {}
    for line in lines:
        draft = Draft(line["prompt"], line["response"], fact=line["fact"])
        by_fact.setdefault(line["fact"], []).append(draft)
    facts = [some for some in by_fact.values() if len(some) >= PHRASINGS]
    apart = len(facts) // ROUNDS
    return [
        [
            replace(draft, split="golden" if at >= len(some) - ASKED else "train")
            for some in facts[number * apart : number * apart + FACTS]
            for at, draft in enumerate(some)
        ]
        for number in range(ROUNDS)
    ]


def score(base: Base, model: Any, topic: Sequence[Draft]) -> dict[str, float]:
    """Exact answers and token F1 on the phrasings of a topic that were never trained."""
    held_out = [draft for draft in topic if draft.split == "golden"]
    asked = [
        encode(
            pair_of(draft), base.tokenizer, system_prompt=SYSTEM, stops=base.stops, max_length=1024
        )
        for draft in held_out
    ]
    was_training = model.training
    model.eval()
    said = []
    for start in range(0, len(asked), ROWS):
        some = asked[start : start + ROWS]
        most = max(one.answered for one in some) + 16
        for ids in greedy_answers.generate(base, model, [one.prompt for one in some], most):
            words = [token for token in ids if token not in base.stops]
            said.append(base.tokenizer.decode(words, skip_special_tokens=True).strip())
    model.train(was_training)
    both = list(zip(said, held_out, strict=True))
    return {
        "exact": statistics.fmean(metrics.exact(a, d.response) for a, d in both),
        "f1": statistics.fmean(metrics.f1(a, d.response) for a, d in both),
    }


def pair_of(draft: Draft) -> pairs.Pair:
    return pairs.Pair(
        id=0, domain_id=0, prompt=draft.prompt, response=draft.response, system="", turns=(),
        fact=draft.fact, split="golden", source="", source_ref="", author="", status="approved",
        fingerprint="", created_at=0,
    )  # fmt: skip


class Quiet:
    def phase(self, phase: Phase, detail: str = "") -> None:
        pass

    def step(self, now: StepProgress) -> None:
        pass


def show(found: dict[str, list[list[list[float]]]], epochs: float, extra: dict[str, Any]) -> None:
    rows, figures = [], {}
    for name, of_seeds in found.items():
        forgotten = [forgetting(scores) for scores in of_seeds]
        new = [statistics.fmean(after[-1] for after in scores[1:]) for scores in of_seeds]
        last = [statistics.fmean(scores[-1]) for scores in of_seeds]
        figures[name] = {"forgetting": forgotten, "new": new, "last": last, "scores": of_seeds}
        rows.append(
            [name, len(of_seeds), *(statistics.fmean(some) for some in (forgotten, new, last))]
        )
    report.table(("method", "seeds", "forgetting", "new topic", "all topics at the end"), rows)
    report.finish(
        benchmark="forgetting", facts=FACTS, rounds=ROUNDS, epochs=epochs, set=extra, found=figures
    )


def forgetting(scores: Sequence[Sequence[float]]) -> float:
    """The mean over the topics of all rounds but the last: best score before the last round minus
    the score after it (Chaudhry et al. 2018, https://arxiv.org/abs/1801.10112)."""
    falls = [
        max(after[topic] for after in scores[topic:-1]) - scores[-1][topic]
        for topic in range(len(scores) - 1)
    ]
    return statistics.fmean(falls)


if __name__ == "__main__":
    main()
