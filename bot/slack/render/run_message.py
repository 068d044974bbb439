"""The message that follows a tuning run: its progress, its loss, the gate's verdict, and buttons to
compare, promote or discard the result."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from bot.commands import scores
from bot.slack.render import admin_forms
from bot.slack.render.blocks import (
    SECTION,
    Block,
    context,
    duration,
    escape,
    mention,
    section,
    sentence,
    shorten,
)
from data.adapters.registry import Adapter
from data.runs import phases
from data.runs.chart_axes import HUGE, drawable, linear
from data.runs.phases import Phase, RunPhase
from data.runs.report import headline, repeats
from data.runs.runs import LossPoint, Run

PROMOTE, COMPARE, RETIRE = "command:promote", "command:ab", "command:retire"
SPARKS = "▁▂▃▄▅▆▇█"
SPARK_WIDTH = 24
MARK = {True: ":white_check_mark:", False: ":x:", None: ":heavy_minus_sign:"}


@dataclass(frozen=True)
class RunSnapshot:
    """A run as it is now, with its loss curve, its result and the live version of its domain."""

    run: Run
    curve: Sequence[LossPoint] = ()
    result: Adapter | None = None
    live: Adapter | None = None


def title(about: RunSnapshot) -> str:
    run = about.run
    if run.state == "done" and about.result is not None and about.result.state == "rejected":
        return f"Retraining {run.domain}: the result was rejected"
    return {
        "queued": f"Retraining {run.domain}: waiting for a worker",
        "running": f"Retraining {run.domain}",
        "done": f"Retraining {run.domain}: done",
        "failed": f"Retraining {run.domain}: failed",
        "cancelled": f"Retraining {run.domain}: cancelled",
    }[run.state]


def shown(about: RunSnapshot) -> list[Block]:
    """The message for the current state of the run."""
    run = about.run
    blocks = [section(f"*{escape(title(about))}*")]
    if run.open:
        blocks.append(section(_progress(run)))
    elif run.state == "done" and about.result is not None:
        blocks.append(section(_outcome(run, about.result)))
        blocks += _gate(about.result)
    elif run.error:
        blocks.append(section(sentence(run.error)))
    if losses := _losses(about.curve):
        blocks.append(section(losses))
    if run.state == "done" and about.result is not None:
        blocks += _buttons(about.result, about.live)
    stop = f"; `/understudy cancel {run.id}` stops it" if run.open else ""
    by = f"requested by {mention(run.requested_by)}"
    if run.why:
        by = (
            f"queued by the trigger {escape(run.requested_by.partition(':')[2])}: {escape(run.why)}"
        )
        by = by.removesuffix(".")
    blocks.append(context(f"run {run.id} {_how(run)}; {by}{stop}"))
    return blocks


def _how(run: Run) -> str:
    """The data of the run, and what it starts from."""
    if run.method == "dpo":
        return "on answers and better ones, starting from the live version"
    if run.learns == "preferences":
        return "on 👍 and 👎, starting from the live version"
    if run.kind == "full":
        return "on all approved pairs, starting from the base model"
    return "on new approved pairs, starting from the live version"


def progress_bar(run: Run, width: int = 20) -> str:
    """`▓▓▓▓▓░░░░░ 50 %`."""
    done = min(1.0, run.step / run.total_steps) if run.total_steps else 0.0
    filled = math.floor(done * width)
    return f"`{'▓' * filled}{'░' * (width - filled)}` {math.floor(done * 100)} %"


def sparkline(values: Sequence[float], width: int = SPARK_WIDTH) -> str:
    """The trend of the values, as in `█▆▄▃▂▁`. Each character is the mean of an equal share of
    them; values that are not finite are left out."""
    finite = [v for v in values if drawable(v, HUGE)]
    if not finite:
        return ""
    count = min(width, len(finite))
    edges = [round(i * len(finite) / count) for i in range(count + 1)]
    means = [math.fsum(finite[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, high = min(means), max(means)
    height = linear(low, high, 0, len(SPARKS) - 1)
    return "".join(SPARKS[round(height(mean))] for mean in means)


def _losses(curve: Sequence[LossPoint]) -> str:
    """`loss █▅▃▂▁ 3.21 → 0.45`, one line for training and one for validation."""
    lines = []
    for name, values in (
        ("loss", [p.loss for p in curve if p.loss is not None]),
        ("validation", [p.validation_loss for p in curve if p.validation_loss is not None]),
    ):
        if len(values) > 1:
            lines.append(f"{name} `{sparkline(values)}` {values[0]:.3f} → {values[-1]:.3f}")
    return "\n".join(lines)


def _progress(run: Run) -> str:
    if run.state == "queued":
        nothing_to_add = phases.parse(run.phase) == RunPhase(Phase.WAITING_FOR_WORKER)
        why = "" if nothing_to_add else f"{escape(run.phase)}\n"
        return f"{why}Training starts as soon as a worker is free."
    figures = [f"step {run.step} of {run.total_steps}"] if run.total_steps else []
    if run.loss is not None:
        figures.append(f"loss {run.loss:.3f}")
    if run.validation_loss is not None:
        figures.append(f"validation {run.validation_loss:.3f}")
    if run.eta_s is not None:
        figures.append(f"about {duration(run.eta_s)} left")
    bar = f"{progress_bar(run)}\n" if run.total_steps else ""
    stopping = " (stopping)" if run.cancel_requested else ""
    return f"{bar}{escape(run.phase)}{stopping}: {', '.join(figures) or 'just started'}"


def _outcome(run: Run, result: Adapter) -> str:
    took = ""
    if run.started_at and run.finished_at:
        took = f" in {duration((run.finished_at - run.started_at) / 1_000_000)}"
    lines = [f"*{result.name}* is ready{took}."]
    if result.state == "rejected":
        lines = [f"*{result.name}* was trained{took} and rejected: {sentence(result.state_reason)}"]
    if said := headline(result):
        lines.append(f"*{escape(said)}*")
    lines.append(f"{escape(scores.sentence(result))}.")
    if said := repeats(result):
        lines.append(said)
    return "\n".join(lines)


def _gate(result: Adapter) -> list[Block]:
    """The gate's verdict on the adapter, rule by rule."""
    gate = result.scores.get("gate") or {}
    lines = [f"{MARK[r['passed']]} {escape(r['sentence'])}" for r in gate.get("rules") or []]
    if not lines:
        return []
    verdict = "Passed the quality gate" if gate.get("passed") else "Failed the quality gate"
    if gate.get("passed") and not gate.get("measured", True):
        verdict = "Its quality was not measured"
    return [section(shorten("\n".join([f"*{verdict}*", *lines]), SECTION))]


