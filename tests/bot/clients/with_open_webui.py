"""Open WebUI's own prompts for titles, tags and the like, from its package and as it fills them in.

The program itself is not run, because it brings PyTorch: its prompts are read from its source.
"""

import ast
import importlib.metadata
import json
import os
import re

import openai

MODEL = os.environ["MODEL"]
SAID = "USER: What is a run?\nASSISTANT: One job."
WANTED = {
    "TITLE_GENERATION": {"title": "What is a run"},
    "TAGS_GENERATION": {"tags": ["the help desk"]},
    "FOLLOW_UP_GENERATION": {"follow_ups": ["Who?"]},
    "QUERY_GENERATION": {"queries": ["What is a run?"]},
}
WRITTEN = (
    "IMAGE_PROMPT_GENERATION",
    "AUTOCOMPLETE_GENERATION",
    "EMOJI_GENERATION",
    "MOA_GENERATION",
)

files = importlib.metadata.files("open-webui") or []
source = next(f for f in files if str(f) == "open_webui/config.py")
templates = {
    node.targets[0].id: node.value.value
    for node in ast.parse(source.read_text()).body
    if isinstance(node, ast.Assign)
    and isinstance(node.targets[0], ast.Name)
    and isinstance(node.value, ast.Constant)
}
client = openai.OpenAI()


def asked(task: str) -> openai.types.chat.ChatCompletion:
    template = str(templates[f"DEFAULT_{task}_PROMPT_TEMPLATE"])
    prompt = re.sub(r"\{\{MESSAGES.*?\}\}", lambda _: SAID, template)
    prompt = re.sub(r"\{\{(prompt|PROMPT)\}\}", "What is a", prompt)
    answer = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": prompt}], max_tokens=1000
    )
    assert answer.model_extra["understudy"]["outcome"] == "task", (task, answer)
    return answer


for task, wanted in WANTED.items():
    said = asked(task).choices[0].message.content or ""
    assert json.loads(said) == wanted, (task, said)
    print(task.lower())
for task in WRITTEN:
    assert "One job." in (asked(task).choices[0].message.content or "")
print("the other tasks")
