"""A rolling restart of a real vLLM while it writes an answer; no process is left behind."""

import pytest

from data.adapters import placements
from data.config.settings import ServingSettings, Settings
from tests import adapter_maker
from tests.conftest import wait_until
from tests.serving.fleet.test_rolling_restart import ask_restart, engines, in_thread, serving
from tests.serving.ports import free_ports

pytestmark = pytest.mark.slow


def test_a_single_engine_is_replaced_by_a_larger_one_and_its_answer_ends(tmp_path, store):
    """Asked for by the registry: an adapter of rank 64 does not fit the engine's 32."""
    settings = Settings(home=tmp_path, serving=ServingSettings(port=free_ports(4), threads=1))
    with serving(settings, store) as served:
        adapter = adapter_maker.register(store, served)
        wait_until(lambda: adapter.id in placements.loaded(store.db), "the loading", 30)
        answering, ended = in_thread(store, adapter, words=600)
        wide = adapter_maker.register(store, served, seed=2, rank=64)
        wait_until(lambda: wide.id in placements.loaded(store.db), "the wide one", 120)
        answering.join()
        assert ended[0] == "local-1"
        assert ended[1] in ("stop", "length")
        wait_until(lambda: len(placements.replicas(store.db)) == 1, "the old one's end", 60)
        (replica,) = placements.ready(store.db)
        assert (replica.name, replica.max_rank) == ("local-2", 64)
        assert {adapter.id, wide.id} <= placements.loaded(store.db).keys()

        ask_restart(store, "local-2")
        wait_until(
            lambda: [r.name for r in placements.replicas(store.db)] == ["local-1"], "the next", 120
        )
        assert {adapter.id, wide.id} <= placements.loaded(store.db).keys()
        assert len(engines(served)) == 1
