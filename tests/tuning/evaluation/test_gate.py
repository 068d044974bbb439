"""The gate: which adapters fail, significance, and rules that could not be measured."""

import json
import math

import numpy as np
import pytest
from scipy.stats import bootstrap, permutation_test

from data.config.settings import GateSettings
from tuning.evaluation import gate
from tuning.evaluation.eval_sets import SetName
from tuning.evaluation.gate import Parity, evaluate_gate, paired, paired_losses
from tuning.evaluation.metrics import GeneratedAnswer, Loss

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
    assert rules(good) == {
        "validation": True, "golden": None, "parity": True, "training": None, "readable": None,
    }  # fmt: skip
    assert not bad.passed
    assert "is not lower than the bare base's: +1.100 nats" in bad.reason
    assert not same.passed


def test_compared_with_a_live_adapter_only_significant_differences_are_worse() -> None:
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


def test_new_pairs_must_have_been_learned() -> None:
    found = {"new": (losses(2.0), losses(0.5))}

    verdict = evaluate_gate(SETTINGS, found, {}, "helpdesk@1", SERVED, live=True)

    assert verdict.reason.startswith("The new pairs were not learned: +1.500 nats per token")


@pytest.mark.parametrize("name", ["golden", "replay"])
def test_forgetting_beyond_the_margin_is_worse(name: gate.SetName) -> None:
    before, after = [1.0] * 40, [1.0] * 30 + [0.4] * 10

    verdict = evaluate_gate(SETTINGS, {}, {name: (after, before)}, "helpdesk@1", SERVED, live=True)

    assert rules(verdict)[name] is False
    assert f"It is worse on {name} questions: token F1 -0.150" in verdict.reason


def test_a_loss_within_the_margin_passes() -> None:
    before, after = [1.0] * 40, [0.99] * 40

    assert gate.not_worse("golden", after, before, "x", margin=0.02, chance=0.05).passed
    assert not gate.not_worse("golden", after, before, "x", margin=0.005, chance=0.05).passed


def test_the_sign_test_of_f1_uses_the_margin_as_null_hypothesis() -> None:
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


def test_the_sign_test_of_losses_uses_the_margin_as_null_hypothesis() -> None:
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
def test_the_p_value_is_that_of_a_sign_flip_test(n: int, allowed: float) -> None:
    differences = np.random.default_rng(n).normal(0.2, 0.5, n).tolist()

    found = paired(differences, [0.0] * n, allowed)

    assert found.chance == pytest.approx(reference_chance(differences, allowed))


def test_few_golden_questions_cannot_fail_an_adapter_by_chance() -> None:
    """Three wrong answers of three: one time in eight that is luck."""
    rule = gate.not_worse("golden", [0.0] * 3, [1.0] * 3, "x", margin=0.02, chance=0.05)

    assert rule.paired is not None
    assert rule.paired.chance == 1 / 8
    assert rule.passed
    assert rule.sentence.startswith("It is no worse than chance explains on golden questions")


@pytest.mark.parametrize(("lost", "said"), [(20, True), (0, False)])
def test_pairs_that_a_full_run_held_out_are_named_when_replay_fails(lost: int, said: bool) -> None:
    f1: dict[SetName, tuple[list[float], list[float]]] = {
        "replay": ([0.0] * lost + [1.0] * (40 - lost), [1.0] * 40)
    }
    served = Parity(None, 0, not_asked="none")

    verdict = gate.evaluate_gate(
        GateSettings(), {}, f1, "helpdesk@1", served, live=True, withheld=20
    )

    words = "held out 20 of them for measuring, and helpdesk@1 was trained on them"
    assert (words in verdict.reason) is said


def test_different_answers_fail_parity() -> None:
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
        (
            (0.1,) * 20,
            True,
            "on 100.0% of 980 tokens (at least 99% required; 20 more are near ties)",
        ),
        (
            (0.2, *[0.25] * 9),
            True,
            "on 99.0% of 999 tokens (at least 99% required; 1 more is a near",
        ),
        ((0.2, *[0.25] * 10), False, "on 98.9% of 999 tokens"),
        ((None,) * 20, False, "on 98.0% of 1000 tokens (at least 99% required)"),
    ],
)
def test_near_ties_do_not_count_as_different_tokens(
    leads: tuple[float | None, ...], passed: bool, words: str
) -> None:
    rule = gate.parity(Parity(1 - len(leads) / 1000, 1000, leads), least=0.99)

    assert rule.passed is passed
    assert words in rule.sentence


