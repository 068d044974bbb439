"""The registry: immutable versions, one of them live, and every step can be undone."""

from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from data import domains
from data.adapters import placements, registry
from data.adapters.registry import Adapter
from data.domains import Domain
from data.experiments import experiments
from data.runs import runs
from data.store import audit
from data.store.db import Store, value
from data.store.errors import Conflict, NotFound
from tests.data import given


def promote(store: Store, adapter: Adapter) -> None:
    with store.write() as db:
        registry.promote(db, adapter, "cli:ann")


def roll_back(store: Store, domain: Domain) -> str:
    with store.write() as db:
        now = registry.roll_back(db, domain, "cli:ann")
    return now.name if now else "base"


@pytest.fixture
def three(store: Store, domain: Domain) -> list[Adapter]:
    with store.write() as db:
        return [given.adapter(db, domain) for _ in range(3)]


def test_versions_count_up_within_a_domain(store: Store, three: list[Adapter]) -> None:
    with store.write() as db:
        other = given.adapter(db, domains.create(db, "hr"))
    assert [a.name for a in three] == ["helpdesk@1", "helpdesk@2", "helpdesk@3"]
    assert other.name == "hr@1"
    assert [a.name for a in registry.list_adapters(store.db)] == [
        "hr@1",
        *(a.name for a in three[::-1]),
    ]


def test_a_version_number_is_used_once(store: Store, domain: Domain, three: list[Adapter]) -> None:
    with pytest.raises(Conflict, match="helpdesk@2 is already registered"), store.write() as db:
        registry.register(
            db,
            domain,
            version=2,
            sha256="0" * 64,
            path="x",
            base_model="pocket",
            rank=8,
            size_bytes=1,
            recipe={},
            scores={},
        )


def test_the_served_name_contains_the_content_digest(three: list[Adapter], tmp_path: Path) -> None:
    assert three[0].served_name == "helpdesk@1-000000000000"
    assert len({a.served_name for a in three}) == 3
    assert three[0].folder(tmp_path) == tmp_path / "adapters/helpdesk/1"


@pytest.mark.parametrize("name", ["helpdesk@2", "2", "@2"])
def test_an_adapter_is_found_by_the_names_that_people_use(
    store: Store, domain: Domain, three: list[Adapter], name: str
) -> None:
    assert registry.get(store.db, name, domain) == three[1]


@pytest.mark.parametrize("name", ["helpdesk@9", "helpdesk@base", "helpdesk", "../x@1", "", "2"])
def test_an_unknown_name_is_refused_with_the_known_ones(
    store: Store, three: list[Adapter], name: str
) -> None:
    with pytest.raises(NotFound, match="there are: helpdesk@3, helpdesk@2, helpdesk@1"):
        registry.get(store.db, name)


def test_nothing_is_live_at_first(store: Store, domain: Domain, three: list[Adapter]) -> None:
    assert registry.live(store.db, domain.id) is None
    with pytest.raises(Conflict, match="no promotion to roll back"):
        roll_back(store, domain)


def test_promoting_retires_the_previous_adapter(
    store: Store, domain: Domain, three: list[Adapter]
) -> None:
    promote(store, three[0])
    promote(store, three[2])
    states = {a.name: a.state for a in registry.list_adapters(store.db, domain)}
    assert states == {"helpdesk@1": "retired", "helpdesk@2": "candidate", "helpdesk@3": "live"}
    assert [e.action for e in audit.recent(store.db)][:2] == ["promote", "promote"]


def test_roll_backs_undo_promotions_one_by_one(
    store: Store, domain: Domain, three: list[Adapter]
) -> None:
    for adapter in three:
        promote(store, adapter)
    assert [roll_back(store, domain) for _ in three] == ["helpdesk@2", "helpdesk@1", "base"]
    with pytest.raises(Conflict):
        roll_back(store, domain)


def test_a_promotion_after_a_roll_back_can_be_undone(
    store: Store, domain: Domain, three: list[Adapter]
) -> None:
    promote(store, three[0])
    promote(store, three[1])
    assert roll_back(store, domain) == "helpdesk@1"
    promote(store, three[2])
    assert roll_back(store, domain) == "helpdesk@1"
    assert roll_back(store, domain) == "base"


