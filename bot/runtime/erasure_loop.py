"""Completes pending erasures of a person's data: those that a crash interrupted, and those that
another process only recorded, such as a command in Slack."""

import asyncio
import logging

from bot.service import Service
from data.privacy import erasure
from data.store.errors import UnderstudyError

log = logging.getLogger(__name__)

POLL_S = 2.0


async def forever(service: Service) -> None:
    """Run until cancelled. Cancelling loses nothing: the next start continues."""
    while True:
        try:
            for done in await erasure.resume(service.store, service.settings.home):
                adapters = ", ".join(done.adapters) or "none"
                log.info("Erasure %s is complete. Adapters to retrain: %s", done.receipt, adapters)
        except (UnderstudyError, OSError) as error:
            log.warning("An erasure is not complete yet: %s", error)
        except Exception:  # a defect, or an error from SQLite: the next round tries again
            log.exception("An erasure is not complete yet")
        await asyncio.sleep(POLL_S)
