"""The gate: what fails an adapter, what chance explains, and what could not be measured."""

import numpy as np
import pytest
from scipy.stats import permutation_test

from data.config.settings import GateSettings
from tuning.evaluation import gate
from tuning.evaluation.eval_sets import Name
from tuning.evaluation.gate import Parity, evaluate_gate, paired, paired_losses
from tuning.evaluation.metrics import Loss

SETTINGS = GateSettings()
SERVED = Parity(1.0, 1000)


def losses(*nats: float) -> list[Loss]:
    return [Loss(10 * n, 10) for n in nats]


def rules(verdict: gate.GateVerdict) -> dict[str, bool | None]:
    return {rule.name: rule.passed for rule in verdict.rules}


def test_a_first_adapter_must_be_better_than_the_bare_base() -> None:
    held_out = (losses(2.0, 2.1), losses(3.0, 3.3))

    good = evaluate_gate(
        SETTINGS, {"validation": held_out}, {}, "the bare base", SERVED, live=False
    )
    bad = evaluate_gate(
        SETTINGS, {"validation": held_out[::-1]}, {}, "the bare base", SERVED, live=False
    )
    same = evaluate_gate(
        SETTINGS, {"validation": (held_out[0],) * 2}, {}, "the bare base", SERVED, live=False
    )

    assert good.passed
    assert rules(good) == {"validation": True, "golden": None, "parity": True}
    assert not bad.passed
    assert "is not lower than the bare base's: +1.100 nats" in bad.reason
    assert not same.passed


def test_beside_a_live_adapter_only_what_chance_does_not_explain_counts_as_worse() -> None:
    random = np.random.default_rng(0)
    live = random.normal(1.0, 0.3, 60)
    noise = random.normal(0.03, 0.2, 60)

    lucky = evaluate_gate(
        SETTINGS,
        {"validation": (losses(*(live + noise)), losses(*live))},
        {}, "helpdesk@1", SERVED, live=True,
    )  # fmt: skip
    worse = evaluate_gate(
        SETTINGS,
        {"validation": (losses(*(live + noise + 0.2)), losses(*live))},
        {}, "helpdesk@1", SERVED, live=True,
    )  # fmt: skip

    assert rules(lucky)["validation"] is True
    assert "is no higher than chance explains" in lucky.rules[0].sentence
    assert rules(worse)["validation"] is False
    assert "higher than the live adapter's" in worse.reason


def test_a_loss_that_is_higher_by_no_more_than_the_margin_passes() -> None:
    live = [1.0, 2.0, 3.0, 4.0] * 10

    def passed(more: float) -> bool:
        candidate = losses(*(loss + more for loss in live))
        found = {"validation": (candidate, losses(*live))}
        return evaluate_gate(SETTINGS, found, {}, "helpdesk@1", SERVED, live=True).passed

    assert passed(0.049)  # 2% of 2.5
    assert not passed(0.051)


def test_unseen_facts_and_unseen_phrasings_are_validated_together() -> None:
    worse, better = (losses(3.0), losses(1.0)), (losses(1.0, 1.0, 1.0), losses(3.0, 3.0, 3.0))

    verdict = evaluate_gate(
        SETTINGS, {"validation": worse, "probe": better}, {}, "the bare base", SERVED, live=False
    )

    assert verdict.rules[0].paired is not None
    assert verdict.rules[0].paired.difference == -1.0


def test_what_is_new_must_have_been_learned() -> None:
    found = {"new": (losses(2.0), losses(0.5))}

    verdict = evaluate_gate(SETTINGS, found, {}, "helpdesk@1", SERVED, live=True)

    assert verdict.reason.startswith("What is new was not learned: +1.500 nats a token")


@pytest.mark.parametrize("name", ["golden", "replay"])
def test_forgetting_beyond_the_margin_is_worse(name: gate.Name) -> None:
    before, after = [1.0] * 40, [1.0] * 30 + [0.4] * 10

    verdict = evaluate_gate(SETTINGS, {}, {name: (after, before)}, "helpdesk@1", SERVED, live=True)

    assert rules(verdict)[name] is False
    assert f"It is worse on {name} questions: token F1 -0.150" in verdict.reason


def test_a_loss_within_the_margin_passes() -> None:
    before, after = [1.0] * 40, [0.99] * 40

    assert gate.not_worse("golden", after, before, "x", margin=0.02, chance=0.05).passed
    assert not gate.not_worse("golden", after, before, "x", margin=0.005, chance=0.05).passed


def test_the_sign_test_of_f1_asks_whether_more_than_the_margin_was_lost() -> None:
    """Six of forty answers lose 0.2 each: 0.03 on the mean, where 0.02 is allowed. No loss at all
    would look so once in 64 times; a loss of the margin does so more often than one time in ten."""
    before, after = [1.0] * 40, [0.8] * 6 + [1.0] * 34

    allowed = gate.not_worse("golden", after, before, "x", margin=0.02, chance=0.05)
    none = gate.not_worse("golden", after, before, "x", margin=0.0, chance=0.05)

    assert allowed.passed
    assert allowed.paired is not None
    assert allowed.paired.chance > 0.1
    assert none.passed is False
    assert none.paired is not None
    assert none.paired.chance == pytest.approx(1 / 64, rel=0.2)


def test_the_sign_test_of_losses_asks_whether_they_are_higher_by_more_than_the_margin() -> None:
    live = [1.0] * 40
    candidate = [1.2] * 6 + [1.0] * 34

    def found(margin: float) -> gate.Rule:
        return gate.validation(
            losses(*candidate), losses(*live), "x", live=True, margin=margin, chance=0.05
        )

    assert found(0.02).passed
    assert found(0.0).passed is False


