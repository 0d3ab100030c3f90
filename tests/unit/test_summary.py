"""What is said at the end."""

from pathlib import Path
from typing import Any

from making import failure, recording, transcript

from nightscribe.director.backlog import Backlog, Missing, Settled
from nightscribe.director.plan.estimate import LengthEstimate
from nightscribe.director.scan.scanner import Scan
from nightscribe.services.run_progress import RunProgress
from nightscribe.shared.model.recording import Unreadable
from nightscribe.shared.model.transcript import Flag
from nightscribe.shared.storage.folder.location import FolderLocation
from nightscribe.views.summary import before, summary

DEST = FolderLocation(Path("/texts"))


def progress_of(n_missing: int = 0, **scan: Any) -> RunProgress:
    missing = Backlog(Missing(recording(f"{n}.mp3"), str(n)) for n in range(n_missing))
    return RunProgress(Scan(missing=missing, **scan), LengthEstimate())


def settle(run_progress: RunProgress, n_done: int, n_failed: int = 0, **changes: Any) -> RunProgress:
    for number, missing in enumerate(list(run_progress.scan.missing)[: n_done + n_failed]):
        path = missing.recording.path
        good = number < n_done
        run_progress.settle(Settled(missing, transcript(recording=path, **changes) if good else failure(path)))
    return run_progress


def lines(
    run_progress: RunProgress, *, elapsed_s: float = 60.0, interrupted: bool = False, redo: bool = False
) -> list[str]:
    return list(
        summary(
            run_progress, elapsed_s=elapsed_s, dest=DEST, formats=("txt", "srt"), interrupted=interrupted, redo=redo
        )
    )


LAST = "Transcripts: /texts (txt, srt)"


def test_a_good_night_is_two_lines() -> None:
    run_progress = settle(progress_of(3), 3, decoded_s=1200.0)
    assert lines(run_progress, elapsed_s=180.0) == [
        "Done: 3 recordings, 1 h 00 min of sound in 3 min 00 s (20.0 × real time).",
        LAST,
    ]
    assert run_progress.all_done


def test_one_recording_is_one_recording() -> None:
    assert lines(settle(progress_of(1), 1, decoded_s=90.0))[0].startswith("Done: 1 recording, 1 min 30 s of sound")


def test_an_empty_source_is_said_to_be_empty_and_nothing_more() -> None:
    assert lines(progress_of()) == ["No recordings were found: no audio or video file that ffmpeg reads."]


def test_where_everything_is_done_there_is_nothing_to_do() -> None:
    assert lines(progress_of(n_finished=1200)) == [
        "Nothing to do: every recording has its transcript.",
        "Before: 1,200 recordings already done.",
        LAST,
    ]


def test_where_only_old_failures_are_left_there_is_nothing_new_to_do() -> None:
    run_progress = progress_of(n_finished=1, failed_before=[failure("a.mp3", reason="It is empty (0 bytes).")])
    assert lines(run_progress) == [
        "Nothing new to do.",
        "Before: 1 recording already done.",
        "Failed: 1 recording.",
        "  a.mp3: It is empty (0 bytes).",
        "  (1 of these failed in an earlier run and was left alone; --retry-failed tries again.)",
        LAST,
    ]
    assert not run_progress.all_done


def test_every_failure_has_its_reason() -> None:
    run_progress = settle(progress_of(3, unreadable=[Unreadable("locked", "It cannot be read.")]), 1, 2)
    said = lines(run_progress)
    assert said[1:] == [
        "Failed: 3 recordings.",
        "  1.mp3: It holds text, not sound.",
        "  2.mp3: It holds text, not sound.",
        "  locked: It cannot be read.",
        LAST,
    ]
    assert not run_progress.all_done


def test_a_night_in_which_everything_failed_does_not_say_that_nothing_was_to_do() -> None:
    said = lines(settle(progress_of(2), 0, 2))
    assert said[0] == "Failed: 2 recordings."


