"""The test support does what it says: a fault test proves nothing with a server that did not die."""

import subprocess
import time
import uuid
import wave
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from support import recordings, servers
from support.servers import SqsServer
from support.waiting import wait_until


def decoded_s(path: Path) -> float:
    """Seconds of sound that ffmpeg finds in the file."""
    program = recordings.ffmpeg_program()
    command = [program, "-v", "error", "-i", str(path), "-f", "s16le", "-ac", "1", "-ar", "16000", "-"]
    return len(subprocess.run(command, capture_output=True, check=True).stdout) / 2 / 16_000


def test_the_environment_leads_boto3_to_the_server(sqs_server: SqsServer, sqs_environment: dict[str, str]) -> None:
    """A plain client, configured by nothing but the environment, sees what the server's own client made."""
    name = f"support-{uuid.uuid4().hex}"
    url = sqs_server.client().create_queue(QueueName=name)["QueueUrl"]
    assert url.startswith(sqs_server.endpoint_url)
    assert boto3.client("sqs").list_queues(QueueNamePrefix=name)["QueueUrls"] == [url]


def test_a_killed_server_comes_back_empty_on_the_same_port(sqs_server: SqsServer) -> None:
    """Killed, it refuses connections; started again, it answers at the same address and knows no queue."""
    client = sqs_server.client()
    client.create_queue(QueueName=f"support-{uuid.uuid4().hex}")
    endpoint_url = sqs_server.endpoint_url
    sqs_server.kill()
    assert not sqs_server.running
    with pytest.raises(EndpointConnectionError):
        client.list_queues()
    sqs_server.start()
    assert sqs_server.endpoint_url == endpoint_url
    assert not client.list_queues().get("QueueUrls")


def test_a_stopped_server_ends(tmp_path: Path) -> None:
    """SIGTERM is enough, and stopping twice is no error."""
    server = servers.ministack(tmp_path)
    server.start()
    server.stop()
    server.stop()
    assert not server.running


def test_a_server_on_a_taken_port_is_not_mistaken_for_the_one_there(ministack: SqsServer, tmp_path: Path) -> None:
    """The server that already has the port answers, and start() still says that its own did not come up."""
    second = servers.ministack(tmp_path, port=ministack.port)
    with pytest.raises(AssertionError, match="ended while starting"):
        second.start()
    assert not second.running
    assert ministack.running


def test_the_speech_is_there(speech: Path) -> None:
    """Both recordings decode to the length that stands beside their text."""
    assert decoded_s(speech) == pytest.approx(recordings.TWO_CITIES_DURATION_S, abs=0.01)
    assert decoded_s(recordings.beckett()) == pytest.approx(recordings.BECKETT_DURATION_S, abs=0.01)


@pytest.mark.parametrize("extension", ["wav", "flac", "mp3", "m4a", "ogg", "mp4"])
def test_clips_have_the_length_asked_for(speech: Path, tmp_path: Path, extension: str) -> None:
    """Whatever the format; the lossy ones pad their frames."""
    clip = recordings.cut(speech, tmp_path / f"clip.{extension}", 5.0, 3.0)
    assert decoded_s(clip) == pytest.approx(3.0, abs=0.1)


@pytest.mark.parametrize("make", [recordings.silence, recordings.tone, recordings.noise])
def test_synthetic_sound_has_the_length_asked_for(tmp_path: Path, make: Callable[..., Path]) -> None:
    """Silence, tone and noise."""
    assert decoded_s(make(tmp_path / "sound.wav", 1.5)) == pytest.approx(1.5)


def test_a_truncated_wav_claims_twice_what_it_holds(tmp_path: Path) -> None:
    """The header says two seconds, the samples last one."""
    path = recordings.truncated_wav(tmp_path / "truncated.wav")
    with wave.open(str(path)) as header:
        assert header.getnframes() / header.getframerate() == pytest.approx(2.0)
    assert decoded_s(path) == pytest.approx(1.0)


def test_a_header_only_wav_holds_nothing(tmp_path: Path) -> None:
    """It is a WAV file, and there is no sound in it."""
    assert decoded_s(recordings.header_only_wav(tmp_path / "header.wav")) == 0.0


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (recordings.video_without_sound, "silent.mp4"),
        (recordings.text_named_mp3, "text.mp3"),
        (recordings.jpeg_named_mp3, "picture.mp3"),
    ],
)
def test_what_is_no_recording_has_no_sound(tmp_path: Path, make: Callable[..., Path], name: str) -> None:
    """ffmpeg decodes no audio from any of them."""
    with pytest.raises(subprocess.CalledProcessError):
        decoded_s(make(tmp_path / name))


def test_wait_until_returns_what_it_waited_for() -> None:
    """The first true answer is handed back."""
    answers = iter([None, 0, "here"])
    assert wait_until(lambda: next(answers), 5.0, "an answer") == "here"


def test_wait_until_says_what_it_waited_for() -> None:
    """In vain, and not for much longer than it was told to."""
    began = time.monotonic()
    with pytest.raises(AssertionError, match=r"waited 0\.1 s in vain for the moon"):
        wait_until(lambda: False, 0.1, "the moon")
    assert time.monotonic() - began < 30
