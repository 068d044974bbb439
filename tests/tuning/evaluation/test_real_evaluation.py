"""A run with a real engine: vLLM answers the evaluation questions of the new adapter."""

import httpx
import pytest

from data import domains
from data.adapters import placements
from data.adapters.registry import ReferenceOutput
from serving.adapters.reference_check import PROBES, compare
from tests.conftest import RunningEngine
from tests.tuning.evaluation.test_eval_report import carried_out, taught

pytestmark = pytest.mark.slow


def test_the_engine_answers_and_agrees_with_the_trainer(engine: RunningEngine) -> None:
    """Its base is in bf16, the trainer's in 4 bit."""
    store, settings = engine.store, engine.settings
    engine.wait_ready()
    with store.write() as db:
        domain = domains.create(db, "exam", system_prompt="Be brief.", validation_share=0.0)
    taught(store, domain)

    adapter = carried_out(store, settings, domain, max_steps=40, learning_rate=3e-3)

    assert adapter.state == "candidate", adapter.state_reason
    assert adapter.scores["evaluation"]["answered_by"] == "the engine"
    assert adapter.scores["evaluation"]["prompts"].startswith("token for token as in training")
    parity = next(r for r in adapter.scores["gate"]["rules"] if r["name"] == "parity")
    assert parity["passed"], parity["sentence"]
    (place,) = placements.placements_of(store.db, adapter.id)
    assert (place.state, place.agreement) == ("loaded", 1.0)
    assert place.parity is not None
    assert place.parity >= 0.98
    words = parity["sentence"]
    assert ("likelier by" in words or "likeliest" in words) == bool(place.leads)


def test_a_real_engine_reports_the_lead_of_a_different_token(
    engine: RunningEngine,
) -> None:
    """The second likeliest, held against the first, in vLLM's own figures."""
    engine.wait_ready()
    prompt = [40, 50, 60, 70]
    asked = {
        "model": "base@0", "prompt": prompt, "max_tokens": 1, "temperature": 0, "logprobs": 5,
        "return_tokens_as_token_ids": True,
    }  # fmt: skip
    answer = httpx.post(f"{engine.url}/v1/completions", json=asked).json()
    (place,) = answer["choices"][0]["logprobs"]["top_logprobs"]
    (_, first), (name, second), *_ = sorted(place.items(), key=lambda one: -one[1])

    other = ReferenceOutput(None, tuple(prompt), (int(name.removeprefix("token_id:")),), 0.0)
    found = compare(engine.url, "base@0", [other], PROBES)

    assert found is not None
    assert found.agreement == 0
    assert found.leads == (pytest.approx(first - second, abs=0.02),)
