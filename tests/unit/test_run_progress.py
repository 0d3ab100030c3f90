"""How far a run is, told from events alone; the clock is a number."""

from datetime import timedelta

import pytest
from making import WHEN, activity, failure, recording, run_of, transcript

from nightscribe.director.backlog import Backlog, Missing, PartStored, Settled
from nightscribe.director.plan.estimate import LengthEstimate
from nightscribe.director.scan.scanner import Scan
from nightscribe.services.run_progress import RunProgress
from nightscribe.shared.model.recording import Unreadable
from nightscribe.shared.model.transcript import Flag


def progress_of(**sizes: int) -> RunProgress:
    """A run that is to do recordings of these sizes, `a` standing for `a.mp3`."""
    missing = (Missing(recording(f"{name}.mp3", size), name) for name, size in sizes.items())
    return RunProgress(Scan(missing=Backlog(missing)), LengthEstimate())


def done(run_progress: RunProgress, name: str, decoded_s: float, **changes: object) -> None:
    [missing] = [m for m in run_progress.scan.missing if m.stem == name]
    run_progress.settle(Settled(missing, transcript(recording=f"{name}.mp3", decoded_s=decoded_s, **changes)))


def failed(run_progress: RunProgress, name: str) -> None:
    [missing] = [m for m in run_progress.scan.missing if m.stem == name]
    run_progress.settle(Settled(missing, failure(f"{name}.mp3")))


def test_at_the_beginning_nothing_is_known() -> None:
    run_progress = progress_of(a=100, b=100)
    assert (run_progress.n_total, run_progress.n_settled, run_progress.heard_s) == (2, 0, 0)
    assert (
        run_progress.total_s,
        run_progress.speed(now=5),
        run_progress.left_s(now=5),
        run_progress.length_s("a.mp3"),
    ) == (None, None, None, None)


def test_a_run_with_nothing_to_do_has_nothing_left() -> None:
    run_progress = progress_of()
    assert (run_progress.n_total, run_progress.total_s, run_progress.left_s(now=5)) == (0, 0, None)


def test_done_and_failed_are_counted_apart_and_settled_together() -> None:
    run_progress = progress_of(a=100, b=100, c=100)
    done(run_progress, "a", 60)
    failed(run_progress, "b")
    assert (run_progress.done, run_progress.n_settled, run_progress.n_total, run_progress.done_audio_s) == (1, 2, 3, 60)
    assert [f.recording for f in run_progress.failed] == ["b.mp3"]


def test_what_is_left_is_judged_by_what_is_done() -> None:
    run_progress = progress_of(a=100, b=200)
    done(run_progress, "a", 60)
    assert run_progress.total_s == 180
    assert run_progress.length_s("b.mp3") == 120


def test_a_failed_recording_is_no_longer_part_of_the_sound_to_come() -> None:
    run_progress = progress_of(a=100, b=200)
    done(run_progress, "a", 60)
    failed(run_progress, "b")
    assert run_progress.total_s == 60


def test_speed_counts_from_the_first_sign_of_work() -> None:
    """Loading models is not slowness."""
    run_progress = progress_of(a=100, b=100)
    run_progress.observe([], now=0)
    run_progress.observe([activity("a.mp3", 0)], now=100)
    run_progress.observe([activity("a.mp3", 40)], now=110)
    assert run_progress.heard_s == 40
    assert run_progress.speed(now=110) == 4.0


def test_unfinished_recordings_count_by_what_is_done_of_them() -> None:
    run_progress = progress_of(a=100, b=100, c=100)
    run_progress.observe([], now=0)
    done(run_progress, "a", 60)
    run_progress.observe([activity("b.mp3", 30), activity("c.mp3", 10)], now=10)
    assert run_progress.heard_s == 100
    assert run_progress.total_s == 180
    assert run_progress.speed(now=20) == 10.0
    assert run_progress.left_s(now=20) == 8.0


def test_time_left_is_what_is_left_at_the_speed_so_far() -> None:
    run_progress = progress_of(a=100, b=300)
    run_progress.observe([activity("a.mp3", 0)], now=1000)
    done(run_progress, "a", 50)
    run_progress.observe([], now=1010)
    assert run_progress.left_s(now=1010) == 30.0


def test_a_recording_just_settled_is_not_counted_twice() -> None:
    """Its worker may still say that it is at work on it."""
    run_progress = progress_of(a=100)
    done(run_progress, "a", 60)
    run_progress.observe([activity("a.mp3", 59)], now=10)
    assert run_progress.heard_s == 60
    assert run_progress.activities == []


def test_workers_of_another_run_are_not_counted() -> None:
    run_progress = progress_of(a=100)
    run_progress.observe([activity("stranger.mp3", 59)], now=10)
    assert (run_progress.heard_s, run_progress.activities, run_progress.working_since) == (0, [], None)


def test_a_recording_longer_than_foretold_does_not_bring_time_to_less_than_nothing() -> None:
    run_progress = progress_of(a=100, b=100)
    run_progress.observe([activity("b.mp3", 0)], now=0)
    done(run_progress, "a", 10)
    run_progress.observe([activity("b.mp3", 500)], now=10)
    assert run_progress.total_s == 510
    assert run_progress.left_s(now=10) == 0


