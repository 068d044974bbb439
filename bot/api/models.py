"""`/v1/models`: the valid values of `model`.

`helpdesk` is routed: the running comparison or the live adapter answers. `helpdesk@3` and
`helpdesk@base` are pinned. The name is resolved here and never passed on to an engine.
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
MAX_LISTED = 12  # names in an error message
UNLISTED = ("evaluating", "rejected")  # states of adapters that cannot be used


def resolve(db: Database, name: str) -> tuple[Domain, str | None]:
    """The domain of a model name, and the adapter that it pins, if any. Each model has exactly one
    name, so `helpdesk@03` is unknown. Raises UnknownModel."""
    try:
        domain = domains.get(db, name.partition("@")[0])
        known = name in (domain.name, f"{domain.name}@base") or registry.get(db, name).name == name
    except NotFound:
        known = False
    if not known:
        raise UnknownModel(_unknown_model(db, name))
    return domain, None if name == domain.name else name


def names(db: Database) -> list[str]:
    """All valid model names: each domain, its bare base, and its adapters, newest first."""
    found = []
    for domain in domains.list_domains(db):
        known = [a.name for a in registry.list_adapters(db, domain) if a.state not in UNLISTED]
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
    return {"object": "list", "data": await service.store.read(_models)}


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
        return next(m for m in _models(db, include_unlisted=True) if m["id"] == name)

    return await service.store.read(find)


def _models(db: Database, include_unlisted: bool = False) -> list[dict[str, Any]]:
    loaded = placements.loaded(db)
    ready = bool(placements.ready_urls(db))
    found = []
    for domain in domains.list_domains(db):
        found.append(_model(domain.name, 0, {"routed": True, "ready": ready}))
        found.append(_model(f"{domain.name}@base", 0, {"routed": False, "ready": ready}))
        for adapter in registry.list_adapters(db, domain):
            if adapter.state in UNLISTED and not include_unlisted:
                continue
            about = {"routed": False, "ready": adapter.id in loaded, "state": adapter.state}
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


def _unknown_model(db: Database, name: str) -> str:
    known = names(db)
    listed = ", ".join(known[:MAX_LISTED]) + (", …" if len(known) > MAX_LISTED else "")
    return f"There is no model {name!r}. Available models: {listed or 'none yet'}."
