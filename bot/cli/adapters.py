"""`understudy adapters`: list, promote, roll back, import, export and remove adapters."""

from pathlib import Path
from typing import Literal

import click
from sqlite_utils import Database

from bot.cli import terminal
from bot.cli.context import App, Group, json_option, pass_app, print_json, print_table
from bot.cli.verbs import add_generated, registered
from bot.commands import admin, scores
from data import domains
from data.adapters import placements
from data.adapters import registry as store
from data.conversations import conversations
from data.pairs import datasets
from data.store.clock import iso
from data.store.errors import Invalid

yes_option = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
MAX_REASON = 80  # characters of a reason in the list


@click.group(cls=Group)
def adapters() -> None:
    """List, promote, roll back, accept, import, export, retire and remove adapters."""


@registered(adapters, "adapters")
@click.option("--domain", help="List only the adapters of this domain.")
@json_option
@pass_app
def list_(app: App, domain: str | None, as_json: bool) -> None:
    db = app.store.db
    found = store.list_adapters(db, domains.get(db, domain) if domain else None)
    if as_json:
        return print_json(found)
    failed = admin.status(db).failed_placements
    lines = [
        (
            a.name,
            a.state,
            _golden(a),
            store.by_id(db, a.parent_id).name if a.parent_id else "bare base",
            iso(a.created_at),
            _removal(a) or _short(failed.get(a.name, a.state_reason)),
        )
        for a in found
    ]
    headers = ("adapter", "state", "golden exact / F1", "trained from", "created", "")
    empty = "There are no adapters yet. Train one with `understudy tune DOMAIN`."
    return print_table(headers, lines, empty)


@adapters.command()
@click.argument("name")
@json_option
@pass_app
def show(app: App, name: str, as_json: bool) -> None:
    """Show one adapter: its origin, recipe and scores."""
    db = app.store.db
    adapter = store.get(db, name)
    if as_json:
        return print_json(adapter)
    dataset = datasets.by_id(db, adapter.dataset_id) if adapter.dataset_id else None
    facts = {
        "state": adapter.state,
        "reason": adapter.state_reason or None,
        "scores": scores.sentence(adapter),
        "base model": adapter.base_model,
        "trained from": (
            store.by_id(db, adapter.parent_id).name if adapter.parent_id else "bare base"
        ),
        "dataset": f"{dataset.id} ({dataset.train} training pairs)" if dataset else None,
        "trained by": f"run {adapter.run_id}" if adapter.run_id else None,
        "created": iso(adapter.created_at),
        "sha256": adapter.sha256,
        "removed": _removal(adapter),
        "folder": None if adapter.removed_at else str(adapter.folder(app.settings.home)),
        "size": f"{adapter.size_bytes / 1e6:.1f} MB, rank {adapter.rank}",
        "recipe": ", ".join(f"{k}={v}" for k, v in adapter.recipe.items()),
    }
    print_table(("", ""), [(k, v) for k, v in facts.items() if v], "")
    if adapter.run_id and adapter.scores.get("evaluation"):
        terminal.echo(f"To see all metrics: `understudy runs show {adapter.run_id}`.")
    samples = [
        (s["question"], s["expected"], s["base"], s["adapter"])
        for s in adapter.scores.get("samples", [])[:5]
    ]
    headers = ("question", "expected", "bare base", adapter.name)
    return print_table(headers, samples, "No sample answers are stored.")


@registered(adapters, "adapters lineage")
@click.argument("name")
@json_option
@pass_app
def lineage(app: App, name: str, as_json: bool) -> None:
    """One line for each training: that of the version, and of those that it continues. With --json,
    every pair with the answer that it corrects, and the people whose words it has. Words are never
    shown.
    """
    from data.privacy import lineage as lines

    found = lines.of_adapter(app.store.db, store.get(app.store.db, name).id)
    return print_json(found) if as_json else terminal.echo("\n".join(found.sentences))


@registered(adapters, "promote")
@click.argument("name")
@yes_option
@pass_app
def promote(app: App, name: str, yes: bool) -> None:
    """Name the version as in helpdesk@3. Asks first if this ends a running comparison."""
    adapter = store.get(app.store.db, name)
    domain = domains.by_id(app.store.db, adapter.domain_id)
    admin.refuse_promotion(app.store.db, domain, adapter)
    agreed = _confirmed(admin.promotion_ends(app.store.db, domain), yes)
    with app.store.write() as db:
        admin.promote(db, domain, adapter.name, app.actor, confirmed=agreed)
    terminal.echo(
        f"{adapter.name} is live. To undo: `understudy adapters rollback {adapter.domain}`."
    )


@registered(adapters, "rollback")
@click.argument("domain")
@yes_option
@pass_app
def roll_back(app: App, domain: str, yes: bool) -> None:
    """Asks first if this ends a running comparison, or if no adapter would be live afterwards."""
    subject = domains.get(app.store.db, domain)
    agreed = _confirmed(admin.roll_back_ends(app.store.db, subject), yes)
    with app.store.write() as db:
        after = admin.roll_back(db, subject, app.actor, confirmed=agreed)
    terminal.echo(f"{after.name} answers again." if after else admin.NONE_LIVE)


def _confirmed(ends: str, yes: bool) -> bool:
    """Ask the person, if there is something to confirm. Raises Abort if they do not agree."""
    if ends and not yes:
        terminal.confirm(f"{ends} Go on?")
    return yes or bool(ends)


@adapters.command()
@click.argument("name")
@click.option("--reason", required=True, help="The reason, which is stored with the adapter.")
@pass_app
def accept(app: App, name: str, reason: str) -> None:
    """Overrule the gate: turn NAME, which it rejected, into a candidate."""
    with app.store.write() as db:
        adapter = store.accept(db, store.get(db, name), app.actor, reason)
    terminal.echo(f"{adapter.name} is now a candidate. Engines load it within seconds.")


