"""Choose the tokens of a text step by step: greedily, by sampling, or with several beams. Pure.

A decoder computes one step for many texts at once. A search owns the texts about one window, and says after each step
with which tokens they go on, and from which texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

IMPOSSIBLE = -1e9  # the score of a text that does not exist yet


@dataclass(frozen=True)
class Candidates:
    """What a decoder says about the next token of some texts, likeliest first."""

    tokens: NDArray[np.int64]
    """Shape (n_texts, n_candidates)."""
    log_probabilities: NDArray[np.float32]
    """Shape (n_texts, n_candidates)."""

    def without(self, banned: Sequence[int]) -> "Candidates":
        """Return the candidates with the banned ones last, as impossible."""
        is_banned = np.isin(self.tokens, banned)
        order = np.argsort(is_banned, axis=1, kind="stable")
        scores = np.where(is_banned, IMPOSSIBLE, self.log_probabilities).astype(np.float32)
        return Candidates(np.take_along_axis(self.tokens, order, 1), np.take_along_axis(scores, order, 1))


@dataclass(frozen=True)
class Text:
    """A finished text."""

    tokens: tuple[int, ...]
    total: float
    """Sum of the log probabilities of the tokens and of the end of the text."""
    texts: tuple[int, ...]
    """For each step, which of the texts of the search it was then."""

    @property
    def average(self) -> float:
        """Return the mean log probability of a token, as Whisper counts: the end of the text is one."""
        return self.total / (len(self.tokens) + 1)


class Search(Protocol):
    """The texts about one window."""

    def advance(self, candidates: Candidates) -> tuple[Sequence[int], Sequence[int]] | None:
        """Return the next token of each text and the text that it continues, or None if the search is over."""
        ...

    def best(self) -> Text:
        """Return the likeliest text."""
        ...


@dataclass
class Independent:
    """Texts that each take their first candidate: one is a greedy search, several are samples."""

    n_texts: int
    end: int
    limit: int
    """Number of tokens after which to stop."""
    _tokens: list[list[int]] = field(init=False)
    _totals: list[float] = field(init=False)
    _is_over: list[bool] = field(init=False)
    _n: int = 0

    def __post_init__(self) -> None:
        self._tokens = [[] for _ in range(self.n_texts)]
        self._totals = [0.0] * self.n_texts
        self._is_over = [False] * self.n_texts

    def advance(self, candidates: Candidates) -> tuple[Sequence[int], Sequence[int]] | None:
        """See `Search.advance`."""
        chosen = candidates.tokens[:, 0].tolist()
        scores = candidates.log_probabilities[:, 0].tolist()
        self._n += 1
        for n, (token, score) in enumerate(zip(chosen, scores, strict=True)):
            if self._is_over[n]:
                continue
            self._totals[n] += score
            if token == self.end:
                self._is_over[n] = True
            else:
                self._tokens[n].append(token)
        if all(self._is_over) or self._n >= self.limit:
            return None
        return chosen, range(self.n_texts)

    def best(self) -> Text:
        """See `Search.best`."""
        texts = [
            Text(tuple(tokens), total, (n,) * (len(tokens) + 1))
            for n, (tokens, total) in enumerate(zip(self._tokens, self._totals, strict=True))
        ]
        return max(texts, key=lambda text: text.average)


@dataclass
class Beams:
    """A beam search, which ends when as many texts are finished as there are beams."""

    n_texts: int
    end: int
    limit: int
    _tokens: list[tuple[int, ...]] = field(init=False)
    _totals: list[float] = field(init=False)
    _texts: list[tuple[int, ...]] = field(init=False)
    _finished: list[Text] = field(default_factory=list)
    _n: int = 0

    def __post_init__(self) -> None:
        self._tokens = [()] * self.n_texts
        self._totals = [0.0] + [IMPOSSIBLE] * (self.n_texts - 1)
        self._texts = [(n,) for n in range(self.n_texts)]

    def advance(self, candidates: Candidates) -> tuple[Sequence[int], Sequence[int]] | None:
        """See `Search.advance`."""
        totals = np.array(self._totals)[:, None] + candidates.log_probabilities
        order = np.argsort(-totals, axis=None, kind="stable").tolist()
        width = totals.shape[1]
        going_on: list[tuple[int, int, float]] = []
        self._n += 1
        for each in order:
            parent, column = divmod(each, width)
            token, total = int(candidates.tokens[parent, column]), float(totals[parent, column])
            if token == self.end:
                if total > IMPOSSIBLE / 2 and len(self._finished) < self.n_texts:
                    self._finished.append(Text(self._tokens[parent], total, self._texts[parent]))
            else:
                going_on.append((parent, token, total))
                if len(going_on) == self.n_texts:
                    break
        if len(self._finished) >= self.n_texts or self._n >= self.limit or len(going_on) < self.n_texts:
            for parent, token, total in going_on:
                if total > IMPOSSIBLE / 2:
                    self._finished.append(Text((*self._tokens[parent], token), total, self._texts[parent]))
            return None
        return self._continue(going_on)

    def _continue(self, going_on: Sequence[tuple[int, int, float]]) -> tuple[Sequence[int], Sequence[int]]:
        """Give each text that goes on a place, its parent's if that is free, because every move is a copy."""
        places: list[tuple[int, int, float] | None] = [None] * self.n_texts
        moved = []
        for each in going_on:
            if places[each[0]] is None:
                places[each[0]] = each
            else:
                moved.append(each)
        for n, place in enumerate(places):
            if place is None:
                places[n] = moved.pop(0)
        chosen = [place for place in places if place is not None]
        self._tokens = [(*self._tokens[parent], token) for parent, token, _ in chosen]
        self._texts = [(*self._texts[parent], n) for n, (parent, _, _) in enumerate(chosen)]
        self._totals = [total for _, _, total in chosen]
        return [token for _, token, _ in chosen], [parent for parent, _, _ in chosen]

    def best(self) -> Text:
        """See `Search.best`."""
        return max(self._finished, key=lambda text: text.average)
