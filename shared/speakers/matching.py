"""Decide which speakers of several recordings are one person."""

import numpy as np

from nightscribe.shared.model.speakers import Embedding

SAME_PERSON = 0.6  # cosine similarity above which speakers of two recordings are one person
ENOUGH_S = 5.0  # a speaker with less clean speech is compared with nobody, because its embedding is unsure


def similarity(one: Embedding, other: Embedding) -> float:
    """Return the cosine similarity of two embeddings, from -1 to 1."""
    return float(np.dot(one, other))
