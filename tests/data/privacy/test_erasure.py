"""Erasure: no table or file has the words afterwards, figures stay, and nobody is named."""

import asyncio
import random
from pathlib import Path

import orjson
import pytest

from data.adapters import registry
from data.conversations import conversations
from data.domains import Domain
from data.experiments import assignments, experiments
from data.feedback import feedback, suggestions
from data.monitoring.alerts import alerts
from data.pairs import datasets, imports, judged_answers, pairs, review_queue, review_status
from data.pairs.judged_answers import JudgedDraft
from data.pairs.pairs import Draft
from data.people import joining
from data.privacy import erasure, provenance
from data.privacy.erasure import ErasureReceipt
from data.runs import runs
from data.slack import question_queue
from data.store import audit
from data.store.db import Store, rows, sqlite3, value
from data.store.errors import NotFound
from tests.data import given

ANN, BOB = "slack:T1/UANN", "slack:T1/UBOB"
SECRET = "xylophone"  # in everything that Ann writes


def forget(store: Store, person: str = ANN, actor: str = "cli:root") -> ErasureReceipt:
    return asyncio.run(erasure.erase_person(store, store.path.parent, person, actor))


def in_files(store: Store, words: str) -> list[str]:
    """The files of the home folder that have the words, in any of their bytes."""
    files = [p for p in store.path.parent.rglob("*") if p.is_file()]
    return [p.name for p in files if words.encode() in p.read_bytes()]


def in_tables(store: Store, words: str) -> list[str]:
    """The columns that have the words in a row."""
    found = []
    for table in store.db.table_names():
        for column in store.db[table].columns_dict:
            sql = f"SELECT 1 FROM [{table}] WHERE instr([{column}], ?) LIMIT 1"
            if store.db.execute(sql, [words]).fetchone():
                found.append(f"{table}.{column}")
    return found


@pytest.fixture
def life(store: Store, domain: Domain) -> str:
    """All that Ann can leave behind, and some things of Bob's; returns a reply of hers."""
    with store.write() as db:
        begun = experiments.start(db, domain, None, given.adapter(db, domain), "cli:root")
        reply = given.reply(
            db, domain, ANN, f"a {SECRET}?", f"yes, a {SECRET}", variant=begun.variants[1]
        )
        assignments.expose(db, begun.id, ANN, begun.variants[1].id)
        feedback.thumb(db, reply, ANN, up=True)
        feedback.reason(db, reply, ANN, f"no {SECRET} here")
        feedback.correction(db, reply, ANN, f"the {SECRET} is red")
        feedback.correction(db, reply, ANN, f"the {SECRET} is blue")
        feedback.correction(db, reply, BOB, "It is green.")
        his = given.reply(db, domain, BOB, "And the cellar?", "Below.")
        feedback.correction(db, his, ANN, f"where the {SECRET} is")
        feedback.correction(db, his, BOB, "In the cellar.")
        audit.record(db, ANN, "restart", "replica here", reason=f"my {SECRET} is slow")
        ask = {"team": "T1", "channel": "C1", "thread_ts": "1.0", "text": f"a second {SECRET}?"}
        question_queue.add(db, ts="1.0", user="UANN", **ask)
        question_queue.add(db, ts="2.0", user="UBOB", **{**ask, "text": "Bob waits"})
    assert in_tables(store, SECRET)
    return reply


def test_the_words_are_in_no_table(store: Store, life: str) -> None:
    forget(store)
    assert in_tables(store, SECRET) == []
    assert in_tables(store, "UANN") == ["audit.actor"]  # of what she did as an admin


def test_the_words_are_in_no_byte_of_the_files(store: Store, life: str) -> None:
    assert in_files(store, SECRET)
    forget(store)
    assert in_files(store, SECRET) == []
    assert in_files(store, "the xylo") == []


def test_a_store_created_without_secure_delete_is_rewritten(store: Store, life: str) -> None:
    old = store.db
    old.execute("PRAGMA secure_delete = OFF")
    old.execute("PRAGMA user_version = 0")
    with store.write() as db:
        db.execute("UPDATE questions SET text = ''")  # as answering did: the bytes stay in the page
        db.execute("DELETE FROM messages")
    old.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    forget(store)
    assert in_files(store, SECRET) == []
    assert value(store.db, "PRAGMA user_version") == 1


