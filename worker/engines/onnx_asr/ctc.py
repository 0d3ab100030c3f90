"""Decode the output of a CTC model: greedily, or with a beam over prefixes. Pure.

A CTC model gives, for each frame, the probability of each token and of a blank. A text has many alignments with the
frames; blanks and repeats of a token in neighbouring frames do not count. The greedy search takes the likeliest
alignment, the beam search the text whose alignments are likeliest together (Hannun et al. 2014, arXiv:1408.2873).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SKIPPED_BLANK = math.log(0.999)  # a frame that is as certainly blank cannot change the text
CANDIDATES = 12  # tokens of a frame that a beam tries, at most
LEAST = math.log(1e-4)  # less probable tokens of a frame are not tried


class Token(NamedTuple):
    """A token of the text, and the frames in which it is said."""

    id: int
    first: int
    """Index of the first of its frames."""
    end: int
    """Index of the frame after its last one."""
    log_probability: float
    """Natural logarithm of the model's highest probability for the token in one of these frames."""


def greedy(log_probabilities: Floats, blank: int) -> list[Token]:
    """Return the tokens of the likeliest alignment.

    `log_probabilities`: natural logarithms, shape (n_frames, n_tokens). `blank`: id of the blank.
    """
    best = log_probabilities.argmax(axis=1)
    edges = np.flatnonzero(np.diff(best, prepend=-1, append=-1))
    found = []
    for first, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if (token := int(best[first])) != blank:
            found.append(Token(token, first, end, float(log_probabilities[first:end, token].max())))
    return found


@dataclass(slots=True)
class _Prefix:
    """A text that begins as the frames do, with the probability of its alignments, as natural logarithms."""

    tokens: tuple[int, ...]
    blank: float = -math.inf
    """Of the alignments that end with a blank."""
    token: float = -math.inf
    """Of those that end with the last token."""

    @property
    def total(self) -> float:
        return _sum(self.blank, self.token)


def beam(log_probabilities: Floats, blank: int, *, width: int) -> list[Token]:
    """Return the tokens of the text that is likeliest over all of its alignments, among `width` at a time.

    `log_probabilities`: natural logarithms, shape (n_frames, n_tokens). `blank`: id of the blank.
    """
    prefixes: dict[tuple[int, ...], _Prefix] = {(): _Prefix((), blank=0.0)}
    for frame in log_probabilities:
        if frame[blank] > SKIPPED_BLANK:
            for prefix in prefixes.values():
                prefix.blank, prefix.token = prefix.total + float(frame[blank]), -math.inf
            continue
        found: dict[tuple[int, ...], _Prefix] = {}
        candidates = [int(token) for token in _likeliest(frame) if token != blank]
        for tokens, prefix in prefixes.items():
            same = found.setdefault(tokens, _Prefix(tokens))
            same.blank = _sum(same.blank, prefix.total + float(frame[blank]))
            if tokens:
                same.token = _sum(same.token, prefix.token + float(frame[tokens[-1]]))
            for token in candidates:
                # Without a blank between them, two equal tokens are one.
                before = prefix.blank if tokens and token == tokens[-1] else prefix.total
                longer = found.setdefault((*tokens, token), _Prefix((*tokens, token)))
                longer.token = _sum(longer.token, before + float(frame[token]))
        best = sorted(found.values(), key=lambda each: each.total, reverse=True)[:width]
        prefixes = {each.tokens: each for each in best}
    likeliest = max(prefixes.values(), key=lambda each: each.total)
    return align(log_probabilities, likeliest.tokens, blank)


def align(log_probabilities: Floats, tokens: tuple[int, ...], blank: int) -> list[Token]:
    """Return a given text with the frames of its tokens, by its likeliest alignment (Viterbi).

    Raises: ValueError: if there are too few frames for the text.
    """
    if not tokens:
        return []
    n_frames, n_states = len(log_probabilities), 2 * len(tokens) + 1
    states = np.full(n_states, blank)
    states[1::2] = tokens
    may_skip = np.zeros(n_states, bool)  # from one token to the next without a blank, if they differ
    may_skip[3::2] = states[3::2] != states[1:-2:2]
    score = np.full(n_states, -np.inf)
    score[:2] = log_probabilities[0, states[:2]]
    came_from = np.zeros((n_frames, n_states), np.int8)
    for at in range(1, n_frames):
        options = np.full((3, n_states), -np.inf)
        options[0] = score
        options[1, 1:] = score[:-1]
        options[2, 2:] = np.where(may_skip[2:], score[:-2], -np.inf)
        came_from[at] = options.argmax(axis=0)
        score = options.max(axis=0) + log_probabilities[at, states]
    state = n_states - 1 if score[-1] >= score[-2] else n_states - 2
    if score[state] == -np.inf:
        raise ValueError(f"{n_frames} frames are too few for {len(tokens)} tokens")
    path = np.empty(n_frames, int)
    for at in range(n_frames - 1, -1, -1):
        path[at] = state
        state -= int(came_from[at, state])
    found = []
    for n, token in enumerate(tokens):
        frames = np.flatnonzero(path == 2 * n + 1)
        first, end = int(frames[0]), int(frames[-1]) + 1
        found.append(Token(token, first, end, float(log_probabilities[first:end, token].max())))
    return found


def log_softmax(logits: Floats) -> Floats:
    """Return the natural logarithms of the probabilities, along the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), np.float32)


def _likeliest(frame: Floats) -> NDArray[np.intp]:
    n = min(CANDIDATES, len(frame))
    best = np.argpartition(frame, -n)[-n:]
    return best[frame[best] > LEAST]


def _sum(a: float, b: float) -> float:
    """Return log(exp(a) + exp(b))."""
    if a == -math.inf:
        return b
    if b == -math.inf:
        return a
    return max(a, b) + math.log1p(math.exp(-abs(a - b)))
