"""How things stand, from what a destination holds to the lines that a person reads. No queue is asked here."""

import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import CliRunner
from making import WHEN, activity, failure, job, recording, run_of, slice_of, transcript
from rich.console import Console
from support.waiting import wait_until

from nightscribe.cli.main import cli
from nightscribe.director.backlog import Backlog, Missing
from nightscribe.director.plan.estimate import LengthEstimate
from nightscribe.director.scan.scanner import Scan
from nightscribe.services import run_record
from nightscribe.services.queue_discovery import NAMING, queue_name
from nightscribe.services.request import Request
from nightscribe.services.run import _trouble
from nightscribe.services.run_progress import RunProgress
from nightscribe.services.run_record import LIVE_S, RunRecord, beginning, is_live
from nightscribe.services.status import QueuedJob, QueueState, Status, Working, _queued, gather
from nightscribe.shared.destination.keys import RUN, TRANSCRIPTS
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import QueueError, RetryableError
from nightscribe.shared.model.activity import Activity, Run
from nightscribe.shared.model.recording import Unreadable
from nightscribe.shared.model.transcript import utc_now
from nightscribe.shared.process.identity import process_name
from nightscribe.shared.queue.client import JobQueue
from nightscribe.shared.queue.inspector import Peeked, from_localstack, from_ministack
from nightscribe.shared.settings import Settings, load_settings
from nightscribe.shared.storage.folder.location import FolderLocation
from nightscribe.shared.storage.folder.store import FolderStore
from nightscribe.views.status import LISTED, LISTED_LIVE, lines, render
from nightscribe.views.status_watch import EVERY_S, follow

LATER = WHEN + timedelta(minutes=10)
SETTINGS = Settings()
NO_QUEUE = JobQueue(
    boto3.client("sqs", endpoint_url="http://127.0.0.1:9", region_name="x"),
    "q.fifo",
    visibility_timeout_s=9,
    max_receives=3,
)


def queued(*recordings: str, waiting: bool = True, receive_count: int = 0, **changes: Any) -> QueuedJob:
    return QueuedJob(message="m", recordings=recordings, waiting=waiting, receive_count=receive_count, **changes)


def queue_of(*jobs: QueuedJob, **changes: Any) -> QueueState:
    n_waiting = sum(job.waiting for job in jobs)
    values: dict[str, Any] = {
        "name": "nightscribe.fifo",
        "server": "http://queue:4566",
        "n_waiting": n_waiting,
        "n_held": len(jobs) - n_waiting,
        "n_set_aside": 0,
        "jobs": jobs,
    }
    return QueueState(**(values | changes))


def status_of(**changes: Any) -> Status:
    values: dict[str, Any] = {
        "dest": "/texts",
        "at": LATER,
        "live": False,
        "run": None,
        "queue": None,
        "workers": (),
        "n_done": 0,
        "n_failed": len(changes.get("failures", ())),
        "failures": (),
    }
    return Status(**(values | changes))


def said(**changes: Any) -> str:
    return "\n".join(lines(status_of(**changes)))


def request_for(dest: Path, source: str = "/recordings") -> Request:
    """What somebody asks for who wants the recordings of one folder in another."""
    return Request(FolderLocation(Path(source)), FolderLocation(dest), SETTINGS)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """An empty destination."""
    return Records(FolderStore(tmp_path))


@pytest.fixture(autouse=True)
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A clock on the wall that shows the same everywhere."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


# What a run says of itself


def run_progress(*missing: str) -> RunProgress:
    return RunProgress(Scan(missing=Backlog(Missing(recording(path), path) for path in missing)), LengthEstimate())


def test_a_run_is_told_of_from_its_beginning_to_its_end(records: Records) -> None:
    with RunRecord(records, run_of(), run_progress()):
        begun = records.last_run()
        assert begun
        assert (begun.ended_at, begun.n_total) == (None, 0)
        assert is_live(begun)
    ended = records.last_run()
    assert ended
    assert ended.ended_at
    assert not ended.interrupted
    assert not is_live(ended)


def test_a_run_that_breaks_off_says_so(records: Records) -> None:
    with pytest.raises(KeyboardInterrupt), RunRecord(records, run_of(), run_progress("left.mp3")):
        raise KeyboardInterrupt
    ended = records.last_run()
    assert ended
    assert (ended.interrupted, ended.left_s) == (True, None)


