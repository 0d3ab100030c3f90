"""A destination, its queue and its workers as they are seen, and failures that are put back on a real queue."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.command import COMMAND, environment_of
from support.servers import SqsServer
from support.waiting import wait_until
from support.workplace import Dictated, Workplace, Wrapped, WrappedStore, received, working

from nightscribe.cli.main import cli
from nightscribe.local.queue_server import local_queue
from nightscribe.services.enqueue import enqueue
from nightscribe.services.request import Request, open_queue
from nightscribe.services.status import PEEK_AT_MOST, QueueState, Status, gather
from nightscribe.shared.destination.keys import FAILURES
from nightscribe.shared.errors import RetryableError
from nightscribe.shared.model.activity import Run
from nightscribe.shared.model.jobs import Job
from nightscribe.shared.model.transcript import utc_now
from nightscribe.shared.queue.connection import RETRY_TIMEOUT_S
from nightscribe.shared.settings import Settings, load_settings
from nightscribe.shared.storage.folder.location import FolderLocation
from nightscribe.shared.storage.folder.store import FolderStore
from nightscribe.views.status import lines


def looked(workplace: Workplace) -> tuple[Status, QueueState]:
    """How things stand, with a queue that is reached."""
    status = gather(FolderLocation(workplace.dest), load_settings(queue_name=workplace.queue.name))
    assert status.queue, status.no_queue
    return status, status.queue


def with_clips(workplace: Workplace, clips: list[Path]) -> None:
    for clip in clips:
        (workplace.source / clip.name).write_bytes(clip.read_bytes())


def died_over(workplace: Workplace, max_receives: int = 3) -> None:
    """Receive the only job as often as it is given, as workers do that are killed by it."""
    for _ in range(max_receives):
        delivery = received(workplace.queue)
        workplace.queue.change_visibility(delivery, 0)
    assert workplace.queue.receive(wait_s=1) is None


def retry(workplace: Workplace, *options: str) -> str:
    result = CliRunner().invoke(cli, ["retry", str(workplace.dest), *options])
    assert result.exit_code == 0, result.output
    return result.output


def asked(workplace: Workplace) -> Request:
    """What a user asks of a director."""
    settings = load_settings(queue_name=workplace.queue.name, model="tiny.en", engine="faster-whisper", settle_s=0)
    return Request(FolderLocation(workplace.source), FolderLocation(workplace.dest), settings)


def test_what_waits_is_in_progress_or_done_is_seen_as_it_goes(workplace: Workplace, clips: list[Path]) -> None:
    with_clips(workplace, clips)
    workplace.queue.send([workplace.job(f"{n}.wav") for n in range(3)], "run")
    seen: list[tuple[Status, QueueState]] = []
    engine = Dictated(before=lambda: seen.append(looked(workplace)))
    with working(workplace.worker(engine, name="here-1")):
        wait_until(lambda: workplace.records.provenance("2.wav") and workplace.is_empty(), 60, "three transcripts")
    for number, (status, queue) in enumerate(seen):
        waiting = [job.recordings for job in queue.jobs or () if job.waiting]
        assert waiting == [(f"{n}.wav",) for n in range(number + 1, 3)]
        assert (queue.n_waiting, queue.n_held, status.n_done) == (2 - number, 1, number)
        [at_work] = status.workers
        assert (at_work.worker, at_work.recording) == ("here-1", f"{number}.wav")
    assert len(seen) == 3
    status, queue = looked(workplace)
    assert (queue.n_waiting, queue.n_held, queue.jobs, status.n_done, status.workers) == (0, 0, (), 3, ())


def test_looking_leaves_every_job_as_it_was(workplace: Workplace, clips: list[Path]) -> None:
    """It is neither received nor hidden, and no look counts as a try."""
    with_clips(workplace, clips)
    workplace.queue.send([workplace.job("0.wav")], "run")
    for _ in range(workplace.settings.max_receives + 1):
        assert looked(workplace)[1].n_waiting == 1
    delivery = received(workplace.queue)
    assert delivery.receive_count == 1


def test_a_slice_in_hand_is_known_with_its_length(workplace: Workplace, clips: list[Path]) -> None:
    with_clips(workplace, clips)
    workplace.queue.send([workplace.job(workplace.slice_of("0.wav", cuts=(1.5,)))], "run")
    seen: list[Status] = []
    with working(workplace.worker(Dictated(before=lambda: seen.append(looked(workplace)[0])))):
        wait_until(lambda: seen and workplace.is_empty(), 60, "the slice")
    [at_work] = seen[0].workers
    assert (at_work.slice_s, at_work.message != "") == (1.5, True)


def test_what_was_set_aside_is_counted_and_stays_there(workplace: Workplace, clips: list[Path]) -> None:
    with_clips(workplace, clips)
    workplace.queue.send([workplace.job("0.wav")], "run")
    died_over(workplace)
    for _ in range(2):
        assert looked(workplace)[1].n_set_aside == 1
    assert len(workplace.dead_letters()) == 1


def test_a_queue_too_long_to_be_read_is_counted(
    workplace: Workplace, clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert PEEK_AT_MOST >= 1000
    monkeypatch.setattr("nightscribe.services.status.PEEK_AT_MOST", 1)
    with_clips(workplace, clips)
    workplace.queue.send([workplace.job("0.wav"), workplace.job("1.wav")], "run")
    assert (looked(workplace)[1].n_waiting, looked(workplace)[1].jobs) == (2, None)


def test_a_queue_that_is_not_there_is_said_to_be_missing_and_not_made(workplace: Workplace) -> None:
    settings = load_settings(queue_name="never-made.fifo")
    for _ in range(2):
        status = gather(FolderLocation(workplace.dest), settings)
        assert status.queue is None
        assert (status.no_queue or "").startswith("There is no queue 'never-made.fifo' on http://")


def test_a_server_that_is_away_costs_a_sentence_and_little_time(workplace: Workplace, sqs_server: SqsServer) -> None:
    sqs_server.stop()
    began = time.monotonic()
    status = gather(FolderLocation(workplace.dest), load_settings(queue_name=workplace.queue.name))
    assert status.queue is None
    assert "does not respond" in (status.no_queue or "")
    assert time.monotonic() - began < RETRY_TIMEOUT_S / 2  # what the work itself would wait


def test_the_queue_of_a_run_on_this_machine_is_found_whatever_the_environment_names(
    workplace: Workplace, clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_clips(workplace, clips)
    with local_queue(tmp_path / "queue.log") as server:
        queue = open_queue(Settings())
        queue.send([workplace.job("3.wav")], "run")
        now = utc_now()
        workplace.records.put_run(
            Run(
                id="1",
                command="run",
                source=str(workplace.source),
                queue_name=queue.name,
                endpoint=queue.endpoint,
                model="tiny.en",
                engine="faster-whisper",
                n_workers=1,
                began_at=now,
                updated_at=now,
                n_total=1,
            )
        )
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:9")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another's")
        status = gather(FolderLocation(workplace.dest), Settings())
    assert status.queue, status.no_queue
    assert status.queue.server == f"http://127.0.0.1:{server.port}"
    assert [job.recordings for job in status.queue.jobs or ()] == [("3.wav",)]


# A run that looks for recordings


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., "subprocess.Popen[str]"]:
    """Begins one with the source and destination of the workplace; what it is to do needs no weights."""

    def begin(workplace: Workplace, settle_s: float = 0) -> "subprocess.Popen[str]":
        environment = environment_of(tmp_path) | {"NIGHTSCRIBE_SETTLE_S": str(settle_s)}
        command = [*COMMAND, "run", str(workplace.source), str(workplace.dest)]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    return begin


def test_a_run_is_seen_while_it_looks_and_is_gone_at_once_when_it_is_killed(
    workplace: Workplace, clips: list[Path], run: Callable[..., "subprocess.Popen[str]"]
) -> None:
    """Before that it waits for what may still be being copied."""
    with_clips(workplace, clips)
    with run(workplace, settle_s=3600) as process:
        try:
            wait_until(lambda: gather(FolderLocation(workplace.dest), Settings()).live, what="the run to say something")
            seen = list(lines(gather(FolderLocation(workplace.dest), Settings())))
        finally:
            process.kill()
    assert seen[1].startswith("A run is active; it started at ")
    assert seen[2] == "It is scanning for missing recordings."
    status = gather(FolderLocation(workplace.dest), Settings())
    assert not status.live
    assert status.no_queue == "none now: the last run had its own, which ended with it."
    assert "The last run broke off" in list(lines(status))[1]


def test_a_run_and_its_status_agree_about_what_cannot_be_read(
    workplace: Workplace, run: Callable[..., "subprocess.Popen[str]"]
) -> None:
    """Also when the run had nothing else to do."""
    for n_unreadable, code in ((2, 1), (0, 0)):
        if n_unreadable:
            (workplace.source / "gone.mp3").symlink_to("nowhere")
            (workplace.source / os.fsdecode(b"caf\xe9.mp3")).write_text("")
        else:
            for path in workplace.source.iterdir():
                path.unlink()
        with run(workplace) as process:
            said, _ = process.communicate(timeout=240)
        status = CliRunner().invoke(cli, ["status", str(workplace.dest)])
        assert (process.returncode, status.exit_code) == (code, code)
        assert ("Failed: 2 recordings." in said) == bool(n_unreadable)
        assert f"Failed       {n_unreadable} recordings" in status.output
        assert ("caf\\xe9.mp3: Its name is not valid UTF-8; rename it." in status.output) == bool(n_unreadable)


# What a director says, and retry


def test_a_director_says_what_it_has_queued(workplace: Workplace, clips: list[Path]) -> None:
    with_clips(workplace, clips)
    assert enqueue(asked(workplace)).n_queued == 4
    status, queue = looked(workplace)
    assert status.run
    assert (status.run.command, status.run.n_total, status.live) == ("director", 4, False)
    assert status.run.endpoint == queue.server
    assert {name for job in queue.jobs or () for name in job.recordings} == {clip.name for clip in clips}


def test_the_queue_of_the_last_director_is_looked_at_without_being_named(
    workplace: Workplace, clips: list[Path]
) -> None:
    with_clips(workplace, clips)
    enqueue(asked(workplace))
    status = gather(FolderLocation(workplace.dest), Settings())
    assert status.queue
    assert status.queue.name == workplace.queue.name


def test_a_retry_queues_what_failed_for_the_workers_of_a_fleet(workplace: Workplace, clips: list[Path]) -> None:
    """Also what killed its workers, of which only the dead-letter queue knows; it is not a failure again later."""
    (workplace.source / "0.wav").write_bytes(clips[0].read_bytes())
    (workplace.source / "bad.mp3").write_text("not sound")
    enqueue(asked(workplace))
    died_over(workplace)
    dry = retry(workplace, "--dry-run")
    assert "1 job on the dead-letter queue would be processed too." in dry
    assert "Nothing to retry" in dry

    said = retry(workplace)

    assert "Will retry 2 recordings." in said
    assert "0.wav: It was begun 3 times and never finished" in said
    assert f"Queued 2 recordings on {workplace.queue.name}." in said
    assert workplace.dead_letters() == []
    assert list(workplace.records.failures()) == []
    with working(workplace.worker(Dictated())):
        wait_until(
            lambda: workplace.records.provenance("0.wav") and workplace.records.failure("bad.mp3"), 60, "both to end"
        )
    assert workplace.records.failure("0.wav") is None


def test_a_retry_between_a_failure_and_its_letter_is_not_undone(workplace: Workplace) -> None:
    """The letter comes when its failure was forgiven already; who finds it then must not take it for a new one."""
    (workplace.source / "bad.mp3").write_text("not sound")
    enqueue(asked(workplace))
    queue = open_queue(load_settings(queue_name=workplace.queue.name))
    worker = workplace.worker(Dictated(), queue=queue)

    def between(send: Callable[..., dict[str, Any]], arguments: dict[str, Any]) -> dict[str, Any]:
        assert arguments["QueueUrl"] == queue._dead_url
        assert "Will retry 1 recording." in retry(workplace)
        worker.stop.set()
        return send(**arguments)

    queue._client = Wrapped(queue._client, "send_message_batch", between)
    worker.run(until_empty=False)
    assert len(workplace.dead_letters()) == 1

    workplace.director().record_dead_letters()

    assert list(workplace.records.failures()) == []
    assert workplace.dead_letters() == []
    assert [part.recording for part in Job.from_message(received(workplace.queue).body).slices] == ["bad.mp3"]


def test_a_failure_that_could_not_be_recorded_is_recorded_by_who_finds_its_letter(workplace: Workplace) -> None:
    """As long as the disk is full; the letter says that nobody has done it."""
    (workplace.source / "bad.mp3").write_text("not sound")

    def refuse(key: str) -> None:
        if key.startswith(FAILURES):
            raise RetryableError("The disk is full.")

    workplace.queue.send([workplace.job("bad.mp3")], "run")
    for _ in range(workplace.settings.max_receives - 1):
        workplace.queue.change_visibility(received(workplace.queue), 0)
    worker = workplace.worker(Dictated(), store=WrappedStore(FolderStore(workplace.dest), refuse))
    worker.run(until_empty=True)
    [letter] = workplace.dead_letters()
    assert letter.reason
    assert not letter.recorded
    assert list(workplace.records.failures()) == []

    workplace.director().record_dead_letters()

    [failure] = workplace.records.failures()
    assert (failure.recording, failure.reason) == ("bad.mp3", letter.reason)
    assert workplace.dead_letters() == []


def test_a_retry_of_some_leaves_the_others_failed(workplace: Workplace, clips: list[Path]) -> None:
    with_clips(workplace, clips[:2])
    enqueue(asked(workplace))
    died_over(workplace)

    said = retry(workplace, "--name", "1.wav")

    assert "Will retry 1 recording." in said
    assert f"Queued 1 recording on {workplace.queue.name}." in said
    assert [each.recording for each in workplace.records.failures()] == ["0.wav"]
    delivery = received(workplace.queue)
    assert [part.recording for part in Job.from_message(delivery.body).slices] == ["1.wav"]
    assert Job.from_message(delivery.body).options.model == "tiny.en"
    assert workplace.dead_letters() == []
