"""`understudy doctor`: looks at everything that a working installation needs."""

import importlib.util
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click

from bot.cli.context import App, json_option, pass_app, print_json
from data.config.settings import Settings
from data.store.errors import UnderstudyError

LEAST_FREE_GB = 5
State = Literal["ok", "note", "missing"]
SIGNS: dict[State, tuple[str, str]] = {
    "ok": ("✓", "green"),
    "note": ("·", "yellow"),
    "missing": ("✗", "red"),
}


@dataclass(frozen=True)
class Finding:
    subject: str
    state: State  # missing: something asked for cannot work; note: worth knowing
    found: str
    remedy: str = ""


@click.command()
@json_option
@pass_app
def doctor(app: App, as_json: bool) -> None:
    """Say what is missing (settings, base model, engine, GPU, disk, Slack) and how to get it.

    Exit code 1 when something that is needed is missing.
    """
    findings = list(examine(app.settings))
    if as_json:
        print_json(findings)
    else:
        for finding in findings:
            sign, colour = SIGNS[finding.state]
            click.secho(f"{sign} {finding.subject}: ", fg=colour, bold=True, nl=False)
            click.echo(finding.found)
            if finding.remedy:
                click.echo(f"    {finding.remedy}")
    if any(finding.state == "missing" for finding in findings):
        raise SystemExit(1)


def examine(settings: Settings) -> Iterator[Finding]:
    """Every finding, in the order in which one would mend them."""
    checks: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
        _python,
        _store,
        _disk,
        _base_model,
        _tuning,
        _engine,
        _gpu,
        _bot,
        _slack,
    )
    for check in checks:
        yield from check(settings)


def _python(settings: Settings) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("Python", "ok", version)


def _store(settings: Settings) -> Iterator[Finding]:
    from data import domains
    from data.store.db import Store, value

    path = settings.store_path
    if not path.exists():
        yield Finding("Store", "missing", f"none in {settings.home}", "Make it: `understudy init`.")
        return
    try:
        with Store(path) as store:
            names = ", ".join(d.name for d in domains.list_domains(store.db))
            sqlite = value(store.db, "SELECT sqlite_version()")
    except UnderstudyError as error:
        yield Finding("Store", "missing", str(error))
        return
    if tuple(map(int, sqlite.split("."))) < (3, 51, 3):
        remedy = "Install pysqlite3: older SQLite can damage a store that is in heavy use."
        yield Finding("SQLite", "missing", sqlite, remedy)
    if names:
        yield Finding("Store", "ok", f"{path}, domains: {names}")
    else:
        yield Finding("Store", "note", f"{path}, no domain", "`understudy domains add NAME`")


def _disk(settings: Settings) -> Iterator[Finding]:
    place = settings.home if settings.home.exists() else settings.home.parent
    free = shutil.disk_usage(place).free / 1e9
    state: State = "ok" if free >= LEAST_FREE_GB else "missing"
    remedy = "" if state == "ok" else f"Tuning wants at least {LEAST_FREE_GB} GB."
    yield Finding("Disk", state, f"{free:.0f} GB free for {settings.home}", remedy)


def _base_model(settings: Settings) -> Iterator[Finding]:
    model = settings.base.model
    folder = Path(settings.base.path)
    if folder.is_dir():
        whole = (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))
        if whole:
            yield Finding("Base model", "ok", model)
        else:
            remedy = "It needs config.json, a tokenizer and *.safetensors."
            yield Finding("Base model", "missing", f"{folder} is not a model", remedy)
    elif model.startswith(("/", ".")):
        yield Finding("Base model", "missing", f"no folder {model}", "Correct [base] model.")
    else:
        note = f"{model} comes from a model hub at the first start"
        remedy = "Without access to one, download it elsewhere and name its folder in [base] model."
        yield Finding("Base model", "note", note, remedy)


