"""Flags and environment of an engine that shares its GPU with tuning.

- `split`: the engine's share of the GPU memory, and the batch sizes that the share is computed for.
- `sleep`: vLLM's sleep mode. Its routes exist only in vLLM's development mode, which also opens
  /collective_rpc (any method of the engine's workers), /server_info and the reset of caches to
  everyone who can reach the port. This is one more reason to listen on loopback only.
"""

from data.config.settings import Settings
from data.gpu import cards, memory_split, plans
from data.store.errors import Invalid

DEV_MODE = {"VLLM_SERVER_DEV_MODE": "1"}


def flags(settings: Settings, max_loras: int, max_rank: int) -> list[str]:
    """Flags of vLLM's GPU build. `max_loras` includes base@0. Raises CannotFit when engine and
    tuning do not fit on the GPU together, Unavailable when the GPU cannot be read, Invalid when the
    settings contradict each other."""
    serving = settings.serving
    if serving.gpu_sharing != "off" and serving.replicas > 1:
        raise Invalid(
            "[serving] gpu_sharing shares a GPU between one engine and tuning: set replicas = 1."
        )
    if serving.gpu_sharing == "split":
        return _split(settings, max_loras, max_rank)
    line = ["--gpu-memory-utilization", str(serving.gpu_memory_fraction)]
    return [*line, "--enable-sleep-mode"] if serving.gpu_sharing == "sleep" else line


def _split(settings: Settings, max_loras: int, max_rank: int) -> list[str]:
    plan = plans.engine_plan(settings, max_loras, max_rank)
    share = memory_split.check_engine(plans.base_shape(settings), cards.shared().total, plan)
    return [
        "--gpu-memory-utilization", f"{share:.2f}",
        "--max-num-batched-tokens", str(plan.batched_tokens),
        "--max-num-seqs", str(plan.sequences),
    ]  # fmt: skip


def environment(settings: Settings) -> dict[str, str]:
    """Variables that are added to the engine's environment."""
    return DEV_MODE if settings.serving.gpu_sharing == "sleep" else {}


def refuse_cpu(settings: Settings) -> None:
    """Raises Invalid when a GPU should be shared: an engine on the CPU has none."""
    sharing = settings.serving.gpu_sharing
    if sharing != "off":
        raise Invalid(
            f"[serving] gpu_sharing = '{sharing}' needs vLLM's GPU build (`make install-gpu`): "
            'an engine on the CPU has nothing to share. Set it to "off".'
        )
