"""The Home tab over both transports: what it shows, and that it is always a valid view."""

import asyncio
from typing import get_args

import pytest
from sqlite_utils import Database

from bot.slack.client.clock import Clock
from bot.slack.handlers import home, recent_questions
from bot.slack.handlers.home import DomainSummary, HomePage
from bot.slack.handlers.recent_questions import RecentQuestion
from data import domains
from data.adapters import registry
from data.domains import Domain
from data.feedback import feedback
from data.pairs import datasets, pairs, review_status
from data.pairs.pairs import Draft
from data.privacy import contributions, personal_data
from data.privacy.contributions import Contribution
from tests.bot.conftest import add_adapter
from tests.bot.slack.conftest import MEMBER, Bot
from tests.bot.slack.inbound.test_flood import Fast
from tests.fake_slack import rules
from tests.fake_slack.workspace import PER_MINUTE

WHO = f"slack:T1/{MEMBER}"


async def opened(bot: Bot, user: str = MEMBER) -> str:
    """Open the tab; returns its text."""
    await bot.slack.open_home(user)
    await bot.settled()
    return bot.slack.home_text(user)


async def ask(bot: Bot, question: str = "Where is it?") -> str:
    """Ask as the member in a direct message; returns the reply id."""
    bot.says("In the cellar.")
    said = await bot.slack.say(MEMBER, f"D{MEMBER}", question)
    await bot.slack.answer_to(said)
    await bot.settled()
    return str(bot.row("SELECT id FROM replies ORDER BY created_at DESC")["id"])


async def test_a_new_person_sees_what_the_bot_knows(bot: Bot) -> None:
    text = await opened(bot)
    assert "the help desk*: no version is live. The bot has not learned anything here yet." in text
    assert "How do I reset my password?" in text
    assert "None yet." in text
    assert "I store nothing about you yet." in text
    assert "I may learn from your suggestions" in text
    assert home.DOMAIN not in str(bot.slack.homes), "one domain leaves no choice"


async def test_the_live_adapter_is_described(bot: Bot) -> None:
    def learn(db: Database) -> None:
        pairs.add(db, bot.domain, [Draft("Who?", "Me.")], source="import", status="approved")
        pairs.add(db, bot.domain, [Draft("What?", "That.")], source="teach")
        dataset = datasets.freeze(db, bot.domain)
        registry.promote(db, add_adapter(db, bot.domain, 1, dataset_id=dataset.id), "cli:test")

    bot.write(learn)
    text = await opened(bot)
    assert "helpdesk@1 answers. It went live" in text
    assert "learned from 1 pair. 1 suggestion is pending review." in text


async def test_recent_questions_and_the_status_of_feedback_are_shown(bot: Bot) -> None:
    reply = await ask(bot)
    bot.write(lambda db: feedback.thumb(db, reply, WHO, up=False))
    judged = bot.write(lambda db: feedback.correction(db, reply, WHO, "In the attic."))
    text = await opened(bot)
    assert "• Where is it? _(" in text
    assert ":-1:" in text
    assert "“In the attic.”: your correction is waiting for review." in text

    def learn(db: Database) -> None:
        review_status.set_status(db, judged.pair_id, "approved", "cli:test")
        dataset = datasets.freeze(db, bot.domain)
        registry.promote(db, add_adapter(db, bot.domain, 4, dataset_id=dataset.id), "cli:test")

    bot.write(learn)
    assert "your correction was learned by helpdesk@4, which is live now." in await opened(bot)

    bot.write(lambda db: review_status.set_status(db, judged.pair_id, "rejected", "cli:test"))
    bot.write(lambda db: db.execute("UPDATE pairs SET review_reason = 'it is the cellar'"))
    assert "your correction was rejected: it is the cellar." in await opened(bot)


async def test_the_stored_data_is_counted(bot: Bot) -> None:
    reply = await ask(bot)
    assert "I store 1 question of yours with its answer." in await opened(bot)
    bot.write(lambda db: feedback.thumb(db, reply, WHO, up=True))
    assert (
        "I store 1 question of yours with its answer, and 1 piece of your feedback."
        in await opened(bot)
    )


