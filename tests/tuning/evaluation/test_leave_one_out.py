"""No one person decides a run on judgements: the gate leaves each of them out."""

from dataclasses import replace

from tests.tuning.training.test_dpo import RECIPE, answered
from tuning.data.examples import Example
from tuning.evaluation import leave_one_out
from tuning.evaluation.gate import UNCOMPARED, Rule
from tuning.model.base_model import Base, new_adapter
from tuning.training import loop
from tuning.training.dpo import Dpo
from tuning.training.method_setup import JudgedMargin


def judged(person: str, *margins: float, held_out: bool = False) -> list[JudgedMargin]:
    return [JudgedMargin(margin, (person,) if person else (), held_out) for margin in margins]


def rule(*some: list[JudgedMargin]) -> Rule:
    return leave_one_out.rule([one for part in some for one in part], chance=0.05)


def test_people_who_agree_pass() -> None:
    found = rule(judged("ann", 0.2, 0.3, 0.1), judged("bob", 0.1, 0.2))
    assert found.passed
    assert "more than 60% of the 5 judgements" in found.sentence
    assert "(+0.150 at least)" in found.sentence


def test_one_person_at_the_cost_of_the_others_fails() -> None:
    found = rule(judged("eve", *[0.4] * 9), judged("ann", *[-0.3] * 3), judged("bob", *[-0.2] * 3))
    assert found.passed is False
    assert "One person's judgements were followed at the cost of the others'" in found.sentence
    assert "leaving out one person's judgements (60% of all)" in found.sentence
    assert "the judgements of the others (6) moved the wrong way, by 0.250" in found.sentence
    assert "eve" not in found.sentence


def test_the_answers_of_a_file_belong_to_the_others() -> None:
    assert rule(judged("eve", *[0.4] * 9), judged("", *[-0.3] * 6)).passed is False


def test_what_chance_explains_passes() -> None:
    found = rule(judged("eve", *[0.4] * 9), judged("ann", -0.1, 0.05, -0.02, 0.06, -0.03))
    assert found.passed
    assert "moved the wrong way, by 0.008 on average: as much as chance explains" in found.sentence
    assert "were followed" not in found.sentence


def test_too_few_judgements_of_the_others_show_nothing() -> None:
    """No test could tell four from chance at this level, however far they moved."""
    found = rule(judged("eve", *[0.4] * 9), judged("ann", *[-9.0] * 4))
    assert found.passed is None
    assert "(4) moved the wrong way, by 9.000 on average: too few to tell" in found.sentence


def test_a_run_that_followed_nobody_fails_without_blaming_one_person() -> None:
    found = rule(judged("ann", *[-0.3] * 5), judged("bob", *[-0.2] * 5))
    assert found.passed is False
    assert "Training followed nobody's judgements" in found.sentence
    assert "quarantine" not in found.sentence


def test_held_out_judgements_of_the_others_are_preferred() -> None:
    trained = judged("ann", *[0.5] * 6)
    apart = judged("ann", *[-0.2] * 6, held_out=True)
    assert rule(judged("eve", *[0.4] * 9), trained, apart).passed is False
    assert "the held-out ones of the others (6)" in rule(judged("eve", 0.4), apart).sentence
    assert rule(judged("eve", *[0.4] * 9), trained, apart[:4]).passed  # 4 of them show nothing


def test_one_persons_judgements_alone_are_not_confirmed() -> None:
    assert rule(judged("ann", 0.1, 0.2)).passed is None
    of_files = rule(judged("", 0.1, 0.2))
    assert of_files.passed is None
    assert "they come from files" in of_files.sentence
    assert leave_one_out.NAME in UNCOMPARED  # it says nothing about how well it answers


def test_a_hostile_person_with_many_judgements_is_found(base: Base) -> None:
    """Three people prefer one answer to each of six questions. A fourth one prefers the other
    answer, in 20 conversations, which is as many as one person may have."""
    right = dict(answered(number) for number in range(1, 7))
    pairs, people = dict(right), {one: ("abc"[i % 3],) for i, one in enumerate(right)}
    for number in range(20):
        chosen, rejected = list(right.items())[number % 6]
        again = _again(rejected, number)
        pairs[again] = _again(chosen, -number)
        people[again] = ("eve",)
    tuned = new_adapter(base, RECIPE)
    recipe = RECIPE.model_copy(update={"epochs": 8.0})

    def verdict(some: dict[Example, Example]) -> Rule:
        objective = Dpo(some, beta=0.1)
        objective.prepare(base, tuned, recipe)
        loop.train(base, tuned, lambda _: list(some), {}, (), recipe, objective=objective.learn)
        chosen, rejected = objective.gains(base, tuned, list(some), recipe)
        margins = zip(some, (chosen - rejected).tolist(), strict=True)
        return rule([JudgedMargin(margin, people[one], False) for one, margin in margins])

    assert verdict(right).passed
    assert verdict(pairs).passed is False


def _again(example: Example, number: int) -> Example:
    """The same answer to the same question, in another conversation."""
    return replace(example, pair_id=1_000 + number)
