"""Prepares the demo: its folder and store, the processes, and the first adapter."""

import os
import re
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console

import data
from bot.cli.follow import follow
from bot.cli.init import TEMPLATE
from bot.commands import admin
from bot.runtime.supervisor import Supervisor
from data import domains
from data.adapters import placements, registry
from data.adapters.registry import Adapter
from data.bases.catalogue import CATALOGUE
from data.config.settings import FILE_NAME, Settings, load
from data.domains import Domain
from data.pair_files import importer
from data.pairs import pairs
from data.people import keys
from data.people.roles import Role
from data.runs import runs
from data.store.db import Store
from data.store.errors import Conflict, Unavailable, UnderstudyError

EXAMPLE = Path(data.__file__).parent / "examples" / "helpdesk"
ACTOR = "cli:demo"
WEB_CHAT = "web_chat = true "
NO_HISTORY = (
    "history_turns = 0             # the pocket model answers best without earlier turns\n"
    + WEB_CHAT
)
POCKET = 'model = "pocket" '
MARGIN = "margin = 0.02 "
WIDER_MARGIN = "margin = 0.1  "  # so small a model forgets a little with each retrain
# The few passes over the pairs that a real base gets do not teach it nine of ten of them.
FEWER_REPEATS = (
    "repeats = 0.3                 # share of its own pairs that an adapter must repeat\n"
)
START_TIMEOUT_S = 300
# A real base model takes one to two seconds for a step on a CPU. So the demo makes one and a half
# passes over the pairs, with twice the rank and four times the rate of the defaults
# (benchmarks/RESULTS.md). The next run learns one answer; most of each step repeats what is known.
FIRST_RECIPE = {
    "learning_rate": 4e-3, "rank": 32, "alpha": 64, "batch_size": 8, "epochs": 1.5, "dropout": 0.0,
    "evaluations": 2,
}  # fmt: skip
NEXT_RECIPE = {"learning_rate": 5e-4, "epochs": 12, "evaluations": 2, "replay_share": 0.75}


@dataclass
class DemoStage:
    settings: Settings
    store: Store
    supervisor: Supervisor
    console: Console
    domain: Domain
    began: float  # time.monotonic()

    @property
    def address(self) -> str:
        return f"http://{self.settings.bot.host}:{self.settings.bot.port}"

    def recipe(self, of_real_base: dict[str, Any]) -> dict[str, Any]:
        """The recipe values to ask for; the pocket base needs none."""
        return {} if self.settings.base.model == "pocket" else dict(of_real_base)

    def check(self) -> None:
        """Raise Unavailable if one of the processes has exited."""
        for part in self.supervisor.children:
            code = self.supervisor.ended(part)
            if code is not None:
                log = self.settings.home / "logs" / f"{part}.log"
                raise Unavailable(f"`understudy {part}` exited with code {code}; see {log}.")