def test_a_long_reader_delays_the_erasure_but_blocks_nobody(store: Store, life: str) -> None:
    reading = sqlite3.connect(store.path)
    reading.execute("BEGIN")
    reading.execute("SELECT count(*) FROM messages").fetchone()
    with store.write() as db:
        db.execute("DELETE FROM feedback")
    assert not erasure.scrub(store.db, attempts=2)
    assert value(store.db, "PRAGMA busy_timeout") > 1_000
    with pytest.raises(erasure.ErasureIncomplete):
        asyncio.run(erasure.erase_person(store, store.path.parent, ANN, ANN, attempts=1))
    assert in_files(store, SECRET)
    reading.close()
    (done,) = asyncio.run(erasure.resume(store, store.path.parent))
    assert done.messages == 2
    assert in_files(store, SECRET) == []


def test_no_bytes_remain_for_any_page_layout(store: Store, domain: Domain) -> None:
    """Small and large texts of two people, so that pages are split, merged and moved."""
    dice = random.Random(7)
    for _ in range(40):
        with store.write() as db:
            for _ in range(10):
                person = dice.choice([ANN, BOB])
                words = SECRET if person == ANN else "kettle"
                text = f"{words} " * dice.choice([1, 3, 40, 900])
                reply = given.reply(db, domain, person, text, text[::-1])
                if dice.random() < 0.5:
                    feedback.reason(db, reply, person, text[: feedback.MAX_CHARS])
                if dice.random() < 0.3:
                    db.execute("DELETE FROM messages WHERE reply_id = ?", [reply])
    kept = value(store.db, "SELECT count(*) FROM messages WHERE text LIKE '%kettle%'")
    forget(store)
    assert in_files(store, SECRET) == in_files(store, SECRET[::-1]) == []
    found = "SELECT count(*) FROM messages WHERE text LIKE '%kettle%'"
    assert value(store.db, found) == kept > 0


def test_the_words_of_other_people_stay(store: Store, life: str, domain: Domain) -> None:
    forget(store)
    (pair,) = pairs.list_pairs(store.db, domain)
    assert (pair.prompt, pair.response, pair.author) == ("And the cellar?", "In the cellar.", BOB)
    assert value(store.db, "SELECT text FROM questions") == "Bob waits"
    texts = [r["text"] for r in rows(store.db, "SELECT text FROM messages ORDER BY id")]
    assert texts == ["And the cellar?", "Below."]


def test_figures_stay_and_name_nobody(store: Store, life: str, domain: Domain) -> None:
    before = given.counts(store.db, experiments.latest(store.db, domain))
    forget(store)
    after = given.counts(store.db, experiments.latest(store.db, domain))
    assert after == before
    assert sum(c.up for c in after) == 1
    people = {r["person"] for r in rows(store.db, "SELECT person FROM assignments")}
    assert len(people) == 1
    assert people.pop().startswith("forgotten:")


def test_each_person_gets_a_different_pseudonym(store: Store, domain: Domain, life: str) -> None:
    forget(store, ANN)
    forget(store, BOB)
    sql = "SELECT DISTINCT person FROM replies"
    assert len(rows(store.db, sql)) == 2
    assert in_tables(store, "UBOB") == []


def test_the_audit_log_records_the_erasure_without_the_person(store: Store, life: str) -> None:
    done = forget(store, actor=ANN)
    (entry,) = [e for e in audit.recent(store.db) if e.action == "forget"]
    assert (entry.actor, entry.subject) == ("themselves", f"receipt {done.receipt}")
    assert entry.detail["messages"] == done.messages == 2
    assert done.judgements == 5
    assert done.pairs == 4


def test_an_answer_in_progress_leaves_nothing_behind(store: Store, domain: Domain) -> None:
    with store.write() as db:
        reply = given.reply(db, domain, ANN, f"{SECRET}?", status="streaming")
    forget(store)
    with store.write() as db:
        conversations.finish_reply(db, reply, f"the {SECRET} is here", status="done")
    assert in_tables(store, SECRET) == []


