"""What a worker and a director count, for Prometheus (`shared/telemetry/exposition.py` shows it).

Counting costs next to nothing, so it is done always. No label holds a name of a recording or of a person.
"""

from collections.abc import Mapping
from typing import Literal, get_args

from prometheus_client import Counter, Gauge, Histogram, Info
from prometheus_client.registry import Collector

RecordingResult = Literal["completed", "failed"]
SliceResult = Literal["completed", "failed", "retried", "skipped"]
Outcome = Literal["completed", "set_aside", "retried", "returned", "abandoned"]

# Of both

BUILD = Info("nightscribe_build", "Version, and what this process was started with.", registry=None)
RECORDINGS = Counter(
    "nightscribe_recordings", "Recordings that were finished or given up, by result.", ["result"], registry=None
)
FAILURES = Counter(
    "nightscribe_failures", "Recordings that were given up, by the code of the failure.", ["code"], registry=None
)

# Of a worker

SLICES = Counter(
    "nightscribe_slices", "Slices of recordings that were done with, by result.", ["result"], registry=None
)
AUDIO_SECONDS = Counter(
    "nightscribe_audio_seconds", "Sound in these slices, as far as its length is known.", ["result"], registry=None
)
SLICE_SECONDS = Histogram(
    "nightscribe_slice_processing_seconds",
    "Time that the engine took for a slice, which holds ten minutes of sound at most.",
    buckets=(1, 2.5, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1200, 3600),
    registry=None,
)
SPEED = Gauge(
    "nightscribe_speed_ratio", "Sound of the last completed slice, divided by the time it took.", registry=None
)
JOBS = Counter("nightscribe_jobs", "Jobs that were let go of, by outcome.", ["outcome"], registry=None)
JOBS_IN_HAND = Gauge("nightscribe_jobs_in_hand", "1 while there is a job in hand, else 0.", registry=None)
REDELIVERIES = Counter("nightscribe_redeliveries", "Jobs received that somebody had received before.", registry=None)
LEASE_EXTENSIONS = Counter(
    "nightscribe_lease_extensions", "Leases that were to be extended, by result.", ["result"], registry=None
)
LEASES_LOST = Counter("nightscribe_leases_lost", "Leases that ran out in the middle of a job.", registry=None)
LAST_PROGRESS = Gauge(
    "nightscribe_last_progress_timestamp_seconds", "When work last went on, or the worker began.", registry=None
)

# Of a director

SOURCE = Gauge("nightscribe_source_recordings", "Recordings in the source at the last look.", ["state"], registry=None)
LAST_LOOK = Gauge(
    "nightscribe_last_look_timestamp_seconds", "When source and destination were last compared.", registry=None
)
JOBS_QUEUED = Counter("nightscribe_jobs_queued", "Jobs that were put on the queue.", registry=None)
JOBS_OUTSTANDING = Gauge(
    "nightscribe_jobs_outstanding", "Jobs on the queue that the director has not seen done.", registry=None
)

WORKER: tuple[Collector, ...] = (
    BUILD, RECORDINGS, FAILURES, SLICES, AUDIO_SECONDS, SLICE_SECONDS, SPEED, JOBS, JOBS_IN_HAND, REDELIVERIES,
    LEASE_EXTENSIONS, LEASES_LOST, LAST_PROGRESS,
)  # fmt: skip
DIRECTOR: tuple[Collector, ...] = (BUILD, RECORDINGS, FAILURES, SOURCE, LAST_LOOK, JOBS_QUEUED, JOBS_OUTSTANDING)

# There from the beginning, at none: a series that begins with its first failure shows no increase.
for _result in get_args(RecordingResult):
    RECORDINGS.labels(_result)
for _result in get_args(SliceResult):
    SLICES.labels(_result)
for _result in ("completed", "failed", "retried"):
    AUDIO_SECONDS.labels(_result)
for _outcome in get_args(Outcome):
    JOBS.labels(_outcome)
for _result in ("extended", "failed"):
    LEASE_EXTENSIONS.labels(_result)


def count_slice(result: SliceResult, audio_s: float = 0.0, processing_s: float | None = None) -> None:
    """A slice is done with; `processing_s` if the engine has heard all of it."""
    SLICES.labels(result).inc()
    if audio_s:
        AUDIO_SECONDS.labels(result).inc(audio_s)
    LAST_PROGRESS.set_to_current_time()
    if processing_s is not None:
        SLICE_SECONDS.observe(processing_s)
        SPEED.set(audio_s / max(0.001, processing_s))


def show_source(found: Mapping[str, int]) -> None:
    """What a look at the source has shown: how many recordings are in which state."""
    for state, n in found.items():
        SOURCE.labels(state).set(n)
    LAST_LOOK.set_to_current_time()
