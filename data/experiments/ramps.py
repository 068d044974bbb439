"""Ramps: a comparison's shares change in stages, and nobody is moved back.

A stage is a time of constant shares, so within it who is on which variant is a coin's choice and
nothing else's. The stage of a person is that of their first exposure; whoever has been answered
keeps their variant through every ramp.
"""

from collections.abc import Mapping

from sqlite_utils import Database

from data.experiments import experiments
from data.experiments.experiments import Experiment
from data.store import audit
from data.store.db import changed
from data.store.errors import Conflict, Invalid


def ramp(db: Database, experiment: Experiment, share: float, actor: str) -> Experiment:
    """Give `share` of the people (0..1) a candidate from now on, in the proportions they have.

    Raises Invalid for a share that is smaller than now or none, Conflict for a stopped one."""
    now = experiment.candidate_share
    if not 0 < share < 1:
        raise Invalid("The candidates' share must lie between 0 and 100%.")
    if share <= now + 1e-9:
        raise Invalid(
            f"{now:.0%} of the people get a candidate now. A share only grows, since nobody is "
            f"moved back; to end the comparison: `understudy ab stop {experiment.domain}`."
        )
    shares = {v.label: v.share / now * share for v in experiment.candidates}
    return change(db, experiment, {"A": 1 - share, **shares}, actor)


def change(
    db: Database, experiment: Experiment, shares: Mapping[str, float], actor: str
) -> Experiment:
    """Begin the next stage, with these shares by label. Raises Conflict when the experiment has
    been stopped, or another stage begun meanwhile."""
    begun = changed(
        db,
        "UPDATE experiments SET state = state WHERE id = ? AND state = 'running' "
        "AND (SELECT max(number) FROM stages WHERE experiment_id = experiments.id) = ?",
        [experiment.id, experiment.stage],
    )
    if not begun:
        raise Conflict(f"Experiment {experiment.id} was changed meanwhile. Look at it again.")
    for variant in experiment.variants:
        db.execute(
            "UPDATE variants SET share = ? WHERE id = ?", [shares[variant.label], variant.id]
        )
    number = experiment.stage + 1
    experiments.open_stage(db, experiment.id, number, shares, actor)
    told = {label: round(share, 4) for label, share in shares.items()}
    audit.record(db, actor, "ab ramp", f"experiment {experiment.id}", stage=number, shares=told)
    return experiments.get(db, experiment.id)
