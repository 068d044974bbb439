"""A new domain: its topic, and a file of pairs or the example; and more pairs for a domain. Then
the domain's page *Tune* goes on."""

import asyncio
import json
import re
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request
from sqlite_utils import Database
from starlette.datastructures import UploadFile
from starlette.responses import Response

import data
from bot.console import access, rendering, uploads
from bot.console.access import SignedIn
from bot.console.rendering import HOME, ConsoleRouter
from bot.console.shown import count
from bot.service import Service
from data import domains
from data.domains import Domain
from data.pair_files.importer import ImportReport
from data.pairs.pairs import Status
from data.quality.unusable import REASONS
from data.store import audit
from data.store.errors import Invalid

router = ConsoleRouter()
Admin = Annotated[SignedIn, Depends(access.admin)]
PATH = f"{HOME}/start"
EXAMPLE = Path(data.__file__).parent / "examples" / "helpdesk"
MAX_TITLE = 100  # characters
SHOWN_BAD = 3  # rows of a file that a message explains


@router.get(PATH)
async def show(request: Request, signed_in: Admin) -> Response:
    return await rendering.page(request, "start.html", signed_in)


@router.post(PATH)
async def create(request: Request, signed_in: Admin) -> Response:
    """The form is read only now, because its file is only for admins."""
    service: Service = request.app.state.service
    actor = signed_in.person
    async with request.form(max_files=1, max_fields=10) as form:
        upload = form.get("file")
        if form.get("example"):
            domain = await service.store.submit(lambda db: _example(db, actor))
            path = EXAMPLE / "pairs.jsonl"
            report = await asyncio.to_thread(
                uploads.import_path,
                service.store,
                service.settings,
                domain,
                path,
                actor,
                "approved",
            )
        else:
            title = str(form.get("title") or "").strip()
            if not title:
                raise Invalid("Say what the bot answers questions about.")
            if len(title) > MAX_TITLE:
                raise Invalid(f"Say it in at most {MAX_TITLE} characters.")
            if not isinstance(upload, UploadFile) or not upload.filename:
                raise Invalid("Choose a file with pairs of questions and answers.")
            await asyncio.to_thread(uploads.check, upload)
            domain = await service.store.submit(lambda db: _domain(db, title, actor))
            report = await asyncio.to_thread(
                uploads.import_pairs,
                service.store,
                service.settings,
                domain,
                upload,
                actor,
                "approved",
            )
    return rendering.done(request, f"{HOME}/domains/{domain.name}/tune", imported(domain, report))


@router.post(f"{HOME}/domains/{{domain}}/import")
async def add_pairs(request: Request, domain: str, signed_in: Admin) -> Response:
    """Add the pairs of a file to a domain."""
    service: Service = request.app.state.service
    subject = await service.store.read(lambda db: domains.get(db, domain))
    async with request.form(max_files=1, max_fields=10) as form:
        upload = form.get("file")
        if not isinstance(upload, UploadFile) or not upload.filename:
            raise Invalid("Choose a file with pairs of questions and answers.")
        status: Status = "pending" if form.get("pending") else "approved"
        await asyncio.to_thread(uploads.check, upload)
        report = await asyncio.to_thread(
            uploads.import_pairs,
            service.store,
            service.settings,
            subject,
            upload,
            signed_in.person,
            status,
        )
    return rendering.done(request, f"{HOME}/domains/{domain}/tune", imported(subject, report))


def imported(domain: Domain, report: ImportReport) -> str:
    """What an import did, in a few sentences."""
    waiting = f", {report.waiting:,} of them for a reviewer" if report.waiting else ""
    said = [f"{count(report.added, 'pair')} added to {domain.title}{waiting}."]
    if report.rated_answers:
        said.append(f"{count(report.rated_answers, 'rated answer')} kept for preference tuning.")
    if report.duplicates:
        was = "was" if report.duplicates == 1 else "were"
        said.append(f"{count(report.duplicates, 'row')} {was} there already.")
    if report.left_out:
        reasons = ", ".join(f"{reason} ({n:,})" for reason, n in report.left_out.items())
        said.append(f"Left out, as the file says: {reasons}.")
    for check, n in report.unusable_total.items():
        pairs = count(n, "pair")
        said.append(f"{pairs} put in quarantine, because no run can learn them: {REASONS[check]}.")
    if report.conflicts_total:
        questions = count(report.conflicts_total, "question")
        said.append(f"Another answer replaces the one before, for {questions}.")
    said += report.notes
    if report.unused:
        said.append(f"Columns that are not used: {', '.join(c.name for c in report.unused)}.")
    if report.bad_total:
        said.append(f"{count(report.bad_total, 'row')} could not be read:")
        bad = [f"line {bad.line}: {bad.reason}" for bad in report.bad[:SHOWN_BAD]]
        said.append(f"{'; '.join(bad)}.")
    return " ".join(said)


def _domain(db: Database, title: str, actor: str) -> Domain:
    """A new domain, named after its title."""
    plain = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-0123456789")[:24].strip("-")
    taken = {domain.name for domain in domains.list_domains(db)} | domains.RESERVED
    name = next(
        candidate
        for number in range(1, len(taken) + 2)
        if (candidate := f"{plain or 'topic'}{f'-{number}' if number > 1 else ''}") not in taken
    )
    domain = domains.create(db, name, title, f"You answer questions about {title}.")
    audit.record(db, actor, "domain add", name)
    return domain


def _example(db: Database, actor: str) -> Domain:
    """The shipped example; a second time, the one that is there."""
    about = json.loads((EXAMPLE / "domain.json").read_text(encoding="utf-8"))
    known = {domain.name: domain for domain in domains.list_domains(db)}
    if (found := known.get(about["name"])) is not None:
        return found
    domain = domains.create(
        db,
        about["name"],
        about["title"],
        about["system_prompt"],
        tuple(about["suggested_prompts"]),
        about["validation_share"],
    )
    audit.record(db, actor, "domain add", domain.name)
    return domain
