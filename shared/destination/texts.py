"""The text files of transcripts, which people correct by hand, and beside which they put files of their own."""

from collections.abc import Callable, Iterable
from itertools import count

import structlog
from pydantic import ValidationError

from nightscribe.shared.destination.keys import output_key
from nightscribe.shared.formats.registry import render
from nightscribe.shared.model.jobs import FormatName
from nightscribe.shared.model.transcript import Transcript
from nightscribe.shared.process.concurrency import map_concurrently
from nightscribe.shared.storage.base import TranscriptStore

log = structlog.get_logger()


class Texts:
    """The text files in a store. What may be somebody's work is not lost: it is copied beside, as `talk (kept).txt`."""

    def __init__(self, store: TranscriptStore) -> None:
        self._store = store

    def put(
        self,
        transcript: Transcript,
        formats: Iterable[FormatName],
        before: Callable[[], Transcript | None] = lambda: None,
    ) -> None:
        """Write those text files.

        `before`: gives the transcript of which there may be texts already; asked only if there are some.
        """

        def write(fmt: FormatName) -> None:
            self.put_as(transcript, fmt, render(transcript, fmt), before)

        self._each(write, formats)

    def put_as(
        self,
        transcript: Transcript,
        fmt: FormatName,
        content: bytes,
        before: Callable[[], Transcript | None] = lambda: None,
    ) -> None:
        """Write one of them as somebody has left it."""
        key = output_key(transcript.stem, fmt)
        if self._store.put_new(key, content):
            return
        there = self._store.get(key)
        if there == content:  # by a try that was interrupted, or another worker
            return
        if there is not None and not is_of(there, transcript, fmt):
            old = before()
            if old is None or not (is_of(there, old, fmt) or is_of(there, _laid_out_as(transcript, old), fmt)):
                log.warning("text.kept", recording=transcript.recording, key=self._keep(transcript.stem, fmt, there))
        self._store.put(key, content)

    def _keep(self, stem: str, fmt: FormatName, content: bytes) -> str:
        for number in count(1):
            key = output_key(f"{stem} (kept)" if number == 1 else f"{stem} (kept {number})", fmt)
            if self._store.put_new(key, content) or self._store.get(key) == content:
                return key
        raise AssertionError  # there is no last number

    def put_missing(self, transcript: Transcript, formats: Iterable[FormatName]) -> None:
        """Write those that are not there."""

        def write(fmt: FormatName) -> None:
            self._store.put_new(output_key(transcript.stem, fmt), render(transcript, fmt))

        self._each(write, formats)

    def _each(self, write: Callable[[FormatName], None], formats: Iterable[FormatName]) -> None:
        for _, written in map_concurrently(write, formats, self._store.max_concurrency):
            written()

    def there(self, transcript: Transcript, formats: Iterable[FormatName]) -> dict[FormatName, bytes]:
        """Those that are there, whoever wrote them."""
        found = {fmt: self._store.get(output_key(transcript.stem, fmt)) for fmt in formats}
        return {fmt: content for fmt, content in found.items() if content is not None}

    def remove(self, old: Transcript, stem: str, formats: Iterable[FormatName]) -> None:
        """Remove those of a transcript whose texts are at another stem now, but what is only here."""
        for fmt, content in self.there(old, formats).items():
            key, new = output_key(old.stem, fmt), output_key(stem, fmt)
            if (is_of(content, old, fmt) or content == self._store.get(new)) and not self._store.is_one(key, new):
                self._store.delete(key)


def is_of(content: bytes, transcript: Transcript, fmt: FormatName) -> bool:
    """Whether a text file is as it was written, but perhaps for where the lines of subtitles are broken."""
    if fmt == "txt":
        return content == render(transcript, fmt)
    if fmt != "json":
        return content.split() == render(transcript, fmt).split()
    try:  # it also tells when it was made, and how long that took
        return _said(Transcript.model_validate_json(content)) == _said(transcript)
    except ValidationError:
        return False


def _laid_out_as(transcript: Transcript, old: Transcript) -> Transcript:
    """Texts that were missing are written as they are asked for now, which their transcript does not tell."""
    return old.model_copy(update={"layout": transcript.layout})


def _said(transcript: Transcript) -> list[tuple[float, float, str]]:
    return [(segment.start_s, segment.end_s, segment.text) for segment in transcript.segments]
