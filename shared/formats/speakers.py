"""Decide which names of speakers a text shows. Pure."""

from collections.abc import Mapping

from nightscribe.shared.formats.line_breaks import one_line
from nightscribe.shared.model.speaker_options import OFF
from nightscribe.shared.model.transcript import Transcript

Names = Mapping[str | None, str]
"""The name to show for each label of a segment. A label that is missing here is not shown."""


def shown_names(transcript: Transcript) -> dict[str | None, str]:
    """Return the names to show. There are none if nobody asked for labels, or for one speaker whom nobody has named.

    A recording with two channels is transcribed by channel, and its segments labelled, even if nobody asked for labels.
    """
    if transcript.options.speakers == OFF:
        return {}
    given = {each.label: one_line(each.name) for each in transcript.speakers if each.name}
    labels = dict.fromkeys(segment.speaker for segment in transcript.segments if segment.speaker and segment.text)
    if len(labels) < 2 and not any(given.get(label) for label in labels):
        return {}
    return {label: given.get(label) or label[:1].upper() + label[1:] for label in labels}