@pytest.mark.parametrize(
    ("trained", "served", "cause", "cure"),
    [
        ("nf4", "bfloat16", "trained on the base in NF4, and the engine serves it in bf16",
         "again with quantization=none, or set [serving] quantization = \"bitsandbytes\""),
        ("bfloat16", "nf4", "trained on the base in bf16, and the engine serves it in NF4",
         "again with quantization=nf4, or set [serving] quantization = \"none\""),
        ("float32", "bfloat16", "in fp32, and the engine serves it in bf16",
         "Set [serving] dtype = \"float32\"."),
        ("bfloat16", "", "in bf16; the engine does not say", "set [serving] quantization to what"),
        ("bfloat16", "bfloat16", "Both hold the base in bf16, so that is not the cause",
         "the same files of the base model"),
    ],
)  # fmt: skip
def test_a_failed_parity_names_cause_and_cure(
    trained: str, served: str, cause: str, cure: str
) -> None:
    """Adapters of SmolLM2-135M that were trained in NF4 agreed on 67 to 90% of the tokens with an
    engine in bf16, and the reason named neither."""

    def rule(agreement: float) -> gate.Rule:
        return gate.parity(
            Parity(agreement, 1000, trained_in=trained, served_in=served), least=0.99
        )

    refused = Parity(
        None, 0, refused="It answers differently.", differs=True,
        trained_in=trained, served_in=served,
    )  # fmt: skip
    assert cause in gate.parity(refused, least=0.99).sentence
    assert cause in rule(0.8).sentence
    assert cure in rule(0.8).sentence
    assert cause not in rule(1.0).sentence


def test_parity_names_the_required_share() -> None:
    rule = gate.parity(Parity(0.994, 1000), least=0.995)

    assert rule.passed is False
    assert "on 99.4% of 1000 tokens (at least 99.5% required)" in rule.sentence


@pytest.mark.parametrize(
    ("leads", "words"),
    [
        ((), "99% required)."),
        ((0.31, 0.02, 0.12), "likelier by 0.02 to 0.31 nats (median 0.12)."),
        ((0.5, None), "likelier by 0.50 nats. 1 of the trainer's tokens is not among"),
        ((None, None), "required). 2 of the trainer's tokens are not among its likeliest."),
    ],
)
def test_parity_says_whether_different_tokens_are_near_ties(
    leads: tuple[float | None, ...], words: str
) -> None:
    rule = gate.parity(Parity(0.97, 1000, leads), least=0.99)

    assert words in rule.sentence
    assert rule.passed is False


def test_the_interval_covers_the_true_difference() -> None:
    random = np.random.default_rng(3)
    covered = 0
    for _ in range(60):
        own = random.normal(0.3, 1, 50)
        found = paired(own.tolist(), [0.0] * 50)
        covered += found.low < 0.3 < found.high

    assert covered >= 50  # 95% of 60 are 57; 50 or fewer come once in 3,000


def test_equal_models_rarely_fail() -> None:
    """Of two equal models, one in twenty comparisons at most."""
    random = np.random.default_rng(5)
    failed = 0
    for _ in range(100):
        own, other = random.normal(0, 1, 30), random.normal(0, 1, 30)
        failed += paired(own.tolist(), other.tolist()).chance < 0.05

    assert failed <= 12  # 5 are expected; 13 or more come once in 700


def test_losses_are_weighted_by_their_tokens() -> None:
    own, other = [Loss(1.0, 1), Loss(9.0, 9)], [Loss(3.0, 1), Loss(9.0, 9)]

    assert paired_losses(own, other).difference == pytest.approx(-0.2)


def test_the_same_figures_give_the_same_verdict() -> None:
    random = np.random.default_rng(1)
    own, other = random.normal(0, 1, 40).tolist(), random.normal(0, 1, 40).tolist()

    assert paired(own, other) == paired(own, other)


