"""Keep the text files of transcripts, which people may correct by hand or mix with their own files."""

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import count
from typing import NamedTuple

import structlog

from nightscribe.shared.destination.keys import output_key
from nightscribe.shared.errors import FormatError
from nightscribe.shared.formats.hand_edits import READABLE, Edits, edits_in, is_same_in_words, patched
from nightscribe.shared.formats.registry import is_same, render
from nightscribe.shared.model.jobs import FormatName, Layout
from nightscribe.shared.model.transcript import Transcript
from nightscribe.shared.process.concurrency import map_concurrently
from nightscribe.shared.storage.base import TranscriptStore, put_if_same

log = structlog.get_logger()


MAX_STATES = 20


class TextsUpdated(NamedTuple):
    """The keys of text files that got new words, and of those that a person has changed otherwise."""

    written: tuple[str, ...]
    left: tuple[str, ...]


class Texts:
    """Writes text files into a store without losing a person's work, which it keeps as `talk (kept).txt`."""

    def __init__(self, store: TranscriptStore) -> None:
        self._store = store

    def put(
        self,
        transcript: Transcript,
        formats: Iterable[FormatName],
        before: Transcript | None = None,
    ) -> frozenset[FormatName]:
        """Write a transcript in each of these formats, and return the formats that failed.

        A format that is not installed here, or fails, costs no transcription, because the next scan writes the file.

        Args: before: the transcript that existing files may have been made from.
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
        before: Transcript | None = None,
    ) -> None:
        """Write one text file, keeping a copy of the existing one if a person may have edited it."""
        key = output_key(transcript.stem, fmt)
        if self._store.put_new(key, content):
            return
        there = self._store.get(key)
        if there == content:  # written by an interrupted attempt or another worker
            return
        if there is not None and not (
            is_same(there, transcript, fmt) or (before and is_ours(there, fmt, before, transcript))
        ):
            if is_same_in_words(there, transcript, fmt):  # a person's layout, or a correction that is in the record
                return
            log.warning("text.kept", recording=transcript.recording, key=self._keep(transcript.stem, fmt, there))
        self._store.put(key, content)

    def edits(self, transcript: Transcript, formats: Iterable[FormatName]) -> dict[FormatName, Edits]:
        """Return what people have changed in the text files of a transcript, by format; only formats that can be read.

        Files in which they have changed no words are left out.
        """
        found = {}
        for fmt, content in self.there(transcript, [fmt for fmt in formats if fmt in READABLE]).items():
            if not is_ours(content, fmt, transcript) and (edits := edits_in(content, transcript, fmt)):
                found[fmt] = edits
        return found

    def update(
        self,
        old: Transcript,
        new: Transcript,
        formats: Iterable[FormatName],
        absorbed: Collection[FormatName] = (),
        *,
        dry_run: bool = False,
    ) -> TextsUpdated:
        """Write `new`, which differs from `old` in its corrections or names, into the text files that exist.

        A person's layout stays. A file that a person has changed otherwise is left as it is.

        Args: absorbed: formats whose changes by a person are among the corrections of `new`. dry_run: write nothing.
        """
        written, left = list[str](), list[str]()
        for fmt, there in self.there(new, formats).items():
            key = output_key(new.stem, fmt)
            if is_same(there, new, fmt):
                continue
            if is_ours(there, fmt, old):
                try:
                    content = render(new, fmt)
                except FormatError as error:  # this machine cannot write it; another one may
                    log.warning("text.outdated", recording=new.recording, key=key, why=str(error))
                    left.append(key)
                    continue
            elif is_same_in_words(there, new, fmt):
                continue
            elif fmt in absorbed or any(is_same_in_words(there, state, fmt) for state in earlier_states(old)):
                content = patched(there, new, fmt)
            else:
                left.append(key)
                continue
            (written if dry_run or put_if_same(self._store, key, content, there) else left).append(key)
        return TextsUpdated(tuple(written), tuple(left))

    def lay_out(
        self, old: Transcript, layout: Layout, formats: Iterable[FormatName], *, dry_run: bool = False
    ) -> tuple[str, ...]:
        """Write the text files that exist in another layout, and return the keys of those that differ in it.

        A file that is not byte for byte as it was written stays, because a person may have broken its lines.
        """
        new = old.model_copy(update={"layout": layout})
        written = []
        for fmt, there in self.there(old, formats).items():
            key = output_key(old.stem, fmt)
            try:
                content = render(new, fmt)
                if content == there or there != render(old, fmt):
                    continue
            except FormatError:  # this machine cannot write it
                continue
            if dry_run or put_if_same(self._store, key, content, there):
                written.append(key)
        return tuple(written)

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


def is_ours(content: bytes, fmt: FormatName, transcript: Transcript, new: Transcript | None = None) -> bool:
    """Return whether a text file was written from a transcript, in its layout or that of `new`.

    A process that was killed may have left a file without the last corrections.
    """
    return any(
        is_same(content, state, fmt) or (new is not None and is_same(content, _laid_out_as(new, state), fmt))
        for state in earlier_states(transcript)
    )


def earlier_states(transcript: Transcript) -> Iterator[Transcript]:
    """Yield a transcript, then the same without its last corrections, the last one first; at most `MAX_STATES`."""
    yield transcript
    kept = transcript.corrections
    for _ in range(MAX_STATES - 1):
        if not kept:
            return
        last = kept[-1]
        while kept and (kept[-1].at, kept[-1].by) == (last.at, last.by):
            kept = kept[:-1]
        yield transcript.model_copy(update={"corrections": kept})


def _laid_out_as(transcript: Transcript, old: Transcript) -> Transcript:
    """Return the old transcript in the new one's layout, in which a missing file may have been written later."""
    return old.model_copy(update={"layout": transcript.layout})
