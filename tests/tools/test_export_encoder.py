"""A converted encoder gives the vectors of the original."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from data.search.onnx_encoder import OnnxEncoder
from data.store.errors import Invalid
from tools import export_encoder

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "when", "is", "the", "shop", "open", "?")
# the exporter and transformers warn about themselves, and about traces that are checked below
pytestmark = pytest.mark.filterwarnings("ignore")
TEXTS = ("when is the shop open ?", "open", "the shop is the shop ?", "")


def sentence_transformer(folder: Path, pooling: str, *more_steps: str) -> BertModel:
    """A folder as sentence-transformers saves it, with a small random model."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=32,
    )
    model = BertModel(config).eval()
    model.save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({w: n for n, w in enumerate(WORDS)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_padding(length=16)
    tokenizer.save(str(folder / "tokenizer.json"))
    steps = [{"type": f"sentence_transformers.models.{s}"} for s in more_steps]
    steps = [{"type": "x.Transformer"}, {"type": "x.Pooling"}, *steps]
    (folder / "modules.json").write_text(json.dumps(steps))
    (folder / "1_Pooling").mkdir()
    modes = {f"pooling_mode_{m}": m == pooling for m in ("cls_token", "mean_tokens", "max_tokens")}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(modes))
    prompts = {"prompts": {"query": "when ", "document": "is "}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    return model


@pytest.mark.parametrize("pooling", ["mean_tokens", "cls_token"])
def test_the_vectors_are_those_of_the_original(tmp_path: Path, pooling: str) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    model = sentence_transformer(source, pooling, "Normalize")

    export_encoder.export(source, out)
    encoder = OnnxEncoder(out)

    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.no_padding()
    assert encoder.dimensions == 64
    for questions, prefix in ((True, "when "), (False, "is ")):
        found = encoder.encode(TEXTS, questions=questions)
        for text, vector in zip(TEXTS, found, strict=True):
            ids = torch.tensor([tokenizer.encode(prefix + text).ids])
            hidden = model(input_ids=ids)[0][0]
            wanted = hidden[0] if pooling == "cls_token" else hidden.mean(0)
            wanted = wanted.detach().numpy() / np.linalg.norm(wanted.detach().numpy())
            assert float(vector @ wanted) > 0.999


def test_what_cannot_be_converted_is_refused(tmp_path: Path) -> None:
    for name, pooling, steps in (("pooling", "max_tokens", ()), ("dense", "mean_tokens", "Dense")):
        folder = tmp_path / name
        folder.mkdir()
        sentence_transformer(folder, pooling, *([steps] if steps else []))
        with pytest.raises(Invalid, match="cannot be converted"):
            export_encoder.export(folder, tmp_path / "out")


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.export_encoder", str(tmp_path), str(tmp_path / "out")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "is no sentence-transformers folder" in done.stderr
