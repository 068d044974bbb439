"""`understudy tune DOMAIN`: queue a tuning run and follow it, without a worker if need be."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from bot.cli import terminal, waiting
from bot.cli.context import (
    App,
    base_option,
    json_option,
    pass_app,
    print_json,
    threads_option,
)
from bot.cli.verbs import registered, sentence
from bot.commands import admin, retrain_plan
from data import domains
from data.adapters import registry
from data.bases import folders
from data.runs import runs
from data.runs.methods import AUTO, KEY, METHODS, WHY, as_asked, method_of, with_preferences
from data.store.errors import Invalid, NotFound


@registered(None, "retrain")
@click.argument("domain")
@click.argument("axes", nargs=-1, metavar="[KEY=VALUE,VALUE]...")
@click.option("--full", is_flag=True, help="Start from the bare base, not from the live adapter.")
@click.option(
    "--method",
    type=click.Choice([*METHODS, AUTO]),
    help="; ".join(f"{method.name}: {method.title}" for method in METHODS.values())
    + f"; {AUTO}: chosen from what there is.",
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

    Ctrl-C pauses a run that this command executes; `understudy runs resume N` continues it from its
    last checkpoint. A second Ctrl-C leaves at once. SIGTERM and a closed terminal pause it, too. A
    run whose process was killed is taken over a minute later.
    """
    recipe = with_preferences(_recipe(**options), preferences)
    if app.base:
        recipe = recipe | {folders.ASKED: app.settings.base.model}
    if problem := folders.not_usable(app.settings.base.model, app.settings.base.path):
        raise NotFound(problem)
    _warn_about_length(app, recipe)
    if dry_run:
        return _plan(app, domain, full, recipe, as_json)
    _refuse_unusable(app, domain, recipe, full=full)
    with app.store.write() as db:
        subject = domains.get(db, domain)
        left = runs.take_over(db, subject)
        goes_on = left and as_asked(left.recipe) == recipe and (not full or left.kind == "full")
        run = left if left and goes_on else admin.retrain(db, subject, app.actor, full, recipe)
    if not as_json and goes_on:
        terminal.echo(f"Run {run.id} lost its worker; it goes on from its last checkpoint.")
    elif not as_json:
        if WHY in run.recipe:
            terminal.echo(run.recipe[WHY])
        kind = "preference tuning" if run.learns == "preferences" else run.kind
        if run.learns == "pairs":
            older = retrain_plan.older_answers(app.store.db, subject, full=full)
            for line in retrain_plan.describe_older(older[: retrain_plan.SHOWN_PAIRS], len(older)):
                terminal.echo(line)
        terminal.echo(f"Run {run.id} is queued ({kind}).")
    if not wait:
        return print_json(run) if as_json else None
    waiting.report(app, waiting.wait_for_run(app, run.id, threads, quiet=as_json), as_json)
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
        terminal.echo(
            f"Warning: max_length is {longest:,}, but the engine's context has {limit:,} tokens "
            "for question and answer together, so it cannot reproduce longer pairs. To change "
            "this, raise max_model_len under [serving].",
            err=True,
        )


def _refuse_unusable(app: App, domain: str, recipe: dict[str, Any], *, full: bool) -> None:
    """Raises Invalid, naming the pairs, if the run would fail with them after its start."""
    subject = domains.get(app.store.db, domain)
    live = None if full else registry.live(app.store.db, subject.id)
    if method_of(retrain_plan.chosen(app.store.db, subject, live, recipe)).learns != "pairs":
        return
    found = retrain_plan.unusable_pairs(app.store.db, app.settings, subject, _max_length(recipe))
    shown = found[: retrain_plan.SHOWN_PAIRS]
    if refused := retrain_plan.describe_unusable(subject.name, shown, len(found)):
        raise Invalid(refused)


def _max_length(recipe: dict[str, Any]) -> int | None:
    asked = recipe.get("max_length")
    return asked if isinstance(asked, int) else None  # a sweep may ask for several


def _plan(app: App, domain: str, full: bool, recipe: dict[str, Any], as_json: bool) -> None:
    """Print what the run would do, and what is wrong with its pairs."""
    from data.quality import checker, token_counts
    from data.search.search import PairSearch

    db = app.store.db
    subject = domains.get(db, domain)
    found = retrain_plan.plan(db, app.settings, subject, full=full, overrides=recipe)
    unsuited = PairSearch(app.store, app.settings.search).why_by_words(subject)
    found = replace(found, search=unsuited)
    around = token_counts.of_base(app.settings, subject, _max_length(recipe))
    report = checker.check_domain(db, subject, around)
    if as_json:
        quality = {one.check: one.count for one in report.findings if not one.not_checked}
        return print_json({**asdict(found), "quality": quality})
    for line in retrain_plan.describe(found):
        terminal.echo(line)
    for one in report.found:
        terminal.echo(f"Quality: {one.title.lower()}: {one.counted}.")
    if report.found:
        terminal.echo(f"`understudy pairs check {subject.name}` names them.")
    if found.pending:
        terminal.echo(f"{found.pending} pairs wait for review: `understudy pairs review {domain}`.")
    return None


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
