"""Divide missing recordings into jobs. Pure.

Jobs hold about the same amount of sound. Which recordings share one depends on those recordings alone, so that a file
that is added, or finished elsewhere, changes hardly any other job.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from json.encoder import encode_basestring_ascii

from nightscribe.director.backlog import Backlog, Missing
from nightscribe.director.plan.estimate import Rates, chance
from nightscribe.shared.model.jobs import MAX_MESSAGE_BYTES

JOB_S = 600.0
MIN_JOB_S = 60.0
JOBS_PER_WORKER = 3  # at least, so that workers that finish early find another job
LONGEST = 1.5  # times the intended length of a job, whether it holds one recording or many
SHORTEST = 0.5
MAX_SLICES = 200
MOST_SLICES = 14_900  # of one recording; each message holds all its cut points
SLICE_BYTES = 200  # in a message for a slice, without its names
ROOM_BYTES = MAX_MESSAGE_BYTES - 24 * 1024  # for slices; the rest is at most a prompt and the words to listen for


def job_s(total_s: float | None, n_workers: int) -> float:
    """Return how much sound a job should hold, so that no worker is left without one.

    `total_s`: of all that is missing; None if that is unknown.
    """
    if total_s is None:
        return JOB_S
    return max(MIN_JOB_S, min(JOB_S, total_s / (JOBS_PER_WORKER * n_workers)))


def nominal_cut_points(duration_s: float, job_s: float) -> tuple[float, ...]:
    """Return the seconds at which to cut a recording into equal slices; none if it fits into one job."""
    if duration_s <= LONGEST * job_s:
        return ()
    n_slices = min(MOST_SLICES, max(2, round(duration_s / job_s)))
    return tuple(round(duration_s * index / n_slices, 2) for index in range(1, n_slices))


def long_recordings(missing: Backlog, rates: Rates, job_s: float) -> list[Missing]:
    """Return the recordings that are probably too long for one job, longest first."""
    limit_s = LONGEST * job_s
    found = [
        (-seconds, path, at)
        for at, (path, size) in enumerate(missing.sized())
        if (seconds := rates.seconds(path, size)) > limit_s
    ]
    return [missing[at] for _, _, at in sorted(found)]


def n_jobs(missing: Backlog, rates: Rates, job_s: float, at_most: int) -> int:
    """Return roughly the number of jobs, but at most `at_most`."""
    slices = (len(nominal_cut_points(rates.seconds(path, size), job_s)) for path, size in missing.sized())
    n_slices = sum(1 + n_cuts for n_cuts in slices if n_cuts)
    return min(at_most, n_slices + sum(1 for _ in islice(bundles(missing, rates, job_s), at_most)))


def bundles(
    missing: Backlog, rates: Rates, job_s: float, alike: Callable[[str], object] = lambda _path: None
) -> Iterator[list[Missing]]:
    """Yield jobs of neighbouring recordings that are not too long for one job.

    `alike`: returns what the recordings of one job must have in common, such as the words to listen for.
    A job either transcribes or only labels speakers. One that is not too small ends where a hash of its last
    recording's path says so. So a file that is added or removed moves the ends of the next few jobs at most.
    """
    yield from _bundles(missing, rates, job_s, alike, only_speakers=False)
    if missing.n_only_speakers:
        yield from _bundles(missing, rates, job_s, alike, only_speakers=True)


def _bundles(
    missing: Backlog, rates: Rates, job_s: float, alike: Callable[[str], object], *, only_speakers: bool
) -> Iterator[list[Missing]]:
    bundle: list[Missing] = []
    common: object = None
    filled = 0.0
    for at, (path, size) in enumerate(missing.sized()):
        seconds = rates.seconds(path, size)
        if seconds > LONGEST * job_s or missing.needs_only_speakers(at) is not only_speakers:
            continue
        n_bytes = SLICE_BYTES + 2 * len(encode_basestring_ascii(path))
        share = max(seconds / job_s, LONGEST / MAX_SLICES, LONGEST * n_bytes / ROOM_BYTES)
        if bundle and (filled + share > LONGEST or alike(path) != common):
            yield bundle
            bundle, filled = [], 0.0
        common = alike(path)
        bundle.append(missing[at])
        filled += share
        if filled >= SHORTEST and chance(path) * SHORTEST < share:
            yield bundle
            bundle, filled = [], 0.0
    if bundle:
        yield bundle
