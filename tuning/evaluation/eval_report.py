"""The scores of a run, which the registry keeps with the adapter.

    {"evaluation": {"answered_by", "why", "prompts", "precision", "compared_with", "signatures",
                    "sets": {"golden": {"n", "of", "expected_words", "expected_refusals",
                                        "candidate": {...}, "live": {...}, "base": {...}}, ...}},
     "gate": {"passed", "measured", "rules": [{"name", "passed", "sentence", "paired"}]},
     "headline",
     "repeats",
     "calibration": {"encoder", "answer_from", "low", "high", "questions", "at"},
     "examination": {"own", "reworded", "follow_up", "repeated":
                         {"n", "right", "wrong", "needless", "live_right"},
                     "suggested": {"n", "right", "wrong": [{"question", "expected", "adapter"}],
                                   "unknown": [...]},
                     "off_topic": {"n", "declined_by_search", "declined_by_adapter", "answered",
                                   "examples": [{"question", "adapter"}]}},
     "golden": {"n", "of", "right", "wrong", "needless", "exact", "f1", "base_exact", "base_f1",
                "live_exact", "live_f1", "search_exact", "search_f1"},
     "validation_loss", "probe_loss", "new_loss", "train_loss", "best_step", "steps", "chosen_by",
     "stopped_early", "train_seconds", "pairs_new", "pairs_superseded",
     "samples": [{"shown", "set", "question", "expected", "base", "live", "adapter"}]}

`calibration` is the confidence from which on it answers (`data/search/domain_calibration.py`), if
the domain has enough golden questions. `repeats` says how many of its own pairs the adapter
repeats; it is the last line of a report.
`examination` holds the results of the further questions (`examination.py`), without kinds of which
none was asked.

The metrics of a model on a set are those of `metrics.py`. `golden` repeats the most important ones.
Losses are nats per token. The keys of the live adapter exist if one was live, those of the search
if it was asked: how good the nearest approved answer is, without any adapter.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from data.config.settings import Settings
from tuning.data.training_set import TrainingSet
from tuning.evaluation import gate, leave_one_out, metrics, right_answers
from tuning.evaluation.engine_client import Rendering
from tuning.evaluation.eval_sets import EvalSets, SetName
from tuning.evaluation.evaluator import EvalResults, ModelName
from tuning.evaluation.examination import OLD_FACTS, Examination, Kind
from tuning.evaluation.gate import GateVerdict
from tuning.evaluation.metrics import GeneratedAnswer, Loss
from tuning.evaluation.right_answers import Judgement
from tuning.training import loop
from tuning.training.method_setup import JudgedMargin

UNSEEN_WORDS: tuple[SetName, ...] = ("golden", "probe")
EXAMPLES = 8  # off-topic questions that are kept with their answers
SAMPLES = 8  # golden answers that are kept, in their order
WORST = 16  # answers that are kept because they lost most or are most wrong


def gate_verdict(
    settings: Settings,
    eval_sets: EvalSets,
    further: Examination,
    results: EvalResults,
    judged: Sequence[JudgedMargin] = (),
) -> GateVerdict:
    """Apply the gate to the results. `judged`: how far a run followed people's judgements."""
    who, name = results.baseline
    f1: dict[SetName, tuple[Sequence[float], Sequence[float]]] = {
        part: (_f1(eval_sets, part, found["candidate"]), _f1(eval_sets, part, found[who]))
        for part, found in results.answers.items()
    }
    losses: dict[SetName, tuple[Sequence[Loss], Sequence[Loss]]] = {
        part: (found["candidate"], found[who]) for part, found in results.losses.items()
    }
    live = results.live is not None
    withheld = (
        sum(q.example.pair_id in eval_sets.withheld for q in eval_sets.answered("replay"))
        if live
        else 0
    )
    found = gate.evaluate_gate(
        settings.gate, losses, f1, name, results.parity, live=live, withheld=withheld,
        trained=results.trained_losses, answers=results.candidate_answers,
        known=eval_sets.characters, answered_right=_right(eval_sets, results),
        repeated=_repeated(further, results), old=_old_facts(eval_sets, further, results),
    )  # fmt: skip
    if not judged:
        return found
    return GateVerdict((*found.rules, leave_one_out.rule(judged, chance=settings.gate.chance)))


