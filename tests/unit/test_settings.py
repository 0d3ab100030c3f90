"""Settings from the environment and the command line, and what is said when they are wrong."""

import math
import os
import re
from pathlib import Path

import pytest

from nightscribe.services import preflight
from nightscribe.shared.errors import SetupError
from nightscribe.shared.process.cores import cpu_limit
from nightscribe.shared.settings import ENV_PREFIX, Settings, load_settings, to_environment

NOT_DEFAULT = {
    "model": "small",
    "engine": "openai-whisper",
    "language": "vi",
    "languages": ("ca", "vi"),
    "language_per_window": True,
    "task": "translate",
    "speakers": "auto",
    "min_speakers": 2,
    "max_speakers": 4,
    "no_voiceprints": True,
    "tracks": "2",
    "formats": ("json", "txt"),
    "subtitles": "netflix",
    "line_chars": 37,
    "lines": 1,
    "word_timestamps": True,
    "translate_to": "en",
    "prompt": "A talk on PostgreSQL, by Dr. Nguyễn.",
    "hotwords": ("Al-Fayoum", "São Paulo"),
    "beam_size": 3,
    "compute_type": "float32",
    "condition_on_previous": True,
    "initial_silence": 0.5,
    "workers": 7,
    "threads": 2,
    "batch_size": 8,
    "models_dir": Path("/models with spaces"),
    "models": ("small", "/models/ours"),
    "queue_secret": ("new secret of ours", "old secret of ours"),
    "queue_secret_file": "/run/secrets/queue",
    "load_late": True,
    "unload_after_s": 60.0,
    "settle_s": 0.25,
    "poll_s": 0.75,
    "queue_name": "other.fifo",
    "interactive": True,
    "max_queued_jobs": 12,
    "visibility_timeout_s": 61.5,
    "heartbeat_s": 2.5,
    "max_receives": 5,
    "retry_delay_s": 0.5,
    "log_level": "debug",
    "metrics_port": 9464,
    "audio_column": "wav",
    "layout": "librispeech",
    "follow_links": True,
    "allowed_hours": 2.5,
    "forget_after_days": 30,
    "s3_sse": "aws:kms",
    "s3_kms_key": "alias/ours",
    "s3_requester_pays": True,
    "cache_gb": 0.5,
}


def test_without_any_variable_the_defaults_are_what_the_documents_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    made = load_settings()
    assert (made.model, made.engine, made.language, made.task) == ("base", "auto", "auto", "transcribe")
    assert made.formats == ("txt", "vtt", "srt")
    assert (made.visibility_timeout_s, made.heartbeat_s, made.max_receives, made.max_queued_jobs) == (120, 30, 3, 5000)
    assert made.models_dir == Path("/home/me/.cache/nightscribe/models")


def test_there_is_a_worker_for_each_core_this_process_may_use() -> None:
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system does not tell")
    limit = cpu_limit()
    may_use = len(os.sched_getaffinity(0))
    assert load_settings().workers == (may_use if limit is None else min(may_use, math.ceil(limit)))


def test_every_setting_is_tried_here() -> None:
    assert set(NOT_DEFAULT) == set(Settings.model_fields)


