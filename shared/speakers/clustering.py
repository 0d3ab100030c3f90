"""Group embeddings by voice.

The embedding of a second of speech is unsure, and one in twenty is of two people. So groups are formed bottom up, those
that hold too little speech are dissolved, and every embedding then goes to the nearest group that is left.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightscribe.shared.model.speakers import SpeakerCount

SAME_VOICE = 0.63  # cosine similarity of the centres of two groups, above which they are one voice
SAME_SMALL = 0.5  # the same for two groups that are each too small to be a speaker: their centres are less sure
FINE = 0.75  # the same for the groups that are formed first of a part of a long recording
RELIABLE_S = 1.0  # of clean speech, without which an embedding forms no group
LEAST_S, LEAST_SHARE, ENOUGH_S = 5.0, 0.04, 15.0
"""A group is a speaker if it has so much clean speech: that share of all of it, within these bounds."""
PART = 1500  # embeddings that are compared with each other at once: bounds memory and time
ROUNDS = 10

Embeddings = NDArray[np.float32]
"""Unit vectors, shape (n, n_dimensions)."""

Weights = NDArray[np.float32]
"""Seconds of clean speech behind each embedding, shape (n,)."""

Labels = NDArray[np.intp]
"""Group of each embedding, counted from 0, shape (n,)."""


def cluster(embeddings: Embeddings, weights: Weights, count: SpeakerCount) -> Labels:
    """Return the group of each embedding. Groups are numbered in the order of their first members.

    There are fewer groups than `count` requests if there are not so many embeddings.
    """
    n = len(embeddings)
    if n == 0:
        return np.zeros(0, dtype=np.intp)
    reliable = weights >= RELIABLE_S
    if not reliable.any():
        reliable[:] = True
    centres, masses = _fine_groups(embeddings[reliable], weights[reliable])
    groups = _chosen(centres, masses, count)
    return in_order(_settled(embeddings, weights, _middles(centres, masses, groups)))


def in_order(labels: Labels) -> Labels:
    """Return the labels numbered from 0 in the order of their first appearance."""
    _, first, group = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.intp)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[group]


def _fine_groups(embeddings: Embeddings, weights: Weights) -> tuple[Embeddings, Weights]:
    """Return at most about PART groups of embeddings that are surely of one voice: their centres and their weights."""
    while len(embeddings) > PART:
        before = len(embeddings)
        parts = [_centres(embeddings[at : at + PART], weights[at : at + PART], FINE) for at in range(0, before, PART)]
        embeddings = np.concatenate([centres for centres, _ in parts])
        weights = np.concatenate([masses for _, masses in parts])
        if len(embeddings) > 0.9 * before:  # a hundred voices in a crowd
            heaviest = np.sort(np.argsort(-weights, kind="stable")[:PART])
            return embeddings[heaviest], weights[heaviest]
    return embeddings, weights


def _centres(embeddings: Embeddings, weights: Weights, threshold: float) -> tuple[Embeddings, Weights]:
    labels = agglomerate(embeddings, weights, threshold=threshold)
    masses = np.bincount(labels, weights=weights).astype(np.float32)
    return _middles(embeddings, weights, labels), masses


def _middles(embeddings: Embeddings, weights: Weights, labels: Labels) -> Embeddings:
    """Return the centre of each group, shape (n_groups, n_dimensions). A label below 0 is no group."""
    return np.stack(
        [_unit((embeddings[labels == g] * weights[labels == g, None]).sum(axis=0)) for g in range(labels.max() + 1)]
    ).astype(np.float32)


def _chosen(centres: Embeddings, masses: Weights, count: SpeakerCount) -> Labels:
    """Return the group of each centre, or -1 for those in groups that are too small to be a speaker."""
    total = float(masses.sum())
    least_s = min(max(LEAST_S, min(LEAST_SHARE * total, ENOUGH_S)), total / 2)
    labels = _with_small_joined(agglomerate(centres, masses, threshold=SAME_VOICE), centres, masses, least_s)
    labels = _without_small(labels, masses, least_s)
    threshold, at_most = SAME_VOICE, count.at_most
    while labels.max() + 1 < count.at_least and threshold < 1:
        threshold, at_most = threshold + 0.05, count.at_least
        least_s *= 0.7
        labels = _without_small(agglomerate(centres, masses, threshold=threshold), masses, least_s)
    if at_most is not None and labels.max() + 1 > at_most:
        kept = labels >= 0
        labels[kept] = agglomerate(centres[kept], masses[kept], threshold=-1, start=labels[kept], n=at_most)
    return labels


def _with_small_joined(labels: Labels, centres: Embeddings, masses: Weights, least_s: float) -> Labels:
    """Return the labels with groups of less speech joined that are more like each other than like any other group.

    Otherwise somebody who says little, in pieces that are not quite alike, would be dissolved among the others.
    """
    labels = labels.copy()
    while True:
        middles = _middles(centres, masses, labels)
        similarity = middles @ middles.T
        np.fill_diagonal(similarity, -np.inf)
        nearest, best = similarity.argmax(axis=1), similarity.max(axis=1)
        small = np.bincount(labels, weights=masses) < least_s
        mutual = nearest[nearest] == np.arange(len(nearest))
        joined = np.flatnonzero(small & small[nearest] & mutual & (best >= SAME_SMALL))
        if len(joined) == 0:
            return labels
        a = joined[best[joined].argmax()]
        labels[labels == nearest[a]] = a
        labels = in_order(labels)


def _without_small(labels: Labels, masses: Weights, least_s: float) -> Labels:
    """Return the labels with -1 for the members of groups with less speech; the largest group always stays."""
    sizes = np.bincount(labels, weights=masses)
    kept = sizes >= min(least_s, sizes.max())
    renumbered = np.where(kept, np.cumsum(kept) - 1, -1)
    return renumbered[labels].astype(np.intp)


def _settled(embeddings: Embeddings, weights: Weights, centres: Embeddings) -> Labels:
    """Return the nearest centre of each embedding, with the centres moved to the middle of their embeddings."""
    labels: Labels = (embeddings @ centres.T).argmax(axis=1)
    for _ in range(ROUNDS):
        used = np.unique(labels)
        centres[used] = _middles(embeddings, weights, np.searchsorted(used, labels))
        before, labels = labels, (embeddings @ centres.T).argmax(axis=1)
        if np.array_equal(before, labels):
            break
    return labels


def agglomerate(
    embeddings: Embeddings, weights: Weights, *, threshold: float, start: Labels | None = None, n: int = 1
) -> Labels:
    """Merge the two groups with the most similar centres, until none are as similar as `threshold` or `n` are left.

    Args: start: groups to begin with; None: each embedding is one. Returns: groups numbered by their first members.
    """
    labels = np.arange(len(embeddings)) if start is None else start.copy()
    n_groups = int(labels.max()) + 1
    sums = np.zeros((n_groups, embeddings.shape[1]), dtype=np.float64)
    np.add.at(sums, labels, embeddings * weights[:, None])
    units = np.stack([_unit(each) for each in sums])
    similarity = units @ units.T
    np.fill_diagonal(similarity, -np.inf)
    nearest = similarity.argmax(axis=1)
    best = similarity[np.arange(n_groups), nearest]
    parents = np.arange(n_groups)
    for _ in range(n_groups - n):
        a = int(best.argmax())
        if best[a] < threshold:
            break
        a, b = sorted((a, int(nearest[a])))
        parents[parents == b] = a
        sums[a] += sums[b]
        units[a] = _unit(sums[a])
        row = units @ units[a]
        row[~np.isfinite(best)] = -np.inf
        row[[a, b]] = -np.inf
        similarity[a] = similarity[:, a] = row
        similarity[b] = similarity[:, b] = -np.inf
        best[b] = -np.inf
        stale = np.flatnonzero(np.isin(nearest, (a, b)) & np.isfinite(best))
        for g in {*stale.tolist(), a}:
            nearest[g] = similarity[g].argmax()
            best[g] = similarity[g, nearest[g]]
        closer = (row > best) & np.isfinite(best)
        nearest[closer], best[closer] = a, row[closer]
    return in_order(parents[labels])


def _unit(vector: NDArray[Any]) -> NDArray[Any]:
    norm = float(np.linalg.norm(vector))
    return vector / norm if norm > 0 else vector