def _tuning(settings: Settings) -> Iterator[Finding]:
    wanted = ("torch", "transformers", "peft", "bitsandbytes", "safetensors")
    lacking = [name for name in wanted if importlib.util.find_spec(name) is None]
    if lacking:
        remedy = (
            "`make install` (CPU) or `make install-gpu`. A machine with the bot alone needs none."
        )
        yield Finding("Tuning", "note", f"not installed: {', '.join(lacking)}", remedy)
    else:
        yield Finding("Tuning", "ok", "torch, transformers, peft and bitsandbytes are installed")


def _engine(settings: Settings) -> Iterator[Finding]:
    if settings.serving.url:
        yield Finding("Engine", "ok", f"run by somebody else at {', '.join(settings.serving.url)}")
        return
    from serving.engine.engine import installed

    build = installed()
    if build is None:
        remedy = "`make install` (CPU) or `make install-gpu`, or set [serving] url."
        yield Finding("Engine", "missing", "vLLM is not installed", remedy)
    else:
        yield Finding("Engine", "ok", f"{build.dist} {build.version}")


def _gpu(settings: Settings) -> Iterator[Finding]:
    from data.gpu import cards as gpu_cards
    from data.gpu.memory import gib

    try:
        cards = gpu_cards.cards()
    except UnderstudyError as error:
        yield Finding("GPU", "missing", str(error), "See to the NVIDIA driver: `nvidia-smi`.")
        return
    if cards:
        told = (f"{c.name}, {gib(c.free)} of {gib(c.total)} free" for c in cards)
        yield Finding("GPU", "ok", "; ".join(told))
    else:
        remedy = "The CPU is enough for the pocket model; a real base model wants a GPU host."
        yield Finding("GPU", "note", "none found", remedy)
    if settings.serving.gpu_sharing != "off" and not settings.serving.url:
        yield _sharing(settings)


def _sharing(settings: Settings) -> Finding:
    """Whether engine and tuning both fit on the card, by the arithmetic of memory."""
    from data.gpu import plans

    subject = f"GPU sharing ({settings.serving.gpu_sharing})"
    try:
        return Finding(subject, "ok", plans.describe(settings))
    except UnderstudyError as error:
        remedy = 'Or give each a card of its own: [serving] gpu_sharing = "off".'
        return Finding(subject, "missing", str(error), remedy)


def _bot(settings: Settings) -> Iterator[Finding]:
    host, port = settings.bot.host, settings.bot.port
    with socket.socket() as probe:
        taken = probe.connect_ex((host if host != "0.0.0.0" else "127.0.0.1", port)) == 0  # noqa: S104
    found = f"{host}:{port}" + (", in use: running already?" if taken else " is free")
    yield Finding("HTTP", "note" if taken else "ok", found)
    if settings.bot.web_chat and host not in ("127.0.0.1", "::1", "localhost"):
        remedy = "Put it behind your single sign-on, or set [bot] web_chat = false."
        yield Finding("Web chat", "note", "anyone who reaches this port can ask", remedy)


def _slack(settings: Settings) -> Iterator[Finding]:
    slack = settings.slack
    if slack.mode == "off":
        remedy = "To connect it: `understudy slack manifest`, then set [slack] mode."
        yield Finding("Slack", "note", "off", remedy)
        return
    for name, secret in slack.needed.items():
        if not secret.get_secret_value():
            remedy = f"Set UNDERSTUDY_SLACK_{name.upper()} or UNDERSTUDY_SLACK_{name.upper()}_FILE."
            yield Finding("Slack", "missing", f"no {name}", remedy)
    if not (slack.admins or slack.admin_group or slack.workspace_admins):
        remedy = "Set [slack] admins to user ids (U…), or admin_group to a user group (S…)."
        yield Finding("Slack", "note", "no admins: nobody may retrain from Slack", remedy)
    if all(secret.get_secret_value() for secret in slack.needed.values()):
        yield Finding("Slack", "ok", f"{slack.mode} mode, tokens given")
