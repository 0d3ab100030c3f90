"""From windows of any slices to the parts of those slices."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from nightscribe.shared.audio.decode import RATE
from nightscribe.shared.errors import WeightsError
from nightscribe.shared.model.jobs import Options, Slice
from nightscribe.shared.model.transcript import Flag, Part, Segment, Word
from nightscribe.shared.process.liveness import LONG_S, report_alive
from nightscribe.worker.engines import registry as engines
from nightscribe.worker.engines.whisper.base import Decoded, Encoded, Engine
from nightscribe.worker.engines.whisper.quality import (
    SURE_LANGUAGE,
    SURE_LOG_PROBABILITY,
    best,
    flags,
    is_bad,
    is_doubtful,
    is_invented,
)
from nightscribe.worker.pipeline.segmentation import joined, segments
from nightscribe.worker.pipeline.vad import SpeechDetector
from nightscribe.worker.pipeline.window_reader import SliceEnd, Window
from nightscribe.worker.pipeline.word_boundaries import fitted, sounding
from nightscribe.worker.weights.resolver import resolve

log = structlog.get_logger()

LOOKAHEAD = 2  # batches, of which the oldest window is done with those most like it in length: that wastes least
TEMPERATURES = (0.2, 0.4, 0.6, 0.8, 1.0)  # Source: openai/whisper transcribe.py
LANGUAGE_WINDOWS = 5
CHANGED_LANGUAGE = 0.8  # how sure of another language a window must be to say that a recording changes it
AROUND_S = 0.5
GAP_S = 1.0  # behind which Whisper may go on without a speaker
LONG_WORD_S = 2.0  # nobody says one so slowly, but invented ones are spread over the music
PLAIN_S = 7.0  # what is no longer and one short sentence is one cue, whose words need no times
PLAIN_CHARS = 60


@dataclass
class _SliceState:
    """A slice while its windows are transcribed."""

    slice_: Slice
    language: str | None
    language_probability: float | None = None
    languages: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Seconds spoken in each."""
    segments: list[Segment] = field(default_factory=list)
    n_waiting: int = 0
    done_s: float = 0.0
    processing_s: float = 0.0
    end: SliceEnd | None = None


@dataclass
class _Waiting:
    window: Window
    state: _SliceState
    encoded: Encoded | None = None
    language: str = ""


@dataclass(frozen=True)
class Request:
    """How to transcribe the windows of one job."""

    options: Options
    all_words: bool = False
    """Whether every word needs its times, even where a cue needs them not."""
    careful: bool = False
    """Whether to use as little memory as possible, since this job has killed a worker."""
    check: Callable[[], None] = lambda: None
    """Asked between steps; may raise to stop the work."""
    progress: Callable[[Slice, float], None] = lambda _of, _s: None
    """Told how many seconds of a slice are done."""


