"""Call slow storage concurrently, and fast storage sequentially."""

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
    """Yield each item in order, with a function that returns the result of `do(item)` or raises its error.

    Up to `max_concurrency` calls run in threads, and no more items than that are taken ahead. If it is 1, no thread is
    started, and `do` runs when the function is called.
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
