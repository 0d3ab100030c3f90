"""Compare the peak memory of a worker that transcribes short recordings with and without bombs among them.

A bomb is a file of some kilobytes that decodes to a day of sound. The memory is that of the worker and its ffmpeg.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from measure import copy_repeated, recordings_below

from nightscribe.shared.audio.probe import ffmpeg_path
from nightscribe.shared.destination.keys import FAILURES, TRANSCRIPTS

LOOK_EVERY_S = 0.1
DAY_S = 24 * 3600
BOMBS = {
    "silence.flac": ("anullsrc=sample_rate=16000:channel_layout=mono", DAY_S, ("-frame_size", "16384")),
    "sparse.flac": ("anullsrc=sample_rate=8000:channel_layout=stereo", DAY_S, ("-frame_size", "65535")),
    "gap.mka": ("sine=sample_rate=16000:duration=1,asetpts='PTS+gte(T,0.5)*86400/TB'", DAY_S + 1, ("-c:a", "libopus")),
    "slow.wav": ("sine=sample_rate=8000", DAY_S / 8000, ()),
}


def main() -> None:
    """Print the peak without bombs, and with all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="a folder of short recordings")
    parser.add_argument("--recordings", type=int, default=50, help="to be transcribed (50)")
    parser.add_argument("--model", default="tiny.en", help="Whisper model (tiny.en)")
    given = parser.parse_args()
    found = recordings_below(given.source)
    with tempfile.TemporaryDirectory(prefix="nightscribe-bombs-") as folder:
        bombs = [make(Path(folder), name) for name in BOMBS]
        print(f"{'bombs':>14}{'bytes':>10}{'most MiB':>10}{'more MiB':>10}{'done':>6}{'failed':>8}{'seconds':>9}")
        without = 0.0
        for number, chosen in enumerate(([], bombs)):
            source, dest = Path(folder, f"source{number}"), Path(folder, f"dest{number}")
            copy_repeated(found, given.recordings, source)
            for bomb in chosen:
                (source / bomb.name).write_bytes(bomb.read_bytes())
            began = time.monotonic()
            most = peak_bytes(source, dest, given.model) / 2**20
            without = without or most
            name = "all" if chosen else "none"
            n_bytes = sum(bomb.stat().st_size for bomb in chosen)
            n_done, n_failed = (count(dest / kept) for kept in (TRANSCRIPTS, FAILURES))
            took_s = time.monotonic() - began
            print(f"{name:>14}{n_bytes:>10}{most:>10.0f}{most - without:>10.0f}{n_done:>6}{n_failed:>8}{took_s:>9.0f}")


def make(folder: Path, name: str) -> Path:
    """Write a bomb into a folder."""
    sound, seconds, options = BOMBS[name]
    path = folder / name
    command = [ffmpeg_path(), "-loglevel", "error", "-f", "lavfi", "-i", sound, "-t", f"{seconds}", *options, path]
    subprocess.run(command, check=True)
    if name == "slow.wav":  # one sample a second
        header = path.read_bytes()
        path.write_bytes(header[:24] + (1).to_bytes(4, "little") + (2).to_bytes(4, "little") + header[32:])
    return path


def peak_bytes(source: Path, dest: Path, model: str) -> int:
    """Transcribe a folder with one worker; return the largest size of the worker with its ffmpeg."""
    command = [sys.executable, "-m", "nightscribe", "run", source, dest, "--workers", "1", "--model", model]
    most = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            time.sleep(LOOK_EVERY_S)
            for child in psutil.Process(process.pid).children(recursive=True):
                try:
                    if "worker" in child.cmdline():
                        family = (child, *child.children(recursive=True))
                        most = max(most, sum(each.memory_info().rss for each in family))
                except psutil.NoSuchProcess:
                    continue
    return most


def count(folder: Path) -> int:
    """Return the number of records in a folder."""
    return sum(1 for _ in folder.rglob("*.json")) if folder.is_dir() else 0


if __name__ == "__main__":
    main()
