"""`understudy tune DOMAIN`: queue a run, and follow it; with no worker about, do it here."""

import threading
import time
from pathlib import Path
from typing import Any

import click

from bot.cli.context import App, json_option, pass_app, print_json
from bot.commands import admin, retrain_plan, scores
from data import domains
from data.adapters import registry
from data.runs import runs, search_report, trials
from data.runs.methods import KEY, METHODS, with_preferences
from data.store.errors import Invalid, UnderstudyError

WORKER_GRACE_S = 3.0  # how long a running worker may take to claim the run


@click.command()
@click.argument("domain")
@click.argument("axes", nargs=-1, metavar="[KEY=VALUE,VALUE]...")
@click.option("--full", is_flag=True, help="From the bare base, not on from the live adapter.")
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
    help="Values of the recipe from a TOML file, or from the recipe.json of an adapter.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a value of the recipe, such as epochs=3 or rank=32. Counts more than the file.",
)
@click.option("--lr", metavar="RATE", help="The learning rate, or auto: found before training.")
@click.option(
    "--sweep",
    multiple=True,
    metavar="KEY=VALUE,VALUE",
    help="Try every combination, such as --sweep rate=1e-4,2e-4 rank=8,16, and keep the best.",
)
@click.option(
    "--folds",
    type=click.IntRange(2, 20),
    help="Cross-validate: train so many times, each time without one part of the facts.",
)
@click.option(
    "--accept-licence",
    metavar="LICENCE",
    help="Confirm that your use is allowed by this licence of the base model.",
)
@click.option("--dry-run", is_flag=True, help="Say what the run would do, and do nothing.")
@click.option("--wait/--no-wait", default=True, help="Stay until the run has ended.")
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
    as_json: bool,
    **asked: Any,
) -> None:
    """Tune the next adapter of DOMAIN on its approved pairs.

    Goes on from the live adapter with what is new. A running worker does it, after what it is at;
    where none is running, it is done here. What no option says follows from the number of pairs,
    and is printed with its reason.
    """
    recipe = with_preferences(_recipe(**asked), preferences)
    _warn_of_length(app, recipe)
    if dry_run:
        return _plan(app, domain, full, recipe, as_json)
    with app.store.write() as db:
        subject = domains.get(db, domain)
        run = admin.retrain(db, subject, app.actor, full, recipe)
    if not as_json:
        kind = "from thumbs" if run.learns == "preferences" else run.kind
        click.echo(f"Run {run.id} is queued ({kind}).")
    if not wait:
        return print_json(run) if as_json else None
    finished = _see_to_it(app, run.id, quiet=as_json)
    if as_json:
        print_json(finished)
    else:
        tried = trials.list_trials(app.store.db, run.id)
        if tried:
            click.echo(search_report.told(tried, app.settings.runs_path / str(run.id)))
    if finished.state != "done" or finished.adapter_id is None:
        raise UnderstudyError(f"Run {run.id} {finished.state}: {finished.error or finished.phase}")
    adapter = registry.by_id(app.store.db, finished.adapter_id)
    if not as_json:
        click.echo(f"Recipe: {adapter.recipe.get('why', '')}")
        click.echo(f"Made {adapter.name}: {scores.sentence(adapter)}")
        click.echo(f"All figures: `understudy runs show {finished.id}`.")
    if adapter.state == "rejected":
        raise UnderstudyError(
            f"{adapter.name} was rejected: {adapter.state_reason} To use it all the same: "
            f"`understudy adapters accept {adapter.name} --reason TEXT`."
        )
    if not as_json:
        click.echo(f"Let it answer: `understudy adapters promote {adapter.name}`.")
    return None


def _warn_of_length(app: App, asked: dict[str, Any]) -> None:
    """Say beforehand when longer pairs would be learned than engines can be asked."""
    from tuning.recipe import search_space

    lengths = [
        asked.get("max_length"),
        *search_space.search_space_of(asked).axes.get("max_length", []),
    ]
    longest = max((n for n in lengths if isinstance(n, int)), default=0)
    most = app.settings.serving.max_model_len
    if longest > most:
        click.echo(
            f"Warning: max_length is {longest:,}, and the engine takes {most:,} tokens, question "
            "and answer together: it could not give the answers of longer pairs. To change that, "
            "raise max_model_len under [serving].",
            err=True,
        )


def _plan(app: App, domain: str, full: bool, recipe: dict[str, Any], as_json: bool) -> None:
    """What the run would do."""
    db = app.store.db
    found = retrain_plan.plan(
        db, app.settings, domains.get(db, domain), full=full, overrides=recipe
    )
    if as_json:
        return print_json(found)
    for line in retrain_plan.in_words(found):
        click.echo(line)
    if found.pending:
        click.echo(f"{found.pending} pairs wait for review: `understudy pairs review {domain}`.")
    return None


def _see_to_it(app: App, run_id: int, quiet: bool) -> runs.Run:
    """Wait for a worker to take the run; work here when none does; follow it to its end."""
    from rich.console import Console

    from bot.cli.follow import follow

    stop, here = threading.Event(), None
    patience = time.monotonic() + WORKER_GRACE_S

    def work_if_nobody_does() -> None:
        nonlocal here
        db = app.store.db
        if here is not None and not here.is_alive() and runs.get(db, run_id).open:
            raise UnderstudyError(f"Run {run_id} could not be done here; the reason is above.")
        if here is not None or time.monotonic() < patience:
            return
        if runs.get(db, run_id).state == "queued" and not runs.any_at_work(db):
            here = threading.Thread(target=_work_here, args=(app, stop))
            here.start()

    try:
        return follow(app.store, run_id, Console(stderr=True, quiet=quiet), work_if_nobody_does)
    except KeyboardInterrupt:
        if here is not None:
            with app.store.write() as db:
                runs.cancel(db, run_id, app.actor)
            click.echo(f"\nRun {run_id} is cancelled.", err=True)
        else:
            word = "stays queued" if runs.get(app.store.db, run_id).state == "queued" else "goes on"
            click.echo(f"\nRun {run_id} {word}. Stop it: `understudy runs cancel {run_id}`.")
        raise
    finally:
        stop.set()
        if here is not None:
            here.join()


def _work_here(app: App, stop: threading.Event) -> None:
    from tuning.worker import worker

    worker.run(app.settings, stop=stop, once=True)


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
    """What the options ask to differ from the defaults, as `run.recipe` holds it."""
    from tuning.recipe import recipe
    from tuning.recipe import search_space as recipe_search_space

    if axes and not sweep:
        raise Invalid(f"{axes[0]!r} is for a sweep: write --sweep {axes[0]}, or --set for a value.")
    asked = recipe.read(file) if file else {}
    for text in overrides:
        key, sign, given = text.partition("=")
        if not sign or not key.strip():
            raise Invalid(f"--set takes KEY=VALUE, not {text!r}.")
        named = recipe.ALIASES.get(key.strip(), key.strip())
        asked[named] = recipe.parse(named, given.strip())
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
