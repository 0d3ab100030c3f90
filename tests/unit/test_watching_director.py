"""How a director that watches is asked for, and how it is shown."""

from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from making import WHEN, run_of

from nightscribe.cli.main import cli
from nightscribe.services.status import gather
from nightscribe.shared.destination.records import Records
from nightscribe.shared.model.activity import Run
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.folder.location import FolderLocation
from nightscribe.shared.storage.folder.store import FolderStore
from nightscribe.views.status import lines


def watching(**changes: object) -> Run:
    """One that has taken up six recordings."""
    values = {"watch": True, "endpoint": "http://127.0.0.1:9", "n_total": 6, "n_done": 4, "n_failed": 1}
    return run_of("director", **(values | changes))


def shown(dest: Path, run: Run, seconds: float) -> str:
    """What status says of it so long after it began."""
    Records(FolderStore(dest)).put_run(run)
    return "\n".join(lines(gather(FolderLocation(dest), Settings(), now=WHEN + timedelta(seconds=seconds))))


@pytest.fixture(autouse=True)
def no_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody need wait for one that is not there."""
    monkeypatch.setattr("nightscribe.services.queue_discovery.WITHIN_S", 0.1)


def test_one_that_is_at_work_tells_what_it_took_up(tmp_path: Path) -> None:
    said = shown(tmp_path, watching(), 5)
    assert "A watching director is active; it started " in said
    assert "So far, 4 of 6 recordings done, 1 failed." in said


def test_one_that_has_just_begun_has_taken_up_nothing(tmp_path: Path) -> None:
    assert "It has found nothing to queue yet." in shown(tmp_path, watching(n_total=0, n_done=0, n_failed=0), 5)


def test_one_that_was_ended_says_so(tmp_path: Path) -> None:
    said = shown(tmp_path, watching(ended_at=WHEN, interrupted=True), 500)
    assert "The last director stopped watching " in said
    assert "until then, 4 of 6 recordings done, 1 failed." in said


def test_one_that_broke_off_is_told_from_one_that_was_ended(tmp_path: Path) -> None:
    assert "The last watching director broke off; its last sign of life was " in shown(tmp_path, watching(), 500)


def test_watching_and_doing_all_again_are_two_things(tmp_path: Path) -> None:
    """At each restart everything would be done again."""
    said = CliRunner().invoke(cli, ["director", str(tmp_path), str(tmp_path / "dest"), "--watch", "--redo"])
    assert said.exit_code == 2
    assert "--redo" in said.stderr
    assert not (tmp_path / "dest").exists()
