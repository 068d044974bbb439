"""Forms that ask for the arguments of a command: after `/understudy promote`, or a button of the
menu. The choice becomes the command as it would have been typed, and goes the same way."""

from collections.abc import Sequence
from typing import Any

from sqlite_utils import Database

from bot.commands.commands import Incomplete
from bot.slack.render import admin_forms, comparison_reports, form_fields
from bot.slack.render.admin_forms import Origin
from bot.slack.render.blocks import Block, context, section, shorten
from data.adapters import registry
from data.adapters.registry import Adapter
from data.domains import Domain
from data.experiments import experiments, policies
from data.experiments.experiments import Experiment
from data.runs import runs
from data.store.errors import Conflict, NotFound

CHOOSE = "choose_command"
VERSION, A, B, SPLIT, PAIRWISE, PERSON, ROLE, RUN, POLICY = (
    "version", "a", "b", "split", "pairwise", "person", "role", "run", "policy"
)  # fmt: skip
MOST_OPTIONS = 100
TITLES: dict[str, tuple[str, str]] = {  # command -> title, label of the button
    "promote": ("Promote a version", "Continue"),
    "retire": ("Discard a version", "Discard"),
    "cancel": ("Cancel a run", "Cancel the run"),
    "ab start": ("Compare two versions", "Start"),
    "ab ramp": ("Increase B's share", "Increase"),
    "ab tester": ("Add a tester", "Add"),
    "policy set": ("Set the policy", "Set"),
    "forget": ("Delete someone's data", "Continue"),
    "roles add": ("Grant a role", "Grant"),
    "roles remove": ("Revoke a role", "Revoke"),
}


def form(db: Database, where: Origin, domain: Domain, command: Incomplete) -> Block:
    """The form that asks for the arguments of a command. Raises NotFound or Conflict if there is
    nothing to choose from."""
    title, submit = TITLES[command.name]
    shown = _inputs(db, domain, command.name)
    asked = Origin(
        where.channel, where.thread_ts, where.response_url, domain.name, command=command.name
    )
    return form_fields.modal(CHOOSE, title, shown, asked.dump(), submit, "Not now")


def _inputs(db: Database, domain: Domain, what: str) -> list[Block]:
    match what:
        case "promote":
            return [_select(VERSION, "Which version?", _names(_promotable(db, domain)))]
        case "retire":
            found = _of_state(db, domain, ("candidate",))
            return [
                _select(VERSION, "Which version?", _names(_some(found, domain, "can be discarded")))
            ]
        case "cancel":
            return [_select(RUN, "Which run?", _open_runs(db))]
        case "ab start":
            return _variants(db, domain)
        case "ab ramp":
            return _ramp(db, domain)
        case "ab tester":
            return _tester(db, domain)
        case "policy set":
            given = [(name, f"{name}: {said}") for name, said in comparison_reports.POLICY.items()]
            now = policies.policy_of(db, domain.id).policy
            return [_select(POLICY, "Which decisions should be automatic?", given, now)]
        case "forget":
            return [_person("Whose data should be deleted?")]
        case "roles add":
            given = [("reviewer", "reviewer: reviews pairs"), ("admin", "admin: can do everything")]
            return [_person("Who?"), _select(ROLE, "Which role?", given)]
        case "roles remove":
            only = "Only granted roles can be revoked here, not those from the settings or Slack."
            return [_person("Whose role?"), context(only)]
    raise LookupError(what)


def command(view: dict[str, Any]) -> str:
    """The command that a sent form stands for, as it would have been typed."""
    where = admin_forms.origin(view)
    what, domain = where.command, where.domain
    if what in ("promote", "retire"):
        return f"{what} {chosen(view, VERSION)} {domain}"
    if what == "cancel":
        return f"{what} {chosen(view, RUN)}"
    if what == "ab start":
        sides = f"{chosen(view, A)} {chosen(view, B)} {domain}"
        pairwise = " --pairwise" if form_fields.ticked(view, PAIRWISE) else ""
        return f"{what} {sides} --split={_percent(view)}{pairwise}"
    if what == "ab ramp":
        return f"{what} {_percent(view)} {domain}"
    if what == "ab tester":
        return f"{what} <@{chosen(view, PERSON)}> {chosen(view, B)} {domain}"
    if what == "policy set":
        return f"policy {chosen(view, POLICY)} {domain}"
    role = f" {chosen(view, ROLE)}" if what == "roles add" else ""
    return f"{what} <@{chosen(view, PERSON)}>{role}"


def _percent(view: dict[str, Any]) -> str:
    return "".join(form_fields.typed(view, SPLIT).split()) or "?"


