"""Forecast what a run would do, and change nothing."""

from dataclasses import dataclass

from nightscribe.director.plan.estimate import typical_speed
from nightscribe.services.events import Tell, ignore
from nightscribe.services.request import Request, scan, survey
from nightscribe.services.run_progress import RunProgress
from nightscribe.shared.settings import Settings

SAMPLE = 400


@dataclass(frozen=True)
class Forecast:
    """What a run would do."""

    progress: RunProgress
    engine: str
    audio_s: float
    """Estimated sound in the missing recordings."""
    takes_s: float
    """Estimated duration of the run."""


def dry_run(request: Request, tell: Tell = ignore) -> Forecast:
    """Estimate what `run` would do. Raises: NightscribeError: if it could not begin."""
    engine = request.check(create=False)
    progress = scan(request, tell, dry_run=True)
    survey(request, progress, tell, at_most=SAMPLE)
    audio_s = progress.total_s or 0.0
    return Forecast(progress, engine, audio_s, audio_s / _expected_speed(progress, request.settings, engine))


def _expected_speed(progress: RunProgress, settings: Settings, engine: str) -> float:
    """Return the expected speed of all workers together: that of earlier runs into this destination, or a typical one.

    Unit: seconds of sound a second.
    """
    scan = progress.scan
    if scan.finished_processing_s:
        return settings.workers * scan.finished_audio_s / scan.finished_processing_s
    return settings.workers * typical_speed(engine, settings.model)
