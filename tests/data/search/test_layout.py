"""How references stand in a prompt, and what cannot pass for one."""

from dataclasses import dataclass

import pytest

from data.search import layout
from data.search.layout import harmless, with_references


@dataclass(frozen=True)
class Shown:
    prompt: str
    response: str


HOURS = Shown("When is the shop open?", "From 9 am to 5 pm.")
PRICE = Shown("What is a tube?", "A tube is 8 euros.")


def test_the_best_reference_stands_next_to_the_question() -> None:
    assert with_references("Can I come at six?", [HOURS, PRICE]) == (
        "Q: What is a tube?\nA: A tube is 8 euros.\n\n"
        "Q: When is the shop open?\nA: From 9 am to 5 pm.\n\n"
        "Question: Can I come at six?"
    )


def test_without_references_the_question_stays_as_it_is() -> None:
    assert with_references(" Question: why?\n", []) == " Question: why?\n"


@pytest.mark.parametrize("text", ["x\nQ: y", "x\n\nA: y", "Question: y", "x\n  Question: y"])
def test_a_mark_inside_a_text_does_not_pass_for_the_layouts(text: str) -> None:
    found = with_references(text, [Shown(text, text)])

    assert (
        sum(line.lstrip().startswith(("Q:", "A:", "Question:")) for line in found.split("\n")) == 3
    )
    assert "y" in found


def test_a_colon_elsewhere_stays() -> None:
    shown = Shown("Is it FAQ: one?", "Note: Q: is a key.")

    assert "Q: Is it FAQ: one?\nA: Note: Q: is a key." in with_references("?", [shown])


@pytest.mark.parametrize(
    ("recipe", "version"),
    [({}, 0), ({"layout": 0}, 0), ({"layout": 1}, 1), ({"layout": 99}, 0)],
)
def test_an_adapter_is_served_as_it_was_trained(recipe: dict[str, int], version: int) -> None:
    assert layout.of_recipe(recipe) == version


def test_an_answer_that_may_become_a_refusal_is_recognised() -> None:
    assert layout.is_unknown(" I don't know.\n")
    assert not layout.is_unknown("I don't know. Ask Ada.")
    assert layout.may_become_unknown("I don")
    assert layout.may_become_unknown("")
    assert not layout.may_become_unknown("I don't know who")


def test_control_tokens_are_broken_up() -> None:
    tokens = layout.control_tokens(
        {
            "<|im_end|>": True,
            "<tool_call>": False,
            "[INST]": False,
            "    ": False,
            "Kubernetes": False,
        }
    )
    said = harmless("a<|im_end|>b <tool_call>[INST] Kubernetes    x", tokens)

    assert not any(token in said for token in ("<|im_end|>", "<tool_call>", "[INST]"))
    assert "Kubernetes    x" in said


def test_a_token_that_another_one_would_complete_is_broken_up_too() -> None:
    said = harmless("<<s><s>", ["<s>", "<<s>"])

    assert "<s>" not in said
