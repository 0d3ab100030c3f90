"""Group embeddings by voice."""

import numpy as np
from numpy.typing import NDArray

from nightscribe.shared.model.speakers import SpeakerCount

SAME_VOICE = 0.5  # average cosine similarity above which two groups of embeddings are one voice

Embeddings = NDArray[np.float32]
"""Unit vectors, shape (n, n_dimensions)."""

Labels = NDArray[np.intp]
"""Group of each embedding, counted from 0, shape (n,)."""


def cluster(embeddings: Embeddings, weights: NDArray[np.float32], count: SpeakerCount) -> Labels:
    """Return the group of each embedding. Groups are numbered in the order of their first members.

    Args: embeddings: one for each local voice. weights: seconds of clean speech behind each, shape (n,).
    """
    n = len(embeddings)
    if n == 0:
        return np.zeros(0, dtype=np.intp)
    labels = np.arange(n)
    sums = embeddings * weights[:, None]
    mass = weights.astype(np.float64)
    while (left := np.unique(labels)).size > count.at_least:
        means = sums[left] / mass[left, None]
        similarity = means @ means.T
        np.fill_diagonal(similarity, -np.inf)
        a, b = np.unravel_index(int(similarity.argmax()), similarity.shape)
        is_too_many = count.at_most is not None and left.size > count.at_most
        if similarity[a, b] < SAME_VOICE and not is_too_many:
            break
        first, second = sorted((left[a], left[b]))
        labels[labels == second] = first
        sums[first] += sums[second]
        mass[first] += mass[second]
    return in_order(labels)


def in_order(labels: Labels) -> Labels:
    """Return the labels numbered from 0 in the order of their first appearance."""
    _, first, group = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.intp)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[group]
