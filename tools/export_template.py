"""Takes the large weights out of a converted encoder:
`python -m tools.export_template ENCODER OUT`.

ENCODER is a folder that `tools.export_encoder` wrote from the model as it is downloaded, without
tuning. OUT gets `graph.onnx`, the same model without its large weights, and `weights.json`, which
says what they are made of. `understudy encoder add` fills them in again
(`data/search/weight_filling.py`), so the repository need not hold them.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data.search.weight_filling import BLOCK, Kind, MissingWeight
from data.store.errors import Invalid, UnderstudyError

SMALL = 20_000  # bytes of a weight that stays in the graph
EMBEDDING = "embeddings.word_embeddings"


def export(encoder: Path, out: Path) -> None:
    """Write the graph and the list of its missing weights."""
    import onnx

    model = onnx.load(encoder / "model.onnx")
    made_of = dict(_products(model.graph.node))
    taken = [t for t in model.graph.initializer if t.ByteSize() >= SMALL]
    missing = [_missing(tensor, made_of) for tensor in taken]
    for tensor in taken:
        model.graph.initializer.remove(tensor)
    out.mkdir(parents=True, exist_ok=True)
    (out / "graph.onnx").write_bytes(model.SerializeToString(deterministic=True))
    rows = ",\n".join(json.dumps(asdict(weight)) for weight in missing)
    (out / "weights.json").write_text(f"[\n{rows}\n]\n", encoding="utf-8")
    (out / "encoder.json").write_bytes((encoder / "encoder.json").read_bytes())


def _products(nodes: Any) -> Any:
    """The weights of the matrix products, as (name, (kind, tensor))."""
    for node in nodes:
        if node.op_type != "MatMulNBits":
            continue
        if next(a.i for a in node.attribute if a.name == "block_size") != BLOCK:
            raise Invalid(f"{node.name} is not rounded in blocks of {BLOCK}.")
        module = node.name.removeprefix("/model/").rpartition("/")[0].replace("/", ".")
        yield node.input[1], ("blocks", f"{module}.weight")
        yield node.input[2], ("block_scales", f"{module}.weight")


def _missing(tensor: Any, made_of: dict[str, tuple[Kind, str]]) -> MissingWeight:
    name = tensor.name.removeprefix("model.")
    table = f"{EMBEDDING}.weight"
    known: dict[str, tuple[Kind, str]] = {
        f"{EMBEDDING}.table": ("rows", table),
        f"{EMBEDDING}.scale": ("row_scales", table),
    }
    kind, source = made_of.get(tensor.name) or known.get(name) or ("whole", name)
    return MissingWeight(tensor.name, tuple(tensor.dims), kind, source)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.export_template", description=__doc__)
    parser.add_argument("encoder", type=Path, metavar="ENCODER")
    parser.add_argument("out", type=Path, metavar="OUT")
    options = parser.parse_args()
    try:
        export(options.encoder, options.out)
    except UnderstudyError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
