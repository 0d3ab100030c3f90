"""The worker processes of `run`: real ones, killed as the memory killer does."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.waiting import wait_until

from nightscribe.director.outage import OUTAGE_LIMIT_S
from nightscribe.local.worker_pool import MAX_DEATHS_IN_A_ROW, WorkerPool
from nightscribe.shared.errors import SetupError


@pytest.fixture
def pool(tmp_path: Path, sqs_environment: dict[str, str]) -> Iterator[WorkerPool]:
    """One worker, that has hardly begun to load anything when it dies."""
    (tmp_path / "source").mkdir()
    (tmp_path / "dest").mkdir()
    with WorkerPool(1, [str(tmp_path / "source"), str(tmp_path / "dest")], {}, tmp_path) as pool:
        yield pool


def die(pool: WorkerPool) -> int:
    """Kill the worker; gives the number of its process."""
    [place] = pool._places
    assert place.process is not None
    os.kill(place.process.pid, signal.SIGKILL)
    place.process.wait()
    return place.process.pid


def test_a_worker_that_is_killed_is_started_again(pool: WorkerPool) -> None:
    """By the next look, in the same place."""
    first = die(pool)
    pool.look_after(progressed=False)
    [place] = pool._places
    assert place.process is not None
    assert place.process.pid != first
    assert place.process.poll() is None


def test_a_machine_on_which_every_worker_is_killed_is_told_so(pool: WorkerPool) -> None:
    """And the run ends with what to try, instead of going on for ever."""
    for _ in range(MAX_DEATHS_IN_A_ROW - 1):
        die(pool)
        pool.look_after(progressed=False)
    die(pool)
    with pytest.raises(SetupError, match="try --workers 1 or a smaller --model"):
        pool.look_after(progressed=False)


def test_a_few_recordings_that_kill_every_worker_do_not_end_a_night_that_went_well(pool: WorkerPool) -> None:
    """Two of them have six tries together, after which each has its reason."""
    pool.look_after(progressed=True)
    for _ in range(MAX_DEATHS_IN_A_ROW + 1):
        die(pool)
        pool.look_after(progressed=False)


LACK = "DEST 'here' has only 3 MB free"


def test_where_room_is_lacking_no_death_counts_and_workers_are_started_once_there_is_some(pool: WorkerPool) -> None:
    """Each would end at once, and not even its log could say why."""
    for _ in range(MAX_DEATHS_IN_A_ROW + 1):
        dead = die(pool)
        for _ in range(2):
            pool.look_after(progressed=False, lack=LACK)
        [place] = pool._places
        assert place.process is not None
        assert place.process.pid == dead
        pool.look_after(progressed=False)
        assert place.process.poll() is None


def test_a_worker_that_lives_goes_on_where_room_is_lacking(pool: WorkerPool) -> None:
    """It has its model in memory, and tries again what it cannot write."""
    [place] = pool._places
    before = place.process
    pool.look_after(progressed=False, lack=LACK)
    pool.look_after(progressed=False)
    assert place.process is before


def test_where_nobody_makes_room_the_run_ends_and_says_so(pool: WorkerPool) -> None:
    """As long as it bears a store that takes nothing, and not before."""
    now = 0.0
    pool.clock = lambda: now
    die(pool)
    pool.look_after(progressed=False, lack=LACK)
    now += OUTAGE_LIMIT_S - 1
    pool.look_after(progressed=False, lack=LACK)
    pool.look_after(progressed=False)
    die(pool)
    for _ in range(2):
        pool.look_after(progressed=False, lack=LACK)
        now += OUTAGE_LIMIT_S - 1
    now += 2
    with pytest.raises(SetupError, match="DEST 'here' has only 3 MB free, so no worker can start"):
        pool.look_after(progressed=False, lack=LACK)


def test_a_worker_whose_log_cannot_be_written_is_waited_for(pool: WorkerPool, tmp_path: Path) -> None:
    """The share with both is away for a while."""
    [place] = pool._places
    there = place.log_file
    die(pool)
    place.log_file = tmp_path / "away" / there.name
    for _ in range(MAX_DEATHS_IN_A_ROW + 1):
        pool.look_after(progressed=False)
        assert place.waits
    place.log_file = there
    pool.look_after(progressed=False)
    assert place.process is not None
    assert place.process.poll() is None


def test_a_worker_that_cannot_start_ends_the_run_with_its_own_words(
    tmp_path: Path, sqs_environment: dict[str, str]
) -> None:
    """Starting it again would not help."""
    with WorkerPool(1, [str(tmp_path / "nowhere"), str(tmp_path)], {}, tmp_path) as pool:
        [place] = pool._places
        assert place.process is not None
        wait_until(lambda: place.process and place.process.poll() is not None, 60, "it to end")
        with pytest.raises(SetupError, match="does not exist"):
            pool.look_after(progressed=False)
