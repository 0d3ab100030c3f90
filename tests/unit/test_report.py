"""The report of a run and its page: read back as a browser would, never by its looks."""

import shlex
from collections.abc import Iterator
from datetime import timedelta, timezone
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import WHEN, activity, failure, recording, transcript
from support.surface import command_named

from nightscribe.cli.main import cli
from nightscribe.director.backlog import Backlog, Missing, Settled
from nightscribe.director.plan.estimate import LengthEstimate
from nightscribe.director.scan.scanner import Scan
from nightscribe.report.page import LISTED, MEANINGS, SHOWN, page
from nightscribe.report.plot import MAX_TICKS, ticks
from nightscribe.report.report import Done, Failed, Report, Suspicious, report
from nightscribe.report.run_report import RunReport
from nightscribe.report.timeline import Sightings
from nightscribe.services.requested_settings import asked
from nightscribe.services.run_progress import MAX_LISTED, RunProgress
from nightscribe.services.sources import resolve
from nightscribe.shared.destination.keys import HIDDEN_REPORT_PAGE, REPORT, REPORT_PAGE
from nightscribe.shared.model.recording import Unreadable
from nightscribe.shared.model.transcript import Flag
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.base import Location
from nightscribe.shared.storage.folder.location import FolderLocation
from nightscribe.shared.storage.s3.location import BucketLocation
from nightscribe.views.cli_hints import run_again

SOURCE, DEST = FolderLocation(Path("/my recordings")), FolderLocation(Path("/texts/of #1"))
PAGE = DEST.path.as_uri() + "/" + REPORT_PAGE
ZONE = timezone(timedelta(hours=7))
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1).filter(
    lambda n: n not in (".", "..")
)


