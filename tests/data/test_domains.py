"""Domains: their names, the default, and the Slack channels that are bound to them."""

import pytest

from data import domains
from data.domains import Domain
from data.store.db import Store
from data.store.errors import Conflict, Invalid, NotFound


@pytest.fixture
def hr(store: Store, domain: Domain) -> Domain:
    with store.write() as db:
        return domains.create(db, "hr", "People", "Be kind.", ("How?", "When?"), 0.3)


def test_a_domain_is_stored_as_given(store: Store, hr: Domain) -> None:
    assert domains.get(store.db, "hr") == domains.by_id(store.db, hr.id) == hr
    assert (hr.title, hr.system_prompt, hr.suggested_prompts) == (
        "People",
        "Be kind.",
        ("How?", "When?"),
    )
    assert [d.name for d in domains.list_domains(store.db)] == ["helpdesk", "hr"]


def test_the_first_domain_is_the_default_until_another_is_chosen(
    store: Store, domain: Domain, hr: Domain
) -> None:
    assert domains.default(store.db) == domain
    with store.write() as db:
        domains.make_default(db, hr)
    assert domains.default(store.db).name == "hr"
    assert [d.is_default for d in domains.list_domains(store.db)] == [False, True]


def test_without_a_domain_there_is_no_default(store: Store) -> None:
    with pytest.raises(NotFound, match="understudy domains add"):
        domains.default(store.db)


@pytest.mark.parametrize(
    "name", ["", "HR", "1st", "-x", "a b", "a@b", "base", "a" * 33, "ä", "x\n", "../x"]
)
def test_invalid_domain_names_are_refused(store: Store, name: str) -> None:
    with pytest.raises(Invalid, match="not a valid domain name"), store.write() as db:
        domains.create(db, name)


def test_a_domain_name_is_used_once(store: Store, domain: Domain) -> None:
    with pytest.raises(Conflict, match="'helpdesk' already"), store.write() as db:
        domains.create(db, "helpdesk")


@pytest.mark.parametrize("share", [-0.1, 0.6, float("nan")])
def test_a_share_lies_between_none_and_half(store: Store, share: float) -> None:
    with pytest.raises(Invalid, match=r"between 0 and 0\.5"), store.write() as db:
        domains.create(db, "hr", validation_share=share)


def test_an_unknown_name_is_refused_with_the_known_ones(
    store: Store, domain: Domain, hr: Domain
) -> None:
    with pytest.raises(NotFound, match=r"no domain 'x' \(there are: helpdesk, hr\)"):
        domains.get(store.db, "x")


def test_a_bound_channel_has_its_domain_and_others_the_default(
    store: Store, domain: Domain, hr: Domain
) -> None:
    with store.write() as db:
        domains.bind_channel(db, domain, "T1", "C1")
        domains.bind_channel(db, hr, "T1", "C1")  # the last word counts
    assert domains.of_channel(store.db, "T1", "C1") == hr
    assert domains.of_channel(store.db, "T2", "C1") == domain
    with store.write() as db:
        assert domains.unbind_channel(db, "T1", "C1") is True
        assert domains.unbind_channel(db, "T1", "C1") is False
    assert domains.of_channel(store.db, "T1", "C1") == domain


def test_the_channel_decides_who_answers_then_the_person_then_the_default(
    store: Store, domain: Domain, hr: Domain
) -> None:
    with store.write() as db:
        legal = domains.create(db, "legal")
        domains.bind_channel(db, legal, "T1", "C1")
        domains.choose(db, domain, "slack:T1/U1")
        domains.choose(db, hr, "slack:T1/U1")  # the last word counts
    assert domains.answering(store.db, "slack:T1/U1", "T1", "C1") == legal
    assert domains.answering(store.db, "slack:T1/U1", "T1", "C2") == hr
    assert domains.answering(store.db, "slack:T1/U2", "T1", "C2") == domain
    with store.write() as db:
        assert domains.unchoose(db, "slack:T1/U1") is True
        assert domains.unchoose(db, "slack:T1/U1") is False
    assert domains.answering(store.db, "slack:T1/U1", "T1", "C2") == domain


def test_a_system_prompt_is_replaced(store: Store, hr: Domain) -> None:
    with store.write() as db:
        domains.set_system_prompt(db, hr, "Be brief.")
    assert domains.get(store.db, "hr").system_prompt == "Be brief."


def test_where_there_is_no_domain_yet_the_error_says_how_to_add_one(store: Store) -> None:
    with pytest.raises(NotFound, match="There is no domain 'hr' yet"):
        domains.get(store.db, "hr")
