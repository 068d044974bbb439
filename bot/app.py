"""Builds the HTTP service: one ASGI application from settings, store and engine.

`create_app` accepts the objects that tests replace; `run` is `understudy bot`. Errors become
responses in two places: expected errors here, all others in `bot/api/middleware.py`.
"""

import asyncio
import contextlib
import gc
import logging
import resource
import signal
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import uvicorn
import uvloop
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from bot import console
from bot.answering.chat import Chat
from bot.api import (
    adapters,
    embeddings,
    experiments,
    feedback,
    health,
    imports,
    lineage,
    models,
    nearest_routes,
    pairs,
    policies,
    privacy,
    problems,
    quality,
    raters,
    runs,
    status,
    stored_responses,
    triggers,
    unanswered,
)
from bot.api.answers import Answers
from bot.api.auth import known_host, member
from bot.api.completions import Completions
from bot.api.embeddings import EmbeddingQueue
from bot.api.middleware import RequestMiddleware
from bot.api.rate_bounds import RateBounds
from bot.api.responses import Responses
from bot.api.text_completions import TextCompletions
from bot.console.background_backup import BackgroundBackup
from bot.console.quality_checks import QualityChecks
from bot.experiments.decider import deciding
from bot.experiments.rollout import rolling_out
from bot.runtime import erasure_loop, recalibration_loop
from bot.runtime.address_limits import AddressLimits
from bot.runtime.http_protocol import bounded
from bot.runtime.listener import listener
from bot.runtime.metrics import Metrics
from bot.service import Service
from data.config.settings import BotSettings, Settings
from data.pair_files.import_process import ImportJobs
from data.store.db import Store
from data.store.errors import UnderstudyError
from serving.client import EngineClient

if TYPE_CHECKING:
    from bot.slack.app import Slack

log = logging.getLogger(__name__)

CLEAN_UP_S = 60
KEEP_ALIVE_S = 75  # longer than the connection pools of common clients
MAX_FILES = 16_384  # open files that the process asks the system for
DRAIN_S = 30  # time for answers in progress to finish when the service stops


def create_app(settings: Settings, store: Store, engine: EngineClient | None = None) -> FastAPI:
    """The application. The caller owns the store, and closes it afterwards."""
    client = engine or EngineClient()
    metrics = Metrics()
    service = Service(settings, store, Chat(store, client, settings, metrics.closed))

    slack = _slack(service)
    import_jobs = ImportJobs(store, settings)
    quality_queue = quality.queue()
    quality_checks = QualityChecks(settings, store, quality_queue)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(client.close)
            stack.push_async_callback(service.chat.close)
            stack.push_async_callback(import_jobs.close)
            stack.push_async_callback(quality_checks.close)
            await stack.enter_async_context(_cleaning_up(service, import_jobs))
            await stack.enter_async_context(deciding(store))
            await stack.enter_async_context(rolling_out(store))
            if slack is not None:
                await slack.start()
                stack.push_async_callback(slack.stop)
            yield

    app = FastAPI(
        title="Understudy",
        lifespan=lifespan,
        openapi_url=None,  # its pages load scripts from elsewhere; docs/http.md has the routes
        redirect_slashes=False,
    )
    app.state.service = service
    app.state.metrics = metrics
    app.state.rate_bounds = RateBounds.of(store, settings.bot)
    app.state.background_backup = BackgroundBackup()
    app.state.embedding_queue = EmbeddingQueue()
    app.state.quality_queue = quality_queue
    app.state.quality_checks = quality_checks
    app.state.import_jobs = import_jobs
    app.add_middleware(RequestMiddleware, bot=settings.bot)
    for family in (UnderstudyError, RequestValidationError, HTTPException):
        app.add_exception_handler(family, _refuse)
    app.router.routes.append(
        Route("/v1/chat/completions", Completions(service), methods=["POST"])  # guards itself
    )
    app.router.routes.append(Route("/v1/chat/answers", Answers(service), methods=["POST"]))
    app.router.routes.append(Route("/v1/responses", Responses(service), methods=["POST"]))
    app.router.routes.append(Route("/v1/completions", TextCompletions(service), methods=["POST"]))
    app.router.routes.extend(slack.routes if slack else ())
    v1 = APIRouter(prefix="/v1", dependencies=[Depends(member)])
    compared = (experiments, policies, raters)
    for part in (
        models,
        stored_responses,
        embeddings,
        feedback,
        runs,
        triggers,
        lineage,
        adapters,
        *compared,
        pairs,
        imports,
        quality,
        unanswered,
        privacy,
        status,
    ):
        v1.include_router(part.router)
    app.include_router(v1)
    app.include_router(health.router)
    app.include_router(console.pages)
    if settings.bot.web_chat:
        app.include_router(console.chat)
        app.include_router(privacy.web, dependencies=[Depends(known_host)])
    return app


