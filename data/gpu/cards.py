"""The graphics cards of this machine, read from `nvidia-smi`, without torch or a CUDA context."""

import os
import shutil
import subprocess
from dataclasses import dataclass

from data.store.errors import Unavailable

MIB = 1 << 20
TIMEOUT_S = 20
QUERY = "index,uuid,name,memory.total,memory.reserved,memory.free"


@dataclass(frozen=True)
class Card:
    index: int
    uuid: str
    name: str
    total: int  # bytes that programs can use
    free: int  # bytes that are unused now


def cards() -> list[Card]:
    """Every card that this process can see, in CUDA's order. Empty without NVIDIA's driver.

    Raises Unavailable if the driver does not answer."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    command = [tool, f"--query-gpu={QUERY}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"nvidia-smi does not answer: {error}") from error
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip()[:200]
        raise Unavailable(f"nvidia-smi cannot read the cards: {said}")
    return _visible([_card(line) for line in done.stdout.splitlines() if line.strip()])


def shared() -> Card:
    """The card that serving and tuning share: the first one. Raises Unavailable without one."""
    found = cards()
    if not found:
        raise Unavailable(
            "[serving] gpu_sharing is set, but there is no NVIDIA card here: nvidia-smi finds none."
        )
    return found[0]


def _card(line: str) -> Card:
    try:
        index, uuid, name, total, reserved, free = (part.strip() for part in line.split(","))
        kept = int(reserved) if reserved.isdigit() else 0  # old drivers do not say
        return Card(int(index), uuid, name, (int(total) - kept) * MIB, int(free) * MIB)
    except ValueError as error:
        raise Unavailable(f"nvidia-smi printed an unexpected line: {line[:200]}") from error


def _visible(found: list[Card]) -> list[Card]:
    """The cards that CUDA_VISIBLE_DEVICES names, by index or by UUID prefix."""
    wish = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wish is None:
        return found
    seen = []
    for word in (w.strip() for w in wish.split(",")):
        match = [
            c for c in found if word == str(c.index) or (len(word) > 4 and c.uuid.startswith(word))
        ]
        if not match:  # CUDA, too, stops at the first name that it does not know
            break
        seen += match
    return seen