async def test_nobody_sees_another_persons_data(bot: Bot) -> None:
    await ask(bot, "A private matter?")
    assert "private matter" not in await opened(bot, "U3")


async def test_a_person_chooses_their_domain(bot: Bot) -> None:
    bot.write(lambda db: domains.create(db, "python", "Python"))
    await opened(bot)
    await bot.slack.press_home(MEMBER, home.DOMAIN, "python")
    await bot.settled()
    assert domains.answering(bot.store.db, WHO).name == "python"
    menu = next(b["accessory"] for b in bot.slack.homes[MEMBER]["blocks"] if "accessory" in b)
    assert menu["initial_option"]["value"] == "python"
    await bot.slack.press_home(MEMBER, home.DOMAIN, home.DEFAULT_DOMAIN)
    await bot.settled()
    assert domains.answering(bot.store.db, WHO).name == "helpdesk"


async def test_choosing_a_removed_domain_is_explained(bot: Bot) -> None:
    bot.write(lambda db: domains.create(db, "python", "Python"))
    await opened(bot)
    bot.write(lambda db: db.execute("DELETE FROM domains WHERE name = 'python'"))
    await bot.slack.press_home(MEMBER, home.DOMAIN, "python")
    await bot.settled()
    assert "There is no domain 'python'" in bot.slack.from_bot()[-1].notes


@pytest.mark.parametrize("clock", [Fast()], ids=["fast"])
async def test_opening_the_tab_often_stays_within_the_limit(bot: Bot, clock: Clock) -> None:
    """One after another for somebody, and many at once for somebody else."""
    often = PER_MINUTE["views.publish"] + 20
    for _ in range(often):
        await bot.slack.open_home(MEMBER)
    await asyncio.gather(*(bot.slack.open_home("U3") for _ in range(often)))
    await bot.settled()
    calls = bot.slack.called("views.publish")
    assert [c.error for c in calls if c.error] == []
    assert {c.args["user_id"] for c in calls} == {MEMBER, "U3"}
    assert sum(c.args["user_id"] == "U3" for c in calls) < often / 2


async def test_the_tab_is_published_again_after_a_rate_limit(bot: Bot) -> None:
    bot.slack.faults["views.publish"] = ["limited"]
    assert "What I know" in await opened(bot)


async def test_a_tab_that_slack_rejects_is_dropped(bot: Bot) -> None:
    bot.slack.faults["views.publish"] = ["lost before"]
    assert await opened(bot) == ""
    assert "What I know" in await opened(bot)


# any amount of data


def domain(number: int, long: str) -> Domain:
    return Domain(number, f"d{number}", f"{number}{long}", "", (f"{long}?",) * 6, 0.1, False)


@pytest.mark.parametrize("many", [0, 1, 2, 300])
@pytest.mark.parametrize("long", ["x", "& <b> " * 2_000])
@pytest.mark.parametrize("helped", [None, 1.0, 0.0])
def test_every_tab_is_a_valid_view(many: int, long: str, helped: float | None) -> None:
    counts = dict.fromkeys(pairs.STATUSES, many)
    summaries = [DomainSummary(domain(n, long), None, many, many) for n in range(many)]
    page = HomePage(
        seen=personal_data.PersonalDataSummary(
            WHO, many, many, many, many, counts, None, many % 2 == 0, f"d{many - 1}"
        ),
        domains=summaries,
        answering=summaries[0].domain if summaries else None,
        questions=[RecentQuestion(long, 0, "done", 0.0, helped, "r" * 40)]
        * min(many, recent_questions.MAX_QUESTIONS),
        contributions=[Contribution(long, long, "teach", 0, "rejected", 1, long, "", "")]
        * min(many, home.MAX_CONTRIBUTIONS),
    )
    shown = home.view(page)
    assert rules.home(shown) == []
    assert len(shown["blocks"]) <= 100 - 45, "reviewers and admins have 45 more"


def test_every_adapter_state_has_a_description() -> None:
    assert contributions.NOW.keys() == set(get_args(registry.State))
