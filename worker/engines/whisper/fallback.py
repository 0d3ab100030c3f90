"""Decode windows quickly, and again in Whisper's own way if the quick result is doubtful."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from nightscribe.worker.engines.base import SpeechWindow
from nightscribe.worker.engines.whisper.quality import agreement, best, is_bad, is_doubtful
from nightscribe.worker.engines.whisper.runtime import Decoded, Encoded, Runtime

TEMPERATURES = (0.2, 0.4, 0.6, 0.8, 1.0)  # Source: openai/whisper transcribe.py


def decode(
    runtime: Runtime,
    windows: Sequence[SpeechWindow],
    encoded: Sequence[Encoded],
    languages: Sequence[str],
    *,
    task: str,
    check: Callable[[], None],
    beams: int = 1,
    before: Sequence[str] = (),
) -> list[Decoded]:
    """Return the best of all attempts to decode each window.

    A window whose quick result is doubtful is encoded in full, then sampled at rising temperatures while it stays bad.
    `beams`: width of the quick search. `before`: the text that precedes each window, if any.
    """
    before = before or [""] * len(windows)
    # A translation is in English, whatever language is spoken.
    written = ["en" if task == "translate" else language for language in languages]
    attempts = [[first] for first in runtime.decode(encoded, languages, task=task, beams=beams, before=before)]

    def chosen(n: int) -> Decoded:
        return best(attempts[n], windows[n].seconds, written[n])

    full: dict[int, Encoded] = {}
    for n, window in enumerate(windows):
        if is_doubtful(chosen(n), window.seconds, written[n]):
            check()
            full[n] = runtime.encode(window.waveform, full=True)
    again = list(full)
    for temperature in (0.0, *TEMPERATURES):
        if not again:
            break
        check()
        results = runtime.decode(
            [full[n] for n in again],
            [languages[n] for n in again],
            task=task,
            temperature=temperature,
            beams=beams,
            before=[before[n] for n in again],
        )
        for n, result in zip(again, results, strict=True):
            attempts[n].append(result)
        again = [n for n in again if is_bad(chosen(n), windows[n].seconds, written[n])]
    return [
        replace(chosen(n), agreement=agreement(attempts[n][0].text, attempts[n][1].text)) if n in full else chosen(n)
        for n in range(len(windows))
    ]
