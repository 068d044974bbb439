"""The scores of a run: what the registry keeps about an adapter beside its bytes.

    {"evaluation": {"answered_by", "why", "compared_with", "signatures",
                    "sets": {"golden": {"n", "of", "expected_words", "expected_refusals",
                                        "candidate": {...}, "live": {...}, "base": {...}}, ...}},
     "gate": {"passed", "rules": [{"name", "passed", "sentence", "paired"}]},
     "golden": {"n", "of", "exact", "f1", "base_exact", "base_f1", "live_exact", "live_f1"},
     "validation_loss", "probe_loss", "new_loss", "train_loss", "best_step", "steps", "chosen_by",
     "stopped_early", "train_seconds", "pairs_new", "pairs_superseded",
     "samples": [{"shown", "set", "question", "expected", "base", "live", "adapter"}]}

The figures of a model on a set are those of `measures.py`. `golden` repeats the most asked for of
them. Losses are nats a token. The live adapter's keys are there when one was live.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from data.adapters import Adapter
from data.config import Settings
from data.db import Store
from tuning import ask, evaluate, gate, measures, train
from tuning.exam import Exam, Name
from tuning.gate import Parity, Verdict
from tuning.lesson import Lesson
from tuning.measures import Answer, Loss
from tuning.model import Base

log = logging.getLogger(__name__)

Who = Literal["candidate", "live", "base"]
SAMPLES = 8  # golden answers kept side by side, as they come
WORST = 16  # answers kept because they lost most, or are the most wrong
LIVE = "live"  # what the live adapter is called on the trainer's model


@dataclass(frozen=True)
class Results:
    """What the candidate, the live adapter and the bare base gave, question by question."""

    answers: Mapping[Name, Mapping[Who, list[Answer]]]
    losses: Mapping[Name, Mapping[Who, list[Loss]]]
    answered_by: str
    why: str  # the trainer answered, '' when the engine did
    parity: Parity
    live: Adapter | None

    @property
    def incumbent(self) -> tuple[Who, str]:
        """Beside whom the candidate is judged, and its name."""
        return ("live", self.live.name) if self.live else ("base", "the bare base")


@dataclass(frozen=True)
class Examiner:
    """Puts the questions, to engines where it can."""

    store: Store
    settings: Settings
    base: Base
    model: Any
    exam: Exam
    live: Adapter | None
    micro_tokens: int
    tell: Callable[[str], None] = lambda _: None  # what it is at

    def examine(self, adapter: Adapter) -> Results:
        """All sets, of the `adapter` that is registered as being evaluated, whose weights are
        those in `model`, and of whom it is compared with."""
        why, parity = "", Parity(None, 0)
        answered_by = "the engine"
        try:
            self.tell("evaluating: waiting for the engine")
            parity = self._parity(adapter)
            answers = {name: self._by_engine(name, adapter) for name in self.exam.sets}
        except (ask.NoEngine, ask.Refused) as error:
            answered_by, why = "the trainer", str(error)
            log.warning("the trainer answers instead of an engine: %s", error)
            if isinstance(error, ask.Refused):
                parity = Parity(None, 0, refused=why)
            elif parity.agreement is None:
                parity = Parity(None, 0, not_asked=why)
            answers = {name: self._by_trainer(name) for name in self.exam.sets}
        self.tell("evaluating: measuring losses")
        losses = {name: self._losses(name) for name in self.exam.sets}
        return Results(answers, losses, answered_by, why, parity, self.live)

    def _parity(self, adapter: Adapter) -> Parity:
        patience = float(self.settings.serving.start_timeout_s)
        held = ask.wait_until_held(self.store, adapter, patience)
        told = [p.parity for p in held if p.parity is not None]
        tokens = sum(len(probe.answer) for probe in adapter.probes)
        return Parity(min(told, default=None), tokens)

    def _by_engine(self, name: Name, adapter: Adapter) -> dict[Who, list[Answer]]:
        asked, most = self.exam.asked(name), self.settings.serving.max_model_len
        answers: dict[Who, list[Answer]] = {}
        for who, whose in self._compared(adapter).items():
            self.tell(f"evaluating: the engine answers the {name} questions ({who})")
            answers[who] = ask.answers(self.store, whose, asked, most)
        return answers

    def _by_trainer(self, name: Name) -> dict[Who, list[Answer]]:
        asked = self.exam.asked(name)
        answers: dict[Who, list[Answer]] = {}
        for who in self._compared(None):
            self.tell(f"evaluating: the trainer answers the {name} questions ({who})")
            with self._as(who):
                answers[who] = evaluate.answer(self.base, self.model, asked)
        return answers

    def _losses(self, name: Name) -> dict[Who, list[Loss]]:
        found: dict[Who, list[Loss]] = {}
        for who in self._compared(None):
            with self._as(who):
                questions = self.exam.sets[name]
                found[who] = evaluate.losses(self.base, self.model, questions, self.micro_tokens)
        return found

    def _compared(self, candidate: Adapter | None) -> dict[Who, Adapter | None]:
        live: dict[Who, Adapter | None] = {"live": self.live} if self.live else {}
        return {"candidate": candidate, **live, "base": None}

    @contextlib.contextmanager
    def _as(self, who: Who) -> Iterator[None]:
        """Inside it, the trainer's model is the one that is meant."""
        if who == "base":
            with self.model.disable_adapter():
                yield
        elif who == "live" and self.live is not None:
            with other_adapter(self.model, self.live.folder(self.settings.home)):
                yield
        else:
            yield


