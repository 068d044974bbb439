"""Tuning the encoder to far wording: its examples, and that only the upper layers learn."""

import random
from pathlib import Path

import pytest

from data.search.encoder import SHIPPED
from tools import tune_encoder
from tools.tune_encoder import EXAMPLES, HELD_OUT, ExampleQuestion, Organisation

ORGANISATIONS = tune_encoder.organisations()
CINEMA = Organisation(
    "cinema",
    {
        "price": (("What is a ticket?", "ticket price"), "A ticket is 9 euros."),
        "start": (("When does the film start?", "film times"), "Films start at 8."),
    },
    (
        ExampleQuestion("far", "What do you charge to get in?", "price"),
        ExampleQuestion("far", "How late can I come?", "start"),
        ExampleQuestion("near_miss", "Is there popcorn?", None),
    ),
)


def test_every_question_names_a_fact_of_its_organisation() -> None:
    for organisation in ORGANISATIONS:
        unknown = {q.fact for q in organisation.questions if q.fact} - organisation.facts.keys()
        assert (organisation.name, unknown) == (organisation.name, set())


def test_the_examples_of_far_wording_have_both_kinds_of_questions() -> None:
    written = {path.stem for path in (EXAMPLES / "far_wording").glob("*.jsonl")}
    found = [o for o in ORGANISATIONS if o.name in written]

    assert len(found) == len(written) >= 6
    for organisation in found:
        kinds = [q.kind for q in organisation.questions]
        assert kinds.count("far") >= 25
        assert kinds.count("near_miss") >= 14
        asked = {q.fact for q in organisation.questions if q.kind == "far"}
        assert organisation.facts.keys() - asked == set()


def test_what_the_confidence_is_fitted_on_is_left_out_of_the_tuning() -> None:
    assert {o.name for o in ORGANISATIONS} >= HELD_OUT


def test_a_follow_up_is_encoded_with_the_question_before_it() -> None:
    found = [q for o in ORGANISATIONS for q in o.questions if q.kind == "follow_up"]

    assert found
    assert all("\n" in q.text for q in found)


def test_only_the_upper_layers_learn() -> None:
    import torch
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=32, num_hidden_layers=5, num_attention_heads=2, intermediate_size=32
    )
    model = BertModel(config)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    encoder = tune_encoder.Tuned(model, Tokenizer.from_file(str(SHIPPED / "tokenizer.json")))
    limit = torch.tensor(tune_encoder.LIMIT)

    def loss() -> float:
        with torch.no_grad():
            rng = random.Random(0)
            return float(tune_encoder.loss_of(encoder, CINEMA, limit, ["Who is Bach?"], rng))

    model.eval()
    at_first = loss()
    tune_encoder.tune(encoder, [CINEMA], epochs=20)
    model.eval()

    assert loss() < at_first
    changed = {
        name for name, weight in model.state_dict().items() if (weight != before[name]).any()
    }
    assert changed
    assert all(name.startswith(("encoder.layer.3.", "encoder.layer.4.")) for name in changed)


def test_a_folder_of_another_kind_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["tune_encoder", str(tmp_path), str(tmp_path / "out")])

    assert tune_encoder.main() == 1
    assert "no sentence-transformers folder" in capsys.readouterr().err
