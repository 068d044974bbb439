"""The shipped reading examples: answers stand in their references, in other words than asked."""

import re
from collections import Counter
from pathlib import Path

import orjson
import pytest

import data
from data.store.errors import Invalid
from tools import tune_encoder
from tuning.data import reading_examples
from tuning.data.reading_examples import (
    FOLDER,
    REFUSED,
    ReadingExample,
    ReadingFact,
    ReadingOrganisation,
)

ORGANISATIONS = reading_examples.organisations()
SHARED = 1 / 3  # of a far question's content words, at most, stand in its fact
ALIKE = 0.6  # of the content words of two questions are the same
FAR_WORDING = FOLDER.parent / "far_wording"  # what the encoder is tuned on, besides
BENCHMARKS = Path(data.__file__).parents[1] / "benchmarks" / "domains"
STEM = 5  # letters: words that begin with the same five are the same word
# Words that every text of a language has; they say nothing about what is asked.
FUNCTION_WORDS = {
    "en": """
        a about after all also am an and another any anybody anyone anything are as at be
        because been before being but by can cannot could did do does doing don done else ever
        every for from get gets getting give go going gone good got had has have having he her
        here hers him his how i if in into is it its just know let like lot make many may me
        might mine more most much must my need no nor not now of off ok okay on once one only or
        other our ours out over own please possible put really same say she should since so some
        somebody someone something still such sure take tell than thank thanks that the their
        them then there these they thing this those though through till to too under until up us
        use very wanna want wants was way we well were what when where whether which while who
        whole whom whose why will wish with within without won would yes yet you your yours
        yourself actually anyway ve ll re isn doesn didn couldn wouldn shouldn aren hasn haven
        wasn weren ain somewhere someplace anywhere
    """,
    "de": """
        ab aber alle allem allen aller alles als also am an andere anderen auch auf aus bei beim
        bin bis bist bitte da dabei dafür damit dann daran darf darauf das dass dein deine dem
        den denn der des die dies diese diesem diesen dieser doch dort du dürfen durch
        eigentlich ein eine einem einen einer eines er es etwas euch euer eure für gar geht gern
        gerne gibt habe haben habt hat hatte hätte her hier hin ich ihm ihn ihnen ihr ihre im in
        ins irgend ist ja jede jeden jeder jemand kann kein keine keinen könnt können könnte
        könnten machen mal man mein meine meinem meinen meiner mich mir mit muss müssen nach
        nicht nichts noch nun nur ob oder schon sein seine sehr sich sie sind so soll sollen
        sollte über um und uns unser unsere unter viel viele vom von vor wann war warum was weil
        welche welcher welches wenn wer werde werden wie wieder will wir wird wo wofür wohin
        worden würde würden zu zum zur sonst überhaupt lassen lässt möchte möchten
    """,
    "fr": """
        a ai ais as au aucun aussi autre autres aux avec avez avoir avons c ce cela ces cet
        cette ceux chez ci comme comment d dans de des donc du elle elles en encore es est et
        être eu fait faire faut il ils j je l la là le les leur leurs lui m ma mais me même mes
        moi mon n ne nos notre nous on ont ou où par pas peut peux plus pour pourquoi pouvez
        puis qu quand que quel quelle quelles quels quelque qui quoi s sa sans se ses si son
        sont suis sur t ta te tes toi ton tous tout toute toutes très tu un une va vais vos
        votre vous y ça alors bien dois doit doivent avant après entre vers sous
    """,
    "es": """
        a al algo alguien algún alguna ante antes así aún aunque con como cómo cual cuál cuando
        cuándo cuánto cuánta de del desde donde dónde e el él ella ellas ellos en entre era es
        esa ese eso esta está están estar este esto estos fue ha hace hacen hacer hasta hay he
        la las le les lo los más me mi mis mucho muy nada ni no nos nosotros o os otra otro para
        pero poco podemos poder podría por porque puede pueden puedo pues que qué quien quién
        quiero se sea ser si sí sin sobre solo son soy su sus también tan tanto te tengo tenemos
        tiene tienen toda todo todos tu tú tus un una unas uno unos usted ustedes va van voy
        vosotros y ya yo cada cuáles durante hacia luego tras
    """,
    "it": """
        a ad ai al all alla alle allo agli anche ancora avete avere c che chi ci coi col come
        con cosa cui da dai dal dall dalla dalle dallo degli dei del dell della delle dello di
        dopo dove e è ed essere fa fare fate fino già gli ha hai hanno ho i il in io l la le lei
        li lo loro lui ma me mi mia mie miei mio ne negli nei nel nell nella nelle nello noi non
        nostra nostre nostri nostro o per perché più poi posso possiamo può prima qual quale
        quali qualcosa qualcuno quando quanta quante quanti quanto quel quella quelle quelli
        quello questa queste questi questo se sei senza si sia siamo siete solo sono sta stare
        su sua sue sugli sui sul sull sulla sulle suo suoi te ti tra tu tua tutta tutte tutti
        tutto un una uno va vi voglio voi volete vorrei vostra vostre vostri vostro tuo tuoi tue
        entro ora
    """,
}


