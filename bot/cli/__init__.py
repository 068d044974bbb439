"""The command line. `understudy --help` lists the commands without loading any of them.

- `ab`: `understudy ab`: compare adapters, system prompts and sampling on live traffic
- `adapters`: `understudy adapters`: versions, their lineage and scores, and which one is live
- `audit`: `understudy audit`: the audit log, newest first
- `backup`: `understudy backup FILE`: the store as it is at one moment, and every adapter, in one
  tar
- `chat`: `understudy chat`: talk to a domain from the terminal, through the same flow as everyone
- `context`: what every command shares: the settings, the store, who is asking, and how output looks
- `doctor`: `understudy doctor`: looks at everything that a working installation needs
- `domains`: `understudy domains`: the subjects, their words to the model, their Slack channels
- `feedback`: `understudy feedback`: whose votes count, and why others' do not
- `follow`: following a tuning run in the terminal, from its queue to its end
- `init`: `understudy init`: a settings file to edit, and an empty store
- `keys`: `understudy keys`: who may ask over HTTP
- `pairs`: `understudy pairs`: what is learned from, in and out, and its review
- `people`: `understudy people` and `understudy forget`: what the store keeps of somebody
- `processes`: `understudy up`, and its three parts one by one: `serve`, `worker`, `bot`
- `replicas`: `understudy replicas`: the engines that answer, and restarting them without a gap
- `runs`: `understudy runs`: what is being tuned, what was, and why something failed
- `slack`: `understudy slack`: the app manifest to paste into Slack, and who has installed the app
- `status`: `understudy status`: how everything is now, on one screen
- `tune`: `understudy tune DOMAIN`: queue a run, and follow it; with no worker about, do it here
"""

import importlib
import logging
import os
import sys
from pathlib import Path

import click

from bot.cli.context import App
from data.store.errors import Invalid, UnderstudyError

COMMANDS = {
    "init": ("bot.cli.init", "Write understudy.toml and make the store."),
    "demo": ("bot.demo.command", "See the whole loop on this machine, nothing needed."),
    "up": ("bot.cli.processes", "Run everything: engines, tuning worker and bot."),
    "serve": ("bot.cli.processes", "Run the engines alone and keep their adapters in step."),
    "worker": ("bot.cli.processes", "Run the tuning worker alone."),
    "bot": ("bot.cli.processes", "Run the HTTP and Slack side alone."),
    "status": ("bot.cli.status", "How everything is, and what somebody should look at."),
    "doctor": ("bot.cli.doctor", "Say what is missing here and how to get it."),
    "domains": ("bot.cli.domains", "The subjects that are answered on."),
    "pairs": ("bot.cli.pairs", "Import, export and review what is learned from."),
    "tune": ("bot.cli.tune", "Tune a domain's next adapter."),
    "runs": ("bot.cli.runs", "Tuning runs: list, show, cancel."),
    "adapters": ("bot.cli.adapters", "Adapter versions: list, promote, roll back, remove."),
    "replicas": ("bot.cli.replicas", "Engine replicas: list, restart."),
    "ab": ("bot.cli.ab", "Compare adapters, prompts and sampling on live traffic."),
    "feedback": ("bot.cli.feedback", "Whose votes count, and why others' do not."),
    "chat": ("bot.cli.chat", "Talk to a domain from the terminal."),
    "keys": ("bot.cli.keys", "API keys: create, list, revoke."),
    "people": ("bot.cli.people", "What is kept of somebody: show, export, opt out."),
    "forget": ("bot.cli.people", "Remove every word of somebody, for good."),
    "slack": ("bot.cli.slack", "Set Slack up."),
    "backup": ("bot.cli.backup", "Save the store and the adapters to one file."),
    "audit": ("bot.cli.audit", "Who did what, and when."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is used."""

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
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except Invalid as error:
            raise _Misused(str(error)) from error
        except UnderstudyError as error:
            raise click.ClickException(str(error)) from error


class _Misused(click.ClickException):
    """Shown without the usage line: the words were right, what they named was not."""

    exit_code = 2


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The settings file. Default: $UNDERSTUDY_CONFIG, else understudy.toml here.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log more.")
@click.version_option(package_name="understudy", message="understudy %(version)s")
@click.pass_context
def main(ctx: click.Context, config: Path | None, verbose: bool) -> None:
    """A chat bot that learns your subjects and gets better from use.

    Begin with `understudy demo`, then `understudy init` for your own.
    """
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
        datefmt="%H:%M:%S",
        stream=sys.stderr,
    )
    if not verbose:
        for chatty in ("aiohttp", "httpx", "slack_bolt", "slack_sdk", "asyncio"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it tells of extras it could use
    if config is not None:
        os.environ["UNDERSTUDY_CONFIG"] = str(config.resolve())  # our children read the same file
    ctx.obj = App(config)
