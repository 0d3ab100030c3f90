"""Count the cores that a process may use; a container sees every core but may be limited to a share of them."""

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MINE = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Return how many cores this process may use, with the container's CPU limit applied; at least one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = cpu_limit()
    return cores if limit is None else max(1, min(cores, math.ceil(limit)))


def cpu_limit(cgroups: Path = CGROUPS, mine: Path = MINE) -> float | None:
    """Return the lowest CPU limit, in cores, of this process's control groups (v1 or v2), or None if there is none."""
    return min((limit for folder in _groups(cgroups, mine) if (limit := _limit(folder))), default=None)


def _groups(cgroups: Path, mine: Path) -> Iterator[Path]:
    """Yield the folders of this process's control groups and of their parents."""
    try:
        lines = mine.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # In a v1 container, the path is the host's, but the group is mounted at the top.
        top = cgroups / "cpu" if controllers else cgroups
        folder = top / path.lstrip("/")
        yield from (each for each in (folder, *folder.parents) if each.is_relative_to(top))


def _limit(folder: Path) -> float | None:
    """Return the limit of one group in cores, or None. v2 has one file with quota and period, v1 has two files."""
    with contextlib.suppress(OSError, ValueError):
        v2 = folder / "cpu.max"
        files = (v2,) if v2.exists() else (folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us")
        quota, period = " ".join(file.read_text() for file in files).split()
        return None if quota in ("max", "-1") else int(quota) / int(period)
    return None
