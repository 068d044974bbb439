"""An encoder behind an address that answers like OpenAI's `/v1/embeddings`, such as vLLM's."""

import hashlib
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from data import engine_http
from data.search.encoder import EncoderFailed

if TYPE_CHECKING:
    import numpy as np

TIMEOUT_S = 10.0
TOGETHER = 64  # texts in one request
PROBE = "When does the library open?"


class EmbeddingsApi:
    """Asks the address for its model and for one vector. Raises EncoderFailed if it cannot."""

    def __init__(self, url: str, model: str = "", key: str = "") -> None:
        self._root = url.rstrip("/").removesuffix("/embeddings")
        self._key = key
        self._model = model or self._first_model()
        self.name = self._model
        self.dimensions = len(self._request([PROBE])[0])
        told = f"{self._root}\n{self._model}\n{self.dimensions}"
        self.digest = hashlib.sha256(told.encode()).hexdigest()[:32]

    def encode(self, texts: Sequence[str], *, questions: bool = False) -> "np.ndarray":
        import numpy as np

        del questions  # such a service does not tell them apart
        found = [
            vector
            for start in range(0, len(texts), TOGETHER)
            for vector in self._request(texts[start : start + TOGETHER])
        ]
        if any(len(vector) != self.dimensions for vector in found):
            raise EncoderFailed(f"{self._root} changed the length of its vectors.")
        vectors = np.asarray(found, np.float32).reshape(len(texts), self.dimensions)
        lengths: np.ndarray = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(lengths).all() or not (lengths > 0).all():
            raise EncoderFailed(f"{self._root} answered with a vector that cannot be used.")
        vectors /= lengths
        return vectors

    def count_tokens(self, texts: Sequence[str], *, questions: bool = False) -> int:
        del texts, questions
        return 0  # only the service knows

    def _first_model(self) -> str:
        try:
            return str(self._fetch("/models")["data"][0]["id"])
        except (KeyError, IndexError, TypeError) as error:
            raise EncoderFailed(f"{self._root} lists no model. Set [search] model.") from error

    def _request(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each text, in order."""
        answer = self._fetch("/embeddings", {"model": self._model, "input": list(texts)})
        try:
            found = {int(item["index"]): item["embedding"] for item in answer["data"]}
            return [[float(x) for x in found[n]] for n in range(len(texts))]
        except (KeyError, TypeError, ValueError) as error:
            raise EncoderFailed(f"{self._root} does not answer like /v1/embeddings.") from error

    def _fetch(self, path: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 # the address is the operator's own
            self._root + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"}
            | ({"Authorization": f"Bearer {self._key}"} if self._key else {}),
        )
        try:
            opener = engine_http.opener_with_proxies()
            with opener.open(request, timeout=TIMEOUT_S) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise EncoderFailed(f"{self._root}{path} answered {error.code}.") from error
        except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
            raise EncoderFailed(f"{self._root}{path} cannot be reached: {error}") from error
