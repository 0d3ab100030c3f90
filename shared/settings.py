"""Define every setting, read from `NIGHTSCRIBE_*` variables and overridden by the command line.

The command line takes its help texts and defaults from here, so that each is written once.
"""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from nightscribe.shared.errors import SetupError
from nightscribe.shared.formats.registry import check_formats, format_names
from nightscribe.shared.model.engines import BUILT_IN, engine_name
from nightscribe.shared.model.hotwords import check_hotwords, parse_hotwords
from nightscribe.shared.model.hotwords import prompt as check_prompt
from nightscribe.shared.model.jobs import (
    DEFAULT_TRACK,
    ENGLISH,
    LONGEST_SILENCE_S,
    MOST_BEAMS,
    PLAIN,
    REQUESTS,
    ComputeType,
    FormatName,
    SubtitleProfile,
    TrackChoice,
)
from nightscribe.shared.model.languages import language_code, language_codes
from nightscribe.shared.model.speaker_options import AUTO, MOST_SPEAKERS, check_bounds, speakers_value
from nightscribe.shared.process.cores import usable_cores
from nightscribe.shared.queue.address import check_address, interactive_address
from nightscribe.shared.queue.signing import check_secrets
from nightscribe.shared.storage.base import StorageOptions

ENV_PREFIX = "NIGHTSCRIBE_"
Task = Literal["transcribe", "translate"]
# Names of the settings that change the words of a transcript, who says them, and its text files.
WORDS = ("model", "engine", "language", "languages", "language_per_window", "task", "translate_to", "tracks", *REQUESTS)
SPEAKERS = ("speakers", "min_speakers", "max_speakers", "no_voiceprints")
TEXTS = ("formats", "subtitles", "line_chars", "lines", "word_timestamps")
# Former names of settings, as variables, as options, and in the records of earlier runs.
FORMER_NAMES = {"window": "max_queued_jobs"}


