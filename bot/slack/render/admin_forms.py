"""Forms for admins and reviewers: the menu, confirmations and pair review. All are pure functions.

A form keeps the state that its submission needs in `private_metadata`."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from bot.slack.render import form_fields, long_text
from bot.slack.render.blocks import Block, context, escape, mention, section, shorten
from data.domains import Domain
from data.pairs.pairs import Pair
from data.people.roles import Role, at_least
from data.visible_text import visible

MENU, CONFIRM, EDIT, REJECT = "menu", "confirm_command", "review_edit", "review_reject"
COMMAND = "command"  # prefix of the action ids of buttons whose value is a command
DECIDE = "review"  # prefix of the action ids of buttons that decide on a pair
CHOOSE_DOMAIN = "menu_domain"
QUESTION, PROMPT, RESPONSE, REASON = "question", "prompt", "response", "reason"
LONGEST_INPUT = 3_000  # characters that Slack accepts in one input
MOST_SHOWN = 8_800  # characters of a text shown in the review
MOST_LITERAL = 2_900  # characters of one section of it, after escaping
MOST_RESULT = 60  # blocks

Action = tuple[Role, str, str, str]
# group -> (role, label, command, question of the confirmation dialog); an empty question means that
# the command runs at once or opens a form
ACTIONS: dict[str, tuple[Action, ...]] = {
    "View": (
        ("member", "Status", "status", ""),
        ("member", "Versions", "adapters {domain}", ""),
        ("member", "Domains", "domains", ""),
        ("member", "Roles", "roles", ""),
        ("reviewer", "Runs", "runs {domain}", ""),
    ),
    "Training": (
        ("reviewer", "Review", "review {domain}", ""),
        ("reviewer", "Preview a retrain", "retrain {domain} --dry-run", ""),
        ("admin", "Retrain", "retrain {domain}", "Train {domain} on its new approved pairs now?"),
        (
            "admin",
            "Full retrain",
            "retrain {domain} --full",
            "Train {domain} on all its approved pairs, starting from the base model?",
        ),
        (
            "admin",
            "Train on ratings",
            "retrain {domain} --preferences",
            "Train {domain} on 👍 and 👎, starting from the live version?",
        ),
        ("admin", "Cancel a run", "cancel", ""),
    ),
    "A/B comparison": (
        ("reviewer", "Results", "ab status {domain}", ""),
        ("reviewer", "Decisions", "ab decisions {domain}", ""),
        ("reviewer", "Policy", "policy {domain}", ""),
        ("admin", "Start a comparison", "ab start {domain}", ""),
        ("admin", "Increase B's share", "ab ramp {domain}", ""),
        ("admin", "Add a tester", "ab tester", ""),
        (
            "admin",
            "Stop the comparison",
            "ab stop {domain}",
            "Everyone will get the live version of {domain}.",
        ),
        ("admin", "Set the policy", "policy set {domain}", ""),
    ),
    "Live version": (
        ("admin", "Promote", "promote {domain}", ""),
        ("admin", "Roll back", "rollback {domain}", "Undo the last promotion in {domain}?"),
        ("admin", "Discard", "retire {domain}", ""),
    ),
    "People": (
        ("admin", "Grant a role", "roles add", ""),
        ("admin", "Revoke a role", "roles remove", ""),
        ("admin", "Delete someone's data", "forget", ""),
    ),
}


@dataclass(frozen=True)
class Origin:
    """Where a form was opened from. The result of the form is reported there."""

    channel: str = ""
    thread_ts: str = ""
    response_url: str = ""
    domain: str = ""  # '': the channel's domain, or all domains
    command: str = ""  # the command to confirm
    pair_id: int = 0  # the pair under review

    def dump(self) -> str:
        return orjson.dumps(asdict(self)).decode()


def origin(view: dict[str, Any]) -> Origin:
    """The origin that one of our forms carries."""
    return Origin(**orjson.loads(view["private_metadata"]))


def menu(
    role: Role, where: Origin, domains: list[Domain], head: list[Block], result: list[Block]
) -> Block:
    """The form that `/understudy` on its own opens: the current state, the actions that this role
    may take, and below them the result of the last action."""
    shown: list[Block] = [*head]
    if len(domains) > 1:
        shown.append(_domain_choice(domains, where.domain))
    for group, actions in ACTIONS.items():
        if found := _buttons(role, actions, where.domain):
            shown += [context(f"*{group}*"), {"type": "actions", "elements": found}]
    shown.append(
        _text_input(
            QUESTION, "Ask a question", "", optional=True, hint="Only you will see the answer."
        )
    )
    if result:
        shown += [{"type": "divider"}, *result[:MOST_RESULT]]
    return _modal(MENU, "Understudy", shown, where, submit="Ask")


def _buttons(role: Role, actions: Sequence[Action], domain: str) -> list[Block]:
    """The buttons that the role may use."""
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
    """A button that runs a command."""
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
    select |= {"initial_option": first, "placeholder": form_fields.plain("Choose a domain")}
    return {"type": "actions", "elements": [select]}


def confirmation(where: Origin, title: str, said: list[Block], submit: str) -> Block:
    """A form that asks for confirmation before a command runs."""
    return _modal(CONFIRM, title, said, where, submit=submit, close="Not now")


def reviewed(
    where: Origin, pair: Pair | None, domain: str, left: int, note: str = "", masked: str = ""
) -> Block:
    """A pending pair with the possible decisions, or a note that none is left. `masked`: which
    words of it are masked, and where."""
    shown = [context(note)] if note else []
    if pair is None:
        others = " Other reviewers have the remaining pairs open." if left else ""
        shown.append(section(f"There is nothing left for you to review.{others}"))
        return _modal(DECIDE, "Review", shown, where, close="Done")
    by = f" by {mention(pair.author)}" if pair.author else ""
    about = f"pair {pair.id} in *{escape(domain)}*, {pair.source}{by}; {left} pending"
    shown.append(context(about))
    if pair.turns:
        said = "\n".join(f"_{t.role}_: {escape(t.content)}" for t in pair.turns)
        shown.append(section(f"*Earlier in the conversation*\n{shorten(said, 2_500)}"))
    shown += [*_long("Question", pair.prompt), *_long("Suggested answer", pair.response)]
    if masked:
        shown.append(context(f"{escape(masked)} Approve it like that, or ask for the words."))
    buttons = [
        _decision("approve", "Approve", pair.id, "primary"),
        _decision("edit", "Edit", pair.id),
        _decision("reject", "Reject", pair.id, "danger"),
        _decision("next", "Next", pair.id),
        *([_decision("unmask", "Show masked words", pair.id)] if masked else []),
    ]
    shown.append({"type": "actions", "elements": buttons})
    return _modal(DECIDE, "Review", shown, where, close="Done")


def with_older_answer(view: Block, pair_id: int, prompt: str, response: str, older: int) -> Block:
    """The review form of a pair with the answer that it perhaps replaces, that of the pair with id
    `older`, and the button that confirms it."""
    *shown, buttons = view["blocks"]
    approve, *others = buttons["elements"]
    newer = _decision("newer", "Approve as newer answer", pair_id)
    newer["value"] += f" {older}"
    about = f"Perhaps a newer answer to “{escape(shorten(prompt, 300))}”, which says: "
    text = context(about + escape(shorten(response, 1_000)))
    return {**view, "blocks": [*shown, text, {**buttons, "elements": [approve, newer, *others]}]}


def edited(where: Origin, pair: Pair) -> Block:
    """The form to edit a pair. A long text takes several inputs, see `long_text.py`."""
    prompt, response = visible(pair.prompt), visible(pair.response)
    shown = [*_pieces(PROMPT, "Question", prompt), *_pieces(RESPONSE, "Answer", response)]
    return _modal(EDIT, "Edit the pair", shown, where, submit="Approve", close="Back")


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
    """The edited text of a pair. `before` is the text that the form was opened with."""
    parts = long_text.cut(visible(before))
    if len(parts) == 1:
        return form_fields.typed(view, block_id)
    return long_text.joined(
        parts, [form_fields.typed(view, f"{block_id}{i}") for i in range(len(parts))]
    )


def rejected(where: Origin, pair: Pair) -> Block:
    """The form that asks why a pair is rejected."""
    hint = "The author sees this on their Home tab."
    shown = [
        section(f"*Suggested answer*\n{escape(shorten(pair.response, 600))}"),
        _text_input(REASON, "Reason", "", optional=True, hint=hint, most=1_000),
    ]
    return _modal(REJECT, "Reject the pair", shown, where, submit="Reject", close="Back")


def said(where: Origin, text: str) -> Block:
    """A review form that only shows a message."""
    return _modal(DECIDE, "Review", [section(text)], where, close="Done")


def notice(content: list[Block]) -> Block:
    """A form that only shows something, whatever it was opened for."""
    return _modal(DECIDE, "Understudy", content, Origin())


def confirm(title: str, text: str, yes: str, no: str = "Not now") -> Block:
    """The confirmation dialog of a button."""
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
    """A text in as many sections as it needs. A very long text is cut at `MOST_SHOWN`."""
    shown = [section(part) for part in _literal(f"*{label}*\n", text[:MOST_SHOWN])]
    if len(text) > MOST_SHOWN:
        rest = len(text) - MOST_SHOWN
        shown.append(context(f"… and {rest:,} more characters; *Edit* shows the full text"))
    return shown


def _literal(part: str, text: str) -> Iterator[str]:
    """The text, escaped for mrkdwn and cut into parts, the first of which begins with `part`.
    Escaping can make a text five times as long, so the cut comes after it."""
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
