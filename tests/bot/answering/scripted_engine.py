"""An engine over a real socket that sends whatever bytes a script says."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

NAME = "helpdesk@1-111111111111"
Step = bytes | float | str  # bytes to send, seconds to wait, or one of the words below
HANG, RESET = "hang", "reset"
Script = list[Step]

EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def chunk(text: str | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """One event of an answer, as vLLM sends it."""
    delta = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"model": NAME, "choices": [choice]} | more


def data(event: Any) -> bytes:
    text = event if isinstance(event, str) else json.dumps(event)
    return f"data: {text}\n\n".encode()


def answer(*events: Any) -> Script:
    """A response with these events; bytes are sent as they are."""
    return [EVENTS, b"".join(e if isinstance(e, bytes) else data(e) for e in events)]


def refused(status: int, body: str, *headers: str) -> Script:
    head = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body.encode())}", *headers]
    return ["\r\n".join(head).encode() + b"\r\nConnection: close\r\n\r\n" + body.encode()]


WELL = answer(chunk("All"), chunk(" well."), chunk(finish="stop"), "[DONE]")


@dataclass
class ScriptedEngine:
    port: int = 0
    script: Callable[[dict[str, Any]], Script] = field(default=lambda asked: WELL)
    asked: list[dict[str, Any]] = field(default_factory=list)
    sent: int = 0  # bytes that the kernel has taken

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next(
                int(line.partition(":")[2])
                for line in head.splitlines()
                if line.lower().startswith("content-length")
            )
            asked = json.loads(await reader.readexactly(length))
            self.asked.append(asked)
            async for piece in self._pieces(self.script(asked), writer):
                writer.write(piece)
                await writer.drain()
                self.sent += len(piece)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the bot has heard enough
        finally:
            writer.close()

    async def _pieces(self, script: Script, writer: asyncio.StreamWriter) -> AsyncIterator[bytes]:
        for step in script:
            if isinstance(step, float):
                await asyncio.sleep(step)
            elif step == HANG:
                await asyncio.sleep(60)
            elif step == RESET:
                writer.transport.abort()
                return
            elif isinstance(step, bytes):
                yield step


@contextmanager
def scripted() -> Iterator[ScriptedEngine]:
    engine = ScriptedEngine()
    loop = asyncio.new_event_loop()
    started, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        server = await asyncio.start_server(engine.serve, "127.0.0.1", 0)
        engine.port = server.sockets[0].getsockname()[1]
        started.set()
        await stop.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert started.wait(5)
    try:
        yield engine
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(5)