# What a verdict says


NOTHING: gate.Parity = Parity(None, 0)
LOST_F1 = ([0.0] * 16, [1.0] * 16)
HIGHER: dict[SetName, tuple[list[Loss], list[Loss]]] = {
    name: (losses(*[2.0] * 16), losses(*[1.0] * 16)) for name in ("validation", "new")
}


def verdicts() -> list[gate.GateVerdict]:
    """Of a candidate that is worse in everything, better in everything, and not measured at all."""
    better = {name: (other, own) for name, (own, other) in HIGHER.items()}
    found = []
    for losses_by_set, f1 in ((HIGHER, LOST_F1), (better, LOST_F1[::-1])):
        for live in (True, False):
            sets: dict[SetName, tuple[list[float], list[float]]] = {"golden": f1, "replay": f1}
            found.append(
                evaluate_gate(SETTINGS, losses_by_set, sets, "helpdesk@1", SERVED, live=live)
            )
    return [*found, evaluate_gate(SETTINGS, {}, {}, "helpdesk@1", NOTHING, live=True)]


def test_each_rule_has_a_name_and_a_sentence() -> None:
    for verdict in verdicts():
        names = [rule.name for rule in verdict.rules]
        assert names in (
            ["validation", "golden", "new", "replay", "parity", "training", "readable"],
            ["validation", "golden", "parity", "training", "readable"],
        )
        for rule in verdict.rules:
            assert rule.sentence[0].isupper()
            assert rule.sentence.endswith(".")
            if rule.paired is not None:
                assert "helpdesk@1" in rule.sentence
                assert "16 questions" in rule.sentence


def test_unmeasured_rules_neither_fail_nor_pass() -> None:
    verdict = verdicts()[-1]
    assert [rule.passed for rule in verdict.rules] == [None] * 7
    assert [rule.paired for rule in verdict.rules] == [None] * 7


def test_nothing_is_called_good_when_nothing_could_be_measured() -> None:
    verdict = verdicts()[-1]
    assert not verdict.passed
    assert not verdict.measured
    assert verdict.reason == gate.UNKNOWN


def test_a_training_loss_alone_says_nothing_about_the_quality() -> None:
    """Six pairs, nothing held out: it passes, and is not called good."""
    learned = (losses(0.5, 0.6), losses(6.0, 6.1))
    alone = evaluate_gate(SETTINGS, {}, {}, "the bare base", SERVED, live=False, trained=learned)
    held_out = {"validation": (losses(0.5), losses(6.0))}
    beside = evaluate_gate(
        SETTINGS, held_out, {}, "the bare base", SERVED, live=False, trained=learned
    )
    assert (alone.passed, alone.measured) == (True, False)
    assert (beside.passed, beside.measured) == (True, True)
    assert alone.plain()["measured"] is False


@pytest.mark.parametrize("after", [10.6, 6.0, math.nan])
def test_a_run_that_diverged_fails_also_with_nothing_held_out(after: float) -> None:
    """A learning rate of 1.0 raised the training loss from 6.0 to 10.6, and it was a candidate."""
    worse = (losses(after, after), losses(6.0, 6.0))
    verdict = evaluate_gate(SETTINGS, {}, {}, "the bare base", NOTHING, live=False, trained=worse)
    assert rules(verdict)["training"] is False
    assert not verdict.passed
    assert "with a lower learning_rate" in verdict.reason


@pytest.mark.parametrize(
    ("texts", "passed"),
    [
        (["Er ist länger."] * 6, True),
        (["Er ist l\ufffd\ufffdnger."] + ["Er ist länger."] * 5, False),
        (["Er ist l\ufffd\ufffdnger."] + ["Er ist länger."] * 30, True),  # one slip of many
        (["\x03\x14 Der Kunde"], False),
        (["곀옑 쓿 ok"], False),  # characters of a language that no pair has
        (["안녕하세요 😀"], True),  # and of one that pairs have
        (["A café in Paris – for 3 €."], True),
        (["Zeile\nZeile\tZeile"], True),
        (["h" * 40], False),  # what a run that diverged answered
        (["the end of the " * 9], False),
        ([""], False),
        (["Press " + "-" * 20 + " and wait for the light, then press it again."], True),
    ],
)
def test_answers_that_are_no_text_fail(texts: list[str], passed: bool) -> None:
    """Six German pairs on an English base were learned as bytes: "l\ufffd\ufffdnger"."""
    known = frozenset("Der Weg ist länger. 안녕하세요 😀")
    rule = gate.readable([GeneratedAnswer(text) for text in texts], known)
    assert rule.passed is passed
    if not passed:
        broken_bytes = "\ufffd" in texts[0]
        assert ("Choose one that can" in rule.sentence) is broken_bytes


