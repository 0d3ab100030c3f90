"""Rewrite text files of finished recordings that are missing, or laid out otherwise than requested."""

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


def lay_out_anew(
    records: Records, finished: Provenance, formats: Collection[FormatName], layout: Layout, *, dry_run: bool
) -> tuple[str, ...]:
    """Write the text files of a finished recording in another layout, and return the keys of those that differ in it.

    What a person has edited or laid out stays. With `dry_run`, only say which would be written.
    """
    if finished.layout == layout or (transcript := records.transcript(finished.recording)) is None:
        return ()
    if dry_run:
        return records.texts.lay_out(transcript, layout, formats, dry_run=True)
    return records.lay_out(transcript, layout, formats)
