"""How close the engine's numbers are to the trainer's, with the base model in bf16 and in NF4.

    python benchmarks/parity.py
    python benchmarks/parity.py --facts 30 --steps 200

Tunes two adapters on different facts of the demo domain, as runs do (NF4 base). The trainer answers
questions with the first adapter, greedily, with its base in NF4 and in bf16. Engines with their
base in bf16 and in NF4 then score these answers. `agreement` is the share of the trainer's tokens
that the engine also finds most likely, given all tokens before them (teacher forcing); `delta` is
the mean difference of the natural logarithms of a token's probability; `same answers` is the share
of whole answers that the engine generates token for token. For contrast, the same is done with the
other adapter and with the base model instead of the right one. The second table shows the agreement
on reference outputs, as `serving/adapters/reference_check.py` computes it at publishing.

Each token is asked for in a prompt of its own that ends before it: vLLM 0.32's `prompt_logprobs`
would need one pass only, but crashes the engine when an adapter is asked.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

os.environ.setdefault("OMP_NUM_THREADS", "1")

import report

sys.path.insert(0, str(Path(__file__).parents[1]))

from data import domains
from data.adapters import placements, registry
from data.adapters.registry import BASE_SERVED_NAME, Adapter
from data.config.settings import ServingSettings, Settings
from data.domains import Domain
from data.pairs import pairs
from data.pairs.datasets import pairs_of
from data.runs import runs
from data.store.db import Store
from serving import serve
from serving.adapters import reference_check
from serving.engine.management_api import ask
from tests.conftest import free_port
from tuning.child_process import ExitCode
from tuning.data import examples
from tuning.evaluation.reference_outputs import answer_logprobs
from tuning.model import base_model, greedy_answers
from tuning.recipe.recipe import Recipe
from tuning.worker.child import execute_run

DEMO = Path(__file__).parents[1] / "data" / "examples" / "helpdesk"
PROBES = 56
TOKENS = 24  # of an answer, at most
AT_ONCE = 16  # vLLM tells at most 20 log probabilities a token
ENGINES: dict[str, Literal["none", "bitsandbytes"]] = {"bf16": "none", "nf4": "bitsandbytes"}
TRAINERS: dict[str, Literal["none", "nf4"]] = {"nf4": "nf4", "bf16": "none"}


@dataclass(frozen=True)
class Probe:
    """A question's prompt, the trainer's greedy answer and its tokens' log probabilities."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    logprobs: tuple[float, ...]


@dataclass(frozen=True)
class Parity:
    agreement: float
    delta: float  # nats, mean of the absolute differences
    delta_p99: float
    same: float  # share of whole answers


