"""A fake vLLM server: the routes that we use, and the ways in which they fail.

It is a real aiohttp server in its own thread. `say` decides how a chat request is answered:
a list of events, each sent as one server-sent event; `CUT` breaks the connection at that place.
"""

import asyncio
import json
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from aiohttp import web

from data.config.settings import POCKET

CUT = "cut"
HANG = "hang"
DONE = "[DONE]"
Event = dict[str, Any] | str
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def words(
    model: str, *texts: str, finish: str | None = "stop", usage: tuple[int, int] = (5, 2)
) -> list[Event]:
    """A whole answer as vLLM streams it."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": text} for text in texts]
    events: list[Event] = [
        {"model": model, "choices": [{"index": 0, "delta": d, "finish_reason": None}]}
        for d in deltas
    ]
    if finish is not None:
        end = {"index": 0, "delta": {"content": ""}, "finish_reason": finish}
        events.append({"model": model, "choices": [end]})
    counts = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    return [*events, {"model": model, "choices": [], "usage": counts}, DONE]


def calls(model: str, *called: tuple[str, ...]) -> list[Event]:
    """An answer that calls tools, as vLLM streams it with a parser. Each: a name, and the pieces of
    its arguments."""
    events: list[Event] = []
    for index, (name, *pieces) in enumerate(called):
        begun = {"index": index, "id": f"call-{index}", "type": "function"}
        deltas = [begun | {"function": {"name": name, "arguments": ""}}]
        deltas += [{"index": index, "function": {"arguments": piece}} for piece in pieces]
        events += [
            {"model": model, "choices": [{"index": 0, "delta": {"tool_calls": [delta]}}]}
            for delta in deltas
        ]
    return [*events, *words(model, finish="tool_calls")[1:]]


def whole(events: list[Event]) -> dict[str, Any]:
    """The same answer, for who does not want it as a stream."""
    chunks = [e for e in events if isinstance(e, dict)]
    choices = [choice for e in chunks for choice in e["choices"]]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    return {
        "model": chunks[0]["model"],
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": choices[-1]["finish_reason"],
            }
        ],
        "usage": chunks[-1].get("usage"),
    }


def refusal(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "code": status}}, status=status)


@dataclass
class FakeVllm:
    url: str = ""
    healthy: bool = True
    held: dict[str, str] = field(default_factory=dict)  # served name -> folder
    calls: list[tuple[str, str]] = field(default_factory=list)  # (load or unload, name)
    asked: list[dict[str, Any]] = field(default_factory=list)
    request_ids: list[str] = field(default_factory=list)
    connections: set[int] = field(default_factory=set)
    broken_off: int = 0  # answers whose reader went away
    refuse_all: bool = False
    refuse_load: dict[str, int] = field(default_factory=dict)  # name -> status
    say: Callable[[dict[str, Any]], list[Event] | web.Response] = field(
        default=lambda body: words(body["model"], "Hello", " there")
    )
    goes_on: Callable[[str, list[int], int], list[int]] = field(
        default=lambda name, prompt, count: [0] * count
    )  # model, prompt and how many tokens are wanted -> the tokens that /v1/completions answers
    renders: Callable[[list[dict[str, str]]], list[int]] | None = None  # a conversation's tokens
    likely: Callable[[int], dict[int, float]] = field(
        default=lambda said: {said: -0.1}
    )  # a token that it says -> the log probabilities that it tells there
    completed: list[dict[str, Any]] = field(default_factory=list)  # bodies of /v1/completions
    completes_as: str | None = None  # the name it answers them under; None: the one asked for
    refuse_completions: int = 0  # the status of a refusal
    keep_alive_s: float = 5.0
    network: Literal["up", "resets", "hangs", "errors"] = "up"  # what happens to all requests
    hung: Callable[[], bool] = field(default=lambda: False)  # its core, while its server runs on
    writes_no_completion: bool = False  # that is not refused: it waits, and other answers go on
    steps: int = 0  # of its core, which its metrics tell
    has_metrics: bool = True
    loading: str = ""  # the folder of the latest load
    base: dict[str, str] = field(default_factory=lambda: {"id": "base", "root": str(POCKET)})
    pause_s: float = 0.0  # between two pieces of an answer
    on_load: Callable[[str], object] = field(default=lambda name: None)
    asleep: bool = False
    naps: list[str] = field(default_factory=list)  # sleep and wake_up, in order
    refuse_nap: dict[str, int] = field(default_factory=dict)  # sleep or wake_up -> status
    naps_anyway: bool = False  # it does what it refuses
    disturbed: list[str] = field(default_factory=list)  # what was asked of it while it slept

    async def health(self, _: web.Request) -> web.Response:
        return web.Response(status=200 if self.healthy else 503)

    async def metrics(self, _: web.Request) -> web.Response:
        if not self.has_metrics:
            return web.Response(status=404)
        return web.Response(text=f'vllm:generation_tokens_total{{engine="0"}} {self.steps}\n')

    async def models(self, _: web.Request) -> web.Response:
        cards: list[dict[str, Any]] = [{**self.base, "parent": None}]
        cards += [{"id": n, "root": p, "parent": "base"} for n, p in self.held.items()]
        return web.json_response({"object": "list", "data": cards})

    async def something_else(self, _: web.Request) -> web.Response:
        return web.Response(text="<html>Welcome</html>", content_type="text/html")

    async def load(self, request: web.Request) -> web.Response:
        body = await request.json()
        name = body["lora_name"]
        self._note_disturbance(f"load {name}")
        self.calls.append(("load", name))
        if self.refuse_all or name in self.refuse_load:
            return refusal(self.refuse_load.get(name, 500), "it is malformed")
        if name in self.held:
            return refusal(400, f"The lora adapter '{name}' has already been loaded.")
        if not Path(body["lora_path"]).is_dir():
            return refusal(404, f"No adapter found for {body['lora_path']}")
        self.loading = body["lora_path"]
        self.on_load(name)
        self.held[name] = body["lora_path"]
        return web.Response(text="Success")

    async def unload(self, request: web.Request) -> web.Response:
        name = (await request.json())["lora_name"]
        self.calls.append(("unload", name))
        if self.held.pop(name, None) is None:
            return refusal(404, "cannot be found")
        return web.Response(text="Success")

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        assert request.transport is not None
        self._note_disturbance("chat")
        self.asked.append(body)
        self.request_ids.append(request.headers.get("X-Request-Id", ""))
        self.connections.add(id(request.transport))
        events = self.say(body)
        if isinstance(events, web.Response):
            return events
        if not body.get("stream"):
            return web.json_response(whole(events))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        try:
            for event in events:
                if event == CUT:
                    request.transport.abort()
                    return response
                if event == HANG:
                    await asyncio.sleep(30)
                if not response.prepared:
                    await response.prepare(request)
                text = event if isinstance(event, str) else json.dumps(event)
                while self.hung():
                    await asyncio.sleep(0.02)
                await response.write(f"data: {text}\n\n".encode())
                self.steps += 1
                await asyncio.sleep(self.pause_s)
        except (ConnectionError, asyncio.CancelledError):
            self.broken_off += 1
            raise
        return response

    async def completions(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.completed.append(body)
        while self.writes_no_completion:
            await asyncio.sleep(0.02)
        self.steps += 1
        if self.refuse_completions:
            return refusal(self.refuse_completions, "it has no time")
        if body["model"] not in ("base", *self.held):
            return refusal(404, f"The model `{body['model']}` does not exist.")
        said = [self.goes_on(body["model"], p, body["max_tokens"]) for p in body["prompt"]]
        told = body.get("logprobs") and body.get("return_tokens_as_token_ids")
        choices = [
            {
                "index": i,
                "text": "",
                "token_ids": ids if body.get("return_token_ids") else None,
                "logprobs": {"top_logprobs": [self._likely(t) for t in ids]} if told else None,
            }
            for i, ids in enumerate(said)
        ]
        return web.json_response({"model": self.completes_as or body["model"], "choices": choices})

    def _likely(self, said: int) -> dict[str, float]:
        return {f"token_id:{token}": p for token, p in self.likely(said).items()}

    async def tokenize(self, request: web.Request) -> web.Response:
        body = await request.json()
        assert body["add_generation_prompt"] is True
        if self.renders is None:
            return refusal(404, "Not Found")
        return web.json_response({"tokens": self.renders(body["messages"])})

    @web.middleware
    async def disturb(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """A partition, as seen from here."""
        if self.network == "resets" and request.transport is not None:
            request.transport.abort()
        while self.network == "hangs":
            await asyncio.sleep(0.02)
        while self.hung() and request.method == "POST":
            await asyncio.sleep(0.02)
        if self.network == "errors":
            return web.Response(status=500, text="Internal Server Error")
        return await handler(request)

    async def sleep(self, request: web.Request) -> web.Response:
        assert request.query["level"] == "1"
        return self._nap("sleep", asleep=True)

    async def wake_up(self, _: web.Request) -> web.Response:
        return self._nap("wake_up", asleep=False)

    def _nap(self, which: str, *, asleep: bool) -> web.Response:
        self.naps.append(which)
        if which in self.refuse_nap:
            self.asleep = asleep if self.naps_anyway else self.asleep
            return refusal(self.refuse_nap[which], f"it cannot {which}")
        self.asleep = asleep
        return web.json_response({"status": "sleeping" if asleep else "awake"})

    def _note_disturbance(self, what: str) -> None:
        if self.asleep:
            self.disturbed.append(what)

    async def is_sleeping(self, _: web.Request) -> web.Response:
        return web.json_response({"is_sleeping": self.asleep})

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self.disturb])
        app.router.add_get("/health", self.health)
        app.router.add_get("/metrics", self.metrics)
        app.router.add_get("/v1/models", self.models)
        app.router.add_post("/v1/load_lora_adapter", self.load)
        app.router.add_post("/v1/unload_lora_adapter", self.unload)
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_post("/v1/completions", self.completions)
        app.router.add_post("/tokenize", self.tokenize)
        app.router.add_post("/sleep", self.sleep)
        app.router.add_post("/wake_up", self.wake_up)
        app.router.add_get("/is_sleeping", self.is_sleeping)
        app.router.add_get("/elsewhere/v1/models", self.something_else)
        return app


@contextmanager
def running(fake: FakeVllm) -> Iterator[FakeVllm]:
    """Serve `fake` on a free port of loopback; its `url` says where."""
    loop = asyncio.new_event_loop()
    started = threading.Event()
    stop = asyncio.Event()

    async def serve() -> None:
        runner = web.AppRunner(
            fake.app(),
            keepalive_timeout=fake.keep_alive_s,
            handler_cancellation=True,
            shutdown_timeout=0.1,
        )
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        started.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert started.wait(5)
    try:
        yield fake
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(5)
        loop.close()


def main() -> None:
    """As a program in vLLM's place, which `serving/engine/vllm_process.py` starts
    (`stand_in_for_vllm`): it writes as many words as are asked for, and lets them end when it is
    told to. It hangs while there is a file `hang` in its folder of sockets. An adapter with a
    `crash.md` beside its files ends it, as one does that is too much for the memory."""
    fake = FakeVllm(pause_s=0.02)
    fake.on_load = lambda name: Path(fake.loading, "crash.md").exists() and os._exit(3)
    fake.say = lambda body: words(body["model"], *[" word"] * body["max_tokens"])
    fake.hung = Path(os.environ["VLLM_RPC_BASE_PATH"], "hang").exists
    given = dict(zip(sys.argv[1::1], sys.argv[2::1], strict=False))
    web.run_app(
        fake.app(), host="127.0.0.1", port=int(given["--port"]), shutdown_timeout=8, print=None
    )


def stand_in_for_vllm(folder: Path) -> str:
    """Write a package `vllm` whose server is `main`; returns the PYTHONPATH that leads to it."""
    entry = folder / "vllm" / "entrypoints" / "launchers" / "api_server" / "entry.py"
    entry.parent.mkdir(parents=True)
    for package in list(entry.parents)[:4]:
        (package / "__init__.py").touch()
    entry.write_text("from tests.serving.fake_vllm import main as main")
    return os.pathsep.join([str(folder), str(Path(__file__).parents[2])])
