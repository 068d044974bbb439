"""What comes from elsewhere: no code of a model runs, and images hold no secrets."""

import ast
import re
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("bot", "data", "tuning", "serving", "tools", "benchmarks")
ADAPTERS = ("LoraConfig.", "PeftModel.", "PeftConfig.")  # read safetensors and JSON only


def loads(source: str) -> list[tuple[int, str, bool]]:
    """Every call of from_pretrained: line, what is called, whether code is off."""
    found = []
    for node in ast.walk(ast.parse(source)):
        called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        if called.endswith((".from_pretrained", "transformers.pipeline")):
            given = {k.arg: ast.unparse(k.value) for k in node.keywords}  # type: ignore[attr-defined]
            found.append((node.lineno, called, given.get("trust_remote_code") == "False"))
    return found


def test_the_code_of_a_model_never_runs() -> None:
    """On a terminal, transformers asks whether to run it unless it is told not to."""
    calls = {
        f"{file.relative_to(ROOT)}:{line} {called}": off
        for folder in FOLDERS
        for file in (ROOT / folder).rglob("*.py")
        for line, called, off in loads(file.read_text(encoding="utf-8"))
        if not called.startswith(ADAPTERS)
    }
    assert len(calls) >= 8
    assert [call for call, off in calls.items() if not off] == []
    assert "--trust-remote-code" not in (ROOT / "serving/engine/engine.py").read_text()


def test_a_call_that_leaves_it_open_is_found() -> None:
    assert loads("AutoModel.from_pretrained(p)") == [(1, "AutoModel.from_pretrained", False)]


def test_every_package_is_pinned_by_the_digest_of_its_files() -> None:
    """PyTorch's CPU build has different files in the indexes that carry it."""
    for name in ("cpu.txt", "dev.txt"):
        text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
        packages = re.split(r"\n(?=\S)", text.strip())
        assert len(packages) > 30
        assert [p for p in packages if "==" not in p or "--hash=sha256:" not in p] == []
    torch = (ROOT / "requirements" / "torch.txt").read_text(encoding="utf-8").splitlines()
    assert [line.split("==")[0] for line in torch if not line.startswith("#")] == ["torch"]
    for file in ("requirements/install-cpu.sh", "Makefile"):
        assert "--require-hashes" in (ROOT / file).read_text(encoding="utf-8")


def ignored(path: str) -> bool:
    """Whether .dockerignore leaves a path out of images."""
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    parts = path.split("/")
    prefixes = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    for rule in (r for r in rules if r and not r.startswith("#")):
        if rule.startswith("**/") and any(fnmatch(part, rule[3:]) for part in parts):
            return True
        if any(fnmatch(prefix, rule) for prefix in prefixes):
            return True
    return False


def test_an_image_holds_no_settings_secrets_or_stores() -> None:
    for path in (
        ".env", ".env.local", "deploy/.env", "understudy.toml", "understudy.db", "home/a.db-wal",
        "backup.tar", "logs/bot.log", "tls/server.key", ".git/config",
    ):  # fmt: skip
        assert ignored(path), path
    needed = [p for folder in FOLDERS[:4] for p in (ROOT / folder).rglob("*.py")]
    assert [path for path in needed if ignored(str(path.relative_to(ROOT)))] == []


def test_the_user_who_runs_the_image_owns_no_code() -> None:
    steps = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert not any("--chown" in step for step in steps)
    given = [step.partition("chown ")[2] for step in steps if "chown " in step]
    assert given == ["understudy /data"]
    for target in ("gpu", "cpu"):
        start = next(n for n, step in enumerate(steps) if step.endswith(f"AS {target}"))
        assert "USER understudy" in steps[start:]
