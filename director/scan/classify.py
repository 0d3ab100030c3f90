"""Classify a recording: finished, failed before, finished by another tool, or missing."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import NamedTuple

from nightscribe.director.backlog import Missing
from nightscribe.director.scan.discover import Candidate
from nightscribe.director.scan.identity import ContentIdentity
from nightscribe.director.scan.text_stems import free_stem, missing_formats
from nightscribe.shared.model.failure import Failure
from nightscribe.shared.model.jobs import FormatName
from nightscribe.shared.model.recording import Recording
from nightscribe.shared.model.transcript import Provenance
from nightscribe.shared.storage.base import RecordingSource


class Evidence(NamedTuple):
    """The records of one recording in the destination."""

    transcript: Provenance | None
    """How the transcript was made, if there is one; it may be from before the file changed."""
    settled_by: Provenance | Failure | None
    """The transcript or failure record that applies to the current state of the file."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A recording that another tool has transcribed."""


@dataclass(frozen=True, slots=True)
class Classifier:
    """Reads what settles a recording, and classifies it."""

    source: RecordingSource
    identity: ContentIdentity
    formats: tuple[FormatName, ...]
    redo: bool
    retry_failed: bool
    has_labels: Callable[[Provenance], bool] = lambda _: True
    """Returns whether a finished transcript has the labels of speakers that are requested."""

    def read(self, candidate: Candidate) -> Evidence:
        """Return the evidence from the destination; read the file itself only if its size and time are inconclusive."""
        name = candidate.folder.name(candidate.recording)
        transcript = candidate.folder.provenance(name)
        if transcript and self._is_about(candidate.recording, transcript):
            return Evidence(transcript, self._why_unlabelled(candidate, transcript) or transcript)
        failure = None if self.retry_failed else candidate.folder.failure(name)
        return Evidence(transcript, failure if failure and self._is_about(candidate.recording, failure) else None)

    def classify(self, candidate: Candidate, evidence: Evidence) -> Provenance | Failure | Foreign | Missing:
        """Return what settles the recording, or that it is missing and where its text files go."""
        match evidence.settled_by:
            case Failure() as failure:
                return failure
            case Provenance() as finished if not self.redo:
                if self.has_labels(finished):
                    return finished
                return Missing(candidate.recording, finished.stem, only_speakers=True)
        recording, folder = candidate.recording, candidate.folder
        name = folder.name(recording)
        before = evidence.transcript or folder.damaged(name)
        if before and not would_overwrite(before, self.formats, folder.texts):
            return Missing(recording, before.stem)
        stem = free_stem(
            recording.path,
            candidate.usual_stem,
            self.formats,
            folder.texts,
            claimed=folder.claimed_stem(name),
            is_ours=lambda stem: stem in folder.our_stems,
        )
        return Foreign() if stem is None else Missing(recording, stem)

    def _why_unlabelled(self, candidate: Candidate, finished: Provenance) -> Failure | None:
        """Return why labelling a finished recording failed; None if it has its labels or was not tried."""
        if self.redo or self.retry_failed or self.has_labels(finished):
            return None
        failure = candidate.folder.failure(candidate.folder.name(candidate.recording))
        return failure if failure and failure.fingerprint == finished.fingerprint else None

    def _is_about(self, recording: Recording, record: Provenance | Failure) -> bool:
        same = same_at_a_glance(recording, record)
        if same is not None:
            return same
        if isinstance(record, Failure):  # a wrong guess leaves it among the failures, where users see it
            return self.source.fingerprint(recording) == record.fingerprint
        return self.identity.is_unchanged(recording, record)


def same_at_a_glance(recording: Recording, record: Provenance | Failure) -> bool | None:
    """Return whether a record applies to the current state of the file; None if only its content can decide."""
    if recording.size != record.size:
        return False
    if recording.mtime_ns is not None and recording.mtime_ns == record.mtime_ns:
        return True
    return None


def is_recent(recording: Recording, now_s: float, settle_s: float) -> bool:
    """Return whether a file changed less than `settle_s` ago and so may still be being written."""
    # A time in the future comes from a wrong clock, not from a file being written.
    return recording.mtime_ns is not None and 0 <= now_s - recording.mtime_ns / 1e9 < settle_s


def would_overwrite(before: Provenance, formats: Collection[FormatName], existing: Collection[str]) -> bool:
    """Return whether a file exists in a format that the transcript lacks, so the file is not ours."""
    new = [fmt for fmt in formats if fmt not in before.formats]
    return len(missing_formats(before.stem, new, existing)) < len(new)
