"""`nightscribe run` on buckets of a real S3 server, while its queue is on a server of its own."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support import recordings
from support.buckets import TestBucket
from support.servers import SqsServer

from nightscribe.shared.destination.keys import REPORT_PAGE
from nightscribe.shared.process.scratch import LOCK
from nightscribe.shared.storage.s3.block_cache import BLOCK_BYTES

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environment(environment: dict[str, str], ministack: SqsServer, tmp_path: Path) -> dict[str, str]:
    """As elsewhere, with the bucket's server in it."""
    places = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "TMPDIR": str(tmp_path)}
    return environment | ministack.bucket_environment | places


@pytest.fixture
def filled(bucket: TestBucket, three: Path) -> TestBucket:
    """The three recordings below a prefix, beside which there is more."""
    for path in three.rglob("*.*"):
        bucket.put(f"in/{path.relative_to(three).as_posix()}", path.read_bytes())
    bucket.put("inner.mp3", b"not ours")
    return bucket


def texts_of(*stems: str) -> set[str]:
    """Their files."""
    return {f"{stem}.{fmt}" for stem in stems for fmt in ("txt", "vtt", "srt")}


THREE = texts_of("first", "2012/second", "2012/third")


def below(bucket: TestBucket, prefix: str) -> set[str]:
    """Keys of what is not our own record."""
    found = {key.removeprefix(prefix) for key in bucket.keys if key.startswith(prefix) and ".nightscribe/" not in key}
    return found - {REPORT_PAGE}


def test_a_run_from_bucket_to_bucket_does_all_and_again_nothing(
    nightscribe: Command, filled: TestBucket, speech: Path, tmp_path: Path
) -> None:
    """The user's credentials are for the buckets; those of the queue that `run` brings along are its own."""
    loop = ("-af", "aloop=loop=2:size=2112000", "-b:a", "256k")
    long = recordings.cut(speech, tmp_path / "long.mp3", 0, 44, *loop)
    assert long.stat().st_size > BLOCK_BYTES
    filled.put("in/long.mp3", long.read_bytes())
    wanted = THREE | texts_of("long")
    source, dest = f"s3://{filled.name}/in/", f"s3://{filled.name}/out"
    done = nightscribe("run", source, dest, "--workers", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Done: 4 recordings" in done.stdout
    assert below(filled, "out/") == wanted
    assert filled.get("out/first.txt").decode().startswith("It was the best of times")
    assert "s3://" in filled.get("out/report.html").decode()
    # It was long enough for two slices, each of which a worker read by range.
    [logs] = re.findall("Logs of this machine: (.+)", done.stdout)
    assert '"n_slices": 2' in (Path(logs) / "run.log").read_text()

    def written() -> set[tuple[str, object]]:
        keys = (f"out/{key}" for key in wanted)
        return {(key, filled.client.head_object(Bucket=filled.name, Key=key)["LastModified"]) for key in keys}

    before = written()
    again = nightscribe("run", source, dest, "--workers", "2")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Nothing to do: every recording has its transcript." in again.stdout
    assert f"Last report: {dest}/report.html" in again.stdout
    assert written() == before
    assert "Done         4 recordings" in nightscribe("status", dest).stdout
    assert [path.name for path in tmp_path.glob("nightscribe-*/*")] == [LOCK]  # no recording is left on the disk


def test_folders_and_buckets_are_mixed_and_a_move_between_them_keeps_the_transcripts(
    nightscribe: Command, filled: TestBucket, three: Path, tmp_path: Path
) -> None:
    source, dest, folder = f"s3://{filled.name}/in", f"s3://{filled.name}/out", tmp_path / "texts"
    diary = recordings.text_named_mp3(three / "diary.mp3")
    filled.put("in/diary.mp3", diary.read_bytes())
    from_folder = nightscribe("run", three, dest, "--workers", "2")
    assert from_folder.returncode == 1, from_folder.stdout + from_folder.stderr
    assert "diary.mp3: It holds text, not sound." in from_folder.stdout
    assert below(filled, "out/") == THREE
    # The recordings have moved into the bucket, and the transcripts out of it.
    for key in filled.keys:
        if key.startswith("out/"):
            path = folder / key.removeprefix("out/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(filled.get(key))
    moved = nightscribe("run", source, folder, "--workers", "2")
    assert "Before: 3 recordings already done." in moved.stdout, moved.stdout + moved.stderr
    assert "1 of these failed in an earlier run" in moved.stdout
    shutil.rmtree(folder)
    from_bucket = nightscribe("run", source, folder, "--workers", "2")
    assert "Done: 3 recordings" in from_bucket.stdout, from_bucket.stdout + from_bucket.stderr
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*.*") if ".nightscribe" not in path.parts}
    assert found == THREE | {"report.html"}
    # What failed in a bucket is put back there.
    back = nightscribe("retry", dest)
    assert "Will retry 1 recording." in back.stdout
    assert f"run {three} {dest}" in back.stdout


def test_a_bucket_that_does_not_exist_is_told_in_a_sentence(nightscribe: Command, bucket: TestBucket) -> None:
    done = nightscribe("run", "s3://nobodys-bucket", f"s3://{bucket.name}/out")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: There is no bucket 'nobodys-bucket'")
