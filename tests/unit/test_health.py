"""The sign of life, and what is said of it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from nightscribe.cli.main import cli
from nightscribe.shared.process import liveness as pulse
from nightscribe.shared.process.liveness import MAX_AGE_S, VARIABLE, is_overdue, report_alive, why_dead

ROOT = Path(__file__).parents[2]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where signs of life are asked for, and none was given yet."""
    monkeypatch.setattr(pulse, "_last", None)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "pulse"))
    return tmp_path / "pulse"


def test_where_nobody_asks_none_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    report_alive()
    assert list(tmp_path.iterdir()) == []
    assert f"{VARIABLE} is not set" in str(why_dead())


def test_before_the_first_sign_there_is_none(file: Path) -> None:
    assert "No sign of life yet" in str(why_dead())
    report_alive()
    assert why_dead() is None


def test_a_sign_of_long_ago_is_none(file: Path) -> None:
    report_alive()
    before = time.time() - MAX_AGE_S - 100
    os.utime(file, (before, before))
    asked = CliRunner().invoke(cli, ["health"])
    assert asked.exit_code == 1
    assert asked.output.startswith("No sign of life for 7")
    assert CliRunner().invoke(cli, ["health", "--within", "3600"]).exit_code == 0


def test_the_next_sign_makes_it_well_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report_alive()
    os.utime(file, (0, 0))
    monkeypatch.setattr(pulse, "_last", time.monotonic() - 2)
    report_alive()
    assert why_dead() is None


def test_signs_are_given_seldom(file: Path) -> None:
    """They are asked for between any two steps, and each is a call to the system."""
    report_alive()
    file.unlink()
    report_alive()
    assert not file.exists()


def test_a_sign_that_cannot_be_given_stops_no_work(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(file / "in no folder"))
    report_alive()
    assert why_dead() is not None


def test_a_clock_that_was_set_back_kills_nobody(file: Path) -> None:
    report_alive()
    later = time.time() + 10_000
    os.utime(file, (later, later))
    assert why_dead() is None


def test_a_long_step_is_waited_for_and_ends_with_the_next_sign(file: Path) -> None:
    """However soon that comes."""
    report_alive(3600)
    before = time.time() - MAX_AGE_S - 100
    assert file.stat().st_mtime > time.time() + 1800
    report_alive()
    assert file.stat().st_mtime <= time.time()
    os.utime(file, (before, before))
    assert why_dead() is not None


def test_a_process_knows_for_itself_how_long_it_was_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file, which others may touch and a disk may not take."""
    now = 1000.0
    monkeypatch.setattr(pulse, "_last", None)
    monkeypatch.setattr(pulse, "_due", None)
    monkeypatch.setattr("nightscribe.shared.process.liveness.time.monotonic", lambda: now)
    assert not is_overdue()
    report_alive()
    now += MAX_AGE_S - 1
    assert not is_overdue()
    now += 2
    assert is_overdue()
    report_alive(100)
    now += MAX_AGE_S + 99
    assert not is_overdue()
    now += 2
    assert is_overdue()
    report_alive()
    assert not is_overdue()


def test_asking_loads_next_to_nothing(file: Path) -> None:
    """It is done every half minute in each container, all night."""
    report_alive()
    program = """
import sys
sys.argv = ["nightscribe", "health"]
from nightscribe.__main__ import main
try:
    main()
except SystemExit as end:
    print(end.code, *sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    said, loaded = done.stdout.splitlines()
    assert said == "Working, or waiting for work."
    assert loaded.startswith("0 ")
    assert not {"click", "pydantic", "boto3", "numpy", "nightscribe.cli.main"} & set(loaded.split())
