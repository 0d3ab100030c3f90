"""Concurrent calls to slow storage, and sequential calls to fast storage."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def map_concurrently(
    do: Callable[[T], R], items: Iterable[T], max_concurrency: int
) -> Iterator[tuple[T, Callable[[], R]]]:
    """Yield each item in order, with a function that returns or raises what `do(item)` did.

    Up to `max_concurrency` calls run in threads, and no more items are taken ahead than that. If it is 1, there are no
    threads, and `do` is called when the function is.
    """
    if max_concurrency == 1:
        yield from ((item, partial(do, item)) for item in items)
        return
    pool = ThreadPoolExecutor(max_concurrency)
    try:
        begun: deque[tuple[T, Future[R]]] = deque()
        for item in items:
            begun.append((item, pool.submit(do, item)))
            if len(begun) == max_concurrency:
                first, future = begun.popleft()
                yield first, future.result
        for first, future in begun:
            yield first, future.result
    finally:
        pool.shutdown(cancel_futures=True)
