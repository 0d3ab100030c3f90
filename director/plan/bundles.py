"""In which jobs the missing recordings are queued. Pure.

Jobs are of about equal length, and which recordings share one hangs on those recordings alone: a file that is added
or done elsewhere changes no other job.
"""

from collections.abc import Iterator
from itertools import islice
from json.encoder import encode_basestring_ascii

from nightscribe.director.backlog import Backlog, Missing
from nightscribe.director.plan.estimate import Rates, chance
from nightscribe.shared.model.jobs import MAX_MESSAGE_BYTES

JOB_S = 600.0
MIN_JOB_S = 60.0
JOBS_PER_WORKER = 3  # at least, so that those who end early find something to do
LONGEST = 1.5  # jobs' worth of sound in one job, whether of one recording or of many
SHORTEST = 0.5
MAX_SLICES = 200
SLICE_BYTES = 200  # of a slice in a message, besides its names
ROOM_BYTES = MAX_MESSAGE_BYTES - 4096  # for slices, beside what a job says of them all


def job_s(total_s: float | None, n_workers: int) -> float:
    """How much sound a job is to have, so that none of the workers is left without one."""
    if total_s is None:
        return JOB_S
    return max(MIN_JOB_S, min(JOB_S, total_s / (JOBS_PER_WORKER * n_workers)))


def nominal_cuts(duration_s: float, job_s: float) -> tuple[float, ...]:
    """Where a recording would be cut if nobody spoke: into equal slices, or not at all if it is not long."""
    if duration_s <= LONGEST * job_s:
        return ()
    n_slices = max(2, round(duration_s / job_s))
    return tuple(round(duration_s * index / n_slices, 2) for index in range(1, n_slices))


def long_ones(missing: Backlog, rates: Rates, job_s: float) -> list[Missing]:
    """Recordings that are likely too long for one job, longest first."""
    limit_s = LONGEST * job_s
    found = [
        (-seconds, path, at)
        for at, (path, size) in enumerate(missing.sized())
        if (seconds := rates.seconds(path, size)) > limit_s
    ]
    return [missing[at] for _, _, at in sorted(found)]


def n_jobs(missing: Backlog, rates: Rates, job_s: float, at_most: int) -> int:
    """How many jobs there will be, roughly, or `at_most`."""
    slices = (len(nominal_cuts(rates.seconds(path, size), job_s)) for path, size in missing.sized())
    n_slices = sum(1 + n_cuts for n_cuts in slices if n_cuts)
    return min(at_most, n_slices + sum(1 for _ in islice(bundles(missing, rates, job_s), at_most)))


def bundles(missing: Backlog, rates: Rates, job_s: float) -> Iterator[list[Missing]]:
    """All others, in jobs of recordings that follow each other.

    A job ends where the chance of its last recording says so, as soon as it is not too small. So wherever a file is
    added or removed, the ends a few jobs on are the old ones again.
    """
    bundle: list[Missing] = []
    filled = 0.0
    for at, (path, size) in enumerate(missing.sized()):
        seconds = rates.seconds(path, size)
        if seconds > LONGEST * job_s:
            continue
        n_bytes = SLICE_BYTES + 2 * len(encode_basestring_ascii(path))
        share = max(seconds / job_s, LONGEST / MAX_SLICES, LONGEST * n_bytes / ROOM_BYTES)
        if bundle and filled + share > LONGEST:
            yield bundle
            bundle, filled = [], 0.0
        bundle.append(missing[at])
        filled += share
        if filled >= SHORTEST and chance(path) * SHORTEST < share:
            yield bundle
            bundle, filled = [], 0.0
    if bundle:
        yield bundle
