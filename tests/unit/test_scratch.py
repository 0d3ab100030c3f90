"""What lies on the disk for a moment."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from nightscribe.shared.process.scratch import scratch_folder, sweep_scratch

LEAVE = """
import os, signal
from nightscribe.shared.process.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "0.wav").write_bytes(b"sound")
    print(folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_the_killed_left_is_removed_and_what_others_use_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kill would otherwise leave the sound of some clips on the disk for ever."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    killed = subprocess.run([sys.executable, "-c", LEAVE], env=environment, capture_output=True, text=True, check=False)
    left = Path(killed.stdout.strip())
    assert left.parent == tmp_path
    assert (left / "0.wav").exists()
    (tmp_path / "nightscribe-notes").mkdir()
    with scratch_folder() as mine:
        sweep_scratch()
        assert {path.name for path in tmp_path.iterdir()} == {mine.name, "nightscribe-notes"}
    assert not mine.exists()