def _buttons(result: Adapter, live: Adapter | None) -> list[Block]:
    """The buttons for a candidate. For any other state, a note that says what can be done."""
    if result.state == "live":
        return [context(f"{result.name} is live. `/understudy rollback` undoes this.")]
    if result.state == "retired":
        back = f"`/understudy promote {result.name}` brings it back"
        return [context(f"{result.name} is out of service. {back}.")]
    if result.state == "rejected":
        answering = live.name if live is not None else "the base model"
        accept = f"`understudy adapters accept {result.name} --reason TEXT`"
        return [
            context(
                f"{result.name} answers nobody; {answering} keeps answering. The usual fix is to "
                f"improve the pairs and retrain. To override the gate, run {accept} on the command "
                "line."
            )
        ]
    if result.state != "candidate":
        return []
    against = live.name if live is not None else "base"
    buttons = [
        {
            "type": "button",
            "action_id": COMPARE,
            "style": "primary",
            "text": _plain(f"Compare with {against}"),
            "value": f"ab start {against} {result.name}",
        },
        {
            "type": "button",
            "action_id": PROMOTE,
            "text": _plain(f"Promote {result.name}"),
            "value": f"promote {result.name}",
            "confirm": admin_forms.confirm(
                "Promote?",
                f"{result.name} will answer everyone from the next message on. "
                "`/understudy rollback` undoes this.",
                "Promote",
                "Not yet",
            ),
        },
        {
            "type": "button",
            "action_id": RETIRE,
            "style": "danger",
            "text": _plain("Discard"),
            "value": f"retire {result.name}",
            "confirm": admin_forms.confirm(
                "Discard?",
                f"The engines unload {result.name}. `/understudy promote {result.name}` brings it "
                "back until its files are removed.",
                "Discard",
            ),
        },
    ]
    return [{"type": "actions", "elements": buttons}]


def _plain(text: str) -> Block:
    return {"type": "plain_text", "text": shorten(text, 75)}
