"""How many cores may be used, read from files as Linux shows them in and outside of containers."""

import os
from pathlib import Path

import pytest

from nightscribe.shared.errors import SetupError
from nightscribe.shared.process import cores
from nightscribe.shared.process.cores import cpu_limit, usable_cores
from nightscribe.shared.settings import load_settings


def v2(folder: Path, line: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.max").write_text(f"{line}\n")


def v1(folder: Path, quota: int, period: int = 100_000) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (folder / "cpu.cfs_period_us").write_text(f"{period}\n")


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    (tmp_path / "cgroup").mkdir()
    return tmp_path / "cgroup"


def limit(groups: Path, *mine: str) -> float | None:
    (groups.parent / "mine").write_text("".join(f"{line}\n" for line in mine))
    return cpu_limit(groups, groups.parent / "mine")


def test_a_container_is_told_its_limit_by_v2(groups: Path) -> None:
    v2(groups, "150000 100000")
    assert limit(groups, "0::/") == 1.5


def test_a_container_is_told_its_limit_by_v1_though_the_path_is_that_of_its_machine(groups: Path) -> None:
    v1(groups / "cpu", 200_000)
    assert limit(groups, "7:memory:/docker/1a2b", "3:cpu,cpuacct:/docker/1a2b", "0::/") == 2


def test_the_lowest_limit_of_the_groups_around_counts(groups: Path) -> None:
    v2(groups / "kubepods", "100000 50000")
    v2(groups / "kubepods" / "pod1", "300000 100000")
    v2(groups / "kubepods" / "pod1" / "worker", "max 100000")
    assert limit(groups, "0::/kubepods/pod1/worker") == 2


@pytest.mark.parametrize("mine", [["0::/"], ["4:cpu:/", "0::/"]])
def test_where_there_is_no_limit_there_is_none(groups: Path, mine: list[str]) -> None:
    v2(groups, "max 100000")
    v1(groups / "cpu", -1)
    assert limit(groups, *mine) is None


def test_a_limit_of_another_controller_is_none_of_the_processor(groups: Path) -> None:
    v1(groups / "cpu", 100_000)
    assert limit(groups, "7:cpuset:/") is None


def test_a_system_without_control_groups_has_no_limit(tmp_path: Path) -> None:
    assert cpu_limit(tmp_path / "none", tmp_path / "none") is None


@pytest.fixture
def limited(groups: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This process, told to be in a container without a limit yet, on a machine of eight cores."""
    (groups.parent / "mine").write_text("0::/\n")
    monkeypatch.setattr(cores.cpu_limit, "__defaults__", (groups, groups.parent / "mine"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    return groups


@pytest.mark.parametrize(
    ("line", "usable"), [("max 100000", 8), ("50000 100000", 1), ("250000 100000", 3), ("1600000 100000", 8)]
)
def test_the_limit_is_rounded_up_and_never_beyond_the_cores_there_are(limited: Path, line: str, usable: int) -> None:
    v2(limited, line)
    assert usable_cores() == usable


def test_workers_of_a_run_and_threads_of_a_worker_follow_the_limit(limited: Path) -> None:
    """One worker for each core by default; as many threads only where it is asked for, as the images do."""
    v2(limited, "300000 100000")
    assert (load_settings().workers, load_settings().threads) == (3, 1)
    assert load_settings(threads="0").threads == 3


def test_fewer_threads_than_none_are_refused() -> None:
    with pytest.raises(SetupError, match=r"--threads is '-1'"):
        load_settings(threads="-1")
