"""Quick tests are found by what they use, and stopped where they use more."""

import socket
import subprocess

import pytest
from support import quick, recordings


def makes_sound() -> None:
    recordings.ffmpeg_program()


def through_a_helper() -> None:
    makes_sound()


def pure() -> int:
    return len("nothing")


def test_a_test_that_uses_nothing_slow_is_quick(request: pytest.FixtureRequest) -> None:
    assert "quick" in request.keywords


def test_a_test_that_uses_a_slow_module_is_not_quick() -> None:
    assert not quick.uses_slow_module(pure)
    assert quick.uses_slow_module(makes_sound)
    assert quick.uses_slow_module(through_a_helper)


@pytest.mark.usefixtures("ffmpeg")
def test_a_test_that_requests_a_slow_fixture_is_not_quick(request: pytest.FixtureRequest) -> None:
    assert "quick" not in request.keywords


def test_a_quick_test_that_starts_ffmpeg_fails() -> None:
    with pytest.raises(pytest.fail.Exception, match="started ffmpeg"):
        subprocess.run(["ffmpeg", "-version"], check=False)


@pytest.mark.usefixtures("sockets")
def test_a_quick_test_that_opens_a_network_socket_fails() -> None:
    with quick.guarded(), socket.socket() as client, pytest.raises(pytest.fail.Exception, match="network socket"):
        client.connect(("127.0.0.1", 9))
