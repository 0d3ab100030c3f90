"""Scan source and destination, and sort recordings into finished, failed and missing ones."""

import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from nightscribe.director.backlog import Backlog, Missing
from nightscribe.director.folder_hotwords import FolderHotwords
from nightscribe.director.outage import is_outage
from nightscribe.director.scan.classify import Classifier, Evidence, Foreign, is_recent
from nightscribe.director.scan.discover import Candidate, Discovery, RecordingFilter
from nightscribe.director.scan.identity import ContentIdentity
from nightscribe.director.scan.renames import HiddenTranscripts, RenameFollower
from nightscribe.director.scan.repair_texts import lay_out_anew, repair_texts
from nightscribe.shared.destination.erasure import erase, traces
from nightscribe.shared.destination.ignored import Ignored
from nightscribe.shared.destination.json_store import NewerRecord
from nightscribe.shared.destination.keys import submitted_key
from nightscribe.shared.destination.records import Records
from nightscribe.shared.destination.tombstones import Tombstones
from nightscribe.shared.errors import NightscribeError
from nightscribe.shared.model.failure import Failure
from nightscribe.shared.model.jobs import FormatName, Layout
from nightscribe.shared.model.recording import Recording, Unreadable
from nightscribe.shared.model.transcript import Provenance
from nightscribe.shared.process.concurrency import map_concurrently
from nightscribe.shared.process.liveness import report_alive
from nightscribe.shared.storage.base import RecordingSource
from nightscribe.shared.storage.fingerprint import covers_all

log = structlog.get_logger()

HASHING_S = 10.0
MAX_UNHASHED = 10_000  # noted by one scan; the next ones find the others


@dataclass
class Scan:
    """The result of one scan."""

    missing: Backlog = field(default_factory=Backlog)
    n_finished: int = 0
    finished_audio_s: float = 0.0
    finished_processing_s: float = 0.0
    n_foreign: int = 0
    """Recordings that another tool has transcribed, which are left alone."""
    other_options: int = 0
    differences: tuple[str, ...] = ()
    """Options in which those differ, each with its value, as a user types them."""
    """Recordings that are finished, but with a model, task or language other than now requested."""
    rewritten: list[str] = field(default_factory=list)
    """Text files written again from their canonical transcripts."""
    laid_out: list[str] = field(default_factory=list)
    """Text files written again in another layout."""
    renamed: list[tuple[str, str]] = field(default_factory=list)
    """Old and new name of each recording that was renamed or moved."""
    n_forgotten: int = 0
    n_ignored: int = 0
    """Recordings that the user wants left alone, and that have no transcript."""
    """Recordings that were forgotten for good, which are left alone."""
    n_submitted: int = 0
    """Recordings that a server has queued, which are left alone."""
    being_written: list[str] = field(default_factory=list)
    failed_before: list[Failure] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)

    @property
    def n_recordings(self) -> int:
        """Return the number of files in the source that may be recordings."""
        return sum(self.states().values())

    def states(self) -> dict[str, int]:
        """Return the number of recordings by state."""
        return {
            "missing": len(self.missing),
            "finished": self.n_finished,
            "foreign": self.n_foreign,
            "forgotten": self.n_forgotten,
            "submitted": self.n_submitted,
            "being_written": len(self.being_written),
            "failed": len(self.failed_before),
            "unreadable": len(self.unreadable),
        }


