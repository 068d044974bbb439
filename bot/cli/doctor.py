"""`understudy doctor`: checks everything that an installation needs."""

import importlib.util
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from bot.cli import terminal
from bot.cli.context import App, json_option, pass_app, print_json
from data.config.settings import Settings
from data.store.errors import UnderstudyError

if TYPE_CHECKING:
    from serving.engine.command import EngineBuild

MIN_FREE_GB = 5
State = Literal["ok", "note", "missing"]
SIGNS: dict[State, tuple[str, str]] = {
    "ok": ("✓", "green"),
    "note": ("·", "yellow"),
    "missing": ("✗", "red"),
}


@dataclass(frozen=True)
class Finding:
    subject: str
    state: State  # missing: a configured part cannot work; note: worth knowing
    found: str
    remedy: str = ""


@click.command()
@json_option
@pass_app
def doctor(app: App, as_json: bool) -> None:
    """Check settings, base model, engine, GPU, disk and Slack, and say how to fix problems.

    The exit code is 1 if something necessary is missing.
    """
    findings = list(examine(app.settings))
    if as_json:
        print_json(findings)
    else:
        for finding in findings:
            sign, colour = SIGNS[finding.state]
            terminal.secho(f"{sign} {finding.subject}: ", fg=colour, bold=True, nl=False)
            terminal.echo(finding.found)
            if finding.remedy:
                terminal.echo(f"    {finding.remedy}")
    if any(finding.state == "missing" for finding in findings):
        raise SystemExit(1)


def examine(settings: Settings) -> Iterator[Finding]:
    """All findings, in the order in which to fix them."""
    checks: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
        _python,
        _store,
        _disk,
        _base_model,
        _languages,
        _tuning,
        _engine,
        _adapters,
        _replicas,
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
        yield Finding(
            "Store", "missing", f"none in {settings.home}", "Create it with `understudy init`."
        )
        return
    try:
        with Store(path) as store:
            names = ", ".join(d.name for d in domains.list_domains(store.db))
            sqlite = value(store.db, "SELECT sqlite_version()")
    except UnderstudyError as error:
        yield Finding("Store", "missing", str(error))
        return
    if tuple(map(int, sqlite.split("."))) < (3, 51, 3):
        remedy = "Install pysqlite3: older versions can corrupt a store under heavy load."
        yield Finding("SQLite", "missing", sqlite, remedy)
    if names:
        yield Finding("Store", "ok", f"{path}, domains: {names}")
    else:
        remedy = "Add one with `understudy domains add NAME`."
        yield Finding("Store", "note", f"{path}, no domain", remedy)


def _disk(settings: Settings) -> Iterator[Finding]:
    place = settings.home if settings.home.exists() else settings.home.parent
    free = shutil.disk_usage(place).free / 1e9
    state: State = "ok" if free >= MIN_FREE_GB else "missing"
    remedy = "" if state == "ok" else f"Tuning needs at least {MIN_FREE_GB} GB."
    yield Finding("Disk", state, f"{free:.0f} GB free for {settings.home}", remedy)


def _base_model(settings: Settings) -> Iterator[Finding]:
    from data.bases import context_length, folders

    model = settings.base.model
    folder = Path(settings.base.path)
    if folder.is_dir():
        complete = (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))
        if complete:
            yield Finding("Base model", "ok", model)
            if problem := context_length.too_long(settings):
                found, _, remedy = problem.partition(". ")
                yield Finding("Context length", "missing", found, remedy)
        elif problem := folders.not_usable(model, settings.base.path):
            found, _, remedy = problem.partition(". ")
            yield Finding("Base model", "missing", found, remedy)
        else:
            remedy = "It needs config.json, a tokenizer and *.safetensors."
            yield Finding("Base model", "missing", f"{folder} is not a model", remedy)
    elif problem := folders.not_usable(model, settings.base.path):
        found, _, remedy = problem.partition(". ")
        yield Finding("Base model", "missing", found, remedy)
    else:
        note = f"{model} is downloaded from a model hub at the first start"
        remedy = "Without internet access, copy the model here and set [base] model to its folder."
        yield Finding("Base model", "note", note, remedy)


