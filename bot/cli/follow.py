"""Shows the progress of a tuning run in the terminal."""

import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from data.runs import runs
from data.store.db import Store

POLL_S = 0.3


def follow(
    store: Store,
    run_id: int,
    console: Console | None = None,
    check: Callable[[], None] = lambda: None,
) -> runs.Run:
    """Show a progress bar until the run has ended; returns the run. `check` is called at every poll
    and raises when waiting has become pointless."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[figures]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("waiting for a worker", total=None, figures="")
        while True:
            run = runs.get(store.db, run_id)
            bar.update(
                task,
                description=f"run {run.id}: {run.phase}",
                total=run.total_steps or None,
                completed=run.step,
                figures=figures(run),
            )
            if not run.open:
                return run
            check()
            time.sleep(POLL_S)


def figures(run: runs.Run) -> str:
    """`step 120/330, loss 0.41, about 25 s left`."""
    parts = []
    if run.total_steps:
        parts.append(f"step {run.step}/{run.total_steps}")
    if run.loss is not None:
        parts.append(f"loss {run.loss:.3f}")
    if run.validation_loss is not None:
        parts.append(f"validation loss {run.validation_loss:.3f}")
    if run.open and run.eta_s is not None:
        parts.append(f"about {run.eta_s:.0f} s left")
    return ", ".join(parts)
