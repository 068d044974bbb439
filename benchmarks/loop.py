"""The learning loop with 300 simulated people, over HTTP, with real tuning and serving.

    python benchmarks/loop.py                        # about half an hour on two cores
    python benchmarks/loop.py --arms retrain --rounds 2 --base smollm2-135m

In each round, people ask the service for what they need, rate and correct some of the answers, and
a reviewer decides on the corrections and answers questions from the list of unanswered ones. In the
arm `retrain`, a trigger queues a run once ten pairs are new, and its adapter is promoted if it
passes the gate. In the arm `search`, no adapter is ever made: approved pairs are quoted. Before the
first round and after each, both are asked the same questions, in words that nobody teaches.

Some facts are taught wrong at the start, some not at all, and the truth of a few changes
(`loop_world.py`). Corrections are false one time in ten; the reviewer knows the truth and never
approves those. The last line is JSON; `--figure FILE` draws the shares of right answers as SVG.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import loop_figure
import loop_world
import report
import service
from loop_world import Fact, World
from service import Service

from bot.demo.client import Client, DemoAnswer
from data.adapters import placements, registry
from data.domains import Domain
from data.pairs import golden, pairs
from data.pairs.pairs import Draft
from data.people import keys
from data.people.roles import Role
from data.runs import runs
from data.store.clock import now_us
from data.store.errors import UnderstudyError
from data.triggers import due
from tuning.evaluation import right_answers

DOMAIN = "workshop"
AT_ONCE = 8
RATES = 0.5  # of the answers that people rate
CORRECTS = 0.3  # of the wrong or declined answers that somebody corrects
FALSE = 0.1  # of these corrections
LIST_ANSWERS = 8  # questions from the list of unanswered ones that the reviewer answers in a round
NEW_PAIRS = 10  # that fire the trigger
RUN_S = 1500.0


@dataclass
class Measured:
    """An examination: the shares of its questions."""

    round: int
    right: float
    wrong: float
    declined: float
    off_topic_declined: float
    adapter: str
    asked_right: float | None = None  # of what people asked in this round
    lost: int = (
        0  # examination questions right before and not now, although their truth is the same
    )


@dataclass
class Arm:
    name: str
    world: World
    service: Service
    domain: Domain
    member: Client
    admin: Client
    rng: random.Random
    measured: list[Measured] = field(default_factory=list)
    judged: list[dict[str, tuple[str, bool]]] = field(default_factory=list)  # (truth, right)
    runs: list[str] = field(default_factory=list)
    actions: Counter[str] = field(default_factory=Counter)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="pocket")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--people", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--arms", default="retrain,search")
    parser.add_argument("--figure", type=Path, default=None)
    options = parser.parse_args()
    arms = [_run_arm(name, options) for name in options.arms.split(",")]
    print()
    report.table(
        ("arm", "round", "right", "wrong", "declined", "off topic declined", "lost", "answered by"),
        [
            (a.name, m.round, m.right, m.wrong, m.declined, m.off_topic_declined, m.lost, m.adapter)
            for a in arms
            for m in a.measured
        ],
    )
    for arm in arms:
        print(f"\n{arm.name}: {dict(arm.actions)}; runs: {', '.join(arm.runs) or 'none'}")
    if options.figure:
        curves = {arm.name: [m.right for m in arm.measured] for arm in arms}
        options.figure.write_text(loop_figure.svg(curves), encoding="utf-8")
    report.finish(
        benchmark="loop",
        base=options.base,
        people=options.people,
        seed=options.seed,
        arms={arm.name: [vars(m) for m in arm.measured] for arm in arms},
    )


def _run_arm(name: str, options: argparse.Namespace) -> Arm:
    retrain = name == "retrain"
    parts = ("serve", "bot", "worker") if retrain else ("bot",)
    with tempfile.TemporaryDirectory(prefix="loop-") as scratch:
        home = Path(scratch)
        mode = "grounded" if retrain else "quote"
        with service.running(home, 1, parts, mode, options.base) as started:
            return asyncio.run(_rounds(name, started, options))


async def _rounds(name: str, started: Service, options: argparse.Namespace) -> Arm:
    async with aiohttp.ClientSession() as session:
        world = loop_world.world(options.seed)
        domain = started.domain(DOMAIN, "You are the assistant of a bicycle workshop.")

        def client(role: Role) -> Client:
            with started.store.write() as db:
                _, key = keys.create(db, role, role, "benchmark", "vouched")
            return Client(session, started.url, key)

        arm = Arm(
            name, world, started, domain, client("member"), client("admin"),
            random.Random(options.seed),
        )  # fmt: skip
        await arm.member.wait_until_listening(60)
        _teach_first(arm)
        if name == "retrain":
            settings = {"pairs": str(NEW_PAIRS), "then": "promote"}
            body = {"domain": DOMAIN, "settings": settings}
            await arm.admin.call("POST", "/v1/triggers", body)
            await _learn(arm)
        await _examine(arm, 0)
        for number in range(1, options.rounds + 1):
            arm.actions["changed facts"] += world.change(number)
            share = await _people(arm, number, options.people)
            await _review(arm)
            if name == "retrain":
                await _learn(arm)
            await _examine(arm, number, share)
        return arm


def _teach_first(arm: Arm) -> None:
    with arm.service.store.write() as db:
        for fact in arm.world.facts:
            if fact.believed:
                draft = Draft(fact.taught, fact.believed, fact=fact.name)
                pairs.add(db, arm.domain, [draft], source="import", status="approved")
            if fact.golden:
                golden.add(db, arm.domain, fact.golden, fact.truth, "benchmark", fact.name)


async def _people(arm: Arm, number: int, count: int) -> float:
    """Everybody asks once, and some rate and correct; returns the share of right answers."""
    todo = list(enumerate(arm.world.questions(number, count)))
    moods = [[arm.rng.random() for _ in range(3)] for _ in todo]
    right = 0

    async def worker() -> None:
        nonlocal right
        while todo:
            person, (fact, question) = todo.pop()
            user = f"person-{person}"
            answer = await arm.member.ask(DOMAIN, question, user=user)
            good = _is_right(answer, fact, question)
            right += good
            await _react(arm, answer, fact, good, user, moods[person])

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    arm.actions["questions"] += count
    return right / count


async def _react(
    arm: Arm, answer: DemoAnswer, fact: Fact, good: bool, user: str, mood: list[float]
) -> None:
    rates, corrects, tells = mood
    body: dict[str, Any] = {"reply_id": answer.reply_id, "user": user}
    if rates < RATES:
        body["thumb"] = "up" if good else "down"
    if not good and corrects < CORRECTS:
        false = tells < FALSE
        falsehood = f"I think: {loop_world.other_number(fact.truth, arm.rng)}"
        body["correction"] = falsehood if false else fact.truth
        arm.actions["false corrections" if false else "corrections"] += 1
    if len(body) > 2:
        await arm.member.call("POST", "/v1/feedback", body)


async def _review(arm: Arm) -> None:
    """The reviewer approves what is true, confirms the fact that is proposed if it is the one, and
    answers some of the questions that nobody has taught."""
    pending = await arm.admin.call("GET", f"/v1/pairs?domain={DOMAIN}&status=pending&limit=1000")
    for pair in pending["data"]:
        fact = arm.world.by_question.get(pair["prompt"])
        if fact is None or pair["response"] != fact.truth:
            await _decide(arm, pair["id"], {"status": "rejected"})
            continue
        proposed = await arm.admin.call("GET", f"/v1/pairs/{pair['id']}/fact")
        about = arm.world.by_question.get(proposed.get("prompt", ""))
        given = {"fact": proposed["fact"]} if about is fact else {}
        await _decide(arm, pair["id"], {"status": "approved", **given})
    groups = await arm.admin.call("GET", f"/v1/unanswered?domain={DOMAIN}")
    known = [(g, arm.world.by_question.get(g["question"])) for g in groups["data"]]
    asked_most = sorted(((g, f) for g, f in known if f), key=lambda found: -found[0]["people"])
    for group, fact in asked_most[:LIST_ANSWERS]:
        body = {"response": fact.truth, "domain": DOMAIN}
        await arm.admin.call("POST", f"/v1/unanswered/{group['id']}/answer", body)
        arm.actions["answered from the list"] += 1


async def _decide(arm: Arm, pair: int, body: dict[str, str]) -> None:
    try:
        await arm.admin.call("POST", f"/v1/pairs/{pair}/review", body)
    except UnderstudyError as error:
        arm.actions[f"refused: {error}"] += 1
    else:
        arm.actions[body["status"]] += 1


async def _learn(arm: Arm) -> None:
    """Wait until no trigger fires and no run is open, and until its adapter can answer."""
    deadline = time.monotonic() + RUN_S
    store = arm.service.store
    while time.monotonic() < deadline:
        newest = runs.recent(store.db, arm.domain, limit=1)
        planned = due.plan(store.db, arm.service.settings, arm.domain, now_us())
        waits = (newest and newest[0].open) or (planned.fires and not planned.held_by)
        if not waits and not _to_follow_up(arm):
            break
        await asyncio.sleep(1)
    else:
        raise SystemExit(f"The run did not end within {RUN_S:.0f} s.")
    for run in runs.recent(store.db, arm.domain, limit=1):
        made = registry.by_id(store.db, run.adapter_id) if run.adapter_id else None
        state = f"{made.name} {made.state}" if made else f"run {run.id} {run.state}: {run.error}"
        if state not in arm.runs:
            arm.runs.append(state)
            reason = made.state_reason if made else ""
            print(f"  {state} {reason} ({_followed_up(arm, run.id)})", flush=True)
    live = registry.live(store.db, arm.domain.id)
    while live is not None and live.id not in placements.loaded(store.db):
        if time.monotonic() > deadline:
            raise SystemExit(f"{live.name} was not loaded.")
        await asyncio.sleep(0.5)


def _followed_up(arm: Arm, run_id: int) -> str:
    """What was done with the adapter of a run that a trigger queued."""
    sql = "SELECT followed_up FROM triggered_runs WHERE run_id = ?"
    found = arm.service.store.db.execute(sql, [run_id]).fetchone()
    return found[0] if found else "not triggered"


def _to_follow_up(arm: Arm) -> bool:
    """Whether the adapter of a run still waits for what its trigger does with it."""
    sql = "SELECT count(*) FROM triggered_runs t JOIN runs r ON r.id = t.run_id "
    sql += "WHERE t.followed_up IN ('', 'begun') AND r.state = 'done' AND r.adapter_id IS NOT NULL"
    return bool(arm.service.store.db.execute(sql).fetchone()[0])


async def _examine(arm: Arm, number: int, asked_right: float | None = None) -> None:
    judged: dict[str, tuple[str, bool]] = {}
    outcomes: Counter[str] = Counter()
    adapters: Counter[str] = Counter()
    todo = [(f, q) for f in arm.world.facts for q in f.examined]
    total = len(todo)
    off_topic = list(arm.world.off_topic)
    declined_off_topic = 0

    async def worker() -> None:
        nonlocal declined_off_topic
        while todo:
            fact, question = todo.pop()
            answer = await _ask_aside(arm, question)
            good = _is_right(answer, fact, question)
            judged[question] = fact.truth, good
            declined = answer.outcome in ("declined", "small_talk")
            outcomes["right" if good else "declined" if declined else "wrong"] += 1
            adapters[answer.adapter or answer.outcome] += 1
        while off_topic:
            answer = await _ask_aside(arm, off_topic.pop())
            declined_off_topic += answer.outcome in ("declined", "small_talk")

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    before = arm.judged[-1] if arm.judged else {}
    lost = sum(
        was_right and truth == judged[q][0] and not judged[q][1]
        for q, (truth, was_right) in before.items()
    )
    arm.judged.append(judged)
    found = Measured(
        number,
        outcomes["right"] / total,
        outcomes["wrong"] / total,
        outcomes["declined"] / total,
        declined_off_topic / len(arm.world.off_topic),
        ", ".join(f"{name} {count}" for name, count in adapters.most_common()),
        asked_right,
        lost,
    )
    arm.measured.append(found)
    print(f"{arm.name}: {vars(found)}", flush=True)


async def _ask_aside(arm: Arm, question: str) -> DemoAnswer:
    """Ask without leaving a trace: what is examined must not become a question to be taught."""
    body = {
        "model": DOMAIN,
        "messages": [{"role": "user", "content": question}],
        "user": f"examiner-{arm.rng.random()}",
        "store": False,
    }
    found = await arm.member.call("POST", "/v1/chat/completions", body)
    about = found["understudy"]
    message = found["choices"][0]["message"]
    text = message["content"] or message.get("refusal") or ""
    return DemoAnswer(text, about["adapter"] or "", found["id"], "", about["outcome"])


def _is_right(answer: DemoAnswer, fact: Fact, question: str) -> bool:
    if answer.outcome == "declined":
        return False
    return right_answers.judge(answer.text, fact.truth, question) in right_answers.RIGHT


if __name__ == "__main__":
    main()
