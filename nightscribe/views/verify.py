"""Render the output of `nightscribe verify`."""

import json
from collections.abc import Iterator
from dataclasses import asdict

from nightscribe.services.verification.findings import Verified
from nightscribe.terminal import visible_lines
from nightscribe.views.humanize import count
from nightscribe.views.summary import shortened


def as_object(verified: Verified) -> str:
    """Return the result as one JSON object on one line."""
    return json.dumps({"version": 1, "is_clean": verified.is_clean, **asdict(verified)})


@visible_lines
def lines(verified: Verified, *, repair: bool) -> Iterator[str]:
    """Yield what was checked, what was found, and what to do next. `repair`: whether repairs were requested."""
    checked = [count(verified.n_transcripts, "transcript"), count(verified.n_texts, "text")]
    checked += [count(verified.n_failures, "failure")] if verified.n_failures else []
    checked += [count(verified.n_recordings, "recording")] if verified.source is not None else []
    yield f"Checked: {', '.join(checked)}."
    if verified.corrected:
        yield f"Corrected by hand, and left as they are: {count(len(verified.corrected), 'text')}."
        yield from shortened([f"  {key}" for key in verified.corrected], None)
    if verified.n_hashed:
        yield f"Hashes of the whole content written: {count(verified.n_hashed, 'recording')}."
    if verified.n_unhashed:
        how = "" if repair else "; --repair writes them"
        yield f"Without a hash of the whole content: {count(verified.n_unhashed, 'recording')}{how}."
    if verified.n_unfinished:
        yield f"Unfinished: {count(verified.n_unfinished, 'recording')}, which the next run continues."
    if verified.is_at_work:
        yield "A run, a director or a worker is active: work in progress was left alone."
    if not verified.searched_texts:
        yield "Texts without a record were not searched for: in the folder of the recordings they may be anybody's."
    mended = [each for each in verified.problems if each.mended]
    left = [each for each in verified.problems if not each.mended]
    if mended:
        yield f"Repaired: {count(len(mended), 'problem')}."
        yield from (f"  {each.path}: {each.reason} {each.mended}" for each in mended)
    if left:
        yield f"{'Left' if repair else 'Found'}: {count(len(left), 'problem')}."
        yield from (f"  {each.path}: {each.reason}" for each in left)
        if not repair:
            yield "--repair repairs what needs no transcription."
    else:
        yield "All is well." if not mended else "All is well now."
    if any(each.kind == "record_damaged" for each in mended):
        yield "The next run transcribes again the recordings whose records were moved aside."
