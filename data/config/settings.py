"""Settings: read from `understudy.toml`, overridden by the environment, and checked once at start.

Every setting `[section] key` can be set with the variable `UNDERSTUDY_SECTION_KEY`, or with
`UNDERSTUDY_SECTION_KEY_FILE`, the path of a file that contains the value (for secrets). The
environment takes precedence over the settings file. Setting both a variable and its `_FILE` is an
error, and so is a missing file. `understudy init` never writes secrets, and they are never printed.
"""

import difflib
import ipaddress
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
    PrivateAttr,
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
BASES = "bases"  # the folder of added base models, in the home folder

LAST_PORT = 65535
Port = Annotated[int, Field(ge=0, le=LAST_PORT)]


def _rank(value: int) -> int:
    """Check a rank limit for engines; 0 stands for the largest rank needed."""
    if value not in (0, *COMMON_RANKS):
        *others, last = COMMON_RANKS
        raise ValueError(f"it must be 0, {', '.join(map(str, others))} or {last}")
    return value


def _listed(value: Any) -> Any:
    """Split text at its commas; other values stay as they are."""
    return [v.strip() for v in value.split(",") if v.strip()] if isinstance(value, str) else value


Rank = Annotated[int, AfterValidator(_rank)]
Networks = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Urls = Annotated[tuple[str, ...], BeforeValidator(_listed)]
TIME = r"([01]\d|2[0-3]):[0-5]\d"
LEAST_MINUTES = 10  # the shortest sleep hours
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")  # of an added base model
HOURS = r"^(([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d)?$"


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BaseModelSettings(Section):
    """The model that adapters are trained on and served with. One per deployment."""

    model: str = Field(
        default="pocket",
        min_length=1,
        description='The base model: `"pocket"` (shipped), the name of one that `understudy base '
        'add` has added, such as `"smollm2-135m"`, a local folder, or a name on a model hub, such '
        'as `"Qwen/Qwen3-4B-Instruct-2507"`.',
    )
    accept_licence: str = Field(
        default="",
        description="The name of the model's licence, if that licence is restrictive and you have "
        "checked that it allows your use.",
    )

    _added: Path | None = PrivateAttr(default=None)  # the folder of added base models

    @property
    def path(self) -> str:
        """The path or name for transformers and vLLM."""
        if self.model == "pocket":
            return str(POCKET)
        if self._added and NAME.fullmatch(self.model) and (self._added / self.model).is_dir():
            return str(self._added / self.model)
        return self.model

    def named(self, model: str) -> Self:
        """These settings with another base model: a name, a local folder or a name on a hub."""
        local = Path(model)
        is_path = "/" in model or model.startswith(".")
        found = str(local.resolve()) if is_path and local.is_dir() else model
        return self.model_copy(update={"model": found})

    def added_in(self, folder: Path) -> Self:
        """These settings, where names stand for the base models in `folder`."""
        copy = self.model_copy()
        copy._added = folder
        return copy


class TuningSettings(Section):
    """How adapters are trained, unless a recipe says otherwise."""

    auto_retrain_pairs: int = Field(
        default=0,
        ge=0,
        description="Queue a retrain of a domain when it has this many newly approved pairs. "
        "`0`: never.",
    )
    threads: int = Field(
        default=0,
        ge=0,
        description="CPU threads of a tuning run. `0`: one for each core, and half as many while "
        "people ask questions.",
    )
    max_attempts: int = Field(
        default=2,
        ge=1,
        le=10,
        description="The number of attempts if the process of a run crashes. After the last "
        "one, the run has failed.",
    )