@adapters.command("import")
@click.argument("path", type=click.Path(path_type=Path, file_okay=False))
@click.option("--domain", help="The domain of the new adapter. Default: the default domain.")
@click.option(
    "--same-base",
    is_flag=True,
    help="Accept an adapter whose base model has another name but is the same model.",
)
@pass_app
def import_(app: App, path: Path, domain: str | None, same_base: bool) -> None:
    """Import the adapter in folder PATH, made with PEFT, TRL, Unsloth, Axolotl or MLX.

    Its files are checked like those of every adapter, but the gate does not evaluate it: compare it
    with the live adapter before you promote it.
    """
    from tuning.adapters import importer

    db = app.store.db
    subject = domains.get(db, domain) if domain else domains.default(db)
    adapter = importer.import_adapter(
        app.store, app.settings, subject, path, app.actor, same_base=same_base
    )
    terminal.echo(
        f"{adapter.name} is a candidate: rank {adapter.rank}, {adapter.size_bytes / 1e6:.1f} MB. "
        f"To compare it: `understudy ab start {subject.name} live {adapter.version}`."
    )


@adapters.command()
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_",
    type=click.Choice(("peft", "merged", "ollama")),
    default="peft",
    show_default=True,
    help="peft: only the adapter; merged: the base model with the adapter merged in, as bf16; "
    "ollama: the adapter with an Ollama Modelfile.",
)
@pass_app
def export(app: App, name: str, folder: Path, format_: Literal["peft", "merged", "ollama"]) -> None:
    """Export NAME to a new FOLDER, for use elsewhere."""
    from tuning.adapters import exporter as writer

    adapter = store.get(app.store.db, name)
    subject = domains.by_id(app.store.db, adapter.domain_id)
    writer.write(app.settings, subject, adapter, format_, folder)
    terminal.echo(f"{adapter.name} is in {folder}.")
    if format_ == "ollama":
        model = adapter.name.replace("@", "-")
        terminal.echo(
            f"This export has not been tested with Ollama. To try it: `ollama create {model} -f "
            f"{folder}/Modelfile`."
        )


@registered(adapters, "retire")
@click.argument("name")
@pass_app
def retire(app: App, name: str) -> None:
    """The candidate NAME first finishes the answers that it is writing."""
    with app.store.write() as db:
        adapter = store.retire(db, store.get(db, name), app.actor)
        writing = _writing(app, db, adapter)
    rest = " It will finish the answer that it is writing." if writing else ""
    if writing > 1:
        rest = f" It will finish the {writing} answers that it is writing."
    terminal.echo(f"{adapter.name} is retired.{rest}")


@adapters.command()
@click.argument("name")
@pass_app
def remove(app: App, name: str) -> None:
    """Permanently delete the files of NAME, which must be retired or rejected.

    Its scores and its history stay. The files are deleted once no engine holds them.
    """
    from serving.adapters import garbage_collection

    with app.store.write() as db:
        adapter = store.remove(db, store.get(db, name), app.actor)
    if garbage_collection.delete_now(app.store, app.settings, adapter):
        terminal.echo(f"{adapter.name} is removed; {adapter.size_bytes / 1e6:.1f} MB were freed.")
        return
    holders = ", ".join(placements.leases(app.store.db, adapter.id))
    when = f"once {holders} has unloaded it" if holders else "in a few seconds"
    terminal.echo(f"{adapter.name} is removed; its files will be deleted {when}.")


@adapters.command()
@click.argument("name")
@pass_app
def retry(app: App, name: str) -> None:
    """Retry loading NAME after a failure."""
    with app.store.write() as db:
        adapter = store.get(db, name)
        replicas = placements.retry(db, adapter.id, app.actor, adapter.name)
    terminal.echo(f"Loading of {adapter.name} will be retried on {', '.join(replicas)}.")


@adapters.command()
@click.argument("name")
@pass_app
def check(app: App, name: str) -> None:
    """Check the files of an adapter, as before an engine loads them."""
    from data.adapters import files as adapters_files
    from data.bases import digest

    adapter = store.get(app.store.db, name)
    if problem := digest.mismatch(adapter, app.settings, digest.of_base(app.settings)):
        raise Invalid(problem)
    files = adapters_files.check(
        adapter.folder(app.settings.home),
        base=Path(app.settings.base.path),
        base_model=adapter.base_model,
        max_rank=app.settings.serving.rank_limit,
        sha256=adapter.sha256,
    )
    terminal.echo(f"{adapter.name} is valid: rank {files.rank}, {files.size_bytes / 1e6:.1f} MB.")


add_generated(adapters, "adapters")


def _short(reason: str) -> str:
    """A reason shortened for the list; `adapters show` prints it in full."""
    return reason if len(reason) <= MAX_REASON else f"{reason[: MAX_REASON - 1].rstrip()}…"


def _golden(adapter: store.Adapter) -> str:
    golden = adapter.scores.get("golden") or {}
    return f"{golden['exact']:.0%} / {golden['f1']:.2f}" if golden.get("n") else ""


def _writing(app: App, db: Database, adapter: store.Adapter) -> int:
    """The number of answers that the adapter is writing, on all replicas."""
    within_s = app.settings.bot.answer_timeout_s + 10
    names = [replica.name for replica in placements.replicas(db)]
    return sum(conversations.count_streaming(db, name, within_s, adapter.id) for name in names)


def _removal(adapter: store.Adapter) -> str:
    if adapter.removal_asked_at is None:
        return ""
    return f"removed {iso(adapter.removed_at)}" if adapter.removed_at else "being removed"
