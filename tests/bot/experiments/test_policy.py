"""What is done about a comparison, by its results and the domain's policy."""

from dataclasses import replace

import pytest

from bot.experiments import policy, stats
from bot.experiments.policy import PolicyVerdict
from data.experiments.counted_people import NOTES, People
from data.experiments.design import ExperimentDesign
from data.experiments.metric_sums import (
    Cell,
    ExperimentSums,
    StageSums,
    Sums,
    VariantSums,
    equal_weight_sums,
)
from data.experiments.policies import POLICIES, Policy, Rules

PEOPLE = 400


def side(
    likes: float, failed: float = 0.0, people: int = PEOPLE, later: float | None = None
) -> Cell:
    """So many people; each rated once and was answered once. `later`: how many of them like it
    once it is no longer new; as many, unless told."""
    later = likes if later is None else later
    sums: dict[str, Sums] = {
        "later_rating": equal_weight_sums(people, later * people, later * people),
        "rating": equal_weight_sums(people, likes * people, likes * people),
        "failed": equal_weight_sums(people, failed * people, failed * people),
    }
    return Cell(people, sums)


def results(*cells: Cell, people: People = "verified") -> stats.Results:
    labels = "ABCDEF"[: len(cells)]
    variants = tuple(VariantSums(label, f"helpdesk@{n}") for n, label in enumerate(labels, 1))
    shares = tuple(1 / len(cells) for _ in cells)
    sums = ExperimentSums(variants, (StageSums(shares, cells),))
    return stats.summary(sums, ExperimentDesign(people=people))


