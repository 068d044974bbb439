"""A context that is longer than the base model's: found before an engine is started."""

import json
from pathlib import Path
from typing import Any

import pytest

from bot.cli import doctor
from data.bases import context_length
from data.config.settings import BaseModelSettings, ServingSettings, Settings
from serving.engine import engine


@pytest.mark.parametrize(
    ("config", "most"),
    [
        ({"max_position_embeddings": 8192}, 8192),
        ({"n_positions": 1024}, 1024),  # GPT-2
        ({}, None),  # BLOOM
        ({"text_config": {"max_position_embeddings": 4096}}, 4096),  # with a vision part
        ({"max_position_embeddings": 4096,
          "rope_scaling": {"type": "linear", "factor": 4.0}}, 16_384),
        ({"max_position_embeddings": 4096,
          "rope_parameters": {"rope_type": "yarn", "factor": 2.0,
                              "original_max_position_embeddings": 4096}}, 8192),
        ({"max_position_embeddings": 4096, "rope_scaling": None}, 4096),
    ],
)  # fmt: skip
def test_the_context_of_a_base_is_read_from_its_config(
    config: dict[str, Any], most: int | None
) -> None:
    assert context_length.of_config(config) == most


@pytest.mark.parametrize(("length", "refused"), [(512, False), (513, True)])
def test_a_longer_context_is_refused_before_the_engine_starts(
    tmp_path: Path, length: int, refused: bool
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": 512}))
    (tmp_path / "model.safetensors").touch()
    settings = Settings(
        base=BaseModelSettings(model=str(tmp_path)),
        serving=ServingSettings(max_model_len=length),
    )
    words = "Set it to 512 or less, or choose a base model that reads more."

    found = [one for one in doctor._base_model(settings) if one.state == "missing"]

    assert (words in context_length.too_long(settings)) is refused
    assert [one.remedy for one in found] == ([words] if refused else [])
    if engine.installed() is None:
        pytest.skip("vLLM is not installed")
    if refused:
        with pytest.raises(engine.EngineFailed, match="Set it to 512 or less"):
            engine._usable_build(settings)
    else:
        engine._usable_build(settings)
