"""Settings: `understudy.toml`, overridden by the environment, checked once at start.

Every setting `[section] key` can be given as `UNDERSTUDY_SECTION_KEY`, and as
`UNDERSTUDY_SECTION_KEY_FILE`, the path of a file that holds it (for secrets). The environment
wins over the file; giving both a variable and its `_FILE` is an error, as is a missing file.
Secrets are never written by `understudy init` and never printed.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from data.config import messages
from data.lora_limits import COMMON_RANKS, MAX_RANK
from data.store.errors import Invalid

FILE_NAME = "understudy.toml"
POCKET = Path(__file__).parents[1] / "pocket"

LAST_PORT = 65535
Port = Annotated[int, Field(ge=0, le=LAST_PORT)]


def _rank(value: int) -> int:
    """A rank that an engine can be started for; 0: the largest one needed."""
    if value not in (0, *COMMON_RANKS):
        *others, last = COMMON_RANKS
        raise ValueError(f"it must be 0, {', '.join(map(str, others))} or {last}")
    return value


def _listed(value: Any) -> Any:
    """One text, or several with commas between, as a list."""
    return [v.strip() for v in value.split(",") if v.strip()] if isinstance(value, str) else value


Rank = Annotated[int, AfterValidator(_rank)]
Urls = Annotated[tuple[str, ...], BeforeValidator(_listed)]
TIME = r"([01]\d|2[0-3]):[0-5]\d"
LEAST_MINUTES = 10  # of the hours in which an engine may sleep
HOURS = r"^(([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d)?$"


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BaseModelSettings(Section):
    """`[base]`: the model that adapters are trained against and served on. One per deployment."""

    model: str = Field(
        default="pocket", min_length=1
    )  # "pocket" (shipped), a local folder, or a name on a model hub
    accept_licence: str = ""  # the name of a restrictive licence that allows your use of the model

    @property
    def path(self) -> str:
        """What transformers and vLLM are given."""
        return str(POCKET) if self.model == "pocket" else self.model


class TuningSettings(Section):
    """`[tuning]`: how adapters are made, where a recipe does not say otherwise."""

    auto_retrain_pairs: int = Field(
        default=0, ge=0
    )  # queue a retrain after so many new pairs; 0: never
    threads: int = Field(
        default=0, ge=0
    )  # CPU threads of a run; 0: half of the cores, at least one
    max_attempts: int = Field(
        default=2, ge=1, le=10
    )  # a run that crashed its process is tried again


class GateSettings(Section):
    """`[gate]`: what a new adapter has to show before people may get it."""

    enforce: bool = True  # off: what fails is reported, and the adapter is a candidate all the same
    margin: float = Field(
        default=0.02, ge=0, le=1
    )  # token F1 that may be lost on golden and replay questions, and share of validation loss
    chance: float = Field(
        default=0.05, gt=0, lt=1
    )  # a loss that luck explains with at least this probability does not count
    parity: float = Field(
        default=0.99, ge=0, le=1
    )  # share of the trainer's answer tokens that an engine must find likeliest, near ties aside


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # no number, or none that a port may have
        return False


class ServingSettings(Section):
    """`[serving]`: the engines. With `url` engines that somebody else runs are used."""

    url: Urls = ()  # one or several; the settings about starting an engine are then without effect
    replicas: int = Field(default=1, ge=1, le=16)  # engines of our own, on ports from `port` on
    port: int = Field(
        default=8100, ge=1, le=LAST_PORT
    )  # loopback only: vLLM's own API is open to whoever reaches it
    max_model_len: int = Field(default=1024, ge=128)
    max_loras: int = Field(default=0, ge=0, le=256)  # adapters in one batch; 0: from the registry
    max_lora_rank: Rank = 0  # 0: from the registry
    quantization: Literal["none", "bitsandbytes"] = "none"
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "bfloat16"
    canary_agreement: float = Field(
        default=0.9, ge=0, le=1
    )  # share of an adapter's canary tokens that an engine must agree on before people get it
    gpu_memory_fraction: float = Field(default=0.85, gt=0, le=1)
    gpu_sharing: Literal["off", "split", "sleep"] = "off"  # one GPU for serving and tuning
    sleep_hours: str = ""  # gpu_sharing "sleep": local time when runs may stop the answers
    kv_cache_gib: int = Field(default=1, ge=1)  # CPU engine only
    threads: int = Field(
        default=0, ge=0
    )  # CPU engines only, of all replicas together; 0: half of the cores
    start_timeout_s: int = Field(default=300, ge=10)

    @field_validator("url")
    @classmethod
    def _addresses(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        """Without a slash at their end. Host and port are the engines' names."""
        for url in urls:
            if not _is_address(url):
                raise ValueError(f"{url!r} is not an address such as http://10.0.0.5:8000")
        names = [urlsplit(url).netloc for url in urls]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"{twice} is named twice")
        return tuple(url.rstrip("/") for url in urls)

    @field_validator("sleep_hours")
    @classmethod
    def _hours(cls, text: str) -> str:
        if not re.fullmatch(HOURS, text):
            raise ValueError('it must be hours such as "22:00-06:00", or "" for always')
        minutes = [int(at[:2]) * 60 + int(at[3:]) for at in text.split("-") if at]
        if minutes and 0 < (minutes[-1] - minutes[0]) % (24 * 60) < LEAST_MINUTES:
            raise ValueError(
                f"it must be at least {LEAST_MINUTES} minutes: an engine wakes before they end"
            )
        return text

    @property
    def rank_limit(self) -> int:
        """The largest rank of an adapter that can be served."""
        return self.max_lora_rank or MAX_RANK


