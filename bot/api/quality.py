"""`/v1/domains/{name}/quality`: checks the pairs of a domain. For reviewers."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from sqlite_utils import Database

from bot.api import auth
from bot.service import Service
from data import domains
from data.quality import check_process, checker

router = APIRouter(tags=["Pairs"])
AT_A_TIME = 1  # checks; each takes a core


def queue() -> asyncio.Semaphore:
    """Where checks wait for their turn; one for an application."""
    return asyncio.Semaphore(AT_A_TIME)


@router.get(
    "/domains/{name}/quality",
    dependencies=[Depends(auth.reviewer)],
    response_description="`domain`, `pairs` (how many were checked), `findings`, `distributions` "
    "and `seconds`. A finding has `check`, `title`, `count`, `unit`, `examples`, `fix`, "
    "`fix_says`, `pair_ids`, `kept_ids` (of duplicates: for each pair the one that stays), and "
    "`not_checked`, the reason why the check could not run.",
    responses={
        400: {"description": "There is no such check."},
        404: {"description": "There is no such domain."},
    },
)
async def quality(
    request: Request,
    name: Annotated[str, Path(max_length=32, description="The name of a domain.")],
    only: Annotated[list[str] | None, Query(description="Run only these checks.")] = None,
) -> dict[str, Any]:
    """Check the pairs of a domain for duplicates, contradictions, private data and other faults.

    Nothing is changed; `understudy pairs check --fix` does that."""
    service: Service = request.app.state.service
    checker.refuse_unknown(only or ())

    def known(db: Database) -> domains.Domain:
        return domains.get(db, name)

    domain = await service.store.read(known)
    async with request.app.state.quality_queue:
        found = await check_process.check_domain(service.settings, domain.name, only or ())
    return {"object": "quality"} | found