class Read(HTMLParser):
    """What a browser makes of a page: its tags, the links in it and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        self.links = [attributes["href"] or "" for tag, attributes in self.tags if tag == "a"]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def count(self, tag: str) -> int:
        return sum(each == tag for each, _ in self.tags)

    def paths(self) -> Iterator[str]:
        """Files that are linked to, as a browser finds them from where the page is."""
        for link in self.links:
            whole = urlsplit(urljoin(PAGE, link))
            if not whole.fragment:
                assert not whole.query
                yield unquote(whole.path)


def progress_of(n_done: int = 2, n_failed: int = 1, n_left: int = 0, **scan: Any) -> RunProgress:
    names = [f"{number}.mp3" for number in range(n_done + n_failed + n_left)]
    run_progress = RunProgress(
        Scan(missing=Backlog(Missing(recording(n), n[:-4]) for n in names), **scan), LengthEstimate()
    )
    for number, missing in enumerate(list(run_progress.scan.missing)[: n_done + n_failed]):
        path = missing.recording.path
        good = transcript(recording=path, stem=missing.stem, decoded_s=1800.0)
        run_progress.settle(Settled(missing, good if number < n_done else failure(path)))
    return run_progress


def report_of(run_progress: RunProgress, seen: Sightings | None = None, **changes: Any) -> Report:
    values: dict[str, Any] = {
        "run": "abc",
        "began_at": WHEN,
        "ended_at": WHEN + timedelta(hours=9),
        "elapsed_s": 9 * 3600.0,
        "interrupted": False,
        "stopped": None,
        "source": SOURCE,
        "dest": DEST,
        "settings": Settings(model="small"),
        "engine": "faster-whisper",
    }
    return report(run_progress, (seen or Sightings(0.0)).drawn(WHEN, 9 * 3600.0), **(values | changes))


def read(made: Report) -> Read:
    return Read(page(made, ZONE))


# What it says


def test_the_json_is_the_report() -> None:
    seen = Sightings(0.0)
    seen.observe(9.0, ["a-1"], [activity(worker="a-1")], 30)
    run_progress = progress_of(
        failed_before=[failure("old.mp3")], unreadable=[Unreadable("locked", "It may not be read.")]
    )
    made = report_of(run_progress, seen)
    assert Report.model_validate_json(made.model_dump_json()) == made


def test_the_page_names_words_to_listen_for_and_other_options_of_words() -> None:
    made = report_of(progress_of(), settings=Settings(hotwords=("Rapunzel", "Nguyễn Ái"), initial_silence=0.5))
    assert Report.model_validate_json(made.model_dump_json()) == made
    text = read(made).text
    assert "Rapunzel, Nguyễn Ái" in text
    assert "Initial silence0.5" in text


def test_the_totals_add_up_and_failures_of_earlier_runs_are_told_apart() -> None:
    scan = {"failed_before": [failure("old.mp3")], "unreadable": [Unreadable("locked", "No.")], "n_finished": 7}
    made = report_of(progress_of(3, 2, 4, **scan), interrupted=True)
    totals = made.totals
    assert (totals.recordings, totals.done, totals.failed, totals.left, totals.done_before) == (9, 3, 4, 4, 7)
    assert (totals.audio_s, totals.speed) == (5400.0, 0.17)
    assert [(f.recording, f.attempts, f.earlier) for f in made.failures] == [
        ("3.mp3", 1, False),
        ("4.mp3", 1, False),
        ("old.mp3", 1, True),
        ("locked", None, False),
    ]
    assert made.languages == {"en": 3}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"model": "small", "language": "de", "task": "translate", "formats": ("json",), "workers": 97},
        {"language_per_window": True, "word_timestamps": True, "line_chars": 30, "engine": "openai-whisper"},
    ],
)
def test_the_command_does_the_same_when_it_is_typed_again(given: dict[str, Any], tmp_path: Path) -> None:
    source, dest = FolderLocation(tmp_path / "it's $(here)"), FolderLocation(tmp_path / "a b")
    program, command, *arguments = shlex.split(run_again("run", source, dest, asked("run", Settings(**given))))
    assert (Path(program).name, command) == ("nightscribe", "run")
    above = click.Context(cli, **cli.context_settings)  # click remembers the help options of a command's first context
    params = command_named("run").make_context("run", arguments, parent=above).params
    typed = resolve(params.pop("words"))
    assert (typed.source, typed.dest) == (source, dest)
    said = {name: value for name, value in params.items() if value not in (None, False, ())}
    assert said == {
        name: ",".join(value) if isinstance(value, tuple) else value if value is True or name in CHOICES else str(value)
        for name, value in given.items()
    }


CHOICES = ("engine", "task")


def test_only_failures_that_were_recorded_need_to_be_put_back() -> None:
    assert shlex.split(report_of(progress_of(1, 1)).retry_command or "")[1:] == ["retry", "/texts/of #1"]
    assert report_of(progress_of(1, 0, failed_before=[failure()])).retry_command
    assert report_of(progress_of(1, 0, unreadable=[Unreadable("locked", "No.")])).retry_command is None


def test_after_a_redo_no_command_is_said_to_go_on_with_it() -> None:
    """It would find the old transcripts, and do nothing."""
    promise = "The same command continues with them"
    assert promise in read(report_of(progress_of(1, 0, 3), interrupted=True)).text
    redo = read(report_of(progress_of(1, 1, 3), interrupted=True, redo=True)).text
    assert promise not in redo
    assert redo.count("Those with a transcript keep it: only --redo transcribes them again") == 2


def test_the_program_is_named_by_its_place_where_its_name_would_not_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    program = Path(shlex.split(report_of(progress_of(1, 1)).run_command)[0])
    assert program.is_absolute()
    assert program.name == "nightscribe"


def test_a_folder_whose_name_is_no_text_has_a_report_too() -> None:
    made = report_of(progress_of(), source=FolderLocation(Path("/caf\udce9")))
    assert made.source == "/caf\ufffd"
    assert "caf\ufffd" in made.run_command
    assert "caf\ufffd" in read(Report.model_validate_json(made.model_dump_json())).text


# The page


@pytest.mark.parametrize(
    ("changes", "run_progress", "said"),
    [
        ({}, progress_of(2, 0), "All done: 2 recordings"),
        ({}, progress_of(1200, 1), "1,200 recordings done, 1 failed"),
        ({"interrupted": True}, progress_of(1, 0, 3), "Interrupted with 1 of 4 recordings done"),
        ({"stopped": "The <queue> is gone."}, progress_of(1, 0, 3), "Stopped with 1 of 4 recordings done"),
    ],
)
def test_the_first_line_says_how_it_went(changes: dict[str, Any], run_progress: RunProgress, said: str) -> None:
    made = report_of(run_progress, **changes)
    seen = read(made)
    assert said in seen.text
    assert seen.text.count(made.run_command) == (1 if made.totals.left or made.failures else 0)
    assert ("The <queue> is gone." in seen.text) == bool(made.stopped)


def test_times_are_local_and_say_of_which_zone() -> None:
    text = read(report_of(progress_of(1, 1))).text
    assert "Friday 1 March 2024, 06:59 to 15:59 (UTC+07:00)" in text
    assert "Fri 06:59" in text


def test_failures_stand_under_their_reasons_the_most_frequent_first() -> None:
    gone = [
        Failed(recording=name, code="gone", reason=f"{name!r} is no longer in the source.") for name in ("a", "it's b")
    ]
    text = [Failed(recording=f"{n}.mp3", code="text_not_sound", reason="It holds text, not sound.") for n in range(3)]
    seen = read(report_of(progress_of(0, 1)).model_copy(update={"failures": (*gone, *text)}))
    assert seen.text.index("It holds text, not sound. 3") < seen.text.index("They are no longer in the source. 2")
    assert "'a' is no longer in the source." in seen.text
    assert seen.count("table") == 2
    assert "nightscribe run '/my recordings' '/texts/of #1' --model small" in seen.text


def test_every_flag_has_a_meaning_and_what_has_none_of_them_is_no_section() -> None:
    assert set(MEANINGS) == set(Flag)
    every = tuple(Suspicious(recording=f"{flag}.mp3", flags=(flag,), text=f"{flag}.txt") for flag in Flag)
    seen = read(report_of(progress_of(1, 0)).model_copy(update={"suspicious": every}))
    assert all(MEANINGS[flag] in seen.text for flag in Flag)
    assert seen.text.index(f"{Flag.TRUNCATED}.mp3") < seen.text.index(f"{Flag.NO_SPEECH}.mp3")
    assert "Worth a look" not in read(report_of(progress_of(1, 0))).text


def test_the_confidence_of_a_recording_is_shown_where_it_is_low() -> None:
    low = Suspicious(recording="a.mp3", flags=(Flag.LOW_CONFIDENCE,), text="a.txt", confidence=0.35)
    gap = Suspicious(recording="b.mp3", flags=(Flag.GAP,), text="b.txt", confidence=0.45)
    seen = read(report_of(progress_of(1, 0)).model_copy(update={"suspicious": (low, gap)}))
    assert "about 35 % of the doubtful words right" in seen.text
    assert "45 %" not in seen.text


@given(st.sets(NAMES, min_size=1, max_size=4), NAMES)
def test_links_lead_to_recordings_and_texts_of_any_name(names: set[str], reason: str) -> None:
    made = report_of(progress_of(0, 1)).model_copy(
        update={
            "recordings": tuple(Done(recording=f"in/{n}", text=f"in/{n}.pdf", length_s=1) for n in names),
            "failures": tuple(Failed(recording=f"below/{name}", code="unknown", reason=reason) for name in names),
            "suspicious": tuple(Suspicious(recording=n, flags=(Flag.TRUNCATED,), text=f"{n}.txt") for n in names),
        }
    )
    seen = read(made)
    wanted = {f"{SOURCE}/{folder}{name}" for name in names for folder in ("below/", "", "in/")}
    wanted |= {f"{DEST}/in/{name}.pdf" for name in names}
    assert set(seen.paths()) == wanted | {f"{DEST}/{name}.txt" for name in names} | {f"{DEST}/{REPORT}"}


@pytest.mark.parametrize(("dest", "up"), [(DEST, "../../../"), (FolderLocation(SOURCE.path / "texts"), "../../")])
def test_a_text_that_plays_its_recording_is_told_where_it_is(dest: FolderLocation, up: str) -> None:
    done = Done(recording="2012/the talk #1.mp3", text="2012/the talk #1.html", length_s=60)
    made = report_of(progress_of(0, 1), dest=dest).model_copy(update={"recordings": (done,)})
    [link] = [each for each in read(made).links if ".html" in each]
    told = unquote(urlsplit(link).query.removeprefix("recording="))
    page = f"{dest.path.as_uri()}/2012/the%20talk%20%231.html"
    assert urljoin(f"{dest.path.as_uri()}/{REPORT_PAGE}", link).startswith(page)
    assert told.startswith(up)
    assert unquote(urlsplit(urljoin(page, told)).path) == f"{SOURCE}/2012/the talk #1.mp3"


def test_what_was_done_stands_first_with_its_flags_and_the_workers_below() -> None:
    sightings = Sightings(0.0)
    sightings.observe(9.0, ["a-1"], [activity(worker="a-1")], 30)
    run_progress = RunProgress(
        Scan(missing=Backlog(Missing(recording(name), name[:-4]) for name in ("b/2.mp3", "1.mp3"))), LengthEstimate()
    )
    for missing in run_progress.scan.missing:
        path = missing.recording.path
        good = transcript(
            recording=path, stem=missing.stem, decoded_s=1800.0, formats=("srt", "txt"), flags=(Flag.GAP,)
        )
        run_progress.settle(Settled(missing, good))
    made = report_of(run_progress, sightings)
    assert [(each.recording, each.text, each.flags) for each in made.recordings] == [
        ("1.mp3", "1.txt", (Flag.GAP,)), ("b/2.mp3", "b/2.txt", (Flag.GAP,)),
    ]  # fmt: skip
    text = read(made).text
    row = "2.mp3gapEnglish30 minlisten"
    places = [text.index(each) for each in ("Worth a look", "Transcripts", row, "Time line", "How")]
    assert places == sorted(places)
    assert "LanguagesEnglish 2" in text
    assert text.count("Languages") == 1


def test_a_run_of_a_million_recordings_has_a_small_report() -> None:
    run_progress = progress_of(MAX_LISTED + 5, 0)
    made = report_of(run_progress)
    assert len(made.recordings) == MAX_LISTED
    many = made.model_copy(update={"totals": made.totals.model_copy(update={"done": 1_000_000})})
    seen = read(many)
    assert seen.count("tr") == LISTED
    assert "… and 999,000 more, in report.json" in seen.text


@pytest.mark.parametrize(
    ("source", "dest", "link"),
    [
        (BucketLocation("ours", "in/"), BucketLocation("ours", "out/"), "../in/0.mp3"),
        (BucketLocation("ours"), BucketLocation("ours", "out/"), "../0.mp3"),
        (BucketLocation("theirs", "in/"), BucketLocation("ours", "out/"), None),
        (FolderLocation(Path("/recordings")), BucketLocation("ours"), None),
        (BucketLocation("ours"), FolderLocation(Path("/texts")), None),
    ],
)
def test_from_a_bucket_links_lead_only_to_what_can_come_with_the_page(
    source: Location, dest: Location, link: str | None
) -> None:
    """To recordings in the same bucket; those elsewhere are named."""
    for run_progress in (progress_of(0, 1), progress_of(1, 0)):
        seen = read(report_of(run_progress, source=source, dest=dest))
        assert [each for each in seen.links if each.endswith(".mp3")] == ([link] if link else [])
        assert "0.mp3" in seen.text


@settings(max_examples=50)
@given(NAMES | st.sampled_from(["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "&lt;b&gt;", "$title"]))
def test_no_name_becomes_a_part_of_the_page(name: str) -> None:
    """The same tags with the same attributes whatever it is, nothing that runs, and nothing that is fetched."""
    assert tags(name) == tags("plain")
    assert not {"script", "img", "iframe", "link", "object"} & {tag for tag, _ in tags(name)}


@cache
def tags(name: str) -> list[tuple[str, list[str]]]:
    """Those of a page in which a name stands wherever one can, with the names of their attributes."""
    sightings = Sightings(0.0)
    sightings.observe(9.0, ["a-1"], [activity(name, worker="a-1")], 30)
    run_progress = progress_of(1, 1, failed_before=[failure(name, reason=f"{name!r} is bad.")])
    made = report_of(run_progress, sightings, source=FolderLocation(Path("/", "x" + name)), stopped=name)
    more = {"suspicious": (Suspicious(recording=name, flags=(Flag.NO_SPEECH,), text=name),)}
    seen = read(made.model_copy(update=more))
    return [(tag, sorted(attributes)) for tag, attributes in seen.tags]


def test_a_page_of_a_hundred_thousand_failures_is_small_and_says_how_many_there_are() -> None:
    reasons = [f"Reason {'abcdefghijklmnopqrstuvwxyz'[n]}." for n in range(26)]
    many = tuple(Failed(recording=f"{n}.mp3", code="unknown", reason=reasons[min(25, n % 100)]) for n in range(50_000))
    odd = tuple(Failed(recording=f"{n}.wav", code="unknown", reason=f"Odd {n}.") for n in range(50_000))
    html = page(report_of(progress_of()).model_copy(update={"failures": many + odd}), ZONE)
    seen = Read(html)
    assert len(html) < 500_000
    assert seen.count("tr") <= SHOWN
    assert "Failed 100,000" in seen.text
    assert "Reason z. 37,500" in seen.text
    assert "… and 37,490 more, in report.json" in seen.text
    assert "… and 49,996 of other kinds, in report.json" in seen.text


def test_a_lane_for_each_worker_with_its_deaths() -> None:
    sightings = Sightings(0.0)
    for number in range(1, 11):
        names = ["a-1", "a-2" if number < 5 else "a-3"]
        sightings.observe(number * 3000.0, names, [activity("talk.mp3", worker="a-1")], number * 100.0)
    seen = read(report_of(progress_of(), sightings))
    assert "worker 1" in seen.text
    assert "worker 2" in seen.text
    assert "worker 3" not in seen.text
    [death] = [attributes for tag, attributes in seen.tags if tag == "b" and attributes]
    assert death["title"] == "11:09:35: it died and was restarted"
    assert any(tag == "rect" for tag, _ in seen.tags)


@pytest.mark.parametrize(
    ("length", "labels"),
    [
        (timedelta(seconds=25), ["07:00:00", "07:00:05", "07:00:10", "07:00:15", "07:00:20"]),
        (timedelta(minutes=70), ["07:00", "07:15", "07:30", "07:45", "08:00"]),
        (timedelta(hours=9), ["08:00", "10:00", "12:00", "14:00"]),
        (timedelta(days=3), ["Fri 12:00", "Sat 00:00", "Sat 12:00", "Sun 00:00", "Sun 12:00", "Mon 00:00"]),
    ],
)
def test_the_time_of_day_is_marked_at_round_times(length: timedelta, labels: list[str]) -> None:
    assert [label for _, label in ticks(WHEN, WHEN + length, ZONE)] == labels


@given(st.timedeltas(timedelta(0), timedelta(days=400)))
def test_there_are_never_too_many_marks(length: timedelta) -> None:
    found = ticks(WHEN, WHEN + length, ZONE)
    assert len(found) <= MAX_TICKS + 1
    assert all(WHEN <= at <= WHEN + length for at, _ in found)


# When it is written


def run_report(dest: Path, *, worked: bool = True) -> RunReport:
    return RunReport(
        SOURCE, FolderLocation(dest), Settings(model="small"), "faster-whisper", run_id="abc" if worked else None
    )


def test_a_run_without_work_leaves_the_report_of_the_night_before_it(tmp_path: Path) -> None:
    assert run_report(tmp_path).write_report(progress_of()) == f"Report: {tmp_path / REPORT_PAGE}"
    before = {name: (tmp_path / name).read_bytes() for name in (REPORT, REPORT_PAGE)}
    empty = progress_of(0, 0, failed_before=[failure()])
    assert run_report(tmp_path, worked=False).write_report(empty) == f"Last report: {tmp_path / REPORT_PAGE}"
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert Report.model_validate_json(before[REPORT]).run == "abc"


def test_without_an_earlier_one_failures_are_worth_a_report_and_nothing_is_not(tmp_path: Path) -> None:
    assert run_report(tmp_path, worked=False).write_report(progress_of(0, 0)) == ""
    assert not list(tmp_path.iterdir())
    assert run_report(tmp_path, worked=False).write_report(progress_of(0, 0, failed_before=[failure("a.mp3")]))
    assert "a.mp3" in (tmp_path / REPORT_PAGE).read_text()


def test_the_page_of_an_earlier_release_is_replaced_where_people_see_it(tmp_path: Path) -> None:
    old = tmp_path / HIDDEN_REPORT_PAGE
    old.parent.mkdir()
    old.write_text("of last night")
    nothing = progress_of(0, 0)
    assert run_report(tmp_path, worked=False).write_report(nothing) == f"Last report: {old}"
    assert run_report(tmp_path).write_report(progress_of()) == f"Report: {tmp_path / REPORT_PAGE}"
    assert not old.exists()
    assert run_report(tmp_path, worked=False).write_report(nothing) == f"Last report: {tmp_path / REPORT_PAGE}"


def test_somebody_elses_report_stays(tmp_path: Path) -> None:
    """A transcript of report.mp3 as a page is one."""
    (tmp_path / REPORT_PAGE).write_text("mine")
    assert run_report(tmp_path).write_report(progress_of(1, 0)) == f"Report: {tmp_path / HIDDEN_REPORT_PAGE}"
    assert (tmp_path / REPORT_PAGE).read_text() == "mine"
    seen = Read((tmp_path / HIDDEN_REPORT_PAGE).read_text())
    assert "../0.txt" in seen.links
    assert "report.json" in seen.links


def test_a_report_that_cannot_be_written_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".nightscribe").write_text("in the way")
    assert run_report(tmp_path).write_report(progress_of()) == ""
    assert run_report(tmp_path / "gone").write_report(progress_of()) == ""
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all(
        line.startswith("The report could not be written. Cannot write '.nightscribe/report.json'") for line in said
    )