class BotSettings(Section):
    """`[bot]`: the HTTP side and how answers are asked for."""

    host: str = "127.0.0.1"
    port: Port = 8080
    max_tokens: int = Field(default=256, ge=1)
    temperature: float = Field(default=0.0, ge=0, le=2)
    history_turns: int = Field(
        default=6, ge=0
    )  # earlier questions of a conversation that are sent along
    max_prompt_chars: int = Field(default=8_000, ge=1)
    max_in_flight: int = Field(default=64, ge=1)  # answers at once from one engine replica
    max_waiting: int = Field(
        default=256, ge=0
    )  # questions for each replica that wait for their turn; more are told to try again
    engine_wait_s: int = Field(
        default=60, ge=0
    )  # a question waits so long for an engine that is being started again
    web_chat: bool = True  # the page at / answers whoever can reach it; off: API keys only
    answer_timeout_s: int = Field(default=120, ge=1)


class SlackSettings(Section):
    """`[slack]`: off until tokens are given."""

    mode: Literal["off", "socket", "http"] = "off"
    bot_token: SecretStr = SecretStr("")
    app_token: SecretStr = SecretStr("")  # Socket Mode
    signing_secret: SecretStr = SecretStr("")  # signed HTTP
    client_id: str = ""  # with the two below: several workspaces install the bot, over HTTP
    client_secret: SecretStr = SecretStr("")
    token_key: SecretStr = SecretStr(
        ""
    )  # encrypts their tokens; several with commas: the first one does, the others still decrypt
    workspaces: tuple[str, ...] = ()  # that may install it, T…; none named: all that Slack lets
    admins: tuple[str, ...] = ()  # user ids, U…, or T…/U… in a workspace that installed the bot
    reviewers: tuple[str, ...] = ()
    admin_group: str = ""  # a user group, S…, whose people are admins
    reviewer_group: str = ""
    workspace_admins: bool = False  # the workspace's own admins and owners are admins here
    allow_guests: bool = False  # guests are answered, and may give commands
    allow_external: bool = False  # so are people of other organisations, in shared channels
    digest_channel: str = ""  # C…, told once a day what waits for review; "": no digest
    digest_at: str = "09:00"  # local time
    api_url: str = "https://slack.com/api/"

    @field_validator("digest_at")
    @classmethod
    def _time(cls, text: str) -> str:
        if not re.fullmatch(TIME, text):
            raise ValueError('it must be a time of the day such as "09:00"')
        return text

    @property
    def needed(self) -> dict[str, SecretStr]:
        """The secrets without which the mode does not work, by the setting's name."""
        match self.mode:
            case "socket":
                names: tuple[str, ...] = ("bot_token", "app_token")
            case "http" if self.client_id:
                names = ("signing_secret", "client_secret", "token_key")
            case "http":
                names = ("bot_token", "signing_secret")
            case _:
                names = ()
        return {name: getattr(self, name) for name in names}

    @property
    def installable(self) -> bool:
        """Whether workspaces may install the bot through Slack's OAuth page."""
        return self.mode == "http" and bool(self.client_id)


