"""vLLM's entry point for this package: chooses the LoRA operations when an engine starts.

vLLM loads it in each of its processes, as the plugin `understudy_lora`. The grouped operations are
used on CPUs, with versions of vLLM that they were tested with, and when `check` finds that they
compute the same as vLLM's own. Otherwise vLLM's own stay, and the reason is logged and recorded.
"""

import functools
import logging

from serving.engine import lora_operations
from serving.engine.command import installed

log = logging.getLogger("vllm.understudy_lora")  # below vLLM's own logger, so that it is shown

GROUPED = "serving.vllm_plugin.wrapper.GroupedPunicaWrapper"


def register() -> None:
    """Let vLLM's platform for CPUs name the operations that `chosen` returns."""
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return
    platform = type(current_platform)
    stock = platform.get_punica_wrapper
    platform.get_punica_wrapper = classmethod(lambda _: chosen(stock()))


@functools.cache
def chosen(stock: str) -> str:
    """The class of the operations that an engine uses: the grouped ones, or `stock`."""
    found = problem()
    lora_operations.record(found)
    if found:
        log.warning("vLLM's own LoRA operations are used, which are slower: %s.", found)
        return stock
    log.info("LoRA operations grouped by adapter are used.")
    return GROUPED


def problem() -> str:
    """Why the grouped operations cannot be used, as a clause; '' when they can."""
    build = installed()
    if found := lora_operations.untested(build.version if build else ""):
        return found
    try:
        from serving.vllm_plugin import check

        return check.problem()
    except Exception as error:  # whatever a changed vLLM raises, its own operations still work
        log.exception("The grouped LoRA operations could not be checked.")
        return f"their check failed ({type(error).__name__}: {error})"
