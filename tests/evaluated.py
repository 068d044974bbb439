"""A run that was evaluated, for tests of what is shown of it: the shape of
`tuning/evaluation/eval_report.py`."""

from typing import Any

from sqlite_utils import Database

from data import domains
from data.adapters import registry
from data.adapters.registry import Adapter
from data.runs import runs
from tests.data import given

HOSTILE = "<script>alert('x')</script> & \"quotes\""


def figures(exact: float, f1: float, loss: float) -> dict[str, Any]:
    return {
        "n": 2, "exact": exact, "f1": f1, "bleu": 100 * f1, "chrf": 90 * f1, "refusals": 0.5,
        "cut": 0.0, "words": 12.5, "loss": loss, "perplexity": None if loss > 700 else 2.5,
    }  # fmt: skip


def scores(passed: bool = True) -> dict[str, Any]:
    sentence = "It is worse on golden questions: token F1 -0.200 beside art@1 on 2 questions."
    return {
        "steps": 30, "best_step": 20, "chosen_by": "probe", "train_seconds": 4.2,
        "golden": {"n": 2, "of": 9, "exact": 0.5, "f1": 0.6, "base_exact": 0.0, "base_f1": 0.1},
        "evaluation": {
            "answered_by": "the engine", "why": "", "compared_with": "art@1",
            "signatures": "BLEU tok:13a|version:2.6.0, chrF nc:6",
            "sets": {
                "golden": {
                    "n": 2, "of": 9, "expected_words": 11.0, "expected_refusals": 0.0,
                    "candidate": figures(0.5, 0.6, 0.31), "live": figures(1.0, 0.8, 0.2),
                    "base": figures(0.0, 0.1, 9000.0),
                },
            },
        },
        "gate": {
            "passed": passed,
            "rules": [
                {"name": "validation", "passed": None, "sentence": "Nothing held out.",
                 "paired": None},
                {"name": "golden", "passed": passed,
                 "sentence": sentence.replace("worse", "worse" if not passed else "no worse"),
                 "paired": None},
            ],
        },
        "samples": [
            {"shown": "some", "set": "golden", "question": "What is red?", "expected": "A colour.",
             "base": "I do not know.", "live": "A colour.", "adapter": "A colour."},
            {"shown": "worst", "set": "golden", "question": HOSTILE, "expected": "The sky.",
             "base": "", "live": "The sky.", "adapter": "A fish."},
        ],
    }  # fmt: skip


def evaluated(
    db: Database, domain: str = "art", version: int = 2, passed: bool = True, reason: str = ""
) -> tuple[runs.Run, Adapter]:
    """A finished run of the domain with its loss curve, and the adapter that it made."""
    subject = domains.get(db, domain)
    run = runs.queue(db, subject, "ann", kind="full")
    claimed = runs.claim(db, "worker")
    assert claimed is not None
    for step, loss, held_out in ((1, 5.0, None), (10, 1.0, 1.5), (20, 0.2, 0.8), (30, 0.02, 1.2)):
        runs.progress(
            db, runs.get(db, run.id), step=step, total_steps=30, loss=loss, validation_loss=held_out
        )  # fmt: skip
    adapter = registry.register(
        db, subject, version=version, sha256=f"{version:064x}", path=f"adapters/{domain}/{version}",
        base_model="pocket", rank=8, size_bytes=1000, recipe={"rank": 8, "why": "Because."},
        scores={}, run_id=run.id, state="evaluating",
    )  # fmt: skip
    given.with_folder(db, adapter)
    state: Any = "candidate" if passed else "rejected"
    settled = registry.settle_evaluation(db, adapter, state, scores(passed), reason)
    runs.finish(db, runs.get(db, run.id), adapter.id)
    return runs.get(db, run.id), settled
