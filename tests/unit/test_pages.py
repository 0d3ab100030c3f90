"""The pages for people: what they show, what they let people do, and that nobody's words become markup."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from argon2 import PasswordHasher
from making import WHEN, activity, failure, job, part, run_of, segment, slice_of, transcript
from sqlalchemy import update
from starlette.testclient import TestClient
from support.api_client import HERE, client_of, serving

from nightscribe.report.report import Done, Failed, Report, Totals
from nightscribe.report.timeline import TimeLine
from nightscribe.server.context import Context
from nightscribe.server.database import credentials
from nightscribe.server.pages import shares
from nightscribe.server.pages.passages import changed, reading
from nightscribe.server.pages.peaks import N_PEAKS, reduced
from nightscribe.server.pages.shares import Share
from nightscribe.server.pages.site import clock, duration, marked
from nightscribe.services.unfinished import unfinished
from nightscribe.shared.destination.keys import REPORT, peaks_key
from nightscribe.shared.destination.records import Records
from nightscribe.shared.model.corrections import tag_of
from nightscribe.shared.model.speakers import Speaker
from nightscribe.shared.model.transcript import Correction, Flag, LookedAt, Word, utc_now
from nightscribe.shared.storage.folder.store import FolderStore

LABELLED = {"options": {"engine": "auto", "model": "tiny.en", "speakers": "auto"}}
SCRIPT = "<script>alert(1)</script>"
HOSTILE = f"a/x {SCRIPT}\"'.mp3"
PASSWORD = "correct horse battery"
TALK, FORM = "2012/talk.mp3", {"accept": "text/html"}
CORRECTED, LOOKED_AT, NAMED, DELETED = CHANGED = [f"2015/{name}.mp3" for name in ("a", "b", "c", "d")]
N_LONG = 600


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """Transcripts, a failure, a recording of which a half is finished, and one of their recordings."""
    dest, source = tmp_path_factory.mktemp("dest"), tmp_path_factory.mktemp("source")
    records = Records(FolderStore(dest))
    speakers = (Speaker(label="Speaker 1", clean_s=2, name="Anna"), Speaker(label="Speaker 2", clean_s=2))
    said = (
        segment(0, 2, "We talk about the budget.", speaker="Speaker 1"),
        segment(2, 4, "Nobody is sure.", speaker="Speaker 2", confidence=0.3),
        segment(20, 22, f"{SCRIPT} & more", speaker="Speaker 2"),
    )
    for name in (TALK, *CHANGED, "2012/gone.mp3", HOSTILE):
        values: dict[str, Any] = {"recording": name, "stem": name, "speakers": speakers, "flags": (Flag.GAP,)}
        records.finish(transcript(*said, **(values | LABELLED)), ("txt",))
    many = (segment(2 * at, 2 * at + 2, f"Sentence {at}.") for at in range(N_LONG))
    records.finish(transcript(*many, recording="long.mp3", stem="long", decoded_s=2.0 * N_LONG), ())
    records.fail(failure("2012/broken.mp3", code="not_audio", reason="It has no sound.", failed_at=WHEN))
    half = job(slice_of("half.mp3", cuts=(600.0, 1200.0), index=1))
    records.partial_results.keep_cuts("half.mp3", "10-abc", (600.0, 1200.0))
    records.partial_results.put(half, half.slices[0], part(segment(700, 702, "The middle."), container_s=1800.0))
    (source / "2012").mkdir()
    (source / TALK).write_bytes(bytes(4096))
    with serving(dest, source) as context, pytest.MonkeyPatch.context() as patch:
        cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        patch.setattr(credentials, "_hasher", lambda: cheap)
        with context.database.write() as session:
            credentials.create_login(session, "anna", PASSWORD, scopes=("read",), folder="2012", created_by="a test")
        yield context


@pytest.fixture(scope="module")
def here(context: Context) -> Iterator[TestClient]:
    """A browser on this machine."""
    with client_of(context) as client:
        client.headers.update(FORM)
        yield client


def records_of(context: Context) -> Records:
    return Records(context.dest.open_store(context.storage))


# Reading


def test_the_library_shows_recordings_and_lets_people_choose(here: TestClient) -> None:
    shown = here.get("/").text
    assert "talk.mp3" in shown
    assert "It has no sound." in shown
    assert '<option value="gap">Gap (' in shown
    assert 'href="/?folder=2012"' in shown
    only = here.get("/", params={"state": "failed"}, headers={"X-Part": "results"}).text
    assert "broken.mp3" in only
    assert "talk.mp3" not in only
    assert "<html" not in only
    assert "Nothing matches" in here.get("/?q=nothing+like+this").text
    assert "talk.mp3" in here.get("/?sort=nonsense&state=nonsense").text


def test_nothing_that_people_or_files_say_becomes_markup(here: TestClient) -> None:
    addresses = ["/", f"/?q={SCRIPT}", "/search?q=more", f"/search?q={SCRIPT}", "/review", "/recording/" + HOSTILE]
    for address in addresses:
        response = here.get(address)
        assert response.status_code == 200
        assert "alert(1)" in response.text or address == "/review"
        assert SCRIPT not in response.text
        assert "style=" not in response.text  # the policy would refuse it
        assert not re.search(r"<script(?![^>]* src=)", response.text)
        assert "script-src 'self'" in response.headers["Content-Security-Policy"]


def test_the_report_of_a_run_leads_to_the_pages_of_its_recordings(here: TestClient, context: Context) -> None:
    """As a file, it leads to texts beside it, which the server does not serve."""
    assert here.get("/report").status_code == 404
    began = utc_now()
    made = Report(
        run="1", began_at=began, ended_at=began, elapsed_s=1, interrupted=False, stopped=None, source="/source",
        dest="/dest", model="base", engine="faster-whisper", redo=False, options={}, languages={}, notes=(),
        totals=Totals(recordings=2, done=1, failed=1, left=0, audio_s=20, speed=9, done_before=0),
        run_command="nightscribe run", retry_command=None,
        time_line=TimeLine(began_at=began, ended_at=began, bin_s=1, speed=(), lanes=()),
        failures=(Failed(recording="broken.mp3", code="no_sound", reason="It has no sound."),), suspicious=(),
        recordings=(Done(recording=TALK, text="2012/talk.txt", length_s=20),),
    )  # fmt: skip
    context.dest.open_store(context.storage).put(REPORT, made.model_dump_json().encode())
    shown = here.get("/report").text
    links = re.findall(r'href="([^"#]+)"', shown)
    assert f"/recording/{TALK}" in links
    assert [link for link in links if "broken.mp3" in link]
    for link in links:
        assert here.get(unescape(link)).status_code == 200, link
    assert here.get("/report.json").json() == made.model_dump(mode="json")


def test_a_recording_shows_who_says_what_and_where_it_is_in_doubt(here: TestClient) -> None:
    shown = here.get(f"/recording/{TALK}").text
    assert shown.count('class="passage') == 3
    assert re.search(r'id="p2000"[^>]*data-tag="' + tag_of("Nobody is sure."), shown)
    assert "About 30 % of these words are likely right" in shown
    assert "No words for 16 s" in shown
    assert '<bdi data-voice="Speaker 1">Anna</bdi>' in shown
    assert "<audio" in shown
    assert "<audio" not in here.get("/recording/2012/gone.mp3").text


def test_a_long_transcript_comes_in_chunks(here: TestClient) -> None:
    shown = here.get("/recording/long.mp3").text
    assert "Sentence 0." in shown
    assert f"Sentence {N_LONG - 1}." not in shown
    chunks = re.findall(r'data-url="([^"]+)"', shown)
    assert len(chunks) == 2
    assert f"Sentence {N_LONG - 1}." in here.get(chunks[-1]).text
    assert here.get("/parts/passages/long.mp3?chunk=3").status_code == 404


def test_what_is_finished_of_a_recording_can_be_read_while_workers_are_at_the_rest(
    here: TestClient, context: Context
) -> None:
    records_of(context).report(activity(recording="half.mp3", message="m", done_s=65.0, updated_at=utc_now()))
    shown = here.get("/recording/half.mp3").text
    assert "The middle." in shown
    assert "1 of 3 parts finished" in shown
    assert re.findall(r'<span class="num">([0-9:–]+)</span> not finished yet', shown) == ["0:00–10:00", "20:00–30:00"]
    found = unfinished(context.dest, "half.mp3")
    assert found is not None
    assert [each.segments is not None for each in found.stretches] == [False, True, False]
    assert unfinished(context.dest, "nothing.mp3") is None


def test_a_failed_recording_says_why(here: TestClient) -> None:
    shown = here.get("/recording/2012/broken.mp3").text
    assert "It has no sound." in shown
    assert "Try again" in shown


def test_errors_are_pages_for_people_and_json_for_scripts(here: TestClient) -> None:
    missing = here.get("/recording/nothing.mp3")
    assert missing.status_code == 404
    assert "There is no such recording." in missing.text
    assert here.get("/recording/nothing.mp3", headers={"accept": "*/*"}).json()["code"] == "not_found"
    assert here.get("/recording/../../etc/passwd").status_code == 404
    assert here.get("/recording/.nightscribe%2Frun.json").status_code == 404
    assert here.get("/static/x/site.py").status_code == 404
    assert here.get("/static/x/page.css").headers["Cache-Control"].endswith("immutable")


def test_the_search_leads_to_the_second(here: TestClient) -> None:
    shown = here.get("/search?q=budget").text
    assert "<mark>budget</mark>" in shown
    assert 'href="/recording/2012/talk.mp3?t=0.00&amp;q=budget"' in shown
    assert "Did you mean <a" in here.get("/search?q=budgt").text
    assert here.get("/search?q=%22").status_code == 200


@pytest.mark.usefixtures("sockets")
def test_workers_and_failures_are_shown(here: TestClient, context: Context) -> None:
    records_of(context).put_run(run_of(n_total=9, n_done=3, updated_at=utc_now(), total_s=90.0, heard_s=30.0))
    records_of(context).report(activity(recording="now.mp3", message="m", updated_at=utc_now()))
    assert "now.mp3" in here.get("/parts/tonight").text
    shown = here.get("/workers").text
    assert "now.mp3" in shown
    assert "They are not recordings." in shown


# Changing


def test_a_passage_is_corrected_unless_somebody_else_was_faster(here: TestClient, context: Context) -> None:
    address, old = f"/parts/correct/{CORRECTED}", tag_of("We talk about the budget.")
    done = here.post(address, json={"start_s": 0, "text": "We talk of the budget."}, headers={"If-Match": f'"{old}"'})
    [passage] = done.json()["passages"]
    assert passage["key"] == "p0"
    assert 'data-machine="We talk about the budget."' in passage["html"]
    assert 'data-corrected="8-10"' in passage["html"]
    late = here.post(address, json={"start_s": 0, "text": "We sing."}, headers={"If-Match": f'"{old}"'})
    assert late.status_code == 412
    assert "We talk of the budget." in late.json()["passages"][0]["html"]
    assert here.post(f"/parts/undo/{CORRECTED}").json()["passages"][0]["key"] == "p0"
    removed = here.post(f"/parts/correct/{CORRECTED}", json={"start_s": 20, "text": ""}).json()
    assert removed["passages"] == [{"key": "p20000", "html": None}]
    assert f"{SCRIPT} & more" not in here.get(f"/recording/{CORRECTED}").text
    assert here.post(f"/parts/undo/{CORRECTED}").json()["passages"]
    found = records_of(context).transcript(CORRECTED)
    assert found is not None
    assert {each.by for each in found.corrections} == {"this machine"}


def test_a_passage_at_which_somebody_looked_is_no_longer_in_doubt(here: TestClient, context: Context) -> None:
    assert here.post(f"/parts/look/{LOOKED_AT}", json={"start_s": 2}).json()["n_doubtful"] == 0
    assert "likely right" not in here.get(f"/recording/{LOOKED_AT}").text
    assert here.post(f"/parts/approve/{LOOKED_AT}", json={}).json()["message"] == "Marked as reviewed."
    here.post(f"/parts/approve/{LOOKED_AT}", json={"is_approved": "false"})
    assert here.get("/review/next", follow_redirects=False).headers["location"].endswith("?review=1")


def test_a_speaker_gets_a_name(here: TestClient, context: Context) -> None:
    address = f"/parts/speakers/{NAMED}"
    taken = here.post(address, json={"label": "Speaker 2", "name": "anna"})
    assert (taken.status_code, taken.json()["code"]) == (409, "name_taken")
    assert here.post(address, json={"label": "Speaker 2", "name": "Berta"}).json()["name"] == "Berta"
    assert '<bdi data-voice="Speaker 2">Berta</bdi>' in here.get(f"/recording/{NAMED}").text
    assert here.post(address, json={"label": "Speaker 9", "name": "Nobody"}).status_code == 422


def test_a_transcript_is_deleted_for_good(here: TestClient, context: Context) -> None:
    records_of(context).store.put(peaks_key(DELETED), b"10-abc\nx")
    assert here.post(f"/parts/delete/{DELETED}").json()["url"] == "/"
    assert here.get(f"/recording/{DELETED}").status_code == 404
    assert records_of(context).store.get(peaks_key(DELETED)) is None
    recording = Path(str(context.source), DELETED)
    recording.parent.mkdir()
    recording.write_bytes(bytes(4096))
    assert "Somebody deleted its transcript for good." in here.get(f"/recording/{DELETED}").text
    assert "Not transcribed yet" not in here.get(f"/parts/working/{DELETED}").text
    assert "d.mp3" not in here.get("/?folder=2015").text


@pytest.mark.usefixtures("sockets")
def test_failures_are_tried_again_by_their_reason(here: TestClient, context: Context) -> None:
    records_of(context).fail(failure("2014/a.mp3", code="empty", reason="It is empty."))
    done = here.post("/parts/retry", json={"code": "empty"}).json()
    assert done["message"].startswith("1 recording ")
    assert records_of(context).failure("2014/a.mp3") is None
    assert records_of(context).failure("2012/broken.mp3") is not None


def test_peaks_are_made_once_and_kept(here: TestClient, context: Context) -> None:
    records_of(context).store.put(peaks_key(TALK), b"10-abc\n\x00\xff")
    assert here.get(f"/parts/peaks/{TALK}").content == b"\x00\xff"
    tone = np.abs(np.sin(np.linspace(0, 60, 100_000))).astype(np.float32)
    assert len(reduced(tone)) == N_PEAKS
    assert max(reduced(tone)) == 255
    assert reduced(np.zeros(3, np.float32)) == bytes(3)


# Who may


def test_a_shared_link_shows_one_transcript_until_it_expires(
    here: TestClient, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = here.post(f"/parts/shares/{TALK}", json={"days": 7}).json()["url"]
    outside = TestClient(here.app, HERE, headers=FORM | {"X-Forwarded-For": "10.0.0.1"}, raise_server_exceptions=False)
    shown = outside.get(made)
    assert "Nobody is sure." in shown.text
    assert "Correct the passage" not in shown.text
    assert "delete-dialog" not in shown.text
    assert len(outside.get(f"{made}/media").content) == 4096
    assert "Nobody is sure." in outside.get(f"{made}/subtitles").text
    assert outside.get(f"/recording/{TALK}", follow_redirects=False).status_code == 303
    assert outside.post(f"/parts/correct/{TALK}", json={"start_s": 0, "text": ""}).status_code == 401
    with context.database.read() as session:
        assert made.removeprefix("/s/") not in {each.token_hash for each in session.query(Share)}
    [share] = re.findall(r'data-revoke="(\w+)"', here.get(f"/parts/shares/{TALK}").text)
    here.delete(f"/parts/shares/{TALK}", params={"id": share})
    assert outside.get(made).status_code == 404
    made = here.post(f"/parts/shares/{TALK}", json={"days": 1}).json()["url"]
    with context.database.write() as session:
        session.execute(update(Share).values(expires_at=datetime.now(UTC) - timedelta(seconds=1)))
    assert "This link does not work any more." in outside.get(made).text
    assert here.post(f"/parts/shares/{TALK}", json={"days": shares.MOST_DAYS + 1}).status_code == 422


def test_people_log_in_and_see_their_folder_only(here: TestClient) -> None:
    browser = TestClient(here.app, HERE, headers=FORM | {"X-Forwarded-For": "10.0.0.1"}, raise_server_exceptions=False)
    sent = browser.get("/search?q=x", follow_redirects=False).headers["location"]
    assert sent == "/login?to=/search%3Fq%3Dx"
    wrong = browser.post("/login", data={"name": "anna", "password": "wrong", "to": "/"})
    assert wrong.status_code == 401
    assert "The name or the password is wrong." in wrong.text
    right = {"name": "anna", "password": PASSWORD, "to": "//evil.example"}
    assert browser.post("/login", data=right, follow_redirects=False).headers["location"] == "/"
    shown = browser.get("/").text
    assert "talk.mp3" in shown
    assert "long.mp3" not in shown
    assert browser.get("/recording/long.mp3").status_code == 404
    assert browser.get("/workers").status_code == 403
    csrf = re.search(r'name="csrf" content="([^"]+)"', shown)
    assert csrf is not None
    assert "Correct the passage" not in browser.get(f"/recording/{TALK}").text
    refused = browser.post(f"/parts/delete/{TALK}", headers={"X-CSRF-Token": csrf[1]})
    assert refused.status_code == 403
    browser.post("/logout", headers={"X-CSRF-Token": csrf[1]})
    assert browser.get("/", follow_redirects=False).status_code == 303


# How transcripts are prepared


def test_words_and_corrections_are_counted_as_scripts_count_them() -> None:
    words = (Word(1.0, 1.5, " 😀 Hello"), Word(1.5, 2.0, " there."))
    spoken = transcript(segment(1, 2, " 😀 Hello there.", words=words))
    [passage] = reading(spoken).passages
    assert passage.text == "😀 Hello there."
    assert passage.words == "8.0.50 7.50.50"
    correction = Correction(by="A", at=WHEN, start_s=1.5, end_s=2, before="there.", after="you.")
    [after] = reading(spoken.model_copy(update={"corrections": (correction,)})).passages
    assert (after.machine, after.corrected) == ("😀 Hello there.", "9-13")
    assert [key for key, _ in changed(reading(spoken), reading(transcript()))] == ["p1000"]


def test_passages_keep_their_keys_and_lose_their_doubt() -> None:
    spoken = transcript(segment(0, 2, "One.", confidence=0.2), segment(0, 2, "Two."), segment(2, 3, "  "))
    assert [each.key for each in reading(spoken).passages] == ["p0", "p0-2"]
    assert reading(spoken).n_doubtful == 1
    looked = spoken.model_copy(update={"looked_at": (LookedAt(by="A", at=WHEN, start_s=0.0),)})
    assert reading(looked).n_doubtful == 0


def test_lengths_are_told_as_people_tell_them() -> None:
    assert [clock(each) for each in (None, 0, 61.9, 3600)] == ["–", "0:00", "1:01", "1:00:00"]
    assert [duration(each) for each in (5, 90, 3700, 400_000)] == ["5 s", "2 min", "1 h 2 min", "111 h"]
    assert marked("a<b c", [(2, 3)]) == "a&lt;<mark>b</mark> c"