def _languages(settings: Settings) -> Iterator[Finding]:
    """Whether the base and the encoder suit the language of each domain's pairs."""
    from data import domains
    from data.bases import language_fit
    from data.search import domain_calibration
    from data.search.encoder import EncoderFailed
    from data.search.search import PairSearch
    from data.store.db import Store

    if not settings.store_path.exists():
        return
    try:
        with Store(settings.store_path) as store:
            search = PairSearch(store, settings.search)
            for domain in domains.list_domains(store.db):
                fit = language_fit.of_domain(store.db, domain.id, settings)
                if fit is not None:
                    yield _fit(f"Base for {domain.name}", fit.sentence(domain.name), fit.suits)
                found = search.check_language(domain)
                if found is not None:
                    yield _fit(f"Encoder for {domain.name}", found.sentence(domain), found.suits)
                if not_used := domain_calibration.why_not_used(store.db, domain, search):
                    yield _fit(f"Threshold of {domain.name}", not_used, suits=False)
    except EncoderFailed as error:
        yield Finding("Encoder", "missing", str(error))
    except UnderstudyError:
        return  # `_store` reports it


def _fit(name: str, sentence: str, suits: bool) -> Finding:
    found, _, remedy = sentence.partition(". ")
    return Finding(name, "ok" if suits else "note", found.rstrip("."), remedy)


def _tuning(settings: Settings) -> Iterator[Finding]:
    needed = ("torch", "transformers", "peft", "bitsandbytes", "safetensors")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        remedy = (
            "Run `make install` (CPU) or `make install-gpu`. A machine that only runs the bot "
            "does not need them."
        )
        yield Finding("Tuning", "note", f"not installed: {', '.join(missing)}", remedy)
    else:
        yield Finding("Tuning", "ok", "torch, transformers, peft and bitsandbytes are installed")


def _adapters(settings: Settings) -> Iterator[Finding]:
    """The folders of the adapters in use."""
    from data.monitoring import alerts
    from data.store.db import Store

    if not settings.store_path.exists():
        return
    try:
        with Store(settings.store_path) as store:
            missing = [a.text for a in alerts.alerts(store.db) if a.kind == "files"]
    except UnderstudyError:
        return  # `_store` reports it
    for text in missing:
        found, _, remedy = text.partition(". ")
        yield Finding("Adapter", "missing", found, remedy)


def _replicas(settings: Settings) -> Iterator[Finding]:
    """What the engines that run now were last seen to do."""
    from data.adapters import placements
    from data.store.db import Store

    if not settings.store_path.exists():
        return
    try:
        with Store(settings.store_path) as store:
            known = [r for r in placements.replicas(store.db) if not r.stale]
    except UnderstudyError:
        return  # `_store` reports it
    for replica in known:
        if replica.state == "ready":
            yield Finding("Engine", "ok", replica.described)
        elif replica.state != "down":
            yield Finding("Engine", "note", replica.described)
        elif replica.detail != placements.STOPPED:
            remedy = "`understudy replicas list` shows all engines; their logs are in logs/."
            yield Finding("Engine", "missing", replica.described, remedy)


def _engine(settings: Settings) -> Iterator[Finding]:
    if settings.serving.url:
        yield Finding("Engine", "ok", f"external engine at {', '.join(settings.serving.url)}")
        return
    from serving.engine import lora_operations
    from serving.engine.engine import installed

    build = installed()
    if build is None:
        remedy = "Run `make install` (CPU) or `make install-gpu`, or set [serving] url."
        yield Finding("Engine", "missing", "vLLM is not installed", remedy)
    else:
        yield Finding("Engine", "ok", f"{build.dist} {build.version}")
        if lora_operations.wanted(settings, build):
            yield _lora_operations(build)


