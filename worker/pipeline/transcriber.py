"""Transcribe windows in batches and assemble one `Part` per slice."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from nightscribe.shared.audio.waveform import RATE
from nightscribe.shared.model.jobs import Options, Slice
from nightscribe.shared.model.transcript import Part, Segment
from nightscribe.worker.engines.base import (
    LanguageDetector,
    Recognition,
    RecognitionRequest,
    Recognizer,
    SpeechWindow,
    WindowLimits,
)
from nightscribe.worker.pipeline.assemble import SliceState, assemble, shifted
from nightscribe.worker.pipeline.confidence import Evidence, confidence
from nightscribe.worker.pipeline.feeds import FeedChooser
from nightscribe.worker.pipeline.folder_languages import FolderLanguages
from nightscribe.worker.pipeline.gaps import gaps
from nightscribe.worker.pipeline.segmentation import window_segments
from nightscribe.worker.pipeline.window_reader import SliceEnd, Window
from nightscribe.worker.pipeline.word_boundaries import LEAD_S
from nightscribe.worker.repetition import MAX_COMPRESSION_RATIO

LOOKAHEAD = 2  # batches; the oldest window is batched with those nearest to it in length, to waste the least
AROUND_S = 0.5
GAP_S = 1.0  # after such a gap, an engine may invent words
LONG_WORD_S = 2.0  # nobody says a word this slowly, but engines spread invented words over music
STRETCHED_S = 1.2  # a first word this long may have been given a start time before the speech begins
EDGE_S = 0.1  # sound on both sides of a gap that is recognized with it
SPOKEN_S = 0.6  # minimum speech in a gap that is recognized again
GAP_SPOKEN_S = 1.2  # minimum speech that is flagged if recognizing it again finds nothing; an "erm" is shorter
EMPTY_S = 2.0  # minimum speech in a window without text; the detector mistakes a little music for speech
ROUGH_S = 0.75  # the beginnings and ends of translated sentences may be wrong by this much
LEAST_SURE = -1.0  # text in a gap with a lower log probability is not trusted
SHORT_WINDOW_S = 7.0  # one short sentence in a short window makes one cue, whose words need no times
SHORT_TEXT_CHARS = 60


@dataclass(frozen=True)
class Request:
    """The parameters of the transcription of one job."""

    options: Options
    all_words: bool = False
    """Time every word, even if no cue depends on it."""
    careful: bool = False
    """Use as little memory as possible, because an earlier attempt at this job failed."""
    check: Callable[[], None] = lambda: None
    """Called between steps; may raise an error to stop the work."""
    progress: Callable[[Slice, float], None] = lambda _slice, _s: None
    """Called with the seconds of a slice that are done."""
    finished_languages: Callable[[str], Mapping[str, int]] = lambda _folder: {}
    """Returns how many finished recordings of a folder are certainly in each language."""

    @property
    def written_in(self) -> str | None:
        """Return the language code of the text, or None if the text is in the spoken language."""
        return self.options.translate_to if self.options.task == "translate" else None

    def for_engine(self) -> RecognitionRequest:
        """Return the part of the request that concerns the engine."""
        options = self.options
        return RecognitionRequest(
            language=None if options.language == "auto" else options.language,
            languages=options.languages,
            language_per_window=options.language_per_window,
            task=options.task,
            translate_to=options.translate_to,
            prompt=options.prompt,
            hotwords=options.hotwords,
            beam_size=options.beam_size,
            condition_on_previous=options.condition_on_previous,
            initial_silence_s=options.initial_silence,
            needs_words=lambda window, text: self.all_words or window.slice_.is_cut or not _is_one_cue(window, text),
            check=self.check,
        )


@dataclass
class _Waiting:
    window: Window
    speech: SpeechWindow
    state: SliceState


class Transcriber:
    """Batches windows for a speech engine, checks its words for speech, and collects the results by slice."""

    def __init__(
        self, recognizer: Recognizer, *, batch_size: int = 0, score: Callable[[Evidence], float] = confidence
    ) -> None:
        """`score`: returns the expected share of right words; bench/confidence.py records the evidence with it."""
        self._recognizer = recognizer
        self._score = score
        self._batch_size = batch_size or recognizer.batch_size
        self.feeds = FeedChooser()

    @property
    def window_limits(self) -> WindowLimits:
        """Return the length of the windows that the engine expects."""
        return self._recognizer.window_limits

    def transcribe(
        self, sound: Iterable[Window | SliceEnd], request: Request
    ) -> Iterator[tuple[SliceEnd, Part | None]]:
        """Yield the end and the part of each slice once its last window is done; the part is None after an error."""
        batch_size = 1 if request.careful else self._batch_size
        for_engine = request.for_engine()
        states: dict[tuple[str, int], SliceState] = {}
        waiting: list[_Waiting] = []
        clips = self._folder_languages(request, for_engine)
        stream = iter(sound)
        more = True
        while more or waiting:
            while more and len(waiting) < LOOKAHEAD * batch_size:
                request.check()
                item = next(stream, None)
                if item is None:
                    more = False
                    waiting += clips.rest() if clips else []
                    break
                key = (item.slice_.recording, item.slice_.index)
                state = states.setdefault(key, SliceState(item.slice_, for_engine.language, request.written_in))
                if isinstance(item, SliceEnd):
                    state.end = item
                    waiting += clips.end(state) if clips else []
                elif item.speech.first_s is None:
                    state.done_s += item.progress_s
                else:
                    admitted = _admit(item, state)
                    waiting += clips.add(state, admitted) if clips and item.n_feeds == 1 else [admitted]
                yield from self._ended(states, state)
            if not waiting:
                continue
            like_it = _batch(waiting, batch_size, in_order=for_engine.condition_on_previous)
            batch = [waiting[n] for n in like_it]
            self._recognize(batch, for_engine)
            waiting = [each for n, each in enumerate(waiting) if n not in like_it]
            for state in {id(each.state): each.state for each in batch}.values():
                request.progress(state.slice_, state.done_s)
                yield from self._ended(states, state)

    def _folder_languages(
        self, request: Request, for_engine: RecognitionRequest
    ) -> FolderLanguages[_Waiting, SliceState] | None:
        """Return what holds back clips whose language is unclear, or None if languages are not to be detected."""
        recognizer = self._recognizer
        if for_engine.language is not None or not isinstance(recognizer, LanguageDetector):
            return None

        def detect(state: SliceState) -> Mapping[str, float]:
            began = time.monotonic()
            request.check()
            [speech] = state.speech.values()
            probabilities = recognizer.language_probabilities(speech, for_engine)
            state.processing_s += time.monotonic() - began
            return probabilities

        return FolderLanguages(detect, request.finished_languages)

    def _ended(
        self, states: dict[tuple[str, int], SliceState], state: SliceState
    ) -> Iterator[tuple[SliceEnd, Part | None]]:
        if state.end is None or not state.is_done:
            return
        del states[state.slice_.recording, state.slice_.index]
        yield state.end, None if state.end.error else assemble(state, state.end, self._recognizer.name)

    def _recognize(self, batch: Sequence[_Waiting], request: RecognitionRequest) -> None:
        """Recognize the windows of a batch and add the results to their slices."""
        began = time.monotonic()
        request.check()
        recognized = self._recognizer.recognize([each.speech for each in batch], request)
        found = [
            self._spoken(each.window, recognition, each.state.written_in)
            for each, recognition in zip(batch, recognized, strict=True)
        ]
        for each, recognition, segments in zip(batch, recognized, found, strict=True):
            if request.task == "transcribe" or recognition.language == "en":
                self._fill_gaps(each, segments, request)
            else:
                each.state.has_gap |= _has_untranslated_speech(segments, each.window)
        took_s = time.monotonic() - began
        batch_s = sum(each.window.seconds for each in batch)
        for each, recognition, segments in zip(batch, recognized, found, strict=True):
            each.state.add(each.window, recognition, segments, took_s * each.window.seconds / batch_s)
            each.speech.slice_.waiting.remove(each.speech)

    def _fill_gaps(self, each: _Waiting, found: list[Segment], request: RecognitionRequest) -> None:
        """Recognize stretches with speech but no text again, and note those that stay empty."""
        window = each.window
        loops = any((segment.compression_ratio or 0.0) > MAX_COMPRESSION_RATIO for segment in found)
        known = _plain("".join(segment.text for segment in found))
        for start_s, end_s in gaps(found, window.waveform):
            begin_s = max(0.0, start_s - EDGE_S)
            spoken_s = window.speech.between(begin_s, end_s + EDGE_S).seconds
            if spoken_s < (SPOKEN_S if known else EMPTY_S):
                continue
            more = self._recognize_again(each, begin_s, end_s + EDGE_S, request) if known else []
            # If the text is already beside the gap, it only had wrong times, unless it is said many times.
            found += [segment for segment in more if loops or _plain(segment.text) not in known]
            each.state.has_gap |= not more and spoken_s >= GAP_SPOKEN_S
        found.sort(key=lambda segment: segment.start_s)

    def _recognize_again(
        self, each: _Waiting, begin_s: float, end_s: float, request: RecognitionRequest
    ) -> list[Segment]:
        """Return the segments of a stretch of a window, with times in the window; none if the text is doubtful."""
        request.check()
        stretch = each.window.waveform[round(begin_s * RATE) : round(end_s * RATE)]
        spoken = each.window.speech.between(begin_s, end_s)
        again = Window(each.window.slice_, each.window.start_s + begin_s, stretch, spoken)
        speech = SpeechWindow(stretch, again.start_s, each.speech.slice_)
        # The text before a gap may be unknown, or that of a window after it.
        alone = replace(
            request, needs_words=lambda _window, _text: True, condition_on_previous=False, initial_silence_s=0.0
        )
        [recognition] = self._recognizer.recognize([speech], alone)
        if (recognition.average_log_probability or 0.0) < LEAST_SURE:
            return []
        return [shifted(segment, begin_s) for segment in self._spoken(again, recognition, each.state.written_in)]

    def _spoken(self, window: Window, recognition: Recognition, written_in: str | None) -> list[Segment]:
        """Return the segments of a window, omitting those that an engine invented where there is no speech."""
        found = window_segments(recognition, window.waveform, written_in)
        return [
            self._scored(_from_speech(segment, window), recognition, window)
            for before, segment in zip([None, *found], found, strict=False)
            if not _may_be_invented(segment, before, recognition) or _is_spoken(segment, window)
        ]

    def _scored(self, segment: Segment, recognition: Recognition, window: Window) -> Segment:
        """Return the segment with its confidence, if the engine gives the probability of its words."""
        if recognition.word_probabilities is not None:
            known = _probabilities_in(segment, recognition)
            return segment.model_copy(update={"confidence": round(sum(known) / len(known), 3)}) if known else segment
        if segment.average_log_probability is None:
            return segment
        evidence = Evidence(
            text=segment.text,
            seconds=segment.end_s - segment.start_s,
            average_log_probability=segment.average_log_probability,
            no_speech_probability=segment.no_speech_probability,
            window_text=recognition.text,
            agreement=recognition.agreement,
            language_probability=recognition.language_probability,
            speech_share=window.speech.between(segment.start_s, segment.end_s).share,
        )
        return segment.model_copy(update={"confidence": round(self._score(evidence), 3)})


def _probabilities_in(segment: Segment, recognition: Recognition) -> list[float]:
    """Return the probabilities of the words whose middle lies in a segment, whose borders were moved to the sound."""
    pairs = zip(recognition.words or (), recognition.word_probabilities or (), strict=True)
    inside = [p for word, p in pairs if segment.start_s <= (word.start_s + word.end_s) / 2 <= segment.end_s]
    return inside or list(recognition.word_probabilities or ())


def _batch(waiting: Sequence[_Waiting], batch_size: int, *, in_order: bool) -> list[int]:
    """Return the indexes of the next windows: the oldest with those nearest to it in length, or the oldest ones."""
    if in_order:
        return list(range(min(batch_size, len(waiting))))
    oldest_s = waiting[0].window.seconds
    return sorted(range(len(waiting)), key=lambda n: abs(waiting[n].window.seconds - oldest_s))[:batch_size]


def _from_speech(segment: Segment, window: Window) -> Segment:
    """Return the segment without the music before its first word, over which engines stretch that word."""
    if not segment.words:
        start_s = max(segment.start_s, (window.speech.first_s or 0.0) - LEAD_S)
        is_early = start_s - segment.start_s >= STRETCHED_S and start_s < segment.end_s
        return segment.model_copy(update={"start_s": round(start_s, 3)}) if is_early else segment
    first = segment.words[0]
    if first.end_s - first.start_s < STRETCHED_S:
        return segment
    speech_s = window.speech.between(first.start_s, segment.end_s).first_s
    if speech_s is None:
        return segment
    start_s = round(max(first.start_s, min(first.start_s + speech_s - LEAD_S, first.end_s - LEAD_S)), 3)
    words = (first._replace(start_s=start_s), *segment.words[1:])
    return segment.model_copy(update={"start_s": start_s, "words": words})


def _is_spoken(segment: Segment, window: Window) -> bool:
    """Return whether somebody speaks under a segment, whose times are rough."""
    return window.speech.between(segment.start_s - AROUND_S, segment.end_s + AROUND_S).first_s is not None


def _has_untranslated_speech(segments: Sequence[Segment], window: Window) -> bool:
    """Return whether there is speech without a translation.

    Recognizing it again would translate some words twice, because the times of translated words are only rough.
    """
    whole = [segment.model_copy(update={"words": ()}) for segment in segments]
    stretches = gaps(whole, window.waveform, ROUGH_S)
    return any(window.speech.between(start_s, end_s).seconds >= EMPTY_S for start_s, end_s in stretches)


def _plain(text: str) -> str:
    return "".join(char for char in text.casefold() if char.isalnum())


def _admit(window: Window, state: SliceState) -> _Waiting:
    slice_ = state.speech[window.speaker]
    slice_.is_cut = state.slice_.count > 1
    speech = SpeechWindow(window.waveform, window.start_s, slice_)
    slice_.waiting.append(speech)
    return _Waiting(window, speech, state)


def _may_be_invented(segment: Segment, before: Segment | None, recognition: Recognition) -> bool:
    """Return whether to look for speech under a segment; the detector misses some of what an engine understands."""
    return (
        not recognition.is_sure
        or segment.start_s - (before.end_s if before else 0.0) >= GAP_S
        or any(word.end_s - word.start_s >= LONG_WORD_S for word in segment.words)
    )


def _is_one_cue(window: SpeechWindow, text: str) -> bool:
    return window.seconds <= SHORT_WINDOW_S and len(text) <= SHORT_TEXT_CHARS
