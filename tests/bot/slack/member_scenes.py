"""The scenes of docs/slack-members.md: every message and form for members, built by the same
functions as in the bot."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sqlite_utils import Database

from bot.answering.events import fallback_note
from bot.slack.handlers import (
    answer,
    answer_notes,
    home,
    members,
    preference_buttons,
    privacy,
    teach,
)
from bot.slack.handlers.home import DomainSummary, HomePage
from bot.slack.handlers.recent_questions import RecentQuestion
from bot.slack.render import answer_sources, blocks, feedback_forms
from bot.slack.render.feedback_forms import EarlierFeedback
from data import domains
from data.adapters import registry
from data.adapters.registry import Adapter
from data.domains import Domain
from data.pairs.pairs import Turn
from data.pairs.reply_sources import Source
from data.privacy.contributions import Contribution
from data.privacy.erasure import ErasureReceipt
from data.privacy.personal_data import PersonalDataSummary
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
    """All scenes, in the order of the page."""
    return [*_answers(), *_private_messages(), *_feedback(), *_teaching(), *_home()]


def _shown(
    name: str, title: str, caption: str, content: list[Block], private: bool = False
) -> Scene:
    return Scene(name, title, caption, pictures.message(content, private))


def _form(name: str, title: str, caption: str, view: Block) -> Scene:
    return Scene(name, title, caption, pictures.form(view))


def _told(name: str, title: str, caption: str, sentence: str) -> Scene:
    """A message that only one person sees."""
    return _shown(name, title, caption, [blocks.section(blocks.sentence(sentence))], private=True)


def _answers() -> list[Scene]:
    whole, long = ANSWER, "The settings, from the first to the last:\n\n1. **Account** is where"
    below: Callable[..., list[Block]] = blocks.below_answer
    pair = preference_buttons.ButtonPair(REPLY, ANSWER, "Ask your administrator.")
    instead = fallback_note("helpdesk@2", "helpdesk@3")
    (plain,) = blocks.answers(whole, below(REPLY))
    (cut,) = blocks.answers(long, below(REPLY, answer_notes.CUT_AT_LENGTH, cut=True))
    (other,) = blocks.answers(whole, below(REPLY, instead))
    (both,) = blocks.answers(pair.text, pair.below)
    thanks = preference_buttons.THANKS["first"]
    source = Source(1, QUESTION, ANSWER, "slack:T1/U3", 1_760_000_000_000_000, 0.9, 1.4)
    quoting = answer_sources.sources_block("quoted", 0, (source,))
    (quoted,) = blocks.answers(whole, below(REPLY, generated=False, grounds=quoting))
    suggesting = answer_sources.refusal_blocks(REPLY, (QUESTION,))
    (declined,) = blocks.answers(
        _domain().refusal_text, below(REPLY, generated=False, grounds=suggesting)
    )
    return [
        _shown("answer", "An answer", "in the thread of the question", plain),
        _shown("quoted", "An approved answer", "if no adapter can answer", quoted),
        _shown("declined", "A refusal", "if no approved answer fits", declined),
        _shown("cut", "An answer at its maximum length", "*Continue* gives the rest", cut),
        _shown("fallback", "An answer from a fallback", "if the intended adapter fails", other),
        _shown("side-by-side", "Two answers", "if a comparison asks for a preference", both),
        _told("preference-thanks", "After a choice", "which can be changed", thanks),
    ]


def _private_messages() -> list[Scene]:
    domain = _domain()
    return [
        _told("empty-mention", "A mention without a question", "", answer._hint(domain)),
        _told(
            "engine-down", "While no engine can answer", "", answer.ENGINE_AWAY.format("a moment")
        ),
        _told("outdated", "A button from before an update", "", members.OUTDATED),
    ]


def _feedback() -> list[Scene]:
    earlier, thanks = EarlierFeedback(), feedback_forms.thanks
    out = EarlierFeedback(opted_out=True)
    return [
        _form("down", "👎", "asks for a better answer; the box starts unticked",
              feedback_forms.correction(REPLY, "C1", "1.0", earlier)),
        _form("down-opted-out", "👎 from a person who has opted out of learning", "",
              feedback_forms.correction(REPLY, "C1", "1.0", out)),
        _told("down-consent", "Sent with the box ticked", "", thanks(BETTER, "")),
        _told("down-no-consent", "Sent with the box empty", "",
              thanks(BETTER, "because you did not tick the box")),
        _told("down-reason", "Sent with a reason only", "", thanks("", "")),
        _shown("up", "👍", "offers to teach more", feedback_forms.teach_more(REPLY), private=True),
    ]  # fmt: skip


def _teaching() -> list[Scene]:
    turns = (Turn("user", "Where are the settings?"), Turn("assistant", "Below your picture."))
    state = teach.FormState("C1", "1.0", "2.0", "helpdesk", REPLY)
    prefilled = teach.Prefilled(QUESTION, BETTER, turns)
    return [
        _form("teach", "*Teach this*", "from the menu of any message, and *Teach more*",
              teach.form(state, prefilled)),
        _told("teach-thanks", "After it is sent", "", teach.PENDING),
    ]  # fmt: skip


def _domain() -> Domain:
    return Domain(1, "helpdesk", "the help desk", "Answer.", (QUESTION,), 0.1, False)


def _live(db: Database, at: int) -> Adapter:
    """helpdesk@4, live since `at`."""
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
    seen = PersonalDataSummary("slack:T1/U2", 3, 2, 0, 2, pairs, 1_790_000_000_000_000, True, None)
    other = Domain(2, "python", "Python", "Answer.", ("How do I sort a list?",), 0.1, False)
    known = [DomainSummary(_domain(), live, 120, 1), DomainSummary(other, None, 0, 0)]
    questions = [
        RecentQuestion("Where do I see my invoices?", now - HOUR * 2, "done", None, None, REPLY),
        RecentQuestion(QUESTION, now - HOUR * 48, "done", 0.0, 1.0, REPLY),
        RecentQuestion("Is it raining?", now - HOUR * 72, "failed"),
    ]
    contributions = [
        Contribution(QUESTION, BETTER, "correction", now, "learned", 1, "", "helpdesk@4", "live"),
        Contribution(
            "Where is the log?", "In the folder logs.", "teach", now, "pending", 2, "", "", ""
        ),
    ]
    page = HomePage(seen, known, known[0].domain, questions, contributions)
    done = ErasureReceipt("5f0c1d2e3a4b", 6, 3, 2, 1, ("helpdesk@4",), ())
    return [
        Scene("home", "The Home tab", "", pictures.home(home.view(page)["blocks"])),
        _form("view-data", "*View*", "", privacy.summary(seen)),
        _shown("data-deleted", "*Delete my data*", "asks for confirmation first",
               privacy.forgotten(done)),
        _shown("retrain-notice", "The notice to admins", "without the person's name",
               privacy.retrain_notice(done)),
    ]  # fmt: skip
