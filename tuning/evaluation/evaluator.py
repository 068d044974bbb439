"""Asks the new adapter (the candidate), the live adapter and the bare base all evaluation
questions.

The engine that will serve the adapter answers, if one is running. Losses always come from the
trainer's model: it is the candidate, the base with the adapter disabled, or the live adapter when
that one is loaded instead. They are measured while the engine answers, which takes as long.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import torch

from data.adapters import placements
from data.adapters.registry import Adapter
from data.bases import digest
from data.config.settings import Settings
from data.runs.phases import Phase
from data.store.db import Store
from tuning import threads
from tuning.evaluation import engine_client, generation
from tuning.evaluation.eval_sets import EvalQuestion, EvalSets, SetName
from tuning.evaluation.examination import Examination, Kind
from tuning.evaluation.gate import Parity
from tuning.evaluation.metrics import GeneratedAnswer, Loss
from tuning.model.base_model import Base
from tuning.progress import ProgressReporter

log = logging.getLogger(__name__)

Result = TypeVar("Result")
ModelName = Literal["candidate", "live", "base"]
NOTHING_FURTHER = Examination()
LIVE = "live"  # name of the live adapter on the trainer's model


# of each set and model; and of the candidate and the bare base on training pairs
_Losses = tuple[Mapping[SetName, Mapping[ModelName, list[Loss]]], tuple[list[Loss], list[Loss]]]


@dataclass(frozen=True)
class EvalResults:
    """Results of the candidate, the live adapter and the bare base, question by question."""

    answers: Mapping[SetName, Mapping[ModelName, list[GeneratedAnswer]]]
    losses: Mapping[SetName, Mapping[ModelName, list[Loss]]]
    answered_by: str
    why: str  # why the trainer answered; '' if the engine did
    parity: Parity
    rendering: engine_client.Rendering
    live: Adapter | None
    trained_losses: tuple[list[Loss], list[Loss]] = ([], [])
    """Of the candidate and the bare base, on training pairs."""
    examined: Mapping[Kind, Mapping[ModelName, list[GeneratedAnswer]]] = field(default_factory=dict)
    """The candidate's answers to the further questions, and the live adapter's about old facts."""

    @property
    def candidate_answers(self) -> list[GeneratedAnswer]:
        """All answers of the candidate."""
        found = [*self.answers.values(), *self.examined.values()]
        return [answer for by_model in found for answer in by_model["candidate"]]

    @property
    def baseline(self) -> tuple[ModelName, str]:
        """The model that the candidate is compared with, and its name."""
        return ("live", self.live.name) if self.live else ("base", "the bare base")


@dataclass(frozen=True)
class Evaluator:
    """Asks the questions, of engines if possible."""

    store: Store
    settings: Settings
    base: Base
    model: Any
    eval_sets: EvalSets
    live: Adapter | None
    micro_tokens: int
    progress: ProgressReporter
    further: Examination = NOTHING_FURTHER

    def evaluate(self, adapter: Adapter) -> EvalResults:
        """Evaluate the registered `adapter`, whose weights are in `model`, and the models that it
        is compared with, on all sets."""
        measured = _InBackground(self._all_losses)
        try:
            return self._with_losses(adapter, measured)
        finally:
            measured.end()

    def _with_losses(self, adapter: Adapter, measured: "_InBackground[_Losses]") -> EvalResults:
        why, parity, rendering = "", Parity(None, 0), engine_client.Rendering(0)
        answered_by = "the engine"
        try:
            self._tell("waiting for the engine")
            parity = self._parity(adapter)
            rendering = engine_client.rendering(self.store, adapter, self._extremes())
            parity = replace(parity, rendered=rendering.differs)
            answers = {name: self._by_engine(name, adapter) for name in self.eval_sets.sets}
            examined = {kind: self._examined_by_engine(kind, adapter) for kind in self._kinds}
        except (engine_client.NoEngineReady, engine_client.RequestRefused) as error:
            answered_by, why = "the trainer", str(error)
            log.warning("the trainer answers instead of an engine: %s", error)
            if isinstance(error, engine_client.RequestRefused):
                served_in = self._precisions().get(error.replica, "")
                parity = Parity(
                    None, 0, refused=why, differs=error.differs, served_in=served_in
                )  # fmt: skip
            elif parity.agreement is None:
                parity = replace(parity, not_asked=why)
            self._tell("measuring losses")
            measured.result()  # the model does one thing at a time
            answers = {name: self._by_trainer(name) for name in self.eval_sets.sets}
            examined = {kind: self._examined_by_trainer(kind) for kind in self._kinds}
        parity = replace(parity, trained_in=self.base.weights)
        self._tell("measuring losses")
        losses, trained_losses = measured.result()
        return EvalResults(
            answers, losses, answered_by, why, parity, rendering, self.live, trained_losses,
            examined,
        )  # fmt: skip

    def _all_losses(self, beat: Callable[[], None]) -> _Losses:
        """The losses on all sets, and those of the candidate and the bare base on training
        pairs."""
        torch.set_num_threads(threads.beside_an_engine(self.settings))
        losses = {name: self._losses(name, beat) for name in self.eval_sets.sets}
        return losses, self._trained_losses(beat)

    def _tell(self, detail: str) -> None:
        self.progress.phase(Phase.EVALUATING, detail)

    def _extremes(self) -> list[EvalQuestion]:
        """The shortest and the longest question of each set, whose tokens are compared."""
        found = []
        for name in self.eval_sets.sets:
            order = sorted(self.eval_sets.sets[name], key=lambda question: len(question.prompt))
            found += [order[0], order[-1]]
        return found

    def _parity(self, adapter: Adapter) -> Parity:
        patience = float(self.settings.serving.start_timeout_s)
        held = engine_client.wait_until_held(self.store, adapter, patience)
        tokens = sum(len(probe.answer) for probe in adapter.probes)
        precisions = self._precisions()
        measured = [
            Parity(p.parity, tokens, p.leads, served_in=precisions.get(p.replica, ""))
            for p in held
            if p.parity is not None
        ]
        return min(measured, key=lambda one: one.agreed, default=Parity(None, tokens))  # the worst

    def _precisions(self) -> dict[str, str]:
        """In which precision each engine serves the base."""
        return {r.name: r.precision for r in placements.replicas(self.store.db)}

    def _by_engine(self, name: SetName, adapter: Adapter) -> dict[ModelName, list[GeneratedAnswer]]:
        limit = self.settings.serving.max_model_len
        answers: dict[ModelName, list[GeneratedAnswer]] = {}
        for who, whose in self._models(adapter).items():
            self._tell(f"the engine answers the {name} questions ({who})")
            questions = self.eval_sets.answered(name, live=who == "live")
            answers[who] = engine_client.answers(self.store, whose, questions, limit)
        return answers

    @property
    def _kinds(self) -> list[Kind]:
        return list(self.further.questions)

    def _examined_by_engine(
        self, kind: Kind, adapter: Adapter
    ) -> dict[ModelName, list[GeneratedAnswer]]:
        limit = self.settings.serving.max_model_len
        self._tell(f"the engine answers further questions ({kind.replace('_', ' ')})")
        of_candidate = self.further.questions[kind]
        answers: dict[ModelName, list[GeneratedAnswer]] = {
            "candidate": engine_client.answers(self.store, adapter, of_candidate, limit)
        }
        of_live = self.further.of_live.get(kind)
        if of_live and self.live is not None:
            answers["live"] = engine_client.answers(self.store, self.live, of_live, limit)
        return answers

    def _examined_by_trainer(self, kind: Kind) -> dict[ModelName, list[GeneratedAnswer]]:
        self._tell(f"the trainer answers further questions ({kind.replace('_', ' ')})")
        of_candidate = self.further.questions[kind]
        answers: dict[ModelName, list[GeneratedAnswer]] = {
            "candidate": generation.answer(self.base, self.model, of_candidate)
        }
        of_live = self.further.of_live.get(kind)
        if of_live and self.live is not None:
            with self._active("live"):
                answers["live"] = generation.answer(self.base, self.model, of_live)
        return answers

    def _trained_losses(self, beat: Callable[[], None]) -> tuple[list[Loss], list[Loss]]:
        def losses() -> list[Loss]:
            questions = self.eval_sets.training
            return generation.losses(self.base, self.model, questions, self.micro_tokens, beat)

        with self._active("base"):
            bare = losses()
        return losses(), bare

    def _by_trainer(self, name: SetName) -> dict[ModelName, list[GeneratedAnswer]]:
        answers: dict[ModelName, list[GeneratedAnswer]] = {}
        for who in self._models(None):
            questions = self.eval_sets.answered(name, live=who == "live")
            self._tell(f"the trainer answers the {name} questions ({who})")
            with self._active(who):
                answers[who] = generation.answer(self.base, self.model, questions)
        return answers

    def _losses(self, name: SetName, beat: Callable[[], None]) -> dict[ModelName, list[Loss]]:
        found: dict[ModelName, list[Loss]] = {}
        for who in self._models(None):
            with self._active(who):
                questions = self.eval_sets.asked(name, live=who == "live")
                found[who] = generation.losses(
                    self.base, self.model, questions, self.micro_tokens, beat
                )
        return found

    def _models(self, candidate: Adapter | None) -> dict[ModelName, Adapter | None]:
        live: dict[ModelName, Adapter | None] = {"live": self.live} if self.live else {}
        return {"candidate": candidate, **live, "base": None}

    @contextlib.contextmanager
    def _active(self, who: ModelName) -> Iterator[None]:
        """Inside it, the trainer's model is the given one."""
        if who == "base":
            with self.model.disable_adapter():
                yield
        elif who == "live" and self.live is not None:
            with other_adapter(self.model, self.live.folder(self.settings.home)):
                yield
        else:
            yield


