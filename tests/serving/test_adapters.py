"""The engine is made to hold what the registry wants, and nothing that is wrong reaches it."""

import numpy as np
import pytest

from data import adapter_files, adapters, placements
from data.adapters import BASE_SERVED_NAME, Adapter
from data.clock import now_us
from data.config import POCKET, ServingSettings, Settings
from data.db import Store, insert
from serving import base_adapter
from serving.adapters import (
    ATTEMPTS,
    EngineRefused,
    Outcome,
    ensure_base,
    forget_failures,
    held,
    load,
    sync,
)
from tests import adapter_maker
from tests.serving.fake_vllm import FakeVllm


@pytest.fixture(autouse=True)
def replica(store: Store) -> None:
    with store.write() as db:
        placements.beat(db, "local", "http://engine", "pocket", "ready")


@pytest.fixture
def adapter(store: Store, settings: Settings) -> Adapter:
    return adapter_maker.register(store, settings)


def run(store: Store, settings: Settings, fake: FakeVllm, *, ours: bool = True) -> Outcome:
    return sync(store, settings, "local", fake.url, ours=ours)


def placed(store: Store) -> dict[int, placements.Placement]:
    return {p.adapter_id: p for p in placements.of_replica(store.db, "local")}


def retire(store: Store, adapter: Adapter) -> None:
    with store.write() as db:
        db.execute("UPDATE adapters SET state = 'retired' WHERE id = ?", [adapter.id])


def test_what_is_missing_is_loaded_from_its_folder_and_recorded(store, settings, fake, adapter):
    assert run(store, settings, fake).loaded == (adapter.served_name,)
    assert fake.held == {adapter.served_name: str(adapter.folder(settings.home))}
    placement = placed(store)[adapter.id]
    assert placement.state == "loaded"
    assert placement.load_ms > 0


def test_nothing_is_done_twice(store, settings, fake, adapter):
    run(store, settings, fake)
    assert run(store, settings, fake) == Outcome()
    assert fake.calls == [("load", adapter.served_name)]


def test_an_engine_that_lost_everything_is_given_it_again(store, settings, fake, adapter):
    run(store, settings, fake)
    fake.held.clear()
    assert run(store, settings, fake).loaded == (adapter.served_name,)


def test_an_adapter_that_is_held_already_is_only_recorded(store, settings, fake, adapter):
    fake.held[adapter.served_name] = "/there"
    assert run(store, settings, fake) == Outcome()
    assert placed(store)[adapter.id].state == "loaded"
    assert fake.calls == []


def test_a_name_is_never_used_for_other_contents(store, settings, fake, adapter):
    """What changed on disk after it was registered is refused, not loaded under the old name."""
    adapter_maker.write(adapter.folder(settings.home), seed=99)
    outcome = run(store, settings, fake)
    assert outcome.failed == (adapter.served_name,)
    assert "have changed since" in placed(store)[adapter.id].error
    assert fake.calls == []


def test_a_failing_adapter_does_not_keep_the_others_out(store, settings, fake, adapter):
    tensors = adapter_maker.weights(seed=2)
    next(iter(tensors.values()))[0, 0] = np.nan
    bad = adapter_maker.register(store, settings, seed=2, tensors=tensors)
    third = adapter_maker.register(store, settings, seed=3)
    fake.refuse_load[third.served_name] = 500
    outcome = run(store, settings, fake)
    assert outcome.loaded == (adapter.served_name,)
    assert set(outcome.failed) == {bad.served_name, third.served_name}
    assert "NaN" in placed(store)[bad.id].error
    assert "500: it is malformed" in placed(store)[third.id].error
    assert ("load", bad.served_name) not in fake.calls


def test_a_failing_adapter_is_left_alone_after_some_attempts(store, settings, fake, adapter):
    fake.refuse_load[adapter.served_name] = 500
    outcomes = [run(store, settings, fake) for _ in range(ATTEMPTS + 2)]
    assert [o.unfinished for o in outcomes] == [True] * (ATTEMPTS - 1) + [False] * 3
    assert fake.calls == [("load", adapter.served_name)] * ATTEMPTS
    assert placed(store)[adapter.id].attempts == ATTEMPTS


def test_a_new_life_of_the_engine_is_a_new_chance(store, settings, fake, adapter):
    fake.refuse_load[adapter.served_name] = 500
    for _ in range(ATTEMPTS):
        run(store, settings, fake)
    forget_failures(store, "local")
    fake.refuse_load.clear()
    assert run(store, settings, fake).loaded == (adapter.served_name,)
    assert placed(store)[adapter.id].error == ""


def test_an_adapter_of_another_base_model_is_refused(store, settings, fake, adapter):
    with store.write() as db:
        db.execute("UPDATE adapters SET base_model = 'other'")
    assert run(store, settings, fake).failed == (adapter.served_name,)
    assert "tuned for the base model other" in placed(store)[adapter.id].error


def test_a_rank_beyond_the_engines_is_refused(store, settings, fake):
    adapter = adapter_maker.register(store, settings, rank=32)
    small = settings.model_copy(update={"serving": ServingSettings(max_lora_rank=16)})
    assert run(store, small, fake).failed == (adapter.served_name,)
    assert "max_lora_rank" in placed(store)[adapter.id].error


