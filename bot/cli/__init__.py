"""The command line. `understudy --help` lists the commands without importing any of them.

- `ab`: `understudy ab`: compare adapters, system prompts and sampling on live traffic
- `adapters`: `understudy adapters`: list, promote, roll back, import, export and remove adapters
- `ask_columns`: asks on a terminal which columns are the question and the answer
- `audit`: `understudy audit`: the audit log, newest first
- `backup`: `understudy backup FILE`: a snapshot of the store and every adapter in one tar file
- `base_models`: `understudy base`: add base models to the home folder, list them, and check them
- `chat`: `understudy chat`: talk to a domain in the terminal
- `console`: `understudy console`: sign-in links and sessions of the console
- `context`: shared by all commands: settings, store, actor, output formats, renamed commands
- `doctor`: `understudy doctor`: checks everything that an installation needs
- `domains`: `understudy domains`: domains, their system prompts, Slack channels and policies
- `encoders`: `understudy encoder`: add encoders to the home folder, and list them
- `feedback`: `understudy feedback`: raters, and the quarantine for their ratings
- `follow`: shows the progress of a tuning run in the terminal
- `import_report`: what `pairs import` says about a file
- `init`: `understudy init`: writes a settings file and creates an empty store
- `interruption`: Ctrl-C, and the signals that are treated like it
- `keys`: `understudy keys`: API keys
- `pair_export`: `understudy pairs export`: a file, or a folder for another training tool
- `pair_quality`: `understudy pairs check` and `pairs allow`: the quality of pairs before training
- `pairs`: `understudy pairs`: import, export and review training pairs
- `people`: `understudy people` and `understudy forget`: a person's data, consent and erasure
- `processes`: `understudy up`, and its parts `serve`, `worker` and `bot`
- `progress_line`: a line in the terminal that says what is being done
- `replicas`: `understudy replicas`: list engine replicas, and restart them without downtime
- `runs`: `understudy runs`: list, show, resume and cancel tuning runs
- `search`: `understudy search DOMAIN QUESTION`: the approved pairs that bear on a question
- `slack`: `understudy slack`: the Slack app manifest, and the workspaces that installed the app
- `status`: `understudy status`: the state of the service on one screen
- `terminal`: the only way to the terminal, which shows control characters as symbols
- `triggers`: `understudy triggers`: when a domain retrains by itself
- `tune`: `understudy tune DOMAIN`: queue a tuning run and follow it, without a worker if need be
- `unanswered`: `understudy unanswered`: the questions that the bot declined
- `verbs`: commands of the registry, on the command line
- `waiting`: waits for a tuning run in the terminal, and executes it where no worker does
"""

import contextlib
import importlib
import logging
import os
import sys
from pathlib import Path
from typing import Any

import click

from bot.cli import terminal
from bot.cli.context import App
from data.store.errors import Invalid, UnderstudyError
from data.visible_text import visible

