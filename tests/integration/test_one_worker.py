"""A worker on a real queue, with a real folder and a real model: what becomes of a job, good or bad."""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import recordings
from support.waiting import wait_until
from support.workplace import Counted, Dictated, Workplace, Wrapped, WrappedStore, working

from shared.errors import RetryableError, SetupError
from shared.names import PARTS, TRANSCRIPTS
from shared.store import FolderStore
from shared.transcript import Flag, Part, Segment


def part(text: str) -> Part:
    """The result of a slice, as an earlier worker left it."""
    said = Segment(
        start_s=0,
        end_s=1,
        text=text,
        average_log_probability=-0.1,
        no_speech_probability=0,
        compression_ratio=1,
    )
    return Part(segments=(said,), engine="earlier 1", language="en", container_s=3.0, decoded_s=3.0, processing_s=1.0)


def retried_at_once(workplace: Workplace) -> list[int]:
    """Let returned jobs come back without delay; gives the delays that were asked for, as they come."""
    asked: list[int] = []

    def shorten(change: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        asked.append(arguments["VisibilityTimeout"])
        return change(**(arguments | {"VisibilityTimeout": 0}))

    queue = workplace.queue
    queue._client = Wrapped(queue._client, "change_message_visibility", shorten)
    return asked


def test_a_job_becomes_its_texts_and_its_record(workplace: Workplace, engine: Counted, clips: list[Path]) -> None:
    """All formats, beside each other, in a folder like the source's; the message is gone, and nothing else is left."""
    (workplace.source / "1859").mkdir()
    shutil.copy(clips[0], workplace.source / "1859" / "london.wav")
    job = workplace.job("1859/london.wav")
    workplace.queue.send([job], "run")
    with working(workplace.worker(engine)):
        wait_until(workplace.is_empty, 30, "the job to be done")
    assert workplace.texts == ["1859/london.srt", "1859/london.txt", "1859/london.vtt"]
    assert "best of times" in (workplace.dest / "1859/london.txt").read_text()
    assert (workplace.dest / "1859/london.vtt").read_text().startswith("WEBVTT")
    assert "00:00:0" in (workplace.dest / "1859/london.srt").read_text()
    made = workplace.records.transcript("1859/london.wav")
    assert made is not None
    assert (made.fingerprint, made.size) == (job.slices[0].fingerprint, job.slices[0].size)
    assert made.options == job.options
    assert made.engine == engine.name
    assert made.decoded_s == pytest.approx(3.0, abs=0.05)
    assert made.flags == ()
    kept = [key for key in workplace.records.store.walk(".nightscribe/") if not key.startswith(TRANSCRIPTS)]
    assert kept == []
    assert workplace.letters() == []


def test_a_recording_in_which_nobody_speaks_is_finished_and_flagged(workplace: Workplace, engine: Counted) -> None:
    """It has its files, empty of words, so that no later run takes it for missing."""
    recordings.noise(workplace.source / "rain.wav", 5)
    workplace.queue.send([workplace.job("rain.wav")], "run")
    with working(workplace.worker(engine)):
        wait_until(workplace.is_empty, 30, "the job to be done")
    made = workplace.records.transcript("rain.wav")
    assert made is not None
    assert (made.segments, made.flags) == ((), (Flag.NO_SPEECH,))
    assert workplace.texts == ["rain.srt", "rain.txt", "rain.vtt"]
    assert not workplace.scan().missing


def test_a_job_queued_twice_is_done_once(workplace: Workplace, engine: Counted, clips: list[Path]) -> None:
    """The second delivery finds the work done and deletes itself."""
    shutil.copy(clips[0], workplace.source / "a.wav")
    job = workplace.job("a.wav")
    workplace.queue.send([job], "one")
    workplace.queue.send([job], "two")
    with working(workplace.worker(engine, name="1"), workplace.worker(engine, name="2")):
        wait_until(workplace.is_empty, 30, "both messages to be gone")
    assert engine.n_calls == 1
    assert workplace.records.provenance("a.wav") is not None


@pytest.mark.parametrize(
    ("make", "bad"),
    [
        (recordings.text_named_mp3, "bad.mp3"),
        (recordings.header_only_wav, "bad.wav"),
        (recordings.video_without_sound, "bad.mp4"),
    ],
)
@pytest.mark.parametrize("order", ["bad first", "bad last"])
def test_one_bad_recording_of_a_job_fails_alone(
    workplace: Workplace, clips: list[Path], make: Callable[[Path], Path], bad: str, order: str
) -> None:
    """The good one is stored; the bad one has its reason on record and in the dead letter, which names no other."""
    shutil.copy(clips[0], workplace.source / "good.wav")
    make(workplace.source / bad)
    names = [bad, "good.wav"] if order == "bad first" else ["good.wav", bad]
    workplace.queue.send([workplace.job(*names)], "run")
    with working(workplace.worker(Dictated())):
        wait_until(workplace.is_empty, 30, "the job to be done with")
    assert workplace.texts == ["good.srt", "good.txt", "good.vtt"]
    failure = workplace.records.failure(bad)
    assert failure is not None
    assert (failure.recording, failure.attempts, failure.worker) == (bad, 1, "worker")
    assert failure.reason.endswith("."), "a reason is a sentence"
    [letter] = workplace.letters()
    assert letter.reason == failure.reason
    assert letter.body == workplace.job(bad).to_message()
    assert workplace.records.failure("good.wav") is None


def test_messages_that_are_no_jobs_are_set_aside_and_the_worker_goes_on(
    workplace: Workplace, clips: list[Path]
) -> None:
    """Malformed, foreign, from a newer version, or leading out of the source: each with the reason, none twice."""
    shutil.copy(clips[0], workplace.source / "a.wav")
    job = workplace.job("a.wav")
    newer = job.to_message().replace('"version":1', '"version":2')
    outside = job.to_message().replace('"recording":"a.wav"', '"recording":"../a.wav"')
    assert len({newer, outside, job.to_message()}) == 3
    bodies = ["not JSON at all", '{"Records": [{"eventSource": "aws:s3"}]}', newer, outside]
    for n, body in enumerate(bodies):
        workplace.queue._client.send_message(
            QueueUrl=workplace.queue._url, MessageBody=body, MessageGroupId=str(n), MessageDeduplicationId=str(n)
        )
    workplace.queue.send([job], "run")
    with working(workplace.worker(Dictated())):
        wait_until(workplace.is_empty, 30, "all to be done with")
    assert workplace.records.provenance("a.wav") is not None
    letters = workplace.letters()
    assert sorted(letter.body for letter in letters) == sorted(bodies)
    assert all("not a job of this version" in (letter.reason or "") for letter in letters)


@pytest.mark.parametrize("new_size", ["same", "other"])
def test_a_recording_changed_after_it_was_queued_is_left_to_the_next_run(
    workplace: Workplace, clips: list[Path], new_size: str
) -> None:
    """It fails with that reason, and the next run of a director takes it as it is then, unasked."""
    recording = workplace.source / "a.wav"
    shutil.copy(clips[0], recording)
    workplace.queue.send([workplace.job("a.wav")], "run")
    if new_size == "same":
        recording.write_bytes(clips[1].read_bytes())
        assert recording.stat().st_size == clips[0].stat().st_size
    else:
        recording.write_bytes(recordings.beckett().read_bytes())
    with working(workplace.worker(Dictated())):
        wait_until(workplace.is_empty, 30, "the job to be done with")
        failure = workplace.records.failure("a.wav")
        assert failure is not None
        assert "changed after it was queued" in failure.reason
        assert workplace.texts == []
        director = workplace.director()
        director.record_dead_letters()
        scan = workplace.scan()
        assert [missing.recording.path for missing in scan.missing] == ["a.wav"]
        list(director.direct(scan.missing, follow=True))
    assert workplace.texts == ["a.srt", "a.txt", "a.vtt"]
    assert workplace.records.failure("a.wav") is None


def test_a_recording_changed_while_it_is_transcribed_is_not_stored(workplace: Workplace, clips: list[Path]) -> None:
    """Nobody knows which sound was heard; the next run takes it as it is then, unasked."""
    recording = workplace.source / "a.wav"
    shutil.copy(clips[0], recording)
    workplace.queue.send([workplace.job("a.wav")], "run")
    with working(workplace.worker(Dictated(before=lambda: recording.write_bytes(clips[1].read_bytes())))):
        wait_until(workplace.is_empty, 30, "the job to be done with")
    assert workplace.texts == []
    assert workplace.records.provenance("a.wav") is None
    failure = workplace.records.failure("a.wav")
    assert failure is not None
    assert "changed while it was transcribed" in failure.reason
    assert [missing.recording.path for missing in workplace.scan().missing] == ["a.wav"]


def test_trouble_that_passes_costs_a_delay_and_nothing_else(workplace: Workplace, clips: list[Path]) -> None:
    """The job comes back and is done; no failure is recorded."""
    shutil.copy(clips[0], workplace.source / "a.wav")
    troubles = [RetryableError("The share is away.")]

    def once(key: str) -> None:
        if key.startswith(PARTS) and troubles:
            raise troubles.pop()

    asked = retried_at_once(workplace)
    workplace.queue.send([workplace.job("a.wav")], "run")
    with working(workplace.worker(Dictated(), store=WrappedStore(FolderStore(workplace.dest), once))):
        wait_until(workplace.is_empty, 30, "the job to be done")
    assert asked == [10]
    assert workplace.texts == ["a.srt", "a.txt", "a.vtt"]
    assert workplace.records.failure("a.wav") is None
    assert workplace.letters() == []


def test_trouble_that_stays_is_waited_out_longer_each_time_and_then_recorded(
    workplace: Workplace, clips: list[Path]
) -> None:
    """Three tries with a growing delay; then a failure record and a dead letter, with the reason in both."""
    shutil.copy(clips[0], workplace.source / "a.wav")
    shutil.copy(clips[1], workplace.source / "b.wav")

    def never(key: str) -> None:
        if key.startswith(PARTS + "a.wav"):
            raise RetryableError("The share is away.")

    asked = retried_at_once(workplace)
    # The second slice is never reached, and must not vanish with the first.
    workplace.queue.send([workplace.job("a.wav", "b.wav")], "run")
    with working(workplace.worker(Dictated(), store=WrappedStore(FolderStore(workplace.dest), never))):
        wait_until(workplace.is_empty, 30, "the job to be done with")
    assert asked == [10, 40]
    for name in ("a.wav", "b.wav"):
        failure = workplace.records.failure(name)
        assert failure is not None
        assert failure.reason == "The share is away. Tried 3 times."
        assert failure.attempts == 3
    [letter] = workplace.letters()
    assert letter.reason == "The share is away. Tried 3 times."
    assert letter.body == workplace.job("a.wav", "b.wav").to_message()
    assert workplace.texts == []


def test_an_unexpected_error_is_tried_again_and_then_recorded(workplace: Workplace, clips: list[Path]) -> None:
    """A mistake of an engine is no end of the night: the worker goes on with what else there is."""

    def stumble() -> None:
        raise ZeroDivisionError("no frames")

    shutil.copy(clips[0], workplace.source / "a.wav")
    retried_at_once(workplace)
    engine = Dictated(before=stumble)
    workplace.queue.send([workplace.job("a.wav")], "run")
    with working(workplace.worker(engine)):
        wait_until(workplace.is_empty, 30, "the job to be done with")
    assert engine.n_calls == 3
    failure = workplace.records.failure("a.wav")
    assert failure is not None
    assert "Unexpected ZeroDivisionError: no frames" in failure.reason


def test_a_destination_that_is_away_for_good_still_leaves_its_reason(workplace: Workplace, clips: list[Path]) -> None:
    """No record can be written there; the dead letter says why, and the next director writes it down."""
    shutil.copy(clips[0], workplace.source / "a.wav")
    retried_at_once(workplace)
    away = workplace.dest.with_name("away")
    workplace.dest.rename(away)
    workplace.dest.write_text("a file where the folder was")
    workplace.queue.send([workplace.job("a.wav")], "run")
    with working(workplace.worker(Dictated())):
        [letter] = wait_until(workplace.letters, 10, "the job to be set aside")
    assert "Cannot write" in (letter.reason or "")
    workplace.dest.unlink()
    away.rename(workplace.dest)
    workplace.director().record_dead_letters()
    failure = workplace.records.failure("a.wav")
    assert failure is not None
    assert failure.reason == letter.reason


def test_what_this_machine_cannot_do_is_given_back_at_once(workplace: Workplace, clips: list[Path]) -> None:
    """An engine or its weights are missing here: the worker ends with that sentence, and another may do the job."""
    shutil.copy(clips[0], workplace.source / "a.wav")
    workplace.queue.send([workplace.job("a.wav")], "run")
    worker = workplace.worker(Dictated())

    def missing(_options: object) -> Any:
        raise SetupError("The speech engine is not installed.")

    worker.transcriber_for = missing
    with pytest.raises(SetupError, match="not installed"):
        worker.run(until_empty=True)
    delivery = workplace.queue.receive(wait_s=0)
    assert delivery is not None
    assert delivery.receive_count == 2


def test_a_finished_recording_is_not_touched(workplace: Workplace, clips: list[Path]) -> None:
    """Whoever queued it again: the engine is not asked, and the files stay as they are."""
    shutil.copy(clips[0], workplace.source / "a.wav")
    engine = Dictated()
    with working(workplace.worker(engine)):
        workplace.queue.send([workplace.job("a.wav")], "one")
        wait_until(workplace.is_empty, 30, "the job to be done")
        (workplace.dest / "a.txt").write_text("corrected by hand")
        workplace.queue.send([workplace.job("a.wav")], "two")
        wait_until(workplace.is_empty, 30, "the second message to be gone")
    assert engine.n_calls == 1
    assert (workplace.dest / "a.txt").read_text() == "corrected by hand"


def test_a_slice_whose_part_is_there_is_not_transcribed_again(workplace: Workplace, clips: list[Path]) -> None:
    """A worker was killed between the last part and the text files: only the putting together is left."""
    shutil.copy(clips[0], workplace.source / "a.wav")
    job = workplace.job("a.wav")
    workplace.records.put_part(job, job.slices[0], part("Kept from before."))
    engine = Dictated()
    workplace.queue.send([job], "run")
    with working(workplace.worker(engine)):
        wait_until(workplace.is_empty, 30, "the job to be done")
    assert engine.n_calls == 0
    assert (workplace.dest / "a.txt").read_text().strip() == "Kept from before."
    assert not workplace.records.begun_stem("a.wav")


def test_whoever_does_the_last_slice_puts_the_recording_together(workplace: Workplace, clips: list[Path]) -> None:
    """In the order of the sound, not of the work, with times from the beginning of the recording."""
    shutil.copy(clips[0], workplace.source / "a.wav")
    slices = [
        workplace.slice_of("a.wav", index=0, cuts=(1.5,)),
        workplace.slice_of("a.wav", index=1, cuts=(1.5,)),
    ]
    engine = Dictated()
    with working(workplace.worker(engine)):
        workplace.queue.send([workplace.job(slices[1])], "run")
        wait_until(workplace.is_empty, 30, "the second half to be done")
        assert workplace.texts == []
        workplace.queue.send([workplace.job(slices[0])], "run")
        wait_until(workplace.is_empty, 30, "the first half to be done")
    made = workplace.records.transcript("a.wav")
    assert made is not None
    assert [(segment.start_s, segment.end_s) for segment in made.segments] == [(0.0, 1.5), (1.5, 3.0)]
    assert made.decoded_s == pytest.approx(3.0, abs=0.01)
    assert engine.n_calls == 2
    assert not workplace.records.begun_stem("a.wav")


def test_a_worker_until_empty_ends_when_nothing_is_left(workplace: Workplace, clips: list[Path]) -> None:
    """Not while another still works on something, since that may come back."""
    shutil.copy(clips[0], workplace.source / "a.wav")
    shutil.copy(clips[1], workplace.source / "b.wav")
    workplace.queue.send([workplace.job("a.wav"), workplace.job("b.wav")], "run")
    others = workplace.queue.receive(wait_s=5)
    assert others is not None
    engine = Dictated()
    worker = workplace.worker(engine)
    running = threading.Thread(target=worker.run, kwargs={"until_empty": True})
    running.start()
    try:
        wait_until(lambda: engine.n_calls == 1, what="the job that is free to be done")
        running.join(2.5)
        assert running.is_alive(), "it left while a job was in flight elsewhere"
        workplace.queue.change_visibility(others, 0)
        running.join(15)
        assert not running.is_alive()
    finally:
        worker.stop.set()
        running.join()
    assert engine.n_calls == 2
    assert workplace.is_empty()