def test_missing_files_are_a_failure_like_any_other(store, settings, fake, adapter):
    adapter.folder(settings.home).joinpath(adapter_files.WEIGHTS).unlink()
    assert run(store, settings, fake).failed == (adapter.served_name,)


def test_what_is_not_wanted_any_more_is_unrecorded_and_then_unloaded(
    store, settings, fake, adapter
):
    """In two steps: whoever read the record just now may be about to ask."""
    run(store, settings, fake)
    retire(store, adapter)
    first = run(store, settings, fake)
    assert first.unfinished
    assert placed(store) == {}
    assert adapter.served_name in fake.held
    assert run(store, settings, fake).unloaded == (adapter.served_name,)
    assert fake.held == {}


def test_an_adapter_stays_while_it_answers(store, settings, fake, adapter):
    run(store, settings, fake)
    begin_reply(store, adapter, age_s=1)
    retire(store, adapter)
    for _ in range(3):
        assert run(store, settings, fake).unfinished
    assert adapter.served_name in fake.held
    with store.write() as db:
        db.execute("UPDATE replies SET status = 'done'")
    assert run(store, settings, fake).unloaded == (adapter.served_name,)


def test_a_reply_that_a_crashed_bot_left_open_holds_nothing(store, settings, fake, adapter):
    run(store, settings, fake)
    begin_reply(store, adapter, age_s=settings.bot.answer_timeout_s + 60)
    retire(store, adapter)
    run(store, settings, fake)
    assert run(store, settings, fake).unloaded == (adapter.served_name,)


def begin_reply(store: Store, adapter: Adapter, age_s: int) -> None:
    at = now_us() - age_s * 1_000_000
    with store.write() as db:
        conversation = insert(
            db,
            "conversations",
            domain_id=adapter.domain_id,
            thread="t",
            person="p",
            created_at=at,
        )
        db.execute(
            "INSERT INTO replies (id, conversation_id, domain_id, person, adapter_id, status, "
            "created_at) VALUES ('r', ?, ?, 'p', ?, 'streaming', ?)",
            [conversation, adapter.domain_id, adapter.id, at],
        )


def test_strangers_are_unloaded_from_our_own_engine_only(store, settings, fake):
    fake.held["other@1-0a1b2c3d4e5f"] = "/there"
    assert run(store, settings, fake, ours=False) == Outcome()
    assert run(store, settings, fake, ours=True).unloaded == ("other@1-0a1b2c3d4e5f",)


def test_the_base_adapter_is_never_unloaded(store, settings, fake):
    ensure_base(fake.url, settings)
    run(store, settings, fake)
    assert list(fake.held) == [BASE_SERVED_NAME]


def test_the_base_adapter_is_loaded_once(settings, fake):
    ensure_base(fake.url, settings)
    ensure_base(fake.url, settings)
    assert fake.calls == [("load", BASE_SERVED_NAME)]
    assert fake.held[BASE_SERVED_NAME] == str(base_adapter.ensure(settings))


def test_the_base_adapter_passes_the_check_and_is_all_zero(settings):
    folder = base_adapter.ensure(settings)
    found = adapter_files.check(
        folder,
        base=settings.base.path,
        base_model="pocket",
        max_rank=settings.serving.rank_limit,
    )
    assert found.rank == base_adapter.RANK
    tensors = adapter_files.read_header(folder / adapter_files.WEIGHTS).values()
    content = (folder / adapter_files.WEIGHTS).read_bytes()[min(t.start for t in tensors) :]
    assert not content.strip(b"\0")


def test_the_base_adapter_is_written_once_and_leaves_nothing_behind(settings):
    folder = base_adapter.ensure(settings)
    written = folder.stat().st_mtime_ns
    assert base_adapter.ensure(settings) == folder
    assert folder.stat().st_mtime_ns == written
    assert list(settings.adapters_path.iterdir()) == [folder]


def test_wanted_follows_promotions(store, settings, adapter):
    second = adapter_maker.register(store, settings, seed=2)
    with store.write() as db:
        adapters.promote(db, adapter, "cli:test")
        adapters.promote(db, second, "cli:test")
    names = {a.served_name for a in adapters.wanted(store.db)}
    assert names == {adapter.served_name, second.served_name}  # the previous one, for a roll-back


def test_an_engine_that_is_away_cannot_be_asked(store, settings, fake):
    fake.url = fake.url.rsplit(":", 1)[0] + ":9"
    with pytest.raises(EngineRefused, match="cannot be reached"):
        held(fake.url)


def test_what_is_not_a_vllm_is_said_to_be_none(fake):
    with pytest.raises(EngineRefused, match="not a vLLM"):
        held(f"{fake.url}/elsewhere")


def test_an_engine_without_runtime_loading_gets_a_hint(fake):
    with pytest.raises(EngineRefused, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING"):
        load(f"{fake.url}/elsewhere", "helpdesk@1-0a1b2c3d4e5f", POCKET)
