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
    response_description="OpenAI's list of models. `created` is when the adapter was made, that of "
    "a domain when its `live` adapter was, and `max_model_len` how many tokens a prompt and its "
    "answer may have together. `understudy` in each says whether the model is `routed` and "
    "`ready`, the adapter's `state`, and which adapter of a domain is `live`.",
)
async def list_models(request: Request) -> dict[str, Any]:
    """List the names that a request may give as `model`."""
    service: Service = request.app.state.service
    limit = service.settings.serving.max_model_len
    return {"object": "list", "data": await service.store.read(lambda db: _models(db, limit))}


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
        limit = service.settings.serving.max_model_len
        known = _models(db, limit, include_unlisted=True)
        return next(m for m in known if m["id"] == name)

    return await service.store.read(find)


def _models(
    db: Database, context_tokens: int, include_unlisted: bool = False
) -> list[dict[str, Any]]:
    """`context_tokens`: what a prompt and its answer may take together."""
    loaded = placements.loaded(db)
    ready = bool(placements.ready_urls(db))
    found = []

    def add(name: str, created_us: int, about: dict[str, Any]) -> None:
        found.append(
            {
                "id": name,
                "object": "model",
                "created": created_us // 1_000_000,
                "owned_by": "understudy",
                "max_model_len": context_tokens,  # as vLLM names it
                "understudy": about,
            }
        )

    for domain in domains.list_domains(db):
        begun = domains.created_at(db, domain.id)
        live = registry.live(db, domain.id)
        routed = {"routed": True, "ready": ready, "live": live.name if live else None}
        add(domain.name, live.created_at if live else begun, routed)
        add(f"{domain.name}@base", begun, {"routed": False, "ready": ready})
        for adapter in registry.list_adapters(db, domain):
            if adapter.state in UNLISTED and not include_unlisted:
                continue
            about = {"routed": False, "ready": adapter.id in loaded, "state": adapter.state}
            add(adapter.name, adapter.created_at, about)
    return found


def _unknown_model(db: Database, name: str) -> str:
    known = names(db)
    listed = ", ".join(known[:MAX_LISTED]) + (", …" if len(known) > MAX_LISTED else "")
    return f"There is no model {name!r}. Available models: {listed or 'none yet'}."
