"""Results of commands as Block Kit: the plain result that `bot/commands` returns, for a message.

A result that is not named here is shown as its plain text.
"""

from bot.commands.adapter_commands import (
    AdapterList,
    NeedsConfirmation,
    Promoted,
    Retired,
    RolledBack,
)
from bot.commands.command_json import Rendered
from bot.commands.comparison_commands import (
    ComparisonRamped,
    ComparisonReport,
    ComparisonStarted,
    ComparisonStopped,
    DecisionExplained,
    DecisionList,
    PolicyReport,
    TesterAdded,
)
from bot.commands.overview_commands import DomainList, HelpText, ReviewDigest, StatusReport
from bot.commands.people_commands import PersonForgotten, RoleGranted, RoleList, RoleRevoked
from bot.commands.perform import Result
from bot.commands.requester import Requester
from bot.commands.run_commands import RetrainPlanned, RunCancelled, RunList, RunQueued
from bot.slack.render import comparison_reports, reports, run_message
from bot.slack.render.blocks import Block, section, sentence
from bot.slack.render.run_message import RunSnapshot
from data.config.settings import SlackSettings


def blocks(
    result: Result, settings: SlackSettings, requester: Requester | None = None
) -> list[Block]:
    """The result as blocks. `requester`: the person who gave the command, for the list of
    roles."""
    match result:
        case HelpText():
            return reports.help_text(result.role)
        case StatusReport():
            return reports.status(result.status)
        case DomainList():
            return reports.domain_list(result.domains, result.here)
        case ReviewDigest():
            return reports.digest(result.waiting, result.decided, result.ratings, result.unanswered)
        case AdapterList():
            return reports.adapter_list(result.domain, result.adapters)
        case NeedsConfirmation():
            return reports.needs_confirmation(result.reason, result.command)
        case Promoted():
            return reports.promoted(result.adapter)
        case RolledBack():
            return reports.rolled_back(result.domain, result.adapter, result.undone)
        case Retired():
            return reports.retired(result.adapter)
        case RunList():
            return reports.run_list(result.runs)
        case RetrainPlanned():
            return reports.planned(result.plan)
        case RunQueued():
            return run_message.shown(RunSnapshot(result.queued))
        case RunCancelled():
            return reports.cancelled(result.cancelled)
        case RoleList():
            return reports.role_list(settings, result.grants, requester)
        case RoleGranted():
            return reports.role_granted(result.person, result.role)
        case RoleRevoked():
            return reports.role_revoked(result.person)
        case PersonForgotten():
            return reports.forgetting(result.person, result.receipt)
        case Rendered():
            return result.content
    return _of_comparison(result)


def _of_comparison(result: Result) -> list[Block]:
    match result:
        case ComparisonStarted():
            return comparison_reports.started(result.experiment)
        case ComparisonRamped():
            return comparison_reports.ramped(result.experiment)
        case ComparisonStopped():
            return comparison_reports.comparison(result.experiment, result.results)
        case ComparisonReport():
            return comparison_reports.comparison(
                result.experiment, result.results, result.ending, result.not_counted
            )
        case TesterAdded():
            return comparison_reports.tester(result.person, result.label, result.described)
        case PolicyReport():
            return comparison_reports.policy(result.domain, result.rules)
        case DecisionList():
            return comparison_reports.decisions(result.experiment, result.decisions)
        case DecisionExplained():
            return comparison_reports.explained(result.experiment, result.explained)
    return [section(sentence(result.text))]
