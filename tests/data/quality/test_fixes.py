"""What `--fix` does to each kind of finding, and that undoing it gives the old pairs back."""

from collections.abc import Sequence

import pytest

from data.domains import Domain
from data.pairs import imports, pairs, review_status
from data.pairs.pairs import Draft, Status
from data.quality import checker, fixes
from data.quality.fixes import Fixed
from data.store import audit
from data.store.db import Store, rows
from data.store.errors import Invalid, NotFound


def add(store: Store, domain: Domain, *drafts: Draft, status: Status = "approved") -> list[int]:
    with store.write() as db:
        found = pairs.add(
            db, domain, list(drafts), source="import", author="slack:T1/U1", status=status
        )
        return found.ids


def fix(store: Store, domain: Domain, only: Sequence[str] = ()) -> Fixed:
    report = checker.check_domain(store.db, domain, only=only)
    return fixes.apply(store, domain, report, "cli:ann", only=only)


def state(store: Store) -> list[tuple[int, str, str]]:
    return [tuple(r.values()) for r in rows(store.db, "SELECT id, status, response FROM pairs")]  # type: ignore[misc]


def test_a_secret_is_masked_in_a_new_pair(store: Store, domain: Domain) -> None:
    (old,) = add(store, domain, Draft("Login?", "The password is hunter22. Type it.", fact="login"))
    with store.write() as db:
        review_status.set_status(db, old, "approved", "slack:T1/U9")
        pairs.record_word_owners(db, old, ["slack:T1/U5"])
    before = state(store)
    fixed = fix(store, domain)
    assert fixed == Fixed(fixed.batch, masked=1, quarantined=0, merged=0, left=0)
    (new,) = pairs.list_pairs(store.db, domain, "approved")
    assert new.response == "The password is [secret]. Type it."
    assert (new.fact, new.author, new.reviewed_by) == ("login", "slack:T1/U1", "slack:T1/U9")
    assert rows(store.db, "SELECT person FROM pair_words WHERE pair_id = ?", [new.id])
    assert pairs.get(store.db, old).status == "quarantined"

    assert fixes.undo(store, domain, "cli:ann").masked == 1
    assert state(store)[:1] == before
    assert pairs.get(store.db, new.id).status == "quarantined"

    assert fix(store, domain).masked == 1
    assert [p.id for p in pairs.list_pairs(store.db, domain, "approved")] == [new.id]


def test_everything_private_in_a_pair_is_masked_at_once(store: Store, domain: Domain) -> None:
    add(store, domain, Draft("Pay?", "Use 4111 1111 1111 1111, the password is hunter22."))
    fix(store, domain)
    (new,) = pairs.list_pairs(store.db, domain, "approved")
    assert new.response == "Use [card number], the password is [secret]."


def test_duplicates_are_merged_into_the_newest(store: Store, domain: Domain) -> None:
    old, new = add(
        store, domain, Draft("Is it open?", "Yes, it is."), Draft("Is it open", "Yes, it is")
    )
    assert fix(store, domain).merged == 1
    assert pairs.get(store.db, old).status == "quarantined"
    assert pairs.get(store.db, new).status == "approved"
    assert fixes.undo(store, domain, "cli:ann").merged == 1
    assert pairs.get(store.db, old).status == "approved"


def test_no_answer_is_lost_because_its_newer_duplicate_has_a_fault(
    store: Store, domain: Domain
) -> None:
    right, newer, newest = add(
        store,
        domain,
        Draft("Where is my invoice?", "Open the orders page and choose the invoice of your order."),
        Draft("Where is my invoice", "Open the orders page and choose the invoice of your order"),
        Draft("where is my invoice?", "Open the orders page and choose the invoice of your "
              "order. TODO"),
    )  # fmt: skip
    assert (fix(store, domain).quarantined, pairs.get(store.db, newest).status) == (
        1,
        "quarantined",
    )
    assert pairs.counts(store.db, domain)["approved"] == 2
    assert fix(store, domain).merged == 1  # the others are duplicates of one another, too
    assert pairs.get(store.db, right).status == "quarantined"
    assert pairs.get(store.db, newer).status == "approved"


def test_of_a_trained_and_an_evaluated_duplicate_one_stays(store: Store, domain: Domain) -> None:
    answer = "Open the account page and choose to reset it."
    evaluated, trained = add(
        store,
        domain,
        Draft("How do I reset my password?", answer, fact="a", split="golden"),
        Draft("How do I reset my pasword?", answer, fact="b", split="train"),
    )
    fix(store, domain)
    assert pairs.get(store.db, trained).status == "quarantined"
    assert pairs.get(store.db, evaluated).status == "approved"


def test_duplicates_of_a_pair_that_was_rejected_meanwhile_are_left(
    store: Store, domain: Domain
) -> None:
    old, new = add(
        store, domain, Draft("Is it open?", "Yes, it is."), Draft("Is it open", "Yes, it is")
    )
    report = checker.check_domain(store.db, domain)
    with store.write() as db:
        review_status.set_status(db, new, "rejected", "slack:T1/U9")
    assert fixes.apply(store, domain, report, "cli:ann").left == 1
    assert pairs.get(store.db, old).status == "approved"


def test_what_cannot_be_undone_does_not_hold_up_older_fixes(store: Store, domain: Domain) -> None:
    first, second = add(
        store, domain, Draft("What?", "TODO ask Anna"), Draft("Who?", "Ask that asshole.")
    )
    fix(store, domain)
    fix(store, domain, only=["toxic"])
    add(store, domain, Draft("Who?", "Ask the desk.", split="golden"))
    assert fixes.undo(store, domain, "cli:ann").left == 1
    assert fixes.undo(store, domain, "cli:ann").quarantined == 1
    assert [pairs.get(store.db, i).status for i in (first, second)] == ["approved", "quarantined"]