def test_live_and_rejected_adapters_cannot_be_promoted(
    store: Store, domain: Domain, three: list[Adapter]
) -> None:
    promote(store, three[0])
    with pytest.raises(Conflict, match="helpdesk@1 is already live"):
        promote(store, three[0])
    with store.write() as db:
        bad = given.adapter(db, domain, "rejected")
    with pytest.raises(Conflict, match="helpdesk@4 was rejected: not finite"):
        promote(store, bad)
    assert (live := registry.live(store.db, domain.id)) is not None
    assert live.name == "helpdesk@1"


def test_two_admins_promoting_at_once_leave_one_live(
    store: Store, domain: Domain, three: list[Adapter]
) -> None:
    jobs = [
        store.submit_soon(lambda db, a=adapter: registry.promote(db, a, "cli:ann"))
        for adapter in three
    ]
    for job in jobs:
        job.result(10)
    sql = "SELECT count(*) FROM adapters WHERE state = 'live'"
    assert value(store.db, sql) == 1


def test_engines_hold_every_adapter_that_may_be_requested(
    store: Store, domain: Domain, three: list[Adapter]
) -> None:
    for adapter in three:
        promote(store, adapter)
    with store.write() as db:
        candidate = given.adapter(db, domain)
        given.adapter(db, domain, "rejected")
    wanted = [a.name for a in registry.wanted_adapters(store.db)]
    assert wanted == ["helpdesk@3", candidate.name, "helpdesk@2"]  # live first; 2 to go back to
    with store.write() as db:
        experiments.start(db, domain, three[0], candidate, "cli:ann")
    assert "helpdesk@1" in [a.name for a in registry.wanted_adapters(store.db)]


def test_the_target_of_the_next_roll_back_is_held_after_a_roll_back(
    store: Store, domain: Domain, three: list[Adapter]
) -> None:
    for adapter in three:
        promote(store, adapter)
    assert roll_back(store, domain) == "helpdesk@2"
    assert [a.name for a in registry.wanted_adapters(store.db)] == ["helpdesk@2", "helpdesk@1"]
    assert registry.wanted_ids(store.db) == {three[0].id, three[1].id}


def test_candidates_are_held_but_not_hot_until_they_are_compared(
    store: Store, domain: Domain, three: list[Adapter]
) -> None:
    promote(store, three[0])
    promote(store, three[1])
    assert registry.wanted_ids(store.db) == {a.id for a in three}
    assert registry.hot_ids(store.db) == {three[0].id, three[1].id}
    with store.write() as db:
        experiments.start(db, domain, three[1], three[2], "cli:ann")
    assert registry.hot_ids(store.db) == {a.id for a in three}


def test_a_candidate_is_retired(store: Store, domain: Domain, three: list[Adapter]) -> None:
    with store.write() as db:
        assert registry.retire(db, three[0], "cli:ann").state == "retired"
        with pytest.raises(Conflict, match="helpdesk@1 is already retired"):
            registry.retire(db, three[0], "cli:ann")
    assert three[0].id not in registry.wanted_ids(store.db)
    assert audit.recent(store.db)[0].action == "retire"


def test_a_live_or_compared_adapter_is_not_retired(
    store: Store, domain: Domain, three: list[Adapter]
) -> None:
    promote(store, three[0])
    with store.write() as db:
        experiments.start(db, domain, three[0], three[1], "cli:ann")
        with pytest.raises(Conflict, match=r"is live.*understudy adapters rollback helpdesk"):
            registry.retire(db, three[0], "cli:ann")
        with pytest.raises(Conflict, match=r"being compared.*understudy ab stop helpdesk"):
            registry.retire(db, three[1], "cli:ann")


