"""Describe a voice by an embedding."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nightscribe.worker.pipeline.diarize.features import Features
from nightscribe.worker.pipeline.diarize.sessions import session


class Embedder:
    """The embedding model in memory."""

    def __init__(self, model: Path, threads: int) -> None:
        self._session = session(model, threads)

    def embedding(self, features: Features) -> NDArray[np.float32]:
        """Return the embedding of the voice in these features, shape (192,)."""
        centred = features - features.mean(axis=0)
        [found] = self._session.run(None, {"features": centred[None]})
        embedding: NDArray[np.float32] = found[0]
        return embedding
