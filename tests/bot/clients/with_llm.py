"""The command `llm`, which reads its models from a file."""

import os
import subprocess
import sys
from pathlib import Path

folder = Path(os.environ["LLM_USER_PATH"])
(folder / "extra-openai-models.yaml").write_text(
    f"- model_id: mine\n  model_name: {os.environ['MODEL']}\n"
    f"  api_base: {os.environ['OPENAI_BASE_URL']}\n  api_key_name: mine\n"
)
program = str(Path(sys.executable).parent / "llm")
for name, more in (("chat, streamed", []), ("chat", ["--no-stream"])):
    command = [program, "-m", "mine", *more, "--key", os.environ["OPENAI_API_KEY"], "What?"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.strip() == "One job.", done
    print(name)
