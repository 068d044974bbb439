"""`[bot]`: the HTTP service, and how it requests answers from the engines."""

import ipaddress
import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from data.config.sections.fields import LAST_PORT, Section, TextList, is_address

PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]{1,64}){1,8}")  # of a path
Port = Annotated[int, Field(ge=0, le=LAST_PORT)]


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
        "all its sessions, and ten times as many other writes, such as ratings and corrections. "
        "Every 1,024 bytes of such a text count as one.",
    )
    key_writes_per_hour: int = Field(
        default=36_000,
        ge=1,
        description="The number of ratings, corrections and other writes an hour that one API key "
        "may send, for all its users. Every 1,024 bytes of a text count as one. Questions take "
        "turns instead.",
    )
    web_storage_mib: int = Field(
        default=1_024,
        ge=1,
        description="MiB of questions, answers, feedback and corrections of the web chat that are "
        "stored. Then it takes no more of them.",
    )
    key_storage_mib: int = Field(
        default=10_240,
        ge=1,
        description="MiB of questions, answers, feedback and corrections of API keys that are "
        "stored. Then they are refused.",
    )
    answer_timeout_s: int = Field(
        default=120, ge=1, description="Seconds that an answer may take in total."
    )
    allowed_hosts: TextList = Field(
        default=(),
        description="The host names under which people open the web chat, such as "
        '`["bot.example.com"]`. Names of this machine and plain addresses are always allowed; '
        '`"*"` allows any name. It keeps other sites from reaching the web chat through their own '
        "name (DNS rebinding).",
    )
    allowed_origins: TextList = Field(
        default=(),
        description="The sites whose pages may call the API from a browser (CORS), such as "
        '`["https://app.example.com"]`; `"*"` allows every site. It opens only the routes under '
        "`/v1`, which need a key, and never allows cookies.",
    )
    conversation_readers: Literal["admin", "reviewer", "nobody"] = Field(
        default="admin",
        description="Who reads people's questions, answers and ids on the console's page about "
        'conversations: `"admin"`, `"reviewer"` (and admins), or `"nobody"`. The others see '
        "figures there.",
    )
    root_path: str = Field(
        default="",
        description="The path under which a reverse proxy shows the service, such as `/bot`. It is "
        "needed if the proxy does not strip it, or if several bots share a host name. A trusted "
        "proxy can send it as `X-Forwarded-Prefix` instead.",
    )
    trusted_proxies: TextList = Field(
        default=("127.0.0.1", "::1"),
        description='Addresses and networks of your reverse proxies, such as `["10.0.0.0/8"]`. '
        "Only from them, `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Prefix` say who "
        "sends a request, how, and under which path. Without it, everybody behind a proxy on "
        "another machine counts as one address.",
    )
    max_connections: int = Field(
        default=128,
        ge=1,
        description="The number of connections that one address may have open, and of requests "
        "that it may have in progress through a trusted proxy. For each bot process.",
    )

    @field_validator("allowed_origins")
    @classmethod
    def _origins(cls, listed: tuple[str, ...]) -> tuple[str, ...]:
        for one in listed:
            if one != "*" and not (is_address(one) and one.count("/") == 2):
                raise ValueError(
                    f"{one!r} is not a site such as https://app.example.com, without a path"
                )
        return listed

    @field_validator("root_path")
    @classmethod
    def _path(cls, given: str) -> str:
        path = given.rstrip("/")
        if path and not PREFIX.fullmatch(path):
            raise ValueError(f"{given!r} is not a path such as /bot")
        return path

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