def test_a_run_that_waits_is_heard_of_all_the_same(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its queue may be away for minutes, or its share slow, and it must not look dead meanwhile."""
    monkeypatch.setattr(run_record, "EVERY_S", 0.01)
    written: list[Run] = []
    monkeypatch.setattr(records, "put_run", written.append)
    with RunRecord(records, run_of(), run_progress()):
        wait_until(lambda: len(written) >= 4)
    assert not is_live(written[-1])
    n_written = len(written)
    threading.Event().wait(0.1)
    assert len(written) == n_written, "it is over"


def test_how_far_a_run_is_becomes_known(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_record, "EVERY_S", 0.01)
    counted = run_progress()
    with RunRecord(records, run_of(), counted) as said_of:
        counted.done = 7
        said_of.update()
        wait_until(lambda: (last := records.last_run()) and last.n_done == 7)
        counted.done = 8
    last = records.last_run()
    assert last
    assert last.n_done == 8, "what was counted since is told in the end"


def test_a_source_whose_name_is_no_text_can_be_told(tmp_path: Path) -> None:
    begun = beginning("run", request_for(tmp_path, "/caf\udce9"), "faster-whisper")
    assert Run.model_validate_json(begun.model_dump_json()).source == "/caf\ufffd"


def test_a_destination_that_takes_nothing_does_not_end_a_run(tmp_path: Path) -> None:
    with RunRecord(Records(FolderStore(tmp_path / "gone")), run_of(), run_progress()) as said_of:
        said_of.update()
    assert not (tmp_path / "gone").exists()


def test_a_run_is_told_of_while_it_looks_for_recordings(records: Records, tmp_path: Path) -> None:
    """On a slow share that takes minutes, and nothing is queued meanwhile."""
    begun = beginning("run", request_for(tmp_path), "faster-whisper")
    with RunRecord(records, begun) as said_of:
        looking = gather(FolderLocation(tmp_path), SETTINGS)
        said_of.found(run_progress())
        has_looked = gather(FolderLocation(tmp_path), SETTINGS)
    assert (looking.live, looking.run and looking.run.n_total) == (True, None)
    assert list(lines(looking))[2:5] == [
        "It is scanning for missing recordings.",
        "In progress  no worker reports any work",
        "Queue        none yet: the run starts its own after its scan.",
    ]
    assert (has_looked.live, has_looked.run and has_looked.run.n_total) == (True, 0)
    assert "there was nothing to do." in "\n".join(lines(gather(FolderLocation(tmp_path), SETTINGS)))


def test_a_run_that_is_ended_while_it_looks_has_seen_nothing(records: Records, tmp_path: Path) -> None:
    begun = beginning("run", request_for(tmp_path), "faster-whisper")
    with pytest.raises(KeyboardInterrupt), RunRecord(records, begun):
        raise KeyboardInterrupt
    assert "; it had not finished its scan." in "\n".join(lines(gather(FolderLocation(tmp_path), SETTINGS)))


def test_a_run_with_nothing_to_do_does_not_hide_a_fleet_at_work(records: Records, tmp_path: Path) -> None:
    """Its director has told where the queue is, which `status` and `retry` go by."""
    directed = run_of(command="director", ended_at=WHEN)
    records.put_run(directed)
    with RunRecord(
        records,
        beginning("run", request_for(tmp_path), "auto"),
    ) as said_of:
        said_of.found(run_progress())
    assert records.last_run() == directed


def test_a_run_says_where_it_queues_once_it_does(records: Records, tmp_path: Path) -> None:
    request = request_for(tmp_path)
    director = request.director(NO_QUEUE, "faster-whisper")
    with RunRecord(records, beginning("run", request, "faster-whisper")) as said_of:
        said_of.queues(director, 3)
        run = records.last_run()
    assert run
    assert (run.id, run.queue_name, run.n_workers) == (director.run_id, "q.fifo", 3)
    assert run.endpoint == "http://127.0.0.1:9"


def test_a_run_whose_process_has_ended_is_no_more() -> None:
    """Where that can be asked, nobody need wait for how long it was silent."""
    killed = subprocess.Popen(["sleep", "1000"])
    run = run_of(process=process_name(killed.pid))
    assert is_live(run, WHEN)
    killed.kill()
    killed.wait()
    assert not is_live(run, WHEN)
    assert is_live(run_of(process="another-machine-1"), WHEN)


def test_a_run_that_ends_while_it_is_looked_at_did_not_break_off(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process is asked for after its record was read."""
    process = subprocess.Popen(["sleep", "1000"])
    run = run_of(process=process_name(process.pid), updated_at=utc_now())
    records.put_run(run)
    read = Records.last_run

    def then_it_ends(records: Records) -> Run | None:
        found = read(records)
        records.put_run(run.model_copy(update={"ended_at": utc_now()}))
        process.kill()
        process.wait()
        return found

    monkeypatch.setattr(Records, "last_run", then_it_ends)
    status = gather(FolderLocation(tmp_path), SETTINGS)
    assert (status.live, status.run is not None and status.run.ended_at is not None) == (False, True)


def test_a_run_that_was_not_heard_of_for_long_is_no_more() -> None:
    """It was killed, or its machine was."""
    assert is_live(run_of(), WHEN + timedelta(seconds=LIVE_S - 1))
    assert not is_live(run_of(), WHEN + timedelta(seconds=LIVE_S + 1))
    assert not is_live(run_of(ended_at=WHEN), WHEN)


# Gathering


def test_what_is_done_and_what_failed_is_counted_in_folders_below_too(records: Records, tmp_path: Path) -> None:
    for name in ("a.mp3", "2012/b.mp3", "2012/05/c.mp3"):
        records.finish(transcript(recording=name, stem=name), ())
    records.fail(failure("2012/old.mp3"))
    records.fail(failure("new.mp3", failed_at=LATER))
    status = gather(FolderLocation(tmp_path), SETTINGS)
    assert (status.n_done, status.n_failed) == (3, 2)
    assert [each.recording for each in status.failures] == ["new.mp3", "2012/old.mp3"]


def test_only_so_many_failures_are_kept_the_newest_and_all_are_counted(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nightscribe.services.status.FAILURES_KEPT", 3)
    monkeypatch.setattr("nightscribe.views.status.FAILURES_KEPT", 3)
    for number in range(5):
        records.fail(failure(f"{number}.mp3", failed_at=WHEN + timedelta(seconds=number)))
    status = gather(FolderLocation(tmp_path), SETTINGS)
    assert [each.recording for each in status.failures] == ["4.mp3", "3.mp3", "2.mp3"]
    assert "Failed       5 recordings, of the newest 3:" in lines(status)


def unreadable(*names: str) -> RunProgress:
    return RunProgress(
        Scan(unreadable=[Unreadable(name, f"{name!r} may not be read.") for name in names]), LengthEstimate()
    )


def test_what_a_run_could_not_read_has_failed_until_the_next_one_looks(records: Records, tmp_path: Path) -> None:
    """It has no record of its own, since it was nobody's job."""
    records.fail(failure("broken.mp3", failed_at=LATER))
    with RunRecord(records, run_of(), unreadable("locked.mp3", "caf\udce9.mp3")):
        pass
    seen = CliRunner().invoke(cli, ["status", str(tmp_path), "--json"])
    assert seen.exit_code == 1
    told = json.loads(seen.stdout)
    assert told["n_failed"] == 3
    assert [(each["recording"], each["attempts"]) for each in told["failures"]] == [
        ("broken.mp3", 1), ("locked.mp3", 0), ("caf\ufffd.mp3", 0),
    ]  # fmt: skip
    assert told["failures"][1]["reason"] == "'locked.mp3' may not be read."

    records.forgive("broken.mp3")
    with RunRecord(records, run_of(), run_progress()):
        pass
    assert gather(FolderLocation(tmp_path), SETTINGS).n_failed == 0


def test_what_failed_and_can_no_longer_be_read_is_one_failure(records: Records, tmp_path: Path) -> None:
    records.fail(failure("talk.mp3"))
    with RunRecord(records, run_of(), unreadable("talk.mp3", "other.mp3")):
        pass
    status = gather(FolderLocation(tmp_path), SETTINGS)
    assert status.n_failed == 2
    assert {each.reason for each in status.failures} == {"It holds text, not sound.", "'other.mp3' may not be read."}


def test_of_what_cannot_be_read_all_is_counted_and_some_is_kept(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be a million files, and is written down every two seconds."""
    monkeypatch.setattr("nightscribe.services.run_progress.UNREADABLE_KEPT", 3)
    with RunRecord(records, run_of(), unreadable(*map(str, range(10)))):
        pass
    status = gather(FolderLocation(tmp_path), SETTINGS)
    assert (status.n_failed, len(status.failures)) == (10, 3)


def test_records_with_times_of_no_zone_count_as_damaged(records: Records, tmp_path: Path) -> None:
    for key, record in ((".nightscribe/run.json", run_of()), (".nightscribe/jobs/here-1.json", activity())):
        records.store.put(key, record.model_dump_json().replace(":59Z", ":59").encode())
    status = gather(FolderLocation(tmp_path), SETTINGS)
    assert (status.run, status.workers) == (None, ())


def test_a_destination_whose_name_is_no_text_has_a_status() -> None:
    with tempfile.TemporaryDirectory() as folder:
        dest = Path(folder, "caf\udce9")
        (dest / ".nightscribe").mkdir(parents=True)
        status = gather(FolderLocation(dest), SETTINGS)
    assert json.loads(status.model_dump_json())["dest"].endswith("/caf\ufffd")


def test_a_record_that_is_damaged_is_counted_and_costs_nothing_else(records: Records, tmp_path: Path) -> None:
    records.fail(failure("good.mp3"))
    records.store.put(".nightscribe/failures/bad.mp3.json", b"{")
    records.store.put(".nightscribe/run.json", b"nonsense")
    status = gather(FolderLocation(tmp_path), SETTINGS)
    assert status.run is None
    assert [each.recording for each in status.failures] == ["good.mp3"]


def test_counting_reads_no_record(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be a million of them."""
    records.finish(transcript(), ())
    records.store.put(f"{TRANSCRIPTS}not/a/record.txt", b"")
    for read in ("get", "ends"):
        monkeypatch.setattr(FolderStore, read, lambda *_: pytest.fail("a record was read"))
    assert records.count(TRANSCRIPTS) == 1
    assert records.count(".nightscribe/nothing/") == 0


def test_workers_that_a_run_left_behind_are_not_at_work(records: Records, tmp_path: Path) -> None:
    records.report(activity(worker="dead"))
    records.put_run(run_of(ended_at=LATER))
    assert gather(FolderLocation(tmp_path), SETTINGS).workers == ()
    records.report(activity(worker="new", updated_at=LATER + timedelta(seconds=5)))
    [working] = gather(FolderLocation(tmp_path), SETTINGS, now=LATER + timedelta(seconds=65)).workers
    assert (working.worker, working.silent_s) == ("new", 60)


def test_a_worker_whose_process_has_ended_is_not_at_work(records: Records, tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    for name in (process_name(ended.pid), process_name(os.getpid())):
        records.report(activity(worker=name))
    assert [each.worker for each in gather(FolderLocation(tmp_path), SETTINGS).workers] == [process_name(os.getpid())]


def test_silent_workers_of_a_run_that_broke_off_are_not_at_work(records: Records, tmp_path: Path) -> None:
    """Those of a fleet may be: their engine takes long, or their share is away."""
    for command, n_working in (("run", 0), ("director", 1)):
        records.put_run(run_of(command))
        records.report(activity(worker="there-1"))
        assert len(gather(FolderLocation(tmp_path), SETTINGS, now=LATER).workers) == n_working


def test_the_queue_of_a_run_that_is_over_is_not_looked_for(records: Records, tmp_path: Path) -> None:
    records.put_run(run_of(ended_at=LATER))
    status = gather(FolderLocation(tmp_path), SETTINGS)
    assert status.queue is None
    assert status.no_queue == "none now: the last run had its own, which ended with it."


def test_a_server_that_is_there_for_a_bucket_has_no_queue_of_a_run_that_is_over(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies on it is others'; only who names a queue means it."""
    looked_for: list[str] = []

    def refuse(name: str, **_: object) -> None:
        looked_for.append(name)
        raise QueueError("There is none.")

    monkeypatch.setattr("nightscribe.services.queue_discovery.connect", refuse)
    records.put_run(run_of(ended_at=LATER))
    for variable in NAMING:
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    assert (gather(FolderLocation(tmp_path), SETTINGS).no_queue or "").startswith("none now")
    assert looked_for == []
    assert gather(FolderLocation(tmp_path), load_settings(queue_name="mine.fifo")).no_queue == "There is none."
    monkeypatch.setenv("NIGHTSCRIBE_QUEUE_NAME", "ours.fifo")
    gather(FolderLocation(tmp_path), load_settings())
    records.store.delete(RUN)
    monkeypatch.delenv("NIGHTSCRIBE_QUEUE_NAME")
    gather(FolderLocation(tmp_path), SETTINGS)
    assert looked_for == ["mine.fifo", "ours.fifo", SETTINGS.queue_name]


@pytest.mark.usefixtures("sockets")
def test_the_queue_of_a_run_that_does_not_answer_costs_a_sentence(records: Records, tmp_path: Path) -> None:
    records.put_run(run_of(endpoint="http://127.0.0.1:9", updated_at=utc_now()))
    records.fail(failure())
    status = gather(FolderLocation(tmp_path), SETTINGS)
    assert (status.live, status.queue, status.n_failed) == (True, None, 1)
    assert status.no_queue
    assert status.no_queue.startswith("The server of the queue 'nightscribe.fifo' does not respond")


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:99999", "http://[", "nonsense"])
def test_an_address_that_is_none_costs_a_sentence(records: Records, tmp_path: Path, endpoint: str) -> None:
    records.put_run(run_of(endpoint=endpoint, updated_at=utc_now()))
    status = gather(FolderLocation(tmp_path), SETTINGS)
    assert status.queue is None
    assert status.no_queue


def test_the_queue_of_a_run_is_looked_for_on_its_own_machine_only(records: Records, tmp_path: Path) -> None:
    """Its address is one that every machine has for itself."""
    records.put_run(run_of(host="another", updated_at=utc_now()))
    assert gather(FolderLocation(tmp_path), SETTINGS).no_queue == "it can be reached only on another, where the run is."


def test_where_no_queue_is_named_none_is_looked_for(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "nightscribe.services.queue_discovery.connect", lambda *_, **__: pytest.fail("a queue was looked for")
    )
    status = gather(FolderLocation(tmp_path), SETTINGS)
    assert (status.no_queue or "").startswith("none is configured")


def test_the_queue_that_is_asked_for_comes_before_that_of_the_last_director(monkeypatch: pytest.MonkeyPatch) -> None:
    last = run_of("director", queue_name="last.fifo")
    assert queue_name(last, load_settings()) == "last.fifo"
    monkeypatch.setenv("NIGHTSCRIBE_QUEUE_NAME", "mine.fifo")
    assert queue_name(last, load_settings()) == "mine.fifo"


# What servers answer


def test_answers_of_both_servers_are_read_alike() -> None:
    """An empty list, a list of one and a list are three different things where an answer was XML once."""
    ministack = {"MessageId": "1", "Body": "b", "ReceiveCount": 2, "IsVisible": False}
    attributes = [
        {"Name": "ApproximateReceiveCount", "Value": "2"},
        {"Name": "IsVisible", "Value": "false"},
        {"Name": "IsDelayed", "Value": "false"},
    ]
    localstack = {"MessageId": "1", "Body": "b", "Attribute": attributes}

    def result(messages: object) -> dict[str, Any]:
        return {"ReceiveMessageResponse": {"ReceiveMessageResult": messages}}

    read = list(from_ministack({"messages": {"0": {"us-east-1": {"url": [ministack]}}}}))
    assert len(read) == 1
    assert read == list(from_localstack(result({"Message": localstack})))
    assert read == list(from_localstack(result({"Message": [localstack]})))
    for nothing in (None, {}, {"Message": None}, {"Message": []}):
        assert list(from_localstack(result(nothing))) == []
    assert list(from_ministack({"messages": {}})) == []


# The lines


def test_a_run_at_work_says_how_far_how_fast_and_how_long_yet() -> None:
    run = run_of(n_done=5, n_failed=1, heard_s=1080, total_s=2220, speed=36.1, left_s=32)
    assert said(live=True, run=run).splitlines()[:3] == [
        "/recordings → /texts (tiny.en on faster-whisper, 2 workers)",
        "A run is active; it started on 29 Feb at 23:59.",
        "6 of 25 recordings · 18 min of about 37 min of sound · 36.1 × real time · about 32 s left · 1 failed",
    ]


@pytest.mark.parametrize(
    ("run", "line"),
    [
        (run_of(), "The last run broke off; its last sign of life was on 29 Feb at 23:59."),
        (
            run_of(ended_at=LATER, n_done=20, n_failed=5),
            "The last run ended at 00:09, after 10 min; 20 of 25 recordings done, 5 failed.",
        ),
        (
            run_of(ended_at=LATER, interrupted=True, n_done=3),
            "The last run was interrupted at 00:09; 3 of 25 recordings done.",
        ),
        (
            run_of("director", ended_at=LATER, interrupted=True),
            "The last director was interrupted at 00:09, before it had queued all that was missing (25 recordings).",
        ),
        (run_of("director", ended_at=LATER), "The last director queued 25 recordings and ended at 00:09."),
    ],
)
def test_what_became_of_the_last_run_is_told(run: Run, line: str) -> None:
    assert line in said(run=run).splitlines()


def test_of_a_run_that_is_over_nothing_is_said_to_be_in_progress() -> None:
    assert "In progress" not in said(run=run_of(ended_at=LATER))
    assert "In progress  no worker reports any work" in said(live=True, run=run_of())
    assert "In progress  no worker reports any work" in said(run=run_of("director", ended_at=LATER))


def test_a_queue_that_was_asked_for_after_a_run_is_named() -> None:
    """It is not the one that the run had."""
    of_run, another = queue_of(queued("a.mp3")), queue_of(queued("a.mp3"), name="mine.fifo")
    assert "Queued       1 job with 1 recording\n" in said(live=True, run=run_of(), queue=of_run)
    assert "1 recording on mine.fifo at http://queue:4566" in said(run=run_of(ended_at=LATER), queue=another)


def test_on_a_narrow_terminal_lines_break_between_words(records: Records, tmp_path: Path) -> None:
    records.put_run(run_of(ended_at=LATER, n_done=20, n_failed=5))
    records.fail(failure(f"2012/{'a-very-long-name-' * 5}.mp3"))
    seen = CliRunner().invoke(cli, ["status", str(tmp_path)], env={"FORCE_COLOR": "1", "COLUMNS": "40"})
    plain = CliRunner().invoke(cli, ["status", str(tmp_path)])
    assert seen.stdout.split() == plain.stdout.split(), "no word is cut"
    assert all(len(line) <= 40 or " " not in line.strip() for line in seen.stdout.splitlines())
    assert any(len(line) > 40 for line in plain.stdout.splitlines())
    at = seen.stdout.splitlines().index("Failed       1 recording")
    assert seen.stdout.splitlines()[at + 1].startswith(f"{'':13}2012/a-very-long-name-")
    assert seen.stdout.splitlines()[at + 2] == f"{'':13}It holds text, not sound."


def test_a_redo_is_told() -> None:
    assert "(tiny.en on faster-whisper, 2 workers, including finished ones)" in said(run=run_of(redo=True))


def test_a_destination_of_an_older_version_is_shown_without_its_run() -> None:
    text = said(n_done=1200, no_queue="The queue's address is not complete.")
    assert "No run into /texts has been recorded." in text
    assert "Done         1,200 recordings" in text
    assert "Queue        The queue's address is not complete." in text


def test_what_waits_is_named_in_the_order_of_the_queue() -> None:
    queue = queue_of(
        queued("taken.mp3", waiting=False, receive_count=1),
        queued("long.mp3", slice=2, n_slices=5),
        queued("a.mp3", "b.mp3", "c.mp3", receive_count=1),
        queued(),
        n_set_aside=1,
    )
    assert said(queue=queue).splitlines()[2:7] == [
        "Queued       3 jobs with 4 recordings on nightscribe.fifo at http://queue:4566; 1 more in progress or delayed",
        "             long.mp3 (slice 2 of 5)",
        "             a.mp3 and 2 more · try 2",
        "             a message that is not a job of this version",
        "Dead letters 1 job, for the next director or `retry` to process",
    ]


def test_amazons_queue_tells_only_how_many() -> None:
    queue = queue_of(jobs=None, server=None, n_waiting=1200, n_held=3)
    assert "Queued       1,200 jobs on nightscribe.fifo; 3 more in progress or delayed" in said(queue=queue)


def test_of_a_long_queue_the_beginning_is_shown() -> None:
    text = said(queue=queue_of(*(queued(f"{n}.mp3") for n in range(LISTED + 7))))
    assert f"             {LISTED - 1}.mp3\n             … and 7 more jobs\n" in text


def test_a_worker_that_rests_says_why_and_holds_no_job() -> None:
    resting = activity(recording="a.mp3", message="m", done_s=9.0).resting("ffmpeg cannot be started.")
    again = Activity.model_validate_json(resting.model_dump_json())
    assert (again.message, again.done_s, again.trouble) == ("", 0.0, "ffmpeg cannot be started.")
    shown = "\n".join(lines(status_of(workers=(Working(**again.model_dump(), silent_s=200.0),))))
    assert "here-1: rests, and then tries again: ffmpeg cannot be started." in shown
    assert activity().trouble is None


def test_a_run_says_why_its_workers_rest() -> None:
    resting = [activity(worker=f"here-{n}").resting("No memory.") for n in (1, 2)]
    assert _trouble(None, [activity()]) == ""
    assert _trouble(None, [activity(), resting[0]]) == "A worker rests and then tries again: No memory."
    assert _trouble(None, resting) == "2 workers rest and then try again: No memory."
    assert _trouble("DEST has only 0 MB free", resting).startswith("DEST has only 0 MB free: make room;")


def test_each_worker_says_what_it_does_and_how_far_it_is() -> None:
    def working(**changes: Any) -> Working:
        changes = {"silent_s": 1.0, **changes}
        return Working(**activity("a.mp3", done_s=250).model_dump() | changes)

    workers = (
        working(),
        working(slice_s=600.0, receive_count=2, n_recordings=12),
        working(silent_s=150.0),
    )
    assert said(workers=workers).splitlines()[1:4] == [
        "In progress  here-1: a.mp3, 4 min 10 s done",
        "             here-1: a.mp3, 4 min 10 s of 10 min done · of a job of 12 recordings · try 2",
        "             here-1: a.mp3, 4 min 10 s done · silent for 2 min 30 s",
    ]


def test_few_failures_are_listed_and_many_are_grouped_by_reason() -> None:
    few = tuple(failure(f"{n}.mp3") for n in range(LISTED))
    assert said(failures=few).count("It holds text, not sound.") == LISTED
    many = (*few, failure("zero.mp3", reason="It is empty (0 bytes)."))
    assert said(failures=many).splitlines()[-4:-1] == [
        f"Failed       {LISTED + 1} recordings",
        f"             0.mp3 and {LISTED - 1} more: It holds text, not sound.",
        "             zero.mp3: It is empty (0 bytes).",
    ]
    gone = tuple(failure(f"{n}.mp3", reason=f"'{n}.mp3' is no longer in the source.") for n in range(LISTED + 1))
    assert f"0.mp3 and {LISTED} more: They are no longer in the source." in said(failures=gone)
    different = tuple(failure(f"{n}.mp3", reason=f"Reason {n}.") for n in range(LISTED + 2))
    assert "… and 2 other reasons, in /texts/.nightscribe/failures/" in said(failures=different)


def test_the_live_view_fits_a_small_screen_whatever_it_holds() -> None:
    many = tuple(failure(f"{n}.mp3", reason=f"Reason {n} " * 20) for n in range(50))
    queue = queue_of(*(queued(f"[bold]{n} " * 20) for n in range(50)))
    console = Console(width=80, height=24, force_terminal=True)
    with console.capture() as captured:
        console.print(render(status_of(live=True, run=run_of(total_s=10), failures=many, queue=queue)))
    shown = captured.get().splitlines()
    assert len(shown) < 24
    assert "[bold]" in captured.get()
    assert sum("Reason" in line for line in shown) == LISTED_LIVE


# Watching


class Scene:
    """What is seen one look after the other, and then Ctrl-C."""

    def __init__(self, *statuses: Status) -> None:
        self._statuses = list(statuses[1:])
        self.shown: list[Status] = []
        self.slept_s: list[float] = []
        self.end, self.is_over = follow(statuses[0], self._look, self.shown.append, sleep=self.slept_s.append)

    def _look(self) -> Status:
        if not self._statuses:
            raise KeyboardInterrupt
        return self._statuses.pop(0)


def test_watching_ends_with_the_run() -> None:
    live, over = status_of(live=True, run=run_of()), status_of(run=run_of(ended_at=LATER))
    scene = Scene(live, live, over, live)
    assert scene.shown == [live, live, over]
    assert (scene.end, scene.is_over) == (over, True)
    assert min(scene.slept_s) >= EVERY_S


def test_a_run_may_begin_and_end_between_two_looks() -> None:
    over = status_of(run=run_of(ended_at=LATER + timedelta(seconds=1)))
    assert Scene(status_of(), status_of(), over, over).shown == [status_of(), status_of(), over]


def test_watching_goes_on_where_no_run_is_at_work_until_it_is_interrupted() -> None:
    """Workers elsewhere come and go, and a run may yet begin."""
    idle, queueing = status_of(run=run_of(ended_at=WHEN)), status_of(live=True, run=run_of("director"))
    scene = Scene(idle, queueing, idle, idle)
    assert scene.shown == [idle, queueing, idle, idle]
    assert (scene.end, scene.is_over) == (idle, False)


def test_watching_survives_a_share_that_is_away_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    live, over = status_of(live=True, run=run_of()), status_of(run=run_of(ended_at=LATER))
    looks = iter([RetryableError("Cannot read the share."), over])

    def look() -> Status:
        found = next(looks)
        if isinstance(found, RetryableError):
            raise found
        return found

    shown: list[Status] = []
    assert follow(live, look, shown.append, sleep=lambda _: None) == (over, True)
    assert [status.trouble for status in shown] == [None, "Cannot read the share.", None]
    assert "Last seen at 00:09: Cannot read the share." in lines(shown[1])


# The command


def test_json_has_everything_under_names_that_stay(records: Records, tmp_path: Path) -> None:
    records.fail(failure())
    records.put_run(run_of(ended_at=LATER))
    result = CliRunner().invoke(cli, ["status", str(tmp_path), "--json"])
    assert result.exit_code == 1
    status = json.loads(result.stdout)
    assert set(status) == {
        *("version", "dest", "at", "trouble", "live", "run", "queue", "no_queue", "workers"),
        *("n_done", "n_failed", "failures"),
    }
    assert status["run"]["n_total"] == 25
    assert status["failures"][0]["reason"] == "It holds text, not sound."


def test_where_nothing_failed_the_status_is_good_and_plain(records: Records, tmp_path: Path) -> None:
    records.put_run(run_of(ended_at=LATER, n_done=25))
    result = CliRunner().invoke(cli, ["status", str(tmp_path)])
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert "25 of 25 recordings done" in result.stdout


@pytest.mark.parametrize("command", ["status", "retry"])
def test_a_folder_that_is_no_destination_is_refused(tmp_path: Path, command: str) -> None:
    for folder, why in ((tmp_path / "nowhere", "does not exist"), (tmp_path, "holds no records of nightscribe")):
        result = CliRunner().invoke(cli, [command, str(folder)])
        assert result.exit_code == 2
        assert why in result.stderr


def test_what_is_in_a_message_is_told_by_its_slices() -> None:
    cuts = (600.0, 1200.0)
    each = [
        _queued(Peeked("m", body, 1, True))
        for body in (
            job(slice_of("a.mp3"), slice_of("b.mp3")).to_message(),
            job(slice_of("long.mp3", cuts=cuts, index=1)).to_message(),
            job(slice_of("long.mp3", cuts=cuts, index=2)).to_message(),
            "not ours",
        )
    ]
    assert [(q.recordings, q.slice, q.n_slices, q.slice_s) for q in each] == [
        (("a.mp3", "b.mp3"), None, 1, None),
        (("long.mp3",), 2, 3, 600.0),
        (("long.mp3",), 3, 3, None),
        ((), None, 1, None),
    ]
