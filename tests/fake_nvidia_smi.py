"""A program in nvidia-smi's place, for machines without a card."""

import shlex
from pathlib import Path

import pytest


def installed(monkeypatch: pytest.MonkeyPatch, folder: Path, said: str, code: int = 0) -> None:
    """Put an `nvidia-smi` that says `said` first in PATH, and let every card be visible."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    program = tools / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf %s {shlex.quote(said)}\nexit {code}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def card(total_gib: float, free_gib: float) -> str:
    """One line about one card."""
    mib = [round(n * 1024) for n in (total_gib, free_gib)]
    return f"0, GPU-aaaa1111, NVIDIA H100, {mib[0]}, 0, {mib[1]}\n"
