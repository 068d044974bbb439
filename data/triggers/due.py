"""Which triggers of a domain have fired, what would be trained, and what holds it back.

Nothing here changes the store: it is the dry run, and `firing.py` acts on it.
"""

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from sqlite_utils import Database

from data.adapters import registry
from data.adapters.registry import Adapter
from data.bases import digest
from data.config.settings import Settings
from data.domains import Domain, created_at
from data.pairs import pairs
from data.runs import runs
from data.store.clock import iso
from data.store.db import row, value
from data.triggers import declined_topics, rating_change, rules, schedule
from data.triggers.rating_change import RatingChange
from data.triggers.rules import TriggerRules

TriggerName = Literal["base", "schedule", "pairs", "ratings", "topic"]
TRIGGERS: tuple[TriggerName, ...] = get_args(TriggerName)
HOUR_US = 3600 * 1_000_000
WEEK_US = 7 * 24 * HOUR_US


@dataclass(frozen=True)
class TriggerState:
    """One trigger that is set."""

    trigger: TriggerName
    fired: bool
    why: str  # a sentence: what has happened, or what is still missing
    key: str = ""  # of the occasion, which queues one run at most
    at: int | None = None  # of a schedule: the time that is due, or else the next one


@dataclass(frozen=True)
class TriggerPlan:
    """What the triggers of a domain would do now."""

    domain: str
    settings: dict[str, str]  # by name, those that are set
    triggers: tuple[TriggerState, ...]
    fires: TriggerState | None = None  # whose run would be queued now
    full: bool = False  # that run would start from the base model
    new_pairs: int = 0  # approved, and in no dataset of the live adapter or the newest run
    held_by: str = ""  # a sentence: why nothing is queued although a trigger has fired
    held_until: int | None = None
    rearm_at: int | None = None  # count the times of the schedule up to this one as done
    rules: TriggerRules = field(default=TriggerRules(), repr=False)

    @property
    def sentences(self) -> list[str]:
        """The plan in a few sentences, the same in every front end."""
        if not self.triggers:
            return [f"No trigger of {self.domain} is set: it retrains when somebody asks for it."]
        said = [f"{t.trigger}: {t.why}" for t in self.triggers]
        if self.held_by:
            return [*said, f"No run is queued now: {self.held_by}"]
        if self.fires is None:
            return [*said, "No run is queued now: no trigger has fired."]
        start = "from the base model on all" if self.full else "on the new"
        number = f" ({self.new_pairs} new)" if self.full else f" ({self.new_pairs})"
        return [*said, f"A run is queued now, {start} approved pairs{number}: {self.fires.why}"]


def as_json(found: TriggerPlan) -> dict[str, Any]:
    """The plan for programs: times are in microseconds since 1970."""
    return {
        "domain": found.domain,
        "settings": found.settings,
        "triggers": [asdict(state) for state in found.triggers],
        "new_pairs": found.new_pairs,
        "fires": found.fires.trigger if found.fires else None,
        "full": found.full,
        "held_by": found.held_by,
        "held_until": found.held_until,
        "sentences": found.sentences,
    }


