"""Follow recordings that were renamed or moved: each keeps the transcript that it had under its old name."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import structlog

from nightscribe.director.backlog import Backlog, Missing
from nightscribe.director.outage import is_outage
from nightscribe.director.scan.identity import ContentIdentity
from nightscribe.shared.destination.keys import TRANSCRIPTS, transcript_key
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import NightscribeError, PermanentError
from nightscribe.shared.model.jobs import FormatName
from nightscribe.shared.model.paths import without_suffix
from nightscribe.shared.model.recording import Unreadable
from nightscribe.shared.process.concurrency import map_concurrently
from nightscribe.shared.process.liveness import report_alive
from nightscribe.shared.storage.base import RecordingSource

log = structlog.get_logger()


class HiddenTranscripts:
    """Knows whose recordings may be in a place that is currently unreadable.

    What cannot be read is not gone: its transcript is not to be given to another recording, nor its texts removed.
    """

    def __init__(self, unreadable: Iterable[Unreadable]) -> None:
        paths = [each.path for each in unreadable]
        self._keys = {transcript_key(path) for path in paths}
        self._folders = tuple(f"{TRANSCRIPTS}{path}/" for path in paths)

    def __contains__(self, key: str) -> bool:
        return key in self._keys or key.startswith(self._folders)


@dataclass(frozen=True)
class RenameFollower:
    """Moves transcripts of vanished recordings to the new names of these recordings."""

    source: RecordingSource
    records: Records
    identity: ContentIdentity
    formats: tuple[FormatName, ...]
    hidden: HiddenTranscripts
    dry_run: bool

    def complete(self, recordings: Iterable[str]) -> None:
        """Complete the renames of these recordings that a director began but did not finish."""
        if self.dry_run:
            return
        for recording, look in map_concurrently(
            self.records.renamed_from, recordings, self.records.store.max_concurrency
        ):
            report_alive()
            try:
                before = look()
                # Without an earlier name, the claim belongs to other work. The next run may find what is hidden now.
                if before is None or transcript_key(before) in self.hidden:
                    continue
                self.records.end_rename(recording, before, is_gone=self._is_gone(before))
                log.info("recording.renamed", recording=recording, before=before)
            except NightscribeError as error:
                self._warn(recording, error)

    def follow(self, orphans: Iterable[str], missing: Backlog) -> dict[int, str]:
        """Match transcripts without a recording to recordings of `missing`, and move them there.

        Args: orphans: keys of such transcripts.
        Returns: the positions of the renamed recordings in `missing`, with their old names.
        """
        renamed: dict[int, str] = {}
        for key, at in self._matches((key for key in orphans if key not in self.hidden), missing):
            try:
                before = self._rename(key, missing[at])
            except NightscribeError as error:
                self._warn(missing[at].recording.path, error)
                continue
            if before is not None:
                renamed[at] = before
        return renamed

    def _matches(self, orphans: Iterable[str], missing: Backlog) -> Iterator[tuple[str, int]]:
        """Yield keys of `orphans` with the positions of their recordings in `missing`.

        Only files of the size of an orphan are read; the fingerprint suggests a match, the whole content proves it.
        """
        keys: dict[str, list[str]] = {}
        sizes: set[int] = set()
        for key, look in map_concurrently(self.records.provenance_at, orphans, self.records.store.max_concurrency):
            report_alive()
            # An error ends the scan: an unreachable share must not cause moved recordings to be transcribed again.
            if orphan := look():
                keys.setdefault(orphan.fingerprint, []).append(key)
                sizes.add(orphan.size)
        for at, (_, size) in enumerate(missing.sized()):
            if size in sizes:
                report_alive()
                try:
                    recording = missing[at].recording
                    candidates = keys.get(self.source.fingerprint(recording), [])
                    match = self.identity.transcript_of(recording, candidates)
                except PermanentError:  # deleted since it was discovered: skip it
                    continue
                except NightscribeError as error:
                    if is_outage(error, self.source.max_concurrency):
                        raise
                    continue
                if match is not None:
                    candidates.remove(match)
                    yield match, at

    def _rename(self, key: str, new: Missing) -> str | None:
        """Move the transcript under `key` to its recording's new name; return the old name, or None if it stays."""
        path = new.recording.path
        if (orphan := self.records.orphan(key)) is None or not self.records.has_room(path):
            return None
        stem = orphan.stem if orphan.stem == without_suffix(path) else new.stem  # only its extension was changed
        if not self.dry_run:
            self.records.rename(orphan, path, new.recording.mtime_ns, stem, self.formats)
            log.info("recording.renamed", recording=path, before=orphan.recording)
        return orphan.recording

    def _is_gone(self, recording: str) -> bool:
        try:
            self.source.stat(recording)
        except PermanentError:
            return True
        return False

    def _warn(self, recording: str, error: NightscribeError) -> None:
        """Log an error that concerns one rename. Raises: NightscribeError: `error`, if every rename would meet it."""
        if is_outage(error, max(self.source.max_concurrency, self.records.store.max_concurrency)):
            raise error
        log.warning("rename.unfinished", recording=recording, why=str(error))
