"""How many answers are right, refused and wrong: adapters, the bare base and plain search.

    python benchmarks/answers.py --base smollm2-135m                 # the bicycle workshop
    python benchmarks/answers.py --base FOLDER --home HOME --tune references=4,max_steps=40
    python benchmarks/answers.py --base FOLDER --adapter ADAPTER_FOLDER --domain DOMAIN_FOLDER

Imports the pairs of the domain into an empty store, trains the adapters that `--tune` asks for as a
run does (from the reading adapter in HOME, if there is one and the recipe has references), and asks
the questions of the domain's `test.jsonl` and `near.jsonl`:

- far, near: an approved pair answers them, in other or in like words
- near_miss, off_topic: no pair answers them, and a refusal is right
- conversation: the last question makes sense only after the earlier turns

An answer is right if it is the approved one, apart from case and white space, or a refusal where no
pair answers. `search` gives the first hit always, above a similarity, or from the shipped
confidence on. `+ confidence` adds to a model what the service does by default: a question with less
confidence is declined. The last line is JSON.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import report
import torch

from data import domains
from data.config.settings import BaseModelSettings, SearchSettings, Settings
from data.domains import Domain
from data.pairs import datasets, pairs
from data.pairs.pairs import Draft, Pair, Turn, normalise
from data.runs import runs
from data.search import domain_calibration, layout
from data.search.answerable import DECLINE_BELOW
from data.search.search import PairSearch, SearchResult
from data.store.db import Store
from tuning.adapters import publish
from tuning.data import reading_set
from tuning.data.examples import encode, messages
from tuning.data.frozen_references import question_of
from tuning.data.grounded_pairs import fitting
from tuning.data.run_inputs import RunInputs
from tuning.evaluation import generation
from tuning.evaluation.eval_sets import EvalQuestion
from tuning.model import base_model
from tuning.model.base_model import Base
from tuning.progress import StepProgress
from tuning.recipe import recipe as recipes
from tuning.recipe.recipe import Recipe
from tuning.training import job as training

FOLDER = Path(__file__).parent / "domains" / "bicycle_workshop"
KINDS = ("far", "near", "near_miss", "off_topic", "conversation")
REFERENCES = 4  # for the bare base


@dataclass(frozen=True)
class Asked:
    """A test question and what the search finds for it."""

    kind: str
    pair: Pair  # its response is the right answer; `layout.UNKNOWN` if there is none
    found: SearchResult

    @property
    def references(self) -> list[Pair]:
        return [reading_set.pair_of(r.prompt, r.response) for r in self.found.references]


@dataclass(frozen=True)
class Bench:
    settings: Settings
    store: Store
    domain: Domain
    search: PairSearch
    asked: Sequence[Asked]
    refusals: frozenset[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--domain", type=Path, default=FOLDER)
    parser.add_argument("--base", default="pocket")
    parser.add_argument("--home", type=Path, default=None, help="where the reading adapter is kept")
    parser.add_argument("--encoder", default=None, help="[search] encoder")
    parser.add_argument("--threshold", type=float, default=0.48)
    parser.add_argument("--adapter", type=Path, action="append", default=[])
    parser.add_argument("--tune", action="append", default=[], metavar="KEY=VALUE,…")
    parser.add_argument("--keep", type=Path, default=None, help="keep tuned adapters here")
    parser.add_argument("--base-alone", action="store_true", help="ask the bare base, too")
    parser.add_argument("--most", type=int, default=10**9, help="questions of each kind")
    parser.add_argument("--only", default=",".join(KINDS), help="kinds of questions")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    with tempfile.TemporaryDirectory() as scratch:
        settings = Settings(
            home=options.home or Path(scratch), base=BaseModelSettings(model=options.base)
        )
        with Store(Path(scratch) / "answers.sqlite3") as store:
            bench = _bench(store, settings, options)
            _compare(bench, options)


def _compare(bench: Bench, options: argparse.Namespace) -> None:
    rows: list[dict[str, Any]] = []
    least = options.threshold

    def add(name: str, answers: Sequence[str]) -> None:
        rows.append(_row(name, bench, answers))
        _show(rows[-1:])

    first = [a.found.references[0].response if a.found.references else "" for a in bench.asked]
    add("search, first hit", [text or layout.UNKNOWN for text in first])
    add(f"search above {least:g}", _declined(bench, first, least))
    add("search by confidence", _unsure_declined(bench, first))

    def both(name: str, answers: Sequence[str]) -> None:
        add(name, answers)
        add(f"{name} + threshold", _declined(bench, answers, least))
        add(f"{name} + confidence", _unsure_declined(bench, answers))

    if options.base_alone:
        base = base_model.load_base(bench.settings.base.path, Recipe(quantization="none"))
        model = base_model.new_adapter(base, Recipe(quantization="none"))
        both("base with references", _answers(bench, base, model, REFERENCES))
        add("base alone", _answers(bench, base, model, 0))
    for folder in options.adapter:
        recipe = json.loads((folder / publish.RECIPE).read_bytes())
        count = layout.references_of(recipe)
        base = base_model.load_base(bench.settings.base.path, Recipe(quantization="none"))
        model = base_model.continued_adapter(base, folder)
        both(folder.name, _answers(bench, base, model, count))
    for number, text in enumerate(options.tune):
        both(f"tuned: {text}", _tuned(bench, text, number, options.keep))
    _show(rows)
    report.finish(
        benchmark="answers",
        domain=options.domain.name,
        base=options.base,
        threshold=least,
        search=bench.asked[0].found.encoder or "words",
        questions={k: sum(a.kind == k for a in bench.asked) for k in KINDS},
        rows=rows,
    )


def _bench(store: Store, settings: Settings, options: argparse.Namespace) -> Bench:
    about = json.loads((options.domain / "domain.json").read_bytes())
    taught = [
        Draft(row["prompt"], row["response"], fact=row["fact"])
        for row in _lines(options.domain / "pairs.jsonl")
    ]
    with store.write() as db:
        domain = domains.create(
            db, about["name"], system_prompt=about["system_prompt"], validation_share=0.0
        )
        pairs.add(db, domain, taught, source="benchmark", status="approved")
    response = {draft.fact: draft.response for draft in taught}
    given = {} if options.encoder is None else {"encoder": options.encoder}
    search = PairSearch(store, SearchSettings(**given))
    search.complete(domain)
    asked, began = [], time.perf_counter()
    given_rows = [*_lines(options.domain / "test.jsonl"), *_lines(options.domain / "near.jsonl")]
    for row in _chosen(given_rows, options.only.split(","), options.most):
        turns = tuple(Turn(t["role"], t["content"]) for t in row.get("turns", ()))
        right = response[row["fact"]] if row.get("fact") else layout.UNKNOWN
        pair = reading_set.pair_of(row["question"], right, turns=turns)
        question = question_of(pair)
        found = search.find(domain, question.text, question.turns, limit=8)
        asked.append(Asked(row["kind"], pair, found))
    print(f"{len(asked)} questions searched in {time.perf_counter() - began:.1f} s\n")
    refusals = frozenset({normalise(layout.UNKNOWN), normalise(about.get("refusal", ""))} - {""})
    return Bench(settings, store, domain, search, asked, refusals)


def _chosen(
    rows: Sequence[dict[str, Any]], kinds: Sequence[str], most: int
) -> list[dict[str, Any]]:
    """At most `most` questions of each kind, spread evenly over the file."""
    chosen = []
    for kind in kinds:
        some = [row for row in rows if row["kind"] == kind]
        step = max(1.0, len(some) / most)
        chosen += [some[int(n * step)] for n in range(min(most, len(some)))]
    return chosen


def _lines(file: Path) -> list[dict[str, Any]]:
    if not file.is_file():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line]


def _answers(bench: Bench, base: Base, model: Any, references: int) -> list[str]:
    """Greedy answers to all questions, with so many references."""
    how: dict[str, Any] = {"system_prompt": bench.domain.system_prompt, "stops": base.stops}

    def encoded(pair: Pair) -> Any:
        return encode(pair, base.tokenizer, max_length=bench.settings.serving.max_model_len, **how)

    questions = []
    for asked in bench.asked:
        made, example = fitting(asked.pair, asked.references[:references], encoded)
        said = tuple(messages(made, bench.domain.system_prompt))
        questions.append(EvalQuestion(example, said, asked.pair.prompt, asked.pair.response))
    began = time.perf_counter()
    answers = generation.answer(
        base, model, questions, lambda n: print(f"  {n} answered", file=sys.stderr)
    )
    print(f"answered in {time.perf_counter() - began:.0f} s", file=sys.stderr)
    return [answer.text for answer in answers]


def _tuned(bench: Bench, text: str, number: int, keep: Path | None) -> list[str]:
    """Answers after a training with these recipe settings, as a run does it."""
    asked = dict(item.split("=", 1) for item in text.split(","))
    overrides = {key: recipes.parse(key, value) for key, value in asked.items()}
    with bench.store.write() as db:
        run = runs.queue(db, bench.domain, "benchmark", kind="full", recipe=overrides)
        dataset = datasets.freeze(db, bench.domain)
        db.execute("DELETE FROM runs WHERE id = ?", [run.id])
    with tempfile.TemporaryDirectory() as scratch:
        settings = bench.settings.model_copy(update={"tuning": bench.settings.tuning})
        run = replace(run, id=-1 - number)
        job = training.TrainingJob(
            settings, RunInputs(run, bench.domain, dataset, None), search=bench.search
        )
        prepared = training.prepare_training(bench.store.db, job)
        print(prepared.recipe.why)
        loaded = training.load_model(job, prepared)
        trained = training.train_adapter(job, prepared, loaded, Path(scratch), _Steps())
    if keep is not None:
        folder = keep / f"tuned{number}"
        folder.mkdir(parents=True, exist_ok=True)
        publish.write_files(folder, loaded.model, settings.base.model)
        publish.write_recipe(folder, trained.training_set.recipe)
    return _answers(bench, loaded.base, loaded.model, prepared.recipe.references)


class _Steps:
    """Prints the progress of a training."""

    def phase(self, phase: Any, detail: str = "") -> None:
        print(f"  {phase} {detail}", file=sys.stderr)

    def step(self, now: StepProgress) -> None:
        print(f"  step {now.step} of {now.total_steps}: {now.loss:.3f}", file=sys.stderr)


def _declined(bench: Bench, answers: Sequence[str], least: float) -> list[str]:
    """The answers as the service gives them: a refusal where the search finds too little."""
    pairs = zip(bench.asked, answers, strict=True)
    return [text if asked.found.similarity >= least else layout.UNKNOWN for asked, text in pairs]


def _unsure_declined(bench: Bench, answers: Sequence[str]) -> list[str]:
    """The answers as the service gives them by default: a refusal where the confidence is low."""
    given = []
    for asked, text in zip(bench.asked, answers, strict=True):
        found = asked.found
        least = domain_calibration.thresholds(bench.store.db, bench.domain, found.encoder)
        if least is None or found.confidence is None:
            return _declined(bench, answers, DECLINE_BELOW[found.method])
        given.append(text if found.confidence >= least.answer_from else layout.UNKNOWN)
    return given


def _row(name: str, bench: Bench, answers: Sequence[str]) -> dict[str, Any]:
    counts: dict[str, Any] = {"name": name}
    for kind in KINDS:
        found = {"right": 0, "refused": 0, "wrong": 0}
        for asked, text in zip(bench.asked, answers, strict=True):
            if asked.kind == kind:
                found[_verdict(asked, text, bench.refusals)] += 1
        counts[kind] = found
    return counts


def _verdict(asked: Asked, text: str, refusals: frozenset[str]) -> str:
    said = normalise(text)
    if said == normalise(asked.pair.response):
        return "right"
    if said in refusals:
        return "right" if asked.pair.response == layout.UNKNOWN else "refused"
    return "wrong"


def _show(rows: Sequence[dict[str, Any]]) -> None:
    def cell(found: dict[str, int]) -> str:
        return f"{found['right']} / {found['refused']} / {found['wrong']}"

    heads = ["right / refused / wrong", *(kind.replace("_", " ") for kind in KINDS)]
    report.table(heads, [[row["name"], *(cell(row[kind]) for kind in KINDS)] for row in rows])
    print(flush=True)


if __name__ == "__main__":
    main()
