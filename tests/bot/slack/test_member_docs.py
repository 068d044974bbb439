"""docs/slack-members.md and its pictures show what members really see.

python -m tests.bot.slack.test_member_docs        # redraws them
"""

import inspect
from pathlib import Path

import pytest

from bot.slack.handlers import home, preference_buttons, privacy, teach
from bot.slack.render import feedback_forms
from tests.bot.slack import member_scenes

DOCS = Path(__file__).parents[3] / "docs"
FOLDER, PAGE = "slack-members", "slack-members.md"
PARTS = {
    "answer": "Answers",
    "empty-mention": "Messages that only the person who asked sees",
    "down": "Feedback on an answer",
    "teach": "Teaching",
    "home": "The Home tab and personal data",
}
ABOUT = """\
# Slack, for members

This page shows every message and form that members see, drawn from the blocks that the bot sends,
roughly as Slack shows them. [slack.md](slack.md) shows those for reviewers and admins. `python -m
tests.bot.slack.test_member_docs` redraws them, and a test fails if they are out of date.

Write to the bot, mention it, or type `/understudy ask …` for an answer that only you see. In a
thread where the bot takes part, you do not need to mention it, and it remembers the earlier
messages of the thread. At the start of a direct message, it suggests questions about its topic. An
answer is shown while it is written, and Slack's stop button ends it. A 👍 or 👎 emoji counts like a
button, and your last rating replaces the earlier one.
"""


def drawn() -> dict[str, str]:
    """The files by their paths in docs/."""
    lines, files = [ABOUT.rstrip()], {}
    for scene in member_scenes.scenes():
        if scene.name in PARTS:
            lines += ["", f"## {PARTS[scene.name]}"]
        lines += ["", f"**{scene.title}**" + (f", {scene.caption}" if scene.caption else ""), ""]
        lines += [f"![{scene.name}]({FOLDER}/{scene.name}.svg)"]
        files[f"{FOLDER}/{scene.name}.svg"] = scene.svg
    return {PAGE: "\n".join(lines) + "\n", **files}


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    return drawn()


def test_the_page_and_its_pictures_are_up_to_date(files: dict[str, str]) -> None:
    there = {f"{FOLDER}/{p.name}" for p in (DOCS / FOLDER).glob("*")} | {PAGE}
    assert there == set(files)
    old = [name for name, text in files.items() if (DOCS / name).read_text("utf-8") != text]
    assert old == [], "redraw them: python -m tests.bot.slack.test_member_docs"


def test_every_message_and_form_is_shown() -> None:
    source = inspect.getsource(member_scenes)
    for module in (preference_buttons, feedback_forms, home, privacy, teach):
        for name, made in inspect.getmembers(module, inspect.isfunction):
            shows = "Block" in str(inspect.signature(made).return_annotation)
            if shows and made.__module__ == module.__name__ and not name.startswith("_"):
                assert f"{module.__name__.split('.')[-1]}.{name}(" in source, name


if __name__ == "__main__":
    for name, text in drawn().items():
        path = DOCS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