def tune(store: Store, settings: Settings, name: str, facts: set[str], steps: int) -> Adapter:
    """An adapter of a domain with these facts, made by a normal run."""
    system = json.loads((DEMO / "domain.json").read_text())["system_prompt"]
    lines = (DEMO / "pairs.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines if line]
    known = ("prompt", "response", "fact", "split")
    drafts = [
        pairs.Draft(**{k: v for k, v in row.items() if k in known})
        for row in rows
        if row["fact"] in facts
    ]
    with store.write() as db:
        domain = domains.create(db, name, system_prompt=system, validation_share=0.0)
        pairs.add(db, domain, drafts, source="benchmark", status="approved")
        recipe = {"max_steps": steps} if steps else {}
        runs.queue(db, domain, "benchmark", kind="full", recipe=recipe)
        run = runs.claim(db, "benchmark")
    assert run is not None
    if execute_run(store, settings, run) != ExitCode.DONE:
        raise SystemExit(runs.get(store.db, run.id).error)
    return registry.get(store.db, f"{name}@1")


def probes(
    store: Store, settings: Settings, domain: Domain, adapter: Adapter, trainer: str
) -> list[Probe]:
    """The trainer's answers with its base model in this precision."""
    base = base_model.load_base(settings.base.path, Recipe(quantization=TRAINERS[trainer]))
    tuned = base_model.continued_adapter(base, adapter.folder(settings.home))
    tuned.eval()
    assert adapter.dataset_id is not None
    asked = pairs_of(store.db, adapter.dataset_id, "golden")
    asked += pairs_of(store.db, adapter.dataset_id, "train")
    prompts = [
        tuple(examples.prompt_ids(base.tokenizer, examples.messages(pair, domain.system_prompt)))
        for pair in asked[:PROBES]
    ]
    made = []
    for prompt, answer in zip(
        prompts, greedy_answers.generate(base, tuned, prompts, TOKENS), strict=True
    ):
        every = answer_logprobs(base, tuned, prompt, answer)
        own = [float(every[i, token]) for i, token in enumerate(answer)]
        made.append(Probe(prompt, answer, tuple(own)))
    return made


@contextlib.contextmanager
def engine(store: Store, settings: Settings, made: Sequence[Adapter]) -> Iterator[str]:
    """`understudy serve` until it holds the adapters; yields the engine's URL."""
    stop = threading.Event()
    serving = threading.Thread(target=serve.run, args=(settings,), kwargs={"stop": stop})
    serving.start()
    try:
        while not all(adapter.id in placements.loaded(store.db) for adapter in made):
            if not serving.is_alive():
                raise SystemExit("The engine did not start.")
            time.sleep(0.2)
        (url,) = placements.ready_urls(store.db)
        yield url
    finally:
        stop.set()
        serving.join()


def compare(url: str, name: str, probed: Sequence[Probe]) -> Parity:
    """The engine's scores of the trainer's answers."""
    agreed, deltas = 0, []
    for probe in probed:
        for own, (logprob, likeliest) in zip(
            probe.logprobs, _scored(url, name, probe), strict=True
        ):
            agreed += likeliest
            deltas.append(abs(logprob - own))
    said = _generated(url, name, probed)
    same = sum(
        tuple(ids[: len(probe.answer)]) == probe.answer
        for probe, ids in zip(probed, said, strict=True)
    )
    return Parity(
        agreed / len(deltas),
        sum(deltas) / len(deltas),
        report.percentile(deltas, 0.99),
        same / len(probed),
    )


def _scored(url: str, name: str, probe: Probe) -> list[tuple[float, bool]]:
    """Log probability of each answer token, and whether the engine finds it most likely."""
    scored = []
    for start in range(0, len(probe.answer), AT_ONCE):
        some = probe.answer[start : start + AT_ONCE]
        body = {
            "prompt": [[*probe.prompt, *probe.answer[: start + i]] for i in range(len(some))],
            "max_tokens": 1,
            "logprobs": len(set(some)),
            "logprob_token_ids": sorted(set(some)),
            "return_tokens_as_token_ids": True,
            "return_token_ids": True,
        }
        for token, choice in zip(some, _complete(url, name, body)["choices"], strict=True):
            (told,) = choice["logprobs"]["top_logprobs"]
            scored.append((told[f"token_id:{token}"], choice["token_ids"][0] == token))
    return scored


def _generated(url: str, name: str, some: Sequence[Probe]) -> list[list[int]]:
    longest = max(len(probe.answer) for probe in some)
    body = {"prompt": [probe.prompt for probe in some], "max_tokens": longest, "ignore_eos": True}
    answer = _complete(url, name, {**body, "return_token_ids": True})
    return [choice["token_ids"] for choice in answer["choices"]]


def _complete(url: str, name: str, body: dict[str, Any]) -> Any:
    return ask(f"{url}/v1/completions", {"model": name, "temperature": 0, **body})


def timed_agreement(url: str, name: str, adapter: Adapter) -> tuple[float, float]:
    """The agreement on reference outputs, and the median milliseconds per request."""
    times, found = [], None
    for _ in range(7):
        began = time.perf_counter()
        found = reference_check.agreement(url, name, adapter.canaries)
        times.append((time.perf_counter() - began) * 1000)
    if found is None:
        raise SystemExit(f"{adapter.name} has no reference outputs.")
    return found, report.median(times)


def compare_all(
    store: Store, settings: Settings, right: Adapter, other: Adapter
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Each engine's scores of each trainer's answers, and of the reference outputs."""
    domain = domains.get(store.db, right.domain)
    probed = {trainer: probes(store, settings, domain, right, trainer) for trainer in TRAINERS}
    served = {
        right.name: right.served_name, other.name: other.served_name, "base@0": BASE_SERVED_NAME
    }  # fmt: skip
    rows, references = [], []
    for kind, quantization in ENGINES.items():
        serving = settings.serving.model_copy(update={"quantization": quantization})
        chosen = settings.model_copy(update={"serving": serving})
        with engine(store, chosen, (right, other)) as url:
            for trainer, some in probed.items():
                contrast = served if trainer == "nf4" else {right.name: right.served_name}
                for name, model_name in contrast.items():
                    found = compare(url, model_name, some)
                    tokens = sum(len(probe.answer) for probe in some)
                    told = {"trainer": trainer, "engine": kind, "served": name, "tokens": tokens}
                    rows.append(told | asdict(found))
            for name, model_name in served.items():
                agreement, ms = timed_agreement(url, model_name, right)
                told = {"engine": kind, "served": name, "agreement": agreement, "ms_p50": ms}
                references.append(told)
    return rows, references


def measure(store: Store, settings: Settings, facts: int, steps: int) -> None:
    lines = (DEMO / "pairs.jsonl").read_text(encoding="utf-8").splitlines()
    every = sorted({json.loads(line)["fact"] for line in lines if line})
    began = time.perf_counter()
    right = tune(store, settings, "right", set(every[:facts]), steps)
    train_s = time.perf_counter() - began
    other = tune(store, settings, "other", set(every[facts : 2 * facts]), steps)
    rows, references = compare_all(store, settings, right, other)
    report.table(
        ("trainer", "engine", "served", "tokens", "agreement", "delta", "p99", "same answers"),
        [list(row.values()) for row in rows],
    )
    print()
    report.table(
        ("engine", "served", "reference outputs agree", "asking, ms p50"),
        [list(row.values()) for row in references],
    )
    report.finish(
        benchmark="parity",
        train_s=round(train_s, 1),
        golden=right.scores["golden"],
        reference_tokens=[len(c.answer) for c in right.canaries],
        references=references,
        rows=rows,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--facts", type=int, default=30, help="of each of the two adapters")
    parser.add_argument("--steps", type=int, default=0, help="of tuning; 0: as many as a run takes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), serving=ServingSettings(port=free_port(), threads=1))
        with Store(settings.store_path) as store:
            measure(store, settings, options.facts, options.steps)


if __name__ == "__main__":
    main()
