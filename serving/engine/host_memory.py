"""Whether the machine has memory for a second engine while the first still runs."""

from pathlib import Path

from data.free_memory import free_bytes

SPARE = 1.2  # the second may need a little more than the first uses now


def fits_another(group: int | None) -> bool:
    """Whether as much memory is free as the processes of this group use. True on systems without
    /proc."""
    free = free_bytes()
    if group is None or free is None:
        return True
    return free > SPARE * _used_bytes(group)


def _used_bytes(group: int) -> int:
    """The memory of a process group. Shared pages count once for each process."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            after_name = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(after_name[2]) == group:
                total += int((folder / "statm").read_text().split()[1])
        except (OSError, IndexError, ValueError):  # the process has ended in the meantime
            continue
    return total * 4096