@pytest.mark.parametrize("name", NOT_DEFAULT)
def test_a_setting_is_read_from_its_variable(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    value = NOT_DEFAULT[name]
    assert getattr(load_settings(), name) != value
    monkeypatch.setenv(ENV_PREFIX + name.upper(), ",".join(value) if isinstance(value, tuple) else str(value))
    assert getattr(load_settings(), name) == value


@pytest.mark.parametrize("name", NOT_DEFAULT)
def test_the_command_line_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for variable, value in to_environment(load_settings()).items():
        monkeypatch.setenv(variable, value)
    value = NOT_DEFAULT[name]
    assert getattr(load_settings(**{name: ",".join(value) if isinstance(value, tuple) else str(value)}), name) == value


def test_what_the_command_line_leaves_open_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSCRIBE_MODEL", "small")
    assert load_settings(model=None, language="fr").model == "small"


def test_another_process_gets_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    given = load_settings(**NOT_DEFAULT)
    for variable, value in to_environment(given).items():
        monkeypatch.setenv(variable, value)
    assert load_settings() == given
    assert given.model_dump() == NOT_DEFAULT


def test_a_language_may_be_given_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSCRIBE_LANGUAGE", "Vietnamese")
    assert load_settings().language == "vi"


@pytest.mark.parametrize(("value", "meant"), [("true", True), ("1", True), ("false", False), ("0", False)])
def test_a_flag_is_read_as_people_write_it(monkeypatch: pytest.MonkeyPatch, value: str, meant: bool) -> None:
    monkeypatch.setenv("NIGHTSCRIBE_WORD_TIMESTAMPS", value)
    assert load_settings().word_timestamps is meant
    assert load_settings(word_timestamps=None).word_timestamps is meant
    assert load_settings(word_timestamps=True).word_timestamps is True


WRONG = [
    ("workers", "zero"), ("workers", "0"), ("workers", ""), ("threads", "-1"), ("engine", "siri"), ("task", "sing"),
    ("queue_name", "not a queue"), ("queue_name", "standard-queue"), ("max_queued_jobs", "0"),
    ("visibility_timeout_s", "0"),
    ("visibility_timeout_s", "43201"), ("heartbeat_s", "0"), ("heartbeat_s", "61"), ("max_receives", "0"),
    ("retry_delay_s", "-1"), ("settle_s", "-0.1"), ("log_level", "loud"), ("language", "klingon"), ("formats", "odt"),
    ("tracks", "0"), ("tracks", "none"),
    ("formats", ","), ("line_chars", "9"), ("lines", "0"), ("batch_size", "-1"), ("word_timestamps", "perhaps"),
    ("languages", "es,klingon"), ("languages", "auto,es"),
    ("language_per_window", ""), ("metrics_port", "65536"), ("metrics_port", "-1"),
    ("speakers", "0"), ("speakers", "-1"), ("speakers", "100"), ("speakers", "many"), ("speakers", ""),
    ("speakers", "2.5"), ("min_speakers", "0"), ("max_speakers", "-1"), ("max_speakers", "none"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(ENV_PREFIX + name.upper(), value)
    with pytest.raises(SetupError, match=ENV_PREFIX + name.upper()) as refused:
        load_settings()
    assert value.strip(",") in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_option_is_named(name: str, value: str) -> None:
    with pytest.raises(SetupError, match="--" + name.replace("_", "-")) as refused:
        load_settings(**{name: value})
    assert ENV_PREFIX not in str(refused.value)


def test_all_that_is_wrong_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSCRIBE_WINDOW", "none")
    with pytest.raises(SetupError, match=r"--workers is 'zero': .+; NIGHTSCRIBE_WINDOW is 'none': .+"):
        load_settings(workers="zero")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("workers", "zero", "it must be a whole number"),
        ("workers", "1.5", "it must be a whole number"),
        ("workers", "0", "it must be at least 1"),
        ("heartbeat_s", "0", "it must be more than 0"),
        ("metrics_port", "65536", "it must be at most 65535"),
        ("visibility_timeout_s", "long", "it must be a number"),
        ("task", "sing", "it must be one of 'transcribe' or 'translate'"),
        ("word_timestamps", "perhaps", "it must be true or false"),
    ],
)
def test_what_is_wrong_is_said_in_plain_words(name: str, value: str, sentence: str) -> None:
    with pytest.raises(SetupError) as refused:
        load_settings(**{name: value})
    assert str(refused.value) == f"--{name.replace('_', '-')} is {value!r}: {sentence}"


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_nothing_is_said_in_the_words_of_a_library(name: str, value: str) -> None:
    with pytest.raises(SetupError) as refused:
        load_settings(**{name: value})
    said = str(refused.value)
    assert not any(word in said for word in ("Input should", "valid", "parse", "string", "integer", "makes no sense"))


def test_a_former_name_of_a_setting_is_still_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSCRIBE_WINDOW", "7")
    assert load_settings().max_queued_jobs == 7
    assert load_settings(window=8).max_queued_jobs == 8
    monkeypatch.setenv("NIGHTSCRIBE_MAX_QUEUED_JOBS", "9")
    assert load_settings().max_queued_jobs == 9


def test_a_heartbeat_too_slow_for_a_short_timeout_is_refused_with_the_reason() -> None:
    """The heartbeat is the default here: only the timeout was changed."""
    with pytest.raises(SetupError, match=r"HEARTBEAT_S.* at most half of the visibility timeout \(10 s\)"):
        load_settings(visibility_timeout_s=10)


def test_a_heartbeat_of_half_the_timeout_is_taken() -> None:
    assert load_settings(visibility_timeout_s=10, heartbeat_s=5).heartbeat_s == 5


def test_models_are_kept_where_the_user_keeps_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert load_settings().models_dir == tmp_path / "nightscribe" / "models"


def test_the_secrets_of_the_queue_come_from_the_variable_and_from_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_text("third secret of ours\n\n fourth secret of ours \n")
    monkeypatch.setenv("NIGHTSCRIBE_QUEUE_SECRET", "first secret of ours, second secret of ours")
    assert load_settings().queue_secrets == ("first secret of ours", "second secret of ours")
    monkeypatch.setenv("NIGHTSCRIBE_QUEUE_SECRET_FILE", str(file))
    assert load_settings().queue_secrets[2:] == ("third secret of ours", "fourth secret of ours")


def test_no_message_or_representation_holds_a_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither a good one nor one that is refused."""
    monkeypatch.setenv("NIGHTSCRIBE_QUEUE_SECRET", "short-one")
    with pytest.raises(SetupError, match="NIGHTSCRIBE_QUEUE_SECRET: each secret must have at least 16") as refused:
        load_settings()
    assert "short-one" not in str(refused.value)
    monkeypatch.setenv("NIGHTSCRIBE_QUEUE_SECRET", "first secret of ours")
    assert "first secret" not in repr(load_settings()) + str(load_settings())
    file = tmp_path / "secret"
    file.write_text("short-one")
    monkeypatch.setenv("NIGHTSCRIBE_QUEUE_SECRET_FILE", str(file))
    with pytest.raises(SetupError, match="each secret must have at least 16") as refused:
        _ = load_settings().queue_secrets
    assert "short-one" not in str(refused.value)
    file.unlink()
    with pytest.raises(SetupError, match="cannot be read"):
        _ = load_settings().queue_secrets


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"speakers": "auto", "min_speakers": "3", "max_speakers": "2"}, "is '2': it is less than --min-speakers"),
        ({"speakers": "2", "min_speakers": "3"}, "is '3': it excludes --speakers 2, which says how many there are"),
        ({"speakers": "5", "max_speakers": "3"}, "is '3': it excludes --speakers 5, which says how many there are"),
        (
            {"speakers": "0"},
            "--speakers is '0': it must be off, auto, channels or the number of speakers, from 1 to 99",
        ),
    ],
)
def test_a_number_of_speakers_that_cannot_be_is_refused_in_a_sentence(given: dict[str, str], why: str) -> None:
    with pytest.raises(SetupError, match=re.escape(why)):
        load_settings(**given)


@pytest.mark.parametrize(
    ("given", "meant"), [("Auto", "auto"), (" 02 ", "2"), ("OFF", "off"), ("channels", "channels")]
)
def test_the_number_of_speakers_is_read_as_people_write_it(given: str, meant: str) -> None:
    assert load_settings(speakers=given).speakers == meant


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "SPEAKER_MODULES", ("no_such_module",))
    with pytest.raises(SetupError, match=r"--speakers 2 needs .*pip install 'nightscribe\[speakers\]'"):
        preflight.check_speakers(load_settings(speakers="2"))
    preflight.check_speakers(load_settings(speakers="channels"))
    preflight.check_speakers(load_settings())


@pytest.mark.parametrize(
    ("given", "meant"), [("es, Catalan", ("ca", "es")), ("vi,vi-VN", ("vi",)), ("", ()), (",", ())]
)
def test_languages_are_read_as_people_write_them(given: str, meant: tuple[str, ...]) -> None:
    assert load_settings(languages=given).languages == meant


def test_languages_without_the_one_that_is_spoken_are_refused() -> None:
    assert load_settings(language="es", languages="es,ca").languages == ("ca", "es")
    with pytest.raises(SetupError, match=r"--languages is 'es,ca': it does not contain vi, which --language says"):
        load_settings(language="vi", languages="es,ca")