def test_a_cut_answer_may_end_within_a_character() -> None:
    cut = GeneratedAnswer("Er ist l\ufffd", cut=True)
    assert gate.readable([cut], frozenset()).passed is True
    assert gate.readable([GeneratedAnswer(cut.text)], frozenset()).passed is False


def test_better_and_worse_have_different_sentences() -> None:
    worse, _, better, _, _ = verdicts()
    assert [rule.passed for rule in worse.rules] == [False] * 4 + [True, None, None]
    assert [rule.passed for rule in better.rules] == [True] * 5 + [None, None]
    for bad, good in zip(worse.rules[:4], better.rules[:4], strict=True):
        assert bad.sentence.split(":")[0] != good.sentence.split(":")[0]


def test_the_reason_of_a_verdict_lists_every_failed_rule() -> None:
    worse = verdicts()[0]
    assert worse.reason == " ".join(rule.sentence for rule in worse.rules[:4])


def test_a_verdict_can_be_stored_as_json() -> None:
    verdict = evaluate_gate(
        SETTINGS, {"validation": HIGHER["validation"]}, {}, "base", NOTHING, live=False
    )
    plain = json.loads(json.dumps(verdict.plain()))
    validated = plain["rules"][0]
    assert plain["passed"] is False
    assert (validated["name"], validated["passed"]) == ("validation", False)
    assert validated["paired"] == {
        "n": 16,
        "difference": 1.0,
        "low": 1.0,
        "high": 1.0,
        "chance": pytest.approx(1 / 10_001),  # the observed signs, of them and 10,000 at random
    }
    assert plain["rules"][1] == {
        "name": "golden",
        "passed": None,
        "sentence": verdict.rules[1].sentence,
        "paired": None,
    }


def test_the_sentence_about_a_loss_names_the_margin() -> None:
    candidate, live = losses(*[1.03] * 16), losses(*[1.0] * 16)
    rule = gate.validation(candidate, live, "x", live=True, margin=0.025, chance=0.05)
    assert "+0.030 nats" in rule.sentence
    assert "95%: +0.030 to +0.030" in rule.sentence
    assert "0.025" in rule.sentence


def test_any_lower_loss_is_better_than_the_bare_base() -> None:
    def found(own: float) -> gate.Rule:
        rule = gate.validation(
            losses(*[own] * 5), losses(*[1.0] * 5), "x", live=False, margin=0.5, chance=0.05
        )
        assert rule.paired is not None
        return rule

    assert found(0.99).passed
    assert found(1.0).passed is False
    assert found(1.01).passed is False
    higher = found(1.01).paired
    assert higher is not None
    assert higher.chance == 1 / 32  # no margin: that five losses of five are higher


def test_any_lower_loss_means_that_new_pairs_were_learned() -> None:
    def learned(own: float) -> bool | None:
        return gate.new(losses(own), losses(1.0), "x").passed

    assert learned(0.9)
    assert learned(1.0) is False
    assert learned(1.5) is False


@pytest.mark.parametrize(("chance", "passed"), [(0.125, True), (0.126, False)])
def test_only_a_significant_difference_fails(chance: float, passed: bool) -> None:
    """Three losses of three have the chance 1/8."""
    f1 = gate.not_worse("golden", [0.0] * 3, [1.0] * 3, "x", margin=0.0, chance=chance)
    loss = gate.validation(
        losses(*[2.0] * 3), losses(*[1.0] * 3), "x", live=True, margin=0.0, chance=chance
    )
    assert (f1.passed, loss.passed) == (passed, passed)