BETTER = results(side(0.5), side(0.9))
WORSE = results(side(0.9), side(0.5))
EQUAL = results(side(0.7), side(0.7))
SAME = results(side(0.7, people=40_000), side(0.7, people=40_000))
BREAKING = results(side(0.7), side(0.7, failed=0.4))
SPLIT = results(side(0.9), side(0.5, people=PEOPLE // 4))
BOTH = results(side(0.7), side(0.95), side(0.3))


@pytest.mark.parametrize(
    ("found", "policy_name", "action", "variant"),
    [
        (BETTER, "advise", "advise", "B"),
        (BETTER, "auto-roll-back", "advise", "B"),
        (BETTER, "auto-promote", "promote", "B"),
        (BETTER, "auto", "promote", "B"),
        (WORSE, "advise", "advise", "B"),
        (WORSE, "auto-promote", "advise", "B"),
        (WORSE, "auto-roll-back", "roll back", "B"),
        (WORSE, "auto", "roll back", "B"),
        (BREAKING, "advise", "advise", "B"),
        (BREAKING, "auto-promote", "roll back", "B"),
        (BREAKING, "auto-roll-back", "roll back", "B"),
        (EQUAL, "auto", "hold", ""),
        (EQUAL, "advise", "hold", ""),
        (SAME, "auto", "advise", ""),
        (SPLIT, "auto", "advise", ""),
        (BOTH, "auto", "promote", "B"),
        (BOTH, "auto-roll-back", "roll back", "C"),
        (BOTH, "advise", "advise", "C"),
    ],
)
def test_the_policy_determines_the_action(
    found: stats.Results, policy_name: Policy, action: str, variant: str
) -> None:
    made = policy.verdict(found, Rules(policy_name))
    assert (made.action, made.variant) == (action, variant)


NEW = results(side(0.5), side(0.9, later=0.5))
NEW_OF_THREE = results(side(0.7), side(0.95, later=0.7), side(0.3))
NEW_AND_BREAKING = results(side(0.7), side(0.95, later=0.7), side(0.7, failed=0.4))


@pytest.mark.parametrize(
    ("found", "policy_name", "action", "variant"),
    [
        (NEW, "auto", "advise", "B"),
        (NEW, "auto-promote", "advise", "B"),
        (NEW, "advise", "advise", "B"),
        (NEW_OF_THREE, "auto", "advise", "B"),  # and not thrown away, although C is worse
        (NEW_OF_THREE, "auto-promote", "advise", "B"),
        (NEW_OF_THREE, "auto-roll-back", "roll back", "C"),
        (NEW_AND_BREAKING, "auto", "roll back", "C"),
    ],
)
def test_what_is_only_better_while_it_is_new_is_not_promoted(
    found: stats.Results, policy_name: Policy, action: str, variant: str
) -> None:
    made = policy.verdict(found, Rules(policy_name))
    assert (made.action, made.variant) == (action, variant)


@pytest.mark.parametrize("policy_name", POLICIES)
@pytest.mark.parametrize("cells", [(side(0.5), side(0.9)), (side(0.9), side(0.5))])
def test_where_anyone_counts_ratings_are_only_a_suggestion(
    cells: tuple[Cell, Cell], policy_name: Policy
) -> None:
    found = results(*cells, people="anyone")
    made, rules = policy.verdict(found, Rules(policy_name)), Rules(policy_name)
    assert (made.action, made.variant) == ("advise", "B")
    better = found.best is not None
    would_act = rules.may_promote if better else rules.may_roll_back
    doubt = " Verified people alone do not say so yet, so the policy leaves it to you."
    advice = (
        " Promote it if you agree."
        if better
        else " End the comparison, so that nobody gets it any longer."
    )
    expected = f"{found.comparisons[0].sentence}{doubt if would_act else ''}{advice}"
    assert made.sentence == expected
    assert NOTES["anyone"] in found.sentence
    assert NOTES["anyone"] not in results(*cells).sentence


def test_where_anyone_counts_both_doubts_about_a_new_candidate_are_said() -> None:
    found = results(side(0.5), side(0.9, later=0.5), people="anyone")
    assert policy.verdict(found, Rules("auto")).sentence == (
        f"{found.comparisons[0].sentence} Verified people alone do not say so yet, so the policy "
        "leaves it to you. It may only be new to people: ratings cast more than 7 days after a "
        "person's first answer do not confirm it yet. Promote it if you agree."
    )


def test_where_anyone_counts_failures_still_end_a_comparison_and_corrections_do_not() -> None:
    failing = results(side(0.7), side(0.7, failed=0.4), people="anyone")
    assert policy.verdict(failing, Rules("auto")).action == "roll back"
    assert policy.verdict(failing, Rules("advise")).action == "advise"
    cells = [replace(side(0.7), sums={**side(0.7).sums, "correction": s}) for s in CORRECTED]
    assert policy.verdict(results(*cells), Rules("auto")).action == "roll back"
    assert policy.verdict(results(*cells, people="anyone"), Rules("auto")).action == "advise"


def test_where_anyone_counts_answer_times_are_only_a_suggestion() -> None:
    """Whoever invents people chooses what they ask, and so how long the answers take."""
    slow = [replace(side(0.7), sums={**side(0.7).sums, "slow": s}) for s in CORRECTED]
    assert policy.verdict(results(*slow), Rules("auto")).action == "roll back"
    for name in POLICIES:
        found = results(*slow, people="anyone")
        made = policy.verdict(found, Rules(name))
        assert (made.action, made.variant, found.state) == ("advise", "B", "unhealthy")
        assert (policy.UNVERIFIED in made.sentence) == (name != "advise")


CORRECTED = (equal_weight_sums(PEOPLE, 0, 0), equal_weight_sums(PEOPLE, 160, 160))


def test_the_advice_on_a_new_candidate_says_what_is_missing() -> None:
    doubt = (
        "It may only be new to people: ratings cast more than 7 days after a person's first "
        "answer do not confirm it yet."
    )
    said = policy.verdict(NEW, Rules("auto")).sentence
    better = NEW.comparisons[0].sentence
    assert said == f"{better} {doubt} When they do, it goes live. Promote it at once if you agree."
    said = policy.verdict(NEW, Rules("advise")).sentence
    assert said.endswith(f"{doubt} Promote it if you agree.")
    said = policy.verdict(NEW, Rules("auto"), promotable=False).sentence
    assert said.endswith(f"{doubt} Apply its settings to the deployment if you agree.")
    assert doubt not in policy.verdict(BETTER, Rules("advise")).sentence


def test_a_better_candidate_that_cannot_be_promoted_is_advised() -> None:
    made = policy.verdict(BETTER, Rules("auto"), promotable=False)
    assert made.action == "advise"
    assert "Apply its settings to the deployment" in made.sentence


def test_a_verdict_gives_the_reason_and_the_action() -> None:
    made = policy.verdict(WORSE, Rules("auto"))
    assert made.sentence.startswith("B (helpdesk@2) is worse than A (helpdesk@1)")
    assert made.sentence.endswith("everybody gets the control.")
    assert "End the comparison" in policy.verdict(WORSE, Rules()).sentence
    assert "Promote it if you agree" in policy.verdict(BETTER, Rules()).sentence


def test_inconclusive_results_hold_under_every_policy() -> None:
    for name in ("advise", "auto-promote", "auto-roll-back", "auto"):
        made = policy.verdict(EQUAL, replace(Rules(), policy=name))
        assert made == PolicyVerdict("hold", "", EQUAL.comparisons[0].sentence)


@pytest.mark.parametrize("found", [BETTER, WORSE, EQUAL, SAME, BREAKING, SPLIT, BOTH])
@pytest.mark.parametrize("name", ["advise", "auto-roll-back", "auto-promote", "auto"])
@pytest.mark.parametrize("promotable", [True, False])
def test_every_verdict_repeats_what_was_found_in_whole_sentences(
    found: stats.Results, name: Policy, promotable: bool
) -> None:
    made = policy.verdict(found, Rules(name), promotable=promotable)
    assert any(comparison.sentence in made.sentence for comparison in found.comparisons)
    assert made.sentence.endswith(".")


def test_a_finding_on_several_candidates_is_said_of_each_once() -> None:
    found = results(side(0.7), side(0.7), side(0.7))
    sentences = dict.fromkeys(c.sentence for c in found.comparisons)
    assert policy.verdict(found, Rules("advise")).sentence == " ".join(sentences)
