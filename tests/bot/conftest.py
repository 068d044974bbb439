"""The HTTP service, listening on a real port, with a fake vLLM at the network edge.

`bot` has one domain, `helpdesk`, with two adapters that the fake engine holds: `helpdesk@1` is
live, `helpdesk@2` is a candidate.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from sqlite_utils import Database

from bot import app
from data import domains
from data.adapters import placements, registry
from data.adapters.registry import Adapter
from data.config.settings import (
    AnswersSettings,
    BotSettings,
    OidcSettings,
    ServingSettings,
    Settings,
)
from data.conversations import conversations
from data.domains import Domain
from data.people import keys
from data.people.roles import ROLES
from data.store.db import Store
from tests.conftest import ALONE, free_port, wait_until
from tests.data import given
from tests.serving.fake_vllm import FakeVllm, running

ENGINES = ServingSettings()
LATER_US = 3600 * 1_000_000


def add_adapter(db: Database, domain: Domain, version: int, **more: Any) -> Adapter:
    made = registry.register(
        db,
        domain,
        version=version,
        sha256=f"{version:x}" * 64,
        path=f"adapters/{domain.name}-{version}",
        base_model="pocket",
        rank=8,
        size_bytes=1,
        recipe={},
        scores={},
        **more,
    )
    return given.with_folder(db, made)


def add_replica(db: Database, url: str, *held: Adapter, name: str = "here") -> None:
    """A replica that stays fresh without heartbeats."""
    placements.record_heartbeat(db, name, url, "pocket", "ready")
    db.execute("UPDATE replicas SET heartbeat_at = heartbeat_at + ?", [LATER_US])
    for adapter in held:
        placements.record_loaded(db, name, adapter.id, 1.0)


@dataclass
class Bot:
    settings: Settings
    store: Store
    vllm: FakeVllm
    secrets: dict[str, str] = field(default_factory=dict)  # role -> key
    stopping: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        """Tell the service to stop, as a signal would, and return immediately."""
        self.stopping.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.bot.port}"

    @property
    def domain(self) -> Domain:
        return domains.get(self.store.db, "helpdesk")

    def http(self, role: str = "", **more: Any) -> httpx.Client:
        """A client with the key of a role, or without any. It waits for busy machines."""
        more = {"timeout": 60, **more}
        headers = {"Authorization": f"Bearer {self.secrets[role]}"} if role else {}
        # loading certificates that plain HTTP never uses takes longer than a test
        return httpx.Client(base_url=self.url, headers=headers, verify=False, **more)

    def openai(self, role: str = "member") -> openai.OpenAI:
        """The official OpenAI client."""
        return openai.OpenAI(
            api_key=self.secrets[role], base_url=f"{self.url}/v1", max_retries=0, timeout=20
        )

    def write(self, fn: Callable[[Database], Any]) -> Any:
        with self.store.write() as db:
            return fn(db)

    def replies(self) -> list[conversations.Reply]:
        """All replies, the oldest first."""
        found = self.store.db.query("SELECT id FROM replies ORDER BY created_at, id")
        return [conversations.reply(self.store.db, r["id"]) for r in found]

    def wait_closed(self, count: int = 1) -> list[conversations.Reply]:
        """Wait until `count` replies have ended."""
        ended = [r for r in self.replies() if r.status != "streaming"]
        wait_until(
            lambda: sum(r.status != "streaming" for r in self.replies()) >= count,
            f"{count} replies to end",
            10,
        )
        ended = [r for r in self.replies() if r.status != "streaming"]
        assert len(ended) == count
        return ended


@pytest.fixture
def vllm() -> Iterator[FakeVllm]:
    with running(FakeVllm()) as fake:
        yield fake


@pytest.fixture
def bot_settings() -> dict[str, Any]:
    """Settings of `[bot]` that a test module or class overrides."""
    return {}


@pytest.fixture
def bot(tmp_path: Path, vllm: FakeVllm, bot_settings: dict[str, Any]) -> Iterator[Bot]:
    with answering(tmp_path, vllm, **bot_settings) as subject:
        yield subject


@contextlib.contextmanager
def answering(
    home: Path,
    vllm: FakeVllm,
    answers: AnswersSettings = ALONE,
    engines: ServingSettings = ENGINES,
    oidc: OidcSettings | None = None,
    **bot_settings: Any,
) -> Iterator[Bot]:
    """The service over a new store. By default, adapters answer without a search."""
    settings = Settings(
        home=home,
        bot=BotSettings(port=free_port(), **({"engine_wait_s": 0} | bot_settings)),
        answers=answers,
        serving=engines,
        oidc=oidc or OidcSettings(),
    )
    with Store(settings.store_path) as store:
        subject = Bot(settings, store, vllm)
        with store.write() as db:
            domain = domains.create(db, "helpdesk", "the help desk", "Answer briefly.", ("Who?",))
            first, second = add_adapter(db, domain, 1), add_adapter(db, domain, 2)
            registry.promote(db, first, "cli:test")
            add_replica(db, vllm.url, first, second)
            for role in ROLES:
                subject.secrets[role] = keys.create(db, f"the {role}", role, "cli:test", "vouched")[
                    1
                ]
        with serving(settings, subject.stopping):
            yield subject


@contextlib.contextmanager
def serving(settings: Settings, stop: threading.Event) -> Iterator[None]:
    """`understudy bot` in a thread."""
    failed: list[BaseException] = []

    def serve() -> None:
        try:
            app.run(settings, stop)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    address = (settings.bot.host, settings.bot.port)
    try:
        wait_until(lambda: bool(failed) or _answers(address), "the service to start", 20)
        yield
    finally:
        stop.set()
        thread.join()
    assert not failed, failed


def _answers(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address).close()
    except ConnectionRefusedError:
        return False
    return True
