"""`python -m tests.bot.clients [NAME ...]`: what people's programs get from the running bot.

It starts the service with a fake engine, installs each client in its latest version from its
package index into a throw-away folder, and runs the program `with_NAME`, which prints a line for
everything that works. The table in docs/http.md has the results. `test_clients.py` runs those that
install quickly with the other tests.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.config.settings import ServingSettings
from tests.bot.conftest import Bot, answering
from tests.serving.fake_vllm import Event, FakeVllm, calls, running, words

HERE = Path(__file__).parent
ENCODER = "all-MiniLM-L6-v2-far-wording"
UV = shutil.which("uv", path=Path(sys.executable).parent) or "uv"
INSTALL_S, RUN_S = 300, 300
ENGINES = ServingSettings(tool_call_parser="hermes")  # so that a model may decide to call
SAID = ("One", " job.")
JOKE = ("setup", "punchline")  # what the programs ask for without a schema
NO_NETWORK = ("dns error", "error sending request", "Could not connect", "ENOTFOUND", "EAI_AGAIN",
              "ECONNREFUSED", "ETIMEDOUT")  # fmt: skip


@dataclass(frozen=True)
class Client:
    program: str
    packages: tuple[str, ...]  # the first one's version is shown
    alone: tuple[str, ...] = ()  # packages without what they depend on
    quick: bool = True  # it installs within seconds


CLIENTS = {
    "openai": Client("with_openai.py", ("openai",)),
    "litellm": Client("with_litellm.py", ("litellm",), quick=False),
    "langchain": Client("with_langchain.py", ("langchain-openai",)),
    "langchain-tests": Client("with_langchain_tests.py", ("langchain-tests", "langchain-openai")),
    "llama-index": Client("with_llama_index.py", ("llama-index-llms-openai-like",), quick=False),
    "pydantic-ai": Client("with_pydantic_ai.py", ("pydantic-ai-slim[openai]",)),
    "instructor": Client("with_instructor.py", ("instructor",)),
    "llm": Client("with_llm.py", ("llm",)),
    # it imports click, and its requirements no longer bring it
    "shell-gpt": Client("with_shell_gpt.py", ("shell-gpt", "click")),
    "openai-node": Client("with_openai.mjs", ("openai",)),
    "vercel": Client("with_vercel.mjs", ("ai", "@ai-sdk/openai")),
    "jdk": Client("WithJdk.java", ()),
    "curl": Client("with_curl.sh", ()),
    "open-webui": Client("with_open_webui.py", ("openai",), ("open-webui",), quick=False),
    "librechat": Client(
        "with_librechat.mjs", ("@librechat/agents", "@langchain/openai"), quick=False
    ),
}


@dataclass(frozen=True)
class Tried:
    name: str
    version: str = ""
    works: tuple[str, ...] = ()
    error: str = ""
    missing: str = ""  # why it could not be tried


def main(names: list[str]) -> int:
    failed = []
    for tried in try_clients(names or CLIENTS):
        if tried.missing:
            print(f"{tried.name} was not tried: {tried.missing}", flush=True)
        else:
            print(f"{tried.name} {tried.version}: {'; '.join(tried.works)}", flush=True)
        if tried.error:
            print(tried.error[-3_000:])
            failed.append(tried.name)
    print(f"failed: {', '.join(failed)}" if failed else "all work")
    return 1 if failed else 0


def try_clients(names: Iterable[str]) -> Iterator[Tried]:
    """Try each client against one bot, two at a time."""
    with trying() as tried:
        yield from [future.result() for future in [tried(name) for name in names]]


@contextmanager
def trying() -> Iterator[Callable[[str], Future[Tried]]]:
    """A running bot, and what tries a client against it."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (home := folder / "home").mkdir()
        with (
            running(FakeVllm()) as vllm,
            answering(home, vllm, engines=ENGINES) as bot,
            ThreadPoolExecutor(2) as pool,
        ):
            vllm.say = says

            def tried(name: str) -> Future[Tried]:
                (place := folder / name).mkdir()
                return pool.submit(_tried, name, CLIENTS[name], place, bot)

            yield tried


