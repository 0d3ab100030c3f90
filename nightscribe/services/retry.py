"""Retry failed recordings: remove their failure records, and queue them at once after a `director`."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

from nightscribe.director.dead_letters import DeadLetters
from nightscribe.services.enqueue import Enqueued, enqueue
from nightscribe.services.events import OnEvent, ignore
from nightscribe.services.names import is_chosen
from nightscribe.services.queue_discovery import is_named, queue_name, reached
from nightscribe.services.request import Request
from nightscribe.services.run_record import is_live
from nightscribe.shared.destination.json_store import NewerRecord
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import NightscribeError
from nightscribe.shared.model.activity import Run
from nightscribe.shared.model.failure import Failure
from nightscribe.shared.model.speaker_options import same_labels
from nightscribe.shared.settings import FORMER_NAMES, Settings, load_settings
from nightscribe.shared.storage.base import Location
from nightscribe.shared.storage.registry import parse_location


@dataclass(frozen=True)
class Retried:
    """The failures that were, or would be, retried, and what happens next."""

    dest: Location
    dry_run: bool
    settings: Settings
    """The settings of the last run, overridden by the given ones."""
    last: Run | None
    """The last run into the destination."""
    is_live: bool
    """Whether the last run is still in progress."""
    chosen: tuple[Failure, ...]
    n_kept: int
    """The number of chosen recordings that keep an earlier transcript: only a redo transcribes them again."""
    n_dead_letters: int = 0
    """In a dry run, the number of jobs on the dead-letter queue that would be processed, too."""
    unreachable: str | None = None
    """Why the dead-letter queue could not be read."""
    enqueued: Enqueued | None = None
    not_enqueued: str | None = None
    """Why the recordings could not be queued."""

    @property
    def is_over(self) -> bool:
        """Whether nothing is left for the user to do."""
        return self.dry_run or self.n_kept == len(self.chosen) or self.enqueued is not None

    @property
    def is_watched(self) -> bool:
        """Whether a watching director is active, which queues them by itself."""
        return self.is_live and self.last is not None and self.last.watch


def retry(
    dest: Location,
    names: Sequence[str] = (),
    reasons: Sequence[str] = (),
    *,
    dry_run: bool = False,
    on_event: OnEvent = ignore,
    **given: object,
) -> Retried:
    """Remove the failure records that match, so that these recordings are treated as missing; queue them if possible.

    `given` overrides settings of the last run. Raises: SetupError: if a setting is invalid. RetryableError: if
    the destination is unreachable.
    """
    records = Records(dest.open_store(load_settings(**given).storage))
    last = records.last_run()
    settings = load_settings(**(_asked(last) | given))
    settings = settings.model_copy(update={"queue_name": queue_name(last, settings)}) if last else settings
    has_queue = last.command == "director" if last else is_named(settings)
    n_letters, unreachable = _dead_letters(records, last, settings, dry_run=dry_run) if has_queue else (0, None)
    chosen = tuple(failure for failure in records.failures() if matches(failure, names, reasons))
    n_kept = sum(_keeps_transcript(records, failure, settings) for failure in chosen)
    if not dry_run:
        for failure in chosen:
            records.forgive(failure.recording)  # missing from here on, even if a later step fails
    enqueued = not_enqueued = None
    live = last is not None and is_live(last)
    if last and last.command == "director" and not (dry_run or unreachable or n_kept == len(chosen)):
        source = parse_location(last.source)
        if not (last.watch and live) and _is_seen(source):
            try:
                enqueued = enqueue(Request(source, dest, settings), on_event, dead_letters=False)
            except NightscribeError as error:
                not_enqueued = str(error)
    return Retried(
        dest=dest,
        dry_run=dry_run,
        settings=settings,
        last=last,
        is_live=live,
        chosen=chosen,
        n_kept=n_kept,
        n_dead_letters=n_letters,
        unreachable=unreachable,
        enqueued=enqueued,
        not_enqueued=not_enqueued,
    )


def matches(failure: Failure, names: Sequence[str], reasons: Sequence[str]) -> bool:
    """Return whether a failure matches a given name and a given reason; an empty list matches everything."""
    reason = failure.reason.casefold()
    explained = any(text.casefold() in reason for text in reasons)
    return is_chosen(failure.recording, names) and (explained or not reasons)


def _is_seen(source: Location) -> bool:
    """Return whether this machine sees the source of a director, which may have run on another machine."""
    return source.local_path is None or source.local_path.is_dir()


def _asked(last: Run | None) -> dict[str, object]:
    """Return the settings of the last run, except for the queue, which `queue_name` chooses."""
    values = {FORMER_NAMES.get(name, name): value for name, value in last.asked.items()} if last else {}
    return {name: value for name, value in values.items() if name in Settings.model_fields and name != "queue_name"}


def _keeps_transcript(records: Records, failure: Failure, settings: Settings) -> bool:
    """Return whether a recording failed in a redo and is therefore still finished, with the labels that are wanted."""
    try:
        done = records.provenance(failure.recording)
    except NewerRecord:
        return True
    return done is not None and done.fingerprint == failure.fingerprint and same_labels(done.options, settings)


def _dead_letters(records: Records, last: Run | None, settings: Settings, *, dry_run: bool) -> tuple[int, str | None]:
    """Record dead letters as failures, so that they do not become failures later.

    Returns: how many jobs a dry run has left there, and why the queue could not be read.
    """
    try:
        with reached(last, settings) as queue:
            if dry_run:
                return queue.dead_counts().queued, None
            DeadLetters(queue, records, uuid4().hex, settings.max_receives).record()
    except NightscribeError as error:
        return 0, str(error)
    return 0, None
