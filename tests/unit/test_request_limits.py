"""Each caller has a budget of requests that is refilled at a steady rate."""

from nightscribe.server.request_limits import RateLimiter


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_caller_may_send_a_burst_and_then_as_many_as_the_rate_allows() -> None:
    clock = Clock()
    limiter = RateLimiter(60, 3, clock=clock)
    assert [limiter.take("a") for _ in range(4)] == [0, 0, 0, 1]
    clock.now += 0.5
    assert limiter.take("a") == 0.5
    clock.now += 0.5
    assert limiter.take("a") == 0
    clock.now += 1000
    assert [limiter.take("a") for _ in range(4)] == [0, 0, 0, 1]


def test_callers_do_not_spend_each_others_budget() -> None:
    limiter = RateLimiter(60, 1, clock=Clock())
    assert [limiter.take("a"), limiter.take("b"), limiter.take("a")] == [0, 0, 1]


def test_memory_is_bounded_and_the_caller_silent_for_longest_is_forgotten() -> None:
    limiter = RateLimiter(60, 1, clock=Clock(), max_callers=2)
    for caller in ("a", "b", "a", "c"):
        limiter.take(caller)
    assert [limiter.take("a"), limiter.take("b")] == [1, 0]
