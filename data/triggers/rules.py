"""The triggers of a domain and their limits: reading, setting and describing them.

Each setting has a name, the same on the command line, in Slack and over HTTP, and is set from text:
`schedule` to `0 3 * * 1`, `pairs` to `20`; `off` removes it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlite_utils import Database

from data.domains import Domain
from data.store import audit
from data.store.clock import now_us
from data.store.db import row
from data.store.errors import Invalid
from data.triggers import schedule

FollowUp = Literal["ask", "compare", "promote"]
FOLLOW_UPS: tuple[FollowUp, ...] = get_args(FollowUp)
MOST_HOURS = 24.0 * 365
MOST_COUNT = 1_000_000


@dataclass(frozen=True)
class TriggerRules:
    """When a domain retrains by itself. Times are in hours."""

    schedule: str = ""  # cron; '': none
    time_zone: str = "UTC"  # of the schedule and of quiet hours
    new_pairs: int | None = None  # this many approved since; 0: off, None: `auto_retrain_pairs`
    rating_fall: bool = False  # the mean rating of the live adapter's answers has fallen
    topic_questions: int = 0  # this many people asked about a topic in vain; 0: off
    new_base: bool = False  # the live adapter was trained on another base model
    quiet_hours: str = ""  # no run is queued then: 08:00-18:00
    cool_down_hours: float = 0.0  # at least this long after the end of a run
    weekly_runs: int = 0  # at most this many triggered runs within seven days; 0: no limit
    weekly_hours: float = 0.0  # a run is queued only below this; 0: no limit
    follow_up: FollowUp = "ask"  # what becomes of an adapter that passed the gate
    armed_at: int = 0  # later times of the schedule are due


@dataclass(frozen=True)
class TriggerSetting:
    """One setting as people name it."""

    name: str
    field: str  # of TriggerRules
    help: str
    read: Callable[[str], Any]  # raises Invalid
    off: Any  # the value of `off`


def _count(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or int(text[:9]) > MOST_COUNT or len(text) > 9:
        raise Invalid(f"{text[:40]!r} is not a number of 0 or more. `off` removes it.")
    return int(text)


def _hours(text: str) -> float:
    try:
        hours = float(text.removesuffix("h"))
    except ValueError:
        hours = -1.0
    if not 0 <= hours <= MOST_HOURS:
        raise Invalid(f"{text[:40]!r} is not a number of hours, such as 24. `off` removes it.")
    return hours


def _switch(text: str) -> bool:
    if text not in ("on", "off"):
        raise Invalid(f"{text[:40]!r} is neither `on` nor `off`.")
    return text == "on"


def _cron(text: str) -> str:
    schedule.check_cron(text)
    return " ".join(text.split())


def _zone(text: str) -> str:
    return schedule.zone(text).key


def _quiet(text: str) -> str:
    begin, end = schedule.quiet_minutes(text)
    return f"{begin // 60:02}:{begin % 60:02}-{end // 60:02}:{end % 60:02}"


def _follow_up(text: str) -> str:
    if text not in FOLLOW_UPS:
        raise Invalid(f"{text[:40]!r} is none of {', '.join(FOLLOW_UPS)}.")
    return text


SETTINGS: tuple[TriggerSetting, ...] = (
    TriggerSetting("schedule", "schedule", "a cron expression, such as `0 3 * * 1`", _cron, ""),
    TriggerSetting("pairs", "new_pairs", "retrain after this many approved pairs", _count, 0),
    TriggerSetting("ratings", "rating_fall", "`on`: retrain when ratings fall", _switch, False),
    TriggerSetting(
        "topic", "topic_questions", "retrain when so many people asked about one topic in vain",
        _count, 0,
    ),
    TriggerSetting("base", "new_base", "`on`: retrain on a new base model", _switch, False),
    TriggerSetting("time-zone", "time_zone", "of the schedule and the quiet hours", _zone, "UTC"),
    TriggerSetting("quiet-hours", "quiet_hours", "queue nothing then: `08:00-18:00`", _quiet, ""),
    TriggerSetting("cool-down", "cool_down_hours", "hours after a run", _hours, 0.0),
    TriggerSetting("weekly-runs", "weekly_runs", "triggered runs in seven days", _count, 0),
    TriggerSetting("weekly-hours", "weekly_hours", "hours of training in seven days", _hours, 0.0),
    TriggerSetting(
        "then", "follow_up",
        "what becomes of an adapter that passed the gate: `ask`, `compare` or `promote`",
        _follow_up, "ask",
    ),
)  # fmt: skip
NAMES: tuple[str, ...] = tuple(setting.name for setting in SETTINGS)
COLUMNS = (
    "schedule, time_zone, new_pairs, rating_fall, topic_questions, new_base, quiet_hours, "
    "cool_down_hours, weekly_runs, weekly_hours, follow_up, armed_at"
)


def of_domain(db: Database, domain_id: int) -> TriggerRules:
    """The rules of a domain; what was never set has its default."""
    found = row(db, f"SELECT {COLUMNS} FROM trigger_rules WHERE domain_id = ?", [domain_id])
    if found is None:
        return TriggerRules()
    switches = {name: bool(found[name]) for name in ("rating_fall", "new_base")}
    return TriggerRules(**found | switches)


def change(db: Database, domain: Domain, given: dict[str, str], actor: str) -> TriggerRules:
    """Change settings, given by name as text. Raises Invalid, and changes nothing then."""
    by_name = {setting.name: setting for setting in SETTINGS}
    if unknown := [name for name in given if name not in by_name]:
        raise Invalid(f"There is no setting {unknown[0][:40]!r}; there are: {', '.join(NAMES)}.")
    changes = {
        by_name[name].field: _value(by_name[name], text.strip()) for name, text in given.items()
    }
    now = now_us()
    db.execute(
        "INSERT OR IGNORE INTO trigger_rules (domain_id, armed_at) VALUES (?, ?)", [domain.id, now]
    )
    if {"schedule", "time_zone"} & set(changes):
        changes["armed_at"] = now  # times before now are not made up for
    for field, value in changes.items():
        db.execute(f"UPDATE trigger_rules SET {field} = ? WHERE domain_id = ?", [value, domain.id])
    audit.record(db, actor, "triggers set", domain.name, **given)
    return of_domain(db, domain.id)


def rearm(db: Database, domain_id: int, at: int) -> None:
    """Count the times of the schedule up to `at` as done."""
    db.execute("UPDATE trigger_rules SET armed_at = ? WHERE domain_id = ?", [at, domain_id])


def _value(setting: TriggerSetting, text: str) -> Any:
    value = setting.off if text.lower() == "off" else setting.read(text)
    return int(value) if isinstance(value, bool) else value


def shown(rules: TriggerRules) -> dict[str, str]:
    """The settings by name, as text that `change` reads; without those that are off."""
    texts = {}
    for setting in SETTINGS:
        value = getattr(rules, setting.field)
        if value is None or (value == setting.off and setting.name != "then"):
            continue
        texts[setting.name] = (
            "on" if value is True else f"{value:g}" if isinstance(value, float) else str(value)
        )
    return texts
