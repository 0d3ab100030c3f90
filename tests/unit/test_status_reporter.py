"""What a worker says about its job: up to date while it lasts, gone when it is over, and never in the way."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from making import slice_of
from support.waiting import wait_until

from nightscribe.shared.destination.records import Records
from nightscribe.shared.model.activity import Activity
from nightscribe.shared.queue.wire import Delivery
from nightscribe.shared.storage.folder.store import FolderStore
from nightscribe.worker import status_reporter as reporter
from nightscribe.worker.status_reporter import StatusReporter

DELIVERY = Delivery("message-1", "", "handle", 2)


class Counting(FolderStore):
    """Tells somebody of each file before it is written."""

    def __init__(self, root: Path, before: Callable[[], None] = lambda: None) -> None:
        super().__init__(root)
        self.n_puts = 0
        self._before = before

    def put(self, key: str, content: bytes, *, durable: bool = True) -> None:
        """As the folder."""
        self._before()
        super().put(key, content, durable=durable)
        self.n_puts += 1


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks for news all the time."""
    monkeypatch.setattr(reporter, "REPORT_EVERY_S", 0.01)


def said(records: Records) -> Activity | None:
    """What is known of the worker."""
    return next(records.activities(), None)


def test_what_a_job_begins_with_is_known_at_once(tmp_path: Path) -> None:
    """Others go by it before they begin an overlapping job."""
    records = Records(FolderStore(tmp_path))
    with StatusReporter(records, "here-1", DELIVERY, refresh_s=3600) as told:
        told.begin(slice_of("a.mp3"), 7)
        found = said(records)
    assert found is not None
    assert (found.worker, found.recording, found.message, found.n_recordings, found.receive_count) == (
        "here-1", "a.mp3", "message-1", 7, 2,
    )  # fmt: skip
    assert said(records) is None, "it is over"


def test_how_far_it_is_becomes_known(tmp_path: Path) -> None:
    """Soon, by a thread that the work does not wait for."""
    records = Records(FolderStore(tmp_path))
    with StatusReporter(records, "here-1", DELIVERY, refresh_s=3600) as told:
        told.begin(slice_of("a.mp3"), 2)
        told.progress(slice_of("b.mp3"), 12.34)
        found = wait_until(lambda: (now := said(records)) and now.recording == "b.mp3" and now)
    assert found.done_s == 12.3


def test_a_worker_that_has_nothing_new_to_say_is_heard_of_all_the_same(tmp_path: Path) -> None:
    """Its engine may take minutes for a batch, and it must not look dead meanwhile."""
    store = Counting(tmp_path)
    with StatusReporter(Records(store), "here-1", DELIVERY, refresh_s=0.02) as told:
        told.begin(slice_of("a.mp3"), 1)
        wait_until(lambda: store.n_puts >= 4)


def test_nothing_is_written_while_nothing_changes(tmp_path: Path) -> None:
    """Between two refreshes, on a share that has better to do."""
    store = Counting(tmp_path)
    with StatusReporter(Records(store), "here-1", DELIVERY, refresh_s=3600) as told:
        told.begin(slice_of("a.mp3"), 1)
        threading.Event().wait(0.2)
    assert store.n_puts == 1


def test_a_store_that_hangs_does_not_hold_up_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is told while the last news is still being written; the end waits for that only so long."""
    monkeypatch.setattr(reporter, "END_WITHIN_S", 0.1)
    first, hanging, go_on = threading.Event(), threading.Event(), threading.Event()

    def hang() -> None:
        if first.is_set():
            hanging.set()
            go_on.wait(20)
        first.set()

    with StatusReporter(Records(Counting(tmp_path, hang)), "here-1", DELIVERY, refresh_s=3600) as told:
        told.begin(slice_of("a.mp3"), 1)
        told.progress(slice_of("a.mp3"), 1.0)
        assert hanging.wait(10)
        told.progress(slice_of("a.mp3"), 2.0)
    assert not go_on.is_set()
    go_on.set()
    told._thread.stop(10)


def test_what_was_hanging_is_gone_too_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """News that were still being written when the job ended are not left for good."""
    monkeypatch.setattr(reporter, "END_WITHIN_S", 0.1)
    first, hanging, go_on = threading.Event(), threading.Event(), threading.Event()

    def hang() -> None:
        if first.is_set():
            hanging.set()
            go_on.wait(60)
        first.set()

    records = Records(Counting(tmp_path, hang))
    with StatusReporter(records, "here-1", DELIVERY, refresh_s=3600) as told:
        told.begin(slice_of("a.mp3"), 1)
        told.progress(slice_of("a.mp3"), 1.0)
        assert hanging.wait(60)
    go_on.set()
    told._thread.stop(60)
    assert said(records) is None


def test_a_job_of_which_nothing_was_begun_leaves_nothing(tmp_path: Path) -> None:
    """All of it was done already."""
    with StatusReporter(Records(FolderStore(tmp_path)), "here-1", DELIVERY, refresh_s=3600):
        pass
    assert list(tmp_path.iterdir()) == []


def test_where_a_report_is_paid_for_it_comes_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One each second would cost more than the worker."""
    store = Counting(tmp_path)
    monkeypatch.setattr(reporter, "REMOTE_REPORT_EVERY_S", 3600.0)
    with StatusReporter(Records(store), "here-1", DELIVERY, refresh_s=3600) as near:
        near.begin(slice_of("a.mp3"), 1)
        near.progress(slice_of("a.mp3"), 1.0)
        wait_until(lambda: store.n_puts == 2)
        store.max_concurrency = 16
        with StatusReporter(Records(store), "here-2", DELIVERY, refresh_s=3600) as afar:
            afar.begin(slice_of("b.mp3"), 1)
            afar.progress(slice_of("b.mp3"), 1.0)
            near.progress(slice_of("a.mp3"), 2.0)
            wait_until(lambda: store.n_puts == 4)
            [said_afar] = [each for each in Records(store).activities() if each.worker == "here-2"]
    assert said_afar.done_s == 0
