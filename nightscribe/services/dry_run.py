"""Forecast a run without changing anything."""

from dataclasses import dataclass

from nightscribe.director.plan.estimate import typical_speed
from nightscribe.services.events import OnEvent, ignore
from nightscribe.services.request import Request, scan, survey, with_model
from nightscribe.services.run_progress import RunProgress
from nightscribe.shared.settings import Settings

SAMPLE = 400
LABELLING_SHARE = 0.25  # of the time of transcribing with `base` (docs/performance.md)


@dataclass(frozen=True)
class Forecast:
    """The forecast of a run."""

    progress: RunProgress
    model: str
    engine: str
    audio_s: float
    """Estimated sound in the missing recordings."""
    takes_s: float
    """Estimated duration of the run."""


def dry_run(request: Request, on_event: OnEvent = ignore) -> Forecast:
    """Estimate what `run` would do. Raises: NightscribeError: if the run could not start."""
    request = with_model(request, on_event, dry_run=True)
    engine = request.check(create=False)
    progress = scan(request, on_event, dry_run=True)
    survey(request, progress, on_event, at_most=SAMPLE, guess=True)
    audio_s = progress.total_s or 0.0
    takes_s = _work_share(progress) * audio_s / _expected_speed(progress, request.settings, engine)
    return Forecast(progress, request.settings.model, engine, audio_s, takes_s)


def _work_share(progress: RunProgress) -> float:
    """Return the share of the work that transcribing everything would be: only labelling speakers is less."""
    missing = progress.scan.missing
    sizes = [(size, missing.needs_only_speakers(at)) for at, (_, size) in enumerate(missing.sized())]
    labelled = sum(size for size, only_speakers in sizes if only_speakers)
    return 1 - (1 - LABELLING_SHARE) * labelled / max(1, sum(size for size, _ in sizes))


def _expected_speed(progress: RunProgress, settings: Settings, engine: str) -> float:
    """Return the expected speed of all workers together, in seconds of sound a second.

    It is the speed of earlier runs into this destination, or a typical speed if there were none.
    """
    scan = progress.scan
    if scan.finished_processing_s:
        return settings.workers * scan.finished_audio_s / scan.finished_processing_s
    return settings.workers * typical_speed(engine, settings.model)
