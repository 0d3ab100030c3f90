"""Metrics of workers and directors for Prometheus.

Counting costs next to nothing, so it is always on. No label holds the name of a recording or a person.
"""

from collections.abc import Mapping
from typing import Literal, get_args

from prometheus_client import Counter, Gauge, Histogram, Info
from prometheus_client.registry import Collector

RecordingResult = Literal["completed", "failed"]
SliceResult = Literal["completed", "failed", "retried", "skipped"]
Outcome = Literal["completed", "set_aside", "retried", "returned", "abandoned", "cancelled"]

# Both

BUILD = Info("nightscribe_build", "Version, and how this process was started.", registry=None)
RECORDINGS = Counter(
    "nightscribe_recordings", "Recordings that were completed or failed, by result.", ["result"], registry=None
)
FAILURES = Counter(
    "nightscribe_failures", "Recordings that were given up, by the code of the failure.", ["code"], registry=None
)

# Worker

SLICES = Counter("nightscribe_slices", "Slices of recordings that were settled, by result.", ["result"], registry=None)
AUDIO_SECONDS = Counter(
    "nightscribe_audio_seconds", "Length of these slices, where it is known.", ["result"], registry=None
)
SLICE_SECONDS = Histogram(
    "nightscribe_slice_processing_seconds",
    "Time that the engine took for a slice, which has at most ten minutes of sound.",
    buckets=(1, 2.5, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1200, 3600),
    registry=None,
)
SPEED = Gauge(
    "nightscribe_speed_ratio", "Length of the last completed slice, divided by the time it took.", registry=None
)
JOBS = Counter("nightscribe_jobs", "Jobs that ended, by outcome.", ["outcome"], registry=None)
JOBS_IN_HAND = Gauge("nightscribe_jobs_in_hand", "1 while the worker has a job, else 0.", registry=None)
REDELIVERIES = Counter("nightscribe_redeliveries", "Jobs received that had been received before.", registry=None)
LEASE_EXTENSIONS = Counter(
    "nightscribe_lease_extensions", "Attempts to extend a lease, by result.", ["result"], registry=None
)
LEASES_LOST = Counter("nightscribe_leases_lost", "Leases that ran out in the middle of a job.", registry=None)
LAST_PROGRESS = Gauge(
    "nightscribe_last_progress_timestamp_seconds", "When work last progressed, or the worker started.", registry=None
)

# Director

SOURCE = Gauge("nightscribe_source_recordings", "Recordings in the source at the last scan.", ["state"], registry=None)
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

# Create every series at zero: a series that begins with its first failure shows no increase.
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
    """Count a settled slice; give `processing_s` if the engine has transcribed all of it."""
    SLICES.labels(result).inc()
    if audio_s:
        AUDIO_SECONDS.labels(result).inc(audio_s)
    LAST_PROGRESS.set_to_current_time()
    if processing_s is not None:
        SLICE_SECONDS.observe(processing_s)
        SPEED.set(audio_s / max(0.001, processing_s))


def show_source(counts: Mapping[str, int]) -> None:
    """Set how many recordings the last scan found in each state."""
    for state, n in counts.items():
        SOURCE.labels(state).set(n)
    LAST_LOOK.set_to_current_time()