class GateSettings(Section):
    """The checks that a new adapter must pass before people can get it."""

    enforce: bool = Field(
        default=True,
        description="Reject adapters that fail the gate. `false`: the gate only reports, and the "
        "adapter becomes a candidate anyway.",
    )
    margin: float = Field(
        default=0.02,
        ge=0,
        le=1,
        description="The loss of quality that the gate allows: token F1 on golden and replayed "
        "questions, and the relative increase of the validation loss.",
    )
    chance: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="Significance level of the gate. A loss of quality counts only if chance alone "
        "would cause it with a lower probability than this.",
    )
    parity: float = Field(
        default=0.99,
        ge=0,
        le=1,
        description="The share of the trainer's answer tokens that an engine must also find "
        "likeliest. Near ties do not count.",
    )
    right: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="The share of the golden questions that an adapter must answer right, word for "
        "word or with the same numbers, names, commands and negations. Fewer are accepted only if "
        "chance explains them.",
    )
    search: bool = Field(
        default=False,
        description="Reject an adapter that answers golden questions right less often than the "
        "nearest approved answer does. `false`: the gate only reports it.",
    )


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is not a number, or out of range
        return False


class ServingSettings(Section):
    """The vLLM engines: started here, or, with `url`, run by you."""

    url: Urls = Field(
        default=(),
        description="Addresses of engines that you run yourself, such as "
        '`["http://10.0.0.5:8000"]`. The settings about starting an engine then have no effect.',
    )
    replicas: int = Field(
        default=1,
        ge=1,
        le=16,
        description="The number of engines to start, on consecutive ports from `port` on. With two "
        "or more, a crash or a restart does not interrupt answers.",
    )
    port: int = Field(
        default=8100,
        ge=1,
        le=LAST_PORT,
        description="The port of the first engine. Engines listen on loopback only, because vLLM's "
        "own API has no access control.",
    )
    max_model_len: int = Field(
        default=1024,
        ge=128,
        description="The length limit in tokens of a question with its history and its answer.",
    )
    max_loras: int = Field(
        default=0,
        ge=0,
        le=256,
        description="The number of adapters in one batch. `0`: as many as there are to serve.",
    )
    max_lora_rank: Rank = Field(
        default=0,
        description="The largest adapter rank that engines accept: one of "
        f"{', '.join(f'`{rank}`' for rank in COMMON_RANKS)}. `0`: the largest rank among the "
        "adapters to serve.",
    )
    quantization: Literal["none", "bitsandbytes"] = Field(
        default="none",
        description='`"bitsandbytes"` serves the base model in NF4 (QLoRA), which takes less '
        'memory; `"none"` as its files are. Runs train on the base in the same format. For engines '
        "that you run yourself, say here how they serve it.",
    )
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        default="bfloat16", description="The precision of the base model's weights."
    )
    canary_agreement: float = Field(
        default=0.9,
        ge=0,
        le=1,
        description="The share of an adapter's reference outputs (the first tokens of a few "
        "answers, recorded by training) that an engine must reproduce before people get the "
        "adapter.",
    )
    gpu_memory_fraction: float = Field(
        default=0.85,
        gt=0,
        le=1,
        description="The share of the GPU's memory that the engine may use.",
    )
    gpu_sharing: Literal["off", "split", "sleep"] = Field(
        default="off",
        description='How serving and tuning share one GPU. `"split"`: both hold memory at the same '
        'time. `"sleep"`: the engine sleeps while a run tunes.',
    )
    sleep_hours: str = Field(
        default="",
        description='With `gpu_sharing = "sleep"`: the hours, in local time, when the engine may '
        'sleep for a run, such as `"22:00-06:00"`. At least ten minutes. `""`: at any time.',
    )
    kv_cache_gib: int = Field(
        default=1,
        ge=1,
        description="GiB of memory for the KV cache of each engine. CPU engines only.",
    )
    lora_operations: Literal["grouped", "stock"] = Field(
        default="grouped",
        description='How CPU engines compute adapters. `"grouped"`: grouped by adapter, which is '
        "about four times as fast; vLLM's own operations are used when a check at the start fails, "
        'or when its version is unknown. `"stock"`: with vLLM\'s own operations.',
    )
    threads: int = Field(
        default=0,
        ge=0,
        description="CPU threads of all engines together. CPU engines only. `0`: half of the "
        "cores.",
    )
    start_timeout_s: int = Field(
        default=300, ge=10, description="Seconds that an engine may take to start."
    )

    @field_validator("url")
    @classmethod
    def _addresses(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        """Check the addresses and remove a slash at the end. Host and port name the engine."""
        for url in urls:
            if not _is_address(url):
                raise ValueError(f"{url!r} is not an address such as http://10.0.0.5:8000")
        names = [urlsplit(url).netloc for url in urls]
        duplicate = next((name for name in names if names.count(name) > 1), None)
        if duplicate is not None:
            raise ValueError(f"{duplicate} is listed twice")
        return tuple(url.rstrip("/") for url in urls)

    @field_validator("sleep_hours")
    @classmethod
    def _hours(cls, text: str) -> str:
        if not re.fullmatch(HOURS, text):
            raise ValueError('it must be hours such as "22:00-06:00", or "" for any time')
        minutes = [int(at[:2]) * 60 + int(at[3:]) for at in text.split("-") if at]
        if minutes and 0 < (minutes[-1] - minutes[0]) % (24 * 60) < LEAST_MINUTES:
            raise ValueError(
                f"it must be at least {LEAST_MINUTES} minutes, because an engine wakes before the "
                "end"
            )
        return text

    @property
    def rank_limit(self) -> int:
        """The largest adapter rank that can be served."""
        return self.max_lora_rank or MAX_RANK


class BotSettings(Section):
    """The HTTP service, and how it requests answers from the engines."""

    host: str = Field(
        default="127.0.0.1",
        description='The address to listen on. `"0.0.0.0"` accepts connections from other '
        "machines.",
    )
    port: Port = Field(
        default=8080, description="The port of the HTTP API, the web chat and Slack's requests."
    )
    max_tokens: int = Field(
        default=256, ge=1, description="The length limit of an answer, in tokens."
    )
    temperature: float = Field(
        default=0.0,
        ge=0,
        le=2,
        description="The sampling temperature. `0`: always the likeliest answer.",
    )
    history_turns: int = Field(
        default=6,
        ge=0,
        description="The number of earlier questions of a conversation that the model sees, with "
        "their answers.",
    )
    max_prompt_chars: int = Field(
        default=8_000, ge=1, description="The length limit of a question, in characters."
    )
    max_in_flight: int = Field(
        default=64, ge=1, description="The number of answers that one engine writes at once."
    )
    max_waiting: int = Field(
        default=256,
        ge=0,
        description="The number of questions that may wait for each engine. Further questions are "
        "refused with a request to try again.",
    )
    engine_wait_s: int = Field(
        default=60,
        ge=0,
        description="Seconds that a question waits for an engine that is restarting.",
    )
    web_chat: bool = Field(
        default=True,
        description="Serve the web chat at `/`, which answers anyone who can reach the port. "
        "`false`: only API keys and Slack.",
    )
    web_questions_per_hour: int = Field(
        default=600,
        ge=1,
        description="The number of questions an hour that one address may ask in the web chat, in "
        "all its sessions. For each bot process.",
    )
    web_storage_mib: int = Field(
        default=256,
        ge=1,
        description="MiB of questions from the web chat that are stored. Then it takes no more.",
    )
    answer_timeout_s: int = Field(
        default=120, ge=1, description="Seconds that an answer may take in total."
    )
    allowed_hosts: Urls = Field(
        default=(),
        description="The host names under which people open the web chat, such as "
        '`["bot.example.com"]`. Names of this machine and plain addresses are always allowed; '
        '`"*"` allows any name. It keeps other sites from reaching the web chat through their own '
        "name (DNS rebinding).",
    )
    trusted_proxies: Networks = Field(
        default=("127.0.0.1", "::1"),
        description='Addresses and networks of your reverse proxies, such as `["10.0.0.0/8"]`. '
        "Only from them, `X-Forwarded-For` and `X-Forwarded-Proto` say who sends a request, and "
        "how. Without it, everybody behind a proxy on another machine counts as one address.",
    )
    max_connections: int = Field(
        default=128,
        ge=1,
        description="The number of connections that one address may have open, and of requests "
        "that it may have in progress through a trusted proxy. For each bot process.",
    )

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, listed: tuple[str, ...]) -> tuple[str, ...]:
        for one in listed:
            try:
                ipaddress.ip_network(one, strict=False)
            except ValueError:
                raise ValueError(
                    f"{one!r} is not an address or network such as 10.0.0.0/8"
                ) from None
        return listed


