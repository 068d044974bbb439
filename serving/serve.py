"""`understudy serve`: runs engines and keeps their adapters in step with the registry.

The parts are joined here:

- `serving/fleet/fleet.py` has the replicas, each with its own threads (`serving/fleet/replica.py`);
- `serving/fleet/rolling_restart.py` restarts them one at a time;
- `serving/fleet/sleep.py` puts them to sleep while a run uses the GPU;
- `serving/adapters/garbage_collection.py` deletes the files of removed adapters.

The main thread drives these until it is asked to stop. With `[serving] url` no engine is started:
external engines are watched and kept in step. They must see the adapters' folder at the same path.
"""

import logging
import signal
import threading
import time

from data import home_lock
from data.config.settings import Settings
from data.store.db import Store, sqlite3
from data.store.errors import UnderstudyError
from serving.adapters import garbage_collection
from serving.fleet import sleep
from serving.fleet.fleet import Fleet
from serving.fleet.rolling_restart import RollingRestart

log = logging.getLogger(__name__)

POLL_S = 0.2
DELETE_S = 2.0  # between two garbage collections


def run(settings: Settings, *, stop: threading.Event | None = None) -> int:
    """Serve until `stop` is set or the process is asked to end; returns the exit code.

    Raises EngineFailed when no engine can be started at all, RunsAlready when another process
    serves from the same home folder.
    """
    stopping = threading.Event() if stop is None else stop
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
    settings.home.mkdir(parents=True, exist_ok=True)
    with home_lock.only_one(settings.home, "serve"), Store(settings.store_path) as store:
        sleep.await_gpu(settings, store, stopping)
        fleet = Fleet(settings, store)
        fleet.start()
        try:
            _drive(fleet, stopping)
        finally:
            stopping.set()
            fleet.stop()
    return 0


def _drive(fleet: Fleet, stopping: threading.Event) -> None:
    rolling = RollingRestart(fleet, stopping)
    deleted = 0.0
    sleeping = sleep.SleepController(fleet, stopping)
    while not stopping.wait(POLL_S):
        fleet.check()
        sleeping.step()
        if not sleeping.on:
            rolling.step()
        if time.monotonic() - deleted > DELETE_S:
            deleted = time.monotonic()
            _delete(fleet)


def _delete(fleet: Fleet) -> None:
    try:
        garbage_collection.delete_files(fleet.store, fleet.settings)
    except (UnderstudyError, sqlite3.Error) as error:  # the store is busy or full; try again later
        log.warning("Files of removed adapters are not deleted now: %s", error)
