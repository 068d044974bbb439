"""`/v1/models`: the names a caller may put into `model`.

`helpdesk` is routed: the comparison or the live adapter answers. `helpdesk@3` and `helpdesk@base`
are pinned. A name is looked up here and goes no further.
"""

from typing import Any

from fastapi import APIRouter, Request
from sqlite_utils import Database

from bot.api.problems import UnknownModel
from bot.service import Service
from data import domains
from data.adapters import placements, registry
from data.domains import Domain
from data.store.errors import NotFound

router = APIRouter(tags=["Models"])
SHOWN = 12  # names in an error
UNASKED = ("evaluating", "rejected")  # states of adapters that nobody may ask


def resolve(db: Database, name: str) -> tuple[Domain, str | None]:
    """The domain of a model name, and the adapter it pins. A model has one name: `helpdesk@03` is
    none. Raises UnknownModel."""
    try:
        domain = domains.get(db, name.partition("@")[0])
        known = name in (domain.name, f"{domain.name}@base") or registry.get(db, name).name == name
    except NotFound:
        known = False
    if not known:
        raise UnknownModel(_there_are(db, name))
    return domain, None if name == domain.name else name


def names(db: Database) -> list[str]:
    """Every name that can be asked: domains, their bare base, their adapters, newest first."""
    found = []
    for domain in domains.list_domains(db):
        known = [a.name for a in registry.list_adapters(db, domain) if a.state not in UNASKED]
        found += [domain.name, f"{domain.name}@base", *known]
    return found


@router.get(
    "/models",
    response_description="OpenAI's list of models. `understudy` in each says whether the model is "
    "`routed` and `ready`, and the adapter's `state`.",
)
async def list_models(request: Request) -> dict[str, Any]:
    """List the names that a request may give as `model`."""
    service: Service = request.app.state.service
    return {"object": "list", "data": await service.store.read(_every)}


@router.get(
    "/models/{name}",
    response_description="OpenAI's model object.",
    responses={404: {"description": "There is no such model."}},
)
async def retrieve_model(request: Request, name: str) -> dict[str, Any]:
    """Show one model."""
    service: Service = request.app.state.service

    def find(db: Database) -> dict[str, Any]:
        resolve(db, name)
        return next(m for m in _every(db, unasked=True) if m["id"] == name)

    return await service.store.read(find)


def _every(db: Database, unasked: bool = False) -> list[dict[str, Any]]:
    held = placements.loaded(db)
    ready = bool(placements.ready_urls(db))
    found = []
    for domain in domains.list_domains(db):
        found.append(_model(domain.name, 0, {"routed": True, "ready": ready}))
        found.append(_model(f"{domain.name}@base", 0, {"routed": False, "ready": ready}))
        for adapter in registry.list_adapters(db, domain):
            if adapter.state in UNASKED and not unasked:
                continue
            about = {"routed": False, "ready": adapter.id in held, "state": adapter.state}
            found.append(_model(adapter.name, adapter.created_at // 1_000_000, about))
    return found


def _model(name: str, created: int, about: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "understudy",
        "understudy": about,
    }


def _there_are(db: Database, name: str) -> str:
    known = names(db)
    listed = ", ".join(known[:SHOWN]) + (", …" if len(known) > SHOWN else "")
    return f"There is no model {name!r} (there are: {listed or 'none yet'})."
