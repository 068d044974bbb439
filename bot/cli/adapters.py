"""`understudy adapters`: versions, their lineage and scores, and which one is live."""

from pathlib import Path
from typing import Literal

import click
from sqlite_utils import Database

from bot.cli.context import App, Group, json_option, pass_app, print_json, print_table
from bot.commands import admin, scores
from data import domains
from data.adapters import placements
from data.adapters import registry as store
from data.conversations import conversations
from data.pairs import datasets
from data.store.clock import iso, now_us

SHOWN_REASON = 80  # characters of why an adapter is what it is, in the list


@click.group(cls=Group)
def adapters() -> None:
    """Adapter versions: list, promote, roll back, accept, import, export, retire, remove."""


@adapters.command("list")
@click.option("--domain")
@json_option
@pass_app
def list_(app: App, domain: str | None, as_json: bool) -> None:
    """All adapters, newest first."""
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
            store.by_id(db, a.parent_id).name if a.parent_id else "the base",
            iso(a.created_at),
            _removal(a) or _short(failed.get(a.name, a.state_reason)),
        )
        for a in found
    ]
    headers = ("adapter", "state", "golden exact / F1", "grown from", "made", "")
    return print_table(headers, lines, "No adapters yet: `understudy tune DOMAIN`.")


@adapters.command()
@click.argument("name")
@json_option
@pass_app
def show(app: App, name: str, as_json: bool) -> None:
    """One adapter: where it comes from, its recipe and its scores."""
    db = app.store.db
    adapter = store.get(db, name)
    if as_json:
        return print_json(adapter)
    dataset = datasets.by_id(db, adapter.dataset_id) if adapter.dataset_id else None
    facts = {
        "state": adapter.state,
        "because": adapter.state_reason or None,
        "scores": scores.sentence(adapter),
        "base model": adapter.base_model,
        "grown from": store.by_id(db, adapter.parent_id).name if adapter.parent_id else "the base",
        "dataset": f"{dataset.id} ({dataset.train} trained pairs)" if dataset else None,
        "made by": f"run {adapter.run_id}" if adapter.run_id else None,
        "made": iso(adapter.created_at),
        "sha256": adapter.sha256,
        "removed": _removal(adapter),
        "folder": None if adapter.removed_at else str(adapter.folder(app.settings.home)),
        "size": f"{adapter.size_bytes / 1e6:.1f} MB, rank {adapter.rank}",
        "recipe": ", ".join(f"{k}={v}" for k, v in adapter.recipe.items()),
    }
    print_table(("", ""), [(k, v) for k, v in facts.items() if v], "")
    if adapter.run_id and adapter.scores.get("evaluation"):
        click.echo(f"All figures: `understudy runs show {adapter.run_id}`.")
    samples = [
        (s["question"], s["expected"], s["base"], s["adapter"])
        for s in adapter.scores.get("samples", [])[:5]
    ]
    headers = ("asked", "expected", "bare base", adapter.name)
    return print_table(headers, samples, "No sample answers were kept.")


@adapters.command()
@click.argument("name")
@pass_app
def promote(app: App, name: str) -> None:
    """Let NAME (such as helpdesk@3) answer, from the next message on."""
    with app.store.write() as db:
        adapter = store.get(db, name)
        domain = domains.by_id(db, adapter.domain_id)
        admin.promote(db, domain, adapter.name, app.actor)
    click.echo(f"{adapter.name} is live. Undo: `understudy adapters rollback {adapter.domain}`.")


@adapters.command()
@click.argument("domain")
@pass_app
def rollback(app: App, domain: str) -> None:
    """Undo the last promotion of DOMAIN, from the next message on."""
    with app.store.write() as db:
        before = admin.roll_back(db, domains.get(db, domain), app.actor)
    click.echo(f"{before.name if before else 'The bare base'} answers again.")


@adapters.command()
@click.argument("name")
@click.option("--reason", required=True, help="Why; it is kept with the adapter.")
@pass_app
def accept(app: App, name: str, reason: str) -> None:
    """Overrule the gate: make NAME, which it rejected, a candidate. The reason is kept."""
    with app.store.write() as db:
        adapter = store.accept(db, store.get(db, name), app.actor, reason)
    click.echo(f"{adapter.name} is a candidate now. Engines load it within seconds.")


