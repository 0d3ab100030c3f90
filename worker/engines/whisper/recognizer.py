"""Recognize speech with Whisper: detect the language, decode with fallback, align the words."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np

from nightscribe.shared.audio.waveform import RATE
from nightscribe.shared.model.transcript import Word
from nightscribe.worker.engines.base import Recognition, RecognitionRequest, SpeechSlice, SpeechWindow, WindowLimits
from nightscribe.worker.engines.whisper import hints
from nightscribe.worker.engines.whisper.language import (
    SURE_LANGUAGE,
    DetectedLanguages,
    SliceLanguage,
    detection_windows,
    slice_language,
)
from nightscribe.worker.engines.whisper.quality import SURE_LOG_PROBABILITY, is_invented
from nightscribe.worker.engines.whisper.runtime import Decoded, Encoded, Runtime
from nightscribe.worker.languages import among, likeliest

# Whisper processes up to 30 s at once, but takes less time per second for shorter windows.
WINDOW_LIMITS = WindowLimits(shortest_s=10.0, longest_s=18.0)
FRAME = RATE // 20  # samples over which loudness is measured

NOTHING = Decoded((), "", 0.0, 0.0)


@dataclass
class _SliceNotes:
    detected: DetectedLanguages | None = None
    language: SliceLanguage | None = None
    previous: str = ""
    """Text of the last window, if the next one continues it."""


class WhisperRecognizer:
    """A `Recognizer` that keeps the encoder's output in a window's notes, and the language in its slice's notes."""

    window_limits = WINDOW_LIMITS

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    @property
    def name(self) -> str:
        """See `Recognizer.name`."""
        return self.runtime.name

    @property
    def batch_size(self) -> int:
        """See `Recognizer.batch_size`."""
        return self.runtime.batch_size

    def recognize(self, windows: Sequence[SpeechWindow], request: RecognitionRequest) -> list[Recognition]:
        """See `Recognizer.recognize`."""
        for window in windows:
            request.check()
            self._encoded(window, request)
        detected = self._detect_languages(windows, request)
        languages = self._window_languages(windows, request)
        request.check()
        decoded: list[Decoded] = [NOTHING] * len(windows)
        words: list[list[Word] | None] = [None] * len(windows)
        in_turn = _rounds(windows) if request.condition_on_previous else [list(range(len(windows)))]
        for task, chosen in [each for some in in_turn for each in _by_task(languages, some, request.task)]:
            some = [windows[n] for n in chosen]
            spoken = [languages[n] for n in chosen]
            results = self._decode(some, spoken, request, task)
            request.check()
            timed_words = self._align(some, results, spoken, request, task)
            for n, result, timed in zip(chosen, results, timed_words, strict=True):
                decoded[n], words[n] = result, timed
        found = []
        for window, each, timed, language in zip(windows, decoded, words, languages, strict=True):
            new = detected.pop(window.slice_, None)  # reported with the first window of the slice
            known = window.slice_.notes.language if window.slice_.notes else None
            found.append(
                Recognition(
                    text="" if is_invented(each) else each.text,
                    words=timed,
                    language=language,
                    language_probability=known.probability if known else None,
                    other_languages=new.others if new else {},
                    average_log_probability=each.average_log_probability,
                    no_speech_probability=each.no_speech_probability,
                    agreement=each.agreement,
                    is_sure=each.average_log_probability >= SURE_LOG_PROBABILITY,
                )
            )
        return found

    def _decode(
        self, windows: Sequence[SpeechWindow], languages: Sequence[str], request: RecognitionRequest, task: str
    ) -> list[Decoded]:
        results = hints.decode(
            self.runtime,
            [_with_silence(window, request) for window in windows],
            [self._encoded(window, request) for window in windows],
            languages,
            request,
            task=task,
            previous=[_notes(window.slice_).previous for window in windows],
        )
        if request.condition_on_previous:
            for window, result, language in zip(windows, results, languages, strict=True):
                written = "en" if task == "translate" else language
                _notes(window.slice_).previous = hints.follow_up(result, window.seconds, written)
        return results

    def _encoded(self, window: SpeechWindow, request: RecognitionRequest) -> Encoded:
        if window.notes is None:
            window.notes = self.runtime.encode(_with_silence(window, request).waveform)
        encoded: Encoded = window.notes
        return encoded

    def language_probabilities(self, slice_: SpeechSlice, request: RecognitionRequest) -> Mapping[str, float]:
        """See `LanguageDetector.language_probabilities`."""
        return self._detected(slice_, request).probabilities

    def _detected(self, slice_: SpeechSlice, request: RecognitionRequest) -> DetectedLanguages:
        notes = _notes(slice_)
        if notes.detected is None:
            chosen = detection_windows(slice_.waiting)
            found = self.runtime.detect_language([self._encoded(window, request) for window in chosen])
            some = [among(probabilities, request.languages) for probabilities in found]
            notes.detected = DetectedLanguages([window.seconds for window in chosen], some)
        return notes.detected

    def _detect_languages(
        self, windows: Iterable[SpeechWindow], request: RecognitionRequest
    ) -> dict[SpeechSlice, SliceLanguage]:
        """Decide the language of each slice that has none yet, and return the new ones."""
        new: dict[SpeechSlice, SliceLanguage] = {}
        if request.language is not None:
            return new
        for slice_ in dict.fromkeys(window.slice_ for window in windows):
            detected = self._detected(slice_, request)
            if slice_.notes.language is None:
                slice_.notes.language = new[slice_] = slice_language(detected, slice_.folder_languages)
        return new

    def _window_languages(self, windows: Sequence[SpeechWindow], request: RecognitionRequest) -> list[str]:
        """Return the language in which to decode each window."""
        if request.language is not None:
            return [request.language] * len(windows)
        languages = [window.slice_.notes.language.language for window in windows]
        if request.language_per_window:
            detected = self.runtime.detect_language([self._encoded(window, request) for window in windows])
            for n, found in enumerate(detected):
                probabilities = among(found, request.languages)
                language = likeliest(probabilities)
                if probabilities[language] >= SURE_LANGUAGE:
                    languages[n] = language
        return languages

    def _align(
        self,
        windows: Sequence[SpeechWindow],
        decoded: Sequence[Decoded],
        languages: Sequence[str],
        request: RecognitionRequest,
        task: str,
    ) -> list[list[Word] | None]:
        """Return the words of each window with their times, or None for a window that needs no times."""
        words: list[list[Word] | None] = [None for _ in windows]
        wanted = [
            n for n, each in enumerate(decoded) if each.text.strip() and request.needs_words(windows[n], each.text)
        ]
        if wanted:
            timed = self.runtime.align(
                [self._encoded(windows[n], request) for n in wanted],
                [decoded[n] for n in wanted],
                [languages[n] for n in wanted],
                task=task,
            )
            for n, found in zip(wanted, timed, strict=True):
                silence_s = _silence_s(windows[n], request)
                words[n] = [_earlier(word, silence_s) for word in found] if silence_s else found
        return words


