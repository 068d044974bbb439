"""The command `sgpt`."""

import os
import subprocess
import sys
from pathlib import Path

program = str(Path(sys.executable).parent / "sgpt")
home = os.environ["LLM_USER_PATH"]
given = {
    **os.environ,
    "HOME": home,
    "API_BASE_URL": os.environ["OPENAI_BASE_URL"],
    "DEFAULT_MODEL": os.environ["MODEL"],
    "PRETTIFY_MARKDOWN": "false",
    "OPENAI_USE_FUNCTIONS": "false",
    "USE_LITELLM": "false",
}
for name, more in (
    ("chat, streamed", ["--no-cache"]),
    ("chat", ["--no-cache", "--chat", "mine"]),
    ("chat, a second turn", ["--no-cache", "--chat", "mine"]),
):
    done = subprocess.run(
        [program, "--no-functions", *more, "What is a run?"],
        env=given, capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.stdout.strip() == "One job.", done
    print(name)