COMMANDS = {  # module, help; without help: that of the registry (`bot/commands/registry.py`)
    "init": ("bot.cli.init", "Write understudy.toml and create the store."),
    "demo": ("bot.demo.command", "Run a complete example on this machine, without any setup."),
    "up": ("bot.cli.processes", "Run everything: engines, tuning worker and bot."),
    "serve": ("bot.cli.processes", "Run only the engines, and keep their adapters up to date."),
    "worker": ("bot.cli.processes", "Run only the tuning worker."),
    "bot": ("bot.cli.processes", "Run only the bot: HTTP API, web chat and Slack."),
    "status": ("bot.cli.status", ""),
    "doctor": ("bot.cli.doctor", "Check the installation, and say how to fix it."),
    "base": ("bot.cli.base_models", "Add, list and check base models."),
    "encoder": ("bot.cli.encoders", "Add and list sentence encoders for the search."),
    "domains": ("bot.cli.domains", "Manage domains, the topics the bot answers."),
    "pairs": ("bot.cli.pairs", "Import, export and review training pairs."),
    "unanswered": ("bot.cli.unanswered", "Answer the questions that the bot declined."),
    "search": ("bot.cli.search", "Show the approved pairs that bear on a question."),
    "tune": ("bot.cli.tune", ""),
    "triggers": ("bot.cli.triggers", "Show and set when a domain retrains by itself."),
    "runs": ("bot.cli.runs", "List, show, resume and cancel tuning runs."),
    "adapters": ("bot.cli.adapters", "List, promote, roll back and remove adapters."),
    "replicas": ("bot.cli.replicas", "List and restart engine replicas."),
    "ab": ("bot.cli.ab", "Compare adapters, prompts and sampling on live traffic."),
    "feedback": ("bot.cli.feedback", "Show, quarantine and release raters."),
    "chat": ("bot.cli.chat", "Talk to a domain in the terminal."),
    "keys": ("bot.cli.keys", "Create, list and revoke API keys."),
    "console": ("bot.cli.console", "Sign people in to the console, and out of it."),
    "people": ("bot.cli.people", "Show and export a person's data, and manage their consent."),
    "forget": ("bot.cli.people", ""),
    "slack": ("bot.cli.slack", "Set up the Slack app."),
    "backup": ("bot.cli.backup", "Save the store and the adapters to one file."),
    "audit": ("bot.cli.audit", "Show who did what, and when."),
}


def summary(name: str) -> str:
    """The help of a command in one sentence."""
    if text := COMMANDS[name][1]:
        return text
    from bot.commands import registry

    return next(verb.help for verb in registry.verbs() if verb.cli == name)


class LazyGroup(click.Group):
    """A group that imports a command's module only when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        command: click.Command = getattr(module, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            if close := difflib.get_close_matches(args[0], COMMANDS, n=1):
                hint = f"{error.message} Did you mean `understudy {close[0]}`?"
                raise click.UsageError(hint, ctx) from error
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary(name)) for name in COMMANDS])

    def main(self, *args: Any, **options: Any) -> Any:
        """Run a command and exit. What the operating system refuses is one sentence, too: a full
        disk, a device behind the output, a folder that cannot be written."""
        terminal.print_anything()
        try:
            return super().main(*args, **options)
        except OSError as error:
            logging.getLogger(__name__).debug("The command failed", exc_info=error)
            with contextlib.suppress(OSError):  # stderr may be on the same disk
                terminal.echo(f"Error: {terminal.refusal(error)}", err=True)
            raise SystemExit(1) from None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for given in args:
            shown = os.fsencode(given).decode("utf-8", "replace")
            if shown != given:
                raise _Misused(f"The argument {visible(shown)!r} is not text in UTF-8.")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except Invalid as error:
            raise _Misused(visible(str(error))) from error
        except UnderstudyError as error:
            raise click.ClickException(visible(str(error))) from error


class _Misused(click.ClickException):
    """An error shown without the usage line: the syntax was right, but a value was not."""

    exit_code = 2


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The settings file. Default: $UNDERSTUDY_CONFIG, or else ./understudy.toml.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log debug messages too.")
@click.version_option(package_name="understudy", message="understudy %(version)s")
@click.pass_context
def main(ctx: click.Context, config: Path | None, verbose: bool) -> None:
    """A self-hosted chat bot that learns your topics and improves with feedback.

    Try `understudy demo` first. Then run `understudy init` to set up your own bot.
    """
    from bot.runtime.request_log import RequestFilter

    os.umask(0o077)  # what this process and its children write is for its user alone
    handler = logging.StreamHandler(sys.stderr)
    layout = "%(asctime)s %(levelname)-7s %(name)s:%(request)s %(message)s"
    handler.addFilter(RequestFilter())
    handler.setFormatter(terminal.LogFormatter(layout, datefmt="%H:%M:%S"))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler])
    if not verbose:
        for verbose_library in ("aiohttp", "httpx", "httpx2", "slack_bolt", "slack_sdk", "asyncio"):
            logging.getLogger(verbose_library).setLevel(logging.WARNING)
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # warns about optional extras
    if config is not None:
        os.environ["UNDERSTUDY_CONFIG"] = str(config.resolve())  # for child processes
    ctx.obj = App(config)
