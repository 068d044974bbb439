"""An added encoder together with the shipped one.

Two encoders err on different questions. The vectors of both stand side by side, and one matrix
turns them into the vector that counts: it weighs what tells apart facts that are asked for in other
words, and keeps the directions in which texts differ most (`tools/fit_joint_encoder.py`).
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from data.search.encoder import SHIPPED, EncoderFailed
from data.search.onnx_encoder import OnnxEncoder

if TYPE_CHECKING:
    import numpy as np

MATRIX = "joint.npy"  # in the folder of the added encoder; float16, (both dimensions, dimensions)


class JointEncoder:
    """Loads both encoders. Raises EncoderFailed if that is not possible."""

    def __init__(self, folder: Path) -> None:
        import numpy as np

        self._added, self._shipped = OnnxEncoder(folder), OnnxEncoder(SHIPPED)
        matrix = np.load(folder / MATRIX).astype(np.float32)
        given = self._added.dimensions + self._shipped.dimensions
        if matrix.ndim != 2 or len(matrix) != given:
            raise EncoderFailed(
                f"The encoder in {folder} cannot be used: {MATRIX} belongs to other encoders. "
                "Delete the folder and add the encoder again."
            )
        self._matrix = matrix
        self.name = self._added.name
        self.dimensions = int(matrix.shape[1])
        self.digest = digest_of(folder, self._added.digest, self._shipped.digest)

    def encode(self, texts: Sequence[str], *, questions: bool = False) -> "np.ndarray":
        import numpy as np

        parts = [e.encode(texts, questions=questions) for e in (self._added, self._shipped)]
        vectors = np.concatenate(parts, axis=1) @ self._matrix
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        joint: np.ndarray = vectors / np.maximum(lengths, 1e-12)
        return joint

    def count_tokens(self, texts: Sequence[str], *, questions: bool = False) -> int:
        return self._added.count_tokens(texts, questions=questions)


def digest_of(folder: Path, *parts: str) -> str:
    """What tells a joint encoder from every other one: the digests of its parts, and the matrix."""
    digest = hashlib.sha256((folder / MATRIX).read_bytes())
    for part in parts:
        digest.update(part.encode())
    return digest.hexdigest()[:32]
