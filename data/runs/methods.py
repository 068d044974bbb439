"""The tuning methods: what each learns from, and what a run of it requires.

`tuning/training/methods.py` holds how each trains; this table is what the queue and the front ends
know, which load no torch. To add a method, see CONTRIBUTING.md.
"""

from dataclasses import dataclass
from typing import Literal

Learns = Literal["pairs", "preferences"]  # approved pairs, or rated answers
MethodName = Literal["sft", "kto"]


@dataclass(frozen=True)
class Method:
    name: MethodName
    title: str
    learns: Learns  # what `runs.learns` holds for a run of this method


METHODS: dict[MethodName, Method] = {
    method.name: method
    for method in (
        Method("sft", "supervised fine-tuning on approved pairs", "pairs"),
        Method("kto", "KTO on rated answers", "preferences"),
    )
}
