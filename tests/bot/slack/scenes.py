"""The scenes of docs/slack.md: every message and form for reviewers and admins, built by the same
functions as in the bot, from a small store with sample data."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from bot.commands import admin, command_json, executor, retrain_plan, roles
from bot.commands.commands import Incomplete, Retire
from bot.commands.requester import Requester
from bot.experiments import decider, stats
from bot.experiments.explain import explain
from bot.slack.commands import argument_forms, dialect
from bot.slack.handlers import admin_home
from bot.slack.render import admin_forms, blocks, comparison_reports, reports, results, run_message
from bot.slack.render.admin_forms import Origin
from bot.slack.render.run_message import RunSnapshot
from data import command_queue, domains
from data.adapters import placements, registry
from data.command_queue import DeliveryAddress
from data.config.settings import Settings, SlackSettings
from data.experiments import assignments, decisions, experiments, policies
from data.feedback import feedback
from data.feedback.feedback_summary import BadAnswer, RatingCounts
from data.pairs import pairs, review_queue
from data.pairs.pairs import Draft
from data.people import roles as granted
from data.privacy import erasure
from data.runs import runs
from data.store.db import Store, StoreFull
from data.store.errors import UnderstudyError
from tests.bot.conftest import add_adapter
from tests.bot.slack.pictures import Block, form, home, message
from tests.data import given

ADA, GRACE, ALAN = "slack:T1/U1", "slack:T1/U2", "slack:T1/U3"
HOUR, DAY = 3_600_000_000, 24 * 3_600_000_000  # microseconds
SCORES = (
    '{"golden": {"n": 60, "exact": 0.75, "f1": 0.81, "base_exact": 0.0, "base_f1": 0.12},'
    ' "gate": {"passed": true, "rules": ['
    '{"name": "golden", "passed": true, "sentence": "Golden: token F1 0.81, live 0.74."},'
    '{"name": "new", "passed": true, "sentence": "New pairs: loss 0.31, live 1.92."},'
    '{"name": "parity", "passed": true, "sentence": "Engines agree on 98% of its tokens."}]}}'
)

CURVE = [
    runs.LossPoint(s, 3.2 / s**0.5, 3.5 / s**0.4 if s % 10 == 0 else None, None)
    for s in range(1, 61)
]
REFUSED = [
    {"name": "golden", "passed": False, "sentence": "Golden: token F1 0.58, live 0.74."},
    {"name": "new", "passed": True, "sentence": "New pairs: loss 0.31, live 1.92."},
]


@dataclass(frozen=True)
class Scene:
    name: str  # of the picture file
    title: str
    caption: str  # when it is shown, and to whom
    svg: str
    confirmations: tuple[str, ...] = ()  # of the dialogs behind its buttons


def scenes(folder: Path) -> list[Scene]:
    """All scenes, in the order of the page."""
    with Store(folder / "understudy.db") as store:
        with store.write() as db:
            _add_sample_data(db)
        return [
            *_commands(store.db),
            *_forms(store.db),
            *_runs(store.db),
            *_outcomes(store.db),
            *_for_admins(store.db),
        ]


def _add_sample_data(db: Database) -> None:
    """A domain with a live version, a candidate, a comparison and pairs to review."""
    domain = domains.create(db, "helpdesk", "the help desk", "Answer.", ("How do I begin?",))
    law = domains.create(db, "legal", "the law", "Answer.")
    add_adapter(db, law, 1)
    pairs.add(db, law, [Draft("May I?", "No.")], source="import", status="approved")
    runs.request(db, law, ADA)
    for version in (1, 2, 3):
        made = add_adapter(db, domain, version)
        placements.record_heartbeat(db, "gpu-0", "http://127.0.0.1:8100", "pocket", "ready")
        placements.record_loaded(db, "gpu-0", made.id, 1.0)
        if version < 3:
            registry.promote(db, made, ADA)
    db.execute(
        "UPDATE adapters SET scores = ?, created_at = created_at - ? * (4 - version)", [SCORES, DAY]
    )
    drafts = [Draft(f"Question {n}?", f"Answer {n}.") for n in range(12)]
    pairs.add(db, domain, drafts, source="import", status="approved")
    said = [
        Draft("How do I reset my password?", "Open *Settings → Account* and choose *Reset*."),
        Draft("Where is the log?", "In the folder `logs` of the home folder."),
    ]
    pairs.add(db, domain, said, source="correction", author=GRACE)
    db.execute("UPDATE pairs SET created_at = created_at - ?", [2 * DAY])
    granted.grant(db, GRACE, "reviewer", ADA)
    db.execute("UPDATE roles SET granted_at = granted_at - ?", [DAY])
    experiments.start(
        db, domain, registry.get(db, "helpdesk@2"), registry.get(db, "helpdesk@3"), ADA, 0.2
    )
    db.execute("UPDATE experiments SET started_at = started_at - ?", [DAY])
    running = experiments.running(db, domain.id)
    assert running is not None
    _rate(db, running)
    considered = decider.evaluate_experiment(db, running)
    assert considered is not None
    assert decider.apply_verdict(db, considered) is not None
    db.execute("UPDATE decisions SET at = at - ?", [HOUR])


def _rate(db: Database, running: experiments.Experiment) -> None:
    """Sample ratings: 60 % of the people on A and 90 % of those on B like their answers."""
    for number in range(120):
        variant = running.variants[number % 5 == 0]
        person, likes = f"slack:T1/U{100 + number}", {"A": 0.6, "B": 0.9}[variant.label]
        assignments.expose(db, running.id, person, variant.id, running.stage)
        reply_id = given.reply(db, domains.by_id(db, running.domain_id), person, variant=variant)
        feedback.thumb(db, reply_id, person, number % 10 / 10 < likes)


# -- what commands show --------------------------------------------------------------------------


def _commands(db: Database) -> list[Scene]:
    domain, settings = domains.get(db, "helpdesk"), Settings()
    slack = SlackSettings(admins=("U1",), reviewers=("U3",), reviewer_group="S0REVIEW")
    running = experiments.running(db, domain.id)
    assert running is not None
    made = decisions.list_decisions(db, running.id)[0]
    member = Requester(GRACE, admins=(ADA,))
    shown: list[tuple[str, str, str, list[Block]]] = [
        ("help", "`/understudy help`", "for an admin; others see the commands that they may use",
         reports.help_text("admin")),
        ("typo", "`/understudy promte 3`", "a typing error gets the nearest command",
         _refused(lambda: dialect.parse("promte 3", "T1"))),
        ("refused", "`/understudy promote 3`", "without the role for it",
         _refused(lambda: roles.check(db, member, "admin"))),
        ("status", "`/understudy status`", "for everyone", reports.status(admin.status(db))),
        ("domains", "`/understudy domains`", "for everyone",
         reports.domain_list(domains.list_domains(db), domain.name)),
        ("adapters", "`/understudy adapters`", "for everyone",
         reports.adapter_list(domain, registry.list_adapters(db, domain))),
        ("roles", "`/understudy roles`", "for everyone",
         reports.role_list(slack, granted.list_grants(db), member)),
        ("runs", "`/understudy runs`", "for reviewers and admins", reports.run_list(_past_runs())),
        ("dry-run", "`/understudy retrain --dry-run`", "for reviewers and admins",
         reports.planned(retrain_plan.plan(db, settings, domain))),
        ("dry-run-preferences", "`/understudy retrain --preferences --dry-run`",
         "for reviewers and admins",
         reports.planned(retrain_plan.plan(db, settings, domain, overrides={"method": "kto"}))),
        ("ab-status", "`/understudy ab status`", "for reviewers and admins",
         comparison_reports.comparison(running, stats.compute_results(db, running))),
        ("ab-decisions", "`/understudy ab decisions`", "for reviewers and admins",
         comparison_reports.decisions(running, [made])),
        ("ab-explain", "`/understudy ab explain 1`", "for reviewers and admins",
         comparison_reports.explained(running, explain(made))),
        ("policy", "`/understudy policy`", "for reviewers and admins",
         comparison_reports.policy(domain, policies.policy_of(db, domain.id))),
    ]  # fmt: skip
    return [Scene(n, title, caption, message(b, private=True)) for n, title, caption, b in shown]


def _refused(what: Callable[[], object]) -> list[Block]:
    try:
        what()
    except UnderstudyError as error:
        return [blocks.section(blocks.sentence(str(error)))]
    raise AssertionError("no error was raised")


# -- forms ---------------------------------------------------------------------------------------


def _forms(db: Database) -> list[Scene]:
    domain = domains.get(db, "helpdesk")
    head = reports.domain_state(admin.domain_status(db, domain))
    where = Origin(domain="helpdesk")
    pair = pairs.list_pairs(db, domain, "pending")[0]
    left = review_queue.pending(db)
    free = domains.get(db, "legal")
    live, candidate = registry.live(db, domain.id), registry.get(db, "helpdesk@3")
    promotion = reports.before_promotion(candidate, live, experiments.running(db, domain.id))
    forgotten = replace(erasure.preview(db, GRACE), messages=42, judgements=7)
    note = ":white_check_mark: Pair 12 is approved. The next retrain will learn it."
    shown: list[tuple[str, str, str, Block]] = [
        ("menu", "`/understudy`", "for an admin; the same form shows the results",
         admin_forms.menu("admin", where, domains.list_domains(db), head, [])),
        ("menu-result", "The result of a button", "here *Versions*, for a member",
         admin_forms.menu("member", where, domains.list_domains(db), head,
                     reports.adapter_list(domain, registry.list_adapters(db, domain)[:2]))),
        ("promote", "`/understudy promote 3`", "asks for confirmation",
         admin_forms.confirmation(where, "Promote?", promotion, "Promote")),
        ("store-full", "When the disk is full", "nothing changes, and the form can be sent again",
         admin_forms.confirmation(where, "Not done", _refused(_busy), "Try again")),
        ("forget", "`/understudy forget @Grace`", "asks for confirmation",
         admin_forms.confirmation(where, "Delete the data?",
                             reports.before_forgetting(GRACE, forgotten), "Delete for good")),
        *(
            (f"choose-{what.replace(' ', '-')}", f"`/understudy {what}`", "",
             argument_forms.form(
                 db, where, free if what == "ab start" else domain, Incomplete(what)
             ))
            for what in argument_forms.TITLES
        ),
        ("review", "`/understudy review`", "shows the pending pairs one by one",
         admin_forms.reviewed(where, pair, domain.title, left, note)),
        ("review-edit", "*Edit*", "approves the edited pair instead",
         admin_forms.edited(where, pair)),
        ("review-edit-long", "*Edit* for a long pair", "has several inputs",
         admin_forms.edited(where, replace(pair, response="A long answer. " * 400))),
        ("review-reject", "*Reject*", "shows the reason to the author",
         admin_forms.rejected(where, pair)),
        ("review-end", "After the last pair", "or when other reviewers have the rest open",
         admin_forms.reviewed(where, None, "", 1, note)),
        ("review-refused", "Without the role", "which is checked at every press",
         admin_forms.said(where, "Only reviewers and admins can do that. Ask an admin: <@U1>.")),
    ]  # fmt: skip
    return [
        Scene(n, title, caption, form(v), _confirmations(v["blocks"]))
        for n, title, caption, v in shown
    ]


def _busy() -> None:
    raise StoreFull("The disk is full, so nothing was written. Free some space and try again.")


# -- the run message -----------------------------------------------------------------------------


def _run(**more: Any) -> runs.Run:
    given: dict[str, Any] = {
        "id": 7, "domain_id": 1, "domain": "helpdesk", "kind": "incremental", "state": "running",
        "recipe": {}, "dataset_id": None, "parent_id": None, "adapter_id": None,
        "requested_by": ADA, "cancel_requested": False, "attempts": 1, "worker": "w",
        "phase": "training", "step": 30, "total_steps": 60, "loss": 0.62,
        "validation_loss": 0.9, "eta_s": 40.0, "error": "", "queued_at": 1,
        "started_at": 2_000_000, "heartbeat_at": None, "finished_at": 62_000_000,
    }  # fmt: skip
    return runs.Run(**{**given, **more})


def _past_runs() -> list[runs.Run]:
    ended = {"step": 60, "finished_at": None}
    return [
        _run(),
        _run(id=6, state="done", phase="done", **ended),
        _run(id=5, state="failed", phase="failed", error="The disk is full.", **ended),
        _run(id=4, state="cancelled", phase="cancelled", **ended),
    ]


def _runs(db: Database) -> list[Scene]:
    domain = domains.get(db, "helpdesk")
    live, candidate = registry.live(db, domain.id), registry.get(db, "helpdesk@3")
    rejected = replace(candidate, state="rejected", state_reason="It forgot too much.")
    retired, promoted = replace(candidate, state="retired"), replace(candidate, state="live")
    about = {"passed": False, "rules": REFUSED}
    rejected = replace(rejected, scores=candidate.scores | {"gate": about})
    queued = _run(state="queued", phase="waiting for a worker", step=0, total_steps=0, loss=None)
    done, failed = _run(state="done"), _run(state="failed", error="The disk is full.")
    shown: list[tuple[str, str, str, RunSnapshot]] = [
        ("run-queued", "`/understudy retrain`", "posted in the channel", RunSnapshot(queued)),
        ("run-running", "During the run", "the same message, updated every few seconds",
         RunSnapshot(_run(), CURVE[:30])),
        ("run-done", "At the end of the run", "with the loss curve below it",
         RunSnapshot(done, CURVE, candidate, live)),
        ("run-rejected", "When the result fails the gate", "",
         RunSnapshot(done, CURVE, rejected, live)),
        ("run-live", "After a promotion", "", RunSnapshot(done, CURVE, promoted, promoted)),
        ("run-retired", "After the result is discarded", "",
         RunSnapshot(done, CURVE, retired, live)),
        ("run-failed", "When the run fails", "", RunSnapshot(failed, CURVE[:12])),
        ("run-cancelled", "When the run is cancelled", "",
         RunSnapshot(_run(state="cancelled"), CURVE[:5])),
    ]  # fmt: skip
    drawn = [(n, title, caption, run_message.shown(about)) for n, title, caption, about in shown]
    return [
        Scene(n, title, caption, message(b), _confirmations(b)) for n, title, caption, b in drawn
    ]


# -- results of commands -------------------------------------------------------------------------


def _outcomes(db: Database) -> list[Scene]:
    domain, made = domains.get(db, "helpdesk"), registry.get(db, "helpdesk@3")
    running, live = experiments.running(db, domain.id), registry.live(db, domain.id)
    assert running is not None
    assert live is not None
    cancelled = _run(state="cancelled", finished_at=None)
    shown: list[tuple[str, str, list[Block]]] = [
        ("promoted", "A version was promoted", reports.promoted(made.name)),
        (
            "rolled-back",
            "A promotion was rolled back",
            reports.rolled_back(domain.name, live.name, made.name),
        ),
        ("retired", "A version was discarded", reports.retired(made.name)),
        ("comparison-started", "A comparison was started", comparison_reports.started(running)),
        ("comparison-ramped", "The share of B was increased", comparison_reports.ramped(running)),
        (
            "tester",
            "A tester was added",
            comparison_reports.tester(GRACE, "B", running.variants[1].described),
        ),
        (
            "run-elsewhere",
            "A retrain was requested in a channel without the bot",
            reports.followed(7, "D1", "C9"),
        ),
        ("stale", "A command is too old after a restart", _stale(db)),
        ("cancelled", "A run was cancelled", reports.cancelled(cancelled)),
        ("role-granted", "A role was granted", reports.role_granted(GRACE, "reviewer")),
        ("role-revoked", "A role was revoked", reports.role_revoked(GRACE)),
        ("data-deleted", "A person's data was deleted", reports.forgetting(GRACE, "5f0c1d2e3a4b")),
    ]
    pressed = ("promoted", "retired", "comparison-started")  # by buttons of a run message
    by = [blocks.context("by <@U1>")]
    return [
        Scene(n, title, "", message([*b, *by] if n in pressed else b, private=n not in pressed))
        for n, title, b in shown
    ]


def _stale(db: Database) -> list[Block]:
    address = DeliveryAddress("T1", "C1")
    command_id = executor.enqueue(db, Retire("3"), key="k", user="U1", address=address)
    assert command_id is not None
    db.execute("UPDATE deeds SET created_at = created_at - ?", [2 * HOUR])
    executor.execute(db, Settings(), command_id, Requester(ADA, "admin"))
    queued = command_queue.get(db, command_id)
    assert queued is not None
    return results.blocks(command_json.load_result(queued.result), SlackSettings())


# -- the digest and the Home tab -----------------------------------------------------------------


def _for_admins(db: Database) -> list[Scene]:
    judged = RatingCounts(31, 6, 4, 12)
    bad = BadAnswer(
        "helpdesk", "helpdesk@2", "Where do I see my invoices?", "There are no invoices.", 3,
        "They are under Billing.", True,
    )  # fmt: skip
    read = admin_home.read(db, "admin")
    found = replace(read, this_week=judged, last_week=RatingCounts(24, 9, 2, 10), worst=[bad])
    digest = reports.digest(review_queue.waiting(db), {"approved": 8, "rejected": 2}, judged)
    return [
        Scene("digest", "The daily digest", "in `digest_channel`", message(digest)),
        Scene(
            "home",
            "The Home tab",
            "for reviewers and admins, below the part that everyone sees",
            home(admin_home.shown(found)[1:]),
        ),
    ]


def _confirmations(found: list[Block]) -> tuple[str, ...]:
    """The confirmation dialogs behind buttons."""
    elements = [e for b in found for e in b.get("elements", []) if isinstance(e, dict)]
    return tuple(
        f"{e['text']['text']}: {e['confirm']['title']['text']} {e['confirm']['text']['text']}"
        for e in elements
        if "confirm" in e
    )
