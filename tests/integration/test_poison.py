"""No message ends a worker or stays for ever, whatever is in it: it is done, or a dead letter after three receives."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.waiting import wait_until
from support.workplace import Dictated, Workplace, Wrapped, working

from nightscribe.shared.errors import MachineError, ModelUnavailable
from nightscribe.shared.model.jobs import Options
from nightscribe.worker.engines.allowed import AllowedModels
from nightscribe.worker.loop import Worker
from nightscribe.worker.pipeline.models import Models
from nightscribe.worker.pipeline.transcriber import Transcriber

OWN = ("faster-whisper", "tiny.en")


@pytest.fixture
def worker(workplace: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """A worker that has tiny.en in memory, finds no other weights, and retries at once."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    workplace.settings = workplace.settings.model_copy(update={"retry_delay_s": 0})
    allowed = AllowedModels(OWN[1], (), tmp_path / "models")
    models = Models(tmp_path / "models", threads=1, allowed=allowed)
    models._transcriber, models._loaded = Transcriber(Dictated()), (*OWN, "auto")
    worker = workplace.worker(Dictated())
    worker.transcriber_for = models.transcriber
    return worker


@pytest.fixture
def job(workplace: Workplace, clips: list[Path]) -> dict[str, Any]:
    """A good job, as JSON has it."""
    shutil.copy(clips[0], workplace.source / "a.wav")
    good: dict[str, Any] = json.loads(workplace.job("a.wav").to_message())
    return good


def send(workplace: Workplace, body: str, name: str) -> None:
    """Queue a message as another program would."""
    workplace.queue._client.send_message(
        QueueUrl=workplace.queue._url, MessageBody=body, MessageGroupId=name, MessageDeduplicationId=name
    )


