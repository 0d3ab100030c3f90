"""The APIs that other programs speak, as those programs use them: a served app, real queues, one real engine."""

import json
import socket
import subprocess
import threading
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import openai
import pytest
import uvicorn
from openai import OpenAI
from support.command import clean
from support.servers import SqsServer
from support.serving import Desk
from support.waiting import wait_until
from support.web import Reply, WebServer
from support.workplace import unhurried, working

from nightscribe._version import __version__
from nightscribe.server.app import create_app
from nightscribe.server.compat import waiting
from nightscribe.server.compat.pcm import header_for
from nightscribe.server.config import ServerSettings
from nightscribe.server.context import Context
from nightscribe.server.database import credentials
from nightscribe.server.jobs.model import Busy, State
from nightscribe.server.jobs.service import Jobs
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.folder.location import FolderLocation
from nightscribe.worker.engines.base import Recognizer

SAID = "It was the best of times"


@dataclass
class Served:
    """A served app."""

    url: str
    token: str
    context: Context
    jobs: Jobs
    desk: Desk
    hold: threading.Event

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let the worker do nothing until the context ends."""
        self.hold.clear()
        try:
            yield
        finally:
            self.hold.set()

    @contextmanager
    def client(self, api_key: str = "") -> Iterator[OpenAI]:
        """OpenAI's own client."""
        with OpenAI(base_url=f"{self.url}/v1", api_key=api_key or self.token) as client:
            yield client

    def curl(self, path: str, *arguments: str) -> "Curled":
        """What curl gets, with the token."""
        command = ["curl", "-sS", "-i", "-H", f"Authorization: Bearer {self.token}", *arguments, self.url + path]
        output = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
        head, _, body = output.partition(b"\r\n\r\n")
        while head.startswith(b"HTTP/1.1 100"):
            head, _, body = body.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return Curled(int(status.split(" ")[1]), headers, body.decode())


@dataclass
class Curled:
    """A response."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


class _Held:
    """A real engine that can be made to wait."""

    def __init__(self, recognizer: Recognizer, go_on: threading.Event) -> None:
        self._recognizer = recognizer
        self._go_on = go_on

    def recognize(self, windows: Any, request: Any) -> Any:
        """Pass the windows on."""
        self._go_on.wait(30)
        return self._recognizer.recognize(windows, request)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._recognizer, name)


@contextmanager
def serving(context: Context) -> Iterator[str]:
    """Serve an app on loopback until the context ends; yields its URL."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(context), log_config=None, log_level="critical", timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        wait_until(lambda: server.started, what="the server")
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@pytest.fixture(scope="module")
def client(served: "Served") -> Iterator[OpenAI]:
    """OpenAI's own client, with the token."""
    with served.client() as made:
        yield made


