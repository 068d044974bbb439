"""`/v1/experiments`: start, ramp, read and stop comparisons."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlite_utils import Database

from bot.api import auth
from bot.api.domain_field import DomainName, domain_of
from bot.experiments import comparisons, stats
from bot.experiments.comparisons import ExperimentPlan
from bot.experiments.explain import explain
from bot.service import Service
from data import domains
from data.domains import Domain
from data.experiments import decisions, experiments, ramps, testers
from data.experiments.counted_people import NOTES
from data.experiments.design import MAX_NOVELTY_DAYS, ExperimentDesign, guardrails
from data.experiments.experiments import LABELS, Experiment
from data.experiments.metrics import guardable
from data.feedback import uncounted
from data.people.keys import Key
from data.store.errors import Conflict

router = APIRouter(tags=["Comparisons"])
Id = Annotated[int, Path(ge=1, lt=2**63)]
Name = Annotated[str, Field(max_length=50)]
Share = Annotated[float, Field(gt=0, lt=1)]


class RequestModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class VariantRequest(RequestModel):
    adapter: Name = Field(description="`2`, `travel@2`, `live` or `base`.")
    system_prompt: Annotated[str, Field(max_length=32_000)] | None = Field(
        default=None, description="Default: the domain's own."
    )
    sampling: dict[str, int | float] = Field(
        default={}, description="Sampling parameters that differ from the settings."
    )
    answers: Literal["grounded", "ungrounded"] | None = Field(
        default=None,
        description="Whether answers rest on approved pairs, or come from the adapter alone. "
        "`live:ungrounded` as `adapter` says the same. Default: as the domain answers.",
    )


class StartExperimentRequest(RequestModel):
    """Two adapters as `a` and `b`, or two or more variants as `sides`; the first is the control."""

    domain: DomainName | None = Field(default=None, description="Default: the default domain.")
    a: Name | None = Field(
        default=None,
        description="The control: a version such as `2` or `travel@2`, `live` or `base`.",
    )
    b: Name | None = Field(default=None, description="The candidate, in the same form.")
    sides: Annotated[list[VariantRequest], Field(min_length=2, max_length=len(LABELS))] | None = (
        Field(default=None, description="Any number of variants, instead of `a` and `b`.")
    )
    share: Share | None = Field(
        default=None,
        description="The share of the people who get a candidate. Default: all variants get the "
        "same share.",
    )
    pairwise: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0,
        description="The share of questions that get two blinded answers to choose from.",
    )
    adaptive: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0,
        description="Adapt the shares to the results; each variant keeps at least this share of "
        "the people. `0`: fixed shares.",
    )
    fresh: bool = Field(
        default=False, description="Exclude the people who had a candidate in the last comparison."
    )
    minimum_effect: Share = Field(
        default=ExperimentDesign.minimum_effect,
        description="The smallest difference in the mean rating (0 to 1) that matters.",
    )
    expected_people: Annotated[int, Field(ge=10)] | None = Field(
        default=None,
        description="The number of people who will probably rate; the interval is narrow around "
        "it. Default: as many as rated in the last four weeks.",
    )
    novelty_days: Annotated[int, Field(ge=0, le=MAX_NOVELTY_DAYS)] = Field(
        default=ExperimentDesign.novelty_days,
        description="How long a variant is new to a person. A policy promotes a candidate only if "
        "later ratings confirm that it is better. `0`: later ratings need not.",
    )
    people: Literal["verified", "anyone"] = Field(
        default="verified",
        description="Whose ratings count. `anyone` is for a deployment that has no verified "
        "people; a key or an address then weighs at most 2%, and what everybody's ratings say is a "
        "suggestion: a policy acts only on those of verified people.",
    )
    guardrails: dict[str, float | None] = Field(
        default={},
        description="Bounds that replace the default ones, by metric ("
        f"{', '.join(f'`{name}`' for name in guardable())}). `null`: no bound.",
    )

    @model_validator(mode="after")
    def _names_its_variants(self) -> "StartExperimentRequest":
        two = self.a is not None and self.b is not None
        if two == (self.sides is not None):
            raise ValueError("name the variants with both 'a' and 'b', or with 'sides'")
        return self

    @property
    def variants(self) -> list[VariantRequest]:
        return self.sides or [VariantRequest(adapter=name) for name in (self.a, self.b) if name]

    def plan(self, db: Database, domain: Domain) -> ExperimentPlan:
        by_label = dict(zip(LABELS, self.variants, strict=False))
        prompts = {label: v.system_prompt for label, v in by_label.items()}
        return ExperimentPlan(
            share=self.share,
            prompts={label: text for label, text in prompts.items() if text is not None},
            sampling={label: v.sampling for label, v in by_label.items() if v.sampling},
            answers={label: v.answers for label, v in by_label.items() if v.answers},
            pairwise=self.pairwise,
            adaptive=self.adaptive,
            fresh=self.fresh,
            design=comparisons.design_for(
                db,
                domain,
                self.expected_people,
                minimum_effect=self.minimum_effect,
                novelty_days=self.novelty_days,
                guardrails=guardrails(self.guardrails),
                people=self.people,
            ),
        )


class RampRequest(RequestModel):
    share: Share = Field(description="The share of the people who get a candidate from now on.")


class TesterRequest(RequestModel):
    person: Annotated[str, Field(min_length=1, max_length=256)] = Field(
        description="Such as `slack:T1/U2` or `http:3/ann`."
    )
    variant: Annotated[str, Field(max_length=1)] = Field(description="Its label, such as `B`.")


@router.get(
    "/experiments",
    dependencies=[Depends(auth.reviewer)],
    response_description="A list of [experiment](#experiment) objects.",
    responses={404: {"description": "There is no such domain."}},
)
async def list_experiments(request: Request, domain: DomainName | None = None) -> dict[str, Any]:
    """List the comparisons of a domain, or of all domains."""
    service: Service = request.app.state.service

    def find(db: Database) -> list[dict[str, Any]]:
        only = domain_of(db, domain) if domain else None
        return [_as_json(e) for e in experiments.list_experiments(db, only)]

    return {"object": "list", "data": await service.store.read(find)}


@router.post(
    "/experiments",
    status_code=201,
    response_description="The [experiment](#experiment). With `people` as `anyone`, `note` says "
    "who decides.",
    responses={
        404: {"description": "There is no such domain or adapter."},
        409: {
            "description": "A comparison is running in the domain, or an adapter was rejected or "
            "cannot be served."
        },
    },
)
async def start(
    request: Request, given: StartExperimentRequest, key: Annotated[Key, Depends(auth.admin)]
) -> dict[str, Any]:
    """Start a comparison. Name two adapters as `a` and `b`, or any number of variants as `sides`.

    The first variant is the control."""
    service: Service = request.app.state.service

    def begin(db: Database) -> Experiment:
        domain, names = domain_of(db, given.domain), [v.adapter for v in given.variants]
        return comparisons.begin(db, domain, names, auth.person(key), given.plan(db, domain))

    begun = await service.store.submit(begin)
    note = NOTES.get(given.people)
    return _as_json(begun) | ({"note": note} if note else {})


@router.get(
    "/experiments/{experiment_id}",
    dependencies=[Depends(auth.reviewer)],
    response_description="The [experiment](#experiment), with `results`, and in `not_counted` the "
    "ratings that do not count, by reason.",
    responses={404: {"description": "There is no such comparison."}},
)
async def results(request: Request, experiment_id: Id) -> dict[str, Any]:
    """Show a comparison with its results so far."""
    service: Service = request.app.state.service

    def find(db: Database) -> dict[str, Any]:
        experiment = experiments.get(db, experiment_id)
        left_out = [asdict(u) for u in uncounted.uncounted(db, experiment)]
        results = asdict(stats.compute_results(db, experiment))
        return _as_json(experiment) | {"results": results, "not_counted": left_out}

    return await service.store.read(find)


@router.get(
    "/experiments/{experiment_id}/decisions",
    dependencies=[Depends(auth.reviewer)],
    response_description="A list of decisions, each with the numbers it was made from.",
    responses={404: {"description": "There is no such comparison."}},
)
async def list_decisions(request: Request, experiment_id: Id) -> dict[str, Any]:
    """List the decisions about a comparison, oldest first."""
    service: Service = request.app.state.service

    def find(db: Database) -> list[dict[str, Any]]:
        experiments.get(db, experiment_id)
        return [asdict(d) for d in decisions.list_decisions(db, experiment_id)]

    return {"object": "list", "data": await service.store.read(find)}


@router.get(
    "/decisions/{decision_id}",
    dependencies=[Depends(auth.reviewer)],
    response_description="The decision as stored and as recomputed. `differing` is empty if both "
    "agree.",
    responses={404: {"description": "There is no such decision."}},
)
async def explain_decision(request: Request, decision_id: Id) -> dict[str, Any]:
    """Recompute a decision from its stored numbers."""
    service: Service = request.app.state.service

    def find(db: Database) -> dict[str, Any]:
        return asdict(explain(decisions.get(db, decision_id)))

    return await service.store.read(find)


@router.post(
    "/experiments/{experiment_id}/ramp",
    response_description="The [experiment](#experiment).",
    responses={
        404: {"description": "There is no such comparison."},
        409: {"description": "The comparison was stopped or changed in the meantime."},
    },
)
async def ramp(
    request: Request,
    experiment_id: Id,
    given: RampRequest,
    key: Annotated[Key, Depends(auth.admin)],
) -> dict[str, Any]:
    """Raise the share of people who get a candidate.

    The share can only grow, and people who have had an answer stay on their variant."""
    service: Service = request.app.state.service

    def change(db: Database) -> Experiment:
        return ramps.ramp(db, _running(db, experiment_id), given.share, auth.person(key))

    return _as_json(await service.store.submit(change))


@router.post(
    "/experiments/{experiment_id}/testers",
    status_code=201,
    response_description="`testers`: each tester's variant.",
    responses={
        404: {"description": "There is no such comparison."},
        409: {"description": "The comparison was stopped."},
    },
)
async def put_tester(
    request: Request,
    experiment_id: Id,
    given: TesterRequest,
    key: Annotated[Key, Depends(auth.admin)],
) -> dict[str, Any]:
    """Put a person on one variant, without counting them in the results."""
    service: Service = request.app.state.service

    def put(db: Database) -> dict[str, Any]:
        experiment = _running(db, experiment_id)
        testers.set_variant(db, experiment, given.person, given.variant, auth.person(key))
        return {"testers": testers.list_testers(db, experiment)}

    return await service.store.submit(put)


@router.post(
    "/experiments/{experiment_id}/stop",
    response_description="The [experiment](#experiment).",
    responses={
        404: {"description": "There is no such comparison."},
        409: {"description": "The comparison was stopped before."},
    },
)
async def stop(
    request: Request, experiment_id: Id, key: Annotated[Key, Depends(auth.admin)]
) -> dict[str, Any]:
    """Stop a comparison; everyone gets the live adapter again."""
    service: Service = request.app.state.service

    def end(db: Database) -> Experiment:
        experiment = _running(db, experiment_id)
        domain = domains.by_id(db, experiment.domain_id)
        return comparisons.stop(db, domain, auth.person(key))

    return _as_json(await service.store.submit(end))


def _running(db: Database, experiment_id: int) -> Experiment:
    """The experiment. Raises NotFound, or Conflict when it has been stopped."""
    experiment = experiments.get(db, experiment_id)
    if experiment.state != "running":
        raise Conflict(f"Experiment {experiment_id} has already been stopped.")
    return experiment


def _as_json(experiment: Experiment) -> dict[str, Any]:
    return {"object": "experiment"} | experiments.public(experiment)
