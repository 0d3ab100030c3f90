"""Say in words what the flags of a transcript mean to the person who reads it."""

from collections.abc import Mapping

from nightscribe.shared.model.transcript import Flag

# The most significant first.
MEANINGS: Mapping[Flag, str] = {
    Flag.TRUNCATED: "less sound could be decoded than the file says it holds",
    Flag.GAP: "somebody speaks where there is no text",
    Flag.REPETITION: "the same words over and over",
    Flag.LOW_CONFIDENCE: "the model was not sure of what it heard",
    Flag.LANGUAGE_UNSURE: "the detected language may be wrong",
    Flag.LANGUAGE_CHANGES: "more than one language is spoken",
    Flag.CHANNELS_CANCEL: "one channel is the other inverted; only one of them was listened to",
    Flag.OTHER_TRACKS: "other audio tracks were not transcribed; its record lists them, --tracks chooses",
    Flag.NO_SPEECH: "nobody is heard to speak; the transcript is empty on purpose",
}
