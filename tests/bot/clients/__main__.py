"""`python -m tests.bot.clients [NAME ...]`: what people's programs get from the running bot.

It starts the service with a fake engine, installs each client from its package index into a
throw-away folder, and runs the program `with_NAME`, which prints a line for everything that works.
The table in docs/http.md has the results. It takes some minutes and a network, so it is no test.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path

from tests.bot.conftest import Bot, answering
from tests.serving.fake_vllm import FakeVllm, running, words

HERE = Path(__file__).parent
ENCODER = "all-MiniLM-L6-v2-far-wording"
INSTALL_S, RUN_S = 300, 120


@dataclass(frozen=True)
class Client:
    program: str
    packages: tuple[str, ...]  # the first one's version is shown


CLIENTS = {
    "openai": Client("with_openai.py", ("openai",)),
    "litellm": Client("with_litellm.py", ("litellm",)),
    "langchain": Client("with_langchain.py", ("langchain-openai",)),
    "llama-index": Client("with_llama_index.py", ("llama-index-llms-openai-like",)),
    "llm": Client("with_llm.py", ("llm",)),
    "openai-node": Client("with_openai.mjs", ("openai",)),
    "vercel": Client("with_vercel.mjs", ("ai", "@ai-sdk/openai")),
    "jdk": Client("WithJdk.java", ()),
}


def main(names: list[str]) -> int:
    failed = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (home := folder / "home").mkdir()
        with running(FakeVllm()) as vllm, answering(home, vllm) as bot:
            vllm.say = lambda body: words(body["model"], "One", " job.", usage=(11, 4))
            for name in names or CLIENTS:
                (place := folder / name).mkdir()
                if not _works(name, CLIENTS[name], place, bot):
                    failed.append(name)
    print(f"failed: {', '.join(failed)}" if failed else "all work")
    return 1 if failed else 0


def _works(name: str, client: Client, folder: Path, bot: Bot) -> bool:
    suffix = Path(client.program).suffix
    needed = {".py": sys.executable, ".mjs": "npm", ".java": "java"}[suffix]
    if shutil.which(needed) is None:
        print(f"{name}: {needed} is not installed")
        return True
    try:
        command, version = _installed(client, folder, suffix)
        done = subprocess.run(
            command, env=_environment(bot, folder), capture_output=True, text=True, timeout=RUN_S
        )
    except subprocess.SubprocessError as error:
        print(f"{name}: {error}\n{getattr(error, 'stderr', '') or ''}")
        return False
    print(f"{name} {version}: {'; '.join(done.stdout.splitlines())}", flush=True)
    if done.returncode:
        print(done.stderr[-3_000:])
    return done.returncode == 0


def _installed(client: Client, folder: Path, suffix: str) -> tuple[list[str], str]:
    """The command that runs the program, and the version of what it uses."""
    program = HERE / client.program
    if suffix == ".py":
        venv.create(folder / "venv", with_pip=True)
        python = str(folder / "venv" / "bin" / "python")
        _run([python, "-m", "pip", "install", "-q", "--only-binary=:all:", *client.packages])
        shown = f"from importlib.metadata import version; print(version({client.packages[0]!r}))"
        return [python, str(program)], _run([python, "-c", shown])
    if suffix == ".mjs":
        copied = shutil.copy(program, folder)  # it imports from the folder that it is in
        _run(["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder)], folder, client)
        package = folder / "node_modules" / client.packages[0] / "package.json"
        shown = f"console.log(require({str(package)!r}).version)"
        return ["node", copied], _run(["node", "-e", shown])
    return ["java", str(program)], _run(["java", "--version"]).splitlines()[0]


def _run(command: list[str], folder: Path | None = None, client: Client | None = None) -> str:
    whole = [*command, *(client.packages if client else ())]
    done = subprocess.run(
        whole, cwd=folder, capture_output=True, text=True, timeout=INSTALL_S, check=True
    )
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