def options(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Change the options of a job."""
    return lambda job: job | {"options": job["options"] | changes}


@pytest.mark.parametrize(
    ("change", "code", "why"),
    [
        (options(model="large-v3"), "model_unavailable", "could not be downloaded"),
        (options(model="no-such-model"), "model_refused", "do not allow it"),
        (options(model="/etc/passwd"), "model_refused", "do not allow it"),
        (options(engine="no-such-engine"), "model_unavailable", "no engine named"),
        (options(engine="elsewhere"), "model_unavailable", "is not installed"),
        (options(language="vi"), "model_unavailable", "knows only English"),
        (options(task="translate"), "model_unavailable", "knows only English"),
    ],
)
def test_a_model_that_cannot_be_loaded_fails_its_recording_and_ends_no_worker(
    workplace: Workplace,
    worker: Worker,
    job: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[dict[str, Any]], dict[str, Any]],
    code: str,
    why: str,
) -> None:
    """Other workers may have it, so it is tried three times; jobs behind it are done all the while, without a rest."""
    from nightscribe.shared.model import engines

    missing = engines.EngineSpec(
        name="elsewhere", load="x:y", requires="no_such_module", install="x", speed=1.0, models=frozenset({"tiny.en"})
    )
    monkeypatch.setitem(engines._registered, "elsewhere", missing)
    shutil.copy(workplace.source / "a.wav", workplace.source / "b.wav")
    send(workplace, json.dumps(change(job)), "poison")
    workplace.queue.send([workplace.job("b.wav")], "run")
    with working(worker):
        wait_until(workplace.is_empty, what="both jobs to be done with")
    assert workplace.texts == ["b.srt", "b.txt", "b.vtt"]
    failure = workplace.records.failure("a.wav")
    assert failure is not None
    assert (failure.code, failure.attempts) == (code, 3)
    assert why in failure.reason
    [letter] = workplace.dead_letters()
    assert letter.reason == failure.reason


def test_a_message_that_is_too_large_for_a_reason_is_left_to_the_redrive_policy(
    workplace: Workplace, worker: Worker, job: dict[str, Any]
) -> None:
    """No message attribute fits beside it, so the queue refuses the dead letter that a worker would write."""
    refused: list[str] = []

    def refuse(send_batch: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        if arguments["QueueUrl"] == workplace.queue._dead_url:
            from botocore.exceptions import ClientError

            refused.append(arguments["Entries"][0]["MessageBody"])
            code = {"Code": "AWS.SimpleQueueService.BatchRequestTooLong", "Message": "too long"}
            raise ClientError({"Error": code, "ResponseMetadata": {"HTTPStatusCode": 400}}, "SendMessageBatch")
        return send_batch(**arguments)

    worker.queue._client = Wrapped(workplace.queue._client, "send_message_batch", refuse)
    body = "x" * 200_000
    send(workplace, body, "poison")
    workplace.queue.send([workplace.job("a.wav")], "run")
    with working(worker):
        wait_until(workplace.is_empty, what="both to be done with")
    assert refused == [body] * 3
    assert [letter.body for letter in workplace.dead_letters()] == [body]
    assert workplace.texts == ["a.srt", "a.txt", "a.vtt"]


def test_a_job_that_takes_more_bytes_when_it_is_written_again_fails_like_another(
    workplace: Workplace, worker: Worker, job: dict[str, Any]
) -> None:
    """Another program wrote it without escapes; its dead letter has the message as it came."""
    job["slices"][0]["recording"] = "gone.wav"
    job["redo"] = "é" * 60_000
    body = json.dumps(job, ensure_ascii=False)
    send(workplace, body, "poison")
    with working(worker):
        wait_until(workplace.is_empty, what="it to be done with")
    assert [letter.body for letter in workplace.dead_letters()] == [body]


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**18, 10**400, -1, 1e308, 0.5, 2**63])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["../x", "/etc/passwd", "a/../../b", ".nightscribe/x", "a\u0000b", "x" * 5000, "~", "a/"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def changed(draw: st.DrawFn, value: Any) -> Any:
    """A value of JSON in which something is another."""
    if isinstance(value, dict) and value and draw(st.integers(0, 9)):
        key = draw(st.sampled_from(sorted(value)))
        return {**value, key: draw(changed(value[key]))}
    if isinstance(value, list) and value and draw(st.integers(0, 9)):
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], draw(changed(value[at])), *value[at + 1 :]]
    return draw(ANYTHING)


@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@example(data=None)
def test_any_message_reaches_an_end_within_three_receives(
    workplace: Workplace, worker: Worker, job: dict[str, Any], data: Any
) -> None:
    """It is deleted or a dead letter after three receives at most, and nothing that it holds raises an error."""
    if data is None:
        body = "[" * 100_000
    elif data.draw(st.booleans()):
        body = json.dumps(data.draw(changed(job)))
    else:
        body = data.draw(st.text(st.characters(codec="utf-8", min_codepoint=32), min_size=1, max_size=50))
    number = next(NUMBERS)
    send(workplace, body, str(number))
    for _ in range(4):
        delivery = workplace.queue.receive(wait_s=0)
        if delivery is None:
            break
        assert delivery.receive_count <= 3
        worker._handle(delivery, worker.clock())
    assert workplace.queue.receive(wait_s=0) is None
    assert workplace.is_empty()


NUMBERS = iter(range(10**9))


def test_options_of_a_job_are_checked_before_the_model_in_memory_is_dropped(worker: Worker) -> None:
    """A message for a model that is nowhere must not cost the next job the seconds of a new load."""
    models = worker.transcriber_for.__self__  # type: ignore[attr-defined]
    before = models._transcriber
    with pytest.raises(Exception, match="could not be downloaded"):
        models.transcriber(Options(engine="faster-whisper", model="small"))
    assert models._transcriber is before


def test_weights_that_vanish_are_trouble_of_the_machine_if_they_are_the_workers_own(worker: Worker) -> None:
    """They were there when the worker started, so that is nothing that a job asks for in vain."""
    models = worker.transcriber_for.__self__  # type: ignore[attr-defined]
    models._own, models._transcriber = OWN, None
    for engine in (OWN[0], "auto"):
        with pytest.raises(MachineError, match="could not be downloaded"):
            models.transcriber(Options(engine=engine, model=OWN[1]))
    with pytest.raises(ModelUnavailable, match="knows only English"):
        models.transcriber(Options(engine=OWN[0], model=OWN[1], language="vi"))
    with pytest.raises(ModelUnavailable, match="could not be downloaded"):
        models.transcriber(Options(engine=OWN[0], model="small"))
