"""Put the speakers into a transcript, once all slices of its recording are heard. Pure."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from nightscribe.shared.model.jobs import Options
from nightscribe.shared.model.speaker_options import AUTO, needs_models
from nightscribe.shared.model.speakers import LocalSpeakers, Speaker, SpeakerCount, SpeakerTurn
from nightscribe.shared.model.transcript import Part, Segment, Transcript
from nightscribe.shared.speakers.labelling import label
from nightscribe.worker.pipeline.feeds import is_feed
from nightscribe.worker.pipeline.speaker_words import attributed

Recognize = Callable[[Sequence[Speaker]], Sequence[Speaker]]
"""Returns the speakers with the names of the voices that are known."""


def with_speakers(
    transcript: Transcript,
    parts: Iterable[Part],
    options: Options,
    recognize: Recognize = lambda speakers: speakers,
) -> Transcript:
    """Return the transcript with the speakers that the parts have heard, as `options` request; with none if off."""
    made_with = {name: getattr(options, name) for name in ("speakers", "min_speakers", "max_speakers", "voiceprints")}
    segments = tuple(_without_voices(segment) for segment in transcript.segments)
    turns: tuple[SpeakerTurn, ...] = ()
    speakers = _of_feeds(segments)
    if needs_models(options):
        found = label((part.speakers or LocalSpeakers() for part in parts), speaker_count(options))
        segments = attributed(segments, found.turns)
        turns, speakers = found.turns, (*found.speakers, *_of_feeds(segments))
        speakers = tuple(recognize(speakers))
    if not options.voiceprints:
        speakers = tuple(speaker.model_copy(update={"embedding": None}) for speaker in speakers)
    return transcript.model_copy(
        update={
            "options": transcript.options.model_copy(update=made_with),
            "segments": segments,
            "turns": turns,
            "speakers": speakers,
        }
    )


def speaker_count(options: Options) -> SpeakerCount:
    """Return what the options say about the number of speakers."""
    if options.speakers != AUTO:
        return SpeakerCount(exact=int(options.speakers))
    return SpeakerCount(minimum=options.min_speakers, maximum=options.max_speakers or None)


def _without_voices(segment: Segment) -> Segment:
    """Return a segment without the labels of an earlier hearing. That of a track or channel stays true."""
    if is_feed(segment.speaker):
        return segment
    words = tuple(word._replace(speaker=None) for word in segment.words)
    return segment.model_copy(update={"speaker": None, "also_speaking": (), "words": words})


def _of_feeds(segments: Iterable[Segment]) -> tuple[Speaker, ...]:
    """Return the speakers that are tracks or channels, with the length of their segments."""
    seconds: dict[str, float] = defaultdict(float)
    for segment in segments:
        if segment.speaker and is_feed(segment.speaker):
            seconds[segment.speaker] += segment.end_s - segment.start_s
    return tuple(Speaker(label=feed, clean_s=round(spoken_s, 3)) for feed, spoken_s in sorted(seconds.items()))
