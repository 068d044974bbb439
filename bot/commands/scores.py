"""An adapter's scores as a sentence, the same in Slack, on the command line and in the demo."""

from data.adapters.registry import Adapter


def sentence(adapter: Adapter) -> str:
    """The results on the golden questions, next to the search alone, the base model and the live
    adapter.

    The keys are those of `tuning/evaluation/eval_report.py`."""
    golden = adapter.scores.get("golden") or {}
    if not golden.get("n"):
        gate = adapter.scores.get("gate") or {}
        if not gate.get("measured", True):
            return (
                "its quality is unknown, because nothing was held out and there are no golden "
                "questions (`understudy pairs golden add`)"
            )
        return "no golden questions to evaluate it on"
    compared = f"bare base {golden['base_exact']:.0%}"
    if "search_exact" in golden:
        compared = f"the nearest approved answer {golden['search_exact']:.0%}, {compared}"
    if "live_exact" in golden:
        compared += f", the live adapter {golden['live_exact']:.0%}"
    if "parent_exact" in golden:  # adapters from before the live one was evaluated
        compared += f", its parent {golden['parent_exact']:.0%}"
    return (
        f"{golden['exact']:.0%} of {golden['n']} held-out questions answered exactly ({compared}), "
        f"token F1 {golden['f1']:.2f} (bare base {golden['base_f1']:.2f})"
    )
