"""docs/slack.md and its pictures show what the bot really sends.

python -m tests.bot.slack.test_docs        # redraws them
"""

import inspect
import tempfile
from pathlib import Path

import pytest

from bot.commands import registry
from bot.slack.commands import argument_forms
from bot.slack.render import admin_forms, comparison_reports, loss_curve, reports, run_message
from tests.bot.slack import scenes
from tests.bot.slack.render.test_run_message import pixels
from tests.bot.slack.scenes import Scene

PICTURE = "slack/loss-curve.png"
DOCS = Path(__file__).parents[3] / "docs"
PARTS = {
    "help": "Output of commands",
    "menu": "Forms",
    "run-queued": "The run message",
    "promoted": "Results of commands",
    "digest": "Digest and Home tab",
}
ABOUT = """\
# Slack, for reviewers and admins

This page shows every message and form of `/understudy`, drawn from the blocks that the bot sends,
roughly as Slack shows them. `python -m tests.bot.slack.test_docs` redraws them, and a test fails if
they are out of date.

Only the person who gave a command sees its reply, with two exceptions. A retrain posts a run
message in the channel, and the buttons of that message reply in its thread. The bot checks a
person's role again when it runs a command. It runs each command exactly once, however often Slack
delivers it, and records changes with the person's id in the audit log (`understudy audit`). A
command without its arguments opens a form that asks for them.
"""


def page(found: list[Scene]) -> str:
    """The Markdown of docs/slack.md."""
    lines = [ABOUT, "## Commands", "", "| Role | `/understudy …` | What it does |"]
    lines += ["| --- | --- | --- |"]
    lines += [
        f"| {'everyone' if verb.role == 'member' else verb.role} | `{verb.usage}` "
        f"| {verb.explained.replace('|', '/')} |"
        for verb in registry.listed()
    ]
    for scene in found:
        if scene.name in PARTS:
            lines += ["", f"## {PARTS[scene.name]}"]
        lines += ["", f"**{scene.title}**" + (f", {scene.caption}" if scene.caption else ""), ""]
        lines += [f"![{scene.name}](slack/{scene.name}.svg)"]
        if scene.name == "run-done":
            lines += ["", f"![the loss curve]({PICTURE})"]
        for question in scene.confirmations:
            lines += ["", f"> Asks for confirmation: {question}"]
    return "\n".join(lines) + "\n"


def picture() -> bytes:
    """The loss curve below the run message."""
    png = loss_curve.loss_curve(scenes.CURVE)
    assert png is not None
    return png


def drawn() -> dict[str, str]:
    """The files by their paths in docs/."""
    with tempfile.TemporaryDirectory() as folder:
        found = scenes.scenes(Path(folder))
    files = {f"slack/{scene.name}.svg": scene.svg for scene in found}
    return {"slack.md": page(found), **files}


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    return drawn()


def test_the_page_and_its_pictures_are_up_to_date(files: dict[str, str]) -> None:
    there = {f"slack/{p.name}": p for p in (DOCS / "slack").glob("*")} | {
        "slack.md": DOCS / "slack.md"
    }
    assert pixels(there.pop(PICTURE).read_bytes()) == pixels(picture())
    assert set(there) == set(files)
    old = [name for name, text in files.items() if there[name].read_text("utf-8") != text]
    assert old == [], "redraw them: python -m tests.bot.slack.test_docs"


def test_every_message_and_form_is_shown() -> None:
    source = inspect.getsource(scenes)
    for module in (reports, comparison_reports, admin_forms, argument_forms, run_message):
        for name, made in inspect.getmembers(module, inspect.isfunction):
            shows = "Block" in str(inspect.signature(made).return_annotation)
            ours = made.__module__ == module.__name__ and not name.startswith("_")
            if ours and shows and name not in ("button", "confirm"):
                assert f"{module.__name__.split('.')[-1]}.{name}(" in source, name


if __name__ == "__main__":
    (DOCS / PICTURE).write_bytes(picture())
    for name, text in drawn().items():
        path = DOCS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