@dataclass
class Scanner:
    """Scans everything, and repairs what needs no transcribing: missing text files and renames."""

    source: RecordingSource
    records: Records
    formats: tuple[FormatName, ...]
    settle_s: float
    """A file changed less than this ago may still be being written."""
    layout: Layout = field(default_factory=Layout)
    redo: bool = False
    retry_failed: bool = False
    dry_run: bool = False
    is_current: Callable[[Provenance], bool] = lambda _: True
    """Returns whether a finished transcript was made with the options that are now requested."""
    has_labels: Callable[[Provenance], bool] = lambda _: True
    """Returns whether a finished transcript has the labels of speakers that are now requested."""
    hotwords: FolderHotwords | None = None
    """Learns which words to listen for; None if only the scan needs it."""
    hashing_s: float = HASHING_S
    """Time that one scan may spend on hashing recordings that were finished without a hash."""
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        self._recording_filter = RecordingFilter(self.source, self.formats)
        self._tombstones = Tombstones(self.records.store)
        self._ignored = Ignored(self.records.store)
        self._identity = ContentIdentity(self.source, self.records, dry_run=self.dry_run)

    def scan(self, progress: Callable[[int], None] = lambda _: None) -> Scan:
        """Scan the whole source; `progress` is called with the number of files seen so far.

        Raises: NightscribeError: if the source or the destination as a whole cannot be read.
        """
        scan = Scan()
        recent: list[Missing] = []
        only_speakers = Backlog()
        claimed_again: list[str] = []
        unhashed: list[tuple[Recording, Provenance]] = []
        self._tombstones.load()
        submitted = self.records.notes.submitted()
        discovery = Discovery(
            self.source,
            self.records,
            self._recording_filter,
            report_progress=progress,
            hotwords=self.hotwords or FolderHotwords(self.source),
        )
        classifier = Classifier(
            self.source,
            self._identity,
            self.formats,
            redo=self.redo,
            retry_failed=self.retry_failed,
            has_labels=self.has_labels,
        )
        for candidate, read in map_concurrently(classifier.read, discovery, self._max_concurrency):
            report_alive()
            path = candidate.recording.path
            try:
                evidence = read()
                if self._is_left_alone(scan, candidate.recording, evidence, submitted):
                    continue
                claimed_again += _claimed_again(candidate, evidence)
                match classifier.classify(candidate, evidence):
                    case Missing(only_speakers=True) as unlabelled:
                        only_speakers.append(unlabelled)
                    case Missing() as missing:
                        is_new = is_recent(candidate.recording, self.now(), self.settle_s)
                        (recent if is_new else scan.missing).append(missing)
                    case Failure() as failure:
                        scan.failed_before.append(failure)
                    case Foreign():
                        scan.n_foreign += 1
                    case Provenance() as finished:
                        self._add_finished(scan, candidate, finished)
                        if len(unhashed) < MAX_UNHASHED and _lacks_hash(candidate, finished):
                            unhashed.append((candidate.recording, finished))
            except NightscribeError as error:
                if is_outage(error, self._max_concurrency):
                    raise
                scan.unreadable.append(Unreadable(path, str(error)))
        scan.unreadable[:0] = discovery.unreadable
        heeded = [each for each in scan.unreadable if not self._ignored.has(each.path)]
        scan.n_ignored += len(scan.unreadable) - len(heeded)
        scan.unreadable[:] = heeded
        self._recording_filter.forget_unseen()
        self._wait_for(recent, scan)
        if not self.redo:
            self._follow_renames(scan, claimed_again, discovery)
        scan.missing.extend(only_speakers)  # only now: they have transcripts, so they are no new names of others
        if unhashed and not self.dry_run:
            self._identity.add_missing(unhashed, self.hashing_s)
        return scan

    @property
    def _max_concurrency(self) -> int:
        return max(self.source.max_concurrency, self.records.store.max_concurrency)

    def _add_finished(self, scan: Scan, candidate: Candidate, finished: Provenance) -> None:
        scan.n_finished += 1
        if self.is_current(finished):
            # Only these show how fast the model runs on this hardware.
            scan.finished_audio_s += finished.decoded_s
            scan.finished_processing_s += finished.processing_s
        else:
            scan.other_options += 1
        if not self.dry_run:
            self._tidy_up(candidate, finished)
        scan.laid_out.extend(lay_out_anew(self.records, finished, self.formats, self.layout, dry_run=self.dry_run))
        scan.rewritten.extend(
            repair_texts(
                self.records, finished, self.formats, self.layout, candidate.folder.texts, dry_run=self.dry_run
            )
        )

    def _is_forgotten(self, recording: Recording, evidence: Evidence) -> bool:
        """Return whether a recording was forgotten; delete what a worker has finished of it since then."""
        if not self._tombstones:
            return False
        settled = evidence.settled_by
        if isinstance(settled, Provenance):
            is_forgotten = self._tombstones.has(recording.path, settled.fingerprint)
        else:
            is_forgotten = self._tombstones.find(recording, self.source) is not None
        if is_forgotten and settled and not self.dry_run:
            with suppress(NewerRecord):
                erase(self.records, self._tombstones, traces(self.records, recording.path))
                log.info("recording.forgotten", recording=recording.path)
        return is_forgotten

    def _is_left_alone(self, scan: Scan, recording: Recording, evidence: Evidence, submitted: Collection[str]) -> bool:
        """Count a recording that was forgotten, or that a server has queued with options that somebody chose for it."""
        if self._is_forgotten(recording, evidence):
            scan.n_forgotten += 1
            return True
        if not isinstance(evidence.settled_by, Provenance) and self._ignored.has(recording.path):
            scan.n_ignored += 1
            return True
        if not submitted or (evidence.settled_by and not self.redo):
            return False
        key = submitted_key(recording.path)
        is_submitted = key in submitted and self.records.notes.counts(key)
        scan.n_submitted += is_submitted
        return is_submitted

    def _tidy_up(self, candidate: Candidate, finished: Provenance) -> None:
        """Remove what is left from before the transcript.

        Its worker may have died before it removed the partial results, and the queue may have lost the message that
        would have reminded another one. A suspended worker may have written a failure record late.
        """
        path, name = candidate.recording.path, candidate.folder.name(candidate.recording)
        with suppress(NewerRecord):
            failure = candidate.folder.failure(name)
            if failure and failure.failed_at <= finished.finished_at:
                self.records.forgive(path)
        if candidate.folder.is_claimed(name) and not self.redo:
            self.records.drop_leftovers(path)

    def _wait_for(self, recent: list[Missing], scan: Scan) -> None:
        """Wait until recently changed files are `settle_s` old; those that have not changed by then are complete."""
        if not recent:
            return
        youngest_s = min(self.now() - (missing.recording.mtime_ns or 0) / 1e9 for missing in recent)
        pause_s = max(0.0, self.settle_s - youngest_s) + 0.05
        report_alive(pause_s)
        self.sleep(pause_s)
        for missing in recent:
            try:
                unchanged = self.source.stat(missing.recording.path) == missing.recording
            except NightscribeError:
                unchanged = False
            if unchanged:
                scan.missing.append(missing)
            else:
                scan.being_written.append(missing.recording.path)

    def _follow_renames(self, scan: Scan, claimed_again: list[str], discovery: Discovery) -> None:
        hidden = HiddenTranscripts(scan.unreadable)
        follower = RenameFollower(self.source, self.records, self._identity, self.formats, hidden, dry_run=self.dry_run)
        follower.complete(claimed_again)
        if scan.missing and (renamed := follower.follow(discovery.orphans(), scan.missing)):
            scan.renamed = [(before, scan.missing[at].recording.path) for at, before in renamed.items()]
            scan.n_finished += len(renamed)
            scan.missing = scan.missing.without(set(renamed))


def _claimed_again(candidate: Candidate, evidence: Evidence) -> list[str]:
    """Return the path of a recording with a transcript and a claim: it comes from a redo or an interrupted rename."""
    is_claimed = evidence.transcript and candidate.folder.is_claimed(candidate.folder.name(candidate.recording))
    return [candidate.recording.path] if is_claimed else []


def _lacks_hash(candidate: Candidate, finished: Provenance) -> bool:
    """Return whether a recording is certainly the one that was transcribed but lacks the content hash that it needs."""
    folder, recording = candidate.folder, candidate.recording
    if covers_all(recording.size):
        return False
    is_certain = recording.mtime_ns is not None and recording.mtime_ns == finished.mtime_ns
    return is_certain and finished.content_sha256 is None and not folder.has_hash(folder.name(recording))