def reference_chance(differences: list[float], allowed: float) -> float:
    """The same test by SciPy: of all ways to flip the signs, the share with so high a mean."""
    shifted = np.array(differences) - allowed
    return float(
        permutation_test(
            (shifted,),
            np.mean,
            permutation_type="samples",
            alternative="greater",
            n_resamples=np.inf,
        ).pvalue
    )


@pytest.mark.parametrize("allowed", [0.0, 0.1, -0.2])
@pytest.mark.parametrize("n", [2, 5, 10])
def test_the_chance_is_that_of_a_sign_flip_test(n: int, allowed: float) -> None:
    differences = np.random.default_rng(n).normal(0.2, 0.5, n).tolist()

    found = paired(differences, [0.0] * n, allowed)

    assert found.chance == pytest.approx(reference_chance(differences, allowed))


def test_a_handful_of_golden_questions_cannot_fail_anybody_by_bad_luck() -> None:
    """Three wrong answers of three: one time in eight that is luck."""
    rule = gate.not_worse("golden", [0.0] * 3, [1.0] * 3, "x", margin=0.02, chance=0.05)

    assert rule.paired is not None
    assert rule.paired.chance == 1 / 8
    assert rule.passed
    assert rule.sentence.startswith("It is no worse than chance explains on golden questions")


@pytest.mark.parametrize(("lost", "said"), [(20, True), (0, False)])
def test_what_a_full_run_held_out_is_named_where_it_is_missed(lost: int, said: bool) -> None:
    f1: dict[Name, tuple[list[float], list[float]]] = {
        "replay": ([0.0] * lost + [1.0] * (40 - lost), [1.0] * 40)
    }
    served = Parity(None, 0, not_asked="none")

    verdict = gate.evaluate_gate(
        GateSettings(), {}, f1, "helpdesk@1", served, live=True, withheld=20
    )

    words = "held 20 of them out to measure on, and helpdesk@1 was trained on them"
    assert (words in verdict.reason) is said


def test_parity_is_failed_by_other_answers() -> None:
    def passed(agreement: float | None, tokens: int = 1000, **more: str) -> bool | None:
        return gate.parity(Parity(agreement, tokens, **more), least=0.99).passed

    assert passed(0.99)
    assert passed(0.989) is False
    assert passed(0.24) is False
    assert passed(59 / 60, 60) is False  # however few they are
    assert passed(None, not_asked="no engine is running") is None
    assert passed(None, refused="Its rank is 3.") is False


@pytest.mark.parametrize(
    ("leads", "passed", "words"),
    [
        ((0.1,) * 20, True, "on 100.0% of 980 tokens (at least 99% wanted; 20 more are near ties)"),
        ((0.2, *[0.25] * 9), True, "on 99.0% of 999 tokens (at least 99% wanted; 1 more is a near"),
        ((0.2, *[0.25] * 10), False, "on 98.9% of 999 tokens"),
        ((None,) * 20, False, "on 98.0% of 1000 tokens (at least 99% wanted)"),
    ],
)
def test_near_ties_are_no_tokens_that_differ(
    leads: tuple[float | None, ...], passed: bool, words: str
) -> None:
    rule = gate.parity(Parity(1 - len(leads) / 1000, 1000, leads), least=0.99)

    assert rule.passed is passed
    assert words in rule.sentence


def test_parity_names_the_very_share_that_is_wanted() -> None:
    rule = gate.parity(Parity(0.994, 1000), least=0.995)

    assert rule.passed is False
    assert "on 99.4% of 1000 tokens (at least 99.5% wanted)" in rule.sentence


@pytest.mark.parametrize(
    ("leads", "words"),
    [
        ((), "99% wanted)."),
        ((0.31, 0.02, 0.12), "likelier by 0.02 to 0.31 nats (0.12 in the middle)."),
        ((0.5, None), "likelier by 0.50 nats. 1 of the trainer's tokens is not among"),
        ((None, None), "wanted). 2 of the trainer's tokens are not among its likeliest."),
    ],
)
def test_parity_says_whether_the_tokens_that_differ_are_near_ties(
    leads: tuple[float | None, ...], words: str
) -> None:
    rule = gate.parity(Parity(0.97, 1000, leads), least=0.99)

    assert words in rule.sentence
    assert rule.passed is False


def test_an_interval_covers_the_difference_that_is_there() -> None:
    random = np.random.default_rng(3)
    covered = 0
    for _ in range(60):
        own = random.normal(0.3, 1, 50)
        found = paired(own.tolist(), [0.0] * 50)
        covered += found.low < 0.3 < found.high

    assert covered >= 50  # 95% of 60 are 57; 50 or fewer come once in 3,000


def test_chance_is_rarely_called_a_loss() -> None:
    """Of two equal models, one in twenty comparisons at most."""
    random = np.random.default_rng(5)
    failed = 0
    for _ in range(100):
        own, other = random.normal(0, 1, 30), random.normal(0, 1, 30)
        failed += paired(own.tolist(), other.tolist()).chance < 0.05

    assert failed <= 12  # 5 are expected; 13 or more come once in 700


def test_losses_weigh_by_their_tokens() -> None:
    own, other = [Loss(1.0, 1), Loss(9.0, 9)], [Loss(3.0, 1), Loss(9.0, 9)]

    assert paired_losses(own, other).difference == pytest.approx(-0.2)


def test_the_same_figures_give_the_same_verdict() -> None:
    random = np.random.default_rng(1)
    own, other = random.normal(0, 1, 40).tolist(), random.normal(0, 1, 40).tolist()

    assert paired(own, other) == paired(own, other)