class SearchSettings(Section):
    """How the approved pairs that bear on a question are found."""

    encoder: str = Field(
        default="minilm",
        min_length=1,
        description='How questions are compared with pairs: `"minilm"` (shipped, English) compares '
        'meanings; `"words"` compares words, in any language. A folder that `python -m '
        "tools.export_encoder` wrote, or the address of a service with `/v1/embeddings`, such as "
        '`"http://10.0.0.5:8000/v1"`, compares meanings with a model of your choice.',
    )
    model: str = Field(
        default="",
        description='The model to ask for, if `encoder` is an address. `""`: the first that it '
        "lists.",
    )
    api_key: SecretStr = Field(
        default=SecretStr(""), description="The key to send, if `encoder` is an address."
    )

    @field_validator("encoder")
    @classmethod
    def _address(cls, encoder: str) -> str:
        if "://" in encoder and not _is_address(encoder):
            raise ValueError(f"{encoder!r} is not an address such as http://10.0.0.5:8000/v1")
        return encoder


class AnswersSettings(Section):
    """Where answers come from: from approved pairs, or from the adapter alone."""

    mode: Literal["grounded", "quote", "adapter"] = Field(
        default="grounded",
        description='`"grounded"`: every question searches the approved pairs. An adapter answers '
        "from them, an approved answer is quoted where no adapter can answer, and a question that "
        'no pair answers is declined. `"quote"`: the nearest approved answer is given word for '
        'word, or the question is declined; no model writes answers. `"adapter"`: the adapter, or '
        "the bare base model, answers everything without a search.",
    )
    decline_below: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="The similarity between a question and its best pair below which the bot "
        "declines to answer. `0`: the default of the search in use.",
    )
    references: int = Field(
        default=4,
        ge=1,
        le=10,
        description="The number of approved pairs that an answer rests on at most.",
    )