def _right(eval_sets: EvalSets, results: EvalResults) -> tuple[list[float], list[float]]:
    """1 for each golden question that the candidate, and the search alone, answer right."""
    if "golden" not in results.answers:
        return [], []
    own = _judged(eval_sets, "golden", results.answers["golden"]["candidate"])
    nearest = _judged(eval_sets, "golden", [GeneratedAnswer(t) for t in eval_sets.nearest])
    return _ones(own), _ones(nearest)


def _repeated(
    further: Examination, results: EvalResults
) -> tuple[list[float], list[GeneratedAnswer]]:
    """1 for each of its own pairs that the candidate repeats, and its answers."""
    answers = results.examined.get("own", {}).get("candidate", [])
    return _ones(_examined(further, "own", answers)), answers


def _old_facts(
    eval_sets: EvalSets, further: Examination, results: EvalResults
) -> tuple[list[float], list[float]]:
    """1 for each question about old facts that the candidate, and the live adapter, answer right:
    phrasings that were held out, and the further questions."""
    own: list[float] = []
    live: list[float] = []
    sides: list[tuple[list[float], ModelName]] = [(own, "candidate"), (live, "live")]
    for judged, who in sides:
        if "live" in (found := results.answers.get("probe", {})):
            judged += _ones(_judged(eval_sets, "probe", found[who]))
        for kind in OLD_FACTS:
            if "live" in (asked := results.examined.get(kind, {})):
                judged += _ones(_examined(further, kind, asked[who]))
    return own, live


def _examined(
    further: Examination, kind: Kind, answers: Sequence[GeneratedAnswer]
) -> list[Judgement]:
    """Whether each answer to the further questions of a kind is right."""
    asked = further.questions.get(kind, ())
    return [
        right_answers.judge(a.text, q.expected, q.text)
        for a, q in zip(answers, asked, strict=False)
    ]


def golden_right(eval_sets: EvalSets, results: EvalResults) -> dict[int, bool]:
    """Whether the candidate answers each golden question right, by the id of its pair."""
    answers = results.answers.get("golden", {}).get("candidate", [])
    asked = eval_sets.answered("golden")
    right = _ones(_judged(eval_sets, "golden", answers))
    return {q.example.pair_id: bool(r) for q, r in zip(asked, right, strict=False)}


def _ones(judged: Sequence[Judgement]) -> list[float]:
    return [float(found in right_answers.RIGHT) for found in judged]


def _judged(
    eval_sets: EvalSets, name: SetName, answers: Sequence[GeneratedAnswer]
) -> list[Judgement]:
    """Whether each answer to the questions of a set is right."""
    asked = eval_sets.answered(name)
    return [
        right_answers.judge(a.text, q.expected, q.text)
        for a, q in zip(answers, asked, strict=False)
    ]


def _headline(eval_sets: EvalSets, further: Examination, results: EvalResults) -> str:
    """What the report says first: how many questions in unseen words, and of those that the live
    adapter knew, are answered wrong, and which suggested questions are. '' if none were asked."""
    unseen = [
        judgement
        for name in UNSEEN_WORDS
        if name in results.answers
        for judgement in _judged(eval_sets, name, results.answers[name]["candidate"])
    ]
    said = [right_answers.summary(unseen, "questions in unseen words")] if unseen else []
    if "replay" in results.answers:
        known = _judged(eval_sets, "replay", results.answers["replay"]["candidate"])
        said.append(right_answers.summary(known, f"questions that {results.baseline[1]} knew"))
    said += [
        f"The suggested question “{one['question']}” is answered wrong."
        for one in _wrong_suggestions(further, results)
    ]
    return " ".join(said)


