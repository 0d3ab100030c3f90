"""Prove by its whole content that a file is the recording that was transcribed.

Size and fingerprint only suggest it: recorders that write files of one length, or with muted ends, make different
recordings that agree in both.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog

from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import PermanentError, RetryableError
from nightscribe.shared.model.recording import Recording
from nightscribe.shared.model.transcript import Provenance
from nightscribe.shared.storage.base import RecordingSource
from nightscribe.shared.storage.content import content_sha256
from nightscribe.shared.storage.fingerprint import covers_all

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ContentIdentity:
    """Compares recordings with what was transcribed, and remembers the results unless it is a dry run."""

    source: RecordingSource
    records: Records
    dry_run: bool = False

    def is_unchanged(self, recording: Recording, transcript: Provenance) -> bool:
        """Return whether a file of the same size has the content that was transcribed although its time is another.

        A time that the source or the transcript does not know proves nothing, so that the fingerprint decides.
        Reads the whole file once: the time of a file with the right content is then written down, and a transcript of
        other content is marked as such.
        """
        content = self.records.content_hash(transcript)
        if content and recording.mtime_ns is not None and content.mtime_ns == recording.mtime_ns:
            return True
        if self.source.fingerprint(recording) != transcript.fingerprint:
            return False
        is_time_unknown = recording.mtime_ns is None or (content is None and transcript.mtime_ns is None)
        if covers_all(recording.size) or is_time_unknown:
            return True
        if content is None:
            log.info("recording.unproven", recording=recording.path, why="the hash of what was transcribed is unknown")
        is_same = content is not None and self.sha256(recording) == content.sha256
        if self.dry_run:
            return is_same
        if content and is_same:
            self.records.put_content_hash(transcript, recording.mtime_ns, content.sha256)
        else:
            self.records.disown(transcript)  # by its fingerprint, workers would take the recording for finished
        return is_same

    def transcript_of(self, recording: Recording, keys: Iterable[str]) -> str | None:
        """Return that of these keys of transcripts whose recording had the content of this one, or None.

        All have its fingerprint, which is proof enough for a short file. Reads the whole of another file once, and
        only if the content of one of them is known.
        """
        if covers_all(recording.size):
            return next(iter(keys), None)
        sha256: str | None = None
        for key in keys:
            transcript = self.records.provenance_at(key)
            content = self.records.content_hash(transcript) if transcript else None
            if content is None:
                log.info("rename.unproven", recording=recording.path, why="the hash of what was transcribed is unknown")
                continue
            sha256 = sha256 or self.sha256(recording)
            if sha256 == content.sha256:
                return key
        return None

    def sha256(self, recording: Recording) -> str | None:
        """Return the hash of a file, or None if it changed while being read."""
        sha256 = content_sha256(self.source, recording.path)
        return sha256 if self.source.stat(recording.path) == recording else None

    def add_missing(
        self,
        unhashed: Iterable[tuple[Recording, Provenance]],
        budget_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> int:
        """Write hashes for recordings that were finished without one, until the time is used up; return how many.

        Each must have the size and time of when it was transcribed. The next scans do the others.
        """
        n, until = 0, clock() + budget_s
        for recording, transcript in unhashed:
            if clock() > until:
                break
            try:
                if self.source.fingerprint(recording) != transcript.fingerprint:
                    continue
                if sha256 := self.sha256(recording):
                    self.records.put_content_hash(transcript, recording.mtime_ns, sha256)
                    n += 1
            except (PermanentError, RetryableError) as error:  # it is only a precaution, which the next scan takes
                log.info("recording.not_hashed", recording=recording.path, why=str(error))
        if n:
            log.info("recordings.hashed", n=n)
        return n
