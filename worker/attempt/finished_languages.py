"""Count the languages of the finished recordings of a folder, to help with one whose language is unclear."""

from collections import Counter
from collections.abc import Collection
from itertools import islice

from nightscribe.shared.destination.keys import TRANSCRIPTS
from nightscribe.shared.destination.records import Records
from nightscribe.shared.model.transcript import Flag, Provenance
from nightscribe.shared.process.concurrency import map_concurrently

MOST = 40  # records to read of a folder, the first by name; that many leave hardly any doubt


def finished_languages(records: Records, folder: str, *, besides: Collection[str]) -> Counter[str]:
    """Return how many finished recordings directly in a folder are certainly in each language.

    `besides`: recordings that do not count, because they are being transcribed.
    """
    prefix = f"{TRANSCRIPTS}{folder}/" if folder else TRANSCRIPTS
    keys = (prefix + name for name in islice(sorted(records.store.listing(prefix)[0]), MOST))
    looks = map_concurrently(records.provenance_at, keys, records.store.max_concurrency)
    finished = (look() for _, look in looks)
    return Counter(
        done.language
        for done in finished
        if done and done.language and _is_clear(done) and done.recording not in besides
    )


def _is_clear(done: Provenance) -> bool:
    """Return whether the recording shows its language by itself."""
    return done.language_prior is None and not {Flag.LANGUAGE_UNSURE, Flag.LANGUAGE_CHANGES} & set(done.flags)