class SlackSettings(Section):
    """The Slack front end. The secrets belong in the environment, not in the file."""

    mode: Literal["off", "socket", "http"] = Field(
        default="off",
        description='How Slack reaches the bot: `"socket"` (Socket Mode) or `"http"` (signed '
        "requests).",
    )
    bot_token: SecretStr = Field(default=SecretStr(""), description="The bot token, `xoxb-…`.")
    app_token: SecretStr = Field(
        default=SecretStr(""), description="The app-level token for Socket Mode, `xapp-…`."
    )
    signing_secret: SecretStr = Field(
        default=SecretStr(""), description="The signing secret that verifies requests over HTTP."
    )
    client_id: str = Field(
        default="",
        description="The app's client ID. With `client_secret` and `token_key`, several workspaces "
        "can install the bot (HTTP only).",
    )
    client_secret: SecretStr = Field(default=SecretStr(""), description="The app's client secret.")
    token_key: SecretStr = Field(
        default=SecretStr(""),
        description="The key that encrypts the tokens of installed workspaces; "
        "`understudy slack key` makes one. To replace it, put the new key in front of the old one, "
        "separated by a comma: the first encrypts, and all of them decrypt.",
    )
    workspaces: tuple[str, ...] = Field(
        default=(),
        description="IDs (`T…`) of the workspaces that may install the bot. Empty: any workspace.",
    )
    admins: tuple[str, ...] = Field(
        default=(),
        description="User IDs of admins: `U…`, or `T…/U…` for a workspace that installed the bot.",
    )
    reviewers: tuple[str, ...] = Field(
        default=(), description="User IDs of reviewers, in the same form as `admins`."
    )
    admin_group: str = Field(
        default="", description="The ID (`S…`) of a user group whose members are admins."
    )
    reviewer_group: str = Field(
        default="", description="The ID (`S…`) of a user group whose members are reviewers."
    )
    workspace_admins: bool = Field(
        default=False, description="Treat the workspace's admins and owners as admins of the bot."
    )
    allow_guests: bool = Field(
        default=False, description="Let guests ask questions and use commands."
    )
    allow_external: bool = Field(
        default=False,
        description="Let people of other organisations ask questions and use commands in shared "
        "channels.",
    )
    digest_channel: str = Field(
        default="",
        description="The channel that gets a daily digest of pairs to review: `C…`, or `T…/C…` for "
        'a workspace that installed the bot. `""`: no digest.',
    )
    digest_at: str = Field(
        default="09:00", description="The time of the digest, in local time, as `HH:MM`."
    )
    api_url: str = Field(
        default="https://slack.com/api/",
        description="The address of Slack's Web API. Change it for tests only.",
    )

    @field_validator("digest_at")
    @classmethod
    def _time(cls, text: str) -> str:
        if not re.fullmatch(TIME, text):
            raise ValueError('it must be a time of the day such as "09:00"')
        return text

    @property
    def needed(self) -> dict[str, SecretStr]:
        """The secrets that the mode needs, by name of their setting."""
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
}


