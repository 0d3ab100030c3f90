"""A worker on a real queue, with a real folder and a real model: what becomes of a job, good or bad."""

import hashlib
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from support import recordings
from support.waiting import wait_until
from support.workplace import (
    FORMATS,
    Counted,
    Dictated,
    Workplace,
    Wrapped,
    WrappedStore,
    received,
    working,
    working_until_empty,
)

from nightscribe.shared.destination.keys import PARTS, TRANSCRIPTS, hash_key
from nightscribe.shared.errors import RetryableError, SetupError, StorageError
from nightscribe.shared.model.jobs import Job, Options
from nightscribe.shared.model.transcript import Flag, Part, Segment
from nightscribe.shared.storage.folder.store import FolderStore
from nightscribe.worker.engines.base import Recognition, RecognitionRequest, SpeechWindow
from nightscribe.worker.loop import Worker
from nightscribe.worker.pipeline.transcriber import Transcriber


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


def test_a_job_becomes_its_texts_and_its_record(workplace: Workplace, engine: Counted, speech: Path) -> None:
    """All formats, beside each other, in a folder like the source's; the message is gone, and nothing else is left."""
    (workplace.source / "1859").mkdir()
    # So large that its fingerprint does not cover all of it.
    london = recordings.cut(speech, workplace.source / "1859" / "london.wav", 0, 3, "-ar", "44100")
    job = workplace.job("1859/london.wav")
    workplace.queue.send([job], "run")
    with working(workplace.worker(engine)):
        wait_until(workplace.is_empty, what="the job to be done")
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
    assert kept == [hash_key("1859/london.wav")]
    proof = workplace.records.content_hash(made)
    assert proof is not None
    assert proof.sha256 == hashlib.sha256(london.read_bytes()).hexdigest()
    assert workplace.dead_letters() == []


def test_a_recording_with_the_ends_of_another_is_transcribed_under_its_name_or_a_new_one(
    workplace: Workplace, engine: Counted, clips: list[Path]
) -> None:
    """Size, first and last 64 KiB are the same: recorders of fixed length with muted ends make such files."""
    one, other = (recordings.with_silent_ends(clip, workplace.source / f"{clip.stem}.wav") for clip in clips[:2])
    contents = [one.read_bytes(), other.read_bytes()]
    other.unlink()
    said = []
    for name, content in (("a.wav", contents[0]), ("a.wav", contents[1]), ("b.wav", contents[0])):
        for path in workplace.source.iterdir():
            path.unlink()
        (workplace.source / name).write_bytes(content)
        found = workplace.scan()
        assert [each.recording.path for each in found.missing] == [name]
        workplace.queue.send([workplace.job(name)], f"run {len(said)}")
        with working(workplace.worker(engine)):
            wait_until(workplace.is_empty, what="the job to be done")
        said.append((workplace.dest / f"{name[0]}.txt").read_text())
    assert said[0] == said[2] != said[1]
    fingerprints = set()
    for content in contents:
        (workplace.source / "b.wav").write_bytes(content)
        fingerprints.add(workplace.slice_of("b.wav").fingerprint)
    assert len(fingerprints) == 1


def test_a_recording_in_which_nobody_speaks_is_finished_and_flagged(workplace: Workplace, engine: Counted) -> None:
    """It has its files, empty of words, so that no later run takes it for missing."""
    recordings.noise(workplace.source / "rain.wav", 5)
    workplace.queue.send([workplace.job("rain.wav")], "run")
    with working(workplace.worker(engine)):
        wait_until(workplace.is_empty, what="the job to be done")
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
        wait_until(workplace.is_empty, what="both messages to be gone")
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
    workplace: Workplace,
    clips: list[Path],
    make: Callable[[Path], Path],
    bad: str,
    order: str,
) -> None:
    """The good one is stored; the bad one has its reason on record and in the dead letter, which names no other."""
    shutil.copy(clips[0], workplace.source / "good.wav")
    make(workplace.source / bad)
    names = [bad, "good.wav"] if order == "bad first" else ["good.wav", bad]
    workplace.queue.send([workplace.job(*names)], "run")
    with working(workplace.worker(Dictated())):
        wait_until(workplace.is_empty, what="the job to be done with")
    assert workplace.texts == ["good.srt", "good.txt", "good.vtt"]
    failure = workplace.records.failure(bad)
    assert failure is not None
    assert (failure.recording, failure.attempts, failure.worker) == (bad, 1, "worker")
    assert failure.reason.endswith("."), "a reason is a sentence"
    [letter] = workplace.dead_letters()
    assert letter.reason == failure.reason
    assert letter.body == workplace.job(bad).to_message()
    assert workplace.records.failure("good.wav") is None


