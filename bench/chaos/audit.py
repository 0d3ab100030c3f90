"""Audit the files of the destination after the run."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence

from chaos.processes import FORMATS, Location
from chaos.sound import Script
from nightscribe.shared.destination.keys import JOBS, failure_key, output_key, parts_folder, transcript_key
from nightscribe.shared.destination.records import Records
from nightscribe.shared.formats.registry import render
from nightscribe.shared.storage.folder.store import FolderStore


def audit(location: Location, scripts: Sequence[Script], *, may_fail: bool) -> tuple[list[str], Counter[str]]:
    """Return what is wrong, and the reasons of the failures; failures count as wrong unless they `may_fail`."""
    wrong: list[str] = []
    reasons: Counter[str] = Counter()
    files = set(_files(location))  # listed first, as reading the records may sweep old files
    wrong += [f"{key} is a temporary file." for key in sorted(files) if key.endswith(".tmp")]
    records = Records(FolderStore(location.dest))
    expected = {key for key in files if key.startswith(JOBS)}
    for script in scripts:
        failure = records.failure(script.name)
        transcript = records.transcript(script.name)
        if failure and may_fail and not transcript:
            reasons[failure.reason] += 1
            expected.add(failure_key(script.name))
            expected |= {key for key in files if key.startswith(parts_folder(script.name))}  # for the next try
            continue
        if failure:
            wrong.append(f"{script.name} has a failure record: {failure.reason}")
        if transcript is None:
            wrong.append(f"{script.name} has no transcript.")
            continue
        words = [word for segment in transcript.segments for word in segment.text.split()]
        if words != script.words:
            wrong.append(f"{script.name} says {len(words)} words that are not the {len(script.words)} expected.")
        if transcript.decoded_s != script.seconds or transcript.flags:
            wrong.append(f"{script.name} has {transcript.decoded_s} of {script.seconds} s, flags {transcript.flags}.")
        expected.add(transcript_key(script.name))
        for fmt in FORMATS:
            key = output_key(script.stem, fmt)
            expected.add(key)
            if key not in files or (location.dest / key).read_bytes() != render(transcript, fmt):
                wrong.append(f"{key} is not what the transcript says.")
    rest = files - expected
    wrong += [f"{key} should not be there." for key in sorted(rest) if not key.endswith(".tmp")]
    return wrong, reasons


def _files(location: Location) -> Iterator[str]:
    for folder, _, names in os.walk(location.dest):
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), location.dest)  # noqa: PTH118  a hundred times faster
