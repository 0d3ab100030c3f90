"""Directors, workers, a queue and a destination together: everything missing is settled, whatever happens to them."""

import shutil
import threading
from pathlib import Path

import pytest
from support import recordings
from support.servers import SqsServer
from support.waiting import wait_until
from support.workplace import Counted, Dictated, Workplace, WrappedStore, working

from director.director import Director, Settled
from director.scan import Missing
from shared.errors import RetryableError
from shared.queue import JobQueue, connect
from shared.records import Records
from shared.store import FolderStore
from shared.transcript import Failure, Provenance, utc_now


@pytest.fixture
def silences(workplace: Workplace) -> list[str]:
    """Fourteen recordings, done in no time."""
    first = recordings.silence(workplace.source / "00.wav", 0.2)
    names = [f"{n:02}.wav" for n in range(14)]
    for name in names[1:]:
        shutil.copy(first, workplace.source / name)
    return names


def died_over(queue: JobQueue, max_receives: int) -> None:
    """Receive the only job as often as it is given, as workers do that are killed by it."""
    for _ in range(max_receives):
        delivery = queue.receive(wait_s=5)
        assert delivery is not None
        queue.change_visibility(delivery, 0)
    assert queue.receive(wait_s=1) is None


def settled(director: Director, missing: list[Missing]) -> dict[str, Provenance | Failure]:
    """Everything that the director saw settled, by recording."""
    found = [each for each in director.direct(missing, follow=True) if isinstance(each, Settled)]
    by_name = {each.missing.recording.path: each.result for each in found}
    assert len(by_name) == len(found), "something was settled twice"
    return by_name


@pytest.mark.parametrize("window", [7, 12])
def test_no_more_than_a_window_of_jobs_is_ever_outstanding(
    workplace: Workplace, silences: list[str], window: int
) -> None:
    """Counted whenever the director has looked; and all of it is settled in the end."""
    director = workplace.director(window=window)
    most = 0
    done: set[str] = set()
    with working(workplace.worker(Dictated())):
        for step in director.direct(workplace.scan().missing, follow=True):
            counts = workplace.queue.counts()
            most = max(most, counts.queued + counts.in_flight, len(director._outstanding))
            if isinstance(step, Settled):
                done.add(step.missing.recording.path)
    assert done == set(silences)
    assert most <= window


def test_a_director_that_does_not_follow_ends_once_all_is_queued(workplace: Workplace, silences: list[str]) -> None:
    """No worker need be there."""
    list(workplace.director().direct(workplace.scan().missing, follow=False))
    assert workplace.queue.counts().queued == len(silences)


def test_everything_is_settled_as_a_transcript_or_a_reason(
    workplace: Workplace, engine: Counted, clips: list[Path]
) -> None:
    """And a second look finds nothing to do."""
    for n, clip in enumerate(clips[:2]):
        shutil.copy(clip, workplace.source / f"{n}.wav")
    recordings.text_named_mp3(workplace.source / "diary.mp3")
    with working(workplace.worker(engine)):
        results = settled(workplace.director(), workplace.scan().missing)
    assert set(results) == {"0.wav", "1.wav", "diary.mp3"}
    assert isinstance(results["0.wav"], Provenance)
    assert isinstance(results["1.wav"], Provenance)
    assert isinstance(results["diary.mp3"], Failure)
    again = workplace.scan()
    assert again.missing == []
    assert again.n_finished == 2
    assert [failure.recording for failure in again.failed_before] == ["diary.mp3"]
    assert workplace.is_empty()