class _InBackground(Generic[Result]):
    """Computes something in a thread of its own. `work` gets a function to call now and then, which
    raises `_Ended` when nobody waits for the result any more."""

    def __init__(self, work: Callable[[Callable[[], None]], Result]) -> None:
        self._ended = threading.Event()
        self._pool = ThreadPoolExecutor(1, "losses")
        self._future = self._pool.submit(work, self._beat)

    def result(self) -> Result:
        """Wait for the result. Raises what the computation raised."""
        return self._future.result()

    def end(self) -> None:
        """Give up an unfinished computation, and wait until the thread has ended."""
        self._ended.set()
        self._pool.shutdown()

    def _beat(self) -> None:
        if self._ended.is_set():
            raise _Ended


class _Ended(Exception):
    """Nobody waits for the result."""


@contextlib.contextmanager
def other_adapter(model: Any, folder: Path) -> Iterator[None]:
    """Inside it, the adapter in `folder` is active instead of the model's own."""
    own = model.active_adapter
    model.load_adapter(folder, adapter_name=LIVE, is_trainable=False, use_safetensors=True)
    try:
        model.set_adapter(LIVE)
        yield
    finally:
        model.set_adapter(own)
        model.delete_adapter(LIVE)


def comparable(settings: Settings, live: Adapter | None) -> Adapter | None:
    """The live adapter if the trainer can load it: on this base, with its files here."""
    if live is None:
        return None
    problem = digest.mismatch(live, settings, digest.of_base(settings))
    if problem or not live.folder(settings.home).is_dir():
        log.warning("%s is not compared: %s", live.name, problem or "its files are missing")
        return None
    return live
