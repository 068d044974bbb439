"""`/v1/experiments`: start a comparison, widen it, see its results and decisions, stop it."""

from dataclasses import asdict
from typing import Annotated, Any

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
from data.experiments import decisions, experiments, ramps, testers
from data.experiments.design import ExperimentDesign, guardrails
from data.experiments.experiments import LABELS, Experiment
from data.people.keys import Key
from data.store.errors import Conflict

router = APIRouter()
Id = Annotated[int, Path(ge=1, lt=2**63)]
Name = Annotated[str, Field(max_length=50)]
Share = Annotated[float, Field(gt=0, lt=1)]


class RequestModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class VariantRequest(RequestModel):
    adapter: Name  # `2`, `helpdesk@2`, `live`, or `base`
    system_prompt: Annotated[str, Field(max_length=32_000)] | None = None
    sampling: dict[str, int | float] = {}


class StartExperimentRequest(RequestModel):
    """Two adapters as `a` and `b`, or any number of `sides`; the first is the control."""

    domain: DomainName | None = None  # None: the default domain
    a: Name | None = None
    b: Name | None = None
    sides: Annotated[list[VariantRequest], Field(min_length=2, max_length=len(LABELS))] | None = (
        None
    )
    share: Share | None = None  # of the people, who get a candidate; None: all sides alike
    pairwise: Annotated[float, Field(ge=0, le=1)] = 0.0  # of the questions: two answers
    adaptive: Annotated[float, Field(ge=0, lt=1)] = 0.0  # the least share, 0: shares stay
    fresh: bool = False  # without those whom the last comparison gave a candidate
    minimum_effect: Share = ExperimentDesign.minimum_effect
    expected_people: Annotated[int, Field(ge=10)] = ExperimentDesign.expected_people
    guardrails: dict[str, float | None] = {}  # bounds in place of the usual; null: none

    @model_validator(mode="after")
    def _names_its_sides(self) -> "StartExperimentRequest":
        two = self.a is not None and self.b is not None
        if two == (self.sides is not None):
            raise ValueError("name the two sides by 'a' and 'b', or any number by 'sides'")
        return self

    @property
    def arms(self) -> list[VariantRequest]:
        return self.sides or [VariantRequest(adapter=name) for name in (self.a, self.b) if name]

    @property
    def plan(self) -> ExperimentPlan:
        arms = dict(zip(LABELS, self.arms, strict=False))
        return ExperimentPlan(
            share=self.share,
            prompts={k: s.system_prompt for k, s in arms.items() if s.system_prompt is not None},
            sampling={label: s.sampling for label, s in arms.items() if s.sampling},
            pairwise=self.pairwise,
            adaptive=self.adaptive,
            fresh=self.fresh,
            terms=ExperimentDesign(
                minimum_effect=self.minimum_effect,
                expected_people=self.expected_people,
                guardrails=guardrails(self.guardrails),
            ),
        )


class RampRequest(RequestModel):
    share: Share  # of the people, who get a candidate from now on


class TesterRequest(RequestModel):
    person: Annotated[str, Field(min_length=1, max_length=256)]
    variant: Annotated[str, Field(max_length=1)]  # its label


@router.get("/experiments", dependencies=[Depends(auth.reviewer)])
async def list_experiments(request: Request, domain: DomainName | None = None) -> dict[str, Any]:
    service: Service = request.app.state.service

    def find(db: Database) -> list[dict[str, Any]]:
        only = domain_of(db, domain) if domain else None
        return [_shown(e) for e in experiments.list_experiments(db, only)]

    return {"object": "list", "data": await service.store.read(find)}


@router.post("/experiments", status_code=201)
async def start(
    request: Request, given: StartExperimentRequest, key: Annotated[Key, Depends(auth.admin)]
) -> dict[str, Any]:
    service: Service = request.app.state.service

    def begin(db: Database) -> Experiment:
        domain, names = domain_of(db, given.domain), [s.adapter for s in given.arms]
        return comparisons.begin(db, domain, names, auth.person(key), given.plan)

    return _shown(await service.store.submit(begin))


@router.get("/experiments/{experiment_id}", dependencies=[Depends(auth.reviewer)])
async def results(request: Request, experiment_id: Id) -> dict[str, Any]:
    """The comparison, with what it has collected so far and what that says."""
    service: Service = request.app.state.service

    def find(db: Database) -> dict[str, Any]:
        experiment = experiments.get(db, experiment_id)
        return _shown(experiment) | {"results": asdict(stats.compute_results(db, experiment))}

    return await service.store.read(find)


@router.get("/experiments/{experiment_id}/decisions", dependencies=[Depends(auth.reviewer)])
async def list_decisions(request: Request, experiment_id: Id) -> dict[str, Any]:
    """What was decided, with the numbers that made it, the oldest first."""
    service: Service = request.app.state.service

    def find(db: Database) -> list[dict[str, Any]]:
        experiments.get(db, experiment_id)
        return [asdict(d) for d in decisions.list_decisions(db, experiment_id)]

    return {"object": "list", "data": await service.store.read(find)}


@router.get("/decisions/{decision_id}", dependencies=[Depends(auth.reviewer)])
async def explain_decision(request: Request, decision_id: Id) -> dict[str, Any]:
    """A decision, worked out anew from its stored numbers; `differing` is empty when it comes to
    the same."""
    service: Service = request.app.state.service

    def find(db: Database) -> dict[str, Any]:
        return asdict(explain(decisions.get(db, decision_id)))

    return await service.store.read(find)


@router.post("/experiments/{experiment_id}/ramp")
async def ramp(
    request: Request,
    experiment_id: Id,
    given: RampRequest,
    key: Annotated[Key, Depends(auth.admin)],
) -> dict[str, Any]:
    """A share only grows, and moves nobody who has been answered."""
    service: Service = request.app.state.service

    def widen(db: Database) -> Experiment:
        return ramps.ramp(db, _running(db, experiment_id), given.share, auth.person(key))

    return _shown(await service.store.submit(widen))


@router.post("/experiments/{experiment_id}/testers", status_code=201)
async def put_tester(
    request: Request,
    experiment_id: Id,
    given: TesterRequest,
    key: Annotated[Key, Depends(auth.admin)],
) -> dict[str, Any]:
    """Let a person be answered by a variant, out of every statistic."""
    service: Service = request.app.state.service

    def put(db: Database) -> dict[str, Any]:
        experiment = _running(db, experiment_id)
        testers.put(db, experiment, given.person, given.variant, auth.person(key))
        return {"testers": testers.list_testers(db, experiment)}

    return await service.store.submit(put)


@router.post("/experiments/{experiment_id}/stop")
async def stop(
    request: Request, experiment_id: Id, key: Annotated[Key, Depends(auth.admin)]
) -> dict[str, Any]:
    service: Service = request.app.state.service

    def end(db: Database) -> Experiment:
        experiment = _running(db, experiment_id)
        domain = domains.by_id(db, experiment.domain_id)
        return comparisons.stop(db, domain, auth.person(key))

    return _shown(await service.store.submit(end))


def _running(db: Database, experiment_id: int) -> Experiment:
    """Raises NotFound, or Conflict for one that was stopped."""
    experiment = experiments.get(db, experiment_id)
    if experiment.state != "running":
        raise Conflict(f"Experiment {experiment_id} has been stopped already.")
    return experiment


def _shown(experiment: Experiment) -> dict[str, Any]:
    return {"object": "experiment"} | experiments.public(experiment)
