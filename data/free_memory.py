"""How much memory of the machine is free, and whether an error says that it ran out."""

from pathlib import Path

SIGNS = (  # of exhausted memory, in errors of Python, PyTorch, C++ and the loader of libraries
    "out of memory",
    "can't allocate",
    "cannot allocate memory",
    "bad_alloc",
    "memoryerror",
    "failed to map segment from shared object",
)


def ran_out(text: str) -> bool:
    """Whether an error or a log says that memory ran out. What follows may mislead: a library that
    did not fit is later reported by a function that is missing."""
    lower = text.lower()
    return any(sign in lower for sign in SIGNS)


def free_bytes() -> int | None:
    """Available memory, by the limits of the machine and of the container. None on systems without
    /proc."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found = [int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")]
    except OSError:
        return None
    limit, used = (_number(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    if limit is not None and used is not None:
        found.append(max(0, limit - used))
    return min(found, default=None)


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return None
