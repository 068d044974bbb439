"""The operations of admins and reviewers, for commands, the command line and the HTTP API: review,
retrain, promote, roll back, compare, status.

Each function runs inside one transaction and checks everything before it changes anything. An
adapter that an engine refused to load can be neither promoted nor compared.
"""

from dataclasses import asdict, dataclass
from typing import Any

from sqlite_utils import Database

from bot.commands import retrain_plan
from bot.experiments import comparisons, stats
from data import domains
from data.adapters import placements, registry
from data.adapters.registry import Adapter
from data.domains import Domain
from data.experiments import experiments
from data.experiments.experiments import Experiment
from data.feedback import feedback
from data.monitoring import alerts
from data.monitoring.alerts import Alert
from data.pairs import fact_links, pairs, review_status
from data.runs import runs
from data.store import audit
from data.store.db import rows
from data.store.errors import Conflict


@dataclass(frozen=True)
class DomainStatus:
    domain: Domain
    live: Adapter | None  # None: none is live
    adapters: int
    pairs: dict[str, int]  # status -> how many
    new_pairs: int  # approved since the live adapter was trained
    run: runs.Run | None  # the newest
    experiment: Experiment | None  # the running one
    results: stats.Results | None
    feedback: dict[str, int]


@dataclass(frozen=True)
class ServiceStatus:
    domains: list[DomainStatus]
    replicas: list[placements.Replica]
    failed_placements: dict[str, str]  # adapter -> why an engine refused it
    alerts: list[Alert]  # what needs attention


def as_json(found: ServiceStatus) -> dict[str, Any]:
    """As JSON, without the salts that tell who is on which variant of a comparison."""
    shown = asdict(found)
    for domain, known in zip(shown["domains"], found.domains, strict=True):
        if known.experiment is not None:
            domain["experiment"] = experiments.public(known.experiment)
    return shown


def retrain(
    db: Database,
    domain: Domain,
    actor: str,
    full: bool = False,
    recipe: dict[str, Any] | None = None,
) -> runs.Run:
    """Queue a run of the method that the recipe names. Raises Invalid for a recipe that cannot be
    trained, runs.NothingNew, preference_sets.TooFewRated, or Conflict."""
    parent = registry.live(db, domain.id)
    retrain_plan.check(recipe or {}, full=full, parent=parent)
    recipe = retrain_plan.chosen(db, domain, None if full else parent, recipe or {})
    return runs.request(db, domain, actor, full=full, recipe=recipe)


def review(
    db: Database, pair_id: int, status: pairs.Status, actor: str, fact: str = ""
) -> pairs.Pair:
    """Decide on a pair. `fact`: it states this fact, and its answer counts for all phrasings of it.
    Raises NotFound, and Conflict for a pair that cannot be linked to a fact."""
    if fact:
        fact_links.link(db, pair_id, fact)
    reviewed = review_status.set_status(db, pair_id, status, actor)
    detail = {"fact": fact} if fact else {}
    audit.record(db, actor, "review", f"pair {pair_id}", status=status, **detail)
    return reviewed


class Unconfirmed(Conflict):
    """More would change than what was asked for; the message says what. Nothing was changed."""


NONE_LIVE = f"No adapter is live any more: people get {comparisons.WITHOUT_ADAPTER}."


def promotion_ends(db: Database, domain: Domain) -> str:
    """What a promotion ends, as a sentence to confirm; "" if it ends nothing."""
    found = experiments.running(db, domain.id)
    if found is None:
        return ""
    compared = " with ".join(v.described for v in found.variants)
    return (
        f"This ends comparison {found.id} of {domain.name}, {compared}, without a decision: "
        "everybody gets the same adapter."
    )


def roll_back_ends(db: Database, domain: Domain) -> str:
    """What a roll-back ends, and whether no adapter is live afterwards, as sentences to confirm; ""
    if neither. Raises Conflict if there is nothing to undo."""
    before = registry.before_last_promotion(db, domain)
    ends = promotion_ends(db, domain)
    if before is None:
        none = f"No adapter was live before, so people get {comparisons.WITHOUT_ADAPTER}."
        return f"{ends} {none}".strip()
    return ends