def run(settings: Settings, stop: threading.Event | None = None) -> int:
    """Serve until a signal arrives or `stop` is set; returns the exit code.

    Answers in progress may finish first; a second Ctrl-C interrupts them. Raises Unavailable when
    the address is in use, and the errors of the store and of Slack at the start."""
    with Store(settings.store_path) as store, listener(settings.bot) as listening:
        app = create_app(settings, store)
        config = uvicorn.Config(
            app,
            http=_protocol(settings.bot),
            ws="none",
            lifespan="off",  # entered below, so that errors at the start are reported as usual
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=DRAIN_S,
        )
        server = _Server(config, stop, app.state.service)

        async def serve() -> None:
            async with app.router.lifespan_context(app):
                _freeze_garbage_collector()
                log.info("Listening on http://%s:%d", *listening.getsockname()[:2])
                await server.serve(sockets=[listening])
                await _cancel(server.server_state.tasks)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve())
    gc.unfreeze()  # for other code in this process, such as tests
    return 0


def _protocol(bot: BotSettings) -> Any:
    """The bounded protocol. Half of the open files that the system allows may be connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < MAX_FILES:
        soft = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return bounded(AddressLimits(bot.trusted_proxies, bot.max_connections, soft // 2))


def _freeze_garbage_collector() -> None:
    """Exclude all present objects (modules, routes, connections) from garbage collection. Scanning
    them would occasionally stop all answers for 70 ms (`benchmarks/slack_ack.py`)."""
    gc.collect()
    gc.freeze()


class _Server(uvicorn.Server):
    """A uvicorn server that stops on a signal or an event, and does not raise the signal again."""

    def __init__(
        self, config: uvicorn.Config, stop: threading.Event | None, service: Service
    ) -> None:
        super().__init__(config)
        self._stop = stop
        self._service = service

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is threading.main_thread():
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self.handle_exit, number, None)
        yield

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or (self._stop is not None and self._stop.is_set())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.chat.stop()
        await super().shutdown(sockets)


async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    """Cancel the answers that did not finish in time, and wait until they are recorded."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


def _slack(service: Service) -> "Slack | None":
    """The Slack front end, if it is configured; only then are its libraries imported."""
    if service.settings.slack.mode == "off":
        return None
    from bot.slack.app import create

    return create(service)


@contextlib.asynccontextmanager
async def _cleaning_up(service: Service, import_jobs: ImportJobs) -> AsyncIterator[None]:
    """Every minute, close answers that a dead process left open; also complete pending erasures,
    measure thresholds anew, and delete old uploads."""

    async def forever() -> None:
        while True:
            try:
                if count := await service.chat.close_abandoned():
                    log.warning("Closed %d answers that a dead process had left open", count)
            except UnderstudyError as error:
                log.warning("Abandoned answers could not be closed: %s", error)
            except Exception:  # a defect, or an error from SQLite: the next round tries again
                log.exception("Abandoned answers could not be closed")
            await asyncio.sleep(CLEAN_UP_S)

    loops = (
        forever(),
        erasure_loop.forever(service),
        recalibration_loop.forever(service),
        import_jobs.delete_old_forever(),
    )
    tasks = {asyncio.create_task(work) for work in loops}
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _refuse(request: Request, error: Exception) -> Response:
    problem = problems.problem_of(error)
    if problem is None:
        raise error
    if isinstance(error, HTTPException) and error.status_code == 404:  # raised by the router
        there_is = nearest_routes.sentence(request.scope["path"], request.app.routes)
        problem = replace(problem, message=there_is or problem.message)
    if problem.status >= 500:
        log.warning("%s", error)
    return problem.response()