def by_name(found: ReadingOrganisation) -> str:
    return found.name


def content_words(text: str, language: str) -> list[str]:
    """The words of a text that carry meaning, reduced to their stems."""
    words = re.findall(r"[^\W\d_]+|\d+", text.casefold())
    ignored = set(FUNCTION_WORDS[language].split())
    kept = [word for word in words if word not in ignored and (len(word) > 1 or word.isdigit())]
    return [word.removesuffix("s")[:STEM] if len(word) > 3 else word for word in kept]


def shared(question: str, fact: ReadingFact, language: str) -> float:
    """The share of the question's content words that stand in the fact's prompts or response."""
    asked = content_words(question, language)
    known = set(content_words(" ".join([*fact.prompts, fact.response]), language))
    return sum(word in known for word in asked) / max(len(asked), 1)


def plain(text: str) -> str:
    return " ".join(re.findall(r"[\w.,:'’%€£$-]*\w", text.casefold()))


def answered(organisation: ReadingOrganisation) -> list[ReadingExample]:
    return [example for example in organisation.examples if example.answer_from]


# The shipped files


@pytest.mark.parametrize("organisation", ORGANISATIONS, ids=by_name)
def test_every_organisation_has_enough_of_each_kind(organisation: ReadingOrganisation) -> None:
    kinds = Counter(example.kind for example in organisation.examples)
    assert len(organisation.facts) >= 16
    assert len(organisation.examples) >= 40
    assert kinds["far"] >= 20
    assert kinds["far"] > 2 * kinds["near"] > 0
    assert min(kinds["missing"], kinds["near_miss"], kinds["off_topic"]) >= 2
    assert min(kinds["small_talk"], kinds["follow_up"]) >= 2


@pytest.mark.parametrize("organisation", ORGANISATIONS, ids=by_name)
def test_far_questions_use_other_words_than_the_fact(organisation: ReadingOrganisation) -> None:
    close = [
        (round(share, 2), example.question, example.answer_from.name)
        for example in organisation.examples
        if example.kind == "far" and example.answer_from
        if (share := shared(example.question, example.answer_from, organisation.language)) > SHARED
    ]
    assert close == []


@pytest.mark.parametrize("organisation", ORGANISATIONS, ids=by_name)
def test_an_answer_is_the_response_and_its_part_stands_in_it(
    organisation: ReadingOrganisation,
) -> None:
    for example in answered(organisation):
        assert example.answer_from
        assert example.answer == example.answer_from.response
        assert f" {plain(example.part)} " in f" {plain(example.answer)} " or not example.part
        assert plain(example.part) != plain(example.answer), example.question


@pytest.mark.parametrize("organisation", ORGANISATIONS, ids=by_name)
def test_what_no_reference_answers_is_refused(organisation: ReadingOrganisation) -> None:
    for example in organisation.examples:
        if example.kind in REFUSED:
            assert example.answer == organisation.refusal
        if example.kind == "small_talk":
            assert not re.search(r"\d", example.answer)


@pytest.mark.parametrize("organisation", ORGANISATIONS, ids=by_name)
def test_two_to_four_references_and_every_fact_is_asked_for(
    organisation: ReadingOrganisation,
) -> None:
    for example in organisation.examples:
        assert 2 <= len(set(example.references)) == len(example.references) <= 4
        assert bool(example.turns) == (example.kind == "follow_up")
    asked = {example.answer_from.name for example in answered(organisation) if example.answer_from}
    assert {fact.name for fact in organisation.facts} - asked == set()


def test_nothing_is_there_twice() -> None:
    questions = Counter(
        (plain(example.question), tuple(turn.content for turn in example.turns))
        for organisation in ORGANISATIONS
        for example in organisation.examples
    )
    questions.update((plain(found.question), ()) for found in reading_examples.off_topic())
    responses = Counter(fact.response for found in ORGANISATIONS for fact in found.facts)
    heads = Counter(text for found in ORGANISATIONS for text in (found.system, found.refusal))
    prompts = Counter(
        (found.name, plain(prompt))
        for found in ORGANISATIONS
        for fact in found.facts
        for prompt in fact.prompts
    )
    for counted in (questions, responses, heads, prompts):
        assert [text for text, times in counted.items() if times > 1] == []


