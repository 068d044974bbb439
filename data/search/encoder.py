"""Sentence encoders: text to a vector, so that texts of similar meaning have similar vectors.

Which encoder is used is a setting (`[search] encoder`): the shipped one, a folder, an address, or
none. Vectors of different encoders cannot be compared, so each encoder has a digest.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from data.config.settings import SearchSettings
from data.search.encoder_catalogue import CATALOGUE
from data.store.errors import Unavailable

if TYPE_CHECKING:
    import numpy as np

SHIPPED = Path(__file__).parent / "minilm"


class EncoderFailed(Unavailable):
    """The encoder cannot be used now. The message says why and what to do."""


class SentenceEncoder(Protocol):
    """Turns texts into vectors. Thread-safe."""

    name: str
    digest: str  # of everything that a vector depends on
    dimensions: int

    def encode(self, texts: Sequence[str], *, questions: bool = False) -> "np.ndarray":
        """Float32, shape (texts, dimensions), rows of length 1. `questions`: the texts are
        questions to search with, not pairs to be found; some encoders tell them apart. Raises
        EncoderFailed."""
        ...

    def count_tokens(self, texts: Sequence[str], *, questions: bool = False) -> int:
        """How many tokens of the texts are read by `encode`; 0 if that is not known."""
        ...


def open_encoder(settings: SearchSettings) -> SentenceEncoder | None:
    """The encoder of the settings, or None for word search. Loading takes about half a second.
    Raises EncoderFailed if it cannot be loaded."""
    chosen = settings.encoder
    if chosen == "words":
        return None
    if chosen.startswith(("http://", "https://")):
        from data.search.embeddings_api import EmbeddingsApi

        return EmbeddingsApi(chosen, settings.model, settings.api_key.get_secret_value())
    if chosen in CATALOGUE and not Path(chosen).is_dir():
        raise EncoderFailed(
            f"The encoder {chosen} is not here. Run `understudy encoder add {chosen}`."
        )
    return open_folder(SHIPPED if chosen == "minilm" else Path(chosen))


def open_folder(folder: Path) -> SentenceEncoder:
    """The encoder in a folder, together with the shipped one if the folder says how. Raises
    EncoderFailed."""
    from data.search.joint_encoder import MATRIX, JointEncoder
    from data.search.onnx_encoder import OnnxEncoder

    return JointEncoder(folder) if (folder / MATRIX).is_file() else OnnxEncoder(folder)