def test_messages_that_are_no_jobs_are_set_aside_and_the_worker_goes_on(
    workplace: Workplace, clips: list[Path]
) -> None:
    """Malformed, foreign, from a newer version, or leading out of the source: each with the reason, none twice.

    That of a newer version only after its last receive: a worker of that version may take it before.
    """
    workplace.settings = workplace.settings.model_copy(update={"retry_delay_s": 0.1})
    shutil.copy(clips[0], workplace.source / "a.wav")
    job = workplace.job("a.wav")
    newer = job.to_message().replace('"version":1', '"version":3')
    outside = job.to_message().replace('"recording":"a.wav"', '"recording":"../a.wav"')
    assert len({newer, outside, job.to_message()}) == 3
    bodies = ["not JSON at all", '{"Records": [{"eventSource": "aws:s3"}]}', newer, outside]
    for n, body in enumerate(bodies):
        workplace.queue._client.send_message(
            QueueUrl=workplace.queue._url, MessageBody=body, MessageGroupId=str(n), MessageDeduplicationId=str(n)
        )
    workplace.queue.send([job], "run")
    with working(workplace.worker(Dictated())):
        wait_until(workplace.is_empty, what="all to be done with")
    assert workplace.records.provenance("a.wav") is not None
    letters = workplace.dead_letters()
    assert sorted(letter.body for letter in letters) == sorted(bodies)
    for letter in letters:
        why = "a job of a newer nightscribe" if letter.body == newer else "not a job of this version"
        assert why in (letter.reason or "")
        assert letter.code == ("newer_record" if letter.body == newer else "job_not_understood")


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
        wait_until(workplace.is_empty, what="the job to be done with")
        failure = workplace.records.failure("a.wav")
        assert failure is not None
        assert "changed after it was queued" in failure.reason
        assert failure.code == "changed"
        [letter] = workplace.dead_letters()
        assert letter.code == "changed"
        assert workplace.texts == []
        director = workplace.director()
        director.record_dead_letters()
        scan = workplace.scan()
        assert [missing.recording.path for missing in scan.missing] == ["a.wav"]
        list(director.direct(scan.missing, follow=True))
    assert workplace.texts == ["a.srt", "a.txt", "a.vtt"]
    assert workplace.records.failure("a.wav") is None


def test_a_recording_changed_while_it_is_transcribed_has_the_words_of_the_sound_that_was_read(
    workplace: Workplace, clips: list[Path]
) -> None:
    """It was read to its end before, and the record says which sound that was: the next run takes the new, unasked."""
    recording = workplace.source / "a.wav"
    shutil.copy(clips[0], recording)
    job = workplace.job("a.wav")
    workplace.queue.send([job], "run")
    with working(workplace.worker(Dictated(before=lambda: recording.write_bytes(clips[1].read_bytes())))):
        wait_until(workplace.is_empty, what="the job to be done with")
    made = workplace.records.provenance("a.wav")
    assert made is not None
    assert made.fingerprint == job.slices[0].fingerprint
    assert made.mtime_ns is not None
    assert made.mtime_ns < recording.stat().st_mtime_ns
    assert workplace.records.failure("a.wav") is None
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
        wait_until(workplace.is_empty, what="the job to be done")
    assert asked == [10]
    assert workplace.texts == ["a.srt", "a.txt", "a.vtt"]
    assert workplace.records.failure("a.wav") is None
    assert workplace.dead_letters() == []


