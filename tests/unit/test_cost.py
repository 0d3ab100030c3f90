"""What an hour of sound costs, as docs/aws.md has it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def printed(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """What bench/cost.py says."""
    command = [sys.executable, ROOT / "bench" / "cost.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_document_has_the_table_that_the_measured_speeds_give() -> None:
    """When docs/performance.md is measured anew, print it again and put it there: `python bench/cost.py`."""
    done = printed()
    assert done.returncode == 0, done.stderr
    assert done.stdout in (ROOT / "docs" / "aws.md").read_text()


def test_another_speed_and_other_prices_give_another_table() -> None:
    """At real time, a vCPU of a dollar an hour costs a dollar for an hour of sound."""
    done = printed("--speed", "1", "--price", "vcpu_h=1")
    assert "| vCPU | 1.00000 |" in done.stdout


def test_a_price_that_there_is_not_is_named() -> None:
    done = printed("--price", "petrol=2")
    assert done.returncode != 0
    assert "petrol" in done.stderr
