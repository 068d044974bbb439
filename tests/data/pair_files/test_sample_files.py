"""A sample file of each format that data sets come in: what was stored and what was reported.

The rows are built as the documentation of each format shows them: Alpaca
(https://github.com/tatsu-lab/stanford_alpaca#data-release), Dolly
(https://huggingface.co/datasets/databricks/databricks-dolly-15k), OpenOrca
(https://huggingface.co/datasets/Open-Orca/OpenOrca), ShareGPT and LLaMA-Factory
(https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md), TRL
(https://huggingface.co/docs/trl/dataset_formats), Prodigy (https://prodi.gy/docs/api-interfaces)
and OpenAI (https://platform.openai.com/docs/guides/fine-tuning).
"""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from data.domains import Domain
from data.pair_files import importer
from data.pairs import pairs
from data.store.db import Store

SAMPLES = Path(__file__).parent / "samples"
SKY = "What color is the sky?"
VIRGIN = (
    "When did Virgin Australia start operating?\n\nVirgin Australia commenced services on 31 "
    "August 2000 as Virgin Blue."
)


@dataclass(frozen=True)
class Outcome:
    """What an import should store and say."""

    stored: list[tuple[str, str]] = field(default_factory=list)
    rated: list[tuple[str, str, bool]] = field(default_factory=list)
    systems: set[str] = field(default_factory=set)
    turns: int = 0  # earlier ones, of all pairs
    unused: set[str] = field(default_factory=set)
    left_out: dict[str, int] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)


PORTER = "You are the porter."
OPEN = ("Is it open?", "Yes, until 5.")
OUTCOMES: dict[str, Outcome] = {
    "alpaca.json": Outcome(
        [
            ("Give three tips for staying healthy.", "1. Eat well.\n2. Move.\n3. Sleep."),
            ("Identify the odd one out.\n\nTwitter, Instagram, Telegram", "Telegram"),
        ]
    ),
    "dolly.jsonl": Outcome(
        [
            (VIRGIN, "On 31 August 2000, as Virgin Blue."),
            ("Which is a species of fish? Tope or Rope", "Tope"),
        ],
        unused={"category"},
    ),
    "openorca.jsonl": Outcome(
        [("What is the capital of Styria?", "Graz."), ("Is ice cold?", "Yes, it is.")],
        systems={"You are an AI assistant. You will be given a task."},
        unused={"id"},
    ),
    "sharegpt.json": Outcome([OPEN], systems={PORTER}, turns=2, unused={"id"}),
    "sharegpt_roles.jsonl": Outcome([OPEN], unused={"source"}),
    "llamafactory_alpaca.json": Outcome(
        [("And on Sunday?", "Closed.")], systems={PORTER}, turns=4
    ),
    "llamafactory_v1.jsonl": Outcome(
        [OPEN], systems={PORTER}, left_out={"every answer has weight 0": 1}
    ),
    "llamafactory_v1_dpo.jsonl": Outcome(
        rated=[("Is it open?", "Yes.", True), ("Is it open?", "No.", False)]
    ),
    "trl_prompt_completion.jsonl": Outcome([("The sky is", "blue."), (SKY, "It is blue.")]),
    "trl_preference.jsonl": Outcome(
        rated=[
            ("The sky is", "blue.", True),
            ("The sky is", "green.", False),
            (SKY, "It is blue.", True),
            (SKY, "It is green.", False),
            ("And the sea?", "Blue.", True),
            ("And the sea?", "Red.", False),
        ]
    ),
    "trl_kto.jsonl": Outcome(
        rated=[("The sky is", "blue.", True), (SKY, "It is green.", False)]
    ),
    "prodigy.jsonl": Outcome(
        [("Is it open?", "Yes.")],
        rated=[("Is it far?", "Yes.", False)],
        unused={
            "_input_hash", "_task_hash", "_view_id", "_timestamp", "_annotator_id", "_session_id",
        },
        left_out={"answer is ignore": 1},
    ),
    "openai_preference.jsonl": Outcome(
        rated=[
            ("Is it cold in San Francisco?", "Rarely.", True),
            ("Is it cold in San Francisco?", "No idea.", False),
        ]
    ),
    "openai_chat.jsonl": Outcome(
        [("Can you be more sarcastic?", "Paris, as if nobody knew.")],
        systems={"Marv is sarcastic."},
        turns=2,
        bad=["it has tools: only text is learned, and the bot calls no tools"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OUTCOMES)
def test_a_sample_file_is_stored_and_reported(store: Store, domain: Domain, name: str) -> None:
    report = importer.import_file(store, domain, SAMPLES / name)
    stored = pairs.list_pairs(store.db, domain)
    sql = "SELECT prompt, response, liked FROM judged_answers ORDER BY id"
    found = Outcome(
        [(pair.prompt, pair.response) for pair in stored],
        [(r["prompt"], r["response"], bool(r["liked"])) for r in store.db.query(sql)],
        {pair.system for pair in stored} - {""},
        sum(len(pair.turns) for pair in stored),
        {column.name for column in report.unused},
        dict(report.left_out),
        [bad.reason for bad in report.bad],
    )
    assert found == OUTCOMES[name]


def test_an_openai_preference_with_tools_is_refused(
    store: Store, domain: Domain, tmp_path: Path
) -> None:
    row = json.loads(SAMPLES.joinpath("openai_preference.jsonl").read_text())
    row["input"]["tools"] = [{"type": "function", "function": {"name": "weather"}}]
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    report = importer.import_file(store, domain, tmp_path / "a.jsonl")
    assert (report.rated_answers, report.bad_total) == (0, 1)


@pytest.mark.integration
@pytest.mark.parametrize("name", ["alpaca.json", "sharegpt.json", "Posts.xml"])
def test_a_thousand_large_rows_are_read_in_bounded_memory(tmp_path: Path, name: str) -> None:
    """The sample is repeated with answers of 30 KB: 30 MB in all."""
    file = tmp_path / name
    long = "word " * 6_000
    with file.open("w") as out:
        if name == "Posts.xml":
            out.write('<?xml version="1.0" encoding="utf-8"?>\n<posts>\n')
            for n in range(0, 2_000, 2):
                out.write(
                    f'  <row Id="{n + 1}" PostTypeId="1" AcceptedAnswerId="{n + 2}" Title="q{n}" '
                    f'Body="" />\n  <row Id="{n + 2}" PostTypeId="2" Body="&lt;p&gt;{long}" />\n'
                )
            out.write("</posts>\n")
        else:
            row = json.loads(SAMPLES.joinpath(name).read_text())[0]
            if "output" in row:
                row["output"] = long
            else:
                row["conversations"][-1]["value"] = long
            out.write(f"[{','.join([json.dumps(row)] * 1_000)}]")
    assert file.stat().st_size > 30_000_000
    program = (
        "import re, sys; from pathlib import Path; from data.pair_files import files;"
        "from data.pairs.pairs import Draft;"
        "count = sum(isinstance(row, Draft) for row in files.read(Path(sys.argv[1])));"
        "status = Path('/proc/self/status').read_text();"
        "print(count, int(re.search(r'VmHWM:\\s+(\\d+)', status)[1]) // 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=True
    )
    count, peak_mib = map(int, done.stdout.split())
    assert count == 1_000
    assert peak_mib < 120
