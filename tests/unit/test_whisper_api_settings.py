"""The settings of whisper_api are taken over, or refused with a sentence."""

import logging
from pathlib import Path
from unittest.mock import patch

import pytest
import structlog

from nightscribe.log import RotatedFile, configure_logging
from nightscribe.server.compat.whisper_api_settings import taken_over
from nightscribe.server.config import ServerSettings
from nightscribe.shared.errors import SetupError
from nightscribe.shared.settings import Settings

ALL = {
    "PORT": "3001",
    "LISTEN": "127.0.0.1",
    "LOAD_MODEL_ON_STARTUP": "0",
    "UNLOAD_MODEL_AFTER_S": "300",
    "DELETE_RESULTS_AFTER_M": "30",
    "REFRESH_EXPIRATION_TIME_ON_USAGE": "0",
    "USE_GPU_IF_AVAILABLE": "0",
    "MAX_MODEL": "small",
    "MAX_TASK_QUEUE_SIZE": "64",
    "CPU_FALLBACK_MODEL": "base",
    "LOG_DIR": "/var/log/whisper",
    "LOG_FILE": "api.log",
    "LOG_LEVEL_CONSOLE": "WARNING",
    "LOG_LEVEL_FILE": "debug",
    "LOG_ROTATION_WHEN": "D",
    "LOG_ROTATION_INTERVAL": "3",
    "LOG_ROTATION_BACKUP_COUNT": "7",
}


def test_every_setting_is_taken_over() -> None:
    taken = taken_over(ALL | {"HOME": "/root", "RUN_RESULT_EXPIRY_CHECK_M": "5", "LOG_FORMAT": "{message}"})
    assert taken.values == {
        "port": "3001",
        "host": "127.0.0.1",
        "load_late": True,
        "unload_after_s": "300",
        "results_minutes": "30",
        "no_refresh": True,
        "no_gpu": True,
        "model": "small",
        "largest_model": "small",
        "max_waiting": "64",
        "log_file": "/var/log/whisper/api.log",
        "log_level": "debug",
        "log_file_hours": 72,
        "log_files": "7",
    }
    assert set(taken.variables) == set(ALL)
    assert [note.partition(" ")[0] for note in taken.notes] == ["RUN_RESULT_EXPIRY_CHECK_M", "LOG_FORMAT"]
    known = ServerSettings.model_fields | Settings.model_fields
    assert set(taken.values) <= set(known)
    ServerSettings(**{name: value for name, value in taken.values.items() if name in ServerSettings.model_fields})


def test_nothing_is_taken_over_where_nothing_is_set() -> None:
    for environment in ({}, {"PORT": ""}, dict.fromkeys(("LOAD_MODEL_ON_STARTUP", "USE_GPU_IF_AVAILABLE"), "1")):
        assert not taken_over(environment).values
    assert taken_over({"CPU_FALLBACK_MODEL": "tiny"}).values == {"cpu_model": "tiny"}
    assert taken_over({"CPU_FALLBACK_MODEL": "base", "DEVELOP_MODE": "1"}).values == {"model": "tiny"}
    assert taken_over({"LOG_FILE": "a.log"}).values == {"log_file": "data/a.log"}


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("AUTHORIZED_MAILS", "a@example.org", "nightscribe token create"),
        ("DEVELOP_MODE", "yes", "must be 0 or 1"),
        ("LOG_LEVEL_FILE", "loud", "must be one of DEBUG"),
        ("LOG_ROTATION_WHEN", "hourly", "must be S, M, H"),
        ("LOG_ROTATION_INTERVAL", "-1", "whole number"),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_a_sentence(name: str, value: str, why: str) -> None:
    with pytest.raises(SetupError, match=f"{name}.*{why}"):
        taken_over({name: value})


def test_a_log_file_is_begun_anew_and_old_ones_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "server.log"
    stream = RotatedFile(path, hours=1, n_kept=2)
    configure_logging("info", stream)
    now = path.stat().st_mtime
    for n in range(5):
        with patch("time.time", return_value=now + n * 3601):
            structlog.get_logger().info("something.happened", n=n)
    assert '"n": 4' in path.read_text()
    assert len(list(path.parent.iterdir())) == 3
    stream._handler.close()
    logging.shutdown([])
