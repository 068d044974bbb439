"""What an engine is told about the card it shares with tuning: flags and environment.

`split`: its share of the card's memory, and the sizes of a step that the arithmetic reckons with.
`sleep`: vLLM's sleep mode. Its routes are there in vLLM's development mode only, which also opens
/collective_rpc (any method of the engine's workers), /server_info and the resetting of caches to
whoever reaches the port: one more reason why it is on loopback alone.
"""

from data.config.settings import Settings
from data.gpu import cards, plans, split
from data.store.errors import Invalid

DEV_MODE = {"VLLM_SERVER_DEV_MODE": "1"}


def flags(settings: Settings, max_loras: int, max_rank: int) -> list[str]:
    """Of vLLM's GPU build. `max_loras` counts base@0. Raises CannotFit when engine and tuning do
    not both fit on the card, Unavailable when the card cannot be read, Invalid when the settings
    do not go together."""
    serving = settings.serving
    if serving.gpu_sharing != "off" and serving.replicas > 1:
        raise Invalid(
            "[serving] gpu_sharing divides a card between one engine and tuning: set replicas = 1."
        )
    if serving.gpu_sharing == "split":
        return _split(settings, max_loras, max_rank)
    line = ["--gpu-memory-utilization", str(serving.gpu_memory_fraction)]
    return [*line, "--enable-sleep-mode"] if serving.gpu_sharing == "sleep" else line


def _split(settings: Settings, max_loras: int, max_rank: int) -> list[str]:
    plan = plans.engine_plan(settings, max_loras, max_rank)
    share = split.check_engine(plans.base_shape(settings), cards.shared().total, plan)
    return [
        "--gpu-memory-utilization", f"{share:.2f}",
        "--max-num-batched-tokens", str(plan.batched_tokens),
        "--max-num-seqs", str(plan.sequences),
    ]  # fmt: skip


def environment(settings: Settings) -> dict[str, str]:
    """Added to the engine's."""
    return DEV_MODE if settings.serving.gpu_sharing == "sleep" else {}


def refuse_cpu(settings: Settings) -> None:
    """Raises Invalid: an engine on the CPU has no card to share."""
    sharing = settings.serving.gpu_sharing
    if sharing != "off":
        raise Invalid(
            f"[serving] gpu_sharing = '{sharing}' needs vLLM's GPU build (`make install-gpu`): "
            'an engine on the CPU has nothing to share. Set it to "off".'
        )