def _wrong_suggestions(further: Examination, results: EvalResults) -> list[dict[str, str]]:
    answers = results.examined.get("suggested", {}).get("candidate", [])
    judged = _examined(further, "suggested", answers)
    asked = further.questions.get("suggested", ())
    return [
        {"question": q.text, "expected": q.expected, "adapter": a.text}
        for q, a, found in zip(asked, answers, judged, strict=False)
        if found not in right_answers.RIGHT
    ]


def _examination(further: Examination, results: EvalResults) -> dict[str, Any]:
    """The results of the further questions."""
    found: dict[str, Any] = {}
    for kind in ("own", *OLD_FACTS):
        asked = results.examined.get(kind, {})
        if not asked:
            continue
        judged = _examined(further, kind, asked["candidate"])
        found[kind] = {"n": len(judged)} | _rounded(right_answers.shares(judged))
        if "live" in asked:
            of_live = right_answers.shares(_examined(further, kind, asked["live"]))
            found[kind]["live_right"] = round(of_live["right"], 4)
    wrong = _wrong_suggestions(further, results)
    if (n := len(further.questions.get("suggested", ()))) or further.unknown:
        found["suggested"] = {
            "n": n, "right": n - len(wrong), "wrong": wrong, "unknown": list(further.unknown)
        }  # fmt: skip
    if further.off_topic:
        found["off_topic"] = _off_topic(further, results)
    return found


def _off_topic(further: Examination, results: EvalResults) -> dict[str, Any]:
    answers = results.examined.get("off_topic", {}).get("candidate", [])
    asked = further.questions.get("off_topic", ())
    given = [
        {"question": q.text, "adapter": a.text}
        for q, a in zip(asked, answers, strict=False)
        if not metrics.refuses(a.text)
    ]
    return {
        "n": further.off_topic,
        "declined_by_search": further.declined,
        "declined_by_adapter": len(answers) - len(given),
        "answered": len(given),
        "examples": given[:EXAMPLES],
    }


def _repeats(further: Examination, results: EvalResults) -> str:
    """Such as "It repeats 47 of 48 of its own pairs."; '' if none were asked."""
    right, _ = _repeated(further, results)
    return f"It repeats {sum(right):.0f} of {len(right)} of its own pairs." if right else ""


def _rounded(shares: Mapping[str, float]) -> dict[str, float]:
    return {key: round(share, 4) for key, share in shares.items()}


def scores(
    eval_sets: EvalSets,
    further: Examination,
    results: EvalResults,
    verdict: GateVerdict,
    outcome: loop.TrainingOutcome,
    training_set: TrainingSet,
    method_scores: Mapping[str, Any],
) -> dict[str, Any]:
    """All scores of the run. `method_scores` are those that the tuning method measured itself."""
    sets = {name: _set(eval_sets, name, results) for name in eval_sets.sets}
    found: dict[str, Any] = {
        "evaluation": {
            "answered_by": results.answered_by,
            "why": results.why,
            "prompts": _prompts(results.rendering),
            "precision": {"trained": results.parity.trained_in, "served": results.parity.served_in},
            "compared_with": results.baseline[1],
            "signatures": metrics.signatures(),
            "sets": sets,
        },
        "gate": verdict.plain(),
        "headline": _headline(eval_sets, further, results),
        "repeats": _repeats(further, results),
        "examination": _examination(further, results),
    }
    if "golden" in sets:
        found["golden"] = _summary(sets["golden"]) | _of_search(eval_sets)
    for part in ("validation", "probe", "new"):
        if part in outcome.losses:
            found[f"{part}_loss"] = outcome.losses[part]
    return found | {
        "train_loss": outcome.train_loss,
        "steps": outcome.steps,
        "best_step": outcome.best_step,
        "chosen_by": outcome.chosen_by,
        "stopped_early": outcome.stopped_early,
        "train_seconds": round(outcome.seconds, 1),
        "pairs_new": training_set.new,
        "pairs_superseded": training_set.superseded,
        "samples": _samples(eval_sets, results),
        **method_scores,
    }


