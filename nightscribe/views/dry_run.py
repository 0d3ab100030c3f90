"""Render the output of `nightscribe run --dry-run`."""

from collections.abc import Iterator

from nightscribe.director.backlog import Backlog
from nightscribe.services.dry_run import Forecast
from nightscribe.services.request import Request
from nightscribe.terminal import visible_lines
from nightscribe.views.humanize import count, duration
from nightscribe.views.summary import before, failures

LISTED = 10


@visible_lines
def lines(forecast: Forecast, request: Request) -> Iterator[str]:
    """Yield what a run would do: the total first, then the longest recordings."""
    progress, settings = forecast.progress, request.settings
    if progress.n_total:
        sound = f"about {duration(forecast.audio_s)}" if forecast.audio_s else "an unknown amount"
        yield (
            f"Would {_what(progress.scan.missing)}, {sound} of sound, in "
            f"{_roughly(forecast.takes_s)} ({forecast.model}, {forecast.engine}, {count(settings.workers, 'worker')})."
        )
        for path, length_s in progress.longest(LISTED):
            yield f"  {path}" + (f" (about {duration(length_s)})" if length_s else "")
        if progress.n_total > LISTED:
            yield f"  … and {progress.n_total - LISTED:,} more"
    else:
        yield "Nothing to transcribe."
    yield from before(progress.scan, dry_run=True)
    yield from failures(progress, request.dest)


def _what(missing: Backlog) -> str:
    n_words, n_labels = len(missing) - missing.n_only_speakers, missing.n_only_speakers
    transcribe, label = (
        f"transcribe {count(n_words, 'recording')}",
        f"label the speakers of {count(n_labels, 'recording')}",
    )
    if not n_labels:
        return transcribe
    return f"{transcribe} and {label}" if n_words else label


def _roughly(seconds: float) -> str:
    """Return a forecast that is only as precise as it can be, since loading a model takes some seconds too."""
    if seconds < 45:
        return "less than a minute"
    minutes = max(1, round(seconds / 60))
    return "roughly " + (f"{minutes} min" if minutes < 60 else duration(60 * minutes))
