"""Keep the text files of transcripts, which people may correct by hand or mix with their own files."""

from collections.abc import Callable, Iterable
from itertools import count

import structlog

from nightscribe.shared.destination.keys import output_key
from nightscribe.shared.errors import FormatError
from nightscribe.shared.formats.registry import is_same, render
from nightscribe.shared.model.jobs import FormatName
from nightscribe.shared.model.transcript import Transcript
from nightscribe.shared.process.concurrency import map_concurrently
from nightscribe.shared.storage.base import TranscriptStore

log = structlog.get_logger()


class Texts:
    """Writes text files into a store without losing a person's work, which it keeps as `talk (kept).txt`."""

    def __init__(self, store: TranscriptStore) -> None:
        self._store = store

    def put(
        self,
        transcript: Transcript,
        formats: Iterable[FormatName],
        before: Callable[[], Transcript | None] = lambda: None,
    ) -> frozenset[FormatName]:
        """Write a transcript in each of these formats, and return the formats that failed.

        A format that is not installed here, or fails, costs no transcription, because the next scan writes the file.

        Args: before: returns the transcript that existing files may have been made from; called only if there are any.
        """

        def write(fmt: FormatName) -> None:
            self.put_as(transcript, fmt, render(transcript, fmt), before)

        failed = self._each(write, formats)
        for fmt, error in failed.items():
            log.error("text.failed", recording=transcript.recording, format=fmt, why=str(error))
        return frozenset(failed)

    def put_as(
        self,
        transcript: Transcript,
        fmt: FormatName,
        content: bytes,
        before: Callable[[], Transcript | None] = lambda: None,
    ) -> None:
        """Write one text file, keeping a copy of the existing one if a person may have edited it."""
        key = output_key(transcript.stem, fmt)
        if self._store.put_new(key, content):
            return
        there = self._store.get(key)
        if there == content:  # written by an interrupted attempt or another worker
            return
        if there is not None and not is_same(there, transcript, fmt):
            old = before()
            if old is None or not (is_same(there, old, fmt) or is_same(there, _laid_out_as(transcript, old), fmt)):
                log.warning("text.kept", recording=transcript.recording, key=self._keep(transcript.stem, fmt, there))
        self._store.put(key, content)

    def _keep(self, stem: str, fmt: FormatName, content: bytes) -> str:
        for number in count(1):
            key = output_key(f"{stem} (kept)" if number == 1 else f"{stem} (kept {number})", fmt)
            if self._store.put_new(key, content) or self._store.get(key) == content:
                return key
        raise AssertionError  # `count` never ends

    def put_missing(self, transcript: Transcript, formats: Iterable[FormatName]) -> None:
        """Write the text files that are missing.

        Raises: FormatError: once the others are written, if one cannot be.
        """

        def write(fmt: FormatName) -> None:
            self._store.put_new(output_key(transcript.stem, fmt), render(transcript, fmt))

        for error in self._each(write, formats).values():
            raise error

    def _each(
        self, write: Callable[[FormatName], None], formats: Iterable[FormatName]
    ) -> dict[FormatName, FormatError]:
        """Write each format, and return the errors of those that could not be written."""
        failed = {}
        for fmt, written in map_concurrently(write, formats, self._store.max_concurrency):
            try:
                written()
            except FormatError as error:
                failed[fmt] = error
        return failed

    def there(self, transcript: Transcript, formats: Iterable[FormatName]) -> dict[FormatName, bytes]:
        """Return the content of the text files that exist, no matter which program wrote them."""
        found = {fmt: self._store.get(output_key(transcript.stem, fmt)) for fmt in formats}
        return {fmt: content for fmt, content in found.items() if content is not None}

    def remove(self, old: Transcript, stem: str, formats: Iterable[FormatName]) -> None:
        """Remove the text files of a transcript that moved to `stem`, except corrections that exist nowhere else."""
        for fmt, content in self.there(old, formats).items():
            key, new = output_key(old.stem, fmt), output_key(stem, fmt)
            if (is_same(content, old, fmt) or content == self._store.get(new)) and not self._store.is_one(key, new):
                self._store.delete(key)


def _laid_out_as(transcript: Transcript, old: Transcript) -> Transcript:
    """Return the old transcript in the new one's layout, in which a missing file may have been written later."""
    return old.model_copy(update={"layout": transcript.layout})
