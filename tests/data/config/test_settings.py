"""Settings: the environment wins over the file, and errors name the setting and its source."""

import json
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import SecretStr

from data.config import settings as config_settings
from data.config.settings import SECTIONS, Settings
from data.store.errors import Invalid


def write(folder: Path, **tables: Any) -> Path:
    """A settings file with top-level keys and tables of keys."""
    lines = [f"{k} = {json.dumps(v)}" for k, v in tables.items() if not isinstance(v, dict)]
    for name, table in tables.items():
        if isinstance(table, dict):
            lines += [f"[{name}]", *(f"{k} = {json.dumps(v)}" for k, v in table.items())]
    file = folder / config_settings.FILE_NAME
    file.write_text("\n".join(lines))
    return file


def load(path: Path | None = None, **environ: str) -> Settings:
    return config_settings.load(path, environ)


def problem(path: Path | None = None, **environ: str) -> str:
    with pytest.raises(Invalid) as raised:
        config_settings.load(path, environ)
    return str(raised.value)


# Sources of settings


def test_without_a_file_the_defaults_apply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load()
    assert (settings.home, settings.bot.port, settings.base.model) == (tmp_path, 8080, "pocket")
    assert settings.base.path == str(config_settings.POCKET)


def test_the_file_in_the_current_folder_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write(tmp_path, bot={"port": 9000}).parent)
    assert load().bot.port == 9000


def test_a_given_path_wins_over_the_variable_and_the_variable_over_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = []
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        files.append(write(folder, bot={"port": 9000 + number}))
    monkeypatch.chdir(files[0].parent)
    assert load(UNDERSTUDY_CONFIG=str(files[1])).bot.port == 9001
    assert load(files[2], UNDERSTUDY_CONFIG=str(files[1])).bot.port == 9002


def test_home_is_relative_to_the_file(tmp_path: Path) -> None:
    settings = load(write(tmp_path, home="state"))
    assert settings.home == tmp_path / "state"
    assert settings.store_path == tmp_path / "state" / "understudy.db"
    assert settings.adapters_path.parent == settings.runs_path.parent == settings.home
    assert load(tmp_path / config_settings.FILE_NAME, UNDERSTUDY_HOME="/srv/u").home == Path(
        "/srv/u"
    )


def test_an_encoder_folder_is_relative_to_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "encoders" / "e5"
    folder.mkdir(parents=True)
    assert load(write(tmp_path, search={"encoder": "encoders/e5"})).search.encoder == str(folder)
    assert load(write(tmp_path, search={"encoder": "words"})).search.encoder == "words"
    with pytest.raises(Invalid, match=r"\[search\] encoder .* is not an address"):
        load(write(tmp_path, search={"encoder": "ftp://somewhere"}))


def test_a_local_base_model_is_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "qwen").mkdir()
    assert load(write(tmp_path, base={"model": "qwen"})).base.path == str(tmp_path / "qwen")
    hub = "Qwen/Qwen3-4B-Instruct-2507"
    assert load(write(tmp_path, base={"model": hub})).base.path == hub


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, bot={"port": 9000, "web_chat": True})
    settings = load(file, UNDERSTUDY_BOT_PORT="9001", UNDERSTUDY_BOT_WEB_CHAT="false")
    assert (settings.bot.port, settings.bot.web_chat) == (9001, False)


BOT = {
    "allowed_origins": "https://app.example.com",
    "root_path": "/bot",
    "trusted_proxies": "10.0.0.0/8",
}


NEEDED = {"UNDERSTUDY_OIDC_CLIENT_ID": "bot", "UNDERSTUDY_OIDC_CLIENT_SECRET": "hush"}


def example_of(section: str, key: str) -> str:
    """A valid value that is not the default, as text."""
    field = SECTIONS[section].model_fields[key]
    if key in (
        "max_attempts",
        "max_model_len",
        "references",
        "replicas",
    ):  # these have special limits
        return str(int(field.default) + 1)
    if own := {"sleep_hours": "22:00-06:00", "digest_at": "07:30", "max_lora_rank": "32"}.get(key):
        return own
    if isinstance(field.default, bool):
        return str(not field.default).lower()
    if (section, key) == ("serving", "url"):
        return "http://10.0.0.5:8000"
    if (section, key) == ("oidc", "issuer"):
        return "https://login.example.com"
    if section == "bot" and (own := BOT.get(key)):
        return own
    if get_origin(field.annotation) is Literal:
        return str(next(v for v in get_args(field.annotation) if v != field.default))
    kinds = {int: "33", float: "0.25"}
    return kinds.get(type(field.default), "text")


