"""Settings: read from `understudy.toml`, overridden by the environment, and checked once at start.

Every setting `[section] key` can be set with the variable `UNDERSTUDY_SECTION_KEY`, or with
`UNDERSTUDY_SECTION_KEY_FILE`, the path of a file that contains the value (for secrets). The
environment takes precedence over the settings file. An empty variable counts as one that is not
set. Setting both a variable and its `_FILE` is an error, and so is a missing file. `understudy
init` never writes secrets, and they are never printed.

Each section is a module of `data/config/sections/`. Import the classes from here.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from data.config import environment, messages
from data.config.sections.answers import AnswersSettings
from data.config.sections.base_model import BASES, NAME, POCKET, BaseModelSettings
from data.config.sections.bot import BotSettings
from data.config.sections.fields import LAST_PORT, Section
from data.config.sections.gate import GateSettings
from data.config.sections.oidc import OidcSettings
from data.config.sections.search import ENCODERS, SearchSettings
from data.config.sections.serving import ServingSettings
from data.config.sections.slack import SlackSettings
from data.config.sections.tuning import TuningSettings
from data.store.errors import Invalid

__all__ = [
    "BASES",
    "ENCODERS",
    "FILE_NAME",
    "NAME",
    "POCKET",
    "SECTIONS",
    "AnswersSettings",
    "BaseModelSettings",
    "BotSettings",
    "GateSettings",
    "OidcSettings",
    "SearchSettings",
    "ServingSettings",
    "Settings",
    "SlackSettings",
    "TuningSettings",
    "check_name",
    "load",
]

FILE_NAME = "understudy.toml"


@dataclass(frozen=True, eq=False)
class SettingSources:
    """What set each setting. Settings with the same values are the same, whatever set them."""

    by_setting: Mapping[str, str] = field(default_factory=dict)  # `bot.port` -> a variable, a file

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SettingSources)

    def __hash__(self) -> int:
        return 0


class Settings(Section):
    """All settings of `understudy.toml`."""

    home: Path = Field(
        default=Path("."),
        description="The folder of the store, the adapters, the runs and the logs. A relative path "
        "starts at the folder of `understudy.toml`.",
    )
    base: BaseModelSettings = BaseModelSettings()
    tuning: TuningSettings = TuningSettings()
    gate: GateSettings = GateSettings()
    serving: ServingSettings = ServingSettings()
    bot: BotSettings = BotSettings()
    search: SearchSettings = SearchSettings()
    answers: AnswersSettings = AnswersSettings()
    slack: SlackSettings = SlackSettings()
    oidc: OidcSettings = OidcSettings()
    _sources: SettingSources = PrivateAttr(default=SettingSources())

    @property
    def sources(self) -> Mapping[str, str]:
        """What set each setting that has not its default: `bot.port` -> a variable, or the file."""
        return self._sources.by_setting

    @model_validator(mode="after")
    def _know_added_bases(self) -> Self:
        self.__dict__["base"] = self.base.added_in(self.home / BASES)
        return self

    @model_validator(mode="after")
    def _check_token_limits(self) -> Self:
        answer, total = self.bot.max_tokens, self.serving.max_model_len
        if answer >= total:
            raise ValueError(
                f"[bot] max_tokens is {answer}, which leaves no room for a question in the "
                f"{total} tokens of [serving] max_model_len"
            )
        return self

    @model_validator(mode="after")
    def _check_engine_ports(self) -> Self:
        first, count = self.serving.port, self.serving.replicas
        if not self.serving.url and first + count - 1 > LAST_PORT:
            raise ValueError(
                f"[serving] port is {first}, which leaves too few ports for {count} replicas: "
                f"the highest port is {LAST_PORT}"
            )
        return self

    @property
    def store_path(self) -> Path:
        return self.home / "understudy.db"

    @property
    def adapters_path(self) -> Path:
        return self.home / "adapters"

    @property
    def runs_path(self) -> Path:
        """The folder with one folder per run, for its checkpoints and its log."""
        return self.home / "runs"

    def checkpoints_path(self, run_id: int) -> Path:
        """The checkpoint from which an interrupted run continues; deleted when the run ends."""
        return self.runs_path / str(run_id) / "checkpoint"


SECTIONS: dict[str, type[Section]] = {
    "base": BaseModelSettings,
    "tuning": TuningSettings,
    "gate": GateSettings,
    "serving": ServingSettings,
    "bot": BotSettings,
    "search": SearchSettings,
    "answers": AnswersSettings,
    "slack": SlackSettings,
    "oidc": OidcSettings,
}


def load(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read and check the settings.

    `path` is the TOML file. Without it, the file is the one in `UNDERSTUDY_CONFIG`, or else
    `understudy.toml` in the current folder, if it exists. Raises Invalid with every wrong setting,
    its source and the values that it accepts.
    """
    named = environ.get(environment.CONFIG)
    chosen_file = path or (Path(named) if named else None)
    if chosen_file is not None and not chosen_file.is_file():
        raise Invalid(f"There is no settings file {chosen_file}. `understudy init` writes one.")
    file = chosen_file or Path(FILE_NAME)
    values: dict[str, Any] = {}
    if file.is_file():
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise Invalid(f"{file} cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise Invalid(f"{file} is not valid TOML: it is not text in UTF-8.") from error
        except tomllib.TOMLDecodeError as error:
            raise Invalid(f"{file} is not valid TOML: {error}.") from error
    in_file = {
        name if key is None else f"{name}.{key}": str(file)
        for name, table in values.items()
        for key in (table if isinstance(table, dict) else (None,))
    }
    origin = environment.apply(values, environ, SECTIONS)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise Invalid(messages.describe(error, file, origin, Settings, SECTIONS)) from error
    home = (file.parent / settings.home).resolve()
    check_name(home)
    base = settings.base.added_in(home / BASES)
    is_name = base.model == "pocket" or base.path != base.model
    if not is_name and (local := file.parent / base.model).is_dir():
        base = base.model_copy(update={"model": str(local.resolve())})
    search = settings.search
    for place in (file.parent, home / ENCODERS):
        if (encoder := place / search.encoder).is_dir():
            search = search.model_copy(update={"encoder": str(encoder.resolve())})
            break
    found = settings.model_copy(update={"home": home, "base": base, "search": search})
    found._sources = SettingSources(in_file | origin)
    return found


def check_name(home: Path) -> None:
    """Raises Invalid for a home folder whose path is not text in UTF-8, as SQLite expects it."""
    shown = os.fsencode(home).decode("utf-8", "replace")
    if shown != str(home):
        raise Invalid(f"The path of the home folder {shown} is not text in UTF-8. Rename it.")
