"""Recognize speech with Whisper: detect the language, decode with fallback, align the words."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nightscribe.shared.model.transcript import Word
from nightscribe.worker.engines.base import Recognition, RecognitionRequest, SpeechSlice, SpeechWindow, WindowLimits
from nightscribe.worker.engines.whisper import fallback
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


NOTHING = Decoded((), "", 0.0, 0.0)


@dataclass
class _SliceNotes:
    detected: DetectedLanguages
    language: SliceLanguage | None = None


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
            self._encoded(window)
        detected = self._detect_languages(windows, request)
        languages = self._window_languages(windows, request)
        request.check()
        decoded: list[Decoded] = [NOTHING] * len(windows)
        words: list[list[Word] | None] = [None] * len(windows)
        for task, chosen in _by_task(languages, request.task):
            some = [windows[n] for n in chosen]
            spoken = [languages[n] for n in chosen]
            encoded = [self._encoded(window) for window in some]
            results = fallback.decode(self.runtime, some, encoded, spoken, task=task, check=request.check)
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

    def _encoded(self, window: SpeechWindow) -> Encoded:
        if window.notes is None:
            window.notes = self.runtime.encode(window.waveform)
        encoded: Encoded = window.notes
        return encoded

    def language_probabilities(self, slice_: SpeechSlice, request: RecognitionRequest) -> Mapping[str, float]:
        """See `LanguageDetector.language_probabilities`."""
        return self._detected(slice_, request).probabilities

    def _detected(self, slice_: SpeechSlice, request: RecognitionRequest) -> DetectedLanguages:
        if slice_.notes is None:
            chosen = detection_windows(slice_.waiting)
            found = self.runtime.detect_language([self._encoded(window) for window in chosen])
            some = [among(probabilities, request.languages) for probabilities in found]
            slice_.notes = _SliceNotes(DetectedLanguages([window.seconds for window in chosen], some))
        detected: DetectedLanguages = slice_.notes.detected
        return detected

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
            detected = self.runtime.detect_language([self._encoded(window) for window in windows])
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
                [self._encoded(windows[n]) for n in wanted],
                [decoded[n] for n in wanted],
                [languages[n] for n in wanted],
                task=task,
            )
            for n, found in zip(wanted, timed, strict=True):
                words[n] = found
        return words


def _by_task(languages: Sequence[str], requested: str) -> list[tuple[str, list[int]]]:
    """Return each task with the indexes of its windows; English is never translated, as Whisper would reword it."""
    tasks = ["transcribe" if language == "en" else requested for language in languages]
    return [(task, [n for n, each in enumerate(tasks) if each == task]) for task in dict.fromkeys(tasks)]
