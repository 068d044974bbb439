"""Several answers to one question (`n`).

The search and what it decides come once. If it decides that no engine writes the answer, there is
one answer, given several times. Otherwise each answer takes its own place in the queue and its own
slot, and may end as any answer does: interrupted, declined, or written by a fallback. The first
failure ends them all.

The first answer is recorded as usual. Of the others, only figures are, so that one question stands
in the store. None of them belongs to a comparison.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from typing import Any

from bot.answering.chat import Chat
from bot.answering.events import Delta, Ended, Event, Started
from bot.answering.prompt import Ask
from data.conversations.conversations import new_reply_id

QUEUED = 64  # events that wait for a slow reader; then the engines wait


@dataclass(frozen=True)
class Choice:
    """An event of one of several answers."""

    index: int
    event: Event


@dataclass(frozen=True)
class WholeAnswer:
    """An answer that has ended."""

    started: Started
    text: str
    ended: Ended


async def complete(chat: Chat, ask: Ask, count: int) -> list[WholeAnswer]:
    """All answers, when the last one has ended. Raises the errors of `Chat.answer`."""
    if count == 1:
        return [WholeAnswer(*await chat.complete(ask))]
    started: dict[int, Started] = {}
    texts: list[list[str]] = [[] for _ in range(count)]
    logprobs: list[list[dict[str, Any]]] = [[] for _ in range(count)]
    ended: dict[int, Ended] = {}
    async with contextlib.aclosing(stream(chat, ask, count)) as events:
        async for event in events:
            match event:
                case Choice(index, Started() as begun):
                    started[index] = begun
                case Choice(index, Delta() as delta):
                    texts[index].append(delta.text)
                    logprobs[index] += delta.logprobs
                case Choice(index, Ended() as last):
                    ended[index] = replace(last, logprobs=tuple(logprobs[index]))
    return [WholeAnswer(started[i], "".join(texts[i]), ended[i]) for i in range(count)]


async def stream(
    chat: Chat, ask: Ask, count: int
) -> AsyncGenerator[Started | Choice | Ended, None]:
    """The events of all answers as they come: one Started, then a Choice for each event, then one
    Ended with the tokens of all. Raises the errors of `Chat.answer`."""
    asks, copies, found = [ask], count, None
    if ask.task is None:
        found = await chat.ground(ask)
        if found.outcome is None:
            asks, copies = _asks(ask, count), 1
    queue: asyncio.Queue[Choice | Exception] = asyncio.Queue(QUEUED)

    async def read(index: int, one: Ask) -> None:
        try:
            async with contextlib.aclosing(chat.answer(one, found)) as events:
                async for event in events:
                    for copy in range(copies):
                        await queue.put(Choice(index + copy, event))
        except Exception as error:
            await queue.put(error)

    tasks = [asyncio.create_task(read(index, one)) for index, one in enumerate(asks)]
    try:
        begun, ended = False, dict[int, Ended]()
        while len(ended) < count:
            item = await queue.get()
            if isinstance(item, Exception):
                raise item
            if not begun and isinstance(item.event, Started):
                begun = True
                yield replace(item.event, reply_id=ask.reply_id)
            if isinstance(item.event, Ended):
                ended[item.index] = item.event
            yield item
        prompt_tokens = max(each.prompt_tokens for each in ended.values())
        completion_tokens = sum(each.completion_tokens for each in ended.values())
        yield Ended("stop", prompt_tokens, completion_tokens)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _asks(ask: Ask, count: int) -> list[Ask]:
    """The same question so many times. A seed would give the same answer each time, so it is
    raised by one for each, as vLLM does."""
    first = replace(ask, one_of_several=True)
    asks = [first]
    for number in range(1, count):
        sampling = dict(ask.sampling)
        if sampling.get("seed") is not None:
            sampling["seed"] = min(sampling["seed"] + number, 2**63 - 1)
        asks.append(replace(first, sampling=sampling, store=False, reply_id=new_reply_id()))
    return asks
