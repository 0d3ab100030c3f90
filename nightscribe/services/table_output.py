"""Write the table of a run into its destination, with what was said in each recording."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import structlog

from nightscribe.services.events import OnEvent, TableWritten
from nightscribe.services.request import Request
from nightscribe.services.run_progress import RunProgress
from nightscribe.shared.destination.json_store import JsonStore
from nightscribe.shared.destination.keys import TABLE
from nightscribe.shared.destination.records import REPLACED, Records
from nightscribe.shared.errors import NightscribeError, RetryableError
from nightscribe.shared.formats.document import running_text
from nightscribe.shared.formats.line_breaks import one_line
from nightscribe.shared.model.corrections import corrected
from nightscribe.shared.model.paths import suffix, without_suffix
from nightscribe.shared.model.table_record import TableRecord
from nightscribe.shared.model.transcript import Segment, Transcript
from nightscribe.shared.process.concurrency import map_concurrently
from nightscribe.shared.process.liveness import report_alive
from nightscribe.shared.storage.base import TranscriptStore
from nightscribe.shared.storage.table.columns import new_columns
from nightscribe.shared.storage.table.source import Listing, TableSource
from nightscribe.worker.pipeline.confidence import Evidence, confidence

log = structlog.get_logger()

EVERY_S = 15.0
SHARE = 0.02  # of the time that a run may spend on its table
MOST_REMARKS = 20
MOST_NAMES = 1000


class Result(NamedTuple):
    """What is added to a row; None for what is not known."""

    generated_text: str | None = None
    language: str | None = None
    confidence: float | None = None
    flags: str | None = None
    duration: float | None = None


@dataclass
class TableOutput:
    """The table in the destination, which is written whole or not at all."""

    records: Records
    listing: Listing
    source: str
    clock: Callable[[], float] = time.monotonic
    _done: dict[str, Result] = field(default_factory=dict)
    _due_at: float = 0.0

    def __post_init__(self) -> None:
        self.columns = new_columns(self.listing.table.columns)
        self._key = ""
        self._due_at = self.clock() + EVERY_S

    def write_if_due(self, progress: RunProgress) -> None:
        """Write the table now and then. An outage of the destination is left to those that must notice it."""
        began = self.clock()
        if began < self._due_at:
            return
        with suppress(RetryableError):
            self.write(progress)
        took_s = self.clock() - began
        self._due_at = self.clock() + max(EVERY_S, took_s / SHARE)

    def write(self, progress: RunProgress, *, is_last: bool = False) -> TableWritten:
        """Write the table with all that is finished. Raises: RetryableError: if the destination is unreachable.

        `is_last`: the run has ended, so what it has not done again keeps its earlier text.
        """
        failures = {each.recording: each.reason for each in progress.failures}
        recordings = dict.fromkeys(each.recording for each in self.listing.entries if each.recording)
        unknown = [path for path in recordings if path not in self._done and (is_last or not progress.is_open(path))]
        store = self.records.store
        for path, load in map_concurrently(self.records.transcript, unknown, store.max_concurrency):
            report_alive()
            if path in failures:
                continue
            if (transcript := load()) and not transcript.fingerprint.endswith(REPLACED):
                self._done[path] = result_of(transcript)
        rows: list[Result] = []
        for entry in self.listing.entries:
            done = self._done.get(entry.recording or "")
            if done is None:
                reason = entry.problem or failures.get(entry.recording or "")
                done = Result(flags=f"failed: {reason}") if reason else Result()
            if entry.note:
                done = done._replace(flags="; ".join(filter(None, (done.flags, entry.note))))
            rows.append(done)
        self._put(self.listing.table.write(self.columns, rows))
        n_texts = sum(row.generated_text is not None for row in rows)
        return TableWritten(self._key, len(rows), n_texts, self._remarks())

    def _remarks(self) -> tuple[str, ...]:
        rows = [f"Row {each.row.number} {each.note}." for each in self.listing.entries if each.note]
        more = [f"{len(rows) - MOST_REMARKS} more rows; the column {self.columns[3]} says why."]
        return (*self.listing.table.notes, *rows[:MOST_REMARKS], *(more if len(rows) > MOST_REMARKS else []))

    def _put(self, content: bytes) -> None:
        """Write the table under its own name, or a free one beside somebody else's file.

        What a person has changed in it is kept under another name.
        """
        store = self.records.store
        notes = JsonStore(store)
        before = notes.load(TableRecord, TABLE)
        if not self._key:
            is_same = before and (before.name, before.source) == (self.listing.name, self.source)
            self._key = before.key if before and is_same else free_name(store, self.listing.name)
        if before and before.key == self._key:
            there = store.get(self._key)
            if there == content:
                return
            if there is not None and _hash(there) not in before.hashes:
                store.put(free_name(store, f"{without_suffix(self._key)} (kept){suffix(self._key)}"), there)
        # The note comes first, so that the next run knows the table as ours, whether or not this write is interrupted.
        note = TableRecord(
            source=self.source,
            name=self.listing.name,
            key=self._key,
            hashes=(*(before.hashes[-1:] if before and before.key == self._key else ()), _hash(content)),
            audio_column=self.listing.audio_column,
            text_column=self.listing.text_column,
            columns=self.columns,
        )
        notes.save(TABLE, note)
        store.put(self._key, content)


def free_name(store: TranscriptStore, name: str) -> str:
    """Return a name that no file in the destination has: the given one, or one with a number."""
    taken = {each.casefold() for each in store.names("")}
    stem, kind = without_suffix(name), suffix(name)
    tries = (name, *(f"{stem} ({n}){kind}" for n in range(2, MOST_NAMES)))
    return next(each for each in tries if each.casefold() not in taken)


def result_of(transcript: Transcript) -> Result:
    """Return what a table says about a transcript, with the corrections that people have made."""
    segments = corrected(transcript).segments
    return Result(
        running_text(line for segment in segments if (line := one_line(segment.text))),
        transcript.language,
        _confidence(transcript.segments),
        "; ".join(transcript.flags) or None,
        round(transcript.decoded_s, 3),
    )


def _confidence(segments: Sequence[Segment]) -> float | None:
    """Return the expected share of right words, or None if the engine gives no scores."""
    scored = [(each.end_s - each.start_s, each) for each in segments if each.average_log_probability is not None]
    whole_s = sum(seconds for seconds, _ in scored)
    if whole_s <= 0:
        return None
    return round(sum(seconds * _estimate(each, seconds) for seconds, each in scored) / whole_s, 3)


def _estimate(segment: Segment, seconds: float) -> float:
    if segment.confidence is not None:
        return segment.confidence
    evidence: dict[str, Any] = {
        "text": segment.text,
        "seconds": seconds,
        "average_log_probability": segment.average_log_probability,
        "no_speech_probability": segment.no_speech_probability,
    }
    return confidence(Evidence(**evidence))


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@contextmanager
def table_kept(request: Request, progress: RunProgress, on_event: OnEvent) -> Iterator[TableOutput | None]:
    """Yield the table of a run whose source is one, and write it at the end, however the run ends; else yield None."""
    source = request.recordings
    if not isinstance(source, TableSource):
        yield None
        return
    table = TableOutput(request.records, source.listing(), str(request.corpus.absolute()))
    try:
        yield table
    except (KeyboardInterrupt, NightscribeError):
        with suppress(NightscribeError):
            table.write(progress, is_last=True)
        raise
    written = table.write(progress, is_last=True)
    log.info("table.written", table=written.place, n_rows=written.n_rows, n_texts=written.n_texts)
    on_event(written)