def plan(
    db: Database, settings: Settings, domain: Domain, now: int, base: digest.Digest | None = None
) -> TriggerPlan:
    """What would happen at `now`. `base`: the digests of the present base model, if they are known;
    otherwise bases are told apart by name."""
    rule = rules.of_domain(db, domain.id)
    live = registry.live(db, domain.id)
    new = _new_pairs(db, domain, live)
    states = tuple(
        state
        for state in (
            _base(rule, live, settings, base or {}),
            _schedule(rule, now),
            _pairs(db, rule, domain, settings, new),
            _ratings(db, rule, domain, live),
            _topic(db, rule, domain, live, settings),
        )
        if state is not None
    )
    states = tuple(_unless_done(db, domain, state) for state in states)
    fired = [s for s in states if s.fired]
    shown = rules.shown(rule)
    if rule.new_pairs is None and settings.tuning.auto_retrain_pairs:
        shown["pairs"] = str(settings.tuning.auto_retrain_pairs)
    # A clock that was set back must not silence the schedule until it has caught up.
    rearm_at = now if rule.schedule and rule.armed_at > now else None
    found = TriggerPlan(domain.name, shown, states, new_pairs=new, rearm_at=rearm_at, rules=rule)
    if not fired:
        return found
    may_learn = [s for s in fired if new or s.trigger == "base"]
    if not may_learn:
        missed = next((s.at for s in fired if s.trigger == "schedule"), rearm_at)
        held = f"{domain.name} has no new approved pairs to learn from."
        return replace(found, held_by=held, rearm_at=missed)
    held_by, until = _held(db, rule, domain, now)
    first = may_learn[0]
    full = first.trigger == "base" or live is None
    if held_by:
        return replace(found, held_by=held_by, held_until=until)
    return replace(found, fires=first, full=full)


def _new_pairs(db: Database, domain: Domain, live: Adapter | None) -> int:
    """Approved pairs that neither the live adapter nor the newest run has. So an adapter that
    nobody promoted is not trained again and again."""
    newest = runs.recent(db, domain, limit=1)
    known = [live.dataset_id if live else None, *(r.dataset_id for r in newest)]
    return min(pairs.new_since(db, domain, dataset_id) for dataset_id in known)


def _unless_done(db: Database, domain: Domain, state: TriggerState) -> TriggerState:
    """The trigger as it is, or as not fired if it queued a run on the same occasion before."""
    sql = "SELECT run_id FROM triggered_runs WHERE domain_id = ? AND trigger = ? AND key = ?"
    before = row(db, sql, [domain.id, state.trigger, state.key]) if state.fired else None
    if before is None:
        return state
    done = f"{state.why} Run {before['run_id']} was queued because of that."
    return replace(state, fired=False, why=done)


# -- the triggers --------------------------------------------------------------------------------


def _base(
    rule: TriggerRules, live: Adapter | None, settings: Settings, base: digest.Digest
) -> TriggerState | None:
    if not rule.new_base:
        return None
    other = digest.mismatch(live, settings, base) if live else ""
    if not other:
        return TriggerState("base", False, f"The base model is still {settings.base.model}.")
    key = f"{settings.base.model} {digest.joined(base)}"
    return TriggerState("base", True, other, key)


def _schedule(rule: TriggerRules, now: int) -> TriggerState | None:
    if not rule.schedule:
        return None
    last = schedule.last_until(rule.schedule, rule.time_zone, now)
    if last > rule.armed_at:
        return TriggerState("schedule", True, f"It was due at {iso(last)}.", str(last), last)
    following = schedule.next_after(rule.schedule, rule.time_zone, now)
    return TriggerState("schedule", False, f"It is next due at {iso(following)}.", at=following)


def _pairs(
    db: Database, rule: TriggerRules, domain: Domain, settings: Settings, new: int
) -> TriggerState | None:
    least = settings.tuning.auto_retrain_pairs if rule.new_pairs is None else rule.new_pairs
    if not least:
        return None
    sql = "SELECT coalesce(max(id), 0) FROM pairs WHERE domain_id = ? AND status = 'approved'"
    key = f"{value(db, sql, [domain.id])}:{new}"
    why = f"{new} of {least} new approved pairs are there."
    return TriggerState("pairs", new >= least, why, key)


def _ratings(
    db: Database, rule: TriggerRules, domain: Domain, live: Adapter | None
) -> TriggerState | None:
    if not rule.rating_fall:
        return None
    since = _since(db, domain, live, "ratings")
    found = rating_change.measure(rating_change.ratings_since(db, domain, since))
    return TriggerState("ratings", found.fell, rating_sentence(found), found.alarm)


