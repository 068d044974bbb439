"""The forms of admins and reviewers, built by pure functions: the menu, a confirmation, and the
review of a pair. What a form has to know when it is sent is in its `private_metadata`."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from bot.slack.render import form_fields, long_text
from bot.slack.render.blocks import Block, context, escape, mention, section, shorten
from data.domains import Domain
from data.pairs.pairs import Pair
from data.people.roles import Role, at_least

MENU, CONFIRM, EDIT, REJECT = "menu", "confirm_command", "review_edit", "review_reject"
COMMAND = "command"  # action ids begin so where a button's value is a command
DECIDE = "review"  # … and so where it decides on a pair
CHOOSE_DOMAIN = "menu_domain"
QUESTION, PROMPT, RESPONSE, REASON = "question", "prompt", "response", "reason"
LONGEST_INPUT = 3_000  # characters that a form of Slack's takes
MOST_SHOWN = 8_800  # characters of a text in the review
MOST_LITERAL = 2_900  # … and of a section of it, as it is written for Slack
MOST_RESULT = 60  # blocks

Action = tuple[Role, str, str, str]
# group -> role, label, command, what is asked before it is done ('': it is done at once, or asks
# in a form)
ACTIONS: dict[str, tuple[Action, ...]] = {
    "Look": (
        ("member", "Status", "status", ""),
        ("member", "Versions", "adapters {domain}", ""),
        ("member", "Domains", "domains", ""),
        ("member", "Who may do what", "roles", ""),
        ("reviewer", "Runs", "runs {domain}", ""),
    ),
    "Learning": (
        ("reviewer", "Review", "review {domain}", ""),
        ("reviewer", "Plan a retrain", "retrain {domain} --dry-run", ""),
        ("admin", "Retrain", "retrain {domain}", "Learn the new approved pairs of {domain} now?"),
        (
            "admin",
            "Retrain in full",
            "retrain {domain} --full",
            "Learn all pairs of {domain}?",
        ),
        (
            "admin",
            "Learn from thumbs",
            "retrain {domain} --preferences",
            "Learn from the thumbs?",
        ),
        ("admin", "Stop a run", "cancel", ""),
    ),
    "Comparing": (
        ("reviewer", "Comparison", "ab status {domain}", ""),
        ("reviewer", "Decisions", "ab decisions {domain}", ""),
        ("reviewer", "Policy", "policy {domain}", ""),
        ("admin", "Compare", "ab start {domain}", ""),
        ("admin", "More get B", "ab ramp {domain}", ""),
        ("admin", "Show a side", "ab tester", ""),
        ("admin", "Stop the comparison", "ab stop {domain}", "End the comparison in {domain}?"),
        ("admin", "Who decides", "policy set {domain}", ""),
    ),
    "What answers": (
        ("admin", "Promote", "promote {domain}", ""),
        ("admin", "Roll back", "rollback {domain}", "Undo the last promotion in {domain}?"),
        ("admin", "Discard", "retire {domain}", ""),
    ),
    "People": (
        ("admin", "Give a role", "roles add", ""),
        ("admin", "Take a role back", "roles remove", ""),
        ("admin", "Forget somebody", "forget", ""),
    ),
}


@dataclass(frozen=True)
class Origin:
    """Where a form was opened from: what it does is told there."""

    channel: str = ""
    thread_ts: str = ""
    response_url: str = ""
    domain: str = ""  # '': the channel's own, or every domain
    command: str = ""  # that is confirmed
    pair_id: int = 0  # that is reviewed

    def dump(self) -> str:
        return orjson.dumps(asdict(self)).decode()


def origin(view: dict[str, Any]) -> Origin:
    """What a form of ours was given."""
    return Origin(**orjson.loads(view["private_metadata"]))


def menu(
    role: Role, where: Origin, domains: list[Domain], head: list[Block], result: list[Block]
) -> Block:
    """What `/understudy` alone opens: how things stand, what this role may do, and below that
    what was asked for last."""
    shown: list[Block] = [*head]
    if len(domains) > 1:
        shown.append(_domain_choice(domains, where.domain))
    for group, actions in ACTIONS.items():
        if found := _buttons(role, actions, where.domain):
            shown += [context(f"*{group}*"), {"type": "actions", "elements": found}]
    shown.append(
        _text_input(QUESTION, "Ask me something", "", optional=True, hint="Only you see the answer")
    )
    if result:
        shown += [{"type": "divider"}, *result[:MOST_RESULT]]
    return _modal(MENU, "Understudy", shown, where, submit="Ask")


def _buttons(role: Role, actions: Sequence[Action], domain: str) -> list[Block]:
    """Those that the role may press."""
    found = []
    for needed, label, command, asked in actions:
        if not at_least(role, needed):
            continue
        element = button(label, command.format(domain=domain))
        if asked:
            element["confirm"] = confirm(f"{label}?", asked.format(domain=domain), label)
        found.append(element)
    return found


def button(label: str, command: str, style: str = "") -> Block:
    """A button that gives a command."""
    made: Block = {
        "type": "button",
        "action_id": f"{COMMAND}:{command.split()[0]}:{label}",
        "text": form_fields.plain(label),
        "value": command,
    }
    return {**made, "style": style} if style else made


def _domain_choice(domains: list[Domain], chosen: str) -> Block:
    options = [
        {"text": form_fields.plain(shorten(f"{d.title} ({d.name})", 75)), "value": d.name}
        for d in domains[:100]
    ]
    first = next((o for o in options if o["value"] == chosen), options[0])
    select: Block = {"type": "static_select", "action_id": CHOOSE_DOMAIN, "options": options}
    select |= {"initial_option": first, "placeholder": form_fields.plain("Which domain?")}
    return {"type": "actions", "elements": [select]}


def confirmation(where: Origin, title: str, said: list[Block], submit: str) -> Block:
    """Asks before a command is carried out."""
    return _modal(CONFIRM, title, said, where, submit=submit, close="Not now")


def reviewed(where: Origin, pair: Pair | None, domain: str, left: int, note: str = "") -> Block:
    """A pending pair with what can be decided, or that nothing is left."""
    shown = [context(note)] if note else []
    if pair is None:
        others = " Others are looking at the rest." if left else ""
        shown.append(section(f"Nothing waits for you.{others}"))
        return _modal(DECIDE, "Review", shown, where, close="Done")
    by = f" by {mention(pair.author)}" if pair.author else ""
    shown.append(context(f"pair {pair.id} of *{escape(domain)}*, {pair.source}{by}; {left} wait"))
    if pair.turns:
        said = "\n".join(f"_{t.role}_: {escape(t.content)}" for t in pair.turns)
        shown.append(section(f"*Before that*\n{shorten(said, 2_500)}"))
    shown += [*_long("Asked", pair.prompt), *_long("Suggested answer", pair.response)]
    buttons = [
        _decision("approve", "Approve", pair.id, "primary"),
        _decision("edit", "Edit", pair.id),
        _decision("reject", "Reject", pair.id, "danger"),
        _decision("next", "Next", pair.id),
    ]
    shown.append({"type": "actions", "elements": buttons})
    return _modal(DECIDE, "Review", shown, where, close="Done")


def edited(where: Origin, pair: Pair) -> Block:
    """The pair as it can be written anew; a long text in several inputs, see `long_text.py`."""
    shown = [*_pieces(PROMPT, "Asked", pair.prompt), *_pieces(RESPONSE, "Answer", pair.response)]
    return _modal(EDIT, "Edit the pair", shown, where, submit="Approve this", close="Back")


def _pieces(block_id: str, label: str, text: str) -> list[Block]:
    parts = long_text.cut(text)
    if len(parts) == 1:
        return [_text_input(block_id, label, text)]
    return [
        _text_input(
            f"{block_id}{i}", f"{label}, part {i + 1} of {len(parts)}", part.text, optional=True
        )
        for i, part in enumerate(parts)
    ]


def written(view: dict[str, Any], block_id: str, before: str) -> str:
    """What a text of a pair, `before` when the form was opened, was written into."""
    parts = long_text.cut(before)
    if len(parts) == 1:
        return form_fields.typed(view, block_id)
    return long_text.joined(
        parts, [form_fields.typed(view, f"{block_id}{i}") for i in range(len(parts))]
    )


def rejected(where: Origin, pair: Pair) -> Block:
    """Why a pair is rejected."""
    hint = "Who suggested it reads this on their Home tab."
    shown = [
        section(f"*Suggested answer*\n{escape(shorten(pair.response, 600))}"),
        _text_input(REASON, "Why not?", "", optional=True, hint=hint, most=1_000),
    ]
    return _modal(REJECT, "Reject the pair", shown, where, submit="Reject", close="Back")


def said(where: Origin, text: str) -> Block:
    """A form of the review that only says something."""
    return _modal(DECIDE, "Review", [section(text)], where, close="Done")


def confirm(title: str, text: str, yes: str, no: str = "Not now") -> Block:
    """The dialog that asks before a button does something."""
    return {
        "title": form_fields.plain(shorten(title, 100)),
        "text": form_fields.plain(shorten(text, 300)),
        "confirm": form_fields.plain(shorten(yes, 30)),
        "deny": form_fields.plain(no),
    }


def _decision(verb: str, label: str, pair_id: int, style: str = "") -> Block:
    button: Block = {
        "type": "button",
        "action_id": f"{DECIDE}:{verb}",
        "text": form_fields.plain(label),
        "value": f"{verb} {pair_id}",
    }
    return {**button, "style": style} if style else button


def _long(label: str, text: str) -> list[Block]:
    """A text in as many sections as it takes; the rest of a very long one is left out."""
    shown = [section(part) for part in _literal(f"*{label}*\n", text[:MOST_SHOWN])]
    if len(text) > MOST_SHOWN:
        shown.append(context(f"… and {len(text) - MOST_SHOWN:,} characters more; *Edit* shows all"))
    return shown


def _literal(part: str, text: str) -> Iterator[str]:
    """A text as it is, behind `part`, as far as mrkdwn can show that; escaping may make it five
    times as long, so it is cut afterwards."""
    for char in map(escape, text):
        if len(part) + len(char) > MOST_LITERAL:
            yield part
            part = ""
        part += char
    yield part


def _modal(
    callback_id: str,
    title: str,
    blocks: list[Block],
    where: Origin,
    submit: str = "",
    close: str = "Close",
) -> Block:
    view: Block = {
        "type": "modal",
        "callback_id": callback_id,
        "private_metadata": where.dump(),
        "title": form_fields.plain(shorten(title, 24)),
        "close": form_fields.plain(close),
        "blocks": blocks,
    }
    return {**view, "submit": form_fields.plain(shorten(submit, 24))} if submit else view


def _text_input(
    block_id: str,
    label: str,
    initial: str,
    optional: bool = False,
    hint: str = "",
    most: int = LONGEST_INPUT,
) -> Block:
    element: Block = {"type": "plain_text_input", "action_id": "text", "multiline": True}
    element["max_length"] = most
    if initial:
        element["initial_value"] = initial
    block: Block = {"type": "input", "block_id": block_id, "optional": optional}
    block |= {"label": form_fields.plain(label), "element": element}
    return {**block, "hint": form_fields.plain(hint)} if hint else block
