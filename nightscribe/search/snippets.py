"""Mark the words of a query in a passage, and cut the passage to what fits on a line. Pure."""

from collections.abc import Iterable, Iterator, Sequence

from nightscribe.search.folding import Token, tokens
from nightscribe.search.query_language import Term

SNIPPET_CHARS = 160
ELLIPSIS = "…"


def marks(text: str, terms: Iterable[Term]) -> tuple[tuple[int, int], ...]:
    """Return the beginning and end of each place that one of the terms matches, in order and joined if they touch."""
    found = list(tokens(text))
    places = sorted(place for term in terms for place in _places(found, term))
    joined: list[tuple[int, int]] = []
    for start, end in places:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return tuple(joined)


def _places(found: Sequence[Token], term: Term) -> Iterator[tuple[int, int]]:
    n = len(term.tokens)
    for at in range(len(found) - n + 1):
        window = found[at : at + n]
        if all(map(_matches, window, term.tokens, [False] * (n - 1) + [term.is_prefix])):
            last = window[-1]
            # Of a pair of characters, only those that were sought are marked.
            end = last.start + len(term.tokens[-1]) if last.is_unspaced else last.end
            yield window[0].start, min(end, last.end)


def _matches(token: Token, text: str, is_prefix: bool) -> bool:
    return token.text.startswith(text) if is_prefix else token.text == text


def snippet(
    text: str, places: Sequence[tuple[int, int]], n_chars: int = SNIPPET_CHARS
) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Return at most about `n_chars` characters around the first mark, and the marks in them."""
    if len(text) <= n_chars:
        return text, tuple(places)
    first = places[0][0] if places else 0
    start = max(0, min(first - n_chars // 3, len(text) - n_chars))
    end = min(len(text), start + n_chars)
    if start:
        start = _next_space(text, start, first)
    if end < len(text):
        end = max(text.rfind(" ", first + 1, end), 0) or end
    before = ELLIPSIS if start else ""
    after = ELLIPSIS if end < len(text) else ""
    shift = len(before) - start
    inside = tuple((a + shift, min(b, end) + shift) for a, b in places if a >= start and a < end)
    return before + text[start:end] + after, inside


def _next_space(text: str, start: int, at_most: int) -> int:
    space = text.find(" ", start, at_most)
    return space + 1 if space >= 0 else start