def test_trouble_that_stays_is_waited_out_longer_each_time_and_then_recorded(
    workplace: Workplace, clips: list[Path]
) -> None:
    """Three tries with a growing delay; then a failure record and a dead letter, with the reason in both.

    The others of the job are done at the first try, once, and are no part of the failure.
    """
    for n, name in enumerate("abc"):
        shutil.copy(clips[n], workplace.source / f"{name}.wav")

    def never(key: str) -> None:
        if key == "b.txt" or (key.startswith(PARTS + "b.wav") and key.endswith(".json")):
            raise RetryableError("The share is away.")

    asked = retried_at_once(workplace)
    engine = Dictated()
    workplace.queue.send([workplace.job("a.wav", "b.wav", "c.wav")], "run")
    with working(workplace.worker(engine, store=WrappedStore(FolderStore(workplace.dest), never))):
        wait_until(workplace.is_empty, what="the job to be done with")
    assert asked == [10, 40]
    assert engine.n_calls == 3 + 1 + 1
    failure = workplace.records.failure("b.wav")
    assert failure is not None
    assert failure.reason == "The share is away. Tried 3 times."
    assert failure.attempts == 3
    [letter] = workplace.dead_letters()
    assert letter.reason == "The share is away. Tried 3 times."
    assert letter.body == workplace.job("b.wav").to_message()
    assert workplace.texts == sorted(f"{name}.{fmt}" for name in "ac" for fmt in FORMATS)
    assert [workplace.records.failure(f"{name}.wav") for name in "ac"] == [None, None], "they are finished"


def test_a_share_that_is_away_is_not_tried_with_every_recording_of_a_job(
    workplace: Workplace, clips: list[Path]
) -> None:
    """Three in a row, and the job waits for better times; those between which something succeeds are not in a row."""
    names = [f"{n}.wav" for n in range(6)]
    for n, name in enumerate(names):
        shutil.copy(clips[n % 4], workplace.source / name)
    works = [False, False, True, False, False, False] + [False] * 3 + [True] * 5
    tried: list[str] = []

    def sometimes(key: str) -> None:
        if key.endswith(".txt"):
            tried.append(key.removesuffix(".txt") + ".wav")
        if key.endswith((".txt", ".json")) and tried and not works[len(tried) - 1]:
            raise RetryableError("The share is away.")

    asked = retried_at_once(workplace)
    worker = workplace.worker(Dictated(), store=WrappedStore(FolderStore(workplace.dest), sometimes))
    workplace.queue.send([workplace.job(*names)], "run")
    for n_tried in (6, 9):
        delivery = received(workplace.queue)
        worker._handle(delivery, worker.clock())
        assert len(tried) == n_tried
        assert workplace.texts == [f"{tried[2].removesuffix('.wav')}.{fmt}" for fmt in sorted(FORMATS)]
    assert asked == [10, 40]
    assert len(set(tried[:6])) == 6, "each once, and then enough"
    assert tried[2] not in tried[6:], "it is done"
    with working(worker):
        wait_until(workplace.is_empty, what="the job to be done")
    assert workplace.texts == sorted(f"{n}.{fmt}" for n in range(6) for fmt in FORMATS)
    assert [workplace.records.failure(name) for name in names] == [None] * 6


def test_a_destination_that_takes_nothing_is_known_before_anything_is_transcribed(
    workplace: Workplace, clips: list[Path]
) -> None:
    """A full disk must not cost an hour of work for each job of the night."""
    shutil.copy(clips[0], workplace.source / "a.wav")

    def full(_key: str) -> None:
        raise RetryableError("No space left on device.")

    engine = Dictated()
    workplace.queue.send([workplace.job("a.wav")], "run")
    worker = workplace.worker(engine, store=WrappedStore(FolderStore(workplace.dest), full))
    delivery = received(workplace.queue)
    worker._handle(delivery, worker.clock())
    assert engine.n_calls == 0
    assert workplace.temporary == []


