"""Ramps: increases of the candidates' share, in stages, that move nobody back to the control.

A stage is a period of constant shares, so that within it the assignment is purely random. People
belong to the stage of their first exposure. They keep their variant through every later ramp.
"""

from collections.abc import Mapping

from sqlite_utils import Database

from data.experiments import experiments
from data.experiments.experiments import Experiment
from data.store import audit
from data.store.db import changed
from data.store.errors import Conflict, Invalid


def ramp(db: Database, experiment: Experiment, share: float, actor: str) -> Experiment:
    """Give `share` of the people (0..1) a candidate from now on. The candidates keep their
    proportions.

    Raises Invalid if the share does not grow or is not below 1, and Conflict if the experiment was
    stopped."""
    now = experiment.candidate_share
    if not 0 < share < 1:
        raise Invalid("The candidates' share must lie between 0 and 100%.")
    if share <= now + 1e-9:
        raise Invalid(
            f"{now:.0%} of the people get a candidate now. The share can only grow, because nobody "
            f"is moved back. To end the comparison: `understudy ab stop {experiment.domain}`."
        )
    shares = {v.label: v.share / now * share for v in experiment.candidates}
    return change(db, experiment, {"A": 1 - share, **shares}, actor)


def change(
    db: Database, experiment: Experiment, shares: Mapping[str, float], actor: str
) -> Experiment:
    """Begin the next stage, with these shares by label. Raises Conflict if the experiment was
    stopped or another stage began in the meantime."""
    begun = changed(
        db,
        "UPDATE experiments SET state = state WHERE id = ? AND state = 'running' "
        "AND (SELECT max(number) FROM stages WHERE experiment_id = experiments.id) = ?",
        [experiment.id, experiment.stage],
    )
    if not begun:
        raise Conflict(
            f"Experiment {experiment.id} was changed in the meantime. Check it and try again."
        )
    for variant in experiment.variants:
        db.execute(
            "UPDATE variants SET share = ? WHERE id = ?", [shares[variant.label], variant.id]
        )
    number = experiment.stage + 1
    experiments.open_stage(db, experiment.id, number, shares, actor)
    rounded = {label: round(share, 4) for label, share in shares.items()}
    audit.record(db, actor, "ab ramp", f"experiment {experiment.id}", stage=number, shares=rounded)
    return experiments.get(db, experiment.id)
