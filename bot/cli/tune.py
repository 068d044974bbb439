"""`understudy tune DOMAIN`: queue a tuning run and follow it, without a worker if need be."""

import threading
import time
from pathlib import Path
from typing import Any

import click

from bot.cli.context import (
    App,
    base_option,
    json_option,
    pass_app,
    print_json,
    threads_option,
    with_threads,
)
from bot.cli.verbs import registered, sentence
from bot.commands import admin, retrain_plan, scores
from data import domains
from data.adapters import registry
from data.bases import folders
from data.runs import runs, search_report, trials
from data.runs.methods import KEY, METHODS, with_preferences
from data.store.errors import Invalid, NotFound, UnderstudyError

WORKER_GRACE_S = 3.0  # how long a running worker may take to claim the run


@registered(None, "retrain")
@click.argument("domain")
@click.argument("axes", nargs=-1, metavar="[KEY=VALUE,VALUE]...")
@click.option("--full", is_flag=True, help="Start from the bare base, not from the live adapter.")
@click.option(
    "--method",
    type=click.Choice(list(METHODS)),
    help="; ".join(f"{method.name}: {method.title}" for method in METHODS.values()) + ".",
)
@click.option("--preferences", is_flag=True, help="The same as --method kto.")
@click.option(
    "--recipe",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take recipe values from a TOML file, or from the recipe.json of an adapter.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set a recipe value, such as epochs=3 or rank=32. Overrides the file.",
)
@click.option(
    "--lr", metavar="RATE", help="The learning rate, or auto to search for one before training."
)
@click.option(
    "--sweep",
    multiple=True,
    metavar="KEY=VALUE,VALUE",
    help="Train every combination, such as --sweep rate=1e-4,2e-4 rank=8,16, and keep the best.",
)
@click.option(
    "--folds",
    type=click.IntRange(2, 20),
    help="Cross-validate with this many folds: each one trains without one part of the facts.",
)
@click.option(
    "--accept-licence",
    metavar="LICENCE",
    help="Confirm that this licence of the base model permits your use.",
)
@base_option
@click.option("--dry-run", is_flag=True, help=sentence("retrain --dry-run"))
@click.option("--wait/--no-wait", default=True, help="Wait until the run has ended (default).")
@threads_option
@json_option
@pass_app
def tune(
    app: App,
    /,
    domain: str,
    full: bool,
    preferences: bool,
    dry_run: bool,
    wait: bool,
    threads: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Training continues from the live adapter with the new pairs.

    A running worker executes the run after its current one; if no worker is running, this command
    executes it. Values that no option sets depend on the number of pairs, and are printed with the
    reason.
    """
    recipe = with_preferences(_recipe(**options), preferences)
    if app.base:
        recipe = recipe | {folders.ASKED: app.settings.base.model}
    if problem := folders.not_usable(app.settings.base.model, app.settings.base.path):
        raise NotFound(problem)
    _warn_about_length(app, recipe)
    if dry_run:
        return _plan(app, domain, full, recipe, as_json)
    with app.store.write() as db:
        subject = domains.get(db, domain)
        run = admin.retrain(db, subject, app.actor, full, recipe)
    if not as_json:
        kind = "preference tuning" if run.learns == "preferences" else run.kind
        click.echo(f"Run {run.id} is queued ({kind}).")
    if not wait:
        return print_json(run) if as_json else None
    finished = _wait_for_run(app, run.id, threads, quiet=as_json)
    if as_json:
        print_json(finished)
    else:
        tried = trials.list_trials(app.store.db, run.id)
        if tried:
            click.echo(search_report.text_with_path(tried, app.settings.runs_path / str(run.id)))
    if finished.state != "done" or finished.adapter_id is None:
        raise UnderstudyError(f"Run {run.id} {finished.state}: {finished.error or finished.phase}")
    adapter = registry.by_id(app.store.db, finished.adapter_id)
    if not as_json:
        click.echo(f"Recipe: {adapter.recipe.get('why', '')}")
        click.echo(f"Created {adapter.name}: {scores.sentence(adapter)}")
        click.echo(f"To see all metrics: `understudy runs show {finished.id}`.")
    if adapter.state == "rejected":
        raise UnderstudyError(
            f"{adapter.name} was rejected: {adapter.state_reason} To use it anyway: "
            f"`understudy adapters accept {adapter.name} --reason TEXT`."
        )
    if not as_json:
        click.echo(f"To make it live: `understudy adapters promote {adapter.name}`.")
    return None


def _warn_about_length(app: App, recipe: dict[str, Any]) -> None:
    """Warn if the recipe allows training pairs that exceed the engine's context."""
    from tuning.recipe import search_space

    lengths = [
        recipe.get("max_length"),
        *search_space.search_space_of(recipe).axes.get("max_length", []),
    ]
    longest = max((n for n in lengths if isinstance(n, int)), default=0)
    limit = app.settings.serving.max_model_len
    if longest > limit:
        click.echo(
            f"Warning: max_length is {longest:,}, but the engine's context has {limit:,} tokens "
            "for question and answer together, so it cannot reproduce longer pairs. To change "
            "this, raise max_model_len under [serving].",
            err=True,
        )


def _plan(app: App, domain: str, full: bool, recipe: dict[str, Any], as_json: bool) -> None:
    """Print what the run would do."""
    db = app.store.db
    found = retrain_plan.plan(
        db, app.settings, domains.get(db, domain), full=full, overrides=recipe
    )
    if as_json:
        return print_json(found)
    for line in retrain_plan.describe(found):
        click.echo(line)
    if found.pending:
        click.echo(f"{found.pending} pairs wait for review: `understudy pairs review {domain}`.")
    return None


def _wait_for_run(app: App, run_id: int, threads: int | None, quiet: bool) -> runs.Run:
    """Follow the run to its end. If no worker takes it, run a worker in this process."""
    from rich.console import Console

    from bot.cli.follow import follow

    stop, local_worker = threading.Event(), None
    grace_ends = time.monotonic() + WORKER_GRACE_S

    def start_worker_if_needed() -> None:
        nonlocal local_worker
        db = app.store.db
        stopped = local_worker is not None and not local_worker.is_alive()
        if stopped and runs.get(db, run_id).open:
            raise UnderstudyError(f"Run {run_id} could not be executed; the reason is shown above.")
        if local_worker is not None or time.monotonic() < grace_ends:
            return
        if runs.get(db, run_id).state == "queued" and not runs.any_running(db):
            local_worker = threading.Thread(target=_run_worker, args=(app, stop, threads))
            local_worker.start()

    try:
        return follow(app.store, run_id, Console(stderr=True, quiet=quiet), start_worker_if_needed)
    except KeyboardInterrupt:
        if local_worker is not None:
            with app.store.write() as db:
                runs.cancel(db, run_id, app.actor)
            click.echo(f"\nRun {run_id} is cancelled.", err=True)
        else:
            queued = runs.get(app.store.db, run_id).state == "queued"
            click.echo(
                f"\nRun {run_id} {'stays queued' if queued else 'continues'}. "
                f"To cancel it: `understudy runs cancel {run_id}`."
            )
        raise
    finally:
        stop.set()
        if local_worker is not None:
            local_worker.join()


def _run_worker(app: App, stop: threading.Event, threads: int | None) -> None:
    from tuning.worker import worker

    worker.run(with_threads(app.settings, threads), stop=stop, once=True)


def _recipe(
    file: Path | None,
    overrides: tuple[str, ...],
    lr: str | None,
    sweep: tuple[str, ...],
    axes: tuple[str, ...],
    folds: int | None,
    accept_licence: str | None,
    method: str | None,
) -> dict[str, Any]:
    """The recipe values that the options set, in the form of `run.recipe`."""
    from tuning.recipe import recipe
    from tuning.recipe import search_space as recipe_search_space

    if axes and not sweep:
        raise Invalid(
            f"{axes[0]!r} belongs to a sweep: use `--sweep {axes[0]}`, or --set for one value."
        )
    asked = recipe.read(file) if file else {}
    asked |= recipe.parse_all(overrides)
    if lr is not None:
        try:
            asked["learning_rate"] = recipe.parse("learning_rate", lr.strip())
        except Invalid:
            raise Invalid(f"--lr takes a number or auto, not {lr!r}.") from None
    swept = dict(recipe_search_space.parse_axis(text) for text in [*sweep, *axes])
    more = {
        recipe_search_space.SWEEP: swept,
        recipe_search_space.FOLDS: folds,
        recipe_search_space.LICENCE: accept_licence,
        KEY: method,
    }
    return asked | {key: value for key, value in more.items() if value}