def cache_folder() -> Path:
    """Return the folder for what this machine keeps for this user and can recreate."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nightscribe"


def _default_models_dir() -> Path:
    return cache_folder() / "models"


def _target(language: str) -> str:
    """Return the code of a language to translate into, or nothing. Raises: ValueError: if it is auto or unknown."""
    if not language:
        return ""
    if (code := language_code(language)) == "auto":
        raise ValueError(f"it must be one language, such as {ENGLISH}")
    return code


class Settings(BaseSettings):
    """Settings of one process. Durations are in seconds."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="ignore")

    # Transcripts
    model: str = Field(
        default="base",
        description="Model: a name such as base, small or parakeet-tdt-0.6b-v3, a path, hf:OWNER/NAME, or auto.",
    )
    engine: Annotated[str, AfterValidator(engine_name)] = Field(
        default="auto",
        description=f"Speech engine: {', '.join(BUILT_IN)}, one that another package adds, or auto for the first of "
        "these that is installed and can run the model.",
    )
    language: Annotated[str, AfterValidator(language_code)] = Field(
        default="auto", description="Spoken language, a code such as en, or auto to detect it in each recording."
    )
    languages: Annotated[tuple[str, ...], NoDecode] = Field(
        default_factory=tuple,
        description="Languages among which auto chooses, separated by commas, such as es,ca.",
        json_schema_extra={"shown": "any"},
    )
    language_per_window: bool = Field(
        default=False, description="Detect the language anew every quarter of a minute, for recordings that change it."
    )
    task: Task = Field(default="transcribe", description="Write down what is said, or translate it into English.")
    translate_to: Annotated[str, AfterValidator(_target)] = Field(
        default_factory=str,
        description="Translate into this language, a code such as en; like --task translate, for engines that can "
        "translate into others than English. Whisper cannot.",
        json_schema_extra={"shown": "none"},
    )
    prompt: Annotated[str, AfterValidator(check_prompt)] = Field(
        default_factory=str,
        description="Text that sets the scene and shows the spelling, such as: A talk by Dr. Nguyễn on PostgreSQL.",
        json_schema_extra={"shown": "none"},
    )
    hotwords: Annotated[tuple[str, ...], NoDecode] = Field(
        default_factory=tuple,
        description="Words and names to listen for, separated by commas, or @FILE with one on each line; see "
        "docs/vocabulary.md.",
        json_schema_extra={"shown": "none"},
    )
    beam_size: int = Field(
        default=1,
        ge=1,
        le=MOST_BEAMS,
        description="Beams of the first attempt at each window; more are slower and a little more exact. Where the "
        "text is in doubt, five are used anyway.",
    )
    compute_type: ComputeType = Field(
        default="auto",
        description="Numbers that the engine computes with, such as int8 or float32; auto for int8, or float16 on a "
        "GPU.",
    )
    condition_on_previous: bool = Field(
        default=False,
        description="Let each window continue the text of the one before: names are spelled alike, but a mistake may "
        "be repeated, and long recordings take longer.",
    )
    initial_silence: float = Field(
        default=0.0,
        ge=0,
        le=LONGEST_SILENCE_S,
        description="Seconds of silence that the engine hears before each recording, for clips cut so tightly that "
        "their first word is missed; times do not change.",
    )
    tracks: TrackChoice = Field(
        default=DEFAULT_TRACK,
        description="Audio tracks of a film to transcribe: default (the one that a player chooses, or another if only "
        "that one has speech), all of them, each labelled, or the number of one.",
    )
    speakers: Annotated[str, AfterValidator(speakers_value)] = Field(
        default="off",
        description="Label who speaks: auto finds the number of speakers, 2 says that there are two, channels takes "
        "each channel for a person, off labels nobody.",
    )
    min_speakers: int = Field(
        default=1, ge=1, le=MOST_SPEAKERS, description="Lowest number of speakers that --speakers auto finds."
    )
    max_speakers: int = Field(
        default=0,
        ge=0,
        le=MOST_SPEAKERS,
        description="Highest number of speakers that --speakers auto finds; 0 for no limit.",
    )
    no_voiceprints: bool = Field(
        default=False,
        description="Do not keep the voiceprints of speakers, by which they are recognized in other recordings.",
    )
    formats: Annotated[tuple[FormatName, ...], NoDecode] = Field(
        default=("txt", "vtt", "srt"), description=f"Files to write, of {', '.join(format_names())}."
    )
    subtitles: SubtitleProfile = Field(
        default=PLAIN, description="Guidelines that subtitles follow: plain (our own), netflix or bbc."
    )
    line_chars: int = Field(
        default=42, ge=10, description="Longest line of a subtitle in characters; wide ones count as two."
    )
    lines: int = Field(default=2, ge=1, description="Maximum number of lines of a subtitle.")
    word_timestamps: bool = Field(default=False, description="Include the time of every word in the json format.")

    allowed_hours: float = Field(
        default=8.0,
        ge=0,
        description="Hours that a run may take if --model auto chooses the model; 0 for no limit.",
    )
    forget_after_days: int = Field(
        default=0,
        ge=0,
        description="Delete transcripts for good this many days after they were made; 0 keeps them.",
    )

    # Processes and files
    workers: int = Field(
        default_factory=usable_cores,
        ge=1,
        description="Number of worker processes on this machine.",
        json_schema_extra={"shown": "one for each core"},
    )
    threads: Annotated[int, AfterValidator(lambda threads: threads or usable_cores())] = Field(
        default=1,
        ge=0,
        description="Threads of each worker, 0 for as many as it has cores; one is fastest for the whole batch.",
    )
    batch_size: int = Field(
        default=0, ge=0, description="Windows decoded at once by a worker; 0 for as many as memory allows."
    )
    models_dir: Path = Field(
        default_factory=_default_models_dir,
        description="Folder where model weights are kept.",
        json_schema_extra={"shown": "~/.cache/nightscribe/models"},
    )
    models: Annotated[tuple[str, ...], NoDecode] = Field(
        default_factory=tuple,
        description="Models that jobs may request besides the worker's own and those below the models folder: names "
        "and paths, separated by commas.",
        json_schema_extra={"shown": "all known names"},
    )
    load_late: bool = Field(
        default=False, description="Load the model with the first job, and not when a worker starts."
    )
    unload_after_s: float = Field(
        default=-1,
        ge=-1,
        description="Seconds without a job after which a worker frees the memory of its model; -1 keeps it.",
    )
    settle_s: float = Field(
        default=3.0, ge=0, description="Seconds for which a recording must be unchanged before it is queued."
    )
    poll_s: float = Field(
        default=0,
        ge=0,
        description="Seconds between two scans of --watch, longer if a scan takes long; 0 for 5, or 60 for buckets.",
    )

    audio_column: str = Field(
        default_factory=str,
        description="Column that names the recordings if SOURCE is a table; found by itself if its name is usual, "
        "such as filename or path.",
        json_schema_extra={"shown": "found"},
    )
    layout: Literal["auto", "common-voice", "librispeech"] = Field(
        default="auto",
        description="Layout of SOURCE if it is a corpus as it lies on disk; see docs/tables.md.",
    )
    follow_links: bool = Field(
        default=False, description="Follow links in SOURCE that lead out of it; set it for director and workers."
    )

    # Buckets
    s3_sse: Literal["default", "AES256", "aws:kms"] = Field(
        default="default", description="Encryption of transcripts in a bucket: AES256, aws:kms or the bucket's default."
    )
    s3_kms_key: str = Field(default="alias/aws/s3", description="Key for aws:kms.")
    s3_requester_pays: bool = Field(
        default=False, description="Pay for requests to a SOURCE bucket that is set to requester pays."
    )
    cache_gb: float = Field(
        default=2,
        ge=0,
        description="Maximum gigabytes of recordings from a bucket that are cached on this machine's disk.",
    )

    # The queue
    queue_name: Annotated[str, AfterValidator(check_address)] = Field(
        default="nightscribe.fifo", description="Name of the FIFO queue, or its URL."
    )
    queue_secret: Annotated[tuple[str, ...], NoDecode] = Field(
        default_factory=tuple,
        description="Secrets that sign and verify jobs, separated by commas; the first one signs.",
        json_schema_extra={"shown": "none"},
        repr=False,
    )
    queue_secret_file: str = Field(
        default_factory=str, description="File with such secrets, one per line.", json_schema_extra={"shown": "none"}
    )
    interactive: bool = Field(
        default=False,
        description="Let this worker do only jobs for which somebody waits at a server, from a queue of their own.",
    )
    max_queued_jobs: int = Field(
        default=5_000, ge=1, description="Maximum number of jobs that the director keeps on the queue."
    )
    visibility_timeout_s: float = Field(
        default=120, ge=1, le=43_200, description="Seconds that a job stays hidden unless its worker extends this."
    )
    heartbeat_s: float = Field(
        default=30, gt=0, description="Seconds after which a worker extends the visibility timeout."
    )
    max_receives: int = Field(default=3, ge=1, description="How often a job is tried before it becomes a dead letter.")
    retry_delay_s: float = Field(
        default=30, ge=0, description="Seconds before a failed job is tried again; four times longer each time."
    )

    # Logs and metrics
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe event logged."
    )
    metrics_port: int = Field(
        default=0, ge=0, le=65_535, description="Port that serves metrics to Prometheus, on every address; 0 for none."
    )

    @property
    def interactive_queue(self) -> str:
        """Return the address of the queue for jobs that somebody waits for. Raises: SetupError: if it is too long."""
        try:
            return interactive_address(self.queue_name)
        except ValueError as error:
            raise SetupError(
                f"The queue for interactive work cannot be named after {self.queue_name!r}: {error}."
            ) from None

    @property
    def storage(self) -> StorageOptions:
        """Return the settings that concern the storage of SOURCE and DEST."""
        key = {"SSEKMSKeyId": self.s3_kms_key} if self.s3_sse == "aws:kms" else {}
        return StorageOptions(
            follow_links=self.follow_links,
            audio_column=self.audio_column,
            layout=self.layout,
            s3_requester_pays=self.s3_requester_pays,
            s3_encryption={} if self.s3_sse == "default" else {"ServerSideEncryption": self.s3_sse} | key,
            cache_bytes=round(self.cache_gb * 2**30),
        )

    @field_validator("formats", mode="before")
    @classmethod
    def _check_formats(cls, value: object) -> object:
        return check_formats(value) if isinstance(value, str | tuple | list) else value

    @field_validator("models", "queue_secret", mode="before")
    @classmethod
    def _divide(cls, value: object) -> object:
        return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value

    @field_validator("hotwords", mode="before")
    @classmethod
    def _read_hotwords(cls, value: object) -> object:
        if isinstance(value, str):
            return parse_hotwords(value)
        return check_hotwords(map(str, value)) if isinstance(value, tuple | list) else value

    @field_validator("languages", mode="before")
    @classmethod
    def _check_languages(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str | tuple | list):
            return value
        given = value.split(",") if isinstance(value, str) else value
        codes = language_codes(filter(None, map(str.strip, given)))
        language = info.data.get("language", "auto")
        if codes and language not in ("auto", *codes):
            raise ValueError(f"it does not contain {language}, which --language says is spoken")
        return codes

    @field_validator("queue_secret")
    @classmethod
    def _check_secrets(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return check_secrets(value)

    @property
    def queue_secrets(self) -> tuple[str, ...]:
        """Return the secrets of the queue, beginning with the one that signs.

        Raises: SetupError: if the file with the secrets cannot be read, or a secret is too short.
        """
        if not self.queue_secret_file:
            return self.queue_secret
        variable = ENV_PREFIX + "QUEUE_SECRET_FILE"
        try:
            lines = Path(self.queue_secret_file).read_text(encoding="utf-8").splitlines()
            return self.queue_secret + check_secrets(tuple(filter(None, map(str.strip, lines))))
        except OSError as error:
            raise SetupError(f"{variable}: {self.queue_secret_file!r} cannot be read ({error.strerror}).") from None
        except UnicodeDecodeError:
            raise SetupError(f"{variable}: {self.queue_secret_file!r} is not text in UTF-8.") from None
        except ValueError as error:
            raise SetupError(f"{variable}: {error}.") from None

    @field_validator("min_speakers")
    @classmethod
    def _bound_counts(cls, value: int, info: ValidationInfo) -> int:
        check_bounds(info.data.get("speakers", AUTO), value, 0)
        return value

    @field_validator("max_speakers")
    @classmethod
    def _bounds_agree(cls, value: int, info: ValidationInfo) -> int:
        if value:
            check_bounds(info.data.get("speakers", AUTO), info.data.get("min_speakers", 1), value)
        return value

    @field_validator("heartbeat_s")
    @classmethod
    def _heartbeat_in_time(cls, value: float, info: object) -> float:
        timeout_s = getattr(info, "data", {}).get("visibility_timeout_s")
        if timeout_s is not None and value > timeout_s / 2:
            raise ValueError(
                f"it must be at most half of the visibility timeout ({timeout_s:g} s), or one lost call ends a lease"
            )
        return value


def load_settings(**given: object) -> Settings:
    """Return the settings of the environment, overridden by the `given` values that are not None.

    Raises: SetupError: if a setting is not valid; the message names each one and where it was set.
    """
    values = {FORMER_NAMES.get(name, name): value for name, value in given.items() if value is not None}
    origins = {name: "--" + name.replace("_", "-") for name in values}
    for former, name in FORMER_NAMES.items():
        variable = ENV_PREFIX + former.upper()
        if variable in os.environ and name not in values and ENV_PREFIX + name.upper() not in os.environ:
            values[name], origins[name] = os.environ[variable], variable
    try:
        return Settings(**values)  # type: ignore[arg-type]
    except ValidationError as error:
        wrong = []
        for problem in error.errors():
            name = str(problem["loc"][0]) if problem["loc"] else "settings"
            origin = origins.get(name, ENV_PREFIX + name.upper())
            given_as = "" if name == "queue_secret" else f" is {problem['input']!r}"
            wrong.append(f"{origin}{given_as}: {validation_sentence(problem)}")
        raise SetupError("; ".join(wrong)) from None


_SENTENCES = {
    "bool": "it must be true or false",
    "float": "it must be a number",
    "int": "it must be a whole number",
    "path": "it must be a path",
    "string": "it must be text",
}


def validation_sentence(problem: ErrorDetails) -> str:
    """Return what is wrong with a value of a setting, in plain words instead of pydantic's."""
    bounds = problem.get("ctx", {})
    match problem["type"]:
        case "value_error":
            return problem["msg"].removeprefix("Value error, ")
        case "literal_error":
            return f"it must be one of {bounds['expected']}"
        case "greater_than_equal":
            return f"it must be at least {bounds['ge']:g}"
        case "greater_than":
            return f"it must be more than {bounds['gt']:g}"
        case "less_than_equal":
            return f"it must be at most {bounds['le']:g}"
        case other:
            return _SENTENCES.get(other.partition("_")[0], "it cannot be used here")


def shown_default(name: str, model: type[BaseSettings] = Settings) -> str:
    """Return the default of a setting as help texts show it, the same on every machine."""
    field = model.model_fields[name]
    if isinstance(field.json_schema_extra, dict):
        return str(field.json_schema_extra["shown"])
    return ",".join(field.default) if isinstance(field.default, tuple) else str(field.default).removesuffix(".0")


def to_environment(settings: Settings) -> dict[str, str]:
    """Return the variables that give another process the same settings."""
    return {
        ENV_PREFIX + name.upper(): ",".join(value) if isinstance(value, tuple) else str(value)
        for name, value in settings.model_dump().items()
    }