def first_input(view: dict[str, Any]) -> str:
    """The input at which a form shows an error: the typed number, if it has one, else its first
    input."""
    asked = [str(b["block_id"]) for b in view["blocks"] if b["type"] == "input"]
    return SPLIT if SPLIT in asked else asked[0]


def chosen(view: dict[str, Any], block_id: str) -> str:
    """The selected value, or the id of the selected person."""
    found = view["state"]["values"].get(block_id, {}).get("chosen") or {}
    option = found.get("selected_option") or {}
    return str(found.get("selected_user") or option.get("value") or "")


# -- options --------------------------------------------------------------------------------------


def _of_state(db: Database, domain: Domain, states: Sequence[str]) -> list[Adapter]:
    """Candidates first, then the newest."""
    every = registry.list_adapters(db, domain)
    found = [a for a in every if a.state in states and not a.removal_asked_at]
    return sorted(found, key=lambda a: a.state != "candidate")


def _promotable(db: Database, domain: Domain) -> list[Adapter]:
    return _some(_of_state(db, domain, ("candidate", "retired")), domain, "can be promoted")


def _some(found: list[Adapter], domain: Domain, that: str) -> list[Adapter]:
    if not found:
        raise NotFound(
            f"{domain.name} has no version that {that}. `/understudy retrain` trains one, and "
            "`/understudy adapters` lists the existing ones."
        )
    return found


def _names(found: Sequence[Adapter]) -> list[tuple[str, str]]:
    return [(a.name, f"{a.name}, {a.state}") for a in found]


def _open_runs(db: Database) -> list[tuple[str, str]]:
    found = [run for run in runs.recent(db, None, limit=MOST_OPTIONS) if run.open]
    if not found:
        raise NotFound("No run is queued or running. `/understudy runs` lists the newest runs.")
    return [(str(run.id), f"run {run.id} of {run.domain}: {run.phase}") for run in found]


def _variants(db: Database, domain: Domain) -> list[Block]:
    running = experiments.running(db, domain.id)
    if running is not None:
        raise Conflict(
            f"{domain.name} is already comparing "
            f"{' and '.join(v.adapter for v in running.variants)}. `/understudy ab status` shows "
            "the results, and `/understudy ab stop` ends the comparison."
        )
    live = registry.live(db, domain.id)
    others = _of_state(db, domain, ("candidate", "retired"))
    if not others and live is None:
        _some(others, domain, "can be compared")
    served = [(live.name, f"{live.name}, live")] if live else []
    base = ("base", "the base model")
    return [
        _select(A, "A, the version most people get", [*served, base, *_names(others)]),
        _select(B, "B, the version to compare with A", [*_names(others), base, *served]),
        _number("20", "What percentage of people should get B?"),
        form_fields.checkbox(
            PAIRWISE, "Side by side", "Sometimes show both answers to choose from"
        ),
    ]


def _ramp(db: Database, domain: Domain) -> list[Block]:
    running = _running(db, domain)
    now = round(running.candidate_share * 100)
    more = min(99, max(now + 1, min(now * 2, (now + 100) // 2)))
    return [
        section(f"{now} % of the people get a candidate now. The share can only grow."),
        _number(str(more), "What percentage from now on?"),
    ]


def _tester(db: Database, domain: Domain) -> list[Block]:
    sides = [(v.label, f"{v.label}: {v.described}") for v in _running(db, domain).variants]
    about = "This person always gets this variant, and is not counted in the results."
    return [_person("Who?"), _select(B, "Which variant?", sides), context(about)]


def _running(db: Database, domain: Domain) -> Experiment:
    running = experiments.running(db, domain.id)
    if running is None:
        raise Conflict(
            f"No comparison is running in {domain.name}. `/understudy ab start` starts one."
        )
    return running


# -- inputs --------------------------------------------------------------------------------------


def _select(block_id: str, label: str, given: Sequence[tuple[str, str]], first: str = "") -> Block:
    options = [
        {"text": form_fields.plain(shorten(text, 75)), "value": value}
        for value, text in given[:MOST_OPTIONS]
    ]
    element: Block = {"type": "static_select", "action_id": "chosen", "options": options}
    initial = next((o for o in options if o["value"] == first), options[0])
    return _input(block_id, label, {**element, "initial_option": initial})


def _person(label: str) -> Block:
    element = {"type": "users_select", "action_id": "chosen"}
    return _input(PERSON, label, {**element, "placeholder": form_fields.plain("Choose a person")})


def _number(initial: str, label: str) -> Block:
    element: Block = {"type": "plain_text_input", "action_id": "text", "max_length": 3}
    return _input(SPLIT, label, {**element, "initial_value": initial})


def _input(block_id: str, label: str, element: Block) -> Block:
    asked: Block = {"type": "input", "block_id": block_id, "optional": False}
    return {**asked, "label": form_fields.plain(label), "element": element}
