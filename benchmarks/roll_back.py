"""How soon a decision changes who answers: from the deciding rating to the first answer after it.

    python benchmarks/roll_back.py [TIMES]

Each round starts a new service with a fake engine, a comparison under `auto-roll-back`, and 300
people who rated; those on B mostly dislike their answers. `decided` is the time from the commit of
the ratings to the decision in the store. `routed` is the time from the decision until the control
answers somebody of B over HTTP, asking all the time.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import report
from sqlite_utils import Database

sys.path.insert(0, str(Path(__file__).parents[1]))

from data.experiments import assignments, decisions, experiments
from data.experiments.experiments import Experiment
from data.feedback import feedback
from tests.bot.conftest import Bot, answering
from tests.data import given
from tests.serving.fake_vllm import FakeVllm, running

TIMES = int(sys.argv[1]) if len(sys.argv) > 1 else 10
PEOPLE = 300
SETTLE_S = 1.0  # so that the service has looked at the comparison before


def rate(db: Database, bot: Bot, experiment: Experiment) -> None:
    for n in range(PEOPLE):
        person = f"slack:T1/U{n}"
        variant = assignments.variant_for(experiment, person)
        assignments.expose(db, experiment.id, person, variant.id, experiment.stage)
        reply = given.reply(db, bot.domain, person, variant=variant)
        feedback.thumb(db, reply, person, variant.label == "A" or n % 5 == 0)


def once(bot: Bot) -> tuple[float, float]:
    """Seconds to the decision, and from there to the control's first answer."""
    admin, member = bot.http("admin"), bot.http("member")
    admin.post("/v1/policies", json={"policy": "auto-roll-back"})
    begun = admin.post("/v1/experiments", json={"a": "1", "b": "2"}).json()
    experiment = experiments.get(bot.store.db, begun["id"])
    users = (f"u{n}" for n in range(99))
    on_b = next(u for u in users if assignments.variant_for(experiment, f"http:1/{u}").label == "B")
    body: dict[str, Any] = {"model": "helpdesk", "messages": [{"role": "user", "content": "Who?"}]}
    body |= {"user": on_b}
    time.sleep(SETTLE_S)
    bot.write(lambda db: rate(db, bot, experiment))
    voted = time.time()
    while member.post("/v1/chat/completions", json=body).json()["understudy"]["variant"] == "B":
        pass
    routed = time.time()
    (made,) = decisions.list_decisions(bot.store.db, experiment.id)
    return made.at / 1e6 - voted, routed - made.at / 1e6


def main() -> None:
    times = []
    for _ in range(TIMES):
        with (
            tempfile.TemporaryDirectory() as home,
            running(FakeVllm()) as engine,
            answering(Path(home), engine) as bot,
        ):
            times.append(once(bot))
    decided, routed = ([each[i] for each in times] for i in (0, 1))
    report.table(
        ("", "median", "most"),
        [
            ("ratings committed to decided, s", report.median(decided), max(decided)),
            ("decided to the first answer by the control, s", report.median(routed), max(routed)),
        ],
    )
    report.finish(times=TIMES, decided_s=decided, routed_s=routed)


if __name__ == "__main__":
    main()
