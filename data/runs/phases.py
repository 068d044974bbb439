"""The phases of a run: codes that `runs.phase` stores, and the text that people read.

A worker and the engines agree by these codes who uses the GPU (`data/gpu/time_sharing.py`), so code
compares codes, never text. Earlier versions stored the text itself; `parse` understands that too.
"""

import re
from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    STARTING = "starting"
    FREEZING_DATASET = "freezing_dataset"
    LOADING_MODEL = "loading_model"
    FINDING_RATE = "finding_rate"
    SCORING_RATED_ANSWERS = "scoring_rated_answers"
    ASKING_ABOUT_OLD_PAIRS = "asking_about_old_pairs"
    TRAINING = "training"
    MEASURING = "measuring"
    PUBLISHING = "publishing"
    EVALUATING = "evaluating"
    WAITING_FOR_WORKER = "waiting_for_worker"
    WAITING_FOR_ENGINE = "waiting_for_engine"
    WAITING_UNTIL = "waiting_until"  # the detail is a time of day
    RETRYING = "retrying"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


TEXT = {
    Phase.STARTING: "starting",
    Phase.FREEZING_DATASET: "freezing the dataset",
    Phase.LOADING_MODEL: "loading the base model",
    Phase.FINDING_RATE: "looking for a learning rate",
    Phase.ASKING_ABOUT_OLD_PAIRS: "asking the live adapter about old pairs",
    Phase.SCORING_RATED_ANSWERS: "asking the live adapter about rated answers",
    Phase.TRAINING: "training",
    Phase.MEASURING: "measuring",
    Phase.PUBLISHING: "publishing",
    Phase.EVALUATING: "evaluating",
    Phase.WAITING_FOR_WORKER: "waiting for a worker",
    Phase.WAITING_FOR_ENGINE: "waiting for the engine to sleep",
    Phase.WAITING_UNTIL: "waiting for",
    Phase.RETRYING: "trying again",
    Phase.DONE: "done",
    Phase.FAILED: "failed",
    Phase.CANCELLED: "cancelled",
}
STORED = re.compile(r"(?:trial (\d+)/(\d+) )?([a-z_]+)(?:: (.*))?", re.DOTALL)
SHOWN_TRIAL = re.compile(r"trial (\d+) of (\d+): (.*)", re.DOTALL)
SHOWN_TIME = re.compile(r"waiting for (\d\d:\d\d)")


@dataclass(frozen=True)
class RunPhase:
    """What a run is doing, or what it waits for."""

    phase: Phase
    detail: str = ""  # text for people, such as the reason of a retry
    trial: tuple[int, int] | None = None  # number of the trial, and how many there are

    @property
    def stored(self) -> str:
        """As `runs.phase` holds it."""
        trial = f"trial {self.trial[0]}/{self.trial[1]} " if self.trial else ""
        return f"{trial}{self.phase}" + (f": {self.detail}" if self.detail else "")

    @property
    def text(self) -> str:
        """As people read it."""
        trial = f"trial {self.trial[0]} of {self.trial[1]}: " if self.trial else ""
        if self.phase is Phase.WAITING_UNTIL:
            return f"{trial}{TEXT[self.phase]} {self.detail}"
        return f"{trial}{TEXT[self.phase]}" + (f": {self.detail}" if self.detail else "")


def parse(column: str) -> RunPhase | None:
    """A phase from `runs.phase`, or from its text. None for what no version is known to have
    written, and for ''."""
    found = STORED.fullmatch(column)
    if found is not None and found[3] in set(Phase):
        trial = (int(found[1]), int(found[2])) if found[1] else None
        return RunPhase(Phase(found[3]), found[4] or "", trial)
    if (shown := SHOWN_TRIAL.fullmatch(column)) and (inner := parse(shown[3])):
        return RunPhase(inner.phase, inner.detail, (int(shown[1]), int(shown[2])))
    if clock := SHOWN_TIME.fullmatch(column):
        return RunPhase(Phase.WAITING_UNTIL, clock[1])
    for phase, text in TEXT.items():
        if column == text:
            return RunPhase(phase)
        if column.startswith(f"{text}: "):
            return RunPhase(phase, column.removeprefix(f"{text}: "))
    return None


def text(column: str) -> str:
    """What people read of `runs.phase`; unknown values are shown as they are."""
    found = parse(column)
    return column if found is None else found.text


def stored_forms(phase: Phase) -> tuple[str, str]:
    """What `runs.phase` holds for a phase without details, in this version and in earlier ones."""
    return RunPhase(phase).stored, TEXT[phase]
