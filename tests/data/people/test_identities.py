"""Kinds of identity: which are verified, what stands behind the others, and their one spelling."""

import pytest

from data.people import identities, keys
from data.people.identities import IdentityKind
from data.people.keys import KEY_PEOPLE, KeyPeople
from data.store import audit
from data.store.db import Store
from data.store.errors import Invalid, NotFound

KINDS: list[tuple[str, IdentityKind | None]] = [
    ("slack:T1/U2", "slack"),
    ("user:ann@example.org", "signed_in"),
    ("cli:ann", "operator"),
    ("http:3", "key"),
    ("http:3/ann", "key_user"),
    ("http:3/team/ann", "key_user"),
    ("web:0a1b", "web_session"),
    ("forgotten:0a1b", None),
    ("", None),
]


@pytest.mark.parametrize(("person", "kind"), KINDS)
def test_the_id_says_the_kind(person: str, kind: IdentityKind | None) -> None:
    assert identities.kind_of(person) == kind


@pytest.mark.parametrize("person", [person for person, _ in KINDS])
@pytest.mark.parametrize("people", KEY_PEOPLE)
def test_verified_are_members_sign_ins_operators_and_marked_keys(
    store: Store, person: str, people: KeyPeople
) -> None:
    with store.write() as db:
        for _ in range(3):
            keys.create(db, "backend", "member", "cli:root", people)
    always = ("slack:T1/U2", "user:ann@example.org", "cli:ann")
    marked = {"unverified": (), "one": ("http:3",), "vouched": ("http:3/ann", "http:3/team/ann")}
    expected = person in always or person in marked[people]
    assert identities.is_verified(store.db, person) is expected


def test_the_mark_of_another_key_verifies_nobody(store: Store) -> None:
    with store.write() as db:
        keys.create(db, "backend", "member", "cli:root", "vouched")
        keys.create(db, "app", "member", "cli:root")
    assert identities.is_verified(store.db, "http:1/ann")
    assert not identities.is_verified(store.db, "http:2/ann")
    assert not identities.is_verified(store.db, "http:9/ann")


def test_a_key_is_marked_at_once_and_the_mark_is_in_the_audit_log(store: Store) -> None:
    with store.write() as db:
        keys.create(db, "backend", "member", "cli:root")
        keys.set_people(db, 1, "vouched", "cli:root")
        keys.set_people(db, 1, "vouched", "cli:root")
    assert keys.get(store.db, 1).people == "vouched"
    entries = [(e.action, e.subject, e.detail) for e in audit.recent(store.db)]
    assert entries[0] == ("key people", "key 1", {"people": "vouched", "was": "unverified"})
    assert len(entries) == 2, "the second mark changed nothing"


def test_unknown_marks_and_keys_are_refused(store: Store) -> None:
    refused = "'all' is not one of unverified, one, vouched"
    with pytest.raises(Invalid, match=refused), store.write() as db:
        keys.create(db, "app", "member", "cli:root", "all")  # type: ignore[arg-type]
    with store.write() as db:
        keys.create(db, "app", "member", "cli:root")
    with pytest.raises(Invalid, match="'all' is not one of"), store.write() as db:
        keys.set_people(db, 1, "all", "cli:root")  # type: ignore[arg-type]
    with pytest.raises(NotFound, match="no key 2"), store.write() as db:
        keys.set_people(db, 2, "one", "cli:root")


# One spelling


@pytest.mark.parametrize(
    ("spelt", "person"),
    [
        ("http:3/Re\u0301ne\u0301", "http:3/R\u00e9n\u00e9"),
        ("http:3/ ann ", "http:3/ann"),
        ("http:3/Ann@Example.org", "http:3/ann@example.org"),
        ("http:3/Ab3", "http:3/Ab3"),
        ("http:3/ ", "http:3"),
        ("http:3", "http:3"),
        ("slack:t1/u2", "slack:T1/U2"),
        ("slack:t1/\u0390", "slack:T1/\u03aa\u0301"),
        (" slack:T1/U2\n", "slack:T1/U2"),
        ("user:Ann@Example.org", "user:ann@example.org"),
        ("user:\u0130", "user:i\u0307"),
        ("web:0aB1", "web:0aB1"),
        ("cli:Ann", "cli:Ann"),
        ("Ann", "Ann"),
    ],
)
def test_an_id_has_one_spelling(spelt: str, person: str) -> None:
    assert identities.normalised(spelt) == person
    assert identities.normalised(person) == person


def test_the_person_of_a_key_has_the_same_spelling() -> None:
    assert identities.key_user(3, " Re\u0301ne\u0301 ") == "http:3/R\u00e9n\u00e9"
    assert identities.key_user(3, "Bob@Example.org") == "http:3/bob@example.org"
    for nobody in (None, "", "  "):
        assert identities.key_user(3, nobody) == "http:3"


# What stands behind an identity


def test_the_source_of_a_key_is_the_key(store: Store) -> None:
    assert identities.source_of(store.db, "http:3/ann", "192.0.2.1") == "key:3"
    assert identities.source_of(store.db, "http:3") == "key:3"


@pytest.mark.parametrize("person", ["slack:T1/U2", "user:ann", "cli:ann"])
def test_a_verified_identity_stands_for_itself(store: Store, person: str) -> None:
    assert identities.source_of(store.db, person, "192.0.2.1") == ""


def test_the_source_of_a_session_is_a_keyed_digest_of_its_address(store: Store) -> None:
    one = identities.source_of(store.db, "web:a", "192.0.2.1")
    assert one.startswith("address:")
    assert "192" not in one
    assert identities.source_of(store.db, "web:b", "192.0.2.1") == one
    assert identities.source_of(store.db, "web:a", "192.0.2.2") != one
    with Store(store.path.parent / "another.db") as another:
        assert identities.source_of(another.db, "web:a", "192.0.2.1") != one


@pytest.mark.parametrize(
    ("address", "block"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("testclient", "unknown"),
        ("", "unknown"),
    ],
)
def test_an_ipv6_address_counts_as_its_network(address: str, block: str) -> None:
    assert identities.address_block(address) == block


def test_an_identity_that_was_not_joined_is_a_person_of_its_own(store: Store) -> None:
    assert identities.person_of(store.db, "web:0a1b") == "web:0a1b"