def test_a_difference_of_exactly_the_margin_is_allowed() -> None:
    def words(own: float) -> tuple[str, str]:
        f1 = gate.not_worse("golden", [own] * 16, [1.0] * 16, "x", margin=0.5, chance=0.05)
        loss = gate.validation(
            losses(*[2.0 - own] * 16), losses(*[1.0] * 16), "x", live=True, margin=0.5, chance=0.05
        )
        return f1.sentence.split(":")[0], loss.sentence.split(":")[0]

    assert words(0.5) == words(0.9)
    assert words(0.5) != words(0.4)


def test_a_difference_of_exactly_the_margin_is_allowed_at_any_level() -> None:
    """One of two answers is lost, or one of two losses is a nat higher: a half on the mean."""
    f1 = gate.not_worse("golden", [0.0, 1.0], [1.0, 1.0], "x", margin=0.5, chance=0.99)
    loss = gate.validation(
        losses(2.0, 1.0), losses(1.0, 1.0), "x", live=True, margin=0.5, chance=0.99
    )
    assert f1.passed
    assert loss.passed
    assert f1.paired is not None
    assert f1.paired.chance == 3 / 4


def test_f1_is_reported_as_the_gain_of_the_candidate() -> None:
    random = np.random.default_rng(4)
    own, other = random.uniform(0.2, 0.6, 50).tolist(), random.uniform(0.4, 0.8, 50).tolist()
    found = gate.not_worse("golden", own, other, "x", margin=0.0, chance=0.05).paired
    assert found is not None
    assert found.n == 50
    assert found.difference == pytest.approx(np.mean(own) - np.mean(other))
    assert -0.35 < found.low < found.difference < found.high < 0.0


def test_an_engine_that_encodes_a_conversation_differently_fails() -> None:
    rule = gate.parity(Parity(1.0, 1000, rendered="It renders turns differently."), least=0.99)
    assert (rule.name, rule.passed) == ("parity", False)
    assert rule.sentence == "It renders turns differently."


def test_parity_says_why_no_engine_was_asked_or_can_serve_it() -> None:
    refused = gate.parity(Parity(None, 0, refused="Its rank is 3."), least=0.99)
    asleep = gate.parity(Parity(None, 0, not_asked="all engines sleep"), least=0.99)
    unknown = gate.parity(NOTHING, least=0.99)
    assert [rule.name for rule in (refused, asleep, unknown)] == ["parity"] * 3
    assert "Its rank is 3." in refused.sentence
    assert "all engines sleep" in asleep.sentence
    assert "no probes" in unknown.sentence


def test_if_all_tokens_are_near_ties_the_agreement_is_complete() -> None:
    assert Parity(0.0, 10).agreed == 0.0
    assert Parity(0.0, 10, (0.1,) * 10).agreed == 1.0
    assert Parity(0.9, 10, (0.1,)).agreed == 1.0


@pytest.mark.parametrize(
    ("leads", "words"),
    [((0.3, 0.5), "0.30 to 0.50 nats (median 0.50"), ((0.9, 0.7, 0.5, 0.4, 0.3), "(median 0.50")],
)
def test_the_median_lead_is_reported(leads: tuple[float, ...], words: str) -> None:
    assert words in gate.parity(Parity(0.5, 1000, leads), least=0.99).sentence


def test_one_question_is_written_in_the_singular() -> None:
    lost: dict[SetName, tuple[list[float], list[float]]] = {"replay": LOST_F1}
    verdict = evaluate_gate(
        SETTINGS, {"new": (losses(1.0), losses(2.0))}, lost, "x", SERVED, live=True, withheld=1
    )
    _, _, new, replay, *_ = (rule.sentence for rule in verdict.rules)
    assert "on 1 question (" in new
    assert "held out 1 of them" in replay


def test_a_difference_is_never_shown_as_minus_zero() -> None:
    rule = gate.new(losses(1.0), losses(1.0004), "x")
    assert "+0.000 nats" in rule.sentence
    rule = gate.new(losses(1.0), losses(1.0016), "x")
    assert "-0.002 nats" in rule.sentence


