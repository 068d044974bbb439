"""What docs/slack-members.md shows: every message and form for members, made by the builders that
the bot uses."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sqlite_utils import Database

from bot.answering.chat import fallback_note
from bot.slack.handlers import answer, home, members, preference_buttons, privacy, teach
from bot.slack.handlers.home import DomainSummary, HomePage
from bot.slack.handlers.recent_questions import RecentQuestion
from bot.slack.render import blocks, feedback_forms
from bot.slack.render.feedback_forms import EarlierFeedback
from data import domains
from data.adapters import registry
from data.adapters.registry import Adapter
from data.domains import Domain
from data.pairs.pairs import Turn
from data.privacy.contributions import Contribution
from data.privacy.erasure import ErasureReceipt
from data.privacy.personal_data import Seen
from data.store.clock import now_us
from data.store.db import Store
from tests.bot.conftest import add_adapter
from tests.bot.slack import pictures
from tests.bot.slack.pictures import Block
from tests.bot.slack.scenes import Scene

REPLY, HOUR = "chatcmpl-1", 3_600_000_000  # microseconds
QUESTION = "How do I reset my password?"
ANSWER = "Open **Settings → Account**, choose **Reset**, and follow the link in the mail."
BETTER = "Settings → Account → Reset. The link in the mail is good for an hour."


def scenes() -> list[Scene]:
    """All of them, in the order in which the page shows them."""
    return [*_answers(), *_said(), *_feedback(), *_teaching(), *_home()]


def _shown(name: str, title: str, said: str, content: list[Block], private: bool = False) -> Scene:
    return Scene(name, title, said, pictures.message(content, private))


def _form(name: str, title: str, said: str, view: Block) -> Scene:
    return Scene(name, title, said, pictures.form(view))


def _told(name: str, title: str, said: str, sentence: str) -> Scene:
    """A sentence that only one person sees."""
    return _shown(name, title, said, [blocks.section(blocks.sentence(sentence))], private=True)


def _answers() -> list[Scene]:
    whole, long = ANSWER, "The settings, from the first to the last:\n\n1. **Account** is where"
    below: Callable[..., list[Block]] = blocks.below_answer
    pair = preference_buttons.ButtonPair(REPLY, ANSWER, "Ask your administrator.")
    instead = fallback_note("helpdesk@2", "helpdesk@3")
    (plain,) = blocks.answers(whole, below(REPLY))
    (cut,) = blocks.answers(long, below(REPLY, answer.CUT_AT_LENGTH, cut=True))
    (other,) = blocks.answers(whole, below(REPLY, instead))
    (both,) = blocks.answers(pair.text, pair.below)
    thanks = preference_buttons.THANKS["first"]
    return [
        _shown("answer", "An answer", "in the thread of the question", plain),
        _shown("cut", "One that was cut at its length", "*Continue* gives the rest", cut),
        _shown("stand-in", "One that somebody else gave", "as who should have could not", other),
        _shown("two", "Two answers", "where a comparison asks for it now and then", both),
        _told("two-thanks", "After a choice", "it can be changed", thanks),
    ]


def _said() -> list[Scene]:
    domain = _domain()
    return [
        _told("hint", "A mention without a question", "", answer._hint(domain)),
        _told("engine", "While no engine can answer", "", answer.ENGINE_AWAY.format("a moment")),
        _told("outdated", "A button from before an update", "", members.OUTDATED),
    ]


def _feedback() -> list[Scene]:
    earlier, thanks = EarlierFeedback(), feedback_forms.thanks
    out = EarlierFeedback(opted_out=True)
    return [
        _form("down", "👎", "asks for the better answer; the box is never ticked beforehand",
              feedback_forms.correction(REPLY, "C1", "1.0", earlier)),
        _form("down-out", "👎, by who has opted out of learning", "",
              feedback_forms.correction(REPLY, "C1", "1.0", out)),
        _told("down-learn", "Sent with the tick", "", thanks(BETTER, "")),
        _told("down-keep", "Sent without the tick", "",
              thanks(BETTER, "because you did not tick the box")),
        _told("down-reason", "Sent with a reason alone", "", thanks("", "")),
        _shown("up", "👍", "offers to teach more", feedback_forms.teach_more(REPLY), private=True),
    ]  # fmt: skip


def _teaching() -> list[Scene]:
    turns = (Turn("user", "Where are the settings?"), Turn("assistant", "Below your picture."))
    begun = teach.FormState("C1", "1.0", "2.0", "helpdesk", REPLY)
    filled = teach.Prefilled(QUESTION, BETTER, turns)
    return [
        _form("teach", "*Teach this*", "in any message's menu, and *Teach more*",
              teach.form(begun, filled)),
        _told("teach-thanks", "Sent", "", teach.PENDING),
    ]  # fmt: skip


def _domain() -> Domain:
    return Domain(1, "helpdesk", "the help desk", "Answer.", (QUESTION,), 0.1, False)


def _live(db: Database, at: int) -> Adapter:
    """helpdesk@4, which answers since then."""
    domain = domains.create(db, "helpdesk", "the help desk", "Answer.", (QUESTION,))
    registry.promote(db, add_adapter(db, domain, 4), "cli:ann")
    live = registry.live(db, domain.id)
    assert live is not None
    return replace(live, live_at=at)


def _home() -> list[Scene]:
    now = now_us()
    with (
        tempfile.TemporaryDirectory() as folder,
        Store(Path(folder) / "understudy.db") as store,
        store.write() as db,
    ):
        live = _live(db, now - 48 * HOUR)
    pairs = {"pending": 1, "approved": 1, "rejected": 0, "quarantined": 0}
    seen = Seen("slack:T1/U2", 3, 2, 0, 2, pairs, 1_790_000_000_000_000, True, None)
    other = Domain(2, "python", "Python", "Answer.", ("How do I sort a list?",), 0.1, False)
    known = [DomainSummary(_domain(), live, 120, 1), DomainSummary(other, None, 0, 0)]
    questions = [
        RecentQuestion("Where do I see my invoices?", now - HOUR * 2, "done", None, None, REPLY),
        RecentQuestion(QUESTION, now - HOUR * 48, "done", 0.0, 1.0, REPLY),
        RecentQuestion("Is it raining?", now - HOUR * 72, "failed"),
    ]
    became = [
        Contribution(QUESTION, BETTER, "correction", now, "learned", 1, "", "helpdesk@4", "live"),
        Contribution(
            "Where is the log?", "In the folder logs.", "teach", now, "pending", 2, "", "", ""
        ),
    ]
    page = HomePage(seen, known, known[0].domain, questions, became)
    done = ErasureReceipt("5f0c1d2e3a4b", 6, 3, 2, 1, ("helpdesk@4",), ())
    return [
        Scene("home", "The Home tab", "", pictures.home(home.view(page)["blocks"])),
        _form("see", "*View*", "", privacy.summary(seen)),
        _shown("forgotten", "*Delete my data*", "asks first; told in direct messages",
               privacy.forgotten(done)),
        _shown("to-unlearn", "What admins are told of it", "not whose data it was",
               privacy.retrain_notice(done)),
    ]  # fmt: skip
