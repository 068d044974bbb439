"""How soon people see the start of an answer, once the engine has begun to write it.

    python benchmarks/slack_first_token.py

`understudy bot` runs over signed HTTP against a fake Slack and a fake vLLM that writes a piece of a
few letters every PAUSE seconds. The benchmark measures the time from the engine's first piece until
Slack has the first text of the message: first one question at a time, then AT_ONCE at the same
moment; with a Slack that answers at once, and with one whose calls take LATENCY seconds, half of
them on the way there.
"""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

import report
from slack_ack import everything

from tests.fake_slack import FakeSlack
from tests.serving.fake_vllm import FakeVllm, words

PAUSE = 0.05
LATENCY = 0.1
ONE_BY_ONE = 18
AT_ONCE = 15
PIECES = ("Inter", "nation", "ally, ", "it ", "de", "pends.")


class Timed(list[Any]):
    """An answer that notes when its first piece is taken for sending."""

    def __init__(self, events: list[Any], begun: dict[str, float], question: str) -> None:
        super().__init__(events)
        self._begun, self._question = begun, question

    def __iter__(self) -> Any:
        for event in super().__iter__():
            if self._is_text(event):
                self._begun.setdefault(self._question, time.monotonic())
            yield event

    @staticmethod
    def _is_text(event: Any) -> bool:
        choices = event.get("choices") if isinstance(event, dict) else None
        return bool(choices and choices[0]["delta"].get("content"))


async def measured(slack: FakeSlack, engine: FakeVllm, texts: list[str]) -> list[float]:
    """Milliseconds until the first text, for questions that are asked at the same moment."""
    begun: dict[str, float] = {}

    def say(body: dict[str, Any]) -> Any:
        return Timed(words(body["model"], *PIECES), begun, body["messages"][-1]["content"])

    engine.say, engine.pause_s = say, PAUSE
    asked = await asyncio.gather(*(slack.say("U1", "DU1", text) for text in texts))
    await asyncio.gather(*(slack.answer_to(question, seconds=60) for question in asked))
    took = []
    for question in asked:
        (first, *_) = [
            c
            for c in slack.calls
            if c.args.get("thread_ts") == question.ts
            and c.method in ("chat.startStream", "chat.postMessage")
        ]
        took.append((first.at - begun[question.text]) * 1000)
    return took


async def series(latency_s: float) -> tuple[list[float], list[float]]:
    with tempfile.TemporaryDirectory() as home:
        async with everything(Path(home)) as stage:
            stage.slack.api.latency_s = latency_s
            alone: list[float] = []
            for number in range(ONE_BY_ONE):
                alone += await measured(stage.slack, stage.engine, [f"Question {number}?"])
    with tempfile.TemporaryDirectory() as home:  # a minute of its own: Slack allows 20 streams
        async with everything(Path(home)) as stage:
            stage.slack.api.latency_s = latency_s
            asked = [f"Question {n}?" for n in range(AT_ONCE)]
            together = await measured(stage.slack, stage.engine, asked)
    return alone, together


async def main() -> None:
    lines: list[tuple[object, ...]] = []
    figures: dict[str, float] = {}
    for latency_s in (0.0, LATENCY):
        alone, together = await series(latency_s)
        for name, took in (("one by one", alone), (f"{AT_ONCE} at once", together)):
            lines.append(
                (name, latency_s * 1000, report.median(took), report.percentile(took, 0.99))
            )
        figures[f"alone_max_ms_at_{latency_s * 1000:.0f}"] = round(max(alone), 1)
        figures[f"together_max_ms_at_{latency_s * 1000:.0f}"] = round(max(together), 1)
    report.table(("questions", "a call to Slack, ms", "p50, ms", "p99, ms"), lines)
    report.finish(benchmark="slack_first_token", **figures)


if __name__ == "__main__":
    asyncio.run(main())