def test_held_out_pairs_are_named_only_when_replay_failed() -> None:
    lost: dict[SetName, tuple[list[float], list[float]]] = {"replay": LOST_F1}
    kept: dict[SetName, tuple[list[float], list[float]]] = {"replay": LOST_F1[::-1]}

    def sentence(f1: dict[SetName, tuple[list[float], list[float]]], **more: int) -> str:
        verdict = evaluate_gate(SETTINGS, {}, f1, "helpdesk@1", SERVED, live=True, **more)
        return next(rule.sentence for rule in verdict.rules if rule.name == "replay")

    assert "helpdesk@1 was trained on them" in sentence(lost, withheld=3)
    assert "3 of them" in sentence(lost, withheld=3)
    assert "helpdesk@1 was trained on them" not in sentence(lost)
    assert "helpdesk@1 was trained on them" not in sentence(kept, withheld=3)


# The statistics


def test_without_a_margin_any_difference_is_tested() -> None:
    differences = np.random.default_rng(8).normal(0.2, 0.5, 10).tolist()
    expected = pytest.approx(reference_chance(differences, 0.0))
    shifted = [1.0 + difference for difference in differences]
    assert paired(differences, [0.0] * 10).chance == expected
    assert paired_losses(losses(*shifted), losses(*[1.0] * 10)).chance == expected


def test_random_flips_of_many_pairs_are_nearly_exact() -> None:
    differences = np.random.default_rng(9).normal(0.15, 0.5, 16).tolist()
    found = paired(differences, [0.0] * 16).chance
    assert found == pytest.approx(reference_chance(differences, 0.0), abs=0.015)


def test_the_interval_is_a_percentile_bootstrap() -> None:
    """Within a few of its standard errors (0.005 at the edges)."""
    own = np.random.default_rng(6).normal(0.4, 1, 40)
    reference = bootstrap(
        (own,), np.mean, n_resamples=10_000, method="percentile", random_state=1
    ).confidence_interval
    found = paired(own.tolist(), [0.0] * 40)
    assert found.low == pytest.approx(reference.low, abs=0.03)
    assert found.high == pytest.approx(reference.high, abs=0.03)


def test_the_interval_of_losses_weights_questions_by_tokens() -> None:
    """SciPy draws questions with their nats and tokens; the mean is nats a token."""
    random = np.random.default_rng(2)
    tokens = random.integers(1, 60, 40)
    nats = random.normal(0.3, 1, 40) * tokens + 5 * tokens
    own = [Loss(float(n), int(t)) for n, t in zip(nats, tokens, strict=True)]
    other = [Loss(5.0 * int(t), int(t)) for t in tokens]
    reference = bootstrap(
        (nats - 5.0 * tokens, tokens),
        lambda x, n, axis: x.sum(axis) / n.sum(axis),
        paired=True,
        n_resamples=10_000,
        method="percentile",
        random_state=1,
    ).confidence_interval
    found = paired_losses(own, other)
    assert found.difference == pytest.approx(float((nats - 5.0 * tokens).sum() / tokens.sum()))
    assert found.low == pytest.approx(reference.low, abs=0.03)
    assert found.high == pytest.approx(reference.high, abs=0.03)


def test_the_p_value_of_losses_weights_questions_by_tokens() -> None:
    """Of three questions the longest alone decides: its sign is + in half of all ways."""
    own = [Loss(200.0, 100), Loss(1.0, 1), Loss(1.0, 1)]
    other = [Loss(100.0, 100), Loss(2.0, 1), Loss(2.0, 1)]
    # of eight ways: 100-1-1 (observed), 100-1+1, 100+1-1, 100+1+1 are at least as high
    assert paired_losses(own, other).chance == 4 / 8


# The search alone


