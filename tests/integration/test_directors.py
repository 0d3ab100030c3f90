"""Directors, workers, a queue and a destination together: everything missing is settled, whatever happens to them."""

import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import recordings
from support.servers import SqsServer
from support.waiting import wait_until
from support.workplace import Counted, Dictated, Workplace, WrappedStore, working
from support.workplace import received as next_delivery

from nightscribe.director.backlog import Backlog, PartStored, Settled
from nightscribe.director.enqueue import LAST_LOOK_S, Director
from nightscribe.director.plan.estimate import Rates
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import RetryableError, SetupError
from nightscribe.shared.model.assembly import merge
from nightscribe.shared.model.failure import Failure
from nightscribe.shared.model.jobs import Job, Slice
from nightscribe.shared.model.recording import Unreadable
from nightscribe.shared.model.transcript import Part, Provenance, utc_now
from nightscribe.shared.queue.client import JobQueue, connect
from nightscribe.shared.queue.wire import Delivery
from nightscribe.shared.storage.folder.store import FolderStore

WAV = Rates({".wav": 1 / 32_000})


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
        queue.change_visibility(next_delivery(queue), 0)
    assert queue.receive(wait_s=1) is None


def each_alone(director: Director, missing: Backlog, *, follow: bool) -> Iterator[Settled | PartStored | None]:
    """Directed with jobs so short that each of the silences is one."""
    return director.direct(missing, rates=WAV, job_s=0.2, follow=follow)


def settled(director: Director, missing: Backlog) -> dict[str, Provenance | Failure | Unreadable]:
    """Everything that the director saw settled, by recording."""
    found = [each for each in director.direct(missing, follow=True) if isinstance(each, Settled)]
    by_name = {each.missing.recording.path: each.result for each in found}
    assert len(by_name) == len(found), "something was settled twice"
    return by_name


def received(queue: JobQueue) -> tuple[Delivery, Job]:
    """The next job, which must come."""
    delivery = next_delivery(queue)
    return delivery, Job.from_message(delivery.body)


def store_part(records: Records, job: Job, slice_: Slice) -> None:
    """As a worker does that has transcribed a slice in which nobody speaks; the last one puts them together."""
    part = Part(
        segments=(), engine="by hand", language=None, container_s=None, decoded_s=30.0, processing_s=0.1, flags=()
    )
    records.partial_results.put(job, slice_, part)
    parts = records.partial_results.all(job, slice_)
    if parts is not None:
        records.finish(merge(job, slice_, parts, mtime_ns=None, finished_at=utc_now()), job.formats)
        records.partial_results.drop(slice_.recording)


def fail(records: Records, slice_: Slice, worker: str) -> None:
    """As a worker does that has given up."""
    records.fail(
        Failure(
            recording=slice_.recording,
            fingerprint=slice_.fingerprint,
            size=slice_.size,
            mtime_ns=None,
            reason="It is broken.",
            attempts=1,
            worker=worker,
            failed_at=utc_now(),
        )
    )


@pytest.mark.parametrize("max_queued_jobs", [7, 12])
def test_no_more_jobs_than_max_queued_jobs_are_ever_outstanding(
    workplace: Workplace, silences: list[str], max_queued_jobs: int
) -> None:
    """Counted whenever the director has looked; and all of it is settled in the end."""
    director = workplace.director(max_queued_jobs=max_queued_jobs)
    most_outstanding = most_queued = 0
    done: set[str] = set()
    with working(workplace.worker(Dictated())):
        for step in each_alone(director, workplace.scan().missing, follow=True):
            counts = workplace.queue.counts()
            most_outstanding = max(most_outstanding, len(director._outcomes.jobs))
            most_queued = max(most_queued, counts.queued + counts.in_flight)
            if isinstance(step, Settled):
                done.add(step.missing.recording.path)
    assert done == set(silences)
    assert most_outstanding <= max_queued_jobs
    # What is settled makes room, though its worker may yet have to delete the message.
    assert most_queued <= max_queued_jobs + 1


def test_a_director_that_does_not_follow_ends_once_all_is_queued(workplace: Workplace, silences: list[str]) -> None:
    """No worker need be there."""
    list(each_alone(workplace.director(), workplace.scan().missing, follow=False))
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
    assert not again.missing
    assert again.n_finished == 2
    assert [failure.recording for failure in again.failed_before] == ["diary.mp3"]
    assert workplace.is_empty()