@contextlib.contextmanager
def other_adapter(model: Any, folder: Path) -> Iterator[None]:
    """Inside it, the adapter in `folder` is what the model has on, instead of its own."""
    own = model.active_adapter
    model.load_adapter(folder, adapter_name=LIVE, is_trainable=False, use_safetensors=True)
    try:
        model.set_adapter(LIVE)
        yield
    finally:
        model.set_adapter(own)
        model.delete_adapter(LIVE)


def comparable(settings: Settings, live: Adapter | None) -> Adapter | None:
    """The live adapter, if the trainer can load it: on this base, its files on this machine."""
    if live is None:
        return None
    if live.base_model != settings.base.model or not live.folder(settings.home).is_dir():
        log.warning("%s is of another base, or its files are gone: it is not compared", live.name)
        return None
    return live


def judged(settings: Settings, exam: Exam, results: Results) -> Verdict:
    """The gate's verdict."""
    who, name = results.incumbent
    f1: dict[Name, tuple[Sequence[float], Sequence[float]]] = {
        part: (_f1(exam, part, found["candidate"]), _f1(exam, part, found[who]))
        for part, found in results.answers.items()
    }
    losses: dict[Name, tuple[Sequence[Loss], Sequence[Loss]]] = {
        part: (found["candidate"], found[who]) for part, found in results.losses.items()
    }
    live = results.live is not None
    return gate.judge(settings.gate, losses, f1, name, results.parity, live=live)


def scores(
    exam: Exam, results: Results, verdict: Verdict, outcome: train.Outcome, lesson: Lesson
) -> dict[str, Any]:
    """All that is kept."""
    sets = {name: _set(exam, name, results) for name in exam.sets}
    found: dict[str, Any] = {
        "evaluation": {
            "answered_by": results.answered_by,
            "why": results.why,
            "compared_with": results.incumbent[1],
            "signatures": measures.signatures(),
            "sets": sets,
        },
        "gate": verdict.plain(),
    }
    if "golden" in sets:
        found["golden"] = _summary(sets["golden"])
    for part in ("validation", "probe", "new"):
        if part in outcome.losses:
            found[f"{part}_loss"] = outcome.losses[part]
    return found | {
        "train_loss": outcome.train_loss,
        "steps": outcome.steps,
        "best_step": outcome.best_step,
        "chosen_by": outcome.chosen_by,
        "stopped_early": outcome.stopped_early,
        "train_seconds": round(outcome.seconds, 1),
        "pairs_new": lesson.new,
        "pairs_superseded": lesson.superseded,
        "samples": _samples(exam, results),
    }


def _set(exam: Exam, name: Name, results: Results) -> dict[str, Any]:
    """The figures of one set."""
    expected = [question.expected for question in exam.asked(name)]
    n = len(expected)
    found: dict[str, Any] = {
        "n": n,
        "of": exam.of[name],
        "expected_words": round(sum(len(e.split()) for e in expected) / n, 4),
        "expected_refusals": round(sum(measures.refuses(e) for e in expected) / n, 4),
    }
    for who, answers in results.answers[name].items():
        losses = results.losses[name][who]
        found[who] = measures.measure(answers, expected, losses).plain()
    return found


def _summary(golden: dict[str, Any]) -> dict[str, Any]:
    """`helpdesk@3` in one line."""
    own, base, live = golden["candidate"], golden["base"], golden.get("live")
    beside = {"live_exact": live["exact"], "live_f1": live["f1"]} if live else {}
    return {
        "n": golden["n"], "of": golden["of"], "exact": own["exact"], "f1": own["f1"],
        "base_exact": base["exact"], "base_f1": base["f1"], **beside,
    }  # fmt: skip


def _f1(exam: Exam, name: Name, answers: Sequence[Answer]) -> list[float]:
    asked = exam.asked(name)
    return [measures.f1(a.text, q.expected) for a, q in zip(answers, asked, strict=True)]


def _samples(exam: Exam, results: Results) -> list[dict[str, str]]:
    """A few golden answers as they come, then the worst of all sets: those that lost most beside
    the incumbent, and of equal ones those with the least in common with what was expected."""
    who, _ = results.incumbent
    rated: list[tuple[float, float, Name, int]] = []
    for name in exam.sets:
        own = _f1(exam, name, results.answers[name]["candidate"])
        other = _f1(exam, name, results.answers[name][who])
        rated += [(a - b, a, name, i) for i, (a, b) in enumerate(zip(own, other, strict=True))]
    wrong = sorted(r for r in rated if r[1] < 1)[:WORST]
    some = range(len(exam.sets.get("golden", ())))[:SAMPLES]
    return [
        *(_sample(exam, results, "some", "golden", i) for i in some),
        *(_sample(exam, results, "worst", name, i) for _, _, name, i in wrong),
    ]


def _sample(exam: Exam, results: Results, kind: str, name: Name, i: int) -> dict[str, str]:
    question, answers = exam.sets[name][i], results.answers[name]
    live = {"live": answers["live"][i].text} if "live" in answers else {}
    return {
        "shown": kind,
        "set": name,
        "question": question.text,
        "expected": question.expected,
        "base": answers["base"][i].text,
        **live,
        "adapter": answers["candidate"][i].text,
    }