def test_exactly_twenty_failures_are_all_shown_and_of_more_the_rest_is_counted() -> None:
    shown = lines(settle(progress_of(20), 0, 20))
    assert len(shown) == 22
    longer = lines(settle(progress_of(1234), 0, 1234))
    assert len(longer) == 23
    assert longer[0] == "Failed: 1,234 recordings."
    assert longer[21] == "  … and 1,214 more, in /texts/.nightscribe/failures"


def test_an_interrupted_run_says_how_to_go_on() -> None:
    said = lines(settle(progress_of(5), 1, 1), interrupted=True)
    assert "Interrupted: 3 recordings left. Run the same command again to continue." in said
    assert said[0].startswith("Done: 1 recording")


def test_an_interrupted_redo_does_not_say_that_it_can_be_gone_on_with() -> None:
    """Without --redo the old transcripts count, and with it all begins again."""
    [said] = [line for line in lines(progress_of(5), interrupted=True, redo=True) if line.startswith("Interrupted: ")]
    assert said == ("Interrupted: 5 recordings left. Those with a transcript keep it; --redo starts all of them again.")


def test_a_run_interrupted_before_anything_was_done_does_not_say_done() -> None:
    assert lines(progress_of(2), interrupted=True) == [
        "Interrupted: 2 recordings left. Run the same command again to continue.",
        LAST,
    ]


def test_flagged_transcripts_are_worth_a_look() -> None:
    run_progress = settle(progress_of(1), 1, flags=(Flag.TRUNCATED, Flag.LANGUAGE_UNSURE))
    assert lines(run_progress)[1:3] == ["Worth a look: 1 transcript.", "  0.mp3: truncated, language unsure"]


def test_low_confidence_is_shown_as_the_share_of_words_that_are_probably_right() -> None:
    said = lines(settle(progress_of(1), 1, flags=(Flag.LOW_CONFIDENCE,), confidence=0.35))
    assert said[2] == "  0.mp3: low confidence (about 35 % of the doubtful words right)"


def test_many_flagged_transcripts_are_shortened() -> None:
    said = lines(settle(progress_of(25), 25, flags=(Flag.NO_SPEECH,)))
    assert said[-2] == "  … and 5 more, in /texts/.nightscribe/transcripts"


def test_all_that_was_done_without_transcribing_is_said() -> None:
    scan = Scan(
        n_finished=5,
        other_options=2,
        n_foreign=1,
        renamed=[("a", "b")],
        rewritten=["c.txt", "d.txt"],
        being_written=["copying.mp3"],
    )
    assert list(before(scan)) == [
        (
            "Before: 5 recordings already done; 2 of them with different options (--redo transcribes them again); "
            "1 recording with text files of another tool, left alone; 1 transcript followed a renamed recording; "
            "2 missing text files written again."
        ),
        "Left for the next run, still being written: 1 recording.",
        "  copying.mp3",
    ]


def test_a_dry_run_says_what_would_be_done() -> None:
    [said] = before(Scan(renamed=[("a", "b"), ("c", "d")], rewritten=["c.txt"]), dry_run=True)
    assert said == "Before: 2 transcripts would follow a renamed recording; 1 missing text file would be written again."


def test_of_a_fresh_destination_nothing_is_said() -> None:
    assert list(before(Scan())) == []


def test_a_long_list_of_what_is_being_written_is_shortened_without_a_place_to_look() -> None:
    said = list(before(Scan(being_written=[f"{n}.mp3" for n in range(30)])))
    assert len(said) == 22
    assert said[-1] == "  … and 10 more"


def test_recordings_that_only_get_labels_are_said_to_be_transcribed_already() -> None:
    missing = Backlog(Missing(recording(f"{n}.mp3"), str(n), only_speakers=n > 0) for n in range(3))
    scan = Scan(missing=missing, n_finished=4)
    [said] = before(scan)
    assert (
        said == "Before: 4 recordings already done; 2 recordings already transcribed, with only the speakers labelled."
    )
    assert "would be labelled" in next(before(scan, dry_run=True))
