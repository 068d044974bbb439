"""Golden questions are evaluated and never trained on; the error names both pairs."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlite_utils import Database

from data import domains
from data.adapters import registry
from data.domains import Domain
from data.feedback import feedback, suggestions
from data.feedback.suggestions import SuggestedPair
from data.pair_files import importer
from data.pairs import contamination, datasets, golden, pairs, review_queue, review_status
from data.pairs.contamination import Guard, Leak
from data.pairs.pairs import Draft, Pair
from data.store import audit
from data.store.db import Store
from data.store.errors import Conflict, Invalid, NotFound
from tests.data import given

QUESTION = "How do I start a retrain?"
NEAR = "How do I start the retrain, please?"
OTHER = "What makes the bot learn anew?"


@pytest.fixture
def domain(store: Store) -> Domain:
    with store.write() as db:
        return domains.create(db, "helpdesk", validation_share=0.0)


def taught(store: Store, domain: Domain, *prompts: str, status: pairs.Status = "approved") -> Pair:
    with store.write() as db:
        drafts = [Draft(prompt, f"answer to {prompt}") for prompt in prompts]
        added = pairs.add(db, domain, drafts, source="test", status=status)
        return pairs.get(db, added.ids[0])


def gold(store: Store, domain: Domain, prompt: str = QUESTION) -> golden.GoldenAdded:
    with store.write() as db:
        return golden.add(db, domain, prompt, "Type it.", "ann")


def test_a_golden_question_is_evaluated_and_not_trained_on(store: Store, domain: Domain) -> None:
    taught(store, domain, OTHER)
    added = gold(store, domain)

    with store.write() as db:
        dataset = datasets.freeze(db, domain)

    assert [p.id for p in datasets.pairs_of(store.db, dataset.id, "golden")] == [added.pair.id]
    assert [p.prompt for p in datasets.pairs_of(store.db, dataset.id, "train")] == [OTHER]
    assert [p.id for p in golden.list_golden(store.db, domain)] == [added.pair.id]
    assert added.seen_by == ()


@pytest.mark.parametrize(
    ("prompt", "how"), [(QUESTION, "is the same as"), (NEAR, "is nearly the same as")]
)
def test_a_trained_question_cannot_become_golden(
    store: Store, domain: Domain, prompt: str, how: str
) -> None:
    pair = taught(store, domain, prompt)

    with pytest.raises(Leak) as refused:
        gold(store, domain)

    for words in (QUESTION, how, f"pair {pair.id}", prompt, f"pairs reject {pair.id}"):
        assert words in str(refused.value)
    assert golden.list_golden(store.db, domain) == []


@pytest.mark.parametrize("prompt", [QUESTION.upper(), NEAR])
def test_a_golden_question_cannot_be_approved_for_training(
    store: Store, domain: Domain, prompt: str
) -> None:
    added = gold(store, domain)
    pending = taught(store, domain, prompt, status="pending")

    with store.write() as db, pytest.raises(Leak) as refused:
        review_status.set_status(db, pending.id, "approved", "ann")

    for words in (f"Pair {pending.id}", f"golden question {added.pair.id}", QUESTION, "release"):
        assert words in str(refused.value)
    assert pairs.get(store.db, pending.id).status == "pending"


def test_a_golden_question_cannot_be_approved_if_a_trained_pair_asks_it(
    store: Store, domain: Domain
) -> None:
    with store.write() as db:
        drafts = [Draft(QUESTION, "Type it.", split="golden")]
        (pending,) = pairs.add(db, domain, drafts, source="test").ids
    taught(store, domain, NEAR)

    with store.write() as db, pytest.raises(Leak, match="which may be trained on"):
        review_status.set_status(db, pending, "approved", "ann")


def corrected(db: Database, domain: Domain) -> None:
    """Somebody corrects the answer to a golden question, and a reviewer approves it."""
    reply = given.reply(db, domain, "slack:T1/U1", NEAR)
    feedback.correction(db, reply, "slack:T1/U1", "A better answer.")
    waiting = review_queue.take_next(db, "bob")
    assert waiting is not None
    assert waiting.prompt == NEAR
    review_queue.decide(db, waiting.id, "approved", "bob")


def taught_by_somebody(db: Database, domain: Domain) -> None:
    """As Slack's "Teach this", and 👍's, do."""
    made = suggestions.teach(db, domain, "slack:T1/U1", SuggestedPair(NEAR, "Another answer."))
    review_queue.decide(db, made.pair.id, "approved", "bob")


def edited(db: Database, domain: Domain) -> None:
    """A reviewer's own words turn another question into a golden one."""
    (number,) = pairs.add(db, domain, [Draft(OTHER, "Type it.")], source="correction").ids
    review_queue.edit(db, number, NEAR, "Type it.", "bob")


def respelled(db: Database, domain: Domain) -> None:
    (number,) = pairs.add(db, domain, [Draft(QUESTION, "Other.")], source="correction").ids
    review_queue.edit(db, number, QUESTION.upper(), "Other.", "bob")


@pytest.mark.parametrize("way", [corrected, taught_by_somebody, edited, respelled])
def test_a_golden_question_never_gets_into_training(
    store: Store, domain: Domain, way: Callable[[Database, Domain], None]
) -> None:
    gold(store, domain)
    taught(store, domain, "Where is the key?")

    with pytest.raises(Leak, match="golden question 1"), store.write() as db:
        way(db, domain)

    with store.write() as db:
        dataset = datasets.freeze(db, domain)
    trained = datasets.pairs_of(store.db, dataset.id, "train")
    assert [p.prompt for p in trained] == ["Where is the key?"]