class Settings(Section):
    """The whole of `understudy.toml`."""

    home: Path = Path(".")  # the store, adapter files and logs; relative to the file's folder
    base: BaseModelSettings = BaseModelSettings()
    tuning: TuningSettings = TuningSettings()
    gate: GateSettings = GateSettings()
    serving: ServingSettings = ServingSettings()
    bot: BotSettings = BotSettings()
    slack: SlackSettings = SlackSettings()

    @model_validator(mode="after")
    def _room_for_a_question(self) -> Self:
        answer, all_of_it = self.bot.max_tokens, self.serving.max_model_len
        if answer >= all_of_it:
            raise ValueError(
                f"[bot] max_tokens is {answer}, which leaves no room for a question in the "
                f"{all_of_it} tokens of [serving] max_model_len"
            )
        return self

    @model_validator(mode="after")
    def _a_port_for_each_engine(self) -> Self:
        first, count = self.serving.port, self.serving.replicas
        if not self.serving.url and first + count - 1 > LAST_PORT:
            raise ValueError(
                f"[serving] port is {first}, which leaves no port for each of {count} replicas: "
                f"{LAST_PORT} is the last one"
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
        """One folder a run: its checkpoints and its log."""
        return self.home / "runs"

    def checkpoints_path(self, run_id: int) -> Path:
        """What a killed run goes on from; gone when the run has ended."""
        return self.runs_path / str(run_id) / "checkpoint"


SECTIONS: dict[str, type[Section]] = {
    "base": BaseModelSettings,
    "tuning": TuningSettings,
    "gate": GateSettings,
    "serving": ServingSettings,
    "bot": BotSettings,
    "slack": SlackSettings,
}


def load(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read and check the settings.

    `path` is the TOML file; without it `UNDERSTUDY_CONFIG`, else `understudy.toml` in the current
    folder if there is one. Raises Invalid, naming every wrong setting, where it was given and
    what it takes.
    """
    named = path or (Path(environ["UNDERSTUDY_CONFIG"]) if "UNDERSTUDY_CONFIG" in environ else None)
    if named is not None and not named.is_file():
        raise Invalid(f"There is no settings file {named}. `understudy init` writes one.")
    file = named or Path(FILE_NAME)
    given: dict[str, Any] = {}
    if file.is_file():
        try:
            given = tomllib.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise Invalid(f"{file} cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise Invalid(f"{file} is not valid TOML: it is not text in UTF-8.") from error
        except tomllib.TOMLDecodeError as error:
            raise Invalid(f"{file} is not valid TOML: {error}.") from error
    origin = _apply_environment(given, environ)
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        said = messages.describe(error, file, origin, Settings, SECTIONS)
        raise Invalid(said) from error
    home = (file.parent / settings.home).resolve()
    base = settings.base
    if base.model != "pocket" and (local := file.parent / base.model).is_dir():
        base = base.model_copy(update={"model": str(local.resolve())})
    return settings.model_copy(update={"home": home, "base": base})


def _apply_environment(given: dict[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """Put the environment's settings into `given`; returns which variable set what."""
    _refuse_misspelt(environ)
    origin: dict[str, str] = {}
    if "UNDERSTUDY_HOME" in environ:
        given["home"] = environ["UNDERSTUDY_HOME"]
        origin["home"] = "UNDERSTUDY_HOME"
    for section, model in SECTIONS.items():
        for key, field in model.model_fields.items():
            variable = f"UNDERSTUDY_{section}_{key}".upper()
            text = _variable(variable, environ)
            if text is None:
                continue
            is_list = str(field.annotation).startswith("tuple")
            parsed: Any = [v.strip() for v in text.split(",") if v.strip()] if is_list else text
            table = given.setdefault(section, {})
            if isinstance(table, dict):
                table[key] = parsed
                origin[f"{section}.{key}"] = variable
    return origin


def _refuse_misspelt(environ: Mapping[str, str]) -> None:
    """A variable that begins like a setting's and is none would be silently without effect."""
    known = {f"{s}_{key}".upper() for s, model in SECTIONS.items() for key in model.model_fields}
    sections = tuple(f"UNDERSTUDY_{section}_".upper() for section in SECTIONS)
    for name in sorted(n for n in environ if n.startswith(sections)):
        key = name.removeprefix("UNDERSTUDY_")
        if key.removesuffix("_FILE") not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f" Did you mean UNDERSTUDY_{near[0]}?" if near else ""
            raise Invalid(f"{name} in the environment is not a setting.{hint}")


def _variable(name: str, environ: Mapping[str, str]) -> str | None:
    """A variable's value, from itself or from the file that `NAME_FILE` names."""
    file = environ.get(f"{name}_FILE")
    if file is None:
        return environ.get(name)
    if name in environ:
        raise Invalid(f"Both {name} and {name}_FILE are set; keep one of them.")
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise Invalid(f"{name}_FILE: {file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise Invalid(f"{name}_FILE: {file} is not text in UTF-8.") from error