def test_a_server_that_loses_everything_in_the_middle_costs_nothing_but_time(
    workplace: Workplace, sqs_server: SqsServer, silences: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed, and back with no queue and no message: both are made again, and every recording is finished."""
    monkeypatch.setattr("director.director.STALLED_S", 1.0)
    director = workplace.director(window=8)
    done: set[str] = set()
    restarted = False
    with working(workplace.worker(Dictated())):
        for step in director.direct(workplace.scan().missing, follow=True):
            if isinstance(step, Settled):
                done.add(step.missing.recording.path)
            if done and not restarted:
                restarted = True
                sqs_server.kill()
                sqs_server.start()
    assert restarted
    assert done == set(silences)
    assert workplace.scan().missing == []


def test_jobs_that_only_the_director_remembers_are_sent_again(
    workplace: Workplace, silences: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue is there and empty, and still knows what it was sent: sent as before, nothing would be queued."""
    monkeypatch.setattr("director.director.STALLED_S", 0.5)
    director = workplace.director()
    steps = director.direct(workplace.scan().missing, follow=True)
    assert next(steps) is None
    for _ in silences:
        delivery = workplace.queue.receive(wait_s=5)
        assert delivery is not None
        workplace.queue.delete(delivery)
    assert workplace.is_empty()
    with working(workplace.worker(Dictated())):
        done = {step.missing.recording.path for step in steps if isinstance(step, Settled)}
    assert done == set(silences)


def test_a_job_that_kills_its_workers_becomes_a_failure_that_can_be_tried_again(
    workplace: Workplace, clips: list[Path]
) -> None:
    """It leaves no reason behind, so the next director gives it one; then it is left alone until asked for."""
    shutil.copy(clips[0], workplace.source / "a.wav")
    list(workplace.director().direct(workplace.scan().missing, follow=False))
    died_over(workplace.queue, workplace.settings.max_receives)

    workplace.director().record_dead_letters()
    failure = workplace.records.failure("a.wav")
    assert failure is not None
    assert failure.attempts == 3
    assert "begun 3 times and never finished" in failure.reason
    assert workplace.letters() == []
    left_alone = workplace.scan()
    assert left_alone.missing == []
    assert [each.recording for each in left_alone.failed_before] == ["a.wav"]

    asked_for = workplace.scan(retry_failed=True)
    assert [each.recording.path for each in asked_for.missing] == ["a.wav"]
    with working(workplace.worker(Dictated())):
        results = settled(workplace.director(retry_failed=True), asked_for.missing)
    assert isinstance(results["a.wav"], Provenance)
    assert workplace.records.failure("a.wav") is None


def test_a_recording_that_fails_again_has_its_new_reason(workplace: Workplace) -> None:
    """Not the old one, which would settle it before it was tried."""
    recordings.text_named_mp3(workplace.source / "diary.mp3")
    with working(workplace.worker(Dictated(), name="first")):
        settled(workplace.director(), workplace.scan().missing)
    with working(workplace.worker(Dictated(), name="second")):
        results = settled(workplace.director(retry_failed=True), workplace.scan(retry_failed=True).missing)
    failure = results["diary.mp3"]
    assert isinstance(failure, Failure)
    assert failure.worker == "second"


def test_a_dead_letter_of_a_finished_recording_is_buried(workplace: Workplace, clips: list[Path]) -> None:
    """Somebody else has done it meanwhile: no failure is recorded."""
    shutil.copy(clips[0], workplace.source / "a.wav")
    job = workplace.job("a.wav")
    workplace.queue.send([job], "one")
    died_over(workplace.queue, workplace.settings.max_receives)
    workplace.queue.send([job], "two")
    with working(workplace.worker(Dictated())):
        wait_until(lambda: workplace.records.provenance("a.wav"), 30, "the recording to be finished")
    workplace.director().record_dead_letters()
    assert workplace.records.failure("a.wav") is None
    assert workplace.letters() == []


def test_what_is_finished_is_done_again_when_asked(workplace: Workplace, clips: list[Path]) -> None:
    """Once, and by this run's name, within five minutes of the first time."""
    shutil.copy(clips[0], workplace.source / "a.wav")
    engine = Dictated()
    with working(workplace.worker(engine)):
        settled(workplace.director(), workplace.scan().missing)
        director = workplace.director(redo=True)
        results = settled(director, workplace.scan(redo=True).missing)
        wait_until(workplace.is_empty, what="the queue to be empty")
    assert engine.n_calls == 2
    result = results["a.wav"]
    assert isinstance(result, Provenance)
    assert result.redo == director.run_id


def test_two_directors_and_two_workers_transcribe_each_recording_once(
    workplace: Workplace, engine: Counted, clips: list[Path]
) -> None:
    """Each director queues everything; the queue and the store see to it that nothing is done twice."""
    for n, clip in enumerate(clips):
        shutil.copy(clip, workplace.source / f"{n}.wav")
    missing = workplace.scan().missing
    assert len(missing) == len(clips)
    results: list[dict[str, Provenance | Failure]] = []
    second = connect(workplace.queue.name, visibility_timeout_s=30, max_receives=3)
    second.ensure()
    directors = [workplace.director(), workplace.director()]
    directors[1].queue = second
    threads = [
        threading.Thread(target=lambda director=director: results.append(settled(director, missing)))
        for director in directors
    ]
    workers = [workplace.worker(engine, name="1"), workplace.worker(engine, name="2", queue=second)]
    with working(*workers):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)
        wait_until(workplace.is_empty, 30, "the second message of each job to be gone")
    assert [set(result) for result in results] == [{f"{n}.wav" for n in range(len(clips))}] * 2
    assert engine.n_calls == len(clips)
    assert len(workplace.texts) == 3 * len(clips)


def test_a_store_that_is_away_for_a_moment_does_not_end_the_run(workplace: Workplace, silences: list[str]) -> None:
    """A network share does that; the director looks again."""
    director = workplace.director()
    n_failed = 0
    get = director.records.store.get

    def away_at_first(key: str) -> bytes | None:
        nonlocal n_failed
        if n_failed < 3:
            n_failed += 1
            raise RetryableError("Stale file handle.")
        return get(key)

    director.records = Records(WrappedStore(FolderStore(workplace.dest), lambda _: None))
    director.records.store.get = away_at_first  # type: ignore[method-assign]
    with working(workplace.worker(Dictated())):
        assert settled(director, workplace.scan().missing).keys() == set(silences)
    assert n_failed == 3


def test_a_redo_is_not_settled_by_the_failure_of_an_earlier_one(workplace: Workplace, clips: list[Path]) -> None:
    shutil.copy(clips[0], workplace.source / "a.wav")
    with working(workplace.worker(Dictated())):
        settled(workplace.director(), workplace.scan().missing)
        [again] = workplace.scan(redo=True).missing
        workplace.records.fail(
            Failure(
                recording="a.wav",
                fingerprint=again.fingerprint,
                size=again.recording.size,
                mtime_ns=None,
                reason="The disk was full.",
                attempts=3,
                worker="",
                failed_at=utc_now(),
            )
        )
        results = settled(workplace.director(redo=True), [again])
    assert isinstance(results["a.wav"], Provenance)
