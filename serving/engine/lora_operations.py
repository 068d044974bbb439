"""Which LoRA operations an engine uses on a CPU: those of `serving/vllm_plugin`, which group tokens
by adapter, or vLLM's own.

The engine's process decides when it starts, and writes why it uses vLLM's own into a file that is
named in its environment. This module needs neither torch nor vLLM.
"""

import importlib.metadata
import os
from pathlib import Path

from data.config.settings import Settings
from serving.engine.command import LORA_PLUGIN, EngineBuild

OUTCOME = "UNDERSTUDY_LORA_OUTCOME"  # the environment variable with the file's path
TESTED_VERSIONS = ("0.32.0",)  # of vLLM


def wanted(settings: Settings, build: EngineBuild) -> bool:
    """Whether an engine that is started here should use the grouped operations."""
    return build.device == "cpu" and settings.serving.lora_operations == "grouped"


def untested(version: str) -> str:
    """Why they are not used with this version of vLLM, as a clause; '' when they are."""
    if version.partition("+")[0] in TESTED_VERSIONS:
        return ""
    return f"they were not tested with vLLM {version or 'of an unknown version'}"


def not_usable(build: EngineBuild) -> str:
    """What is known before an engine starts: why they are not used, as a clause; '' when they
    are."""
    plugins = importlib.metadata.entry_points(group="vllm.general_plugins")
    if LORA_PLUGIN not in plugins.names:
        return "the plugin is not installed; run `make install`"
    return untested(build.version)


def record(problem: str) -> None:
    """Write the outcome, in the engine's process; without a file, nobody has asked."""
    if path := os.environ.get(OUTCOME):
        Path(path).write_text(problem, encoding="utf-8")


def outcome(path: Path) -> str:
    """Why an engine uses vLLM's own operations, as a clause; '' when it uses the grouped ones.
    Deletes the file."""
    try:
        problem = path.read_text(encoding="utf-8")
    except OSError:
        return "vLLM did not load the plugin; run `make install`, and see the engine's log"
    path.unlink()
    return problem
