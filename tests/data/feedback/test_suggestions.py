"""What people teach becomes a pending pair, once, with its earlier turns and whose words it has."""

import pytest

from data.conversations import conversations
from data.domains import Domain
from data.feedback import suggestions
from data.feedback.suggestions import NotWanted, SuggestedPair, SuggestionResult
from data.pairs import pairs, review_status
from data.pairs.pairs import Draft, Turn
from data.privacy import erasure, opt_out
from data.store.db import Store
from data.store.errors import Invalid
from tests.data import given

ANN, BOB = "slack:T1/UANN", "slack:T1/UBOB"


def teach(
    store: Store, domain: Domain, training_set: SuggestedPair, person: str = ANN
) -> SuggestionResult:
    with store.write() as db:
        return suggestions.teach(db, domain, person, training_set)


def test_a_lesson_becomes_a_pending_pair(store: Store, domain: Domain) -> None:
    turns = (Turn("user", "Hi"), Turn("assistant", "Hello."))
    training_set = SuggestedPair(" Who? ", "Me.", turns, (BOB,), source_ref="T1/C1/1.0")
    taught = teach(store, domain, training_set)
    pair = taught.pair
    assert (pair.prompt, pair.response, pair.turns) == ("Who?", "Me.", turns)
    assert (pair.status, pair.source, pair.source_ref) == ("pending", "teach", "T1/C1/1.0")
    assert (pair.author, pair.split, taught.known) == (ANN, "train", False)
    assert erasure.preview(store.db, BOB).pairs == 1


def test_the_same_words_are_taught_once(store: Store, domain: Domain) -> None:
    first = teach(store, domain, SuggestedPair("Who?", "Me."))
    again = teach(store, domain, SuggestedPair("who?", "ME."), BOB)
    assert again == SuggestionResult(first.pair, known=True)


def test_what_its_author_took_back_waits_again(store: Store, domain: Domain) -> None:
    first = teach(store, domain, SuggestedPair("Who?", "Me."))
    with store.write() as db:
        opt_out.opt_out(db, ANN)
        opt_out.opt_in(db, ANN)
    assert pairs.get(store.db, first.pair.id).status == "rejected"
    assert teach(store, domain, SuggestedPair("Who?", "Me.")).pair.status == "pending"


def test_what_a_reviewer_rejected_stays_rejected(store: Store, domain: Domain) -> None:
    first = teach(store, domain, SuggestedPair("Who?", "Me."))
    with store.write() as db:
        review_status.give(db, first.pair.id, "rejected", "cli:root")
    assert teach(store, domain, SuggestedPair("Who?", "Me.")).pair.status == "rejected"


def test_other_words_for_a_question_speak_of_the_same_fact(store: Store, domain: Domain) -> None:
    known = Draft("How do I log in?", "With a key.", fact="login")
    with store.write() as db:
        given.approved(db, domain, known)
    training_set = SuggestedPair("Where is the login?", "With a key.", about="How do I log in?")
    assert teach(store, domain, training_set).pair.fact == "login"
    assert teach(store, domain, SuggestedPair("Where is the cat?", "Out.")).pair.fact != "login"


def test_who_opted_out_does_not_teach(store: Store, domain: Domain) -> None:
    with store.write() as db:
        opt_out.opt_out(db, ANN)
    with pytest.raises(NotWanted, match="You have opted out"):
        teach(store, domain, SuggestedPair("Who?", "Me."))
    with pytest.raises(NotWanted, match="Somebody whose words"):
        teach(store, domain, SuggestedPair("Who?", "Me.", people=(ANN,)), BOB)
    assert pairs.list_pairs(store.db, domain) == []


@pytest.mark.parametrize(("question", "answer"), [("", "Me."), ("Who?", " "), ("Who?", "\x00")])
def test_what_cannot_be_a_pair_is_refused(
    store: Store, domain: Domain, question: str, answer: str
) -> None:
    with pytest.raises(Invalid):
        teach(store, domain, SuggestedPair(question, answer))


def test_an_answer_of_ours_begins_a_lesson_with_its_earlier_turns(
    store: Store, domain: Domain
) -> None:
    with store.write() as db:
        thread = conversations.open_thread(db, "slack:T1/C1/1.0", domain.id, ANN)
        for number, (person, status) in enumerate(
            [(ANN, "done"), (BOB, "failed"), (BOB, "done"), (ANN, "done"), (ANN, "done")]
        ):
            conversations.ask(
                db,
                reply_id=f"chatcmpl-{number}",
                conversation=thread,
                person=person,
                text=f"question {number}",
                adapter_id=None,
                variant_id=None,
            )
            conversations.answered(db, f"chatcmpl-{number}", f"answer {number}", status=status)  # type: ignore[arg-type]
    reply, training_set, allowed = suggestions.of_reply(store.db, "chatcmpl-3", most_turns=6)
    assert (reply.id, training_set.question, training_set.answer) == (
        "chatcmpl-3",
        "question 3",
        "answer 3",
    )
    assert [t.content for t in training_set.turns] == [
        "question 0", "answer 0", "question 2", "answer 2",
    ]  # fmt: skip
    assert (training_set.people, training_set.about, allowed) == ((ANN, BOB), "question 3", True)
    _, short, _ = suggestions.of_reply(store.db, "chatcmpl-3", most_turns=1)
    assert [t.content for t in short.turns] == ["question 2", "answer 2"]
    with store.write() as db:
        opt_out.opt_out(db, BOB)
    assert suggestions.of_reply(store.db, "chatcmpl-3", 6)[2] is False