def test_a_server_that_loses_everything_in_the_middle_costs_nothing_but_time(
    workplace: Workplace, sqs_server: SqsServer, silences: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed, and back with no queue and no message: both are made again, and every recording is finished."""
    monkeypatch.setattr("nightscribe.director.lost_jobs.STALLED_S", 1.0)
    director = workplace.director(max_queued_jobs=8)
    done: set[str] = set()
    restarted = False
    with working(workplace.worker(Dictated())):
        for step in each_alone(director, workplace.scan().missing, follow=True):
            if isinstance(step, Settled):
                done.add(step.missing.recording.path)
            if done and not restarted:
                restarted = True
                sqs_server.kill()
                sqs_server.start()
    assert restarted
    assert done == set(silences)
    assert not workplace.scan().missing


def test_a_queue_that_is_lost_before_the_first_look_is_created_again(workplace: Workplace) -> None:
    """Its server restarted between the two first calls of a director, which has nothing to lose yet."""
    director = workplace.director()
    for url in (workplace.queue._url, workplace.queue._dead_url):
        workplace.queue._client.delete_queue(QueueUrl=url)
    director.record_dead_letters()
    assert workplace.is_empty()


def test_a_queue_that_a_worker_has_created_again_is_known_to_be_another(
    workplace: Workplace, sqs_server: SqsServer, silences: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The director never missed it; and it is not empty, since somebody else has sent something by then."""
    monkeypatch.setattr("nightscribe.director.lost_jobs.STALLED_S", 3600.0)
    steps = each_alone(workplace.director(), workplace.scan().missing, follow=True)
    assert [next(steps) for _ in range(2)] == [None, None]
    made_at = float(workplace.queue.counts().made_at)
    sqs_server.kill()
    sqs_server.start()
    wait_until(lambda: time.time() >= made_at + 1, what="another second: queues are dated by them")
    workplace.queue.ensure()
    other = workplace.job(silences[0]).model_copy(update={"redo": "another run"})
    workplace.queue.send([other], "another run")
    wait_until(lambda: next(steps) is None and workplace.queue.counts().queued > len(silences))
    with working(workplace.worker(Dictated())):
        done = [step.missing.recording.path for step in steps if isinstance(step, Settled)]
    assert sorted(done) == silences


def test_jobs_that_only_the_director_remembers_are_sent_again(
    workplace: Workplace, silences: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue is there and empty, and still knows what it was sent: sent as before, nothing would be queued."""
    monkeypatch.setattr("nightscribe.director.lost_jobs.STALLED_S", 0.5)
    director = workplace.director()
    steps = each_alone(director, workplace.scan().missing, follow=True)
    assert next(steps) is None
    for _ in silences:
        workplace.queue.delete(next_delivery(workplace.queue))
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
    assert failure.code == "worker_died"
    assert workplace.dead_letters() == []
    left_alone = workplace.scan()
    assert not left_alone.missing
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


def test_the_letter_of_an_earlier_run_is_not_taken_for_the_reason_of_this_one(workplace: Workplace) -> None:
    """A worker records why it failed, whereupon the run ends; its letter comes when the next one is at work already."""
    recordings.text_named_mp3(workplace.source / "diary.mp3")
    first = workplace.director().direct(workplace.scan().missing, follow=True)
    assert next(first) is None
    late, job = received(workplace.queue)
    fail(workplace.records, job.slices[0], worker="first")
    assert isinstance(next(first), Settled)
    assert list(first) == [None]

    second = workplace.director(retry_failed=True).direct(workplace.scan(retry_failed=True).missing, follow=True)
    assert next(second) is None
    workplace.queue.dead_letter(late, late.body, "It is broken.", worker="first")
    assert next(second) is None
    assert workplace.dead_letters() == []
    assert workplace.records.failure("diary.mp3") is None
    _, job = received(workplace.queue)
    fail(workplace.records, job.slices[0], worker="second")
    found = next(second)
    assert isinstance(found, Settled)
    assert isinstance(found.result, Failure)
    assert found.result.worker == "second"


@pytest.mark.parametrize("run", ["this", "none"])
def test_a_dead_letter_of_this_run_or_of_no_known_one_is_a_reason(workplace: Workplace, run: str) -> None:
    """With the name of who set it aside, if that is known."""
    recordings.text_named_mp3(workplace.source / "diary.mp3")
    fail(workplace.records, workplace.slice_of("diary.mp3"), worker="before")
    director = workplace.director(retry_failed=True)
    steps = director.direct(workplace.scan(retry_failed=True).missing, follow=True)
    assert next(steps) is None
    delivery, _ = received(workplace.queue)
    assert delivery.run == director.run_id
    known = delivery if run == "this" else replace(delivery, run=None)
    workplace.queue.dead_letter(known, delivery.body, "It is broken again.", worker="here-1")
    found = next(step for step in steps if step is not None)
    assert isinstance(found, Settled)
    assert isinstance(found.result, Failure)
    assert (found.result.reason, found.result.worker) == ("It is broken again.", "here-1")


def test_two_directors_that_try_the_same_again_do_not_bury_each_others_letters_for_ever(workplace: Workplace) -> None:
    """Neither would ever learn that its job kills every worker."""
    recordings.text_named_mp3(workplace.source / "diary.mp3")
    fail(workplace.records, workplace.slice_of("diary.mp3"), worker="before")
    steps = workplace.director(retry_failed=True).direct(workplace.scan(retry_failed=True).missing, follow=True)
    assert next(steps) is None
    for n in range(2):
        workplace.queue.send([workplace.job("diary.mp3")], "other", again=n)
        delivery, _ = received(workplace.queue)
        while delivery.run != "other":
            workplace.queue.delete(delivery)
            delivery, _ = received(workplace.queue)
        workplace.queue.dead_letter(delivery, delivery.body, "It killed its worker.")
        found = next(steps)
        assert isinstance(found, Settled) == (n == 1)


def test_short_recordings_are_one_job_and_each_is_settled_by_itself(workplace: Workplace, silences: list[str]) -> None:
    """In the order of the job; what comes after one that is not there is not asked for."""
    steps = workplace.director().direct(workplace.scan().missing, follow=True)
    assert next(steps) is None
    _, job = received(workplace.queue)
    assert [part.recording for part in job.slices] == silences
    for at in (1, 2):
        store_part(workplace.records, job, job.slices[at])
    assert next(steps) is None
    fail(workplace.records, job.slices[0], worker="here")
    found = [step.missing.recording.path for step in (next(steps) for _ in range(3)) if isinstance(step, Settled)]
    assert found == silences[:3]
    for slice_ in job.slices[3:]:
        store_part(workplace.records, job, slice_)
    assert [step.missing.recording.path for step in steps if isinstance(step, Settled)] == silences[3:]


def test_a_recording_that_vanished_before_it_was_queued_is_settled_as_gone(
    workplace: Workplace, silences: list[str]
) -> None:
    missing = workplace.scan().missing
    (workplace.source / silences[3]).unlink()
    steps = workplace.director().direct(missing, follow=True)
    gone = next(steps)
    assert isinstance(gone, Settled)
    assert gone.result == Unreadable("03.wav", "'03.wav' is no longer in the source.")
    assert next(steps) is None
    assert len(received(workplace.queue)[1].slices) == len(silences) - 1


@pytest.fixture
def long(workplace: Workplace) -> Path:
    """Three minutes, which are three slices where a job has a minute."""
    return recordings.silence(workplace.source / "long.wav", 180)


def directed(workplace: Workplace, **options: Any) -> Iterator[Settled | PartStored | None]:
    """With jobs of a minute."""
    missing = workplace.scan(retry_failed="retry_failed" in options).missing
    return workplace.director(**options).direct(missing, rates=WAV, job_s=60.0, follow=True)


@pytest.mark.parametrize("max_queued_jobs", [1, 2, 5000])
def test_a_long_recording_is_settled_once_when_all_its_slices_are_put_together(
    workplace: Workplace, long: Path, max_queued_jobs: int
) -> None:
    """A slice is no longer outstanding once its part is stored, so one job at a time is enough."""
    steps = directed(workplace, max_queued_jobs=max_queued_jobs)
    seen = []
    for step in steps:
        seen.append(step)
        if step is None and (delivery := workplace.queue.receive(wait_s=0)):
            job = Job.from_message(delivery.body)
            store_part(workplace.records, job, job.slices[0])
            workplace.queue.delete(delivery)
    assert [type(step) for step in seen if step is not None] == [PartStored, PartStored, Settled]
    assert sum(step.audio_s for step in seen if isinstance(step, PartStored)) == pytest.approx(120, abs=30)
    assert workplace.texts == ["long.srt", "long.txt", "long.vtt"]
    assert workplace.is_empty()


def test_a_slice_that_fails_settles_its_recording_once_and_no_more_of_it_is_queued(
    workplace: Workplace, long: Path
) -> None:
    recordings.silence(workplace.source / "short.wav", 60)
    steps = directed(workplace, max_queued_jobs=1)
    assert next(steps) is None
    delivery, job = received(workplace.queue)
    fail(workplace.records, job.slices[0], worker="here")
    workplace.queue.dead_letter(delivery, delivery.body, "It is broken.")
    first = next(steps)
    assert isinstance(first, Settled)
    assert first.missing.recording.path == "long.wav"
    wait_until(lambda: next(steps) is None and workplace.queue.counts().queued, what="the next recording to be queued")
    assert [part.recording for part in received(workplace.queue)[1].slices] == ["short.wav"]


def test_a_slice_that_failed_in_this_run_is_not_forgiven_by_its_neighbour(workplace: Workplace, long: Path) -> None:
    """An old failure is forgiven when the first slice is queued, and only then."""
    fail(workplace.records, workplace.slice_of("long.wav"), worker="before")
    steps = directed(workplace, max_queued_jobs=2, retry_failed=True)
    assert next(steps) is None
    assert workplace.records.failure("long.wav") is None
    _, job = received(workplace.queue)
    store_part(workplace.records, job, job.slices[0])
    _, job = received(workplace.queue)
    fail(workplace.records, job.slices[0], worker="here")
    found = [step for step in steps if step is not None]
    assert [type(step) for step in found] == [Settled]
    failure = workplace.records.failure("long.wav")
    assert failure is not None
    assert failure.worker == "here"


def test_slices_that_are_lost_are_sent_again_even_when_all_parts_are_stored(
    workplace: Workplace, long: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker that stored the last one may have died before it put them together."""
    monkeypatch.setattr("nightscribe.director.lost_jobs.STALLED_S", 0.2)
    steps = directed(workplace)
    assert next(steps) is None
    jobs = []
    for _ in range(3):
        delivery, job = received(workplace.queue)
        empty = Part(segments=(), engine="x", language=None, container_s=None, decoded_s=60.0, processing_s=0.1)
        workplace.records.partial_results.put(job, job.slices[0], empty)
        workplace.queue.delete(delivery)
        jobs.append(job)
    assert [type(next(steps)) for _ in range(2)] == [PartStored, PartStored]
    wait_until(lambda: next(steps) is None and workplace.queue.counts().queued, what="the last slice to be sent again")
    _, again = received(workplace.queue)
    assert again == jobs[-1]
    store_part(workplace.records, again, again.slices[0])
    assert [type(step) for step in steps if step is not None] == [Settled]


def test_a_dead_letter_of_a_finished_recording_is_deleted(workplace: Workplace, clips: list[Path]) -> None:
    """Somebody else has done it meanwhile: no failure is recorded."""
    shutil.copy(clips[0], workplace.source / "a.wav")
    job = workplace.job("a.wav")
    workplace.queue.send([job], "one")
    died_over(workplace.queue, workplace.settings.max_receives)
    workplace.queue.send([job], "two")
    with working(workplace.worker(Dictated())):
        wait_until(lambda: workplace.records.provenance("a.wav"), what="the recording to be finished")
    workplace.director().record_dead_letters()
    assert workplace.records.failure("a.wav") is None
    assert workplace.dead_letters() == []


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
    results: list[dict[str, Provenance | Failure | Unreadable]] = []
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
            thread.join(120)
        assert not any(thread.is_alive() for thread in threads)
        wait_until(workplace.is_empty, what="the second message of each job to be gone")
    assert [set(result) for result in results] == [{f"{n}.wav" for n in range(len(clips))}] * 2
    assert engine.n_calls == len(clips)
    assert len(workplace.texts) == 3 * len(clips)


def test_a_store_that_is_away_for_a_moment_does_not_end_the_run(workplace: Workplace, silences: list[str]) -> None:
    """A network share does that; the director looks again."""
    director = workplace.director()
    n_failed = 0
    ends = director.records.store.ends

    def away_at_first(key: str, n_first: int, n_last: int) -> tuple[bytes, bytes] | None:
        nonlocal n_failed
        if n_failed < 3:
            n_failed += 1
            raise RetryableError("Stale file handle.")
        return ends(key, n_first, n_last)

    director.records = director._outcomes.records = Records(WrappedStore(FolderStore(workplace.dest), lambda _: None))
    director.records.store.ends = away_at_first  # type: ignore[method-assign]
    with working(workplace.worker(Dictated())):
        assert settled(director, workplace.scan().missing).keys() == set(silences)
    assert n_failed == 3


@pytest.fixture
def left_behind(workplace: Workplace, silences: list[str]) -> tuple[Director, set[str]]:
    """A director that has ended after its first look, and the recordings that are done since."""
    director = workplace.director()
    assert next(each_alone(director, workplace.scan().missing, follow=True)) is None
    done = set()
    for _ in range(3):
        _, job = received(workplace.queue)
        for slice_ in job.slices:
            store_part(workplace.records, job, slice_)
            done.add(slice_.recording)
    assert len(done) < len(silences)
    return director, done


def test_a_last_look_tells_what_was_done_since_and_needs_no_queue_for_it(
    left_behind: tuple[Director, set[str]], sqs_server: SqsServer
) -> None:
    """Its server is mostly about to end as well."""
    director, done = left_behind
    sqs_server.kill()
    told = [event.missing.recording.path for event in director.last_look() if isinstance(event, Settled)]
    assert sorted(told) == sorted(done)
    assert list(director.last_look()) == []


@pytest.mark.parametrize("trouble", [RetryableError("Stale file handle."), SetupError("It is refused.")])
def test_a_last_look_at_a_store_that_is_away_tells_nothing_and_is_no_error(
    left_behind: tuple[Director, set[str]], trouble: Exception
) -> None:
    director, _ = left_behind
    director._outcomes.records = Records(WrappedStore(FolderStore(director.records.store.root), lambda _: None))

    def away(*_: object) -> None:
        raise trouble

    director._outcomes.records.store.ends = away
    assert list(director.last_look()) == []


def test_a_last_look_does_not_wait_for_a_store_that_is_slow(left_behind: tuple[Director, set[str]]) -> None:
    """It may be one of thousands of calls, each of which takes a moment."""
    director, done = left_behind
    now = 0.0
    director.clock = lambda: now
    look = director.last_look()
    assert isinstance(next(look), Settled)
    now = LAST_LOOK_S + 1
    assert list(look) == []
    assert len(done) > 1


@pytest.mark.parametrize("n_told", [1, 13, 14])
def test_who_is_interrupted_while_a_job_is_told_is_told_the_others_by_the_last_look(
    workplace: Workplace, silences: list[str], n_told: int
) -> None:
    """Each of its recordings once."""
    director = workplace.director()
    steps = director.direct(workplace.scan().missing, follow=True)
    assert next(steps) is None
    _, job = received(workplace.queue)
    for slice_ in job.slices:
        store_part(workplace.records, job, slice_)
    told = [next(steps) for _ in range(n_told)]
    steps.close()
    told += director.last_look()
    assert [event.missing.recording.path for event in told if isinstance(event, Settled)] == silences


def test_a_redo_is_not_settled_by_the_failure_of_an_earlier_one(workplace: Workplace, clips: list[Path]) -> None:
    shutil.copy(clips[0], workplace.source / "a.wav")
    with working(workplace.worker(Dictated())):
        settled(workplace.director(), workplace.scan().missing)
        missing = workplace.scan(redo=True).missing
        fail(workplace.records, workplace.slice_of("a.wav"), worker="")
        results = settled(workplace.director(redo=True), missing)
    assert isinstance(results["a.wav"], Provenance)