def promote(
    db: Database, domain: Domain, name: str, actor: str, *, confirmed: bool = False
) -> Adapter:
    """Make an adapter live, starting with the next message. This ends a running comparison.

    Raises NotFound, or Conflict when it is live already, rejected, or refused by the engine, and
    Unconfirmed if it would end something and is not `confirmed`."""
    adapter = registry.get(db, name, domain)
    refuse_promotion(db, domain, adapter)
    if not confirmed and (ends := promotion_ends(db, domain)):
        raise Unconfirmed(ends)
    promoted = registry.promote(db, adapter, actor)
    _end_comparison(db, domain, actor)
    return promoted


def refuse_promotion(db: Database, domain: Domain, adapter: Adapter) -> None:
    """Raises Conflict for an adapter that cannot be made live now."""
    if adapter.domain_id != domain.id:
        raise Conflict(f"{adapter.name} is an adapter of {adapter.domain}, not of {domain.name}.")
    if adapter.state == "live":
        raise Conflict(f"{adapter.name} is already live.")
    registry.refuse_unsettled(adapter)
    registry.refuse_removed(adapter)
    comparisons.refuse_unservable(db, adapter)


def roll_back(
    db: Database, domain: Domain, actor: str, *, confirmed: bool = False
) -> Adapter | None:
    """Undo the last promotion; returns the adapter that answers now, None if none is live. This
    ends a running comparison. Raises Conflict if there is nothing to undo, and Unconfirmed if it
    would end something or leave no adapter live and is not `confirmed`."""
    if not confirmed and (ends := roll_back_ends(db, domain)):
        raise Unconfirmed(ends)
    before = registry.roll_back(db, domain, actor)
    _end_comparison(db, domain, actor)
    return before


def start_comparison(
    db: Database,
    domain: Domain,
    a: str,
    b: str,
    actor: str,
    share: float = 0.5,
    pairwise: float = 0.0,
) -> Experiment:
    """Compare `a` (the control) with `b`, which `share` of the people get. A share `pairwise` of
    the questions gets both answers, and the person chooses."""
    plan = comparisons.ExperimentPlan(share=share, pairwise=pairwise)
    return comparisons.begin(db, domain, [a, b], actor, plan)


def stop_comparison(db: Database, domain: Domain, actor: str) -> Experiment:
    """End the running comparison. Raises Conflict when none is running."""
    return comparisons.stop(db, domain, actor)


def status(db: Database) -> ServiceStatus:
    """The state of everything."""
    return ServiceStatus(
        domains=[domain_status(db, domain) for domain in domains.list_domains(db)],
        replicas=placements.replicas(db),
        failed_placements=failed_placements(db),
        alerts=alerts.alerts(db),
    )


def domain_status(db: Database, domain: Domain) -> DomainStatus:
    """The state of one domain."""
    live = registry.live(db, domain.id)
    newest = runs.recent(db, domain, limit=1)
    experiment = experiments.running(db, domain.id)
    return DomainStatus(
        domain=domain,
        live=live,
        adapters=len(registry.list_adapters(db, domain)),
        pairs=pairs.counts(db, domain),
        new_pairs=pairs.new_since(db, domain, live.dataset_id if live else None),
        run=newest[0] if newest else None,
        experiment=experiment,
        results=stats.compute_results(db, experiment) if experiment else None,
        feedback=feedback.counts(db, domain.id),
    )


def failed_placements(db: Database) -> dict[str, str]:
    """Why an engine refuses an adapter, by the name of the adapter."""
    found = rows(
        db,
        "SELECT d.name || '@' || a.version AS name, p.error FROM placements p "
        "JOIN adapters a ON a.id = p.adapter_id JOIN domains d ON d.id = a.domain_id "
        "WHERE p.state = 'failed'",
    )
    return {r["name"]: r["error"] for r in found}


def _end_comparison(db: Database, domain: Domain, actor: str) -> None:
    current = experiments.running(db, domain.id)
    if current is not None:
        experiments.stop(db, current, actor)