@pytest.fixture(scope="module")
def served(ministack: SqsServer, loaded: Recognizer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An app that demands a token, with a worker on its interactive queue that has tiny.en in memory."""
    with pytest.MonkeyPatch.context() as patch:
        clean(patch)
        for name, value in ministack.environment.items():
            patch.setenv(name, value)
        patch.setattr("nightscribe.worker.loop.POLL_S", 1)
        patch.setattr("nightscribe.worker.status_reporter.REPORT_EVERY_S", 0.1)
        unhurried(patch)
        desk = Desk.at(tmp_path_factory.mktemp("compat"))
        go_on = threading.Event()
        go_on.set()
        with desk.open() as jobs, working(desk.interactive.worker(_Held(loaded, go_on))):
            context = Context(
                dest=FolderLocation(desk.batch.dest),
                source=FolderLocation(desk.batch.source),
                settings=Settings(model="tiny.en", models=("tiny.en", "base")),
                server=ServerSettings(
                    require_login=True, sync_minutes=1, fetch_urls=True, allowed_addresses=("127.0.0.0/8",)
                ),
                database=desk.database,
                jobs=jobs,
            )
            with desk.database.write() as session:
                made = credentials.create_token(
                    session, "tests", scopes=["write"], folder="", expires_at=None, created_by="tests"
                )
            with serving(context) as url:
                yield Served(url, made.secret, context, jobs, desk, go_on)


# OpenAI


def test_openais_client_gets_every_format(client: OpenAI, clips: list[Path]) -> None:
    transcriptions = client.audio.transcriptions
    plain = transcriptions.create(model="whisper-1", file=clips[0], language="en")
    assert plain.text.startswith(SAID)
    assert plain.usage and plain.usage.to_dict() == {"type": "duration", "seconds": 3.0}
    assert plain.to_dict()["languages"] == [{"code": "en"}]
    text = transcriptions.create(model="tiny.en", file=clips[0], response_format="text")
    assert text == plain.text + "\n"
    assert transcriptions.create(model="whisper-1", file=clips[0], response_format="srt").startswith("1\n00:00:00,")
    assert transcriptions.create(model="whisper-1", file=clips[0], response_format="vtt").startswith("WEBVTT\n\n")


def test_verbose_json_has_segments_or_words_or_both(client: OpenAI, clips: list[Path]) -> None:
    transcriptions = client.audio.transcriptions
    usual = transcriptions.create(model="whisper-1", file=clips[0], response_format="verbose_json")
    assert (usual.language, usual.duration, usual.words) == ("english", 3.0, None)
    assert usual.segments
    assert usual.segments[0].text == f" {usual.text}"
    assert (usual.segments[0].id, usual.segments[0].tokens, usual.segments[0].temperature) == (0, [], 0.0)
    assert -1 < usual.segments[0].avg_logprob < 0
    words = transcriptions.create(
        model="whisper-1", file=clips[0], response_format="verbose_json", timestamp_granularities=["word"]
    )
    assert words.segments is None
    assert words.words
    assert [word.word for word in words.words][:4] == ["It", "was", "the", "best"]
    assert all(0 <= word.start <= word.end <= 3.0 for word in words.words)
    both = transcriptions.create(
        model="whisper-1", file=clips[0], response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    assert both.segments
    assert both.words


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # whisper-1, at OpenAI
def test_a_translation_is_in_english(client: OpenAI, clips: list[Path]) -> None:
    done = client.audio.translations.create(model="whisper-1", file=clips[0], response_format="verbose_json")
    assert (done.language, done.to_dict()["task"]) == ("english", "translate")
    assert done.text.startswith(SAID)


def test_a_stream_yields_deltas_and_the_whole_text(client: OpenAI, clips: list[Path]) -> None:
    stream = client.audio.transcriptions.create(model="whisper-1", file=clips[1], stream=True)
    *deltas, done = stream
    assert [event.type for event in deltas] == ["transcript.text.delta"] * len(deltas)
    assert deltas
    assert done.type == "transcript.text.done"
    assert "".join(event.delta for event in deltas) == done.text


def test_models_are_listed_and_others_are_not_found(client: OpenAI) -> None:
    models = client.models
    assert [model.id for model in models.list()] == ["tiny.en", "base", "whisper-1"]
    for name in ("whisper-1", "gpt-4o-transcribe", "Systran/faster-whisper-base"):
        assert models.retrieve(name).id == name
    with pytest.raises(openai.NotFoundError, match=r"Request one of these: tiny\.en, base\."):
        models.retrieve("large-v3")


def test_a_wrong_key_is_refused_before_the_upload(served: Served, clips: list[Path]) -> None:
    for key in ("sk-wrong", "ns_wrong"):
        with served.client(key) as client, pytest.raises(openai.AuthenticationError) as caught:
            client.audio.transcriptions.create(model="whisper-1", file=clips[0])
        assert (caught.value.code, caught.value.type) == ("invalid_api_key", "invalid_request_error")


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"response_format": "docx"}, "response_format"),
        ({"language": "klingon"}, "language"),
        ({"extra_body": {"languages": ["en", "klingon"]}}, "languages"),
        ({"temperature": 2}, "temperature"),
        ({"include": ["logprobs"]}, "include"),
        ({"timestamp_granularities": ["word"]}, "timestamp_granularities"),
        ({"response_format": "srt", "stream": True}, "stream"),
        ({"known_speaker_names": ["Anna"]}, "known_speaker_names"),
        ({"model": ""}, "model"),
    ],
)
def test_what_cannot_be_done_is_refused_and_the_parameter_named(
    served: Served, client: OpenAI, clips: list[Path], changes: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.transcriptions.create(**{"model": "whisper-1", "file": clips[0]} | changes)
    assert caught.value.param == param
    assert caught.value.body
    assert set(caught.value.body) == {"message", "type", "param", "code"}
    assert not list(served.jobs.spool.abandoned(-10))  # nothing of the upload stays


def test_a_hint_without_effect_is_named(client: OpenAI, clips: list[Path]) -> None:
    raw = client.audio.transcriptions.with_raw_response.create(
        model="whisper-1", file=clips[0], temperature=0.4, chunking_strategy="auto",
        extra_body={"naïve\r\nX-Evil: 1": "1"},
    )  # fmt: skip
    assert raw.headers["x-ignored-parameters"] == "temperature"


def test_a_prompt_and_keywords_reach_the_engine(served: Served, client: OpenAI, clips: list[Path]) -> None:
    raw = client.audio.transcriptions.with_raw_response.create(
        model="whisper-1",
        file=clips[0],
        prompt="  A tale\nby Dickens. " + "x" * 600,
        extra_body={"keywords": ["Manette"]},
    )
    assert "x-ignored-parameters" not in raw.headers
    asked = [job.options for job in served.jobs.list(limit=100) if job.options.hotwords == ("Manette",)]
    assert asked and len(asked[0].prompt) == 500 and asked[0].prompt.endswith("xxx")


def test_a_file_that_is_no_recording_is_refused_once(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="text, not sound") as caught:
        client.audio.transcriptions.create(model="whisper-1", file=("talk.mp3", b"These are only words.\n" * 99))
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert caught.value.code == "text_not_sound"
    with pytest.raises(openai.BadRequestError):
        client.audio.transcriptions.create(
            model="whisper-1", file=("talk.mp3", b"These are only words.\n" * 99), stream=True
        )


def test_a_recording_that_is_too_long_is_pointed_elsewhere(served: Served, client: OpenAI) -> None:
    minutes = header_for(b"") + bytes(2 * 16_000 * 70)
    with pytest.raises(openai.APIStatusError) as caught:
        client.audio.transcriptions.create(model="whisper-1", file=("long.wav", minutes))
    assert (caught.value.status_code, caught.value.code) == (413, "too_long")
    assert "/api/v1/jobs" in caught.value.message
    assert served.desk.files() == []


def test_errors_of_the_framework_have_openais_shape(served: Served) -> None:
    for path, arguments, status in (
        ("/v1/nothing", (), 404),
        ("/v1/audio/transcriptions", (), 405),
        ("/v1/audio/transcriptions", ("-d", "x=1"), 415),
        ("/v1/audio/transcriptions", ("-F", "model=whisper-1"), 400),
    ):
        response = served.curl(path, *arguments)
        assert response.status == status
        assert set(response.json["error"]) == {"message", "type", "param", "code"}


def test_a_full_queue_is_worth_a_retry_only_if_it_is_short(served: Served, clips: list[Path]) -> None:
    for seconds, expected, should_retry in ((7.0, 429, None), (3600.0, 503, "false")):
        busy = Busy("The server is busy: 128 requests wait.", retry_after_s=seconds)
        with patch.object(served.jobs, "require_room", side_effect=busy):
            response = served.curl("/v1/audio/transcriptions", "-F", "model=whisper-1", "-F", f"file=@{clips[0]}")
            assert (response.status, response.headers["retry-after"]) == (expected, f"{seconds:.0f}")
            assert response.headers.get("x-should-retry") == should_retry
            assert response.json["error"]["code"] == "busy"
            assert served.curl("/asr", "-F", f"audio_file=@{clips[0]}").status == 429


def test_a_client_that_leaves_costs_no_work_unless_it_comes_back(
    served: Served, clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "GRACE_S", 0.2)
    url, key = f"{served.url}/v1/audio/transcriptions", f"Authorization: Bearer {served.token}"
    form = ("-F", "model=whisper-1", "-F", f"file=@{clips[3]};filename=left.wav")
    with served.held():
        client = subprocess.Popen(["curl", "-sS", "-H", key, *form, url], stdout=subprocess.DEVNULL)
        try:
            wait_until(lambda: any(job.name == "left.wav" for job in served.jobs.list()), what="the job")
        finally:
            client.kill()
            client.wait()
        [job] = [job for job in served.jobs.list() if job.name == "left.wav"]
        assert served.jobs.wait(job.id, 30).state is State.CANCELLED


# whisper-asr-webservice, as in its README


@pytest.mark.parametrize("output", ["txt", "srt", "json"])
def test_asr_returns_every_output_as_plain_text(served: Served, clips: list[Path], output: str) -> None:
    form = ("-X", "POST", "-H", "content-type: multipart/form-data", "-F", f"audio_file=@{clips[0]}")
    response = served.curl(f"/asr?output={output}&word_timestamps=true&language=en", *form)
    assert response.status == 200
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["asr-engine"] == "faster_whisper"
    assert response.headers["content-disposition"] == f'attachment; filename="0.wav.{output}"'
    assert SAID in response.body
    if output == "json":
        assert set(response.json) == {"text", "segments", "language"}
        assert response.json["segments"][0]["words"][0]["word"].strip() == "It"


def test_bazarr_sends_samples_without_a_header(served: Served, clips: list[Path], tmp_path: Path) -> None:
    with wave.open(str(clips[0])) as file:
        samples = file.readframes(file.getnframes())
    raw = tmp_path / "audio_file"
    raw.write_bytes(samples)
    asked = "encode=false&output=srt&task=transcribe&language=en&video_file=%2Ffilms%2Fa.mkv"
    response = served.curl(f"/asr?{asked}", "-F", f"audio_file=@{raw}")
    assert response.body.startswith("1\n00:00:00,")
    assert SAID in response.body
    detected = served.curl("/detect-language?encode=false", "-F", f"audio_file=@{raw}")
    assert detected.json == {"detected_language": "english", "language_code": "en", "confidence": None}


def test_a_language_is_detected_where_somebody_speaks(served: Served, clips: list[Path], tmp_path: Path) -> None:
    with wave.open(str(clips[0])) as file:
        samples = file.readframes(file.getnframes())
    silence = bytes(2 * 16_000 * 35)
    (tmp_path / "late").write_bytes(silence + samples * 3 + silence[: 2 * 16_000 * 14])
    detected = served.curl("/detect-language?encode=false", "-F", f"audio_file=@{tmp_path / 'late'}")
    assert detected.json["language_code"] == "en"
    (tmp_path / "never").write_bytes(silence[: 2 * 16_000 * 3])
    silent = served.curl("/detect-language?encode=false", "-F", f"audio_file=@{tmp_path / 'never'}")
    assert (silent.status, silent.json["code"]) == (422, "no_speech")
    assert not list(served.jobs.spool.abandoned(-10))


def test_parameters_that_speakr_sends_are_taken_or_ignored(served: Served, clips: list[Path]) -> None:
    asked = "encode=true&task=transcribe&output=json&hotwords=Dickens&return_speaker_embeddings=true&model=huge"
    response = served.curl(f"/asr?{asked}&min_speakers=&max_speakers=", "-F", f"audio_file=@{clips[0]};type=audio/wav")
    assert response.status == 200, response.body
    assert response.json["text"].strip().startswith(SAID)


def test_asr_reports_errors_as_its_clients_expect(served: Served, tmp_path: Path) -> None:
    (tmp_path / "notes.mp3").write_text("only words\n" * 99)
    for path, arguments, status in (
        ("/asr", ("-F", f"audio_file=@{tmp_path / 'notes.mp3'}"), 400),
        ("/asr?output=docx", ("-F", f"audio_file=@{tmp_path / 'notes.mp3'}"), 422),
        ("/asr?language=klingon", ("-F", f"audio_file=@{tmp_path / 'notes.mp3'}"), 422),
        ("/asr", ("-F", "x=1"), 400),
        ("/detect-language", ("-F", f"audio_file=@{tmp_path / 'notes.mp3'}"), 422),
    ):
        response = served.curl(path, *arguments)
        assert (response.status, set(response.json)) == (status, {"detail", "code"}), response.body


# whisper_api, as in its README and code


def test_a_task_is_submitted_followed_and_read(served: Served, clips: list[Path]) -> None:
    task = served.curl("/api/v1/transcribe?language=en", "-F", f"file=@{clips[0]};filename=a talk.wav").json
    assert task["status"] in ("pending", "processing", "finished")
    assert task["task_type"] == "transcribe"
    wait_until(
        lambda: served.curl(f"/api/v1/status?task_id={task['task_id']}").json["status"] == "finished",
        what="the task",
    )
    done = served.curl(f"/api/v1/status?task_id={task['task_id']}").json
    assert done["transcript"].startswith(SAID)
    assert (done["source_language"], done["used_model_size"]) == ("en", "tiny.en")
    assert done["processing_duration"] > 0
    srt = served.curl(f"/api/v1/srt?task_id={task['task_id']}")
    assert srt.body.startswith("1\n00:00:00,")
    assert srt.headers["content-disposition"] == "attachment; filename*=UTF-8''a%20talk.wav_en.srt"


def test_an_unknown_task_is_400(served: Served) -> None:
    for path in ("status", "srt"):
        for task_id in ("nothing", "0" * 32, "../x", "%00"):
            response = served.curl(f"/api/v1/{path}?task_id={task_id}")
            assert (response.status, response.json["detail"]) == (400, "task_id not valid")


def test_the_server_says_what_it_is_and_does(served: Served) -> None:
    assert served.curl("/api/v1/version").json == {"version": __version__}
    state = served.curl("/api/v1/decoder_status").json
    assert (state["max_model_to_use"], state["tasks_in_queue"], state["currently_busy"]) == ("tiny.en", 0, False)
    assert served.curl("/api/v1/userinfo", "-H", "X-Email: root@example.org").json["email"] is None


# A URL, in our own API


def test_a_url_is_fetched_and_becomes_a_job(served: Served, clips: list[Path]) -> None:
    def submit(**fields: Any) -> Curled:
        return served.curl("/api/v1/jobs/from-url", "-H", "Content-Type: application/json", "-d", json.dumps(fields))

    with WebServer() as web:
        web.replies["/a%20talk.wav"] = Reply(body=clips[2].read_bytes())
        web.replies["/away"] = Reply(302, headers={"Location": "http://169.254.169.254/latest/meta-data/"})
        accepted = submit(url=web.url + "/a%20talk.wav", keep=False, interactive=True)
        assert (accepted.status, accepted.json["name"]) == (202, "a talk.wav"), accepted.body
        assert served.jobs.wait(accepted.json["id"], 30).state is State.FINISHED
        for url, code in (
            (web.url + "/away", "url_refused"),
            (web.url + "/nowhere", "url_failed"),
            ("x", "url_refused"),
        ):
            refused = submit(url=url)
            assert (refused.status, refused.json["code"]) == (422, code)
    assert not list(served.jobs.spool.abandoned(-10))