@pytest.mark.parametrize(
    ("section", "key"), [(s, key) for s, model in SECTIONS.items() for key in model.model_fields]
)
def test_every_setting_can_be_given_in_the_environment(
    tmp_path: Path, section: str, key: str
) -> None:
    text = example_of(section, key)
    needed = NEEDED if (section, key) == ("oidc", "issuer") else {}
    settings = load(write(tmp_path), **{f"UNDERSTUDY_{section}_{key}".upper(): text}, **needed)
    found = getattr(getattr(settings, section), key)
    if isinstance(found, SecretStr):
        found = found.get_secret_value()
    assert found != SECTIONS[section].model_fields[key].default
    assert text in (str(found), str(found).lower()) or found == (text,)


def test_lists_are_separated_by_commas(tmp_path: Path) -> None:
    settings = load(write(tmp_path), UNDERSTUDY_SLACK_ADMINS="U1, U2,")
    assert settings.slack.admins == ("U1", "U2")


# Secrets


def test_a_secret_is_read_from_the_file_that_a_variable_names(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("xoxb-1\n")
    file = write(tmp_path)
    settings = load(file, UNDERSTUDY_SLACK_BOT_TOKEN_FILE=str(tmp_path / "token"))
    assert settings.slack.bot_token.get_secret_value() == "xoxb-1"


def test_a_secret_that_is_set_twice_is_refused(tmp_path: Path) -> None:
    said = problem(
        write(tmp_path),
        UNDERSTUDY_SLACK_BOT_TOKEN="xoxb-1",
        UNDERSTUDY_SLACK_BOT_TOKEN_FILE=str(tmp_path / "token"),
    )
    assert "Both UNDERSTUDY_SLACK_BOT_TOKEN and UNDERSTUDY_SLACK_BOT_TOKEN_FILE are set" in said


def test_the_error_names_a_missing_secret_file(tmp_path: Path) -> None:
    said = problem(write(tmp_path), UNDERSTUDY_SLACK_APP_TOKEN_FILE=str(tmp_path / "none"))
    assert said.startswith("UNDERSTUDY_SLACK_APP_TOKEN_FILE: ")
    assert str(tmp_path / "none") in said


def test_secrets_are_never_printed(tmp_path: Path) -> None:
    settings = load(write(tmp_path), UNDERSTUDY_SLACK_SIGNING_SECRET="hush-hush")
    assert "hush-hush" not in repr(settings) + str(settings) + str(settings.model_dump())
    assert settings.slack.signing_secret.get_secret_value() == "hush-hush"


def test_a_secret_of_the_wrong_type_is_not_printed(tmp_path: Path) -> None:
    said = problem(write(tmp_path, slack={"bot_token": ["xoxb-hush"]}))
    assert "[slack] bot_token" in said
    assert "hush" not in said


# Mistakes


@pytest.mark.parametrize(
    ("section", "key", "value", "words"),
    [
        ("bot", "port", "high", "a whole number"),
        ("bot", "port", 70_000, "at most 65535"),
        ("bot", "temperature", 3.5, "at most 2"),
        ("bot", "web_chat", "perhaps", "true or false"),
        ("serving", "max_lora_rank", 24, "8, 16, 32"),
        ("serving", "dtype", "int3", "'auto', 'bfloat16'"),
        ("serving", "port", 0, "at least 1"),
        ("serving", "sleep_hours", "25:00-06:00", 'hours such as "22:00-06:00"'),
        ("serving", "sleep_hours", "23:59-00:01", "at least 10 minutes"),
        ("serving", "url", "10.0.0.5:8000", "such as http://10.0.0.5:8000"),
        ("serving", "url", "ftp://engine:8000", "is not an address"),
        ("serving", "url", "http://", "is not an address"),
        ("serving", "url", "http://engine:99999", "is not an address"),
        ("serving", "url", ["http://a:1", "http://a:1/"], "a:1 is listed twice"),
        ("tuning", "max_attempts", 0, "at least 1"),
        ("slack", "mode", "carrier-pigeon", "'off', 'socket' or 'http'"),
        ("slack", "admins", "U1", "a list, such as"),
        ("slack", "admins", [7], "text, in quotes"),
        ("slack", "digest_at", "9:00", 'such as "09:00"'),
        ("base", "model", 7, "text, in quotes"),
        ("base", "model", "", "must not be empty"),
        ("gate", "chance", 1, "less than 1"),
    ],
)
def test_the_error_names_the_setting_its_source_and_the_accepted_values(
    tmp_path: Path, section: str, key: str, value: Any, words: str
) -> None:
    file = write(tmp_path, **{section: {key: value}})
    said = problem(file)
    assert f"[{section}] {key}" in said
    assert f"(in {file}): " in said
    assert words in said


@pytest.mark.parametrize(
    ("variable", "setting"),
    [
        ("UNDERSTUDY_BOT_PORT", "[bot] port"),
        ("UNDERSTUDY_SERVING_MAX_LORA_RANK", "[serving] max_lora_rank"),
        ("UNDERSTUDY_SLACK_MODE", "[slack] mode"),
    ],
)
def test_the_error_names_a_variable_with_a_wrong_value(
    tmp_path: Path, variable: str, setting: str
) -> None:
    assert f"{setting} (in {variable}): " in problem(write(tmp_path), **{variable: "wrong"})


def test_the_answer_limit_leaves_room_for_a_question(tmp_path: Path) -> None:
    file = write(tmp_path, bot={"max_tokens": 512}, serving={"max_model_len": 512})

    assert "[bot] max_tokens is 512, which leaves no room" in problem(file)


def test_every_engine_needs_a_port(tmp_path: Path) -> None:
    file = write(tmp_path, serving={"port": 65_535, "replicas": 2})
    assert "too few ports for 2 replicas" in problem(file)
    elsewhere = {"port": 65_535, "replicas": 2, "url": "http://engine:8000/"}
    assert load(write(tmp_path, serving=elsewhere)).serving.url == ("http://engine:8000",)


def test_lora_ranks_can_be_given_in_the_environment(tmp_path: Path) -> None:
    assert load(write(tmp_path), UNDERSTUDY_SERVING_MAX_LORA_RANK="32").serving.max_lora_rank == 32


def test_one_error_lists_every_mistake(tmp_path: Path) -> None:
    file = write(tmp_path, bot={"port": -1, "hots": "x"}, tunning={"threads": 1})
    said = problem(file, UNDERSTUDY_TUNING_THREADS="-2")
    for expected in (
        f"[bot] port (in {file}): it must be at least 0",
        f"[bot] hots (in {file}): is not a setting. Did you mean [bot] host?",
        f"tunning (in {file}): is not a setting. Did you mean [tuning]?",
        "[tuning] threads (in UNDERSTUDY_TUNING_THREADS)",
    ):
        assert expected in said


def test_the_error_names_a_section_that_is_not_a_table(tmp_path: Path) -> None:
    file = write(tmp_path, bot=7)
    assert f"[bot] (in {file}): it must be a section" in problem(file)
    assert f"[bot] (in {file})" in problem(file, UNDERSTUDY_BOT_PORT="9000")


def test_the_error_names_a_misspelt_variable(tmp_path: Path) -> None:
    assert "UNDERSTUDY_BOT_PROT" in problem(write(tmp_path), UNDERSTUDY_BOT_PROT="9000")


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("UNDERSTUDY_SERVNG_PORT", "UNDERSTUDY_SERVING_PORT"),
        ("UNDERSTUDY_SLAK_BOT_TOKEN_FILE", "UNDERSTUDY_SLACK_BOT_TOKEN"),
        ("UNDERSTUDY_PORT", "UNDERSTUDY_BOT_PORT or UNDERSTUDY_SERVING_PORT"),
        ("UNDERSTUDY_MAX_LORAS", "UNDERSTUDY_SERVING_MAX_LORAS"),
    ],
)
def test_a_misspelt_or_missing_section_in_the_environment_is_named(
    tmp_path: Path, variable: str, meant: str
) -> None:
    said = problem(write(tmp_path), **{variable: "9000"})

    assert said == f"{variable} in the environment is not a setting. Did you mean {meant}?"


