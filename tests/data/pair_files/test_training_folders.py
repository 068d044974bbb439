"""Folders for other training tools: each is read back by our own importer, and each configuration
names what is there. Where the tool is installed, its own schema reads the configuration."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from data import domains
from data.domains import Domain
from data.pair_files import files, training_folders
from data.pair_files.training_folders import TOOLS, TrainingValues
from data.pairs import pairs
from data.pairs.pairs import Draft, Turn
from data.store.db import Store
from data.store.errors import Conflict, Invalid

VALUES = TrainingValues("Qwen/Qwen3-4B", 16, 32.0, 0.05, 2e-4, 3.0, 16, 1024, True)
EARLIER = (Turn("user", "Hello"), Turn("assistant", "Good day, how can I help?"))
DRAFTS = [
    Draft("When do you open?", "At nine.", fact="hours"),
    Draft("And on Sundays?", "Never, “as ever”.\n  - really", turns=EARLIER, fact="sundays"),
    Draft("Who may come?", "Everybody.", system="You are the porter.", fact="who"),
    Draft("From when on may I come?", "At nine.", fact="hours", split="golden"),
]
LEFT_OUT = Draft("Is it free?", "Perhaps.", status="pending")


@pytest.fixture
def domain(store: Store) -> Domain:
    with store.write() as db:
        made = domains.create(db, "museum", system_prompt="You answer for the museum.")
        pairs.add(db, made, DRAFTS, source="import", status="approved")
        pairs.add(db, made, [LEFT_OUT], source="import", status="pending")
    return made


def _write(store: Store, domain: Domain, folder: Path, tool: str) -> Any:
    found = pairs.iterate_pairs(store.db, domain, "approved")
    written = training_folders.write(found, domain, folder, tool, VALUES)
    assert (written.train, written.measured) == (3, 1)
    return yaml.safe_load((folder / training_folders.CONFIG).read_text())


@pytest.mark.parametrize("tool", TOOLS)
def test_our_importer_reads_it_back(
    store: Store, domain: Domain, tmp_path: Path, tool: str
) -> None:
    _write(store, domain, tmp_path / "out", tool)
    system = domain.system_prompt
    for name, drafts in ((TOOLS[tool].train, DRAFTS[:3]), (TOOLS[tool].measured, DRAFTS[3:])):
        read = list(files.read(tmp_path / "out" / name))
        assert all(isinstance(found, Draft) for found in read)
        assert [(d.prompt, d.response, d.turns, d.system) for d in read] == [
            (d.prompt, d.response, d.turns, d.system or system) for d in drafts
        ]


def test_only_the_last_answer_is_learned(store: Store, domain: Domain, tmp_path: Path) -> None:
    config = _write(store, domain, tmp_path / "axolotl", "axolotl")
    key = config["datasets"][0]["message_field_training"]
    rows = [json.loads(line) for line in (tmp_path / "axolotl/train.jsonl").open()]
    marks = [[message.get(key) for message in row["messages"]] for row in rows]
    assert marks == [[None] * 3, [False, False, False, False, True], [None] * 3]
    assert _write(store, domain, tmp_path / "factory", "llama-factory")["mask_history"] is True
    assert _write(store, domain, tmp_path / "mlx", "mlx")["mask_prompt"] is True
    _write(store, domain, tmp_path / "trl", "trl")
    rows = [json.loads(line) for line in (tmp_path / "trl/data/train.jsonl").open()]
    assert [len(row["completion"]) for row in rows] == [1, 1, 1]


@pytest.mark.parametrize("tool", TOOLS)
def test_the_configuration_carries_the_recipe(
    store: Store, domain: Domain, tmp_path: Path, tool: str
) -> None:
    config = _write(store, domain, tmp_path / "out", tool)
    text = json.dumps(config)
    assert VALUES.base in text
    assert config["learning_rate"] == VALUES.learning_rate
    lora = config.get("lora_parameters", config)
    assert lora.get("rank", lora.get("lora_r", lora.get("lora_rank"))) == VALUES.rank
    folder = tmp_path / "out"
    match tool:
        case "axolotl":
            named = [one["path"] for one in config["datasets"] + config["test_datasets"]]
        case "llama-factory":
            about = json.loads((folder / config["dataset_dir"] / "dataset_info.json").read_text())
            names = (config["dataset"], config["eval_dataset"])
            named = [about[name]["file_name"] for name in names]
        case "trl":
            splits = (config["dataset_train_split"], config["dataset_test_split"])
            named = [f"{config['dataset_name']}/{split}.jsonl" for split in splits]
        case _:
            named = [f"{config['data']}/{name}.jsonl" for name in ("train", "valid")]
    assert named == [TOOLS[tool].train, TOOLS[tool].measured]


def test_mlx_trains_as_many_steps_as_the_passes_take(
    store: Store, domain: Domain, tmp_path: Path
) -> None:
    config = _write(store, domain, tmp_path / "out", "mlx")
    assert config["batch_size"] == 1  # no larger than what it measures on
    assert config["iters"] == 9
    assert config["lora_parameters"]["scale"] == 2.0


def test_nothing_to_measure_on_is_not_named(store: Store, tmp_path: Path) -> None:
    with store.write() as db:
        made = domains.create(db, "plain", system_prompt="")
        pairs.add(db, made, DRAFTS[:1], source="import", status="approved")
    for tool in TOOLS:
        found = pairs.iterate_pairs(store.db, made, "approved")
        written = training_folders.write(found, made, tmp_path / tool, tool, VALUES)
        assert (written.train, written.measured) == (1, 0)
        config = (tmp_path / tool / training_folders.CONFIG).read_text()
        assert "measured" not in config
        assert "eval" not in config
        assert not (tmp_path / tool / TOOLS[tool].measured).exists()


def test_a_folder_is_written_whole_or_not_at_all(
    store: Store, domain: Domain, tmp_path: Path
) -> None:
    _write(store, domain, tmp_path / "out", "trl")
    found = pairs.iterate_pairs(store.db, domain, "approved")
    with pytest.raises(Conflict, match="is there already"):
        training_folders.write(found, domain, tmp_path / "out", "trl", VALUES)
    with pytest.raises(Invalid, match="no approved pairs to train on"):
        training_folders.write([], domain, tmp_path / "none", "trl", VALUES)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["out"]
