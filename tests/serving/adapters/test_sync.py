"""Sync makes the engine hold the adapters that the registry wants, and nothing else."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from data import domains
from data.adapters import files, placements, registry
from data.adapters.placements import ATTEMPTS
from data.adapters.registry import BASE_SERVED_NAME, Adapter, ReferenceOutput
from data.bases import digest
from data.config.settings import POCKET, BaseModelSettings, ServingSettings, Settings
from data.store.clock import now_us
from data.store.db import Store, insert, sqlite3
from data.store.errors import Unavailable
from serving.adapters import zero_adapter
from serving.adapters.sync import (
    SETTLE_S,
    EngineRefused,
    SyncOutcome,
    ensure_base,
    held_adapters,
    load,
    sync,
)
from serving.engine.capacity import Capacity
from serving.engine.management_api import NO_ANSWER
from tests import adapter_maker
from tests.serving.fake_vllm import FakeVllm

FULL = "SELECT RAISE(ROLLBACK, 'database or disk is full')"


@pytest.fixture(autouse=True)
def replica(store: Store) -> None:
    with store.write() as db:
        placements.record_heartbeat(db, "local-1", "http://engine", "pocket", "ready")


@pytest.fixture
def adapter(store: Store, settings: Settings) -> Adapter:
    return adapter_maker.register(store, settings)


def run(store: Store, settings: Settings, fake: FakeVllm, **more: Any) -> SyncOutcome:
    return sync(store, settings, "local-1", fake.url, **{"local": True, **more})


def later(store: Store, seconds: float = 60) -> None:
    """As if so much time had gone by."""
    with store.write() as db:
        db.execute("UPDATE placements SET updated_at = updated_at - ?", [int(seconds * 1e6)])


def placed(store: Store) -> dict[int, placements.Placement]:
    return {p.adapter_id: p for p in placements.placements_on(store.db, "local-1")}


def retire(store: Store, adapter: Adapter) -> None:
    with store.write() as db:
        db.execute("UPDATE adapters SET state = 'retired' WHERE id = ?", [adapter.id])


def test_a_missing_adapter_is_loaded_from_its_folder_and_recorded(store, settings, fake, adapter):
    assert run(store, settings, fake).loaded == (adapter.served_name,)
    assert fake.held == {adapter.served_name: str(adapter.folder(settings.home))}
    placement = placed(store)[adapter.id]
    assert placement.state == "loaded"
    assert placement.load_ms > 0


def test_a_second_sync_does_nothing(store, settings, fake, adapter):
    run(store, settings, fake)
    assert run(store, settings, fake) == SyncOutcome()
    assert fake.calls == [("load", adapter.served_name)]


def test_an_engine_that_lost_its_adapters_gets_them_again(store, settings, fake, adapter):
    run(store, settings, fake)
    fake.held.clear()
    assert run(store, settings, fake).loaded == (adapter.served_name,)


def test_an_adapter_found_in_the_engine_is_checked_like_any_other(store, settings, fake, adapter):
    """As after we died between the load and its record."""
    fake.held[adapter.served_name] = str(adapter.folder(settings.home))
    assert run(store, settings, fake) == SyncOutcome()
    assert placed(store)[adapter.id].state == "loaded"
    assert placed(store)[adapter.id].load_ms is None
    assert fake.calls == []


def test_a_name_that_was_loaded_from_another_folder_is_loaded_again(store, settings, fake, adapter):
    """The engine has the name from another home, whose files may go at any time."""
    fake.held[adapter.served_name] = "/elsewhere"
    assert run(store, settings, fake).unfinished
    assert placements.holders(store.db) == {}
    assert run(store, settings, fake).loaded == (adapter.served_name,)
    assert fake.held == {adapter.served_name: str(adapter.folder(settings.home))}


def test_a_name_is_never_used_for_other_contents(store, settings, fake, adapter):
    """What changed on disk after it was registered is refused, not loaded under the old name."""
    adapter_maker.write(adapter.folder(settings.home), seed=99)
    outcome = run(store, settings, fake)
    assert outcome.failed == (adapter.served_name,)
    assert "have changed since" in placed(store)[adapter.id].error
    assert fake.calls == []


def test_a_failing_adapter_does_not_delay_others(store, settings, fake, adapter):
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
    outcomes = []
    for _ in range(ATTEMPTS + 2):
        outcomes.append(run(store, settings, fake))
        later(store)
    assert [o.unfinished for o in outcomes] == [True] * (ATTEMPTS - 1) + [False] * 3
    assert fake.calls == [("load", adapter.served_name)] * ATTEMPTS
    assert placed(store)[adapter.id].attempts == ATTEMPTS


def test_attempts_have_pauses_between_them(store, settings, fake, adapter):
    fake.refuse_load[adapter.served_name] = 500
    for _ in range(5):
        assert run(store, settings, fake).unfinished
    assert len(fake.calls) == 1
    later(store, 1)
    run(store, settings, fake)
    later(store, 1)
    run(store, settings, fake)
    assert len(fake.calls) == 2  # the second pause is longer


def test_setting_the_clock_back_does_not_lengthen_the_pauses(store, settings, fake, adapter):
    fake.refuse_load[adapter.served_name] = 500
    run(store, settings, fake)
    later(store, -3600)
    run(store, settings, fake)
    assert len(fake.calls) == 2


@pytest.mark.parametrize("again", ["a new life of the engine", "somebody asks for it"])
def test_a_failed_adapter_gets_its_attempts_again(store, settings, fake, adapter, again):
    fake.refuse_load[adapter.served_name] = 500
    for _ in range(ATTEMPTS):
        run(store, settings, fake)
        later(store)
    fake.refuse_load.clear()
    assert run(store, settings, fake) == SyncOutcome()
    with store.write() as db:
        if again == "somebody asks for it":
            placements.retry(db, adapter.id, "cli:ann", adapter.name)
        else:
            placements.record_restart(db, "local-1", empty=True)
    assert run(store, settings, fake).loaded == (adapter.served_name,)
    assert placed(store)[adapter.id].error == ""


def test_an_unreachable_engine_does_not_use_up_an_attempt(store, settings, fake, adapter):
    fake.refuse_load[adapter.served_name] = 500
    fake.healthy = False
    for _ in range(ATTEMPTS + 1):
        with pytest.raises(EngineRefused):
            run(store, settings, fake)
    fake.refuse_load.clear()
    fake.healthy = True
    assert run(store, settings, fake).loaded == (adapter.served_name,)


def test_an_adapter_that_differs_from_its_reference_outputs_is_kept_from_people(
    store, settings, fake, adapter
):
    remember_output(store, adapter, [5, 6, 7, 8])
    fake.goes_on = lambda name, prompt, count: [5, 0, 0, 0, 0][:count]
    outcome = run(store, settings, fake)
    assert outcome.failed == (adapter.served_name,)
    placement = placed(store)[adapter.id]
    assert (placement.state, placement.agreement) == ("failed", 0.25)
    assert placement.error == (
        "It answers differently in this engine than after training: 25% of the "
        "tokens of its reference outputs agree, and at least 90% must."
    )
    assert fake.held == {}  # unloaded again


def test_the_agreement_with_the_reference_outputs_is_recorded(store, settings, fake, adapter):
    remember_output(store, adapter, [5, 6, 7, 8])
    fake.goes_on = lambda name, prompt, count: [5, 6, 7, 8][len(prompt) - 3 :]
    assert run(store, settings, fake).loaded == (adapter.served_name,)
    assert placed(store)[adapter.id].agreement == 1.0


def test_the_probes_of_an_adapter_in_evaluation_are_compared(store, settings, fake, adapter):
    remember_output(store, adapter, [5, 6, 7, 8], column="probes", state="evaluating")
    fake.goes_on = lambda name, prompt, count: [5, 6, 0, 8][len(prompt) - 3 :]
    assert run(store, settings, fake).loaded == (adapter.served_name,)
    assert (placed(store)[adapter.id].agreement, placed(store)[adapter.id].parity) == (None, 0.75)


def test_probes_are_compared_only_while_an_adapter_is_evaluated(store, settings, fake, adapter):
    remember_output(store, adapter, [5, 6, 7, 8], column="probes")
    assert run(store, settings, fake).loaded == (adapter.served_name,)
    assert placed(store)[adapter.id].parity is None
    assert fake.completed == []


def test_an_adapter_that_the_gate_rejects_is_unloaded(store, settings, fake, adapter):
    remember_output(store, adapter, [], state="evaluating")
    run(store, settings, fake)
    with store.write() as db:
        registry.settle_evaluation(
            db, registry.by_id(db, adapter.id), "rejected", {}, "It is worse."
        )
    assert run(store, settings, fake).unloaded == (adapter.served_name,)
    assert fake.held == {}


def test_the_required_agreement_is_a_setting(store, settings, fake, adapter):
    remember_output(store, adapter, [5, 6, 7, 8])
    fake.goes_on = lambda name, prompt, count: [0] * count
    lenient = settings.model_copy(update={"serving": ServingSettings(canary_agreement=0)})
    assert run(store, lenient, fake).loaded == (adapter.served_name,)
    assert placed(store)[adapter.id].agreement == 0.0


def test_an_adapter_found_in_the_engine_is_not_trusted_before_the_comparison(
    store, settings, fake, adapter
):
    remember_output(store, adapter, [5, 6, 7, 8])
    fake.goes_on = lambda name, prompt, count: [0] * count
    fake.held[adapter.served_name] = str(adapter.folder(settings.home))
    assert run(store, settings, fake).failed == (adapter.served_name,)
    assert fake.held == {}


def remember_output(
    store: Store,
    adapter: Adapter,
    answer: list[int],
    column: str = "canaries",
    state: str = "candidate",
) -> None:
    canary = ReferenceOutput(None, (1, 2, 3), tuple(answer), -0.1)
    with store.write() as db:
        sql = f"UPDATE adapters SET {column} = ?, state = ? WHERE id = ?"
        db.execute(sql, [orjson.dumps([canary]).decode(), state, adapter.id])


def test_an_adapter_of_another_base_model_is_refused(store, settings, fake, adapter):
    with store.write() as db:
        db.execute("UPDATE adapters SET base_model = 'other'")
    assert run(store, settings, fake).failed == (adapter.served_name,)
    assert "tuned on the base model other" in placed(store)[adapter.id].error


@pytest.fixture
def own_base(settings: Settings) -> Settings:
    """The same settings with a copy of the pocket base, which may be changed."""
    folder = shutil.copytree(POCKET, settings.home / "base")
    base = BaseModelSettings(model=str(folder))
    return settings.model_copy(update={"base": base})


def belongs_to(store: Store, adapter: Adapter, settings: Settings, named: str = "pocket") -> None:
    """Record the base of the settings as that of the adapter, under the name `named`."""
    known = orjson.dumps(digest.of_base(settings)).decode()
    sql = "UPDATE adapters SET base_digest = ?, base_model = ? WHERE id = ?"
    with store.write() as db:
        db.execute(sql, [known, named, adapter.id])


def test_an_adapter_of_the_same_base_in_another_place_is_loaded(
    store, settings, own_base, fake, adapter
):
    belongs_to(store, adapter, settings)
    assert adapter.base_model == "pocket" != own_base.base.model
    assert run(store, own_base, fake).loaded == (adapter.served_name,)


@pytest.mark.parametrize("part", ["model.safetensors", "tokenizer.json", "chat_template.jinja"])
def test_a_base_that_was_exchanged_under_its_path_is_noticed(store, own_base, fake, part):
    adapter = adapter_maker.register(store, own_base)
    belongs_to(store, adapter, own_base, own_base.base.model)
    file = Path(own_base.base.path, part)
    file.write_bytes(file.read_bytes() + b" ")
    assert run(store, own_base, fake).failed == (adapter.served_name,)
    error = placed(store)[adapter.id].error
    assert "has changed since helpdesk@1 was trained" in error
    assert "understudy tune helpdesk --full" in error
    assert fake.held == {}


def test_an_engine_that_still_serves_the_exchanged_base_is_to_be_restarted(store, own_base, fake):
    began = digest.of_base(own_base)
    Path(own_base.base.path, "chat_template.jinja").write_text("another")
    adapter = adapter_maker.register(store, own_base)
    belongs_to(store, adapter, own_base)
    assert run(store, own_base, fake, base_digest=began).failed == (adapter.served_name,)
    assert "understudy replicas restart" in placed(store)[adapter.id].error
    later(store)
    assert run(store, own_base, fake, base_digest=digest.of_base(own_base)).loaded


def test_a_rank_beyond_the_engines_is_refused(store, settings, fake):
    adapter = adapter_maker.register(store, settings, rank=32)
    small = settings.model_copy(update={"serving": ServingSettings(max_lora_rank=16)})
    assert run(store, small, fake).failed == (adapter.served_name,)
    assert "max_lora_rank" in placed(store)[adapter.id].error


def test_a_rank_beyond_the_engines_capacity_waits_for_a_restart(store, settings, fake):
    adapter = adapter_maker.register(store, settings, rank=64)
    small, large = Capacity(5, 32, 32), Capacity(5, 32, 64)
    for _ in range(2):
        outcome = run(store, settings, fake, capacity=small)
        assert (outcome.waiting, outcome.failed) == ((adapter.served_name,), ())
    placement = placed(store)[adapter.id]
    assert (placement.state, placement.attempts) == ("loading", 0)
    assert (
        "its rank is 64, and the engine was started for ranks up to 32" in placement.error.lower()
    )
    assert fake.calls == []
    assert run(store, settings, fake, capacity=large).loaded == (adapter.served_name,)


def test_missing_files_are_a_failure_like_any_other(store, settings, fake, adapter):
    adapter.folder(settings.home).joinpath(files.WEIGHTS).unlink()
    assert run(store, settings, fake).failed == (adapter.served_name,)


def test_an_unwanted_adapter_is_unloaded_and_its_lease_released(store, settings, fake, adapter):
    run(store, settings, fake)
    retire(store, adapter)
    assert run(store, settings, fake).unloaded == (adapter.served_name,)
    assert (placed(store), fake.held) == ({}, {})


def test_an_adapter_stays_until_its_answers_end_and_gets_no_new_ones(
    store, settings, fake, adapter
):
    run(store, settings, fake)
    begin_reply(store, adapter, age_s=1)
    retire(store, adapter)
    for _ in range(3):
        assert run(store, settings, fake).unfinished
        assert placed(store)[adapter.id].state == "draining"
        assert not placements.can_answer(store.db, "local-1", adapter.id)
    assert adapter.served_name in fake.held
    with store.write() as db:
        db.execute("UPDATE replies SET status = 'done'")
    assert run(store, settings, fake).unloaded == (adapter.served_name,)


@pytest.mark.parametrize("action", ["promote", "roll back", "retire"])
def test_streams_on_the_old_adapter_end_before_it_goes(store, settings, fake, adapter, action):
    second, third = (adapter_maker.register(store, settings, seed=n) for n in (2, 3))
    domain = domains.by_id(store.db, adapter.domain_id)
    with store.write() as db:
        registry.promote(db, adapter, "cli:test")
        registry.promote(db, second, "cli:test")
    run(store, settings, fake)
    old = {"promote": adapter, "roll back": second, "retire": third}[action]
    begin_reply(store, old, age_s=1)
    with store.write() as db:
        if action == "promote":  # the one before the last is not what a roll-back brings back
            registry.promote(db, third, "cli:test")
        elif action == "roll back":
            assert registry.roll_back(db, domain, "cli:test") == registry.by_id(db, adapter.id)
        else:
            registry.retire(db, third, "cli:test")
    for _ in range(3):
        assert run(store, settings, fake).unfinished
    assert old.served_name in fake.held
    assert not placements.can_answer(store.db, "local-1", old.id)
    with store.write() as db:
        db.execute("UPDATE replies SET status = 'done'")
    assert run(store, settings, fake).unloaded == (old.served_name,)
    assert len(fake.held) == 2


def test_an_answer_on_another_replica_does_not_delay_unloading(store, settings, fake, adapter):
    run(store, settings, fake)
    begin_reply(store, adapter, age_s=1, replica="local-2")
    retire(store, adapter)
    assert run(store, settings, fake).unloaded == (adapter.served_name,)


def test_a_reply_that_a_crashed_bot_left_open_does_not_block_unloading(
    store, settings, fake, adapter
):
    run(store, settings, fake)
    begin_reply(store, adapter, age_s=settings.bot.answer_timeout_s + 60)
    retire(store, adapter)
    assert run(store, settings, fake).unloaded == (adapter.served_name,)


def test_an_adapter_that_is_wanted_again_while_it_drains_stays(store, settings, fake, adapter):
    run(store, settings, fake)
    begin_reply(store, adapter, age_s=1)
    retire(store, adapter)
    run(store, settings, fake)
    with store.write() as db:
        registry.promote(db, adapter, "cli:test")
    run(store, settings, fake)
    assert placed(store)[adapter.id].state == "loaded"
    assert fake.calls == [("load", adapter.served_name)]


def test_the_lease_lasts_until_the_engine_has_certainly_unloaded_it(store, settings, fake, adapter):
    run(store, settings, fake)
    retire(store, adapter)
    fake.network = "errors"
    with pytest.raises(EngineRefused):
        run(store, settings, fake)
    assert placements.leases(store.db, adapter.id) == ["local-1"]
    fake.network = "up"
    run(store, settings, fake)
    assert placements.leases(store.db, adapter.id) == []


def test_the_lease_stays_while_an_unanswered_load_may_still_finish(store, settings, fake, adapter):
    with store.write() as db:
        placements.record_failed(
            db, "local-1", adapter.id, f"The engine at {fake.url} {NO_ANSWER}: timed out"
        )
    retire(store, adapter)
    assert run(store, settings, fake).unfinished
    assert placements.leases(store.db, adapter.id) == ["local-1"]
    fake.held[adapter.served_name] = str(adapter.folder(settings.home))  # there it is
    assert run(store, settings, fake).unloaded == (adapter.served_name,)
    assert placements.leases(store.db, adapter.id) == []


def test_the_lease_ends_when_an_unanswered_load_never_finished(store, settings, fake, adapter):
    with store.write() as db:
        placements.lease(db, "local-1", adapter.id)
    retire(store, adapter)
    assert run(store, settings, fake).unfinished
    later(store, SETTLE_S + 1)
    assert not run(store, settings, fake).unfinished
    assert placements.leases(store.db, adapter.id) == []


def test_an_adapter_left_by_an_earlier_process_is_unloaded(store, settings, fake, adapter):
    run(store, settings, fake)
    retire(store, adapter)
    with store.write() as db:
        placements.drop(db, "local-1", adapter.id)
    assert run(store, settings, fake, local=False).unloaded == (adapter.served_name,)
    assert placements.leases(store.db, adapter.id) == []


def test_a_registry_change_during_a_sync_is_applied_by_the_next(store, settings, fake, adapter):
    """Retired while the engine loads it: loaded now, withdrawn then."""
    fake.on_load = lambda name: retire_elsewhere(settings, adapter)
    assert run(store, settings, fake).loaded == (adapter.served_name,)
    assert run(store, settings, fake).unloaded == (adapter.served_name,)
    assert placed(store) == {}


def retire_elsewhere(settings: Settings, adapter: Adapter) -> None:
    with Store(settings.store_path) as other:
        retire(other, adapter)


def begin_reply(store: Store, adapter: Adapter, age_s: int, replica: str = "local-1") -> None:
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
            "INSERT INTO replies (id, conversation_id, domain_id, person, adapter_id, replica, "
            "status, created_at, opened_at) VALUES ('r', ?, ?, 'p', ?, ?, 'streaming', ?, ?)",
            [conversation, adapter.domain_id, adapter.id, replica, at, at],
        )


def test_unknown_adapters_are_unloaded_only_from_local_engines(store, settings, fake):
    fake.held["other@1-0a1b2c3d4e5f"] = "/there"
    assert run(store, settings, fake, local=False) == SyncOutcome()
    assert run(store, settings, fake, local=True).unloaded == ("other@1-0a1b2c3d4e5f",)


def test_the_base_adapter_is_never_unloaded(store, settings, fake):
    ensure_base(fake.url, settings, held_adapters(fake.url))
    run(store, settings, fake)
    assert list(fake.held) == [BASE_SERVED_NAME]


def test_a_base_adapter_of_another_home_is_replaced(settings, fake, tmp_path):
    fake.held[BASE_SERVED_NAME] = "/other/adapters/base-0-0a1b2c3d4e5f"
    ensure_base(fake.url, settings, held_adapters(fake.url))
    assert fake.held[BASE_SERVED_NAME] == str(zero_adapter.ensure(settings))


def test_a_publish_that_a_full_disk_interrupts_is_finished_when_there_is_space(
    store, settings, fake, adapter
):
    """The engine is told of nothing that could not be leased, and people are sent to nothing that
    could not be recorded."""
    with store.write() as db:
        db.execute(f"CREATE TRIGGER full BEFORE INSERT ON placements BEGIN {FULL}; END")
    with pytest.raises(sqlite3.Error):
        run(store, settings, fake)
    assert fake.calls == []
    with store.write() as db:
        db.execute("DROP TRIGGER full")
        db.execute(
            "CREATE TRIGGER full BEFORE UPDATE ON placements WHEN new.state = 'loaded' "
            f"BEGIN {FULL}; END"
        )
    with pytest.raises(sqlite3.Error):
        run(store, settings, fake)
    assert adapter.served_name in fake.held
    assert placed(store)[adapter.id].state == "loading"
    assert placements.holders(store.db) == {}
    with store.write() as db:
        db.execute("DROP TRIGGER full")
    run(store, settings, fake)
    assert placed(store)[adapter.id].state == "loaded"
    assert fake.calls == [("load", adapter.served_name)]


def test_a_full_disk_is_reported_in_a_sentence(settings, tmp_path):
    settings.adapters_path.touch()  # no folder can be made there
    with pytest.raises(Unavailable, match="cannot be written"):
        zero_adapter.ensure(settings)


def test_the_base_adapter_is_loaded_once(settings, fake):
    ensure_base(fake.url, settings, held_adapters(fake.url))
    ensure_base(fake.url, settings, held_adapters(fake.url))
    assert fake.calls == [("load", BASE_SERVED_NAME)]
    assert fake.held[BASE_SERVED_NAME] == str(zero_adapter.ensure(settings))


@pytest.mark.parametrize("name", files.READ_BY_ENGINE)
def test_a_base_adapter_that_a_power_cut_left_empty_is_written_again(settings, fake, name):
    folder = zero_adapter.ensure(settings)
    (folder / name).write_bytes(b"")
    ensure_base(fake.url, settings, held_adapters(fake.url))
    assert fake.held[BASE_SERVED_NAME] == str(folder)
    assert list(settings.adapters_path.iterdir()) == [folder]


def test_the_base_adapter_passes_the_check_and_is_all_zero(settings):
    folder = zero_adapter.ensure(settings)
    found = files.check(
        folder,
        base=settings.base.path,
        base_model="pocket",
        max_rank=settings.serving.rank_limit,
    )
    assert found.rank == zero_adapter.RANK
    tensors = files.read_header(folder / files.WEIGHTS).values()
    content = (folder / files.WEIGHTS).read_bytes()[min(t.start for t in tensors) :]
    assert not content.strip(b"\0")


def test_the_base_adapter_is_written_once_and_leaves_nothing_behind(settings):
    folder = zero_adapter.ensure(settings)
    written = folder.stat().st_mtime_ns
    assert zero_adapter.ensure(settings) == folder
    assert folder.stat().st_mtime_ns == written
    assert list(settings.adapters_path.iterdir()) == [folder]


def test_wanted_follows_promotions(store, settings, adapter):
    second = adapter_maker.register(store, settings, seed=2)
    with store.write() as db:
        registry.promote(db, adapter, "cli:test")
        registry.promote(db, second, "cli:test")
    names = {a.served_name for a in registry.wanted_adapters(store.db)}
    assert names == {adapter.served_name, second.served_name}  # the previous one, for a roll-back


def test_an_unreachable_engine_is_an_error(store, settings, fake):
    fake.url = fake.url.rsplit(":", 1)[0] + ":9"
    with pytest.raises(EngineRefused, match="cannot be reached"):
        held_adapters(fake.url)


def test_a_server_that_is_not_vllm_is_reported(fake):
    with pytest.raises(EngineRefused, match="is not vLLM"):
        held_adapters(f"{fake.url}/elsewhere")


def test_an_engine_without_runtime_loading_gets_a_hint(fake):
    with pytest.raises(EngineRefused, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING"):
        load(f"{fake.url}/elsewhere", "helpdesk@1-0a1b2c3d4e5f", POCKET)