def test_a_thread_with_other_people_continues(store: Store, domain: Domain) -> None:
    with store.write() as db:
        thread = conversations.open_thread(db, "slack:T1/C1/1.0", domain.id, ANN)
        for number, person in enumerate((ANN, BOB)):
            conversations.ask(
                db,
                reply_id=f"chatcmpl-{number}",
                conversation=thread,
                person=person,
                text=f"{person} asks",
                adapter_id=None,
                variant_id=None,
            )
            conversations.finish_reply(db, f"chatcmpl-{number}", "So.", status="done")
        given.reply(db, domain, ANN)
    forget(store)
    assert conversations.find(store.db, "slack:T1/C1/1.0") is not None
    left = [m.text for m in conversations.history(store.db, thread.id, turns=6)]
    assert left == [f"{BOB} asks", "So."]
    threads = [r["thread"] for r in rows(store.db, "SELECT thread FROM conversations ORDER BY id")]
    assert [t.split(":")[0] for t in threads] == ["slack", "forgotten"]


# Datasets and adapters


@pytest.fixture
def learned(store: Store, domain: Domain) -> int:
    """A dataset with a pair of Ann's and one of nobody's; returns the dataset's id."""
    with store.write() as db:
        reply = given.reply(db, domain, ANN, f"Where is the {SECRET}?")
        pair_id = feedback.correction(db, reply, ANN, f"The {SECRET} is upstairs.").pair_id
        assert pair_id is not None
        review_status.set_status(db, pair_id, "approved", "cli:root")
        given.approved(db, domain, Draft("Who?", "Me."))
        return datasets.freeze(db, domain).id


def test_a_frozen_dataset_keeps_a_hole(store: Store, domain: Domain, learned: int) -> None:
    before = datasets.by_id(store.db, learned)
    done = forget(store)
    assert (done.pairs, done.holes) == (1, 1)
    assert datasets.by_id(store.db, learned) == before
    assert datasets.count_erased(store.db, learned) == 1
    assert [p.prompt for p in datasets.pairs_of(store.db, learned, "train")] == ["Who?"]
    assert [p.prompt for p in pairs.list_pairs(store.db, domain)] == ["Who?"]
    assert pairs.counts(store.db, domain)["rejected"] == 0
    with pytest.raises(NotFound):
        pairs.get(store.db, 1)
    assert in_files(store, SECRET) == []


def test_nobody_can_check_a_guess_by_the_fingerprint(store: Store, learned: int) -> None:
    pair = pairs.get(store.db, 1)
    forget(store)
    assert in_tables(store, pair.fingerprint) == in_tables(store, pair.fact) == []


def test_the_same_words_can_be_taught_again(store: Store, domain: Domain, learned: int) -> None:
    forget(store)
    with store.write() as db:
        again = pairs.add(db, domain, [Draft(f"Where is the {SECRET}?", "Up.")], source="import")
    assert len(again.ids) == 1


def test_adapters_trained_on_the_words_are_listed_with_those_continued_from_them(
    store: Store, domain: Domain, learned: int
) -> None:
    with store.write() as db:
        first = given.adapter(db, domain, "live", dataset_id=learned)
        given.adapter(db, domain)  # of something else
        third = given.adapter(db, domain)
        db.execute("UPDATE adapters SET parent_id = ? WHERE id = ?", [first.id, third.id])
    assert erasure.preview(store.db, ANN).adapters == ("helpdesk@1", "helpdesk@3")
    assert forget(store).adapters == ("helpdesk@1", "helpdesk@3")


def test_a_live_adapter_trained_on_erased_words_must_be_retrained(
    store: Store, domain: Domain, learned: int
) -> None:
    with store.write() as db:
        first = given.adapter(db, domain, "live", dataset_id=learned)
        given.adapter(db, domain, dataset_id=learned)  # answers nobody
    assert provenance.adapters_to_retrain(store.db) == []
    forget(store)
    assert provenance.adapters_to_retrain(store.db) == ["helpdesk@1"]
    assert ("unforgotten", "helpdesk@1") in [(a.kind, a.subject) for a in alerts(store.db)]
    with store.write() as db:
        fallback = given.adapter(db, domain)
        db.execute("UPDATE adapters SET parent_id = ? WHERE id = ?", [first.id, fallback.id])
        registry.promote(db, fallback, "cli:root")
    assert provenance.adapters_to_retrain(store.db) == ["helpdesk@3"], (
        "it continues from the erased one"
    )
    with store.write() as db:
        pure = given.adapter(db, domain, "live", dataset_id=datasets.freeze(db, domain).id)
    assert registry.live(store.db, domain.id) == pure
    assert provenance.adapters_to_retrain(store.db) == []