class Transcriber:
    """An engine with what windows need around it."""

    def __init__(self, engine: Engine, *, batch_size: int = 0) -> None:
        self._engine = engine
        self._batch_size = batch_size or engine.batch_size
        self._speech = SpeechDetector()

    def transcribe(
        self, sound: Iterable[Window | SliceEnd], request: Request
    ) -> Iterator[tuple[SliceEnd, Part | None]]:
        """For each slice, as soon as its last window is done, its end and its part (None: the end has an error)."""
        options = request.options
        language = None if options.language == "auto" else options.language
        batch_size = 1 if request.careful else self._batch_size
        states: dict[tuple[str, int], _SliceState] = {}
        waiting: list[_Waiting] = []
        stream = iter(sound)
        more = True
        while more or waiting:
            while more and len(waiting) < LOOKAHEAD * batch_size:
                request.check()
                item = next(stream, None)
                if item is None:
                    more = False
                    break
                state = states.setdefault(
                    (item.slice_.recording, item.slice_.index), _SliceState(item.slice_, language)
                )
                if isinstance(item, SliceEnd):
                    state.end = item
                elif item.speech_s is None:
                    state.done_s += item.seconds
                else:
                    waiting.append(_Waiting(item, state))
                    state.n_waiting += 1
                yield from self._ended(states, state)
            if not waiting:
                continue
            oldest = waiting[0].window.seconds
            like_it = sorted(range(len(waiting)), key=lambda n: abs(waiting[n].window.seconds - oldest))[:batch_size]
            batch = [waiting[n] for n in like_it]
            self._hear(batch, waiting, request)
            waiting = [each for n, each in enumerate(waiting) if n not in like_it]
            for state in {id(each.state): each.state for each in batch}.values():
                request.progress(state.slice_, state.done_s)
                yield from self._ended(states, state)

    def _ended(
        self, states: dict[tuple[str, int], _SliceState], state: _SliceState
    ) -> Iterator[tuple[SliceEnd, Part | None]]:
        if state.end is None or state.n_waiting:
            return
        del states[state.slice_.recording, state.slice_.index]
        yield state.end, None if state.end.error else self._part(state, state.end)

    def _part(self, state: _SliceState, end: SliceEnd) -> Part:
        found = tuple(sorted(state.segments, key=lambda segment: segment.start_s))
        flagged = flags(found, languages=state.languages, language_probability=state.language_probability)
        return Part(
            segments=found,
            engine=self._engine.name,
            language=max(state.languages, key=lambda each: state.languages[each]) if found else None,
            container_s=end.container_s,
            decoded_s=end.decoded_s,
            processing_s=round(state.processing_s, 3),
            flags=(*flagged, Flag.CHANNELS_CANCEL) if end.channels_cancel else flagged,
        )

    def _hear(self, batch: Sequence[_Waiting], waiting: Sequence[_Waiting], request: Request) -> None:
        """Transcribe the windows of a batch; `waiting` are all that are known, for their language."""
        began = time.monotonic()
        for each in batch:
            request.check()
            self._encoded(each)
        self._find_languages(batch, waiting, request)
        request.check()
        decoded = self._decode(batch, request)
        request.check()
        words = self._align(batch, decoded, request)
        took_s = time.monotonic() - began
        batch_s = sum(each.window.seconds for each in batch)
        for each, result, timed in zip(batch, decoded, words, strict=True):
            state, window = each.state, each.window
            found = self._spoken(window, result, timed)
            state.segments.extend(_shifted(segment, window.start_s) for segment in found)
            if found:
                state.languages[each.language] += window.seconds
            state.n_waiting -= 1
            state.done_s += window.seconds
            state.processing_s += took_s * window.seconds / batch_s

    def _encoded(self, each: _Waiting) -> Encoded:
        if each.encoded is None:
            each.encoded = self._engine.encode(each.window.waveform)
        return each.encoded

    # Language

    def _find_languages(self, batch: Sequence[_Waiting], waiting: Sequence[_Waiting], request: Request) -> None:
        for state in {id(each.state): each.state for each in batch if each.state.language is None}.values():
            self._find_language([each for each in waiting if each.state is state], state)
        for each in batch:
            each.language = each.state.language or ""
        if request.options.language_per_window and request.options.language == "auto":
            for each, found in zip(batch, self._engine.detect_language([self._encoded(e) for e in batch]), strict=True):
                likeliest = max(found, key=lambda language: found[language])
                if found[likeliest] >= SURE_LANGUAGE:
                    each.language = likeliest

    def _find_language(self, windows: Sequence[_Waiting], state: _SliceState) -> None:
        """The likeliest over a few windows, spread over what is known of the slice, the longer counting for more."""
        ordered = sorted(windows, key=lambda each: each.window.start_s)
        n = min(LANGUAGE_WINDOWS, len(ordered))
        chosen = [ordered[i * len(ordered) // n] for i in range(n)]
        each_found = self._engine.detect_language([self._encoded(each) for each in chosen])
        total: dict[str, float] = defaultdict(float)
        for each, found in zip(chosen, each_found, strict=True):
            for language, probability in found.items():
                total[language] += probability * each.window.seconds
        state.language = max(total, key=lambda language: total[language])
        state.language_probability = total[state.language] / sum(each.window.seconds for each in chosen)
        for each, found in zip(chosen, each_found, strict=True):
            for language, probability in found.items():
                if language != state.language and probability > CHANGED_LANGUAGE:
                    state.languages[language] += each.window.seconds

    # Words

    def _decode(self, batch: Sequence[_Waiting], request: Request) -> list[Decoded]:
        """What is said in each window: heard again in Whisper's own way where the quick way is in doubt."""
        task = request.options.task
        # A translation is English, whatever is spoken.
        written = ["en" if task == "translate" else each.language for each in batch]
        quick = self._engine.decode(
            [self._encoded(each) for each in batch], [each.language for each in batch], task=task
        )
        attempts = [[each] for each in quick]
        lengths = [each.window.seconds for each in batch]

        def chosen(n: int) -> Decoded:
            return best(attempts[n], lengths[n], written[n])

        full: dict[int, Encoded] = {}
        for n in range(len(batch)):
            if not is_doubtful(chosen(n), lengths[n], written[n]):
                continue
            request.check()
            full[n] = self._engine.encode(batch[n].window.waveform, full=True)
        again = list(full)
        for temperature in (0.0, *TEMPERATURES):
            if not again:
                break
            request.check()
            results = self._engine.decode(
                [full[n] for n in again], [batch[n].language for n in again], task=task, temperature=temperature
            )
            for n, result in zip(again, results, strict=True):
                attempts[n].append(result)
            again = [n for n in again if is_bad(chosen(n), lengths[n], written[n])]
        return [chosen(n) for n in range(len(batch))]

    def _align(self, batch: Sequence[_Waiting], decoded: Sequence[Decoded], request: Request) -> list[list[Word]]:
        """The words with their times; none where the whole window makes one cue."""
        words: list[list[Word]] = [[] for _ in batch]
        wanted = [
            n
            for n, each in enumerate(batch)
            if decoded[n].text.strip() and (request.all_words or not _is_plain(each.window, decoded[n]))
        ]
        if wanted:
            timed = self._engine.align(
                [self._encoded(batch[n]) for n in wanted],
                [decoded[n] for n in wanted],
                [batch[n].language for n in wanted],
                task=request.options.task,
            )
            for n, found in zip(wanted, timed, strict=True):
                words[n] = found
        return words

    def _spoken(self, window: Window, decoded: Decoded, words: Sequence[Word]) -> list[Segment]:
        """Segments of a window, without those around which nobody speaks: there Whisper invents."""
        if not decoded.text.strip() or is_invented(decoded):
            return []
        stretches = sounding(window.waveform)
        if words:
            found = segments(fitted(joined(words), stretches), decoded)
        else:
            start_s, end_s = (stretches[0][0], stretches[-1][1]) if len(stretches) else (0.0, window.seconds)
            whole = Word(float(start_s), float(end_s), decoded.text.strip())
            found = [segment.model_copy(update={"words": ()}) for segment in segments([whole], decoded)]
        return [
            segment
            for before, segment in zip([None, *found], found, strict=False)
            if not _may_be_invented(segment, before, decoded) or self._is_spoken(segment, window)
        ]

    def _is_spoken(self, segment: Segment, window: Window) -> bool:
        # Times are rough and the detector needs to hear a beginning, so half a second around is listened to as well.
        start_s, end_s = max(0.0, segment.start_s - AROUND_S), segment.end_s + AROUND_S
        if window.speech_s is not None and start_s <= window.speech_s <= end_s:
            return True
        return self._speech.first_speech_s(window.waveform[round(start_s * RATE) : round(end_s * RATE)]) is not None


def _may_be_invented(segment: Segment, before: Segment | None, decoded: Decoded) -> bool:
    """Whether to listen if anybody speaks there, which costs as much as to transcribe it."""
    return (
        decoded.average_log_probability < SURE_LOG_PROBABILITY
        or segment.start_s - (before.end_s if before else 0.0) >= GAP_S
        or any(word.end_s - word.start_s >= LONG_WORD_S for word in segment.words)
    )


def _is_plain(window: Window, decoded: Decoded) -> bool:
    return window.seconds <= PLAIN_S and len(decoded.text) <= PLAIN_CHARS


def _shifted(segment: Segment, by_s: float) -> Segment:
    return segment.model_copy(
        update={
            "start_s": round(segment.start_s + by_s, 3),
            "end_s": round(segment.end_s + by_s, 3),
            "words": tuple(Word(round(w.start_s + by_s, 3), round(w.end_s + by_s, 3), w.text) for w in segment.words),
        }
    )


class Models:
    """The model in memory: one at a time, changed only when a job asks for another."""

    def __init__(self, models_dir: Path, *, threads: int, batch_size: int = 0) -> None:
        self._models_dir = models_dir
        self._threads = threads
        self._batch_size = batch_size
        self._loaded: tuple[str, str] | None = None
        self._transcriber: Transcriber | None = None

    def transcriber(self, options: Options) -> Transcriber:
        """Ready to work with these options. Raises: SetupError: if the engine or the weights are not to be had."""
        wanted = (engines.choose(options.engine), options.model)
        if self._transcriber is None or self._loaded != wanted:
            self._transcriber = None  # frees the memory of the old one before the new one needs it
            began = time.monotonic()
            report_alive()
            weights = resolve(options.model, engines.layout(wanted[0]), self._models_dir)
            report_alive(LONG_S)
            try:
                engine = engines.load(wanted[0], weights.path, threads=self._threads)
            except (RuntimeError, ValueError, KeyError, EOFError, OSError) as error:
                raise WeightsError(
                    f"The weights in {str(weights.path)!r} cannot be loaded by {wanted[0]} ({error}). "
                    "Remove them, so that they are fetched again, or name others."
                ) from error
            self._transcriber = Transcriber(engine, batch_size=self._batch_size)
            self._loaded = wanted
            report_alive()
            log.info("model.loaded", engine=wanted[0], model=options.model, took_s=round(time.monotonic() - began, 1))
        return self._transcriber
