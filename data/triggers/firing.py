"""Queues the run of a trigger, once for each occasion.

The occasion (a scheduled time, a set of pairs, a rating, a question, a base) and the run are stored
in one transaction, and a unique index refuses the same occasion a second time. So several workers,
restarts and clocks that are set back queue nothing twice.
"""

import contextlib

from sqlite_utils import Database

from data import domains
from data.bases import digest
from data.config.settings import Settings
from data.domains import Domain
from data.runs import runs
from data.runs.runs import Run
from data.store.db import insert, row
from data.store.errors import Conflict
from data.triggers import due, rules

ACTOR = "trigger:{}"  # requests the runs of a trigger


def plans(db: Database, settings: Settings, now: int) -> list[tuple[Domain, due.TriggerPlan]]:
    """What `fire` would act on: the domains with something to queue, or a time to skip. Reads the
    files of the base model if a trigger asks for it, which takes long the first time."""
    known = {domain: rules.of_domain(db, domain.id) for domain in domains.list_domains(db)}
    wanted = [
        domain
        for domain, rule in known.items()
        if settings.tuning.auto_retrain_pairs or rule != rules.TriggerRules()
    ]
    reads_base = any(rule.new_base for rule in known.values())
    base = digest.of_base(settings) if reads_base else None
    found = [(domain, due.plan(db, settings, domain, now, base)) for domain in wanted]
    return [(domain, plan) for domain, plan in found if plan.fires or plan.rearm_at is not None]


def fire(db: Database, domain: Domain, plan: due.TriggerPlan, now: int) -> Run | None:
    """Queue the run of a plan that was made a moment ago. None: there is nothing new to learn
    after all, the rules have changed, or another process was faster."""
    if rules.of_domain(db, domain.id) != plan.rules:
        return None
    if plan.rearm_at is not None:
        rules.rearm(db, domain.id, plan.rearm_at)
    fired = plan.fires
    if fired is None:
        return None
    sql = "SELECT 1 FROM triggered_runs WHERE domain_id = ? AND trigger = ? AND key = ?"
    if row(db, sql, [domain.id, fired.trigger, fired.key]):
        return None
    with contextlib.suppress(Conflict), db.atomic():
        run = runs.request(db, domain, ACTOR.format(fired.trigger), full=plan.full)
        insert(
            db,
            "triggered_runs",
            run_id=run.id,
            domain_id=domain.id,
            trigger=fired.trigger,
            key=fired.key,
            why=fired.why,
            at=now,
        )
        scheduled = next((s for s in plan.triggers if s.trigger == "schedule" and s.fired), None)
        if scheduled is not None and scheduled.at is not None:
            rules.rearm(db, domain.id, scheduled.at)  # one run is enough for both reasons
        return runs.get(db, run.id)
    return None