def test_a_worker_waits_longer_after_each_job_in_a_row_that_fails(
    workplace: Workplace, clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share that is away for ten minutes must not use up the tries of every job on the queue."""
    shutil.copy(clips[0], workplace.source / "a.wav")
    pauses: list[float] = []
    works = [False, True, False, False, False, True]

    def sometimes(key: str) -> None:
        if key.endswith(".begun") and not works[len(pauses)]:
            raise RetryableError("The share is away.")

    worker = workplace.worker(Dictated(), store=WrappedStore(FolderStore(workplace.dest), sometimes))

    class Stop(threading.Event):
        """Note how long somebody would have waited, and return at once."""

        def wait(self, timeout: float | None = None) -> bool:
            pauses[-1] = timeout or 0.0
            return self.is_set()

    worker.stop = Stop()
    for n in range(len(works)):
        # Another redo of it is another job.
        workplace.queue.send([workplace.job("a.wav").model_copy(update={"redo": str(n)})], "run")
        delivery = received(workplace.queue)
        worker._handle(delivery, worker.clock())
        pauses.append(0.0)
        worker._pause_after_failures()
    assert pauses == [0, 0, 0, 10, 40, 0]


def one_at_a_time(worker: Worker) -> None:
    """Let its engine decode one window after the other, so that recordings are done in the order of the job."""
    ready = worker.transcriber_for

    def careful(options: Options) -> Transcriber:
        transcriber = ready(options)
        transcriber._batch_size = 1
        return transcriber

    worker.transcriber_for = careful


def test_a_bundle_with_bad_ones_is_done_but_for_those(workplace: Workplace, engine: Counted, clips: list[Path]) -> None:
    """By the real engine, in batches of clips and of the windows of a long one."""
    for n, clip in enumerate(clips):
        shutil.copy(clip, workplace.source / f"{n}.wav")
    recordings.text_named_mp3(workplace.source / "diary.mp3")
    shutil.copy(recordings.beckett(), workplace.source / "beckett.wav")
    names = ["0.wav", "diary.mp3", "1.wav", "beckett.wav", "2.wav", "gone.wav", "3.wav"]
    shutil.copy(clips[0], workplace.source / "gone.wav")
    job = workplace.job(*names)
    (workplace.source / "gone.wav").unlink()
    workplace.queue.send([job], "run")
    with working(workplace.worker(engine)):
        wait_until(workplace.is_empty, 60, "the job to be done with")
    done = ["0", "1", "2", "3", "beckett"]
    assert workplace.texts == sorted(f"{name}.{fmt}" for name in done for fmt in FORMATS)
    assert "best of times" in (workplace.dest / "0.txt").read_text()
    assert "Fail better" in (workplace.dest / "beckett.txt").read_text()
    reasons = [workplace.records.failure(name) for name in ("diary.mp3", "gone.wav")]
    assert all(failure and failure.reason for failure in reasons)
    [letter] = workplace.dead_letters()
    assert {part.recording for part in Job.from_message(letter.body).slices} == {"diary.mp3", "gone.wav"}
    assert engine.n_calls == 5


def test_at_the_last_try_a_job_is_done_from_behind_and_one_window_at_a_time(
    workplace: Workplace, clips: list[Path]
) -> None:
    """Should one of its recordings kill every worker, those behind it had their turn as well."""
    names = [f"{n}.wav" for n in range(4)]
    for n, name in enumerate(names):
        shutil.copy(clips[n], workplace.source / name)
    finished: list[str] = []

    def before_put(key: str) -> None:
        if key.startswith(TRANSCRIPTS):
            finished.append(key.removeprefix(TRANSCRIPTS).removesuffix(".json"))

    batches: list[int] = []

    class Batched(Dictated):
        def recognize(self, windows: Sequence[SpeechWindow], request: RecognitionRequest) -> list[Recognition]:
            batches.append(len(windows))
            return super().recognize(windows, request)

    worker = workplace.worker(Batched(), store=WrappedStore(FolderStore(workplace.dest), before_put))
    workplace.queue.send([workplace.job(*names)], "run")
    for n in range(1, workplace.settings.max_receives + 1):
        delivery = received(workplace.queue)
        assert delivery.receive_count == n
        if n < workplace.settings.max_receives:
            workplace.queue.change_visibility(delivery, 0)
    worker._handle(delivery, worker.clock())
    assert sorted(finished) == names
    assert finished[0] in names[2:], "from behind"
    assert finished[-1] in names[:2]
    assert batches == [1, 1, 1, 1]
    assert workplace.is_empty()


def test_a_worker_that_dies_of_one_recording_leaves_the_others_done(workplace: Workplace, clips: list[Path]) -> None:
    """Each try ends at it, from the front or from behind; in the end nothing but it is missing."""
    names = [f"{n}.wav" for n in range(5)]
    for n, name in enumerate(names):
        shutil.copy(clips[n % 4], workplace.source / name)
    silent_s = 2.0
    recordings.cut(clips[2], workplace.source / "2.wav", 0, silent_s, "-ar", "16000")

    class Dying(Dictated):
        def recognize(self, windows: Sequence[SpeechWindow], request: RecognitionRequest) -> list[Recognition]:
            if any(abs(window.seconds - silent_s) < 0.2 for window in windows):
                raise MemoryError("too much")
            return super().recognize(windows, request)

    retried_at_once(workplace)
    workplace.queue.send([workplace.job(*names)], "run")
    with working(workplace.worker(Dying())):
        wait_until(workplace.is_empty, what="the job to be done with")
    assert [name for name in names if workplace.records.provenance(name) is None] == ["2.wav"]
    assert [name for name in names if workplace.records.failure(name)] == ["2.wav"]
    [letter] = workplace.dead_letters()
    assert letter.body == workplace.job("2.wav").to_message()


def test_what_was_finished_before_a_worker_is_stopped_stays_finished(workplace: Workplace, clips: list[Path]) -> None:
    """In the middle of a bundle: the rest is done by the next worker, and nothing twice."""
    names = [f"{n}.wav" for n in range(6)]
    for n, name in enumerate(names):
        shutil.copy(clips[n % 4], workplace.source / name)
    stop = threading.Event()
    first = Dictated(before=lambda: stop.set() if first.n_calls == 3 else None)
    worker = workplace.worker(first, name="first")
    worker.stop = stop
    one_at_a_time(worker)
    workplace.queue.send([workplace.job(*names)], "run")
    worker.run(until_empty=False)
    done = [name for name in names if workplace.records.provenance(name)]
    assert len(done) == 2
    assert len(workplace.texts) == 3 * len(done)
    second = Dictated()
    with working(workplace.worker(second, name="second")):
        wait_until(workplace.is_empty, what="the rest to be done")
    assert second.n_calls == len(names) - len(done)
    assert workplace.texts == sorted(f"{n}.{fmt}" for n in range(6) for fmt in FORMATS)
    assert workplace.dead_letters() == []


def test_an_unexpected_error_is_tried_again_and_then_recorded(workplace: Workplace, clips: list[Path]) -> None:
    """A mistake of an engine is no end of the night: the worker goes on with what else there is."""

    def stumble() -> None:
        raise ZeroDivisionError("no frames")

    shutil.copy(clips[0], workplace.source / "a.wav")
    retried_at_once(workplace)
    engine = Dictated(before=stumble)
    workplace.queue.send([workplace.job("a.wav")], "run")
    with working(workplace.worker(engine)):
        wait_until(workplace.is_empty, what="the job to be done with")
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
        [letter] = wait_until(workplace.dead_letters, what="the job to be set aside")
    assert "Cannot write" in (letter.reason or "")
    workplace.dest.unlink()
    away.rename(workplace.dest)
    workplace.director().record_dead_letters()
    failure = workplace.records.failure("a.wav")
    assert failure is not None
    assert failure.reason == letter.reason


def test_a_machine_on_which_no_job_can_be_done_gives_its_job_back_and_ends(
    workplace: Workplace, clips: list[Path]
) -> None:
    """The destination refuses whatever is written: the worker ends with that sentence, and another may do the job."""
    shutil.copy(clips[0], workplace.source / "a.wav")
    workplace.queue.send([workplace.job("a.wav")], "run")

    def refuse(_key: str) -> None:
        raise StorageError("The bucket denies put_object.")

    worker = workplace.worker(Dictated(), store=WrappedStore(FolderStore(workplace.dest), refuse))
    with pytest.raises(SetupError, match="denies put_object"):
        worker.run(until_empty=True)
    assert received(workplace.queue).receive_count == 2


def test_what_the_storage_refuses_of_one_job_alone_ends_no_worker(workplace: Workplace, clips: list[Path]) -> None:
    """A server may refuse one key with an error that reads like missing rights; other jobs go on."""
    for n, name in enumerate("ab"):
        shutil.copy(clips[n], workplace.source / f"{name}.wav")
    asked = retried_at_once(workplace)

    def refuse(key: str) -> None:
        if key.startswith(PARTS + "a.wav"):
            raise StorageError("The bucket refuses that key.")

    workplace.queue.send([workplace.job("a.wav"), workplace.job("b.wav")], "run")
    with working(workplace.worker(Dictated(), store=WrappedStore(FolderStore(workplace.dest), refuse))):
        wait_until(workplace.is_empty, what="both jobs to be done with")
    assert asked == [10, 40]
    failure = workplace.records.failure("a.wav")
    assert failure is not None
    assert (failure.reason, failure.code) == ("The bucket refuses that key. Tried 3 times.", "storage_unusable")
    assert workplace.texts == ["b.srt", "b.txt", "b.vtt"]


def test_a_job_that_is_interrupted_at_its_last_try_has_its_tries_again(workplace: Workplace, clips: list[Path]) -> None:
    """Workers that are stopped, as machines of the cloud are every other hour, must not make a failure of it."""
    shutil.copy(clips[0], workplace.source / "a.wav")
    workplace.queue.send([workplace.job("a.wav")], "run")
    counts = []
    for _ in range(5):
        delivery = received(workplace.queue)
        counts.append(delivery.receive_count)
        stop = threading.Event()
        worker = workplace.worker(Dictated(before=stop.set))
        worker.stop = stop
        worker._handle(delivery, worker.clock())
    assert counts == [1, 2, 3, 1, 2]
    with working(workplace.worker(Dictated())):
        wait_until(workplace.is_empty, what="the job to be done")
    assert workplace.texts == ["a.srt", "a.txt", "a.vtt"]
    assert workplace.dead_letters() == []


def test_a_job_that_was_given_back_from_another_thread_is_not_stored_any_more(
    workplace: Workplace, clips: list[Path]
) -> None:
    """The engine was busy for too long after the signal, and comes back a moment before the process ends."""
    shutil.copy(clips[0], workplace.source / "a.wav")
    workplace.queue.send([workplace.job("a.wav")], "run")
    engine = Dictated()
    worker = workplace.worker(engine)
    engine._before = worker.abandon
    worker._handle(received(workplace.queue), worker.clock())
    assert workplace.texts == []
    assert received(workplace.queue).receive_count == 2


def test_what_another_worker_has_in_hand_is_left_to_it(workplace: Workplace, clips: list[Path]) -> None:
    """A director that comes when half of a job is done queues the other half, while the first worker is still at it."""
    names = [f"{n}.wav" for n in range(4)]
    for name, clip in zip(names, clips, strict=True):
        shutil.copy(clip, workplace.source / name)
    whole, half = workplace.job(*names), workplace.job(*names[2:])
    assert whole.id != half.id
    second = Dictated()

    def come_in_between() -> None:
        if first.n_calls == 2:
            workplace.queue.send([half], "a later run")
            late = received(workplace.queue)
            worker = workplace.worker(second, name="second")
            worker._handle(late, worker.clock())

    first = Dictated(before=come_in_between)
    worker = workplace.worker(first, name="first")
    one_at_a_time(worker)
    workplace.queue.send([whole], "run")
    worker._handle(received(workplace.queue), worker.clock())
    assert workplace.is_empty()
    assert (first.n_calls, second.n_calls) == (4, 0)
    assert workplace.texts == sorted(f"{n}.{fmt}" for n in range(4) for fmt in FORMATS)


def test_what_a_dead_worker_had_in_hand_is_done_with_its_own_message(workplace: Workplace, clips: list[Path]) -> None:
    """It was heard of a moment ago, but its message has come back: so it has it no more."""
    shutil.copy(clips[0], workplace.source / "a.wav")
    workplace.queue.send([workplace.job("a.wav")], "run")

    def die() -> None:
        raise SystemExit

    dying = workplace.worker(Dictated(before=die), name="dying")
    dying.records.leave = lambda _worker: None  # type: ignore[method-assign]  the dead say nothing any more
    delivery = received(workplace.queue)
    with pytest.raises(SystemExit):
        dying._handle(delivery, dying.clock())
    assert [activity.worker for activity in workplace.records.activities()] == ["dying"]
    workplace.queue.change_visibility(delivery, 0)
    successor = Dictated()
    with working(workplace.worker(successor, name="successor")):
        wait_until(workplace.is_empty, what="the job to be done")
    assert successor.n_calls == 1


def test_a_finished_recording_is_not_touched(workplace: Workplace, clips: list[Path]) -> None:
    """Whoever queued it again: the engine is not asked, and the files stay as they are."""
    shutil.copy(clips[0], workplace.source / "a.wav")
    engine = Dictated()
    with working(workplace.worker(engine)):
        workplace.queue.send([workplace.job("a.wav")], "one")
        wait_until(workplace.is_empty, what="the job to be done")
        (workplace.dest / "a.txt").write_text("corrected by hand")
        workplace.queue.send([workplace.job("a.wav")], "two")
        wait_until(workplace.is_empty, what="the second message to be gone")
    assert engine.n_calls == 1
    assert (workplace.dest / "a.txt").read_text() == "corrected by hand"


def test_a_slice_whose_part_is_there_is_not_transcribed_again(workplace: Workplace, clips: list[Path]) -> None:
    """A worker was killed between the last part and the text files: only the putting together is left."""
    shutil.copy(clips[0], workplace.source / "a.wav")
    job = workplace.job("a.wav")
    workplace.records.partial_results.put(job, job.slices[0], part("Kept from before."))
    engine = Dictated()
    workplace.queue.send([job], "run")
    with working(workplace.worker(engine)):
        wait_until(workplace.is_empty, what="the job to be done")
    assert engine.n_calls == 0
    assert (workplace.dest / "a.txt").read_text().strip() == "Kept from before."
    assert not workplace.records.partial_results.claimed_stem("a.wav")


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
        wait_until(workplace.is_empty, what="the second half to be done")
        assert workplace.texts == []
        workplace.queue.send([workplace.job(slices[0])], "run")
        wait_until(workplace.is_empty, what="the first half to be done")
    made = workplace.records.transcript("a.wav")
    assert made is not None
    [first, second] = made.segments
    assert 0 <= first.start_s < first.end_s <= 1.5 <= second.start_s < second.end_s <= 3.0
    assert made.decoded_s == pytest.approx(3.0, abs=0.01)
    assert engine.n_calls == 2
    assert not workplace.records.partial_results.claimed_stem("a.wav")


def test_a_part_that_was_damaged_meanwhile_fails_the_recording_and_is_done_again(
    workplace: Workplace, clips: list[Path]
) -> None:
    """By its name it is there, so that nobody would do it again, and the recording would never be done with."""
    shutil.copy(clips[0], workplace.source / "a.wav")
    first, second = (workplace.slice_of("a.wav", index=index, cuts=(1.5,)) for index in range(2))
    engine = Dictated()
    with working(workplace.worker(engine)):
        workplace.queue.send([workplace.job(first)], "run")
        wait_until(workplace.is_empty, what="the first half to be done")
        [stored] = (workplace.dest / ".nightscribe/parts/a.wav").glob("*-0.json")
        stored.write_bytes(stored.read_bytes()[:-9])
        workplace.queue.send([workplace.job(second)], "run")
        wait_until(workplace.is_empty, what="the second half to be done")
        failed = workplace.records.failure("a.wav")
        assert failed
        assert failed.reason.startswith("A part that was transcribed earlier can no longer be read (")
        assert not stored.exists(), "whoever tries it again would meet it before it is done anew"
        workplace.records.forgive("a.wav")
        workplace.queue.send([workplace.job(each) for each in (first, second)], "again")
        wait_until(workplace.is_empty, what="both to be done")
    assert workplace.records.transcript("a.wav")
    assert engine.n_calls == 3, "the second half was kept"


def test_two_workers_share_the_slices_of_a_long_recording(workplace: Workplace, engine: Counted, speech: Path) -> None:
    """Each its own jobs; whoever is last joins them, and not a word is missing."""
    recordings.cut(speech, workplace.source / "talk.wav", 0, 32, "-ar", "16000")
    cuts = (7.7, 20.7)
    slices = [workplace.slice_of("talk.wav", index=index, cuts=cuts) for index in range(3)]
    both_at_work = threading.Barrier(2)
    passed = threading.local()

    class Met(Counted):
        """Neither goes on before the other has begun."""

        def recognize(self, windows: Sequence[SpeechWindow], request: RecognitionRequest) -> list[Recognition]:
            if not getattr(passed, "yet", False):
                both_at_work.wait(60)
                passed.yet = True
            return super().recognize(windows, request)

    met = Met(engine)
    workplace.queue.send([workplace.job(slice_) for slice_ in slices], "run")
    with working(workplace.worker(met, name="1"), workplace.worker(met, name="2")):
        wait_until(workplace.is_empty, 60, "all slices to be done")
    made = workplace.records.transcript("talk.wav")
    assert made is not None
    assert made.decoded_s == pytest.approx(32, abs=0.01)
    starts = [segment.start_s for segment in made.segments]
    assert starts == sorted(starts)
    text = (workplace.dest / "talk.txt").read_text()
    for words in ("best of times", "epoch of", "season of", "winter of despair", "direct to"):
        assert words in " ".join(text.split()), text
    assert not workplace.records.partial_results.claimed_stem("talk.wav")


def test_a_worker_until_empty_ends_when_nothing_is_left(workplace: Workplace, clips: list[Path]) -> None:
    """Not while another still works on something, since that may come back."""
    shutil.copy(clips[0], workplace.source / "a.wav")
    shutil.copy(clips[1], workplace.source / "b.wav")
    workplace.queue.send([workplace.job("a.wav"), workplace.job("b.wav")], "run")
    others = received(workplace.queue)
    engine = Dictated()
    with working_until_empty(workplace.worker(engine)) as running:
        wait_until(lambda: engine.n_calls == 1, what="the job that is free to be done")
        running.join(2.5)
        assert running.is_alive(), "it left while a job was in flight elsewhere"
        workplace.queue.change_visibility(others, 0)
    assert engine.n_calls == 2
    assert workplace.is_empty()
