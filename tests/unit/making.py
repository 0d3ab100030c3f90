"""Values that many unit tests need, with everything that a test does not care about filled in."""

import math
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from nightscribe.shared.model.activity import Activity, Run
from nightscribe.shared.model.failure import Failure
from nightscribe.shared.model.jobs import Job, Options, Slice
from nightscribe.shared.model.recording import Recording
from nightscribe.shared.model.transcript import Part, Segment, Transcript
from nightscribe.worker.pipeline.silero import CHUNK_S
from nightscribe.worker.pipeline.vad import Speech

WHEN = datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)
OPTIONS = Options(engine="auto", model="tiny.en")
HOUR_S = 3600


def segment(start_s: float = 0.0, end_s: float = 1.0, text: str = "Hello.", **changes: Any) -> Segment:
    """A segment with good scores."""
    scores = {"average_log_probability": -0.2, "no_speech_probability": 0.01, "compression_ratio": 1.3}
    return Segment(start_s=start_s, end_s=end_s, text=text, **(scores | changes))


def transcript(*segments: Segment, **changes: Any) -> Transcript:
    """A finished transcript of `talk.mp3`."""
    values: dict[str, Any] = {
        "recording": "talk.mp3",
        "fingerprint": "10-abc",
        "size": 10,
        "mtime_ns": 1,
        "stem": "talk",
        "formats": ("txt", "vtt", "srt"),
        "options": OPTIONS,
        "engine": "faster-whisper 1.2.1",
        "language": "en",
        "container_s": 1.0,
        "decoded_s": 1.0,
        "processing_s": 0.1,
        "finished_at": WHEN,
        "segments": segments,
    }
    return Transcript(**(values | changes))


def slice_of(recording: str = "talk.mp3", **changes: Any) -> Slice:
    """The whole of a recording."""
    values: dict[str, Any] = {"recording": recording, "fingerprint": "10-abc", "size": 10, "stem": "talk"}
    return Slice(**(values | changes))


def job(*slices: Slice, **changes: Any) -> Job:
    """A job of these slices, or of the whole of `talk.mp3`."""
    values: dict[str, Any] = {"slices": slices or (slice_of(),), "options": OPTIONS, "formats": ("txt", "vtt", "srt")}
    return Job(**(values | changes))


def part(*segments: Segment, **changes: Any) -> Part:
    """The result of a slice of ten seconds."""
    values: dict[str, Any] = {
        "segments": segments,
        "engine": "faster-whisper 1.2.1",
        "language": "en",
        "container_s": None,
        "decoded_s": 10.0,
        "processing_s": 1.0,
    }
    return Part(**(values | changes))


def failure(recording: str = "talk.mp3", **changes: Any) -> Failure:
    """A failure record."""
    values: dict[str, Any] = {
        "recording": recording,
        "fingerprint": "10-abc",
        "size": 10,
        "mtime_ns": 1,
        "reason": "It holds text, not sound.",
        "attempts": 1,
        "worker": "here-1",
        "failed_at": WHEN,
    }
    return Failure(**(values | changes))


def activity(recording: str = "talk.mp3", done_s: float = 0.0, **changes: Any) -> Activity:
    """What a worker says it is doing."""
    return Activity(**({"worker": "here-1", "recording": recording, "done_s": done_s, "updated_at": WHEN} | changes))


def run_of(command: str = "run", **changes: Any) -> Run:
    """A run that began at `WHEN`, of which nothing is done yet."""
    values: dict[str, Any] = {
        "id": "1",
        "command": command,
        "source": "/recordings",
        "queue_name": "nightscribe.fifo",
        "endpoint": "http://127.0.0.1:9",
        "model": OPTIONS.model,
        "engine": "faster-whisper",
        "n_workers": 2,
        "began_at": WHEN,
        "updated_at": WHEN,
        "n_total": 25,
    }
    return Run(**(values | changes))


def recording(path: str = "talk.mp3", size: int = 10, mtime_ns: int | None = 1) -> Recording:
    """A file of the source as it was seen."""
    return Recording(path, size, mtime_ns)


def file(path: Path, content: bytes = b"not really sound", *, age_s: float = HOUR_S) -> Path:
    """A file, with the folders above it, that was last changed an hour ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    changed = time.time() - age_s
    os.utime(path, (changed, changed))
    return path


def speech_at(*stretches: tuple[float, float]) -> Speech:
    """Speech that is certain in these stretches of a window, and absent elsewhere."""
    probabilities = np.zeros(math.ceil(30 / CHUNK_S), np.float32)
    for start_s, end_s in stretches:
        probabilities[round(start_s / CHUNK_S) : round(end_s / CHUNK_S)] = 0.99
    return Speech(probabilities)
