"""Many faults at once, with real processes: nothing is lost, and nothing is there twice.

The long form, which also judges how fast work goes on, is `./build.sh bench chaos` (docs/faults.md).
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
OPTIONS = ("--buckets", "--untimed", "--jobs=6", "--kills=1", "--network=7", "--workers=2", "--minutes=0.1")


def test_whatever_is_killed_or_cut_off_each_word_is_there_once(tmp_path: Path) -> None:
    """The bench audits every word, file, message and exit status; its output says what is wrong."""
    done = subprocess.run(
        [sys.executable, "-m", "chaos", *OPTIONS],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "bench"), str(ROOT)]), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-3000:]
    assert "The audit is clean" in done.stdout