@pytest.mark.parametrize(
    ("own", "nearest", "required", "passed", "verdict"),
    [
        (10, 20, True, False, "Right less often than the nearest approved answer: 10 against 20"),
        (10, 20, False, None, "Right less often than the nearest approved answer: 10 against 20"),
        (19, 20, True, True, "Right no less often than the nearest approved answer: 19 against 20"),
        (20, 19, True, True, "Right no less often than the nearest approved answer: 20 against 19"),
    ],
)
def test_an_adapter_is_compared_with_the_search_alone(
    own: int, nearest: int, required: bool, passed: bool | None, verdict: str
) -> None:
    """One question of 20 is chance (p = .5), ten are not (p = 2**-10)."""
    settings = GateSettings(search=required)
    right = [1.0] * own + [0.0] * (20 - own), [1.0] * nearest + [0.0] * (20 - nearest)

    found = evaluate_gate(
        settings, {}, {}, "the bare base", SERVED, live=False, answered_right=right
    )

    rule = next(rule for rule in found.rules if rule.name == "search")
    assert rule.passed is passed
    assert rule.sentence.startswith(f"{verdict} of 20 questions.")
    assert ("--mode quote" in rule.sentence) is (passed is None)
    assert found.passed is (passed is not False)
    assert rule.paired is not None
    assert rule.paired.difference == pytest.approx((own - nearest) / 20)


def test_without_golden_questions_nothing_is_said_about_the_search() -> None:
    found = evaluate_gate(SETTINGS, {}, {}, "the bare base", SERVED, live=False)
    assert "search" not in rules(found)


# The sentences of the rules that every run has


def test_a_lower_training_loss_is_reported() -> None:
    rule = gate.training(losses(1.0, 1.0), losses(2.0, 2.0))
    assert (rule.name, rule.passed) == ("training", True)
    assert rule.sentence == (
        "The training loss fell: -1.000 nats per token compared with the bare base on 2 questions "
        "(95%: -1.000 to -1.000)."
    )
    assert rule.paired is not None
    assert rule.paired.difference == pytest.approx(-1.0)


def test_a_higher_training_loss_says_what_to_do() -> None:
    rule = gate.training(losses(2.0), losses(1.0))
    assert rule.passed is False
    assert rule.sentence == (
        "The training pairs were not learned: the loss is +1.000 nats per token compared with the "
        "bare base on 1 question (95%: +1.000 to +1.000). Training diverged or did too little. "
        "Request the run again with a lower learning_rate, or with learning_rate=auto."
    )
    assert rule.paired is not None


KNOWN = frozenset("The shop opens at nine.")


@pytest.mark.parametrize(
    ("broken", "of", "passed", "sentence"),
    [
        (0, 20, True, "All answers are readable text."),
        (
            1,
            20,
            True,
            "1 of 20 answers are not readable text, such as “The sh\ufffdp”; up to 5% may be.",
        ),
        (
            2,
            20,
            False,
            "2 of 20 answers are not readable text, such as “The sh\ufffdp”. Most likely the base "
            "model cannot write the language of the pairs. Choose one that can, or request more "
            "epochs if this one can.",
        ),
    ],
)
def test_a_few_broken_answers_are_reported_and_more_fail(
    broken: int, of: int, passed: bool, sentence: str
) -> None:
    answers = [GeneratedAnswer("The sh\ufffdp opens.") for _ in range(broken)]
    answers += [GeneratedAnswer("The shop opens at nine.") for _ in range(of - broken)]
    rule = gate.readable(answers, KNOWN)
    assert (rule.name, rule.passed) == ("readable", passed)
    assert rule.sentence.replace(" opens.", "") == sentence


def test_answers_that_repeat_themselves_have_another_cure() -> None:
    rule = gate.readable([GeneratedAnswer("o" * 60, cut=True)], KNOWN)
    assert rule.name == "readable"
    assert rule.sentence == (
        f"1 of 1 answers are not readable text, such as “{'o' * 20}”. Request the run again with a "
        "lower learning_rate, or with another base model."
    )


def test_an_excerpt_is_around_the_first_broken_character() -> None:
    text = f"{'a' * 30} \ufffd {'b' * 30} \ufffd"
    assert gate._excerpt(text) == f"{'a' * 19} \ufffd {'b' * 18}"
    assert gate._excerpt("  one   two ") == "one two"


def test_nothing_measured_has_its_own_sentence() -> None:
    unknown = gate.GateVerdict((gate.Rule("golden", None, "There are none."),))
    assert unknown.reason == gate.UNKNOWN
    assert gate.UNKNOWN == "There was nothing to measure it on, so nothing shows that it is good."


