"""The form with a group of unanswered questions. Pure functions."""

import re
from dataclasses import replace

from bot.answering.unanswered_groups import UnansweredGroup
from bot.slack.render import form_fields
from bot.slack.render.admin_forms import Origin
from bot.slack.render.blocks import Block, context, escape, one_line, section, shorten
from data.visible_text import visible

UNANSWERED = "unanswered"  # the form, and the prefix of its buttons' action ids
BUTTON = re.compile(rf"^{UNANSWERED}:")
QUESTION, ANSWER = "question", "answer"
LONGEST = 3_000  # characters of an input


def group_form(
    where: Origin, group: UnansweredGroup | None, domain: str, count: int, note: str = ""
) -> Block:
    """A group with its best draft as the answer to edit, or a note that none is left."""
    shown = [context(note)] if note else []
    if group is None:
        shown.append(section(f"*{escape(domain)}* has no unanswered questions."))
        return _modal(where, shown)
    people = "1 person" if group.people == 1 else f"{group.people} people"
    wanted = f", {group.want_person} would like a person to answer" if group.want_person else ""
    shown.append(context(f"*{escape(domain)}*: asked by {people}{wanted}; {count} open"))
    shown.append(section(f"*{one_line(group.question, 1_000)}*"))
    draft = group.draft.response if group.draft else ""
    shown += [
        _input(QUESTION, "Question", group.question),
        _input(ANSWER, "Answer (the nearest approved one is filled in)", draft),
        {
            "type": "actions",
            "elements": [
                form_fields.button(f"{UNANSWERED}:dismiss", "Dismiss", f"dismiss {group.id}"),
                form_fields.button(f"{UNANSWERED}:next", "Next", f"next {group.id}"),
            ],
        },
    ]
    return _modal(replace(where, command=group.id), shown, "Approve this answer")


def said(where: Origin, text: str) -> Block:
    """The form with nothing but a message."""
    return _modal(where, [section(text)])


def _input(block_id: str, label: str, initial: str) -> Block:
    element: Block = {"type": "plain_text_input", "action_id": "text", "multiline": True}
    element["max_length"] = LONGEST
    if initial:
        element["initial_value"] = shorten(visible(initial), LONGEST)
    label_text = form_fields.plain(label)
    return {"type": "input", "block_id": block_id, "label": label_text, "element": element}


def _modal(where: Origin, blocks: list[Block], submit: str = "") -> Block:
    title, metadata = "Unanswered questions", where.dump()
    view = form_fields.modal(UNANSWERED, title, blocks, metadata, submit, "Done")
    return view if submit else {k: v for k, v in view.items() if k != "submit"}
