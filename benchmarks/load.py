"""Sends requests to a service over HTTP, as client programs do, and checks every answer.

An answer names the adapter that wrote it, and each adapter says one word that no other adapter
says. So three things can be checked: the text is exactly what the named adapter says; that adapter
was allowed to answer at that time (live, compared, or pinned by the question); the answer is
complete.
"""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import one_word
import orjson

TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Asked:
    """A question and its answer. Times are `time.monotonic()`."""

    domain: str
    model: str  # helpdesk, helpdesk@3, helpdesk@base
    question: str
    began: float
    ended: float
    status: int = 0  # 0: no answer at all
    reply_id: str = ""
    adapter: str = ""  # who answered, as the answer says
    instead_of: str | None = None
    text: str = ""
    finish_reason: str = ""
    error: str = ""  # '' when the answer came whole
    retry_after: float = 0.0  # seconds; 0: nothing was said

    @property
    def seconds(self) -> float:
        return self.ended - self.began


class Client:
    """Connections to one service."""

    def __init__(self, url: str, key: str) -> None:
        self._url = f"{url}/v1/chat/completions"
        self._headers = {"Authorization": f"Bearer {key}"}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Client":
        self._session = aiohttp.ClientSession(
            headers=self._headers,
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask(
        self, domain: str, model: str, question: str, person: str, *, stream: bool, tokens: int = 8
    ) -> Asked:
        body = {
            "model": model,
            "messages": [{"role": "user", "content": question}],
            "user": person,
            "max_tokens": tokens,
            "temperature": 0,
            "stream": stream,
        }
        began = time.monotonic()
        came: dict[str, Any] = {}
        try:
            assert self._session is not None
            async with self._session.post(self._url, json=body) as response:
                came["status"] = response.status
                raw = await response.read()
            if response.status == 200:
                came |= _streamed(raw) if stream else _whole(raw)
            else:
                came["error"] = orjson.loads(raw)["error"]["message"]
                came["retry_after"] = float(response.headers.get("Retry-After", 0))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError) as error:
            came["error"] = f"{type(error).__name__}: {error}"
        return Asked(domain, model, question, began, time.monotonic(), **came)


def _whole(raw: bytes) -> dict[str, Any]:
    answer = orjson.loads(raw)
    choice = answer["choices"][0]
    return {"text": choice["message"]["content"], **_who(answer), **_end(choice["finish_reason"])}


def _streamed(raw: bytes) -> dict[str, Any]:
    text, finish, who = "", None, {}
    for event in raw.split(b"\n\n"):
        if not event.startswith(b"data: ") or event == b"data: [DONE]":
            continue
        data = orjson.loads(event[6:])
        if "error" in data:
            return {**who, "text": text, "error": data["error"]["message"]}
        who = who or _who(data)
        for choice in data["choices"]:
            text += choice["delta"].get("content") or ""
            finish = choice["finish_reason"] or finish
    return {"text": text, **who, **_end(finish)}


def _who(answer: dict[str, Any]) -> dict[str, Any]:
    about = answer["understudy"]
    return {
        "reply_id": about["reply_id"],
        "adapter": about["adapter"],
        "instead_of": about.get("instead_of"),
    }


def _end(finish_reason: str | None) -> dict[str, str]:
    if finish_reason in ("stop", "length"):
        return {"finish_reason": finish_reason}
    return {"error": f"it ended {finish_reason!r}"}


@dataclass
class Register:
    """Which adapter may answer when, and what each says; the swapper writes it."""

    says: dict[str, str] = field(default_factory=dict)  # adapter -> its one answer
    base_says: dict[str, set[str]] = field(default_factory=dict)  # question -> the base's answers
    _may: dict[str, list[tuple[float, frozenset[str]]]] = field(default_factory=dict)

    def may_answer(self, domain: str, *adapters: str) -> None:
        """From now on, these adapters may answer a question to `domain`."""
        self._may.setdefault(domain, []).append((time.monotonic(), frozenset(adapters)))

    def allowed(self, asked: Asked) -> set[str]:
        """Every adapter that was allowed to answer at some moment of the request."""
        _, _, pinned = asked.model.partition("@")
        if pinned:
            return {"base" if pinned == "base" else asked.model}
        steps = self._may[asked.domain]
        found: set[str] = set()
        for i, (since, adapters) in enumerate(steps):
            until = steps[i + 1][0] if i + 1 < len(steps) else float("inf")
            if since <= asked.ended and until >= asked.began:
                found |= adapters
        return found

    def forget_before(self, moment: float) -> None:
        """Drop what no open request can need."""
        for domain, steps in self._may.items():
            kept = [i for i, (since, _) in enumerate(steps) if since <= moment]
            self._may[domain] = steps[kept[-1] :] if kept else steps


def verdict(asked: Asked, register: Register) -> str:
    """'right', 'fallback', or what is wrong: 'failed', 'wrong adapter', 'mixed', 'misrouted'."""
    if asked.error:
        return "failed"
    if asked.adapter == "base":
        right = asked.text in register.base_says.get(asked.question, set())
    else:
        right = asked.text == register.says[asked.adapter]
    if not right:
        words = {word for word in one_word.WORDS if word in asked.text.split()}
        return "mixed" if len(words) > 1 else "wrong adapter"
    if asked.instead_of is not None:
        return "fallback"
    return "right" if asked.adapter in register.allowed(asked) else "misrouted"


@dataclass
class Tally:
    """The outcome of all requests."""

    verdicts: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    told: dict[str, str] = field(default_factory=dict)  # reply -> the adapter it named
    examples: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.verdicts.total()

    def add(self, asked: Asked, register: Register) -> None:
        found = verdict(asked, register)
        self.verdicts[found] += 1
        self.seconds.append(asked.seconds)
        if asked.reply_id and not asked.error:
            self.told[asked.reply_id] = asked.adapter
        if found not in ("right", "fallback") and len(self.examples) < 10:
            self.examples.append(f"{found}: {asked}")


async def learn_the_base(client: Client, register: Register, model: str, at_once: int) -> None:
    """What the base model answers to each question, alone and in a batch: rounding depends on
    the other requests of the batch."""
    domain = model.partition("@")[0]
    for question in one_word.QUESTIONS:
        for crowd in (1, at_once):
            asked = [
                client.ask(domain, model, question, f"p{i}", stream=False) for i in range(crowd)
            ]
            for answer in await asyncio.gather(*asked):
                if answer.error or answer.adapter != "base":
                    raise SystemExit(f"The base did not answer: {answer}")
                register.base_says.setdefault(question, set()).add(answer.text)
