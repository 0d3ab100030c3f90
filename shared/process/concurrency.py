"""Several calls at a time to what answers slowly, and one after the other to what does not."""

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
    """Each item in its order with what gives, or raises, what came of it.

    `at_once` are in work in threads of their own while the first of them is waited for; if that is one, it is done
    when it is asked for. No more items are taken ahead.
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
