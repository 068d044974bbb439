"""An external engine is watched for as long as it is used."""

from pathlib import Path

from data.config.settings import Settings
from serving.engine import external_engine
from serving.engine.external_engine import ExternalEngine
from tests.conftest import wait_until
from tests.serving.fake_vllm import FakeVllm, running


def test_another_base_model_at_the_same_address_gets_no_questions(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(external_engine, "POLL_S", 0.02)
    with running(FakeVllm()) as fake:
        engine = ExternalEngine(Settings(home=tmp_path), fake.url)
        engine.start()
        try:
            wait_until(lambda: engine.state == "ready", "the engine", 5)
            before = fake.base
            fake.base = {"id": "other", "root": "/models/other"}
            wait_until(lambda: engine.state == "down", "the other base to be noticed", 5)
            assert "serves /models/other" in engine.detail
            fake.base = before
            wait_until(lambda: engine.state == "ready", "the right base", 5)
            assert engine.starts == 2
        finally:
            engine.stop()
