"""Transcribe one recording in this process, without a queue."""

from collections.abc import Callable
from pathlib import Path
from threading import Lock

from nightscribe.services import model_choice, preflight
from nightscribe.services.request import layout, options
from nightscribe.shared.errors import SetupError
from nightscribe.shared.model.assembly import merge
from nightscribe.shared.model.jobs import Job, Slice
from nightscribe.shared.model.paths import without_suffix
from nightscribe.shared.model.speaker_options import OFF
from nightscribe.shared.model.transcript import Transcript, utc_now
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.folder.source import FolderSource
from nightscribe.worker.attempt.transcribe import SliceTranscriber
from nightscribe.worker.pipeline.labels import with_speakers
from nightscribe.worker.pipeline.models import Models

_engine = Lock()  # engines do not support concurrent threads
_models: dict[tuple[Path, int, int], Models] = {}


def transcribe(path: Path, settings: Settings, progress: Callable[[float], None] = lambda _s: None) -> Transcript:
    """Transcribe one recording in this process and return the transcript; the model stays in memory for the next one.

    `progress` is called with the seconds of sound done so far.

    Raises: SetupError: if the file, the engine or the weights are missing. PermanentError: if it holds no sound that
    can be decoded. RetryableError: if reading it fails.
    """
    if not path.is_file():
        is_folder = path.is_dir()
        why = "is a folder; to transcribe all in it, use transcribe_folder" if is_folder else "does not exist"
        raise SetupError(f"The recording {str(path)!r} {why}.")
    settings, _ = model_choice.resolved(settings)
    preflight.check_options(settings)
    engine = preflight.check_engine(settings)
    preflight.check_speakers(settings)
    # A single file that the user names may be a link that points anywhere.
    source = FolderSource(path.parent, follow_links=True)
    recording = source.stat(path.name)
    slice_ = Slice(
        recording=path.name,
        fingerprint=source.fingerprint(recording),
        size=recording.size,
        stem=without_suffix(path.name),
    )
    job = Job(
        slices=(slice_,),
        options=options(settings, engine),
        formats=settings.formats,
        layout=layout(settings),
    )
    with _engine:
        wanted = (settings.models_dir, settings.threads, settings.batch_size)
        if wanted not in _models:
            _models.clear()  # keep only one model in memory at a time
            _models[wanted] = Models(settings.models_dir, threads=settings.threads, batch_size=settings.batch_size)
        transcriber = SliceTranscriber(
            source=source,
            transcriber_for=_models[wanted].load,
            diarizer=_models[wanted].load_diarizer,
            check=lambda: None,
            report_progress=lambda _slice, done_s: progress(done_s),
            receive_count=1,
            max_receives=2,
        )
        [(end, part)] = transcriber.transcribe(job, [slice_])
    if end.error:
        raise end.error
    assert part  # noqa: S101  without an error, there is a part
    transcript = merge(job, slice_, [part], mtime_ns=end.mtime_ns, finished_at=utc_now())
    return transcript if settings.speakers == OFF else with_speakers(transcript, [part], job.options)