def _notes(slice_: SpeechSlice) -> _SliceNotes:
    if slice_.notes is None:
        slice_.notes = _SliceNotes()
    notes: _SliceNotes = slice_.notes
    return notes


def _silence_s(window: SpeechWindow, request: RecognitionRequest) -> float:
    return request.initial_silence_s if window.start_s == 0 else 0.0


def _with_silence(window: SpeechWindow, request: RecognitionRequest) -> SpeechWindow:
    """Return the first window of a recording with silence before it; others as they are.

    The silence has the noise of the quietest part of the window, because digital silence would stand out from it.
    """
    n = round(_silence_s(window, request) * RATE)
    if not n:
        return window
    frames = window.waveform[: len(window.waveform) // FRAME * FRAME].reshape(-1, FRAME)
    loudness = np.sqrt((frames.astype(np.float64) ** 2).mean(axis=1)).min() if len(frames) else 0.0
    noise = np.random.default_rng(0).standard_normal(n) * loudness
    return replace(window, waveform=np.concatenate([noise.astype(np.float32), window.waveform]))


def _earlier(word: Word, by_s: float) -> Word:
    return word._replace(start_s=round(max(0.0, word.start_s - by_s), 3), end_s=round(max(0.0, word.end_s - by_s), 3))


def _rounds(windows: Sequence[SpeechWindow]) -> list[list[int]]:
    """Return indexes of windows that can be decoded together: one of each slice, in the order of time."""
    of_slices: dict[SpeechSlice, list[int]] = {}
    for n in sorted(range(len(windows)), key=lambda n: windows[n].start_s):
        of_slices.setdefault(windows[n].slice_, []).append(n)
    return [[n for n in each if n is not None] for each in zip_longest(*of_slices.values())]


def _by_task(languages: Sequence[str], some: Sequence[int], requested: str) -> list[tuple[str, list[int]]]:
    """Return each task with its windows of `some`; English is never translated, as Whisper would reword it."""
    tasks = {n: "transcribe" if languages[n] == "en" else requested for n in some}
    return [(task, [n for n in some if tasks[n] == task]) for task in dict.fromkeys(tasks.values())]