def test_a_run_that_trains_on_the_words_is_cancelled(
    store: Store, domain: Domain, learned: int
) -> None:
    with store.write() as db:
        run = runs.queue(db, domain, "cli:root", kind="full")
        runs.claim(db, "worker:1")
        runs.set_dataset(db, runs.get(db, run.id), learned)
    done = forget(store)
    assert done.runs == (run.id,)
    assert runs.get(store.db, run.id).cancel_requested


def test_imports_keep_neither_rated_answers_nor_names(store: Store, domain: Domain) -> None:
    """Also of an import under an identity that was joined to her."""
    identity = "user:ann@example.org"
    rated = JudgedDraft("Is it open?", "Yes, ask Ann.", liked=True)
    with store.write() as db:
        batch = imports.begin(db, domain, "from Ann Example", "ann-example.jsonl", identity)
        imports.begin_undo(db, batch, identity)
        judged_answers.add(
            db, domain, rated, source_ref="ann-example.jsonl:1", author=identity, import_id=batch
        )
        joining.join(db, identity, ANN, "cli:root")
    forget(store)
    dump = "\n".join(str(tuple(r.values())) for r in rows(store.db, "SELECT * FROM imports"))
    assert "ann" not in dump.casefold()
    assert value(store.db, "SELECT count(*) FROM judged_answers") == 0


def test_adapters_trained_on_rated_answers_are_listed(store: Store, domain: Domain) -> None:
    """Of her own question, and of one that she only rated."""
    canary = orjson.dumps([registry.ReferenceOutput(1, (1, 2), (3,), -0.1)]).decode()
    with store.write() as db:
        hers, his = given.reply(db, domain, ANN), given.reply(db, domain, BOB)
        for number, reply in enumerate((hers, his), start=1):
            made = given.adapter(db, domain)
            run = runs.queue(db, domain, "cli:root", kind="incremental")
            sql = "INSERT INTO run_judgements (run_id, reply_id, liked) VALUES (?, ?, 1)"
            db.execute(sql, [run.id, reply])
            db.execute(
                "UPDATE adapters SET run_id = ?, canaries = ?, probes = ? WHERE id = ?",
                [run.id, canary, canary, made.id],
            )
            if number == 1:
                runs.claim(db, "worker:1")
                runs.fail(db, runs.get(db, run.id), "so that the next can be asked for")
    assert forget(store).adapters == ("helpdesk@1",)
    first, second = registry.list_adapters(store.db, domain)
    assert sorted([len(first.canaries), len(second.canaries)]) == [0, 1]
    with store.write() as db:
        feedback.thumb(db, his, ANN, up=True)
    assert erasure.preview(store.db, ANN).adapters == ("helpdesk@1", "helpdesk@2")
    done = forget(store)
    assert (done.adapters, done.runs) == (("helpdesk@1", "helpdesk@2"), (run.id,))


def test_adapters_keep_no_reference_outputs_or_samples_with_the_words(
    store: Store, domain: Domain, learned: int
) -> None:
    kept = registry.ReferenceOutput(2, (5, 6), (7,), -0.1)
    gone = registry.ReferenceOutput(1, (1, 2), (3,), -0.1)
    asked = f"Where is the {SECRET}?"
    samples = [
        {"question": asked, "expected": "Up.", "base": "?", "adapter": "Up."},
        {"question": "Who?", "expected": "Me.", "base": "?", "adapter": "Me."},
    ]
    with store.write() as db:
        made = given.adapter(db, domain, dataset_id=learned)
        db.execute(
            "UPDATE adapters SET canaries = ?, scores = ? WHERE id = ?",
            [
                orjson.dumps([gone, kept]).decode(),
                orjson.dumps({"steps": 3, "samples": samples}).decode(),
                made.id,
            ],
        )
    card = card_of(store, made.path, samples)
    forget(store)
    after = registry.by_id(store.db, made.id)
    assert after.canaries == (kept,)
    assert after.scores == {"steps": 3, "samples": samples[1:]}
    assert in_files(store, SECRET) == []
    text = card.read_text(encoding="utf-8")
    assert text.startswith("# helpdesk@1\n\n- a list of the recipe\n- **Who?**\n  - expected: Me.")
    assert text.endswith("## After\n")


