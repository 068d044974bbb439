"""Checkpoints of a training, from which a killed run resumes as if nothing had happened.

A resumed run ends with the same bytes as an uninterrupted one, so a checkpoint holds everything
that determines the next step: the adapter's weights, AdamW's moments, the state of the random
numbers (dropout), the best weights so far and the measurements. The order of the examples follows
from the seed. A checkpoint names the training it belongs to (recipe, dataset, parent, base,
libraries); a checkpoint of another training is ignored. It holds a digest of its content: a disk
may flip a bit, and training must not go on from that.

The file is written under a temporary name and renamed, so it is never there in part.
"""

import hashlib
import importlib.metadata
import json
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

log = logging.getLogger(__name__)

FILE = "checkpoint.safetensors"
SAVE_S = 30.0  # between two checkpoints: the most work that a killed run loses
LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes")

Weights = Mapping[str, Tensor]


@dataclass
class TrainingState:
    """The state of a training, apart from weights and optimiser."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    train_loss: float | None = None
    best_step: int = 0
    best_loss: float | None = None  # None: nothing was measured yet
    worse: int = 0  # measurements since the best one
    losses: dict[str, float] = field(default_factory=dict)  # at the best step, by part
    best: dict[str, Tensor] = field(default_factory=dict)  # the best weights, by name


def identity(**decides: Any) -> str:
    """A digest of everything that determines the result, and of the libraries' versions."""
    versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
    text = json.dumps({**decides, "versions": versions}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


class Checkpoints:
    """The checkpoints of one run, in its folder."""

    def __init__(self, folder: Path, identity: str, every_s: float = SAVE_S) -> None:
        """Raises OSError when the folder cannot be made."""
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / FILE
        self._identity = identity
        self._every_s = every_s
        self._saved = time.monotonic()

    def save_if_due(
        self, state: TrainingState, weights: Weights, optimizer: torch.optim.AdamW
    ) -> None:
        """Save when the last checkpoint is old enough."""
        if time.monotonic() - self._saved >= self._every_s:
            self.save(state, weights, optimizer)

    def save(self, state: TrainingState, weights: Weights, optimizer: torch.optim.AdamW) -> None:
        """Write a checkpoint. A full disk costs the checkpoint, not the training."""
        tensors = {f"weight.{name}": p.detach() for name, p in weights.items()}
        tensors |= {f"best.{name}": p for name, p in state.best.items()}
        for name, parameter in weights.items():
            for key, value in optimizer.state[parameter].items():
                tensors[f"{key}.{name}"] = value
        tensors["random"] = torch.get_rng_state()
        if torch.cuda.is_available():
            tensors["random.cuda"] = torch.cuda.get_rng_state()
        known = asdict(replace(state, best={}))
        temporary = self.file.with_suffix(".making")
        try:
            copies = {name: t.contiguous().cpu() for name, t in tensors.items()}
            metadata = {"identity": self._identity, "memory": json.dumps(known)}
            metadata["digest"] = _digest(copies, metadata["memory"])
            save_file(copies, temporary, metadata=metadata)
            _sync(temporary)
            temporary.replace(self.file)
        except (OSError, SafetensorError) as error:
            log.warning("No checkpoint at step %d: %s", state.step, error)
            temporary.unlink(missing_ok=True)
        self._saved = time.monotonic()

    def keep_note(self, name: str, content: Mapping[str, Any]) -> None:
        """Keep a result that is found once, in a file next to the checkpoint."""
        temporary = self.file.with_name(f"{name}.making")
        digest = hashlib.sha256(json.dumps(dict(content)).encode()).hexdigest()
        found = {"identity": self._identity, "content": dict(content), "digest": digest}
        text = json.dumps(found)
        try:
            temporary.write_text(text, encoding="utf-8")
            _sync(temporary)
            temporary.replace(self.file.with_name(f"{name}.json"))
        except OSError as error:
            log.warning("%s was not saved: %s", name, error)
            temporary.unlink(missing_ok=True)

    def note(self, name: str) -> dict[str, Any] | None:
        """What `keep_note` saved for this training; None if nothing."""
        try:
            found = json.loads(self.file.with_name(f"{name}.json").read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.warning("%s cannot be read: %s", name, error)
            return None
        if not isinstance(found, dict) or found.get("identity") != self._identity:
            return None
        content: dict[str, Any] = found.get("content") or {}
        if hashlib.sha256(json.dumps(content).encode()).hexdigest() != found.get("digest"):
            log.warning("%s is damaged and is not used", name)
            return None
        return dict(content)

    def restore(self, weights: Weights, optimizer: torch.optim.AdamW) -> TrainingState:
        """Restore weights, optimiser and random numbers from the checkpoint. Returns the state of
        the training, which is empty when there is no checkpoint of this training."""
        try:
            with safe_open(self.file, framework="pt") as opened:
                about = opened.metadata() or {}
                if about.get("identity") != self._identity:
                    log.info("%s belongs to another training and is ignored", self.file)
                    return TrainingState()
                tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no dict
        except FileNotFoundError:
            return TrainingState()
        except (OSError, SafetensorError) as error:
            log.warning(
                "%s cannot be read; training starts from the beginning: %s", self.file, error
            )
            return TrainingState()
        if problem := _damage(tensors, about):
            log.warning("%s %s; training starts from the beginning", self.file, problem)
            return TrainingState()
        state = TrainingState(**json.loads(about["memory"]))
        _fill(weights, optimizer, tensors)
        first = next(iter(weights.values()))
        state.best = {
            name: tensors[f"best.{name}"].to(first.device)
            for name in weights
            if f"best.{name}" in tensors
        }
        torch.set_rng_state(tensors["random"])
        if "random.cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["random.cuda"])
        log.info("resuming from the checkpoint at step %d", state.step)
        return state


def _digest(tensors: Mapping[str, Tensor], memory: str) -> str:
    """A digest of a checkpoint's content; the tensors are on the CPU."""
    found = hashlib.sha256(memory.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _damage(tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> str:
    """What is wrong with the content of a checkpoint; '' if nothing is."""
    if _digest(tensors, about.get("memory", "")) != about.get("digest"):
        return "is damaged"
    weights = (t for name, t in tensors.items() if name.startswith(("weight.", "best.")))
    if not all(torch.isfinite(tensor).all() for tensor in weights):
        return "holds numbers that are not finite"
    return ""


@torch.no_grad()
def _fill(weights: Weights, optimizer: torch.optim.AdamW, tensors: dict[str, Tensor]) -> None:
    for name, parameter in weights.items():
        parameter.copy_(tensors[f"weight.{name}"])
        optimizer.state[parameter] = {
            key: tensors[f"{key}.{name}"].to(parameter.device)
            for key in ("step", "exp_avg", "exp_avg_sq")
            if f"{key}.{name}" in tensors
        }


def _sync(file: Path) -> None:
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
