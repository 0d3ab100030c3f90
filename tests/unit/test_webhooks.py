"""Messages are signed, kept in the database, tried again as Standard Webhooks says, and sent nowhere private."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastapi.testclient import TestClient
from standardwebhooks.webhooks import Webhook as Receiver
from standardwebhooks.webhooks import WebhookVerificationError
from support.waiting import wait_until
from support.web import Reply, WebServer

from nightscribe.cli.announce import announce_run
from nightscribe.director.backlog import Backlog
from nightscribe.director.plan.estimate import LengthEstimate
from nightscribe.director.scan.scanner import Scan
from nightscribe.server.app import create_app
from nightscribe.server.auth import Principal, note
from nightscribe.server.config import ServerSettings
from nightscribe.server.context import Context
from nightscribe.server.database.database import Database, open_database
from nightscribe.server.database.log import Action
from nightscribe.server.ids import recording_id
from nightscribe.server.outgoing import guarded_pool
from nightscribe.server.webhooks import store
from nightscribe.server.webhooks.attempts import DELAYS_S, MAX_DELAY_S, Outcome, Verdict, decide, retry_after_s
from nightscribe.server.webhooks.events import MAX_BODY_BYTES, EventType, body_of
from nightscribe.server.webhooks.sender import Sender, policy_of
from nightscribe.server.webhooks.signing import check_secret, new_secret, signed_headers
from nightscribe.server.webhooks.tables import WebhookDelivery
from nightscribe.services.run import RunResult
from nightscribe.services.run_progress import RunProgress
from nightscribe.shared.errors import ValueRefused
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.registry import parse_location

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


def test_a_receiver_with_any_of_the_secrets_verifies_a_message() -> None:
    new, old, other = new_secret(), new_secret(), new_secret()
    body = body_of(EventType.FINISHED, datetime.now(UTC), id="2012/d'été.mp3").encode()
    headers = signed_headers([new, old], "msg_1", int(datetime.now(UTC).timestamp()), body)
    for secret in (new, old):
        assert Receiver(secret).verify(body, headers)["data"] == {"id": "2012/d'été.mp3"}
    for changed in (body.replace(b"2012", b"2013"), body + b" "):
        with pytest.raises(WebhookVerificationError):
            Receiver(new).verify(changed, headers)
    with pytest.raises(WebhookVerificationError):
        Receiver(other).verify(body, headers)


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_" + "A" * 100, "A" * 44, "whsec_not base64!"]
)
def test_a_secret_that_is_too_short_or_not_base64_is_refused(secret: str) -> None:
    with pytest.raises(ValueRefused, match="24 to 64"):
        check_secret(secret)
    assert check_secret(new_secret())


def test_a_message_is_thin() -> None:
    body = body_of(EventType.CHANGED, NOW, id="x", recording="a" * 4000)
    assert json.loads(body) == {
        "type": "recording.changed",
        "timestamp": "2026-11-27T12:00:00.000Z",
        "data": {"id": "x", "recording": "a" * 4000},
    }
    with pytest.raises(ValueError, match="too large"):
        body_of(EventType.CHANGED, NOW, id="x" * MAX_BODY_BYTES)


def test_only_2xx_is_success_and_410_is_the_end() -> None:
    for status in (200, 202, 204, 299):
        assert decide(1, Outcome(status), 0).verdict is Verdict.DELIVERED
    for status in (None, 199, 301, 302, 307, 400, 404, 429, 500, 503):
        assert decide(1, Outcome(status), 0).verdict is Verdict.RETRY
    assert decide(1, Outcome(410), 0).verdict is Verdict.GONE


def test_attempts_follow_the_published_schedule_with_jitter_and_then_end() -> None:
    delays = [decide(n, Outcome(500), 0).delay_s for n in range(1, len(DELAYS_S))]
    hour = 3600
    assert delays == [5, 300, 1800, 2 * hour, 5 * hour, 10 * hour, 14 * hour, 20 * hour, 24 * hour]
    assert decide(2, Outcome(500), 1).delay_s == pytest.approx(360)
    assert decide(len(DELAYS_S), Outcome(500), 0).verdict is Verdict.FAILED


def test_a_receiver_may_postpone_the_next_attempt_for_a_day_at_most() -> None:
    assert decide(1, Outcome(429, retry_after_s=60), 0).delay_s == 60
    assert decide(1, Outcome(503, retry_after_s=1), 0).delay_s == 5
    assert decide(1, Outcome(503, retry_after_s=10**9), 0).delay_s == MAX_DELAY_S
    assert retry_after_s("120", NOW) == 120
    assert retry_after_s("Fri, 27 Nov 2026 12:00:30 GMT", NOW) == 30
    assert retry_after_s("Fri, 27 Nov 2026 11:00:00 GMT", NOW) == 0
    for nothing in (None, "", "soon", "-5", "1e9"):
        assert retry_after_s(nothing, NOW) is None


# With a database and a receiver


@pytest.fixture
def receiver(sockets: None) -> Iterator[WebServer]:
    with WebServer() as server:
        yield server


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    dest = parse_location(str(tmp_path_factory.mktemp("dest")))
    database = open_database(dest)
    settings = ServerSettings(allowed_addresses=("127.0.0.0/8",))
    yield Context(dest, None, Settings(), settings, database)
    database.close()


@pytest.fixture(scope="module")
def app(context: Context) -> Iterator[TestClient]:
    with TestClient(create_app(context), base_url="http://localhost") as client:
        yield client


@pytest.fixture
def api(app: TestClient) -> Iterator[TestClient]:
    yield app
    for hook in app.get("/api/v1/webhooks").json():
        app.delete(f"/api/v1/webhooks/{hook['id']}")


def emit(database: Database, event: EventType = EventType.FINISHED, recording: str = "talk.mp3") -> int:
    with database.write() as session:
        return store.emit_recording(session, event, datetime.now(UTC), recording)


def send_due(context: Context) -> int:
    async def run() -> int:
        async with guarded_pool(policy_of(context)) as pool:
            return await Sender(context.database, policy_of(context)).send_due(pool)

    return anyio.run(run)


def bring_forward(database: Database) -> None:
    """Let the time of the next attempt come."""
    with database.write() as session:
        for each in session.query(WebhookDelivery).filter(WebhookDelivery.next_attempt_at.is_not(None)):
            each.next_attempt_at = datetime.now(UTC) - timedelta(seconds=1)


def created(api: TestClient, url: str, **more: Any) -> dict[str, Any]:
    response = api.post("/api/v1/webhooks", json={"url": url, **more})
    assert response.status_code == 201, response.text
    return dict(response.json())


def listed(api: TestClient, hook: dict[str, Any]) -> list[dict[str, Any]]:
    return list(api.get(f"/api/v1/webhooks/{hook['id']}/deliveries").json()["deliveries"])


def test_a_message_reaches_whoever_wants_it_signed_and_once(
    api: TestClient, context: Context, receiver: WebServer
) -> None:
    receiver.replies["/hook"] = Reply(204)
    hook = created(api, receiver.url + "/hook", events=["recording.finished"], folder="2012")
    assert emit(context.database, recording="2012/talk.mp3") == 1
    assert emit(context.database, recording="2013/talk.mp3") == 0
    assert emit(context.database, EventType.DELETED, "2012/talk.mp3") == 0
    assert [send_due(context), send_due(context)] == [1, 0]
    [request] = receiver.requests
    message = Receiver(hook["secret"]).verify(request.body, dict(request.headers))
    assert (message["type"], message["data"]) == (
        "recording.finished",
        {"id": recording_id("2012/talk.mp3"), "recording": "2012/talk.mp3"},
    )
    assert request.headers["content-type"] == "application/json"
    [delivery] = listed(api, hook)
    assert (delivery["state"], delivery["last_status"], delivery["n_attempts"]) == ("delivered", 204, 1)
    assert delivery["message_id"] == request.headers["webhook-id"]


def test_a_failed_attempt_is_repeated_with_the_same_id_and_a_time_of_its_own(
    api: TestClient, context: Context, receiver: WebServer
) -> None:
    receiver.replies["/hook"] = Reply(503, headers={"Retry-After": "600"})
    hook = created(api, receiver.url + "/hook")
    emit(context.database)
    assert [send_due(context), send_due(context)] == [1, 0]
    [delivery] = listed(api, hook)
    wait_s = (datetime.fromisoformat(delivery["next_attempt_at"]) - datetime.now(UTC)).total_seconds()
    assert 550 < wait_s <= 600
    receiver.replies["/hook"] = Reply(302, headers={"Location": "/elsewhere"})
    bring_forward(context.database)
    send_due(context)
    receiver.replies["/hook"] = Reply(200)
    bring_forward(context.database)
    send_due(context)
    assert [request.path for request in receiver.requests] == ["/hook"] * 3
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1
    for request in receiver.requests:
        Receiver(hook["secret"]).verify(request.body, dict(request.headers))
    assert listed(api, hook)[0]["state"] == "delivered"


def test_a_receiver_that_is_gone_gets_nothing_more(api: TestClient, context: Context, receiver: WebServer) -> None:
    receiver.replies["/hook"] = Reply(410)
    hook = created(api, receiver.url + "/hook")
    emit(context.database)
    send_due(context)
    shown = api.get(f"/api/v1/webhooks/{hook['id']}").json()
    assert (shown["enabled"], shown["disabled_because"]) == (False, "The receiver responded with 410 (gone).")
    assert emit(context.database) == 0
    [delivery] = listed(api, hook)
    assert delivery["state"] == "failed"
    again = f"/api/v1/webhooks/{hook['id']}/deliveries/{delivery['id']}/replay"
    assert api.post(again).status_code == 409
    receiver.replies["/hook"] = Reply(200)
    assert api.patch(f"/api/v1/webhooks/{hook['id']}", json={"enabled": True}).json()["enabled"]
    assert api.post(again).json()["message_id"] == delivery["message_id"]
    assert send_due(context) == 1
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1


def test_a_webhook_that_fails_at_all_attempts_is_stopped(
    api: TestClient, context: Context, receiver: WebServer
) -> None:
    hook = created(api, receiver.url + "/nowhere")
    emit(context.database)
    emit(context.database)
    with context.database.write() as session:
        session.query(WebhookDelivery).order_by(WebhookDelivery.id).limit(1).one().n_attempts = len(DELAYS_S) - 1
        session.query(WebhookDelivery).order_by(WebhookDelivery.id.desc()).limit(1).one().next_attempt_at = (
            datetime.now(UTC) + timedelta(hours=1)
        )
    send_due(context)
    assert not api.get(f"/api/v1/webhooks/{hook['id']}").json()["enabled"]
    assert [each["state"] for each in listed(api, hook)] == ["cancelled", "failed"]


def test_what_was_about_to_be_sent_is_sent_after_a_crash(
    api: TestClient, context: Context, receiver: WebServer
) -> None:
    receiver.replies["/hook"] = Reply(200)
    created(api, receiver.url + "/hook")
    emit(context.database)
    with context.database.write() as session:  # a server claims it and dies
        assert len(store.claim(session, datetime.now(UTC), 8)) == 1
    assert send_due(context) == 0  # it might still be at work
    bring_forward(context.database)
    assert send_due(context) == 1


def test_after_a_rotation_both_secrets_are_valid_for_a_day(
    api: TestClient, context: Context, receiver: WebServer
) -> None:
    receiver.replies["/hook"] = Reply(200)
    hook = created(api, receiver.url + "/hook")
    mine = new_secret()
    rotated = api.post(f"/api/v1/webhooks/{hook['id']}/rotate-secret", json={"secret": mine}).json()
    assert rotated["secret"] == mine
    tested = api.post(f"/api/v1/webhooks/{hook['id']}/test").json()
    assert (tested["type"], tested["state"], tested["last_status"]) == ("webhook.test", "delivered", 200)
    for secret in (hook["secret"], mine):
        Receiver(secret).verify(receiver.requests[-1].body, dict(receiver.requests[-1].headers))
    with context.database.write() as session:
        [stored] = store.webhooks(session)
        stored.previous_until = datetime.now(UTC) - timedelta(seconds=1)
    api.post(f"/api/v1/webhooks/{hook['id']}/test")
    with pytest.raises(WebhookVerificationError):
        Receiver(hook["secret"]).verify(receiver.requests[-1].body, dict(receiver.requests[-1].headers))


def test_a_secret_is_shown_once(api: TestClient) -> None:
    hook = created(api, "https://example.org/hook")
    assert hook["secret"].startswith("whsec_")
    for shown in (api.get("/api/v1/webhooks").text, api.get(f"/api/v1/webhooks/{hook['id']}").text):
        assert "secret" not in shown
    assert api.delete(f"/api/v1/webhooks/{hook['id']}").status_code == 204
    assert api.get("/api/v1/webhooks").json() == []
    assert api.get(f"/api/v1/webhooks/{hook['id']}").status_code == 404


@pytest.mark.parametrize(
    "url", ["http://example.org/hook", "ftp://example.org", "https://a:b@example.org/", "file:///etc/passwd", "x"]
)
def test_a_url_that_is_not_https_is_refused(api: TestClient, url: str) -> None:
    response = api.post("/api/v1/webhooks", json={"url": url})
    assert (response.status_code, response.json()["code"]) == (422, "url_refused")


def test_what_no_database_takes_is_refused_before(api: TestClient) -> None:
    for url, folder in (("https://example.org/\0", ""), ("https://example.org/", "a\0b")):
        assert api.post("/api/v1/webhooks", json={"url": url, "folder": folder}).status_code == 422
    assert api.get("/api/v1/webhooks/wh_%00").status_code == 422


def test_nothing_is_sent_to_a_private_address(api: TestClient, context: Context, receiver: WebServer) -> None:
    hook = created(api, f"https://localhost:{receiver.port}/hook", events=["run.finished"])
    for url in (f"https://127.0.0.1:{receiver.port}/", "https://10.0.0.1/", "https://[::1]/", "https://2130706433/"):
        created(api, url, events=["run.finished"])
    assert emit(context.database, EventType.RUN_FINISHED, "") == 5

    async def run() -> int:
        policy = policy_of(Context(context.dest, None, context.settings, ServerSettings(), context.database))
        async with guarded_pool(policy) as pool:
            return await Sender(context.database, policy).send_due(pool)

    assert anyio.run(run) == 5
    assert not receiver.requests
    assert "not a public address" in listed(api, hook)[0]["last_error"]


def test_old_messages_are_forgotten_unless_they_are_on_their_way(context: Context, api: TestClient) -> None:
    hook = created(api, "https://example.org/hook")
    old = datetime.now(UTC) - timedelta(days=31)
    with context.database.write() as session:
        for _ in range(2):
            store.emit_recording(session, EventType.CHANGED, old, "a.mp3")
        session.query(WebhookDelivery).order_by(WebhookDelivery.id).limit(1).one().state = store.DELIVERED
        store.prune(session, datetime.now(UTC))
    assert [each["state"] for each in listed(api, hook)] == ["pending"]


def test_the_server_sends_in_the_background(context: Context, api: TestClient, receiver: WebServer) -> None:
    receiver.replies["/hook"] = Reply(200)
    hook = created(api, receiver.url + "/hook")
    emit(context.database)
    with Sender(context.database, policy_of(context), poll_s=0.05).running():
        wait_until(lambda: listed(api, hook)[0]["state"] == "delivered", what="the delivery")


def test_what_people_do_to_a_recording_is_announced_and_what_they_do_to_a_job_is_not(
    context: Context, api: TestClient
) -> None:
    hook = created(api, "https://example.org/hook")
    principal = Principal("machine", "this machine", frozenset())
    for action, details in (
        (Action.CORRECTED, {}),
        (Action.DELETED, {}),
        (Action.DELETED, {"job": "1"}),
        (Action.RESULT_READ, {}),
    ):
        note(context, principal, action, recording="talk.mp3", **details)
    assert [each["type"] for each in listed(api, hook)] == ["recording.deleted", "recording.changed"]


def test_the_end_of_a_run_is_announced_if_there_is_a_server(context: Context, api: TestClient, tmp_path: Path) -> None:
    hook = created(api, "https://example.org/hook", events=["run.finished"])
    progress = RunProgress(Scan(missing=Backlog([])), LengthEstimate())
    announce_run(context.dest, RunResult(progress, "faster-whisper", 1.0, interrupted=False, logs=tmp_path))
    [delivery] = listed(api, hook)
    assert json.loads(delivery["body"])["data"] == {"n_done": 0, "n_failed": 0, "n_left": 0}
    announce_run(parse_location(str(tmp_path)), RunResult(progress, "", 1.0, interrupted=False, logs=tmp_path))
    assert not list(tmp_path.iterdir())