def card_of(store: Store, path: str, samples: list[dict[str, str]]) -> Path:
    """An adapter's README.md, as training writes it."""
    lines = ["# helpdesk@1", "", "- a list of the recipe"]
    for s in samples:
        lines += [f"- **{s['question']}**", f"  - expected: {s['expected']}", "  - adapter: ?"]
    card = store.path.parent / path / "README.md"
    card.parent.mkdir(parents=True, exist_ok=True)
    card.write_text("\n".join([*lines, "", "## After"]) + "\n", encoding="utf-8")
    return card


def test_a_pair_with_the_persons_words_in_earlier_turns_is_removed(
    store: Store, domain: Domain
) -> None:
    with store.write() as db:
        turns = (pairs.Turn("user", f"my {SECRET}"), pairs.Turn("assistant", "Nice."))
        (pair_id,) = pairs.add(
            db, domain, [Draft("And then?", "Later.", turns=turns)], source="teach", author=BOB
        ).ids
        pairs.record_word_owners(db, pair_id, [ANN, BOB])
    assert forget(store).pairs == 1
    assert in_tables(store, SECRET) == []


def test_an_edited_pair_is_removed_with_its_original(store: Store, domain: Domain) -> None:
    with store.write() as db:
        training_set = suggestions.SuggestedPair(f"my {SECRET}?", "Upstairs.", people=(ANN,))
        first = suggestions.teach(db, domain, BOB, training_set).pair
        review_queue.edit(db, first.id, "cli:root", f"Where is the {SECRET}?", "Upstairs, left.")
    assert forget(store).pairs == 2
    assert in_tables(store, SECRET) == []


# In steps


def test_an_interrupted_erasure_resumes(store: Store, domain: Domain, life: str) -> None:
    for _ in range(7):
        with store.write() as db:
            given.reply(db, domain, ANN, f"{SECRET} again?", SECRET)
    whole = erasure.preview(store.db, ANN)
    with store.write() as db:
        receipt = erasure.begin(db, ANN, "cli:root")
    for _ in range(3):
        with store.write() as db:
            assert not erasure.step(db, receipt, most=2)
    assert in_tables(store, SECRET)

    (done,) = asyncio.run(erasure.resume(store, store.path.parent))
    assert done.receipt == receipt
    assert (done.messages, done.judgements, done.pairs) == (16, whole.judgements, whole.pairs)
    assert in_files(store, SECRET) == []
    assert rows(store.db, "SELECT * FROM forgettings") == []
    assert asyncio.run(erasure.resume(store, store.path.parent)) == []


def test_concurrent_erasures_return_the_same_result(store: Store, life: str) -> None:
    async def both() -> list[ErasureReceipt]:
        home = store.path.parent
        return await asyncio.gather(
            *(erasure.erase_person(store, home, ANN, ANN) for _ in range(2))
        )

    first, second = asyncio.run(both())
    assert first == second == erasure.result_of(store.db, first.receipt)
    assert len([e for e in audit.recent(store.db) if e.action == "forget"]) == 1


def test_a_repeated_request_is_one_erasure(store: Store, life: str) -> None:
    with store.write() as db:
        assert erasure.begin(db, ANN, ANN) == erasure.begin(db, ANN, "cli:root")
    forget(store)
    again = forget(store)
    assert (again.messages, again.judgements, again.pairs, again.adapters) == (0, 0, 0, ())


def test_a_preview_is_correct_and_changes_nothing(store: Store, life: str) -> None:
    seen = erasure.preview(store.db, ANN)
    assert in_tables(store, SECRET)
    done = forget(store)
    figures = ("messages", "judgements", "pairs", "holes", "adapters", "runs")
    assert [getattr(seen, f) for f in figures] == [getattr(done, f) for f in figures]


def test_erasing_an_unknown_person_succeeds(store: Store, domain: Domain) -> None:
    done = forget(store, "slack:T1/UNOBODY")
    assert (done.messages, done.judgements, done.pairs) == (0, 0, 0)