def test_a_variable_that_is_like_no_setting_is_ignored_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load(write(tmp_path), UNDERSTUDY_VERSION="1.2", UNDERSTUDY_HOME="x", UNDERSTUDY_LISTENER="5")

    assert [record.getMessage() for record in caplog.records] == [
        "UNDERSTUDY_VERSION in the environment is not a setting; it is ignored"
    ]


def test_variables_of_kubernetes_are_not_taken_for_settings(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Kubernetes sets them in a namespace with services called understudy and understudy-bot."""
    settings = load(
        write(tmp_path),
        UNDERSTUDY_SERVICE_HOST="10.0.0.1",
        UNDERSTUDY_SERVICE_PORT="80",
        UNDERSTUDY_SERVICE_PORT_HTTP="80",
        UNDERSTUDY_PORT="tcp://10.0.0.1:80",
        UNDERSTUDY_PORT_80_TCP="tcp://10.0.0.1:80",
        UNDERSTUDY_PORT_80_TCP_ADDR="10.0.0.1",
        UNDERSTUDY_BOT_PORT="tcp://10.0.0.2:8080",
        UNDERSTUDY_BOT_SERVICE_HOST="10.0.0.2",
        UNDERSTUDY_BOT_PORT_8080_TCP_PORT="8080",
    )

    assert settings.bot.port == 8080
    assert not caplog.records


@pytest.mark.parametrize(
    "variable",
    ["UNDERSTUDY_BOT_PORT", "UNDERSTUDY_HOME", "UNDERSTUDY_CONFIG", "UNDERSTUDY_BOT_PORT_FILE"],
)
def test_an_empty_variable_is_not_set(tmp_path: Path, variable: str) -> None:
    file = write(tmp_path, bot={"port": 9000}, home="state")

    settings = load(file, **{variable: ""})

    assert (settings.bot.port, settings.home) == (9000, tmp_path / "state")


def test_an_empty_variable_beside_its_file_is_not_set(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("xoxb-1\n")
    file = write(tmp_path)
    settings = load(
        file,
        UNDERSTUDY_SLACK_BOT_TOKEN="",
        UNDERSTUDY_SLACK_BOT_TOKEN_FILE=str(tmp_path / "token"),
    )
    assert settings.slack.bot_token.get_secret_value() == "xoxb-1"


def test_a_variable_that_is_not_text_is_named(tmp_path: Path) -> None:
    said = problem(write(tmp_path), UNDERSTUDY_HOME="/srv/caf\udce9")
    assert said == "UNDERSTUDY_HOME in the environment is not text in UTF-8."


def test_the_error_names_a_missing_settings_file(tmp_path: Path) -> None:
    assert f"There is no settings file {tmp_path / 'x.toml'}" in problem(tmp_path / "x.toml")
    assert "understudy init" in problem(UNDERSTUDY_CONFIG=str(tmp_path / "x.toml"))


@pytest.mark.parametrize("content", [b"bot = [", b"\xff\xfe", b"a = 1\na = 2"])
def test_the_error_names_a_file_that_is_not_toml(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / config_settings.FILE_NAME
    file.write_bytes(content)
    assert f"{file} is not valid TOML" in problem(file)


def test_the_overview_says_what_set_each_setting_and_no_secret(tmp_path: Path) -> None:
    from data.config.settings_overview import overview

    file = write(tmp_path, bot={"port": 9000}, serving={"url": ["http://me:pass@engine:8000"]})
    settings = load(file, UNDERSTUDY_SLACK_SIGNING_SECRET="hush", UNDERSTUDY_BOT_MAX_TOKENS="200")

    found = {(s.section, s.name): (s.value, s.source) for s in overview(settings)}

    assert found[("bot", "port")] == ("9000", str(file))
    assert found[("bot", "max_tokens")] == ("200", "UNDERSTUDY_BOT_MAX_TOKENS")
    assert found[("bot", "history_turns")][1] == "default"
    assert found[("slack", "signing_secret")] == ("set", "UNDERSTUDY_SLACK_SIGNING_SECRET")
    assert found[("serving", "url")] == ("http://engine:8000", str(file))
    assert found[("", "home")] == (str(tmp_path), "default")
    assert "hush" not in str(found)
    assert load(file) == load(file)
