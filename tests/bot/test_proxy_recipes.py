"""The recipes of docs/deploy.md, run with their programs, where these are installed.

Only what a test machine must do differently is replaced: ports, names and certificates.
"""

import contextlib
import json
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.bot.conftest import Bot
from tests.conftest import free_port, wait_until
from tests.serving.fake_vllm import HANG, words

PAGE = Path(__file__).parents[2] / "docs" / "deploy.md"
NGINX, CADDY = shutil.which("nginx"), shutil.which("caddy")
ANALYZE, OPENSSL = shutil.which("systemd-analyze"), shutil.which("openssl")
needs_nginx = pytest.mark.skipif(NGINX is None or OPENSSL is None, reason="there is no nginx here")
needs_caddy = pytest.mark.skipif(CADDY is None, reason="there is no Caddy here")
pytestmark = pytest.mark.integration


@pytest.fixture
def bot_settings() -> dict[str, Any]:
    return {"allowed_hosts": ("bot.example.com",)}


def recipes(kind: str) -> list[str]:
    """The code blocks of the page in one language."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)


@contextlib.contextmanager
def running(port: int, *command: str) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def listens() -> bool:
        assert process.poll() is None, process.communicate()[0]
        try:
            httpx.get(f"http://127.0.0.1:{port}/", timeout=1)
        except httpx.ConnectError:
            return False
        except httpx.HTTPError:
            return True
        return True

    try:
        wait_until(listens, "the proxy to listen", 20)
        yield
    finally:
        process.terminate()
        process.communicate(timeout=20)


@contextlib.contextmanager
def nginx(bot: Bot, folder: Path, path: str) -> Iterator[httpx.Client]:
    whole, under_path = recipes("nginx")
    if path:
        whole = whole[: whole.index("    location / {")] + under_path + "}\n"
    port = free_port()
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subject = ["-subj", "/CN=bot.example.com", "-addext", "subjectAltName=DNS:bot.example.com"]
    made = ["-x509", "-newkey", "rsa:2048", "-nodes", *subject, "-out", certificate]
    subprocess.run([str(OPENSSL), "req", *made, "-keyout", key], check=True, capture_output=True)
    replaced = {
        "listen 443": f"listen 127.0.0.1:{port}",
        "/etc/letsencrypt/live/bot.example.com/fullchain.pem": str(certificate),
        "/etc/letsencrypt/live/bot.example.com/privkey.pem": str(key),
        "127.0.0.1:8080": f"127.0.0.1:{bot.settings.bot.port}",
    }
    for old, new in replaced.items():
        assert old in whole
        whole = whole.replace(old, new)
    temporary = "".join(
        f"{kind}_temp_path {folder / kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"daemon off;\nmaster_process off;\npid {folder / 'pid'};\nerror_log stderr;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{temporary}{whole}}}\n"
    )
    context = ssl.create_default_context(cafile=certificate)
    address = f"https://bot.example.com:{port}{path}"
    with (
        running(port, str(NGINX), "-p", str(folder), "-c", str(configuration), "-e", "stderr"),
        httpx.Client(verify=context, base_url=address, transport=_Here(context)) as client,
    ):
        yield client


@contextlib.contextmanager
def caddy(bot: Bot, folder: Path, path: str) -> Iterator[httpx.Client]:
    recipe = recipes("caddy")[1 if path else 0]
    port = free_port()
    recipe = re.sub(r"^(bot\.)?example\.com \{", f"http://bot.example.com:{port} {{", recipe)
    assert str(port) in recipe
    assert "127.0.0.1:8080" in recipe
    recipe = recipe.replace("127.0.0.1:8080", f"127.0.0.1:{bot.settings.bot.port}")
    configuration = folder / "Caddyfile"
    configuration.write_text(f"{{\nadmin off\nstorage file_system {folder}\n}}\n{recipe}")
    command = [str(CADDY), "run", "--config", str(configuration), "--adapter", "caddyfile"]
    address = f"http://bot.example.com:{port}{path}"
    with (
        running(port, *command),
        httpx.Client(base_url=address, transport=_Here(True)) as client,
    ):
        yield client


class _Here(httpx.HTTPTransport):
    """Sends requests for any name to this machine."""

    def __init__(self, verify: "ssl.SSLContext | bool") -> None:
        super().__init__(verify=verify)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        name = request.url.host
        request.url = request.url.copy_with(host="127.0.0.1")
        request.extensions = {**request.extensions, "sni_hostname": name}
        return super().handle_request(request)


PROXIES = [
    pytest.param(nginx, marks=needs_nginx, id="nginx"),
    pytest.param(caddy, marks=needs_caddy, id="caddy"),
]


@pytest.mark.parametrize("path", ["", "/bot"])
@pytest.mark.parametrize("proxy", PROXIES)
def test_a_recipe_works(bot: Bot, tmp_path: Path, proxy: Any, path: str) -> None:
    (folder := tmp_path / "proxy").mkdir()
    with proxy(bot, folder, path) as client:
        key = {"Authorization": f"Bearer {bot.secrets['member']}", "X-Request-ID": "mine-1"}
        asked = {"model": "helpdesk", "messages": [{"role": "user", "content": "What is a run?"}]}

        answer = client.post("/v1/chat/completions", json=asked, headers=key)
        assert answer.json()["choices"][0]["message"]["content"] == "Hello there"
        assert answer.headers["x-request-id"] == "mine-1"

        _streams_arrive_at_once(bot, client, asked, key)
        _the_web_chat_answers(bot, client, path)
        if not path:
            assert client.get("/metrics").status_code == 404


def _streams_arrive_at_once(
    bot: Bot, client: httpx.Client, asked: dict[str, Any], key: dict[str, str]
) -> None:
    """The first word is there while the engine still writes, and whoever leaves stops it."""
    bot.vllm.say = lambda body: [*words(body["model"], "One")[:2], HANG]
    streamed = asked | {"stream": True}
    with client.stream("POST", "/v1/chat/completions", json=streamed, headers=key) as stream:
        lines = (line for line in stream.iter_lines() if line)
        said = ""
        while "One" not in said:
            said += next(lines)
    wait_until(lambda: bot.replies()[-1].status == "cancelled", "the answer to be cancelled", 20)
    bot.vllm.say = lambda body: words(body["model"], "All", " of it.")


def _the_web_chat_answers(bot: Bot, client: httpx.Client, path: str) -> None:
    page = client.get("/")
    origin = f"{client.base_url.scheme}://bot.example.com:{client.base_url.port}"
    name = page.headers["set-cookie"].partition("=")[0]
    assert ("_" in name.partition("understudy_session")[2]) == bool(path)
    assert name.startswith("__Host-") == (client.base_url.scheme == "https")
    cookie = page.headers["set-cookie"].partition(";")[0]
    own = {"Origin": origin, "Sec-Fetch-Site": "same-origin", "Cookie": cookie}
    asked = {"conversation": "0123456789", "text": "Who is it?"}

    answer = client.post("/web/ask", json=asked, headers=own)

    events = [json.loads(line) for line in answer.text.splitlines()]
    assert "".join(e["text"] for e in events if e["type"] == "delta") == "All of it."
    if path:
        assert client.get("").status_code in (200, 301, 302, 308)


@pytest.mark.skipif(ANALYZE is None, reason="there is no systemd here")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    (unit,) = recipes("ini")
    program = tmp_path / "understudy"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert "/srv/understudy/.venv/bin/understudy" in unit
    unit = unit.replace("/srv/understudy/.venv/bin/understudy", str(program))
    unit = unit.replace("User=understudy", "User=root")
    file = tmp_path / "understudy.service"
    file.write_text(unit)

    done = subprocess.run(
        [str(ANALYZE), "verify", str(file)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "understudy.service" not in done.stderr