def test_pending_pairs_are_pending_again_after_undo(store: Store, domain: Domain) -> None:
    (one,) = add(store, domain, Draft("What is it?", "TODO ask Anna"), status="pending")
    assert fix(store, domain).quarantined == 1
    assert pairs.get(store.db, one).status == "quarantined"
    fixes.undo(store, domain, "cli:ann")
    assert pairs.get(store.db, one).status == "pending"


def test_pairs_that_may_be_right_are_fixed_only_by_name(store: Store, domain: Domain) -> None:
    add(store, domain, Draft("Whom do I call?", "Call 0555 1234 and wait."))
    assert fix(store, domain) == Fixed(0, 0, 0, 0, 0)
    assert fix(store, domain, only=["phones"]).masked == 1
    (new,) = pairs.list_pairs(store.db, domain, "approved")
    assert new.response == "Call [phone number] and wait."


def test_golden_questions_are_never_changed(store: Store, domain: Domain) -> None:
    add(store, domain, Draft("Login?", "The password is hunter22.", split="golden"))
    before = state(store)
    assert fix(store, domain).left == 1
    assert state(store) == before


def test_a_pair_that_was_decided_on_meanwhile_is_left(store: Store, domain: Domain) -> None:
    (one,) = add(store, domain, Draft("What is it?", "TODO ask Anna"))
    fix(store, domain)
    with store.write() as db:
        review_status.set_status(db, one, "rejected", "slack:T1/U9")
    assert fixes.undo(store, domain, "cli:ann").left == 1
    assert pairs.get(store.db, one).status == "rejected"


def test_fixes_are_undone_one_after_the_other(store: Store, domain: Domain) -> None:
    one, two = add(
        store, domain, Draft("What?", "TODO ask Anna"), Draft("Who?", "Ask that asshole.")
    )
    fix(store, domain)
    fix(store, domain, only=["toxic"])
    fixes.undo(store, domain, "cli:ann")
    assert [pairs.get(store.db, i).status for i in (one, two)] == ["quarantined", "approved"]
    fixes.undo(store, domain, "cli:ann")
    assert pairs.get(store.db, one).status == "approved"
    with pytest.raises(NotFound, match="no fix of helpdesk to undo"):
        fixes.undo(store, domain, "cli:ann")


def test_fixes_are_in_the_audit_log(store: Store, domain: Domain) -> None:
    add(store, domain, Draft("What?", "TODO ask Anna"))
    fix(store, domain)
    fixes.undo(store, domain, "cli:ann")
    assert [e.action for e in audit.recent(store.db, 2)] == [
        "pairs check --undo",
        "pairs check --fix",
    ]


def test_an_unknown_check_is_refused(store: Store, domain: Domain) -> None:
    with pytest.raises(Invalid, match="There is no check 'nonsense'"):
        checker.check_domain(store.db, domain, only=["nonsense"])


def test_an_import_is_compared_with_what_was_there(store: Store, domain: Domain) -> None:
    add(store, domain, Draft("Is it open?", "Yes, it is."), Draft("Other?", "TODO"))
    with store.write() as db:
        batch = imports.begin(db, domain, "", "a.jsonl", "cli:ann")
        pairs.add(db, domain, [Draft("Is it open", "No, it is shut.")], source="import",
                  status="approved", import_id=batch)  # fmt: skip
    report = checker.check_domain(store.db, domain, import_id=batch)
    assert {f.check: f.pair_ids for f in report.found} == {
        "conflicting-answers": (1,),  # of two answers, the older one is named
        "thin-facts": (3,),
    }
    drafts = [(1, Draft("Is it?", "Yes.")), (2, Draft("Is it", "Yes.")), (3, Draft("Why?", "TODO"))]
    found = checker.check_drafts(store.db, domain, drafts)
    assert {f.check: f.pair_ids for f in found.found if f.unit == "pairs"} == {
        "exact-duplicates": (1,),
        "placeholders": (3,),
    }


def test_a_merged_pair_comes_back_when_the_import_of_the_other_is_undone(
    store: Store, domain: Domain
) -> None:
    (old,) = add(store, domain, Draft("Is it open?", "Yes, it is."))
    with store.write() as db:
        number = imports.begin(db, domain, "new", "new.jsonl", "cli:ann")
        drafts = [Draft("Is it open", "Yes, it is"), Draft("Is it open!", "Yes, it is!")]
        pairs.add(db, domain, drafts, source="import", status="approved", import_id=number)
    assert fix(store, domain).merged == 2
    assert pairs.get(store.db, old).status == "quarantined"

    with store.write() as db:
        imports.begin_undo(db, number, "cli:ann")
        while imports.undo_step(db, number):
            pass

    assert [pair.id for pair in pairs.list_pairs(store.db, domain)] == [old]
    assert pairs.get(store.db, old).status == "approved"
    with pytest.raises(NotFound):
        fixes.undo(store, domain, "cli:ann")


def test_masking_does_not_bring_back_what_somebody_rejected(store: Store, domain: Domain) -> None:
    (old,) = add(store, domain, Draft("Login?", "The password is hunter22."))
    (masked,) = add(store, domain, Draft("Login?", "The password is [secret]."))
    with store.write() as db:
        review_status.set_status(db, masked, "rejected", "slack:T1/U9")

    assert fix(store, domain).masked == 1
    assert [pairs.get(store.db, i).status for i in (old, masked)] == ["quarantined", "rejected"]
    fixes.undo(store, domain, "cli:ann")
    assert [pairs.get(store.db, i).status for i in (old, masked)] == ["approved", "rejected"]
