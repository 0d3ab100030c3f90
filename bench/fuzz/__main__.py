"""Look for bytes that nightscribe does not read as it should: mutated records, messages, settings and recordings.

Each target gets inputs that Hypothesis makes: valid ones, and valid ones in which numbers, bits, bytes and values were
changed, cut off or put together. A target fails if it raises what is not documented, needs unbounded memory or time,
counts damage as curable, or does not read back what it has written. Each kind of failure is printed once, with a file
that reproduces it (`--replay FILE`). The tests run the same targets for some seconds (tests/unit/test_fuzz.py).
"""

import argparse
import itertools
import resource
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path
from types import FrameType

import structlog
from hypothesis import HealthCheck, Phase, given, seed, settings

from fuzz import media, records
from fuzz.target import Target

TARGETS = {target.name: target for target in (*records.TARGETS, *media.TARGETS)}
BATCH = 100
LIMIT_S = 20  # of processor time for one input
MEMORY_BYTES = 4 * 2**30


class TooSlow(BaseException):
    """An input took too much processor time."""


def main() -> None:
    """Fuzz for the given time, or replay a finding."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="how long (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="another one makes other inputs (%(default)s)")
    parser.add_argument("--target", action="append", choices=TARGETS, help="only this one; may be repeated")
    parser.add_argument("--found", type=Path, default=Path("fuzz-found"), help="folder for findings (%(default)s)")
    parser.add_argument("--replay", type=Path, help="check the input in this file of an earlier finding")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGVTALRM, too_slow)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    if arguments.replay:
        limited(TARGETS[arguments.replay.name.partition("-")[0]], arguments.replay.read_bytes())
        print("It is read as it should be.")
        return
    hunt = Hunt(arguments.found)
    targets = [TARGETS[name] for name in arguments.target or TARGETS]
    until = time.monotonic() + 60 * arguments.minutes
    for number in itertools.count(arguments.seed * 1_000_000):
        for target in targets:
            if time.monotonic() > until:
                print(f"{hunt.n_inputs:,} inputs, {len(hunt.kinds)} kinds of findings.")
                sys.exit(1 if hunt.kinds else 0)
            hunt.batch(target, number)


class Hunt:
    """Counts inputs, and keeps one of each kind of finding."""

    def __init__(self, folder: Path) -> None:
        self.n_inputs = 0
        self.kinds: set[tuple[str, str, int | None]] = set()
        self._folder = folder

    def batch(self, target: Target, number: int) -> None:
        """Check some inputs."""

        @seed(number)
        @settings(
            max_examples=BATCH,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(target.inputs)
        def check(content: bytes) -> None:
            self.n_inputs += 1
            try:
                limited(target, content)
            except (Exception, TooSlow) as error:  # noqa: BLE001  whatever it is, it is a finding
                self._keep(target, content, error)

        check()

    def _keep(self, target: Target, content: bytes, error: BaseException) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        kind = (type(error).__name__, frames[-1].filename, frames[-1].lineno)
        if kind in self.kinds:
            return
        self.kinds.add(kind)
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{target.name}-{len(self.kinds)}-{kind[0]}"
        path.write_bytes(content)
        print(f"{path}: {type(error).__name__}: {str(error)[:300]}")
        for frame in frames[-4:]:
            print(f"    {frame.filename}:{frame.lineno} in {frame.name}")
        sys.stdout.flush()


def limited(target: Target, content: bytes) -> None:
    """Check an input. Raises: TooSlow: if that takes too much processor time."""
    signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT_S)
    try:
        target.check(content)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def too_slow(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001  given by the signal
    """End a check."""
    raise TooSlow(f"it took more than {LIMIT_S} s")


if __name__ == "__main__":
    main()