def _lora_operations(build: "EngineBuild") -> Finding:
    """What is known before an engine starts; `understudy status` shows the outcome of its check."""
    from serving.engine import lora_operations

    if problem := lora_operations.not_usable(build):
        remedy = "Adapters answer more slowly until then. See docs/real-base.md."
        found = f"vLLM's own are used, because {problem}"
        return Finding("LoRA operations", "note", found, remedy)
    return Finding("LoRA operations", "ok", "grouped by adapter")


def _gpu(settings: Settings) -> Iterator[Finding]:
    from data.gpu import cards as gpu_cards
    from data.gpu.memory import gib

    try:
        cards = gpu_cards.cards()
    except UnderstudyError as error:
        yield Finding("GPU", "missing", str(error), "Check the NVIDIA driver with `nvidia-smi`.")
        return
    if cards:
        described = (f"{c.name}, {gib(c.free)} of {gib(c.total)} free" for c in cards)
        yield Finding("GPU", "ok", "; ".join(described))
    else:
        remedy = (
            "The CPU is enough for the pocket model, and for small base models such as "
            "smollm2-135m; larger ones need a GPU."
        )
        yield Finding("GPU", "note", "none found", remedy)
    if settings.serving.gpu_sharing != "off" and not settings.serving.url:
        yield _sharing(settings)


def _sharing(settings: Settings) -> Finding:
    """Whether the engine and a tuning run fit on the card together, by the memory estimate."""
    from data.gpu import plans

    subject = f"GPU sharing ({settings.serving.gpu_sharing})"
    try:
        return Finding(subject, "ok", plans.describe(settings))
    except UnderstudyError as error:
        remedy = 'Or give each its own card and set [serving] gpu_sharing = "off".'
        return Finding(subject, "missing", str(error), remedy)


def _bot(settings: Settings) -> Iterator[Finding]:
    host, port = settings.bot.host, settings.bot.port
    with socket.socket() as probe:
        in_use = probe.connect_ex((host if host != "0.0.0.0" else "127.0.0.1", port)) == 0  # noqa: S104
    found = f"{host}:{port} is " + ("in use; perhaps the bot is running" if in_use else "free")
    yield Finding("HTTP", "note" if in_use else "ok", found)
    if settings.bot.web_chat and host not in ("127.0.0.1", "::1", "localhost"):
        remedy = "Put it behind your single sign-on, or set [bot] web_chat = false."
        yield Finding("Web chat", "note", "anyone who reaches this port can ask", remedy)


def _slack(settings: Settings) -> Iterator[Finding]:
    slack = settings.slack
    if slack.mode == "off":
        remedy = "To connect it, run `understudy slack manifest` and set [slack] mode."
        yield Finding("Slack", "note", "off", remedy)
        return
    for name, secret in slack.needed.items():
        if not secret.get_secret_value():
            remedy = f"Set UNDERSTUDY_SLACK_{name.upper()} or UNDERSTUDY_SLACK_{name.upper()}_FILE."
            yield Finding("Slack", "missing", f"no {name}", remedy)
    if not (slack.admins or slack.admin_group or slack.workspace_admins):
        remedy = "Set [slack] admins to user ids (U…), or admin_group to a user group (S…)."
        yield Finding("Slack", "note", "no admins: nobody can start a retrain from Slack", remedy)
    refused = list(_refused_by_slack(settings.store_path))
    yield from refused
    if not refused and all(secret.get_secret_value() for secret in slack.needed.values()):
        yield Finding("Slack", "ok", f"{slack.mode} mode, all tokens are set")


def _refused_by_slack(path: Path) -> Iterator[Finding]:
    """Tokens and channels that Slack refused while the bot was running."""
    from data.slack import problems
    from data.store.db import Store

    if not path.exists():
        return
    try:
        with Store(path) as store:
            found = problems.current(store.db)
    except UnderstudyError:
        return  # `_store` reports it
    for problem in found:
        yield Finding("Slack", "note" if problem.channel else "missing", problem.text)
