"""A run beside a real engine: vLLM answers the exam of what was just trained."""

import pytest

from data import domains, placements
from tests.conftest import RunningEngine
from tests.tuning.test_scores import carried_out, taught

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
    parity = next(r for r in adapter.scores["gate"]["rules"] if r["name"] == "parity")
    assert parity["passed"], parity["sentence"]
    (place,) = placements.of_adapter(store.db, adapter.id)
    assert (place.state, place.agreement) == ("loaded", 1.0)
    assert place.parity is not None
    assert place.parity >= 0.98