def test_off_topic_questions_come_in_several_languages() -> None:
    found = reading_examples.off_topic()
    assert len(found) >= 150
    assert {question.kind for question in found} == {"off_topic", "small_talk"}
    spoken = Counter(question.language for question in found)
    assert set(spoken) == {"en", "de", "fr", "es", "it"}
    assert min(spoken.values()) >= 10


def test_no_question_resembles_one_that_answers_are_measured_on() -> None:
    """A question of a test set in the reading examples would flatter every figure."""
    held_out = [
        set(content_words(orjson.loads(line)["question"], "en"))
        for file in ("test.jsonl", "near.jsonl")
        for path in BENCHMARKS.glob(f"*/{file}")
        for line in path.read_bytes().splitlines()
    ]
    assert len(held_out) > 300
    asked = [
        e.question for found in ORGANISATIONS if found.language == "en" for e in found.examples
    ]
    asked += [found.question for found in reading_examples.off_topic() if found.language == "en"]
    asked += [
        q.text for found in tune_encoder.organisations([FAR_WORDING]) for q in found.questions
    ]
    alike = [
        question
        for question in asked
        if len(words := set(content_words(question, "en"))) > 1
        if max(len(words & other) / len(words | other) for other in held_out) >= ALIKE
    ]
    assert alike == []


def test_no_position_gives_the_answer_away() -> None:
    """The right reference stands first as often as elsewhere."""
    places = Counter(
        (len(example.references), example.references.index(example.answer_from))
        for found in ORGANISATIONS
        for example in answered(found)
        if example.answer_from
    )
    for size in (3, 4):
        times = [places[size, place] for place in range(size)]
        assert max(times) < 1.5 * sum(times) / size


def test_the_files_are_small_enough_to_ship() -> None:
    assert sum(path.stat().st_size for path in FOLDER.glob("*.jsonl")) < 2_000_000


# Reading a file


HEAD = {"language": "en", "system": "You answer for the mill.", "refusal": "The mill can't say."}
FACT = {"fact": "hours", "prompts": ["When do you grind?", "grinding times"], "response": "At 6."}
OTHER = {"fact": "flour", "prompts": ["What flour is there?"], "response": "Rye and spelt."}
ASKED = {
    "kind": "far",
    "question": "How early can I come?",
    "answer_from": "hours",
    "references": ["flour", "hours"],
}


def mill(tmp_path: Path, *rows: object) -> ReadingOrganisation:
    path = tmp_path / "mill.jsonl"
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return reading_examples.read(path)


def test_an_example_is_answered_with_the_response_of_its_fact(tmp_path: Path) -> None:
    found = mill(tmp_path, HEAD, FACT, OTHER, ASKED)
    assert found.name == "mill"
    example = found.examples[0]
    assert example.answer == "At 6."
    assert [fact.name for fact in example.references] == ["flour", "hours"]
    assert example.references[1].prompt(example.question) in FACT["prompts"]


def test_without_its_reference_the_same_question_is_refused(tmp_path: Path) -> None:
    found = mill(tmp_path, HEAD, FACT, OTHER, ASKED)
    missing = found.without_answer(found.examples[0])
    assert missing.kind == "missing"
    assert missing.answer == "The mill can't say."
    assert [fact.name for fact in missing.references] == ["flour"]
    assert [fact.name for fact in missing.hidden] == ["hours"]
    with pytest.raises(ValueError, match="No reference answers"):
        found.without_answer(missing)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"references": ["flour", "prices"]}, "line 4: there is no fact prices"),
        ({"references": ["flour"]}, "line 4: hours answers, but is not among"),
        ({"kind": "close"}, "line 4: kind is 'close'"),
        ({"kind": "near_miss"}, "line 4: near_miss examples have no answer"),
        ({"kind": "missing", "answer_from": None}, "line 4: the fact that answers is not named as"),
        (
            {"kind": "missing", "answer_from": None, "hidden": ["hours"]},
            "line 4: hours is hidden and yet among",
        ),
        ({"answer_from": None}, "line 4: the fact that answers a far question is not named"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, changed: dict[str, object], reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        mill(tmp_path, HEAD, FACT, OTHER, ASKED | changed)


def test_a_missing_key_and_a_broken_line_are_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="line 2: 'response' is missing"):
        mill(tmp_path, HEAD, {"fact": "hours", "prompts": ["When?"]})
    (tmp_path / "torn.jsonl").write_bytes(b'{"language": "en"\n')
    with pytest.raises(Invalid, match=r"torn\.jsonl, line 1"):
        reading_examples.read(tmp_path / "torn.jsonl")
