"""The API of the server: what it says, who may ask, and what nobody gets."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from argon2 import PasswordHasher
from making import WHEN, failure, segment, transcript
from starlette.testclient import TestClient
from structlog.testing import capture_logs
from support.api_client import HERE, client_of, serving, token

from nightscribe.search.library import SORTS
from nightscribe.server.app import create_app
from nightscribe.server.auth import LOGIN_TRIES
from nightscribe.server.context import Context
from nightscribe.server.database import credentials
from nightscribe.server.ids import path_of, recording_id
from nightscribe.server.seldom import Seldom
from nightscribe.shared.destination.records import Records
from nightscribe.shared.model.speakers import Speaker
from nightscribe.shared.storage.folder.store import FolderStore

LABELLED = {"options": {"engine": "auto", "model": "tiny.en", "speakers": "auto"}}
SCRIPT = "<script>alert(1)</script>"
HOSTILE = f"a/x {SCRIPT}\"'; ü\n.mp3"
SOUND = bytes(range(256)) * 8
PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """A destination with three transcripts and a failure, and a source with one of the recordings."""
    dest, source = tmp_path_factory.mktemp("dest"), tmp_path_factory.mktemp("source")
    records = Records(FolderStore(dest))
    said = (segment(0, 2, "We talk about the budget."), segment(2, 4, "Nobody is sure.", confidence=0.3))
    for recording, changes in {
        "2012/talk.mp3": {"speakers": (Speaker(label="Speaker 1", clean_s=2),)},
        "2013/secret.wav": {"language": "de"},
        HOSTILE: {},
    }.items():
        words = (*said, segment(4, 6, f"{SCRIPT} & more")) if recording == HOSTILE else said
        made = transcript(*words, recording=recording, stem=recording.rpartition(".")[0], **(LABELLED | changes))
        records.finish(made, ("txt", "srt"))
    records.fail(failure("2012/broken.mp3", code="not_audio", reason="It has no sound.", failed_at=WHEN))
    for name in ("2012/talk.mp3", "2012/page.html", ".env", "2012/.hidden.mp3"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_bytes(SOUND)
    (source / "2012/outside.mp3").symlink_to("/etc/passwd")
    with serving(dest, source) as context, pytest.MonkeyPatch.context() as patch:
        cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        patch.setattr(credentials, "_hasher", lambda: cheap)  # a real one takes a tenth of a second
        with context.database.write() as session:
            credentials.create_login(session, "anna", PASSWORD, scopes=("read", "write"), created_by="a test")
        yield context


@pytest.fixture(scope="module")
def here(context: Context) -> Iterator[TestClient]:
    """A program of this machine, which needs no token."""
    with client_of(context) as client:
        yield client


@pytest.fixture
def there(here: TestClient) -> TestClient:
    """A program on another machine, behind a proxy."""
    return TestClient(here.app, HERE, raise_server_exceptions=False, headers={"X-Forwarded-For": "10.0.0.1"})


def url(recording: str, *more: str) -> str:
    return "/".join(("/api/v1/recordings", recording_id(recording), *more))


TALK = url("2012/talk.mp3")


# What it says


def test_the_list_can_be_read_page_by_page_in_every_order(here: TestClient) -> None:
    for sort in SORTS:
        first = here.get("/api/v1/recordings", params={"sort": sort, "limit": 3}).json()
        rest = here.get("/api/v1/recordings", params={"sort": sort, "limit": 3, "cursor": first["next"]}).json()
        found = [each["recording"] for each in first["recordings"] + rest["recordings"]]
        assert (len(found), len(set(found)), first["n_total"], rest["next"]) == (4, 4, 4, None)


@pytest.mark.parametrize(
    ("query", "n"),
    [
        ("state=failed", 1),
        ("state=done", 3),
        ("state=review&folder=2012", 1),
        ("language=de", 1),
        ("folder=2012", 2),
        ("text=SECRET wav", 1),
        ("code=not_audio", 1),
        ("flag=gap", 0),
    ],
)
def test_the_list_is_filtered(here: TestClient, query: str, n: int) -> None:
    assert here.get(f"/api/v1/recordings?{query}").json()["n_total"] == n


def test_a_recording_says_how_it_was_made_or_why_it_failed(here: TestClient) -> None:
    done, failed = here.get(TALK).json(), here.get(url("2012/broken.mp3")).json()
    assert (done["state"], done["n_segments"], done["n_doubtful"], done["has_media"]) == ("done", 2, 1, True)
    assert (failed["state"], failed["code"], failed["reason"]) == ("failed", "not_audio", "It has no sound.")
    assert here.get("/api/v1/recordings/facets").json()["folders"] == {"2012": 2, "2013": 1, "a": 1}


def test_a_transcript_comes_in_the_formats_and_only_once(here: TestClient) -> None:
    for name in ("txt", "vtt", "json"):  # all of them: test_scripts_in_names_and_words_stay_text
        got = here.get(f"{TALK}/transcript.{name}", params={"download": True})
        assert got.status_code == 200, (name, got.text)
        assert got.headers["content-disposition"].startswith("attachment; filename=")
    etag = here.get(f"{TALK}/transcript.srt").headers["etag"]
    again = here.get(f"{TALK}/transcript.srt", headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    assert here.get(f"{TALK}/transcript.exe").json()["code"] == "unknown_format"


def test_a_correction_needs_the_text_that_was_seen_and_flows_into_every_format(here: TestClient) -> None:
    page = url("2013/secret.wav")
    first = here.get(f"{page}/segments").json()["segments"][0]
    put = f"{page}/segments/0"
    new = {"text": "We talk about the fudge."}
    assert here.put(put, json=new).status_code == 428
    done = here.put(put, json=new, headers={"If-Match": first["etag"]}).json()
    assert [(each["before"], each["after"]) for each in done["corrections"]] == [("budget.", "fudge.")]
    assert done["segments"][0]["text"] == new["text"]
    assert "fudge" in here.get(f"{page}/transcript.srt").text
    late = here.put(put, json={"text": "Other words."}, headers={"If-Match": first["etag"]})
    assert (late.status_code, late.json()["code"]) == (412, "changed_meanwhile")
    assert here.put(f"{page}/segments/99", json=new, headers={"If-Match": "*"}).status_code == 404
    assert here.post(f"{page}/undo").json()["segments"][0]["text"] == "We talk about the budget."
    assert here.put(f"{page}/segments/1/looked-at").status_code == 204
    assert here.put(f"{page}/review").status_code == 204
    assert here.get(page).json()["reviewed_by"] == "this machine"
    logged = here.get("/api/v1/log", params={"recording": "2013/secret.wav"}).json()["entries"]
    assert {"corrected", "reviewed", "result read"} <= {each["action"] for each in logged}
    assert "fudge" not in str(logged)


def test_a_speaker_is_named_in_the_recording_and_in_the_list_of_voices(here: TestClient) -> None:
    assert here.put(f"{TALK}/speakers/Speaker 1", json={"name": "Anna"}).json()[0]["name"] == "Anna"
    assert here.put(f"{TALK}/speakers/Nobody", json={"name": "Anna"}).status_code == 404
    assert [each["name"] for each in here.get("/api/v1/speakers").json()["voices"]] == ["Anna"]


def test_words_are_found_with_their_place(here: TestClient) -> None:
    found = here.get("/api/v1/search", params={"q": "budget", "folder": "2012"}).json()
    assert [(each["recording"], each["start_s"]) for each in found["hits"]] == [("2012/talk.mp3", 0.0)]
    start, end = found["hits"][0]["marks"][0]
    assert found["hits"][0]["text"][start:end] == "budget"
    assert here.get("/api/v1/search", params={"q": '"'}).json()["is_searchable"] is False


def test_failures_are_grouped_by_reason_and_tried_again(here: TestClient, context: Context) -> None:
    [group] = here.get("/api/v1/fleet/failures").json()
    assert (group["code"], group["n"]) == ("not_audio", 1)
    asked = {"recordings": group["recordings"], "dry_run": True}
    assert here.post("/api/v1/fleet/retry", json=asked).json()["recordings"] == ["2012/broken.mp3"]
    assert here.post("/api/v1/fleet/retry", json={"reasons": ["nothing like it"]}).json()["recordings"] == []
    assert Records(FolderStore(context.dest.local_path)).failure("2012/broken.mp3")  # type: ignore[arg-type]


def test_what_is_deleted_is_gone_and_nothing_else(context: Context, here: TestClient) -> None:
    records = Records(FolderStore(context.dest.local_path))  # type: ignore[arg-type]
    names = ("b/talk[1].mp3", "b/talk1.mp3")  # the first one is also a glob for the second one
    for name in names:
        records.finish(transcript(segment(), recording=name, stem=name[:-4]), ("txt",))
    assert here.delete(url(names[0])).json() == {"n_files": 2, "kept": []}
    assert (here.get(url(names[0])).status_code, here.get(url(names[1])).status_code) == (404, 200)
    assert here.delete(url(names[0])).status_code == 404
    assert here.delete(url(names[1])).status_code == 200


def test_parts_of_a_recording_are_served_and_none_beyond_its_end(here: TestClient) -> None:
    media = f"{TALK}/media"
    whole, part = here.get(media), here.get(media, headers={"Range": "bytes=10-19"})
    assert (whole.status_code, whole.content, whole.headers["content-type"]) == (200, SOUND, "audio/mpeg")
    assert (part.status_code, part.content) == (206, SOUND[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(SOUND)}"
    for beyond in ("bytes=2048-", "bytes=9999-10000"):
        assert here.get(media, headers={"Range": beyond}).status_code == 416
    assert here.get(media, headers={"Range": "bytes=2000-9999"}).content == SOUND[2000:]
    for odd in ("bytes=5-2", "bytes=a-b", "bytes=-", "lines=1-2", "bytes=" + ",".join(["0-1"] * 500)):
        assert here.get(media, headers={"Range": odd}).status_code < 500


# Who may ask


def test_others_need_a_token_with_the_right_scope(context: Context, there: TestClient) -> None:
    assert there.get("/api/v1/recordings").status_code == 401
    assert there.get("/api/v1/recordings", headers={"Authorization": "Bearer ns_guessed"}).status_code == 401
    assert there.get("/api/v1/recordings", headers=token(context, "read")).status_code == 200
    assert there.delete(TALK, headers=token(context, "read")).json()["code"] == "not_allowed"
    assert there.get("/api/v1/tokens", headers=token(context, "write")).status_code == 403
    assert there.get("/api/v1/tokens", headers=token(context, "admin")).status_code == 200


def test_a_revoked_or_expired_token_is_refused_at_once(context: Context, there: TestClient) -> None:
    admin = token(context, "admin")
    made = there.post("/api/v1/tokens", headers=admin, json={"name": "soon gone"}).json()
    own = {"Authorization": f"Bearer {made['token']}"}
    assert there.get("/api/v1/session", headers=own).json()["name"] == "soon gone"
    assert there.delete(f"/api/v1/tokens/{made['id']}", headers=admin).status_code == 204
    assert there.get("/api/v1/session", headers=own).json()["code"] == "token_not_valid"
    expired = token(context, "read", expires_at=WHEN)
    assert there.get("/api/v1/session", headers=expired).status_code == 401


def test_a_token_of_a_folder_sees_nothing_else(context: Context, there: TestClient) -> None:
    own = token(context, "write", folder="2012")
    listed = there.get("/api/v1/recordings", headers=own).json()
    assert {each["recording"] for each in listed["recordings"]} == {"2012/talk.mp3", "2012/broken.mp3"}
    secret = url("2013/secret.wav")
    for path in (secret, f"{secret}/segments", f"{secret}/transcript.txt", f"{secret}/media"):
        assert there.get(path, headers=own).status_code == 404
    assert there.delete(secret, headers=own).status_code == 404
    assert there.get("/api/v1/recordings?folder=2013", headers=own).status_code == 404
    hits = there.get("/api/v1/search?q=budget", headers=own).json()["hits"]
    assert {each["recording"] for each in hits} == {"2012/talk.mp3"}
    for path in ("/api/v1/fleet", "/api/v1/speakers"):
        assert there.get(path, headers=own).status_code == 403
    boss = token(context, "admin", folder="2012")
    assert {each["folder"] for each in there.get("/api/v1/tokens", headers=boss).json()} == {"2012"}
    for folder, made in (("2013", 404), ("2012/b", 201)):
        asked = {"name": "more", "folder": folder}
        assert there.post("/api/v1/tokens", headers=boss, json=asked).status_code == made


def test_a_person_logs_in_and_changes_something_only_from_our_own_page(context: Context, there: TestClient) -> None:
    in_ = there.post("/api/v1/session", json={"name": "anna", "password": PASSWORD})
    assert in_.status_code == 200, in_.text
    assert {"httponly", "samesite=lax"} <= {each.strip().lower() for each in in_.headers["set-cookie"].split(";")}
    csrf = {"X-CSRF-Token": in_.json()["csrf_token"]}
    review = f"{TALK}/review"
    assert there.put(review).json()["code"] == "csrf"
    assert there.put(review, headers={"X-CSRF-Token": "guessed"}).json()["code"] == "csrf"
    assert there.put(review, headers=csrf | {"Sec-Fetch-Site": "cross-site"}).json()["code"] == "other_site"
    assert there.put(review, headers=csrf | {"Origin": "https://evil.example"}).json()["code"] == "other_site"
    assert there.put(review, headers=csrf | {"Origin": "null"}).json()["code"] == "other_site"
    assert there.put(review, headers=csrf | {"Origin": HERE}).status_code == 204
    assert there.get("/api/v1/tokens").status_code == 403
    assert there.delete("/api/v1/session", headers=csrf).status_code == 204
    assert there.get("/api/v1/session").status_code == 401


def test_a_login_that_is_tried_often_is_slowed_down(context: Context) -> None:
    with client_of(context) as client:
        for _ in range(LOGIN_TRIES):
            wrong = client.post("/api/v1/session", json={"name": "anna", "password": "guessed guessed"})
            assert wrong.json()["code"] == "wrong_login"
        late = client.post("/api/v1/session", json={"name": "anna", "password": PASSWORD})
        assert (late.status_code, late.json()["code"]) == (429, "too_many_tries")
        assert int(late.headers["retry-after"]) > 0
    failed = [each for each in _log(context) if each == "login failed"]
    assert len(failed) >= LOGIN_TRIES


def _log(context: Context) -> list[str]:
    from nightscribe.server.database import log

    with context.database.read() as session:
        return [each.action for each in log.entries(session, limit=1000)]


def test_pages_of_other_sites_can_do_nothing_on_loopback(here: TestClient) -> None:
    for header in ("Origin: https://evil.example", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site"):
        headers = dict([header.split(": ")])
        assert here.delete(TALK, headers=headers).json()["code"] == "other_site"
    assert "access-control-allow-origin" not in here.get(TALK, headers={"Origin": "https://evil.example"}).headers


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:84", "10.0.0.1", ""]
)
def test_another_host_is_refused_on_loopback(here: TestClient, host: str) -> None:
    assert here.get("/api/v1/recordings", headers={"Host": host}).json()["code"] == "unknown_host"
    assert here.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["localhost:8484", "127.0.0.1", "[::1]:8484", "nightscribe.localhost"])
def test_this_machine_has_several_names(here: TestClient, host: str) -> None:
    assert here.get("/api/v1/session", headers={"Host": host}).json()["kind"] == "machine"


# What nobody gets


OTHER_FILES = (
    *("../etc/passwd", "/etc/passwd", "2012/../../etc/passwd", ".nightscribe/server/server.sqlite", ".env"),
    *("2012/.hidden.mp3", "2012/page.html", "2012/outside.mp3", "2012/a\0.mp3", "2012//talk.mp3", "./2012/talk.mp3"),
    *("2012/gone.mp3", "2012"),
)


@pytest.mark.parametrize("path", OTHER_FILES)
def test_no_other_file_is_served(here: TestClient, path: str) -> None:
    for more in ("media", "transcript.txt", "segments"):
        got = here.get(url(path, more))
        assert got.status_code == 404, (path, more, got.text)
    assert here.delete(url(path)).status_code == 404


@pytest.mark.parametrize("id_", ["%2e%2e%2fetc%2fpasswd", "..", "a" * 7000, "ü", "%00", "!!!!", "YQ=="])
def test_ids_that_are_none_are_not_found(here: TestClient, id_: str) -> None:
    assert here.get(f"/api/v1/recordings/{id_}").status_code in (404, 422)


def test_ids_name_paths_and_nothing_hidden() -> None:
    for path in ("2012/talk.mp3", "ü/ß 100%.wav", "a"):
        assert path_of(recording_id(path)) == path
    assert path_of(recording_id("a/../b")) is None
    assert path_of(recording_id("talk.mp3") + "=") is None


def test_scripts_in_names_and_words_stay_text(here: TestClient) -> None:
    page = url(HOSTILE)
    listed = here.get("/api/v1/recordings", params={"folder": "a"})
    assert listed.headers["content-type"] == "application/json"
    assert listed.json()["recordings"][0]["recording"] == HOSTILE
    for name in here.get(page).json()["formats"]:
        got = here.get(f"{page}/transcript.{name}")
        policy = got.headers["content-security-policy"]
        assert "sandbox" in policy
        assert "script-src" not in policy
        assert not {"\n", "\r"} & set(got.headers["content-disposition"])
        assert "<script" not in got.headers["content-disposition"]


def test_every_response_tells_browsers_to_be_careful(here: TestClient) -> None:
    for path in ("/healthz", "/api/v1/recordings", "/api/v1/nothing", "/nothing"):
        headers = here.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert "server" not in headers


@pytest.mark.parametrize(
    ("method", "path", "more"),
    [
        ("GET", "/api/v1/nothing", {}),
        ("PUT", "/api/v1/recordings", {}),
        ("GET", "/api/v1/recordings?limit=0", {}),
        ("GET", "/api/v1/recordings?cursor=%00", {}),
        ("GET", "/api/v1/recordings?sort=name&cursor=WyJuZXdlc3QiLCAxLCAiYSJd", {}),
        ("GET", "/api/v1/search", {}),
        ("GET", "/api/v1/search?q=a&since=never", {}),
        ("GET", "/api/v1/search?q=a&language=klingonisch", {}),
        ("POST", "/api/v1/tokens", {"content": b"{"}),
        ("POST", "/api/v1/tokens", {"json": {"name": "\n"}}),
        ("POST", "/api/v1/tokens", {"json": {"name": "a", "scopes": ["all"]}}),
        ("POST", "/api/v1/tokens", {"json": {"name": "a", "password": "short"}}),
    ],
)
def test_bad_input_gets_a_code_a_sentence_and_what_to_do(
    here: TestClient, method: str, path: str, more: dict[str, Any]
) -> None:
    got = here.request(method, path, **more)
    problem = got.json()
    assert 400 <= got.status_code < 500
    assert set(problem) == {"code", "message", "action"}
    assert problem["message"].endswith(".")
    assert "pydantic" not in got.text
    assert "Value error" not in got.text


def test_an_unexpected_error_tells_nothing_of_the_inside(here: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the secret reason")

    monkeypatch.setattr("nightscribe.services.library.facets", broken)
    with capture_logs() as logged:
        got = here.get("/api/v1/recordings/facets")
    assert "the secret reason" in str(logged)
    assert (got.status_code, got.json()["code"]) == (500, "server_error")
    assert "secret" not in got.text


def test_health_says_whether_the_database_and_the_destination_are_there(here: TestClient) -> None:
    assert (here.get("/healthz").text, here.get("/readyz").text) == ("ok", "ok")
    assert "nightscribe_" in here.get("/metrics").text


def test_what_is_documented_is_what_is_served(here: TestClient) -> None:
    documented = here.get("/api/openapi.json").json()
    assert documented["info"]["title"] == "nightscribe"
    for path, methods in documented["paths"].items():
        for method, operation in methods.items():
            assert operation.get("summary"), (method, path)
            assert operation.get("description") or not path.startswith("/api/v1"), (method, path)


def test_the_api_is_described_on_a_page_that_needs_nothing_from_elsewhere(here: TestClient) -> None:
    page, style = here.get("/api/docs"), here.get("/api/docs.css")
    assert page.headers["content-type"].startswith("text/html")
    assert style.headers["content-type"].startswith("text/css")
    for path in here.get("/api/openapi.json").json()["paths"]:
        assert f"<code>{path}</code>" in page.text
    assert re.findall(r'(?:src|href)="(?!#|/api/)', page.text) == []
    assert "<script" not in page.text
    assert "<style" not in page.text


def test_what_takes_long_is_computed_seldom() -> None:
    now, made = 0.0, list[float]()

    def make() -> int:
        nonlocal now
        now += took_s
        made.append(now)
        return len(made)

    kept = Seldom[int](quick_s=0.1, clock=lambda: now)
    took_s = 1.0
    assert [kept.get("a", make), kept.get("a", make), kept.get("b", make)] == [1, 1, 2]
    now += 9.0
    assert (kept.get("b", make), kept.get("a", make)) == (2, 3)
    kept.forget()
    took_s = 0.05
    assert [kept.get("a", make), kept.get("a", make)] == [4, 5]


def test_what_runs_beside_the_server_is_started_by_a_thread_that_lives_as_long(context: Context) -> None:
    """Linux ends the queue server and the workers when the thread that started them ends."""
    threads: list[threading.Thread] = []

    @contextmanager
    def beside(_: Context) -> Iterator[None]:
        threads.append(threading.current_thread())
        yield
        threads.append(threading.current_thread())

    with TestClient(create_app(context, [beside])):
        assert threads[0].name.startswith("background")  # and not one of those that handle requests, and end when idle
        assert threads[0].is_alive()
    assert threads[0] is threads[1]
