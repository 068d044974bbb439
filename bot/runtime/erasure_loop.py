"""Forgets people whom somebody asked to be forgotten: what a crash interrupted, and what was asked
for elsewhere (a command in Slack, say) and only written down."""

import asyncio
import logging

from bot.service import Service
from data.privacy import erasure
from data.store.errors import UnderstudyError

log = logging.getLogger(__name__)

REST_S = 2.0


async def forever(service: Service) -> None:
    """Until it is cancelled, which loses nothing."""
    while True:
        try:
            for done in await erasure.resume(service.store, service.settings.home):
                adapters = ", ".join(done.adapters) or "none"
                log.info("Receipt %s: forgotten. Adapters to redo: %s", done.receipt, adapters)
        except (UnderstudyError, OSError) as error:
            log.warning("Somebody is not forgotten yet: %s", error)
        except Exception:  # a defect of ours, or SQLite's own word: the next look goes on
            log.exception("Somebody is not forgotten yet")
        await asyncio.sleep(REST_S)
