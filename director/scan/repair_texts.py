"""Rewrite missing text files of finished recordings."""

from collections.abc import Collection

from nightscribe.director.scan.text_stems import missing_formats
from nightscribe.shared.destination.keys import output_key
from nightscribe.shared.destination.records import Records
from nightscribe.shared.model.jobs import FormatName, Layout
from nightscribe.shared.model.transcript import Provenance


def repair_texts(
    records: Records,
    finished: Provenance,
    formats: Collection[FormatName],
    layout: Layout,
    existing: Collection[str],
    *,
    dry_run: bool,
) -> list[str]:
    """Write the missing text files of a finished recording from its transcript, and return their keys.

    `existing`: names of the files in its folder. With `dry_run`, only say which would be written.
    """
    lacking = missing_formats(finished.stem, formats, existing)
    if lacking and not dry_run and (transcript := records.transcript(finished.recording)):
        records.texts.put_missing(transcript.model_copy(update={"layout": layout}), lacking)
    return [output_key(finished.stem, fmt) for fmt in lacking]