def _prompts(found: Rendering) -> str:
    """Whether the engine's prompts equal those of training; '' if no engine answered."""
    if found.not_compared:
        return f"not compared with training's: {found.not_compared}"
    if found.differs:
        return found.differs
    return f"token for token as in training ({found.compared} compared)" if found.compared else ""


def _set(eval_sets: EvalSets, name: SetName, results: EvalResults) -> dict[str, Any]:
    """The metrics of one set."""
    expected = [question.expected for question in eval_sets.answered(name)]
    n = len(expected)
    found: dict[str, Any] = {
        "n": n,
        "of": eval_sets.of[name],
        "expected_words": round(sum(len(e.split()) for e in expected) / n, 4),
        "expected_refusals": round(sum(metrics.refuses(e) for e in expected) / n, 4),
    }
    for who, answers in results.answers[name].items():
        losses = results.losses[name][who]
        judged = right_answers.shares(_judged(eval_sets, name, answers))
        found[who] = metrics.answer_metrics(answers, expected, losses).plain() | _rounded(judged)
    return found


def _summary(golden: dict[str, Any]) -> dict[str, Any]:
    """The summary of an adapter."""
    own, base, live = golden["candidate"], golden["base"], golden.get("live")
    of_live = {"live_exact": live["exact"], "live_f1": live["f1"]} if live else {}
    return {
        "n": golden["n"], "of": golden["of"], "exact": own["exact"], "f1": own["f1"],
        "right": own["right"], "wrong": own["wrong"], "needless": own["needless"],
        "base_exact": base["exact"], "base_f1": base["f1"], **of_live,
    }  # fmt: skip


def _of_search(eval_sets: EvalSets) -> dict[str, float]:
    """How well the nearest approved answers answer the golden questions."""
    nearest, asked = eval_sets.nearest, eval_sets.answered("golden")
    if not nearest:
        return {}
    overlap = [metrics.f1(t, q.expected) for t, q in zip(nearest, asked, strict=True)]
    return {"search_exact": fmean(_exact(eval_sets, nearest)), "search_f1": fmean(overlap)}


def _exact(eval_sets: EvalSets, texts: Sequence[str]) -> list[float]:
    asked = eval_sets.answered("golden")
    return [float(metrics.exact(t, q.expected)) for t, q in zip(texts, asked, strict=True)]


def _f1(eval_sets: EvalSets, name: SetName, answers: Sequence[GeneratedAnswer]) -> list[float]:
    asked = eval_sets.answered(name)
    return [metrics.f1(a.text, q.expected) for a, q in zip(answers, asked, strict=True)]


def _samples(eval_sets: EvalSets, results: EvalResults) -> list[dict[str, str]]:
    """The first golden answers, then the worst of all sets: those that lost most compared with the
    baseline, and among equal ones those with the lowest F1."""
    who, _ = results.baseline
    rated: list[tuple[float, float, SetName, int]] = []
    for name in eval_sets.sets:
        own = _f1(eval_sets, name, results.answers[name]["candidate"])
        other = _f1(eval_sets, name, results.answers[name][who])
        rated += [(a - b, a, name, i) for i, (a, b) in enumerate(zip(own, other, strict=True))]
    wrong = sorted(r for r in rated if r[1] < 1)[:WORST]
    some = range(len(eval_sets.sets.get("golden", ())))[:SAMPLES]
    return [
        *(_sample(eval_sets, results, "some", "golden", i) for i in some),
        *(_sample(eval_sets, results, "worst", name, i) for _, _, name, i in wrong),
    ]


def _sample(
    eval_sets: EvalSets, results: EvalResults, kind: str, name: SetName, i: int
) -> dict[str, str]:
    question, answers = eval_sets.sets[name][i], results.answers[name]
    live = {"live": answers["live"][i].text} if "live" in answers else {}
    return {
        "shown": kind,
        "set": name,
        "question": question.text,
        "expected": question.expected,
        "base": answers["base"][i].text,
        **live,
        "adapter": answers["candidate"][i].text,
    }
