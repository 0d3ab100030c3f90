"""Define the values of `--speakers`: whether recordings get speaker labels, and how many speakers they have."""

from typing import Protocol

OFF, AUTO, CHANNELS = "off", "auto", "channels"
MOST_SPEAKERS = 99


class SpeakerOptions(Protocol):
    """The fields that settings and the options of a job share."""

    @property
    def speakers(self) -> str: ...
    @property
    def min_speakers(self) -> int: ...
    @property
    def max_speakers(self) -> int: ...


def speakers_value(value: str) -> str:
    """Return a value of `--speakers` in its usual form. Raises: ValueError: if it is none."""
    text = value.strip().lower()
    if text in (OFF, AUTO, CHANNELS):
        return text
    if text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_SPEAKERS:
        return str(int(text))
    raise ValueError(f"it must be off, auto, channels or the number of speakers, from 1 to {MOST_SPEAKERS}")


def check_bounds(speakers: str, at_least: int, at_most: int) -> None:
    """Raise ValueError if a number of speakers and its bounds contradict each other. `at_most`: 0 for no limit."""
    if at_most and at_least > at_most:
        raise ValueError(f"it is less than --min-speakers, which is {at_least}")
    if speakers.isdigit() and not at_least <= int(speakers) <= (at_most or MOST_SPEAKERS):
        raise ValueError(f"it excludes --speakers {speakers}, which says how many there are")


def needs_models(options: SpeakerOptions) -> bool:
    """Return whether speakers are told apart by their voices, for which models are needed."""
    return options.speakers not in (OFF, CHANNELS)


def same_labels(done: SpeakerOptions, wanted: SpeakerOptions) -> bool:
    """Return whether finished labels are those that are requested; without a request, any are."""
    if wanted.speakers == OFF:
        return True
    return (done.speakers, done.min_speakers, done.max_speakers) == (
        wanted.speakers,
        wanted.min_speakers,
        wanted.max_speakers,
    )
