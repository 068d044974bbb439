"""An adapter's scores in words, the same in Slack, in the terminal and in the demo."""

from data.adapters import Adapter


def sentence(adapter: Adapter) -> str:
    """What it answered of the golden questions, beside the bare base, and its parent if it has one.

    The keys are those of `tuning/scores.py`."""
    golden = adapter.scores.get("golden") or {}
    if not golden.get("n"):
        return "no golden questions to measure it on"
    beside = f"bare base {golden['base_exact']:.0%}"
    if "parent_exact" in golden:
        beside += f", its parent {golden['parent_exact']:.0%}"
    return (
        f"{golden['exact']:.0%} of {golden['n']} held-out questions answered exactly ({beside}), "
        f"token F1 {golden['f1']:.2f} (bare base {golden['base_f1']:.2f})"
    )