def load(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read and check the settings.

    `path` is the TOML file. Without it, the file is the one in `UNDERSTUDY_CONFIG`, or else
    `understudy.toml` in the current folder, if it exists. Raises Invalid with every wrong setting,
    its source and the values that it accepts.
    """
    chosen_file = path or (
        Path(environ["UNDERSTUDY_CONFIG"]) if "UNDERSTUDY_CONFIG" in environ else None
    )
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
    origin = _apply_environment(values, environ)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise Invalid(messages.describe(error, file, origin, Settings, SECTIONS)) from error
    home = (file.parent / settings.home).resolve()
    base = settings.base.added_in(home / BASES)
    is_name = base.model == "pocket" or base.path != base.model
    if not is_name and (local := file.parent / base.model).is_dir():
        base = base.model_copy(update={"model": str(local.resolve())})
    search = settings.search
    if (encoder := file.parent / search.encoder).is_dir():
        search = search.model_copy(update={"encoder": str(encoder.resolve())})
    return settings.model_copy(update={"home": home, "base": base, "search": search})


def _apply_environment(values: dict[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """Add the environment's settings to `values`. Returns setting -> variable that set it."""
    _check_variable_names(environ)
    origin: dict[str, str] = {}
    if "UNDERSTUDY_HOME" in environ:
        values["home"] = environ["UNDERSTUDY_HOME"]
        origin["home"] = "UNDERSTUDY_HOME"
    for section, model in SECTIONS.items():
        for key, field in model.model_fields.items():
            variable = f"UNDERSTUDY_{section}_{key}".upper()
            text = _variable(variable, environ)
            if text is None:
                continue
            is_list = str(field.annotation).startswith("tuple")
            parsed: Any = [v.strip() for v in text.split(",") if v.strip()] if is_list else text
            table = values.setdefault(section, {})
            if isinstance(table, dict):
                table[key] = parsed
                origin[f"{section}.{key}"] = variable
    return origin


def _check_variable_names(environ: Mapping[str, str]) -> None:
    """Raise Invalid for a variable that looks like a setting but is not one. Otherwise a typing
    error would go unnoticed."""
    known = {f"{s}_{key}".upper() for s, model in SECTIONS.items() for key in model.model_fields}
    sections = tuple(f"UNDERSTUDY_{section}_".upper() for section in SECTIONS)
    for name in sorted(n for n in environ if n.startswith(sections)):
        key = name.removeprefix("UNDERSTUDY_")
        if key.removesuffix("_FILE") not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f" Did you mean UNDERSTUDY_{near[0]}?" if near else ""
            raise Invalid(f"{name} in the environment is not a setting.{hint}")


def _variable(name: str, environ: Mapping[str, str]) -> str | None:
    """The value of a variable, or the content of the file that `NAME_FILE` names; None if neither
    is set."""
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