def says(body: dict[str, Any]) -> list[Event]:
    """What the fake engine writes: always the same, as JSON for who asks for that. It calls the
    first tool that is offered, if it may, until it has seen a result."""
    form = body.get("response_format")
    last = body["messages"][-1]
    if body.get("tool_choice") == "auto" and last["role"] != "tool":
        function = body["tools"][0]["function"]
        parameters = {"type": "object"} | (function.get("parameters") or {})
        arguments = json.dumps(_filled(parameters, last["content"]))
        return calls(body["model"], (function["name"], arguments[:5], arguments[5:]))
    if form is None and (last["role"] == "tool" or "json" not in str(body["messages"]).lower()):
        return words(body["model"], *SAID, usage=(11, 4))
    schema = (form or {}).get("json_schema", {}).get("schema", {})
    question = last["content"] if body.get("tools") else ""
    written = json.dumps(_filled({"type": "object", "required": JOKE} | schema, question))
    return words(body["model"], written[:9], written[9:], usage=(11, 4))


def _filled(schema: dict[str, Any], question: str) -> Any:
    """A small value that the schema allows. A text is what the question has in quotation marks."""
    if "const" in schema:
        return schema["const"]
    if "anyOf" in schema:
        return _filled(schema["anyOf"][0], question)
    match schema.get("type"):
        case "array":
            return [_filled(schema["items"], question)]
        case "integer" | "number":
            return 3
        case "object":
            parts = schema.get("properties", {})
            text = {"type": "string"}
            required = schema.get("required", ())
            return {name: _filled(parts.get(name, text), question) for name in required}
        case _:
            quoted = re.search(r"'([^']+)'", question)
            return quoted[1] if quoted else "".join(SAID)


def _tried(name: str, client: Client, folder: Path, bot: Bot) -> Tried:
    suffix = Path(client.program).suffix
    needed = {".py": UV, ".mjs": "npm", ".java": "java", ".sh": "curl"}[suffix]
    if shutil.which(needed) is None:
        return Tried(name, missing=f"{needed} is not installed")
    try:
        command, version = _installed(client, folder, suffix)
    except subprocess.CalledProcessError as error:
        said = str(error.stderr)
        if any(sign in said for sign in NO_NETWORK):
            return Tried(name, missing="its package index cannot be reached")
        return Tried(name, error=said)
    except subprocess.TimeoutExpired:
        return Tried(name, missing=f"it does not install within {INSTALL_S} s")
    try:
        done = subprocess.run(
            command, env=_environment(bot, folder), capture_output=True, text=True, timeout=RUN_S
        )
    except subprocess.TimeoutExpired as error:
        return Tried(name, version, error=str(error))
    error = (done.stderr or "failed") if done.returncode else ""
    return Tried(name, version, tuple(done.stdout.splitlines()), error)


def _installed(client: Client, folder: Path, suffix: str) -> tuple[list[str], str]:
    """The command that runs the program, and the version of what it uses."""
    program = shutil.copy(HERE / client.program, folder)  # away from the modules of this project
    if suffix == ".py":
        python = str(folder / "venv" / "bin" / "python")
        _run([UV, "venv", "-q", "--python", sys.executable, str(folder / "venv")])
        install = [UV, "pip", "install", "-q", "--python", python, "--only-binary=:all:"]
        _run([*install, *client.packages])
        if client.alone:
            _run([*install, "--no-deps", *client.alone])
        named = (client.alone or client.packages)[0].partition("[")[0]
        shown = f"from importlib.metadata import version; print(version({named!r}))"
        return [python, program], _run([python, "-c", shown])
    if suffix == ".mjs":
        _run(
            ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), *client.packages]
        )
        package = folder / "node_modules" / client.packages[0] / "package.json"
        shown = f"console.log(require({str(package)!r}).version)"
        return ["node", program], _run(["node", "-e", shown])
    if suffix == ".sh":
        return ["sh", program], _run(["curl", "--version"]).split()[1]
    return ["java", program], _run(["java", "--version"]).splitlines()[0]


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=True)
    return done.stdout.strip()


def _environment(bot: Bot, folder: Path) -> dict[str, str]:
    return {
        **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
        "OPENAI_BASE_URL": f"{bot.url}/v1",
        "OPENAI_API_BASE": f"{bot.url}/v1",
        "OPENAI_API_KEY": bot.secrets["member"],
        "MODEL": "helpdesk",
        "ENCODER": ENCODER,
        "LLM_USER_PATH": str(folder),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # otherwise it loads a table from the network
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