def test_only_adapters_out_of_service_are_removed(
    store: Store, domain: Domain, three: list[Adapter]
) -> None:
    first, second, third = three
    for adapter in (first, second, third):
        promote(store, adapter)
    with store.write() as db:
        candidate = given.adapter(db, domain)
        for kept, why in (
            (third, r"is live\. Promote another version"),
            (candidate, r"is a candidate.*understudy adapters retire"),
            (second, "the roll-back target of helpdesk"),
        ):
            with pytest.raises(Conflict, match=why):
                registry.remove(db, kept, "cli:ann")
        running = runs.queue(db, domain, "cli:ann", kind="incremental", parent_id=first.id)
        with pytest.raises(Conflict, match=f"Run {running.id} continues from helpdesk@1"):
            registry.remove(db, first, "cli:ann")
        runs.cancel(db, running.id, "cli:ann")
        experiment = experiments.start(db, domain, third, first, "cli:ann")
        with pytest.raises(Conflict, match="being compared"):
            registry.remove(db, first, "cli:ann")
        experiments.stop(db, experiment, "cli:ann")
        assert registry.remove(db, first, "cli:ann").removal_asked_at is not None
        with pytest.raises(Conflict, match="was removed already"):
            registry.remove(db, first, "cli:ann")


def test_a_removed_adapter_cannot_return(
    store: Store, domain: Domain, three: list[Adapter]
) -> None:
    for adapter in three:
        promote(store, adapter)
    with store.write() as db:
        removed = registry.remove(db, three[0], "cli:ann")
        with pytest.raises(Conflict, match="helpdesk@1 was removed"):
            registry.promote(db, removed, "cli:ann")
        with pytest.raises(Conflict, match="helpdesk@1 was removed"):
            experiments.start(db, domain, three[2], removed, "cli:ann")
    assert roll_back(store, domain) == "helpdesk@2"
    assert [a.name for a in registry.wanted_adapters(store.db)] == [
        "helpdesk@2"
    ]  # nothing to fall back on
    assert registry.previous_live(store.db, domain.id) is None
    with pytest.raises(Conflict, match="helpdesk@1 was live before but has been removed"):
        roll_back(store, domain)


def test_files_can_be_deleted_when_no_engine_holds_them(store: Store, domain: Domain) -> None:
    with store.write() as db:
        bad = given.adapter(db, domain, "rejected")
        placements.record_heartbeat(db, "local-1", "http://engine", "pocket", "ready")
        placements.record_loaded(db, "local-1", bad.id, 1.0)
        registry.remove(db, bad, "cli:ann")
    assert registry.to_delete(store.db) == []
    with store.write() as db:
        placements.drop(db, "local-1", bad.id)
    assert [a.name for a in registry.to_delete(store.db)] == [bad.name]
    with store.write() as db:
        registry.files_deleted(db, bad)
    assert registry.to_delete(store.db) == []
    assert registry.by_id(store.db, bad.id).removed_at is not None


class Registry(RuleBasedStateMachine):
    """Promotions and roll-backs in any order, against a plain stack of what was live."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store(":memory:")
        with self.store.write() as db:
            self.domain = domains.create(db, "helpdesk")
            self.all = [given.adapter(db, self.domain) for _ in range(4)]
        self.stack: list[str | None] = [None]

    @rule(choice=st.integers(0, 3))
    def promote(self, choice: int) -> None:
        adapter = self.all[choice]
        if self.stack[-1] == adapter.name:
            with pytest.raises(Conflict):
                promote(self.store, adapter)
        else:
            promote(self.store, adapter)
            self.stack.append(adapter.name)

    @rule()
    def roll_back(self) -> None:
        if len(self.stack) == 1:
            with pytest.raises(Conflict):
                roll_back(self.store, self.domain)
        else:
            self.stack.pop()
            assert roll_back(self.store, self.domain) == (self.stack[-1] or "base")

    @invariant()
    def the_stack_says_who_is_live(self) -> None:
        live = registry.live(self.store.db, self.domain.id)
        assert (live.name if live else None) == self.stack[-1]

    def teardown(self) -> None:
        self.store.close()


TestRegistry = Registry.TestCase
TestRegistry.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)


def test_where_there_is_no_adapter_yet_the_error_says_how_to_train_one(store, domain):
    with pytest.raises(NotFound, match="There is no adapter '3' yet"):
        registry.get(store.db, "3", domain)