def free_port() -> int:
    """A free port on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def in_use(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def prepare(
    home: Path, port: int, engine_port: int, console: Console, base: str = "pocket"
) -> DemoStage:
    """Create the folder with its settings, the store, and the demo domain with its pairs. Adds the
    base model to the folder if it is one that can be added. Raises Conflict when the folder belongs
    to a demo with another base model."""
    began = time.monotonic()
    home.mkdir(parents=True, exist_ok=True)
    file = home / FILE_NAME
    if not file.exists():  # keep the file of an earlier demo, which may have been edited
        text = TEMPLATE.replace("port = 8080", f"port = {port}").replace(WEB_CHAT, NO_HISTORY)
        least = "" if base == "pocket" else FEWER_REPEATS
        text = text.replace(MARGIN, least + WIDER_MARGIN).replace(
            POCKET, f'model = "{named(base)}" '
        )
        file.write_text(text.replace("port = 8100", f"port = {engine_port}", 1), encoding="utf-8")
    environ = {  # for the child processes; overrides settings of the user's own environment
        "UNDERSTUDY_HOME": str(home.resolve()),
        "UNDERSTUDY_CONFIG": str(file.resolve()),
        "UNDERSTUDY_BOT_PORT": str(port),
        "UNDERSTUDY_SERVING_PORT": str(engine_port),
    }
    settings = load(file, os.environ | environ)
    if settings.base.named(named(base)).model != settings.base.model:
        raise Conflict(
            f"The demo in {home} has the base model {settings.base.model}. Choose another folder "
            "with --home."
        )
    _add_base(settings, file, base)
    store = Store(settings.store_path)
    domain = _domain(store)
    report = importer.import_file(store, domain, EXAMPLE / "pairs.jsonl", status="approved")
    if report.bad_total:
        raise UnderstudyError(f"The demo domain has {report.bad_total} invalid rows.")
    approved = len({p.fact for p in pairs.list_pairs(store.db, domain, "approved")})
    console.print(
        f"Domain [b]{domain.name}[/b]: {approved} facts about Understudy itself, in {home}"
    )
    supervisor = Supervisor(settings, log_folder=home / "logs", environ=environ)
    return DemoStage(settings, store, supervisor, console, domain, began)


def named(base: str) -> str:
    """The base model as the settings file of the demo names it."""
    path = Path(base)
    if base not in CATALOGUE and path.is_dir():
        return str(path.resolve())
    return re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower()) if path.suffix == ".gguf" else base


def _add_base(settings: Settings, file: Path, base: str) -> None:
    """Download or convert the base in a process of its own, which shows its progress. Raises
    Unavailable when that fails."""
    is_file = Path(base).suffix == ".gguf"
    if Path(settings.base.path).is_dir() or not (base in CATALOGUE or is_file):
        return
    command = [sys.executable, "-m", "bot", "--config", str(file.resolve())]
    command += ["base", "add", base, "--name", settings.base.model]
    added = subprocess.run(command, stdout=sys.stderr, check=False)
    if added.returncode:
        raise Unavailable(f"The base model {base} could not be added; the reason is shown above.")


def start(stage: DemoStage) -> None:
    """Start the bot, the engine and the worker. Unless an earlier demo has made an adapter, the
    worker begins to train one."""
    stage.supervisor.start("bot")  # quotes approved answers until an adapter is live
    stage.supervisor.start("serve")  # vLLM starts while the adapter is being trained
    if registry.live(stage.store.db, stage.domain.id) is None and _candidate(stage) is None:
        _requested(stage)
    stage.supervisor.start("worker")


def first_adapter(stage: DemoStage) -> Adapter:
    """Wait until `helpdesk@1` is trained, and make it live; or return the live adapter of an
    earlier demo."""
    found = registry.live(stage.store.db, stage.domain.id)
    if found is None:
        made = _candidate(stage) or followed(stage, _requested(stage).id)
        with stage.store.write() as db:
            found = admin.promote(db, stage.domain, made.name, ACTOR)
    return found


def _candidate(stage: DemoStage) -> Adapter | None:
    """The adapter of an earlier demo that was stopped before the promotion."""
    made = registry.list_adapters(stage.store.db, stage.domain)
    return next((a for a in made if a.state == "candidate"), None)


def _requested(stage: DemoStage) -> runs.Run:
    """The open run, also that of an interrupted demo, or a new one."""
    with stage.store.write() as db:
        newest = runs.recent(db, stage.domain, limit=1)
        open_run = newest[0] if newest and newest[0].open else None
        recipe = stage.recipe(FIRST_RECIPE)
        return open_run or runs.request(db, stage.domain, ACTOR, recipe=recipe)


def followed(stage: DemoStage, run_id: int) -> Adapter:
    """Show a run's progress to its end; returns its adapter. Raises UnderstudyError if the run
    failed or the gate rejected the adapter."""
    run = follow(stage.store, run_id, stage.console, stage.check)
    if run.adapter_id is None:
        raise UnderstudyError(f"Run {run.id} {run.state}: {run.error or run.phase}")
    made = registry.by_id(stage.store.db, run.adapter_id)
    if made.state == "rejected":
        raise UnderstudyError(f"{made.name} was rejected: {made.state_reason}")
    return made


def wait_until_loaded(stage: DemoStage, adapter: Adapter) -> placements.Placement:
    """Wait until an engine can answer with the adapter. Raises Unavailable when none can load
    it."""
    deadline = time.monotonic() + START_TIMEOUT_S
    with stage.console.status(f"Waiting for vLLM to load {adapter.name}"):
        while time.monotonic() < deadline:
            at = placements.placements_of(stage.store.db, adapter.id)
            if adapter.id in placements.loaded(stage.store.db):
                return next(placement for placement in at if placement.state == "loaded")
            if at and all(placement.given_up for placement in at):
                raise Unavailable(f"vLLM cannot load {adapter.name}: {at[0].error}")
            stage.check()
            time.sleep(0.1)
    log = stage.settings.home / "logs" / "serve.log"
    raise Unavailable(f"vLLM did not load {adapter.name} within {START_TIMEOUT_S} s; see {log}.")


def key(stage: DemoStage, name: str, role: Role) -> str:
    """The demo's API key for a role, stored in its folder for the next start. It vouches for its
    users, as a company's backend does, so that they count in the demo's comparison."""
    file = stage.settings.home / f"{name}.key"
    if file.exists() and (known := keys.verify(stage.store.db, file.read_text().strip())):
        with stage.store.write() as db:
            keys.set_people(db, known.id, "vouched", ACTOR)
        return file.read_text().strip()
    with stage.store.write() as db:
        _, secret = keys.create(db, name, role, ACTOR, "vouched")
    file.touch(mode=0o600)
    file.write_text(secret)
    return secret


def _domain(store: Store) -> Domain:
    given = orjson.loads((EXAMPLE / "domain.json").read_bytes())
    with store.write() as db:
        if any(d.name == given["name"] for d in domains.list_domains(db)):
            return domains.get(db, given["name"])
        return domains.create(
            db,
            given["name"],
            given["title"],
            given["system_prompt"],
            tuple(given["suggested_prompts"]),
            given["validation_share"],
        )
