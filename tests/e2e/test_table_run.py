"""`nightscribe run` on a table, whose rows name recordings beside it and in a bucket of a real S3 server."""

import csv
import json
import subprocess
from pathlib import Path

from support import recordings
from support.buckets import TestBucket
from support.command import environment_of, run_command
from support.servers import SqsServer


def test_a_table_comes_back_with_what_was_said(
    weights: Path, bucket: TestBucket, ministack: SqsServer, speech: Path, tmp_path: Path
) -> None:
    """The rows that name nothing are reported with their numbers, and the others are done and can be scored."""
    environment = environment_of(weights) | ministack.bucket_environment | {"XDG_CACHE_HOME": str(tmp_path / "cache")}

    def nightscribe(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        return run_command(environment, *arguments)

    (tmp_path / "in").mkdir()
    recordings.cut(speech, tmp_path / "in/a.dat", 0, 5, "-f", "wav")
    bucket.put("calls/b.wav", recordings.cut(speech, tmp_path / "b.wav", 5, 4).read_bytes())
    table = tmp_path / "in/clips.csv"
    said = "It was the best of times, it was the worst of times"
    rows = ["file,sentence,note", f'a.dat,"{said}",=1+1', f"s3://{bucket.name}/calls/b.wav,,", "../b.wav,,", "c.wav,,"]
    table.write_text("\n".join(rows) + "\n", encoding="utf-8-sig")
    options = ("--workers", "1", "--engine", "faster-whisper", "--formats", "txt")
    done = nightscribe("run", table, tmp_path / "out", *options)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "row 4" in done.stdout
    assert "Row 5 of the table names it, and there is no such file." in done.stdout
    assert "2 of 4 rows have their text" in done.stdout
    with (tmp_path / "out/clips.csv").open(encoding="utf-8-sig", newline="") as file:
        first, second, third, fourth = csv.DictReader(file)
    assert "best of times" in first["generated_text"]
    assert (first["note"], first["duration"]) == ("'=1+1", "5.0")
    assert second["generated_text"]
    assert (tmp_path / f"out/s3/{bucket.name}/calls/b.txt").read_text().strip()
    assert all(row["flags"].startswith("failed: ") and not row["generated_text"] for row in (third, fourth))
    scored = json.loads(nightscribe("score", tmp_path / "out", "--json").stdout)
    assert scored["total"]["words"] == len(said.split())
    assert (scored["rows_without_truth"], scored["worst"][:1]) == (3, scored["worst"])
