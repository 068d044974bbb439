"""Whether a base's chat template has a place for calls of tools, read from its files."""

import json
from pathlib import Path
from typing import Any

import pytest

from data.bases.tool_template import takes_tools
from data.config.settings import BaseModelSettings, ServingSettings, Settings

PLAIN = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
CALLS = "{% for m in messages %}{% for call in m.tool_calls %}{{ call }}{% endfor %}{% endfor %}"


def settings(home: Path, base: str, parser: str = "") -> Settings:
    return Settings(
        home=home,
        base=BaseModelSettings(model=base),
        serving=ServingSettings(tool_call_parser=parser),
    )


def made(folder: Path, template: Any, *, beside: bool = False) -> str:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    about = {} if beside else {"chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    if beside:
        (folder / "chat_template.jinja").write_text(template)
    return str(folder)


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize(("template", "expected"), [(PLAIN, False), (CALLS, True)])
def test_the_template_tells(tmp_path: Path, template: str, expected: bool, beside: bool) -> None:
    base = made(tmp_path / "base", template, beside=beside)

    assert takes_tools(settings(tmp_path, base)) is expected


def test_one_of_several_templates_is_enough(tmp_path: Path) -> None:
    named = [{"name": "default", "template": PLAIN}, {"name": "tool_use", "template": CALLS}]

    assert takes_tools(settings(tmp_path, made(tmp_path / "base", named)))


def test_a_parser_says_that_the_base_can(tmp_path: Path) -> None:
    assert not takes_tools(settings(tmp_path, "pocket"))
    assert takes_tools(settings(tmp_path, "pocket", "hermes"))
    assert not takes_tools(settings(tmp_path, "someone/elsewhere"))
