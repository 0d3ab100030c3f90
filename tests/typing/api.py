"""The types of the public interface as a caller sees them: mypy --strict reads this file, nobody runs it."""

from collections.abc import Iterator
from pathlib import Path
from typing import assert_type

import nightscribe
from nightscribe import (
    Correction,
    Destination,
    Failure,
    Hit,
    Progress,
    RunResult,
    SearchResult,
    Segment,
    Transcript,
    Word,
)

transcript = nightscribe.transcribe("talk.mp3", "base", "en", word_timestamps=True, progress=print)
assert_type(transcript, Transcript)
assert_type(transcript.text, str)
assert_type(transcript.language, str | None)
assert_type(transcript.duration_s, float)
assert_type(transcript.segments, tuple[Segment, ...])
assert_type(transcript.words, tuple[Word, ...])
assert_type(transcript.to("srt"), str)
assert_type(transcript.to_bytes("json"), bytes)
transcript.save(Path("talk.vtt"))


def show(progress: Progress) -> None:
    """Take the progress of a folder."""
    assert_type(progress.n_done, int)
    assert_type(progress.left_s, float | None)


result = nightscribe.transcribe_folder(Path("recordings"), "s3://texts/2012", formats=["srt"], progress=show)
assert_type(result, RunResult)
assert_type(result.n_done, int)
assert_type([each.reason for each in result.failures], list[str])
assert_type(result.is_complete, bool)

destination = nightscribe.open_destination("transcripts")
assert_type(destination, Destination)
assert_type(len(destination), int)
assert_type(destination.transcripts(), Iterator[Transcript])
assert_type(destination.failures(), Iterator[Failure])
assert_type(destination.transcript("2012/talk.mp3"), Transcript | None)
assert_type(destination.correct("2012/talk.mp3", 12.3, "Yes.", by="Anna"), Transcript)
assert_type(transcript.corrections, tuple[Correction, ...])
assert_type(destination.forget("2012/private", kept_too=True), tuple[str, ...])
found = destination.search("budget", folder="2012", since="2012-05", limit=5)
assert_type(found, SearchResult)
assert_type(found.hits, tuple[Hit, ...])
assert_type(found.hits[0].start_s, float)

try:
    nightscribe.transcribe("notes.txt")
except nightscribe.AudioError as error:
    assert_type(str(error), str)
except (nightscribe.SetupError, nightscribe.PermanentError, nightscribe.RetryableError) as error:
    assert_type(error, nightscribe.SetupError | nightscribe.PermanentError | nightscribe.RetryableError)
