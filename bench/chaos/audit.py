"""Audit the files of the destination and the messages on the queues after the run."""

import os
from collections.abc import Iterator, Mapping, Sequence

from chaos.event_log import Event
from chaos.processes import FORMATS, Location, digest
from chaos.sound import Script
from nightscribe.shared.destination.keys import (
    JOBS,
    failure_key,
    hash_key,
    output_key,
    parts_folder,
    transcript_key,
)
from nightscribe.shared.destination.records import Records
from nightscribe.shared.formats.registry import render
from nightscribe.shared.model.failure import Failure
from nightscribe.shared.model.jobs import RECORDS_FOLDER
from nightscribe.shared.storage.content import content_sha256


def audit(location: Location, scripts: Sequence[Script], *, may_fail: bool) -> tuple[list[str], list[Failure]]:
    """Return what is wrong, and the failures; these count as wrong unless they `may_fail`."""
    wrong: list[str] = []
    failures: list[Failure] = []
    files = set(_files(location))  # listed first, as reading the records may sweep old files
    wrong += [f"{key} is a temporary file." for key in sorted(files) if key.endswith(".tmp")]
    source, store = location.open_source(), location.open_store()
    records = Records(store)
    expected = {key for key in files if key.startswith(JOBS)} | {f"{RECORDS_FOLDER}/exchange.lock"}
    for script in scripts:
        failure = records.failure(script.name)
        transcript = records.transcript(script.name)
        if failure and may_fail and not transcript:
            failures.append(failure)
            expected.add(failure_key(script.name))
            # What the next try finds: its worker may have died between the texts and the transcript.
            expected |= {key for key in files if key.startswith(parts_folder(script.name))}
            expected |= {output_key(script.stem, fmt) for fmt in FORMATS}
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
        expected |= {transcript_key(script.name), hash_key(script.name)}
        proof = records.content_hash(transcript)
        if proof and proof.sha256 != content_sha256(source, script.name):
            wrong.append(f"{script.name} has the hash of something else.")
        for fmt in FORMATS:
            key = output_key(script.stem, fmt)
            expected.add(key)
            if store.get(key) != render(transcript, fmt):
                wrong.append(f"{key} is not what the transcript says.")
    wrong += [f"{key} should not be there." for key in sorted(files - expected) if not key.endswith(".tmp")]
    return wrong, failures


def overwritten(location: Location, overtaken: Mapping[str, str]) -> Iterator[str]:
    """Yield the transcripts whose content a worker stored after another one had taken over (see `Account`)."""
    store = location.open_store()
    for key, late in overtaken.items():
        if (content := store.get(key)) is not None and digest(content) == late:
            yield f"{key} was overwritten by a worker that had lost its lease."


def unfounded(failures: Sequence[Failure], events: Sequence[Event], max_receives: int) -> Iterator[str]:
    """Yield the failures that no series of deaths explains.

    Nothing else may fail a recording here: each is sound, and each outage ends before a call is given up.
    """
    n_receives: dict[str, int] = {}
    for event in events:
        if event.what == "received":
            for recording, *_ in event.fields["slices"]:
                n_receives[recording] = max(n_receives.get(recording, 0), event.fields["count"])
    for failure in failures:
        if failure.code != "worker_died":
            yield f"{failure.recording} failed: {failure.reason}"
        # A worker may die before it has written down what it has received.
        elif n_receives.get(failure.recording, 0) < max_receives - 1:
            yield f"{failure.recording} failed after {n_receives.get(failure.recording, 0)} receives: {failure.reason}"


def _files(location: Location) -> Iterator[str]:
    if location.in_buckets:
        yield from location.open_store().walk("")
        return
    for folder, _, names in os.walk(location.dest):
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), location.dest)  # noqa: PTH118  a hundred times faster