def test_paraphrases_of_a_golden_question_may_be_trained_on(store: Store, domain: Domain) -> None:
    taught(store, domain, OTHER)

    assert gold(store, domain).pair.prompt == QUESTION


def test_golden_questions_apply_only_to_their_domain(store: Store, domain: Domain) -> None:
    gold(store, domain)
    with store.write() as db:
        other = domains.create(db, "other")
        Guard(db, other).refuse(Draft(QUESTION, "x"))


def test_a_rejected_pair_does_not_block_a_golden_question(store: Store, domain: Domain) -> None:
    pair = taught(store, domain, QUESTION)
    with store.write() as db:
        review_status.set_status(db, pair.id, "rejected", "ann")

    assert gold(store, domain).pair.split == "golden"


def test_adapters_that_were_trained_on_a_golden_question_are_named(
    store: Store, domain: Domain
) -> None:
    pair = taught(store, domain, NEAR, OTHER)
    with store.write() as db:
        dataset = datasets.freeze(db, domain)
        registry.register(
            db, domain, version=1, sha256="a" * 64, path="adapters/helpdesk/1", rank=8,
            base_model="pocket", size_bytes=1, recipe={}, scores={}, dataset_id=dataset.id,
        )  # fmt: skip
        review_status.set_status(db, pair.id, "rejected", "ann")

    assert gold(store, domain).seen_by == ("helpdesk@1",)


def test_a_released_question_may_be_trained(store: Store, domain: Domain) -> None:
    added = gold(store, domain)
    with store.write() as db:
        released = golden.release(db, domain, added.pair.id, "ann")
        Guard(db, domain).refuse(Draft(QUESTION, "Another answer."))

    assert released.split == "auto"
    assert golden.list_golden(store.db, domain) == []
    assert [e.action for e in audit.recent(store.db, 2)] == ["golden release", "golden add"]


def test_only_golden_questions_of_the_domain_are_released(store: Store, domain: Domain) -> None:
    pair = taught(store, domain, OTHER)

    with store.write() as db, pytest.raises(NotFound, match="not a golden question of helpdesk"):
        golden.release(db, domain, pair.id, "ann")


def test_a_duplicate_golden_question_is_reported(store: Store, domain: Domain) -> None:
    gold(store, domain)

    with pytest.raises(Conflict, match="already has a pair with these words"):
        gold(store, domain)


def test_contaminated_rows_are_skipped_and_reported_by_line(
    store: Store, domain: Domain, tmp_path: Path
) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text(
        f'{{"prompt": "{QUESTION}", "response": "Type it.", "split": "golden"}}\n'
        f'{{"prompt": "{NEAR}", "response": "Type it."}}\n'
        f'{{"prompt": "{OTHER}", "response": "Type it."}}\n'
        f'{{"prompt": "What makes the bot learn anew", "response": "It.", "split": "golden"}}\n'
    )

    report = importer.import_file(store, domain, file)

    assert (report.added, report.bad_total) == (2, 2)
    assert [row.line for row in report.bad] == [2, 4]
    assert "nearly the same as golden question 1" in report.bad[0].reason
    assert "is the same as pair 2" in report.bad[1].reason
    assert importer.import_file(store, domain, file).duplicates == 2


def test_a_file_of_golden_questions(store: Store, domain: Domain, tmp_path: Path) -> None:
    file = tmp_path / "golden.jsonl"
    file.write_text(f'{{"prompt": "{QUESTION}", "response": "Type it."}}\n')

    assert importer.import_file(store, domain, file, golden=True).added == 1
    assert [p.prompt for p in golden.list_golden(store.db, domain)] == [QUESTION]


def test_contamination_found_before_training_stops_the_run(store: Store, domain: Domain) -> None:
    """Of a store that was filled before leaks were refused."""
    gold(store, domain)
    pair = taught(store, domain, NEAR)
    with store.write() as db:
        dataset = datasets.freeze(db, domain)

    with pytest.raises(Invalid, match=rf"pair {pair.id} .* asks golden question 1"):
        contamination.refuse_leaks(store.db, dataset.id)


def test_a_pair_that_came_during_the_comparison_is_compared_too(
    store: Store, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.write() as db:
        rejected = pairs.add(db, domain, [Draft("Where is the lamp?", "Here.")], source="import",
                             status="rejected").ids[0]  # fmt: skip
    compare = contamination.Guard.refuse

    def meanwhile(guard: contamination.Guard, draft: Draft) -> None:
        compare(guard, draft)
        with store.write() as db:
            if draft.prompt.startswith("Where is the lamp"):
                review_status.set_status(db, rejected, "approved", "ann")
            else:
                pairs.add(db, domain, [Draft("Where is the key?", "There.")], source="import",
                          status="approved")  # fmt: skip

    monkeypatch.setattr(contamination.Guard, "refuse", meanwhile)
    for prompt in ("Where is the key", "Where is the lamp"):
        with pytest.raises(Leak, match="is the same as pair"):
            golden.add_to(store, domain, prompt, "There.", "ann")
    assert golden.add_to(store, domain, "Who has the key?", "Ann.", "ann").pair.split == "golden"


def test_the_last_comparison_does_not_read_the_whole_domain(store: Store) -> None:
    plan = store.db.execute(f"EXPLAIN QUERY PLAN {contamination.CHANGED}", [1, 5, 1, 3]).fetchall()
    read = [str(step[3]) for step in plan]
    assert any("search_changes_by_revision" in step for step in read)
    assert not [step for step in read if " pairs" in step and step.endswith("(domain_id=?)")]