def test_a_length_looked_up_beside_the_work_is_exact() -> None:
    run_progress = progress_of(a=100, b=100)
    run_progress.foresee(recording("a.mp3", 100), 77)
    assert run_progress.length_s("a.mp3") == 77
    assert run_progress.total_s == 154
    done(run_progress, "a", 77)
    assert run_progress.total_s == 154


def test_a_length_that_comes_too_late_changes_nothing() -> None:
    run_progress = progress_of(a=100, b=100)
    done(run_progress, "a", 60)
    run_progress.foresee(recording("a.mp3", 100), 77)
    assert run_progress.total_s == 120


@pytest.mark.parametrize("order", ["abc", "cab"])
def test_when_all_is_settled_the_total_is_what_was_heard(order: str) -> None:
    run_progress = progress_of(a=1, b=20, c=300)
    for name in order:
        done(run_progress, name, 7.5)
    run_progress.observe([], now=1)
    assert run_progress.total_s == run_progress.heard_s == 22.5
    assert run_progress.left_s(now=2) == 0


def test_flagged_transcripts_are_remembered() -> None:
    run_progress = progress_of(a=1, b=1)
    done(run_progress, "a", 1, flags=(Flag.TRUNCATED,), stem="a.mp3 (2)", confidence=0.4)
    done(run_progress, "b", 1)
    assert run_progress.flagged == [("a.mp3", (Flag.TRUNCATED,), "a.mp3 (2).txt", 0.4)]


def test_languages_are_counted_where_somebody_speaks() -> None:
    run_progress = progress_of(a=1, b=1, c=1)
    for name, language in (("a", "en"), ("b", None), ("c", "en")):
        done(run_progress, name, 1, language=language)
    assert run_progress.languages == {"en": 2}


def test_slices_count_as_soon_as_they_are_stored_and_only_once() -> None:
    run_progress = progress_of(a=3000, b=100)
    [long, _] = run_progress.scan.missing
    run_progress.foresee(long.recording, 1800)
    run_progress.observe([activity("a.mp3", 60, worker="1"), activity("a.mp3", 40, worker="2")], now=0)
    assert run_progress.heard_s == 100
    run_progress.store_part(PartStored(long, 610.0))
    run_progress.store_part(PartStored(long, 590.0))
    run_progress.observe([activity("a.mp3", 100, worker="1")], now=10)
    assert (run_progress.heard_s, run_progress.n_settled) == (1300, 0)
    done(run_progress, "a", 1800)
    run_progress.observe([], now=20)
    assert (run_progress.heard_s, run_progress.n_settled) == (1800, 1)


def test_what_a_worker_has_in_hand_is_a_slice_of_a_long_recording() -> None:
    run_progress = progress_of(long=10_000, short=100)
    run_progress.job_s = 600
    run_progress.lengths.learn("other.mp3", 100, 60)
    assert (run_progress.work_s("long.mp3"), run_progress.work_s("short.mp3"), run_progress.work_s("stranger.mp3")) == (
        600,
        60,
        None,
    )


def test_what_a_worker_said_that_has_died_is_forgotten_after_a_while() -> None:
    run_progress = progress_of(a=100)
    dead = activity("a.mp3", 50, worker="dead")
    run_progress.observe([dead, activity("a.mp3", 10, worker="new", updated_at=WHEN + timedelta(minutes=10))], now=0)
    assert [a.worker for a in run_progress.activities] == ["new"]


def test_a_recording_that_is_gone_is_settled_without_a_transcript() -> None:
    run_progress = progress_of(a=100, b=100)
    run_progress.settle(
        Settled(next(iter(run_progress.scan.missing)), Unreadable("a.mp3", "It is no longer in the source."))
    )
    assert (run_progress.n_settled, run_progress.n_total, run_progress.failed) == (1, 2, [])
    assert [item.path for item in run_progress.scan.unreadable] == ["a.mp3"]
    told = run_of().model_copy(update=run_progress.figures(now=0))
    assert (told.n_failed, told.n_unreadable) == (1, 1)
    assert [item.path for item in told.unreadable] == ["a.mp3"]


def test_the_figures_of_a_run_are_those_that_its_record_has() -> None:
    run_progress = progress_of(a=100, b=100, c=100)
    run_progress.observe([], now=0)
    done(run_progress, "a", 60.04)
    failed(run_progress, "b")
    run_progress.observe([activity("c.mp3", 12)], now=10)
    told = run_of().model_copy(update=run_progress.figures(now=20))
    assert (told.n_total, told.n_done, told.n_failed, told.n_unreadable) == (3, 1, 1, 0)
    assert (told.total_s, told.heard_s, told.speed, told.left_s) == (120.1, 72.0, 7.2, 6.7)
    assert progress_of(a=1).figures(now=0)["total_s"] is None


def test_the_longest_are_told_with_their_lengths_as_far_as_they_are_known() -> None:
    run_progress = progress_of(a=1, b=300, c=20)
    assert run_progress.longest(2) == [("b.mp3", None), ("c.mp3", None)]
    run_progress.lengths.learn("other.mp3", 100, 60)
    assert run_progress.longest(5) == [("b.mp3", 180), ("c.mp3", 12), ("a.mp3", pytest.approx(0.6))]
