"""An adapter's scores in words, the same in Slack, in the terminal and in the demo."""

from data.adapters.registry import Adapter


def sentence(adapter: Adapter) -> str:
    """What it answered of the golden questions, beside the bare base and the live adapter.

    The keys are those of `tuning/evaluation/eval_report.py`."""
    golden = adapter.scores.get("golden") or {}
    if not golden.get("n"):
        return "no golden questions to measure it on"
    beside = f"bare base {golden['base_exact']:.0%}"
    if "live_exact" in golden:
        beside += f", the live adapter {golden['live_exact']:.0%}"
    if "parent_exact" in golden:  # of adapters that were made before the live one was asked
        beside += f", its parent {golden['parent_exact']:.0%}"
    return (
        f"{golden['exact']:.0%} of {golden['n']} held-out questions answered exactly ({beside}), "
        f"token F1 {golden['f1']:.2f} (bare base {golden['base_f1']:.2f})"
    )
