"""The service as a whole: engines, the queue, the disk, alerts, settings, backups, and the audit
log. For admins."""

import asyncio
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Query, Request
from sqlite_utils import Database
from starlette.responses import Response

from bot.console import access, rendering
from bot.console.access import SignedIn
from bot.console.background_backup import BackgroundBackup
from bot.console.rendering import HOME, ConsoleRouter
from bot.service import Service
from data.adapters import placements, registry
from data.adapters.placements import Replica
from data.config import settings_overview
from data.config.settings import Settings
from data.monitoring import alerts
from data.monitoring.alerts import Alert
from data.store import audit

router = ConsoleRouter()
Admin = Annotated[SignedIn, Depends(access.admin)]
Text = Annotated[str, Query(max_length=200)]
PATH = f"{HOME}/system"
AUDIT = f"{HOME}/audit"
ENTRIES = 100  # of the audit log on one page


@dataclass(frozen=True)
class EngineState:
    """One engine, as the page shows it."""

    replica: Replica
    adapters: tuple[str, ...]  # that it holds
    writing: int  # answers that this front end has it write now


@dataclass(frozen=True)
class DiskUse:
    """Bytes on the disk of the home folder."""

    free: int
    total: int
    store: int
    adapters: int


@dataclass(frozen=True)
class BackupFile:
    """A backup in the home folder."""

    name: str
    size: int  # bytes
    at: int  # microseconds since the epoch


@router.get(PATH)
async def show(request: Request, signed_in: Admin) -> Response:
    service: Service = request.app.state.service
    admission = service.chat.admission

    def read(db: Database) -> tuple[list[EngineState], list[Alert]]:
        engines = [
            EngineState(
                replica,
                tuple(
                    registry.by_id(db, p.adapter_id).name
                    for p in placements.placements_on(db, replica.name)
                    if p.state == "loaded"
                ),
                admission.load(replica.name),
            )
            for replica in placements.replicas(db)
        ]
        return engines, alerts.alerts(db)

    engines, found = await service.store.read(read)
    disk, backups = await asyncio.to_thread(
        lambda: (_disk(service.settings), _backups(_backup_folder(service.settings)))
    )
    background: BackgroundBackup = request.app.state.background_backup
    return await rendering.page(
        request,
        "system.html",
        signed_in,
        engines=engines,
        alerts=found,
        writing=admission.running,
        waiting=admission.waiting,
        disk=disk,
        backups=backups,
        backup_folder=_backup_folder(service.settings),
        backup=background,
        settings=settings_overview.overview(service.settings),
    )


@router.post(f"{PATH}/backup")
async def back_up(request: Request, signed_in: Admin) -> Response:
    """Begin a backup; it goes on when the page is left."""
    service: Service = request.app.state.service
    background: BackgroundBackup = request.app.state.background_backup
    name = f"understudy-{datetime.now(UTC):%Y%m%d-%H%M%S}.tar"
    await background.begin(service, _backup_folder(service.settings) / name, signed_in.person)
    return rendering.done(request, PATH, "The backup is being written. It is listed when complete.")


@router.get(AUDIT)
async def show_audit(
    request: Request,
    signed_in: Admin,
    actor: Text = "",
    action: Text = "",
    subject: Text = "",
    before: Annotated[int, Query(ge=0, lt=2**63)] = 0,
) -> Response:
    """Who did what, and when, the newest first."""
    service: Service = request.app.state.service
    found = await service.store.read(
        lambda db: audit.recent(
            db,
            ENTRIES + 1,
            actor=actor,
            action=action,
            subject=subject,
            before=before or None,
        )
    )
    return await rendering.page(
        request,
        "audit.html",
        signed_in,
        logged=found[:ENTRIES],
        older=found[ENTRIES - 1].id if len(found) > ENTRIES else None,
        filters={"actor": actor, "action": action, "subject": subject},
    )


def _backup_folder(settings: Settings) -> Path:
    return settings.home / "backups"


def _backups(folder: Path) -> list[BackupFile]:
    """The newest first."""
    files = [(f, f.stat()) for f in folder.glob("*.tar")] if folder.is_dir() else []
    found = [BackupFile(f.name, stat.st_size, stat.st_mtime_ns // 1_000) for f, stat in files]
    return sorted(found, key=lambda one: -one.at)


def _disk(settings: Settings) -> DiskUse:
    use = shutil.disk_usage(settings.home)
    store = [settings.store_path.with_name(settings.store_path.name + end) for end in ("", "-wal")]
    folder = settings.adapters_path
    files = [f for f in folder.rglob("*") if f.is_file()] if folder.is_dir() else []
    return DiskUse(
        free=use.free,
        total=use.total,
        store=sum(f.stat().st_size for f in store if f.exists()),
        adapters=sum(f.stat().st_size for f in files if f.exists()),
    )
