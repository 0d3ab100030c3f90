"""The text files of transcripts, which people correct by hand."""

from collections.abc import Callable, Iterable
from itertools import count
from typing import TypeVar

import structlog

from shared.abreast import abreast
from shared.formats import render
from shared.jobs import Format
from shared.names import output_key
from shared.store import TranscriptStore
from shared.transcript import Transcript

log = structlog.get_logger()

CORRECTED_BY_HAND: tuple[Format, ...] = ("txt", "vtt", "srt")

T = TypeVar("T")


class Texts:
    """The text files in a store."""

    def __init__(self, store: TranscriptStore) -> None:
        self._store = store

    def put(self, transcript: Transcript, formats: Iterable[Format]) -> None:
        """Write those text files, over what is there."""
        self._put(self._store.put, transcript, formats)

    def put_missing(self, transcript: Transcript, formats: Iterable[Format]) -> list[Format]:
        """Write those that are not there; gives their formats."""
        made = self._put(self._store.put_new, transcript, formats)
        return [fmt for fmt, is_there in made if is_there]

    def _put(
        self, put: Callable[[str, bytes], T], transcript: Transcript, formats: Iterable[Format]
    ) -> list[tuple[Format, T]]:
        def write(fmt: Format) -> T:
            return put(output_key(transcript.stem, fmt), render(transcript, fmt))

        return [(fmt, written()) for fmt, written in abreast(write, formats, self._store.at_once)]

    def edited(self, transcript: Transcript, formats: Iterable[Format]) -> dict[Format, bytes]:
        """Those of a transcript that are there and are no longer as they were written."""
        found = {fmt: self._store.get(output_key(transcript.stem, fmt)) for fmt in formats if fmt in CORRECTED_BY_HAND}
        return {
            fmt: content for fmt, content in found.items() if content is not None and content != render(transcript, fmt)
        }

    def keep_corrected(self, before: Transcript, formats: Iterable[Format]) -> None:
        """Copy those that somebody corrected to a name beside, as `talk (edited).txt`: they will be written over.

        Where only the lines are broken in another way, it may have been an older nightscribe.
        """
        for fmt, content in self.edited(before, formats).items():
            if _words(content, fmt) != _words(render(before, fmt), fmt):
                key = self._set_aside(before.stem, fmt, content)
                log.warning("text.kept", recording=before.recording, key=key, why="It was corrected by hand.")

    def _set_aside(self, stem: str, fmt: Format, content: bytes) -> str:
        for number in count(1):
            key = output_key(f"{stem} (edited)" if number == 1 else f"{stem} (edited {number})", fmt)
            if self._store.put_new(key, content) or self._store.get(key) == content:  # by a try that was interrupted
                return key
        raise AssertionError  # there is no last number

    def remove(self, old: Transcript, stem: str, formats: Iterable[Format]) -> None:
        """Remove those of a transcript whose texts are at another stem now, but what is only here."""
        for fmt in formats:
            key = output_key(old.stem, fmt)
            content = self._store.get(key)
            if content is not None and content in (render(old, fmt), self._store.get(output_key(stem, fmt))):
                self._store.delete(key)


def _words(text: bytes, fmt: Format) -> list[bytes]:
    """What is said in it, without the times and numbers of subtitles."""
    lines = text.splitlines()
    if fmt != "txt":
        lines = [line for line in lines if b"-->" not in line and not line.strip().isdigit()]
    return [word for line in lines for word in line.split()]
