"""What `understudy base check` finds out: it answers, its template, its tokens, what vLLM says."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from data.bases import digest
from data.config.settings import POCKET, BaseModelSettings, ServingSettings, Settings
from data.store.errors import Invalid
from tuning.bases import checking
from tuning.model.base_model import load_tokenizer

pytestmark = pytest.mark.integration

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
OWN = "{% if messages[0].role != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
REFUSES = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"


@pytest.fixture
def no_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking vLLM takes ten seconds; one test does."""
    monkeypatch.setattr(checking, "_ask_vllm", lambda _: (True, True))


def silent(what: str, share: float | None) -> None:
    pass


def at(tmp_path: Path, model: object, **serving: Any) -> Settings:
    base = BaseModelSettings(model=str(model))
    return Settings(home=tmp_path / "home", base=base, serving=ServingSettings(**serving))


def test_a_base_that_works_has_no_problems(tmp_path: Path, tiny_base: Path, no_vllm: None) -> None:
    settings = at(tmp_path, tiny_base, max_model_len=512)

    found = checking.check(settings, silent)

    assert found.problems == ()
    assert (found.architecture, found.context, found.precision) == (
        "Qwen3ForCausalLM", 512, "bf16",
    )  # fmt: skip
    assert found.stop_tokens == ("<|im_end|>",)
    assert set(found.special_tokens) == {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}
    assert found.answer_tokens_s > 0
    assert found.train_step_s > 0
    assert found.digest == digest.joined(digest.of_base(settings))


def test_a_context_beyond_the_bases_is_a_problem(
    tmp_path: Path, tiny_base: Path, no_vllm: None
) -> None:
    (problem,) = checking.check(at(tmp_path, tiny_base, max_model_len=1024), silent).problems

    assert "It supports 512 tokens" in problem
    assert "max_model_len is 1,024" in problem


def test_a_base_without_a_template_is_a_problem(
    tmp_path: Path, tiny_base: Path, no_vllm: None
) -> None:
    folder = shutil.copytree(tiny_base, tmp_path / "base")
    (folder / "chat_template.jinja").unlink()

    found = checking.check(at(tmp_path, folder, max_model_len=512), silent)

    assert "no chat template" in found.problems[0]
    assert found.answer == ""


def test_a_base_that_is_not_here_is_explained(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="understudy base add smollm2-135m"):
        checking.check(at(tmp_path, "smollm2-135m"), silent)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (CHATML, ""),
        (OWN + CHATML, "Be kind."),
        (REFUSES + CHATML, ""),
        ("<s>" + OWN + CHATML, "Be kind."),
    ],
)
def test_a_system_prompt_of_the_template_is_found(template: str, expected: str) -> None:
    tokenizer = load_tokenizer(str(POCKET))
    tokenizer.chat_template = template

    assert checking.default_system_prompt(tokenizer) == expected


@pytest.mark.slow
def test_vllm_says_what_it_serves() -> None:
    assert checking._ask_vllm(["LlamaForCausalLM"]) == (True, True)
    assert checking._ask_vllm(["NoSuchModel"]) == (False, False)
