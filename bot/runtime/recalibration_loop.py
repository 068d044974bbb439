"""Measures the confidence from which on domains answer anew, after their pairs have changed."""

import asyncio
import logging

from bot.service import Service
from data.search.recalibration import Recalibration
from data.store.errors import UnderstudyError

log = logging.getLogger(__name__)

POLL_S = 60.0


async def forever(service: Service) -> None:
    """Run until cancelled."""
    minutes = service.settings.answers.recalibrate_minutes
    if not minutes:
        return
    recalibration = Recalibration(service.store, service.chat.search, minutes * 60)
    while True:
        await asyncio.sleep(POLL_S)
        try:
            await asyncio.to_thread(recalibration.look)
        except UnderstudyError as error:
            log.warning("Thresholds could not be measured anew: %s", error)
        except Exception:  # a defect, or an error from SQLite: the next round tries again
            log.exception("Thresholds could not be measured anew")
