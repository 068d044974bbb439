"""A suggestion becomes one pending pair, with its earlier turns and the people quoted in it."""

import pytest

from data.conversations import conversations
from data.domains import Domain
from data.feedback import suggestions
from data.feedback.suggestions import OptedOut, SuggestedPair, SuggestionResult
from data.pairs import pairs, review_status
from data.pairs.pairs import Draft, Turn
from data.privacy import erasure, opt_out
from data.store.db import Store
from data.store.errors import Invalid
from tests.data import given

ANN, BOB = "slack:T1/UANN", "slack:T1/UBOB"


def teach(
    store: Store, domain: Domain, suggestion: SuggestedPair, person: str = ANN
) -> SuggestionResult:
    with store.write() as db:
        return suggestions.teach(db, domain, person, suggestion)


def test_a_suggestion_becomes_a_pending_pair(store: Store, domain: Domain) -> None:
    turns = (Turn("user", "Hi"), Turn("assistant", "Hello."))
    suggestion = SuggestedPair(" Who? ", "Me.", turns, (BOB,), source_ref="T1/C1/1.0")
    taught = teach(store, domain, suggestion)
    pair = taught.pair
    assert (pair.prompt, pair.response, pair.turns) == ("Who?", "Me.", turns)
    assert (pair.status, pair.source, pair.source_ref) == ("pending", "teach", "T1/C1/1.0")
    assert (pair.author, pair.split, taught.known) == (ANN, "train", False)
    assert erasure.preview(store.db, BOB).pairs == 1


def test_the_same_suggestion_is_stored_once(store: Store, domain: Domain) -> None:
    first = teach(store, domain, SuggestedPair("Who?", "Me."))
    again = teach(store, domain, SuggestedPair("Who? ", "Me."), BOB)
    assert again == SuggestionResult(first.pair, known=True)


def test_a_withdrawn_pair_that_is_suggested_again_is_pending_again(
    store: Store, domain: Domain
) -> None:
    first = teach(store, domain, SuggestedPair("Who?", "Me."))
    with store.write() as db:
        opt_out.opt_out(db, ANN)
        opt_out.opt_in(db, ANN)
    assert pairs.get(store.db, first.pair.id).status == "rejected"
    assert teach(store, domain, SuggestedPair("Who?", "Me.")).pair.status == "pending"


def test_a_pair_that_a_reviewer_rejected_stays_rejected(store: Store, domain: Domain) -> None:
    first = teach(store, domain, SuggestedPair("Who?", "Me."))
    with store.write() as db:
        review_status.set_status(db, first.pair.id, "rejected", "cli:root")
    assert teach(store, domain, SuggestedPair("Who?", "Me.")).pair.status == "rejected"


def test_a_rephrased_question_shares_the_fact(store: Store, domain: Domain) -> None:
    known = Draft("How do I log in?", "With a key.", fact="login")
    with store.write() as db:
        given.approved(db, domain, known)
    suggestion = SuggestedPair("Where is the login?", "With a key.", about="How do I log in?")
    assert teach(store, domain, suggestion).pair.fact == "login"
    assert teach(store, domain, SuggestedPair("Where is the cat?", "Out.")).pair.fact != "login"


def test_a_person_who_opted_out_cannot_teach(store: Store, domain: Domain) -> None:
    with store.write() as db:
        opt_out.opt_out(db, ANN)
    with pytest.raises(OptedOut, match="You have opted out"):
        teach(store, domain, SuggestedPair("Who?", "Me."))
    with pytest.raises(OptedOut, match="Some of these words"):
        teach(store, domain, SuggestedPair("Who?", "Me.", people=(ANN,)), BOB)
    assert pairs.list_pairs(store.db, domain) == []


@pytest.mark.parametrize(("question", "answer"), [("", "Me."), ("Who?", " "), ("Who?", "\x00")])
def test_texts_that_cannot_be_a_pair_are_refused(
    store: Store, domain: Domain, question: str, answer: str
) -> None:
    with pytest.raises(Invalid):
        teach(store, domain, SuggestedPair(question, answer))


def test_an_answer_of_the_bot_is_suggested_with_its_earlier_turns(
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
            conversations.finish_reply(db, f"chatcmpl-{number}", f"answer {number}", status=status)  # type: ignore[arg-type]
    reply, suggestion, allowed = suggestions.of_reply(store.db, "chatcmpl-3", most_turns=6)
    assert (reply.id, suggestion.question, suggestion.answer) == (
        "chatcmpl-3",
        "question 3",
        "answer 3",
    )
    assert [t.content for t in suggestion.turns] == [
        "question 0", "answer 0", "question 2", "answer 2",
    ]  # fmt: skip
    assert (suggestion.people, suggestion.about, allowed) == ((ANN, BOB), "question 3", True)
    _, short, _ = suggestions.of_reply(store.db, "chatcmpl-3", most_turns=1)
    assert [t.content for t in short.turns] == ["question 2", "answer 2"]
    with store.write() as db:
        opt_out.opt_out(db, BOB)
    assert suggestions.of_reply(store.db, "chatcmpl-3", 6)[2] is False