def rating_sentence(found: RatingChange) -> str:
    """What the ratings say, as a sentence."""
    if found.fell:
        return (
            f"The mean rating has fallen: {found.after:.0%} of the newer ratings are good, "
            f"{found.before:.0%} of the older ones."
        )
    if not found.ratings:
        return "Nobody has rated yet."
    return f"{found.ratings} ratings show no fall of the mean rating beyond chance."


def _topic(
    db: Database, rule: TriggerRules, domain: Domain, live: Adapter | None, settings: Settings
) -> TriggerState | None:
    least = rule.topic_questions
    if not least:
        return None
    since = _since(db, domain, live, "topic")
    topic = declined_topics.largest(db, domain, since, settings.search, least)
    if topic.people < least:
        return TriggerState("topic", False, f"Fewer than {least} people asked about one topic.")
    if topic.waiting == topic.questions:
        return TriggerState(
            "topic",
            False,
            f"{topic.people} people asked about one topic in vain. Answer it first: `understudy "
            f"unanswered list {domain.name}`.",
        )
    why = f"{topic.people} people asked about a topic in vain, and it has been answered since."
    return TriggerState("topic", True, why, topic.reply_id)


def _since(db: Database, domain: Domain, live: Adapter | None, trigger: TriggerName) -> int:
    """From when on events count: since the live adapter is live, and this trigger last fired."""
    sql = "SELECT coalesce(max(at), 0) FROM triggered_runs WHERE domain_id = ? AND trigger = ?"
    began = live.live_at if live and live.live_at else created_at(db, domain.id)
    return max(began, int(value(db, sql, [domain.id, trigger])))


# -- what holds a run back -----------------------------------------------------------------------


def _held(db: Database, rule: TriggerRules, domain: Domain, now: int) -> tuple[str, int | None]:
    """Why no run may be queued now, as a sentence, and until when; ('', None) if one may."""
    newest = next(iter(runs.recent(db, domain, limit=1)), None)
    if newest is not None and newest.open:
        return f"run {newest.id} is {newest.state}.", None
    if newest is not None and newest.state == "failed" and newest.dataset_id is None:
        return (
            f"run {newest.id} ended before it began to train, and the next one would, too. Start "
            f"one yourself when the cause is gone: `understudy tune {domain.name}`."
        ), None
    quiet = schedule.quiet_until(rule.quiet_hours, rule.time_zone, now)
    if quiet is not None:
        return f"these are quiet hours, until {iso(quiet)}.", quiet
    ended = newest.finished_at if newest is not None else None
    cool = round(rule.cool_down_hours * HOUR_US)
    # A time in the future is from a clock that was set back: it must not hold runs back for long.
    if ended is not None and ended - cool <= now < ended + cool:
        return f"the cool-down after run {newest.id if newest else 0} lasts until " + (
            f"{iso(ended + cool)}."
        ), ended + cool
    return _over_budget(db, rule, domain, now)


TRIGGERED = """
SELECT count(*) AS runs, total(CASE WHEN r.started_at IS NOT NULL AND r.finished_at > r.started_at
    THEN r.finished_at - r.started_at ELSE 0 END) AS us, min(r.queued_at) AS first
FROM triggered_runs t JOIN runs r ON r.id = t.run_id
WHERE t.domain_id = ? AND abs(r.queued_at - ?) < ?
"""


def _over_budget(
    db: Database, rule: TriggerRules, domain: Domain, now: int
) -> tuple[str, int | None]:
    spent = row(db, TRIGGERED, [domain.id, now, WEEK_US])
    assert spent is not None, "an aggregate has a row"
    until = (spent["first"] or now) + WEEK_US
    if rule.weekly_runs and spent["runs"] >= rule.weekly_runs:
        return (
            f"the budget of {rule.weekly_runs} triggered runs within seven days is spent until "
            f"{iso(until)}."
        ), until
    hours = spent["us"] / HOUR_US
    if rule.weekly_hours and hours >= rule.weekly_hours:
        return (
            f"the budget of {rule.weekly_hours:g} hours within seven days is spent until "
            f"{iso(until)}."
        ), until
    return "", None
