"""Two releases at work on one queue and into one destination, as in the middle of an update."""

import json
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from support import cache, recordings
from support.command import COMMAND, texts
from support.waiting import wait_until

ROOT = Path(__file__).parents[2]
FIRST_RELEASE = "55f1674"
LEASE = {"NIGHTSCRIBE_VISIBILITY_TIMEOUT_S": "6", "NIGHTSCRIBE_HEARTBEAT_S": "1"}


@pytest.fixture(scope="session")
def first_release() -> Path:
    """The folder in which the first release is installed, without the packages that both use."""
    site = cache.CACHE / f"release-{FIRST_RELEASE}"
    with cache.locked(site.name):
        if not site.is_dir():
            _install(site)
    return site


def _install(site: Path) -> None:
    made = site.with_suffix(".part")
    shutil.rmtree(made, ignore_errors=True)
    (made / "source").mkdir(parents=True)
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", "--format=tar", FIRST_RELEASE], capture_output=True, check=False
    )
    if archive.returncode:
        pytest.skip(f"the history of this checkout does not reach back to the first release ({FIRST_RELEASE})")
    subprocess.run(["tar", "-x", "-C", str(made / "source")], input=archive.stdout, check=True)
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(made / "site"), str(made / "source")]
    installed = subprocess.run(pip, capture_output=True, text=True, check=False)
    if installed.returncode:
        cache.unavailable(f"the first release cannot be built: {cache.last_line(installed.stderr)}")
    (made / "site").rename(site)
    shutil.rmtree(made)


class Fleet:
    """One queue and one destination, and the processes of both releases there."""

    def __init__(self, folder: Path, source: Path, environment: dict[str, str], sites: dict[str, Path]) -> None:
        self.folder, self.source, self.dest = folder, source, folder / "dest"
        places = {"NIGHTSCRIBE_SOURCE": str(source), "NIGHTSCRIBE_DEST": str(self.dest)}
        queue = {"NIGHTSCRIBE_QUEUE_NAME": f"releases-{uuid4().hex}.fifo"}
        self._environments = {
            release: environment | places | queue | LEASE | {"PYTHONPATH": str(site)} for release, site in sites.items()
        }

    def run(self, release: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of one release to its end."""
        return subprocess.run(
            [*COMMAND, *arguments],
            env=self._environments[release],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def worker(self, release: str) -> "subprocess.Popen[bytes]":
        """Start a worker whose log goes to a file."""
        with (self.folder / f"{release}.log").open("ab") as log:
            return subprocess.Popen(
                [*COMMAND, "worker", "--until-empty"], env=self._environments[release], stdout=log, stderr=log
            )

    def log(self, *releases: str) -> str:
        """What workers of these releases logged."""
        paths = [self.folder / f"{release}.log" for release in releases]
        return "".join(path.read_text() for path in paths if path.exists())

    def status(self, release: str) -> dict[str, Any]:
        """How things stand, as one release sees it."""
        said = self.run(release, "status", str(self.dest), "--json")
        assert said.returncode == 0, said.stderr
        found: dict[str, Any] = json.loads(said.stdout)
        return found


@pytest.mark.parametrize("sqs_server", ["ministack"], indirect=True)
@pytest.mark.parametrize(
    ("director", "first", "second", "how"),
    [("old", "new", "old", signal.SIGTERM), ("new", "old", "new", signal.SIGKILL)],
    ids=["old-director", "new-director"],
)
def test_two_releases_finish_each_others_work(
    environment: dict[str, str],
    sqs_environment: dict[str, str],
    first_release: Path,
    speech: Path,
    tmp_path: Path,
    director: str,
    first: str,
    second: str,
    how: signal.Signals,
) -> None:
    """The one begins with a recording in slices and is ended; the other goes on with its parts and its job."""
    source = tmp_path / "source"
    source.mkdir()
    recordings.cut(speech, source / "long.flac", 0, 5, "-ar", "16000", "-af", "apad=whole_dur=1000")
    for n in range(3):
        recordings.cut(speech, source / f"short {n}.wav", 5 + 2 * n, 2, "-ar", "16000")
    names = {path.name for path in source.iterdir()}
    fleet = Fleet(tmp_path, source, environment | sqs_environment, {"old": first_release, "new": ROOT})

    queued = fleet.run(director, "director", str(source), str(fleet.dest))
    assert "Queued 4 recordings" in queued.stdout, queued.stderr
    parts = fleet.dest / ".nightscribe" / "parts"
    with fleet.worker(first) as process:
        wait_until(lambda: list(parts.rglob("*-[01].json")), what="the first slice to be stored")
        process.send_signal(how)
    assert not (names & completed(fleet.log(first)).keys()) - {"long.flac"}
    with fleet.worker(second) as process:
        assert process.wait(90) == 0, fleet.log(second)

    log = fleet.log("old", "new")
    assert completed(log) == dict.fromkeys(names, 1)
    assert "record.unreadable" not in log
    assert "message.refused" not in log
    assert len(texts(fleet.dest)) == 3 * len(names)
    records = list((fleet.dest / ".nightscribe" / "transcripts").iterdir())
    assert {json.loads(path.read_text())["version"] for path in records} == {1}

    old, new = fleet.status("old"), fleet.status("new")
    for seen in (old, new):
        assert (seen["n_done"], seen["n_failed"], seen["queue"]["n_set_aside"]) == (4, 0, 0)
    for ours in ("old", "new"):  # and neither has anything left to do
        assert "Queued 0 recordings" in fleet.run(ours, "director", str(source), str(fleet.dest)).stdout


def completed(log: str) -> Counter[str]:
    """How often each recording was finished."""
    lines = [line for line in log.splitlines() if "recording.completed" in line]
    return Counter(found for line in lines for found in re.findall(r"long\.flac|short \d\.wav", line))
