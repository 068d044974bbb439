"""An encoder in a folder that `tools/export_encoder.py` wrote, such as the shipped one.

It runs with onnxruntime and tokenizers on one CPU thread, without PyTorch. A text gets the same
vector whichever others are encoded with it.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from data.search.encoder import EncoderFailed

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Encoding

FILES = ("encoder.json", "tokenizer.json", "model.onnx")
TOGETHER = 16  # texts in one call: more are not faster, and take more memory


class OnnxEncoder:
    """Loads the folder. Raises EncoderFailed if that is not possible."""

    def __init__(self, folder: Path) -> None:
        missing = [name for name in FILES if not (folder / name).is_file()]
        if missing:
            raise EncoderFailed(
                f"The encoder in {folder} cannot be used: {' and '.join(missing)} missing. Convert "
                "a sentence-transformers folder once, where PyTorch is installed: `python -m "
                "tools.export_encoder SOURCE OUT`, and name OUT in [search] encoder."
            )
        try:
            import onnxruntime
            from tokenizers import Tokenizer
        except ImportError as error:
            raise EncoderFailed(
                f"The encoder cannot be used: {error}. Install onnxruntime and tokenizers, or set "
                '[search] encoder = "words".'
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False  # it would keep the memory of the largest batch
        try:
            about = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
            self.name = str(about["name"])
            self.dimensions = int(about["dimensions"])
            self._question_prefix = str(about["question_prefix"])
            self._pair_prefix = str(about["pair_prefix"])
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._tokenizer.enable_truncation(int(about["max_tokens"]))
            self._session = onnxruntime.InferenceSession(
                str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime and tokenizers raise their own kinds
            raise EncoderFailed(f"The encoder in {folder} cannot be loaded: {error}") from error
        self.digest = digest_of(folder)

    def encode(self, texts: Sequence[str], *, questions: bool = False) -> "np.ndarray":
        import numpy as np

        encodings = self._tokenized(texts, questions)
        shortest_first = sorted(range(len(texts)), key=lambda n: len(encodings[n].ids))
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        for start in range(0, len(texts), TOGETHER):
            chosen = shortest_first[start : start + TOGETHER]
            tokens = [encodings[n].ids for n in chosen]
            ids = np.zeros((len(chosen), max(map(len, tokens))), np.int64)
            mask = np.zeros_like(ids)
            for row, some in enumerate(tokens):
                ids[row, : len(some)] = some
                mask[row, : len(some)] = 1
            given = {"input_ids": ids, "attention_mask": mask}
            vectors[chosen] = self._session.run(None, given)[0]
        return vectors

    def count_tokens(self, texts: Sequence[str], *, questions: bool = False) -> int:
        return sum(len(encoding.ids) for encoding in self._tokenized(texts, questions))

    def _tokenized(self, texts: Sequence[str], questions: bool) -> "list[Encoding]":
        prefix = self._question_prefix if questions else self._pair_prefix
        found: list[Encoding] = self._tokenizer.encode_batch([prefix + text for text in texts])
        return found


def digest_of(folder: Path) -> str:
    """What tells the encoder in a folder from every other one."""
    digest = hashlib.sha256()
    for name in FILES:
        digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return digest.hexdigest()[:32]


def plain_tokenizer(text: str) -> str:
    """`tokenizer.json` without the truncation and padding that it may ask for: the caller
    decides."""
    tokenizer = json.loads(text) | {"truncation": None, "padding": None}
    return json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":"))