def test_learned_pairs_are_reported_with_their_figures() -> None:
    rule = gate.new(losses(1.0), losses(2.0), "art@1")
    assert rule.sentence == (
        "The new pairs were learned: -1.000 nats per token compared with art@1 on 1 question (95%: "
        "-1.000 to -1.000)."
    )
    assert rule.paired is not None


def test_the_interval_of_the_search_rule_is_that_of_the_candidate() -> None:
    rule = gate.search([1.0, 0.0, 0.0], [1.0, 1.0, 0.0], chance=0.05, required=True)
    found = rule.paired
    assert found is not None
    assert (found.low, found.high) == (-1.0, 0.0)
    assert found.difference == pytest.approx(-1 / 3)
    assert found.chance == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("right", "asked", "passed", "said"),
    [
        (1, 11, False, "Only 1 of 11 golden questions are answered right"),
        (4, 11, True, "chance explains the rest"),
        (6, 11, True, "6 of 11 golden questions are answered right; at least 50% are required."),
        (0, 1, True, "chance explains the rest"),
    ],
)
def test_too_few_right_answers_fail_however_bad_the_others_are(
    right: int, asked: int, passed: bool, said: str
) -> None:
    rule = gate.right([1.0] * right + [0.0] * (asked - right), least=0.5, chance=0.05)
    assert rule.passed is passed
    assert said in rule.sentence


@pytest.mark.parametrize(
    ("right", "of", "passed"), [(18, 20, True), (17, 20, False), (20, 20, True), (0, 1, False)]
)
def test_an_adapter_must_repeat_nine_of_ten_of_its_own_pairs(
    right: int, of: int, passed: bool
) -> None:
    shares = [1.0] * right + [0.0] * (of - right)
    answers = [GeneratedAnswer("The shop opens at nine.")] * of
    verdict = evaluate_gate(
        SETTINGS, {}, {}, "the bare base", SERVED, live=False, repeated=(shares, answers)
    )
    assert rules(verdict)["repeats"] is passed
    assert verdict.passed is passed
    assert not verdict.measured  # its own pairs tell nothing about other questions
    if not passed:
        assert verdict.reason == (
            f"It repeats {right} of {of} of its own pairs; at least 90% are required. It learned "
            "too little, or training damaged it. Request the run again with more epochs, or with "
            "learning_rate=auto."
        )


def test_one_broken_character_in_its_own_pairs_is_enough() -> None:
    answers = [GeneratedAnswer("Um neun.")] * 19 + [GeneratedAnswer("F\ufffdr alle.")]
    rule = gate.repeats([1.0] * 20, answers, "", least=0.9)
    assert rule.passed is False
    assert rule.sentence == (
        "It repeats 20 of 20 of its own pairs, and 1 of the answers have broken characters, such "
        "as “F\ufffdr alle.”. Most likely the base model cannot write the language of the pairs. "
        "Choose one that can."
    )
    cut = [GeneratedAnswer("Um neun.")] * 19 + [GeneratedAnswer("Für alle\ufffd", cut=True)]
    assert gate.repeats([1.0] * 20, cut, "", least=0.9).passed is True
    assert gate.repeats([1.0] * 20, answers, "\ufffd", least=0.9).passed is True  # taught so


def test_old_facts_must_not_be_lost_beyond_chance() -> None:
    live = [1.0] * 18 + [0.0] * 2
    lost = [1.0] * 8 + [0.0] * 12
    few = [1.0] * 16 + [0.0] * 4

    def verdict(own: list[float]) -> gate.GateVerdict:
        return evaluate_gate(SETTINGS, {}, {}, "helpdesk@1", SERVED, live=True, old=(own, live))

    assert rules(verdict(lost))["old_facts"] is False
    assert (
        "Of 20 questions about old facts in other words, in conversations or asked again, 8 are "
        "answered right, fewer than chance explains: helpdesk@1 answers 18 right."
    ) in verdict(lost).reason
    assert rules(verdict(few))["old_facts"] is True
    assert verdict(lost).measured
    first = evaluate_gate(SETTINGS, {}, {}, "the bare base", SERVED, live=False, old=(lost, live))
    assert "old_facts" not in rules(first)