@adapters.command("import")
@click.argument("path", type=click.Path(path_type=Path, file_okay=False))
@click.option("--domain", help="Whose adapter it becomes. Default: the default domain's.")
@click.option("--same-base", is_flag=True, help="The base has another name here and is the same.")
@pass_app
def import_(app: App, path: Path, domain: str | None, same_base: bool) -> None:
    """Bring in the adapter in folder PATH: of PEFT, TRL, Unsloth, Axolotl, or of MLX.

    It is checked like every adapter. No gate sees it: compare it before you promote it.
    """
    from tuning.adapters import importer

    db = app.store.db
    subject = domains.get(db, domain) if domain else domains.default(db)
    adapter = importer.import_adapter(
        app.store, app.settings, subject, path, app.actor, same_base=same_base
    )
    click.echo(
        f"{adapter.name} is a candidate: rank {adapter.rank}, {adapter.size_bytes / 1e6:.1f} MB. "
        f"Compare it: `understudy ab start {subject.name} live {adapter.version}`."
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
    help="The adapter alone, in the base as bf16, or with an Ollama Modelfile.",
)
@pass_app
def export(app: App, name: str, folder: Path, format_: Literal["peft", "merged", "ollama"]) -> None:
    """Write NAME to the new FOLDER, for use elsewhere."""
    from tuning.adapters import exporter as writer

    adapter = store.get(app.store.db, name)
    subject = domains.by_id(app.store.db, adapter.domain_id)
    writer.write(app.settings, subject, adapter, format_, folder)
    click.echo(f"{adapter.name} is in {folder}.")
    if format_ == "ollama":
        made = adapter.name.replace("@", "-")
        click.echo(f"Not tried with Ollama yet: `ollama create {made} -f {folder}/Modelfile`.")


@adapters.command()
@click.argument("name")
@pass_app
def retire(app: App, name: str) -> None:
    """Take the candidate NAME out of service; answers that it is writing end first."""
    with app.store.write() as db:
        adapter = store.retire(db, store.get(db, name), app.actor)
        writing = _writing(app, db, adapter)
    rest = " It is still writing an answer, which ends first." if writing else ""
    if writing > 1:
        rest = f" It is still writing {writing} answers, which end first."
    click.echo(f"{adapter.name} is retired.{rest}")


@adapters.command()
@click.argument("name")
@pass_app
def remove(app: App, name: str) -> None:
    """Delete the files of NAME, which is retired or rejected, for good.

    Its scores and its place in the history stay. The files go once no engine holds them.
    """
    from serving.adapters import garbage_collection

    with app.store.write() as db:
        adapter = store.remove(db, store.get(db, name), app.actor)
    if garbage_collection.delete_now(app.store, app.settings, adapter):
        click.echo(f"{adapter.name} is removed, {adapter.size_bytes / 1e6:.1f} MB are free.")
        return
    holders = ", ".join(placements.leases(app.store.db, adapter.id))
    why = f"once {holders} has dropped it" if holders else "in a few seconds"
    click.echo(f"{adapter.name} is removed; its files are deleted {why}.")


@adapters.command()
@click.argument("name")
@pass_app
def retry(app: App, name: str) -> None:
    """Let the engines try NAME again, which they could not serve."""
    with app.store.write() as db:
        adapter = store.get(db, name)
        at = placements.retry(db, adapter.id, app.actor, adapter.name)
    click.echo(f"{adapter.name} is tried again on {', '.join(at)}.")


@adapters.command()
@click.argument("name")
@pass_app
def check(app: App, name: str) -> None:
    """Look through an adapter's files as is done before an engine gets them."""
    from data.adapters import files as adapters_files

    adapter = store.get(app.store.db, name)
    files = adapters_files.check(
        adapter.folder(app.settings.home),
        base=Path(app.settings.base.path),
        base_model=app.settings.base.model,
        max_rank=app.settings.serving.rank_limit,
        sha256=adapter.sha256,
    )
    click.echo(f"{adapter.name} is sound: rank {files.rank}, {files.size_bytes / 1e6:.1f} MB.")


def _short(reason: str) -> str:
    """What fits into a line of the list; `adapters show` has it all."""
    return reason if len(reason) <= SHOWN_REASON else f"{reason[: SHOWN_REASON - 1].rstrip()}…"


def _golden(adapter: store.Adapter) -> str:
    golden = adapter.scores.get("golden") or {}
    return f"{golden['exact']:.0%} / {golden['f1']:.2f}" if golden.get("n") else ""


def _writing(app: App, db: Database, adapter: store.Adapter) -> int:
    """How many answers it is writing, on all replicas."""
    since = now_us() - (app.settings.bot.answer_timeout_s + 10) * 1_000_000
    names = [replica.name for replica in placements.replicas(db)]
    return sum(conversations.being_written(db, name, since, adapter.id) for name in names)


def _removal(adapter: store.Adapter) -> str:
    if adapter.removal_asked_at is None:
        return ""
    return f"removed {iso(adapter.removed_at)}" if adapter.removed_at else "being removed"
