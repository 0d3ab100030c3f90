"""Who speaks: by workers that share a recording, and later, in what is already transcribed."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support import recordings
from support.waiting import wait_until
from support.workplace import FORMATS, OPTIONS, Dictated, Workplace, working

from nightscribe.director.backlog import Settled
from nightscribe.director.enqueue import Director
from nightscribe.director.scan.scanner import Scan, Scanner
from nightscribe.shared.audio.waveform import RATE, Waveform
from nightscribe.shared.model.jobs import Options
from nightscribe.shared.model.speaker_options import same_labels
from nightscribe.shared.model.speakers import LocalSpeakers, LocalTurn, LocalVoice, encode_embedding
from nightscribe.shared.model.transcript import Transcript
from nightscribe.shared.storage.folder.source import FolderSource
from nightscribe.worker.loop import Worker
from nightscribe.worker.pipeline.diarize.diarizer import WINDOW_S

TURN_S = 12.0
PEOPLE = np.random.default_rng(1).normal(size=(2, 192))
SPEAKERS = OPTIONS.model_copy(update={"speakers": "auto"})


class TakingTurns:
    """In the place of the models: whatever it hears, two people take turns of `TURN_S` from the beginning on."""

    def __init__(self) -> None:
        self.heard: list[tuple[float, float | None, float]] = []
        """Start and end of each slice, and how many seconds of sound were passed."""

    def listen(self, start_s: float, end_s: float | None) -> "Slice":
        """As the diarizer."""
        return Slice(self, start_s, end_s)


class Slice:
    """One slice, as it is heard."""

    def __init__(self, diarizer: TakingTurns, start_s: float, end_s: float | None) -> None:
        self._diarizer, self._start_s, self._end_s = diarizer, start_s, end_s
        self._n = 0

    def add(self, block: Waveform) -> None:
        """Count the sound."""
        self._n += len(block)

    def finish(self) -> LocalSpeakers:
        """Return the turns in the slice."""
        seconds = self._n / RATE
        self._diarizer.heard.append((self._start_s, self._end_s, round(seconds, 1)))
        end_s = self._start_s + seconds if self._end_s is None else self._end_s
        turns = range(int(self._start_s // TURN_S), int(np.ceil(end_s / TURN_S)))
        return LocalSpeakers(
            voices=tuple(
                LocalVoice(window=n, embedding=encode_embedding(PEOPLE[n % 2]), clean_s=TURN_S) for n in turns
            ),
            turns=tuple(
                LocalTurn(
                    start_s=max(self._start_s, n * TURN_S), end_s=min(end_s, (n + 1) * TURN_S), voice=n - turns[0]
                )
                for n in turns
            ),
        )


@pytest.fixture
def talk(workplace: Workplace, speech: Path) -> Path:
    """Forty seconds of speech, too much for one window."""
    return recordings.cut(speech, workplace.source / "talk.wav", 0, 40, "-ar", "16000")


def worker(workplace: Workplace, engine: Dictated, diarizer: TakingTurns, name: str = "worker") -> Worker:
    made = workplace.worker(engine, name=name)
    made.diarizer = lambda: diarizer  # type: ignore[assignment,return-value]
    return made


def done(workplace: Workplace) -> Transcript:
    found = workplace.records.transcript("talk.wav")
    assert found
    return found


def scan(workplace: Workplace, options: Options) -> Scan:
    source = FolderSource(workplace.source, leave_out=workplace.dest)
    return Scanner(
        source, workplace.records, FORMATS, settle_s=0, has_labels=lambda done: same_labels(done.options, options)
    ).scan()


def direct(workplace: Workplace, options: Options) -> Iterator[object]:
    """Queue what is missing of these options, and follow it to its end."""
    director = Director(
        workplace.queue,
        FolderSource(workplace.source, leave_out=workplace.dest),
        workplace.records,
        options,
        FORMATS,
        max_queued_jobs=100,
        max_receives=3,
    )
    yield from director.direct(scan(workplace, options).missing, follow=True)


def test_a_recording_that_several_workers_share_has_one_label_for_each_voice(workplace: Workplace, talk: Path) -> None:
    cuts = (14.0, 27.5)
    slices = [workplace.slice_of("talk.wav", cuts=cuts, index=n) for n in range(3)]
    jobs = [workplace.job(each).model_copy(update={"options": SPEAKERS}) for each in slices]
    workplace.queue.send(jobs, "run")
    diarizers = [TakingTurns(), TakingTurns()]
    with working(*(worker(workplace, Dictated(), each, f"worker-{n}") for n, each in enumerate(diarizers))):
        wait_until(lambda: workplace.records.transcript("talk.wav"), what="the recording to be finished")
        wait_until(workplace.is_empty, what="the jobs to be done")
    heard = {start_s: seconds for each in diarizers for start_s, _, seconds in each.heard}
    # The windows of a slice reach into the next one.
    assert heard == {0.0: 14.0 + WINDOW_S, 14.0: 13.5 + WINDOW_S, 27.5: pytest.approx(12.5, abs=0.1)}
    made = done(workplace)
    assert [(turn.start_s, turn.speaker[-1]) for turn in made.turns] == [(0, "1"), (12, "2"), (24, "1"), (36, "2")]
    assert [speaker.label for speaker in made.speakers] == ["Speaker 1", "Speaker 2"]
    assert made.options == SPEAKERS
    text = (workplace.dest / "talk.txt").read_text()
    assert text.startswith("Speaker 1: It was the best of times.")
    assert "\n\nSpeaker 2: " in text
    assert not list((workplace.dest / ".nightscribe/parts").rglob("*.json"))


def test_labels_asked_for_later_are_added_without_transcribing_the_words_again(
    workplace: Workplace, talk: Path
) -> None:
    engine, diarizer = Dictated(), TakingTurns()
    workplace.queue.send([workplace.job("talk.wav")], "run")
    with working(worker(workplace, engine, diarizer)):
        wait_until(lambda: workplace.records.transcript("talk.wav"), what="the words")
        wait_until(workplace.is_empty, what="the job to be done")
        before, n_calls = done(workplace), engine.n_calls
        assert (before.speakers, diarizer.heard) == ((), [])
        (workplace.dest / "talk.srt").write_text("mine")
        events = [event for event in direct(workplace, SPEAKERS) if event is not None]
        wait_until(workplace.is_empty, what="the labels to be done")
        made = done(workplace)
        assert [type(event) for event in events] == [Settled]
        assert engine.n_calls == n_calls
        assert [seconds for _, _, seconds in diarizer.heard] == [pytest.approx(40, abs=0.1)]
        assert "".join(each.text for each in made.segments) == "".join(each.text for each in before.segments)
        assert (made.finished_at, made.options) == (before.finished_at, SPEAKERS)
        assert (workplace.dest / "talk.txt").read_text().startswith("Speaker 1: ")
        assert (workplace.dest / "talk (kept).srt").read_text() == "mine"
        # What is done is done, and nobody is labelled again because nobody asks for labels.
        assert len(scan(workplace, SPEAKERS).missing) == len(scan(workplace, OPTIONS).missing) == 0
        assert [event for event in direct(workplace, OPTIONS) if event is not None] == []
        assert done(workplace) == made


def test_labels_of_a_transcript_that_vanished_fail_with_a_sentence(workplace: Workplace, talk: Path) -> None:
    job = workplace.job("talk.wav").model_copy(update={"options": SPEAKERS, "only_speakers": True})
    workplace.queue.send([job], "run")
    with working(worker(workplace, Dictated(), TakingTurns())):
        failed = wait_until(lambda: workplace.records.failure("talk.wav"), what="the failure")
    assert failed.reason.startswith("Its transcript was removed or replaced while its speakers were to be labelled.")
    assert workplace.texts == []
