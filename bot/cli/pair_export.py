"""`understudy pairs export`: pairs as a file, or as a folder for another training tool."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bot.cli import terminal
from bot.cli.context import App, pass_app
from data import domains
from data.config import base_precision
from data.domains import Domain
from data.gpu import plans
from data.pair_files.formats import AUTO, WRITTEN
from data.pair_files.training_folders import TOOLS, TrainingValues
from data.pairs import pairs as store
from data.store.errors import Invalid

if TYPE_CHECKING:
    from data.config.settings import Settings


@click.command()
@click.argument("domain")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_",
    type=click.Choice((AUTO, *WRITTEN)),
    default=AUTO,
    show_default=True,
    help="The format of FILE; auto goes by the name: .csv is CSV, any other JSON Lines.",
)
@click.option(
    "--for",
    "tool",
    type=click.Choice(tuple(TOOLS)),
    default=None,
    help="Write a folder that this training tool starts from: its data and its configuration. "
    "Unsloth takes the data of trl.",
)
@click.option(
    "--status",
    type=click.Choice((*store.STATUSES, "all")),
    default="approved",
    show_default=True,
    help="Export only pairs with this status.",
)
@pass_app
def export(
    app: App, domain: str, file: Path, format_: str, tool: str | None, status: store.Status
) -> None:
    """Export the pairs of DOMAIN to FILE.

    With --for, FILE is a new folder for another training tool. Approved pairs are written with the
    system prompt that they are trained with here, golden questions in a file of their own.
    """
    subject = domains.get(app.store.db, domain)
    if tool is not None:
        if format_ != AUTO or status != "approved":
            raise Invalid(
                "--for writes approved pairs in the tool's own format. Leave out "
                "--format and --status."
            )
        _export_folder(app, subject, file, tool)
        return
    from data.pair_files import files as pairs_files

    wanted = None if str(status) == "all" else status
    found = store.iterate_pairs(app.store.db, subject, wanted)
    count = pairs_files.write(found, file, format_)
    terminal.echo(f"Wrote {count} pairs to {file}.")


def _export_folder(app: App, domain: Domain, folder: Path, tool: str) -> None:
    from data.pair_files import training_folders

    approved = store.counts(app.store.db, domain)["approved"]
    found = store.iterate_pairs(app.store.db, domain, "approved")
    values = _values(app.settings, approved)
    written = training_folders.write(found, domain, folder, tool, values)
    aside = f", and {written.measured} to measure on" if written.measured else ""
    terminal.echo(f"Wrote {written.train} pairs to train on{aside} to {folder}.")
    if not Path(values.base).is_dir():
        terminal.echo(f"The base model is {values.base}.")
    terminal.echo(f"Train in that folder with: {TOOLS[tool].command}")


def _values(settings: "Settings", pairs: int) -> TrainingValues:
    """The recipe that a first run on so many pairs would have here."""
    from tuning.recipe.recipe import Recipe

    served = base_precision.quantization(settings)
    recipe = Recipe.for_pairs(
        pairs,
        base_parameters=plans.base_shape(settings).parameters,
        max_length=settings.serving.max_model_len,
        served=served,
    )
    return TrainingValues(
        base=settings.base.path,
        rank=recipe.rank,
        alpha=recipe.alpha,
        dropout=recipe.dropout,
        learning_rate=recipe.learning_rate,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        max_length=recipe.max_length,
        quantized=served == "nf4",
    )
