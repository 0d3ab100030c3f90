"""Each caller has a budget of requests that is refilled at a steady rate."""

from pathlib import Path

from support.api_client import client_of, serving

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


def test_too_many_requests_are_refused_in_the_shape_of_their_api(tmp_path: Path) -> None:
    with serving(tmp_path, requests_per_minute=2) as context, client_of(context) as client:
        ours = {"Authorization": "Bearer sk-mine"}
        statuses = [client.get("/v1/models", headers=ours).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]
        refused = client.get("/v1/models", headers=ours)
        assert 1 <= int(refused.headers["retry-after"]) <= 30
        assert refused.json()["error"]["code"] == "too_many_requests"
        assert client.get("/api/v1/version", headers=ours).json()["code"] == "too_many_requests"
        assert client.get("/healthz", headers=ours).status_code == 200
        assert client.get("/v1/models", headers={"Authorization": "Bearer sk-other"}).status_code == 200
        assert client.post("/asr", content=b"x" * 100, headers=ours).json() == {
            "detail": "There were too many requests. Try again after the given time.",
            "code": "too_many_requests",
        }


def test_nobody_gains_by_making_up_tokens(tmp_path: Path) -> None:
    with serving(tmp_path, requests_per_minute=1) as context, client_of(context) as client:
        statuses = [
            client.get("/v1/models", headers={"Authorization": f"Bearer ns_{n}"}).status_code for n in range(12)
        ]
    assert statuses == [401] * 10 + [429] * 2
