"""Targets of the fuzzer that read what a destination, a queue and an environment hold.

Whatever is there, a reader returns a value or raises the error that it documents, and a value is written and read back
unchanged.
"""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import strategies as st

from fuzz.target import Target
from nightscribe.director.scan.scanner import Scanner
from nightscribe.services.run_record import is_live
from nightscribe.services.status import Status, _each_once, _queued, _unreadable, _working
from nightscribe.services.verify import verify
from nightscribe.shared.destination.json_store import NewerRecord
from nightscribe.shared.destination.keys import JOBS, RUN, failure_key, hash_key, parts_folder, transcript_key
from nightscribe.shared.destination.partial_results import CLAIM_SUFFIX, CUTS, NewerPart
from nightscribe.shared.destination.records import RENAMED, Records
from nightscribe.shared.errors import FormatError, JobError, PermanentError, SetupError
from nightscribe.shared.formats.registry import BUILT_IN, is_same, render
from nightscribe.shared.model.activity import Activity, Run
from nightscribe.shared.model.content_hash import ContentHash
from nightscribe.shared.model.failure import Failure
from nightscribe.shared.model.jobs import Job, Layout, Options, Slice
from nightscribe.shared.model.recording import Unreadable
from nightscribe.shared.model.transcript import Correction, Flag, Part, Review, Segment, Transcript, Word
from nightscribe.shared.model.versioned import Stored, stated_version
from nightscribe.shared.queue.inspector import Peeked
from nightscribe.shared.queue.signing import Signer
from nightscribe.shared.queue.wire import Delivery
from nightscribe.shared.settings import ENV_PREFIX, Settings, load_settings, to_environment
from nightscribe.shared.storage.folder.location import FolderLocation
from nightscribe.shared.storage.folder.source import FolderSource
from nightscribe.shared.storage.folder.store import FolderStore
from nightscribe.views.status import lines, wrapped
from nightscribe.views.status import render as live_view
from nightscribe.views.verify import lines as verify_lines

RECORDING = "talk.mp3"
CONTENT = b"not really sound"
WHEN = datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)

# Values at the edges of what a field can hold

NUMBERS = st.sampled_from([0, 1, -1, 2**31, 2**53, 2**63, 2**64, 10**18, 10**300, 0.5, 1e-320, 1e300, 1.7e308, -1e308])
SECONDS = st.sampled_from([0.0, 0.001, 0.5, 3.2, 86_400.0, 1e9, 1e15, 1e300]) | st.floats(0, 1e6)
NASTY = st.sampled_from(
    [
        "",
        " ",
        "\0",
        "\x1b[2J",
        "\u202e",
        "\u2028",
        "\ufeff",
        "-->",
        "<i>",
        "{b}",
        "[x]",
        "e\u0301",
        "🎤",
        "مرحبا",
        "你好",
    ]
)
TEXT = st.lists(NASTY | st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=4).map("".join)
LONG_TEXT = TEXT | st.builds(
    lambda piece, n: piece * n, st.sampled_from(["<", "a", "a ", "[", ". ", "你", "—", "\\", "x-"]), st.just(400)
)
NAMES = st.sampled_from(
    [
        "talk.mp3",
        "a/b/c.wav",
        "../x",
        "/etc/passwd",
        ".nightscribe/x",
        "a\0b",
        "x" * 300,
        "é" * 200,
        "a\nb",
        "\x1b[2J",
    ]
)
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.floats(allow_nan=False, allow_infinity=False) | TEXT | NAMES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
TIMES = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=14)), timezone(-timedelta(hours=12))]))

# Valid values

OPTIONS = st.builds(
    Options,
    engine=TEXT,
    model=TEXT,
    task=st.sampled_from(["transcribe", "translate"]),
    language=st.sampled_from(["auto", "en", "zh", "de", "haw"]),
    language_per_window=st.booleans(),
)
LAYOUTS = st.builds(
    Layout,
    line_chars=st.sampled_from([10, 11, 42, 80, 10**9]),
    lines=st.sampled_from([1, 2, 3, 7, 10**9]),
    words=st.booleans(),
)
WORDS = st.builds(Word, SECONDS, SECONDS, TEXT, st.none() | TEXT)
SCORES = st.none() | st.floats(allow_nan=False, allow_infinity=False)
SEGMENTS = st.builds(
    Segment,
    start_s=SECONDS,
    end_s=SECONDS,
    text=LONG_TEXT,
    speaker=st.none() | TEXT,
    average_log_probability=SCORES,
    no_speech_probability=SCORES,
    compression_ratio=SCORES,
    words=st.lists(WORDS, max_size=4).map(tuple),
)
MANY_SEGMENTS = st.lists(SEGMENTS, max_size=4).map(tuple)
FLAGS = st.lists(st.sampled_from(Flag), max_size=3).map(tuple)
BINARY = ("docx", "pdf")
NO_FONT = "No font on this machine"
FORMATS = st.lists(st.sampled_from([*BUILT_IN, "odt"]), max_size=3, unique=True).map(tuple)
PARTS = st.builds(
    Part,
    segments=MANY_SEGMENTS,
    engine=TEXT,
    language=st.none() | st.sampled_from(["en", "zh", "xx"]),
    container_s=st.none() | SECONDS,
    decoded_s=SECONDS,
    processing_s=SECONDS,
    flags=FLAGS,
)
TRANSCRIPTS = st.builds(
    Transcript,
    recording=st.just(RECORDING),
    fingerprint=TEXT,
    content_sha256=st.none() | TEXT,
    size=st.just(len(CONTENT)) | st.integers(),
    mtime_ns=st.none() | st.integers(),
    stem=st.sampled_from(["talk", "a/b", "\x1b[2J"]),
    formats=FORMATS,
    layout=LAYOUTS,
    options=OPTIONS,
    redo=st.none() | TEXT,
    engine=TEXT,
    language=st.none() | st.sampled_from(["en", "zh", "xx"]),
    container_s=st.none() | SECONDS,
    decoded_s=SECONDS,
    processing_s=SECONDS,
    flags=FLAGS,
    reviewed=st.none() | st.builds(Review, by=TEXT, at=TIMES),
    finished_at=TIMES,
    segments=MANY_SEGMENTS,
    corrections=st.lists(
        st.builds(Correction, by=TEXT, at=TIMES, start_s=SECONDS, end_s=SECONDS, before=TEXT, after=TEXT), max_size=2
    ).map(tuple),
)
SLICES = st.builds(
    Slice,
    recording=st.just(RECORDING),
    fingerprint=TEXT,
    size=st.integers(0),
    stem=st.sampled_from(["talk", "a/b"]),
    cuts=st.lists(st.floats(0.001, 1e9), unique=True, max_size=3).map(sorted).map(tuple),
)
JOBS_OF = st.builds(
    Job,
    slices=st.lists(SLICES, min_size=1, max_size=3).map(tuple),
    options=OPTIONS,
    formats=FORMATS,
    layout=LAYOUTS,
    redo=st.none() | TEXT,
)
FAILURES = st.builds(
    Failure,
    recording=st.just(RECORDING) | NAMES,
    fingerprint=TEXT,
    size=st.integers(),
    mtime_ns=st.none() | st.integers(),
    code=st.sampled_from(["unknown", "empty", "not_audio", "x1"]),
    reason=TEXT,
    attempts=st.integers(),
    worker=TEXT,
    failed_at=TIMES,
)
HASHES = st.builds(
    ContentHash,
    recording=st.just(RECORDING),
    fingerprint=TEXT,
    finished_at=TIMES,
    mtime_ns=st.none() | st.integers(),
    sha256=TEXT,
)
ACTIVITIES = st.builds(
    Activity,
    worker=st.sampled_from(["elsewhere.x-1-1", "elsewhere-1", "x" * 300, "é\x1b[2J", ""]),
    recording=NAMES,
    message=TEXT,
    n_recordings=st.integers(),
    done_s=SECONDS,
    receive_count=st.integers(),
    began_at=st.none() | TIMES,
    updated_at=TIMES,
)
RUNS = st.builds(
    Run,
    id=TEXT,
    command=st.sampled_from(["run", "director"]),
    source=NAMES,
    host=TEXT,
    process=TEXT,
    queue_name=TEXT,
    endpoint=st.none() | TEXT,
    model=TEXT,
    engine=TEXT,
    asked=st.dictionaries(
        st.sampled_from([*Settings.model_fields, "window", "x"]), TEXT | st.integers() | st.booleans(), max_size=3
    ),
    redo=st.booleans(),
    watch=st.booleans(),
    n_workers=st.none() | st.integers(),
    began_at=TIMES,
    updated_at=TIMES,
    ended_at=st.none() | TIMES,
    interrupted=st.booleans(),
    n_total=st.none() | st.integers(),
    n_done=st.integers(),
    n_failed=st.integers(),
    n_unreadable=st.integers(),
    unreadable=st.lists(st.builds(Unreadable, path=NAMES, reason=TEXT), max_size=2).map(tuple),
    total_s=st.none() | SECONDS,
    heard_s=SECONDS,
    speed=st.none() | SECONDS,
    left_s=st.none() | SECONDS,
)
RECORDS: dict[str, st.SearchStrategy[Any]] = {
    "transcript": TRANSCRIPTS,
    "part": PARTS,
    "failure": FAILURES,
    "hash": HASHES,
    "activity": ACTIVITIES,
    "run": RUNS,
}


def written(value: Stored) -> bytes:
    """Return a value as a store holds it."""
    return value.model_dump_json().encode()


CLAIMS = st.builds(
    lambda stem, worker, message, before: json.dumps(
        {"stem": stem, "worker": worker, "message": message, "before": before}
    ).encode(),
    NAMES,
    TEXT | NAMES,
    TEXT,
    NAMES,
)
CUT_POINTS = st.builds(
    lambda fingerprint, cuts: json.dumps({"fingerprint": fingerprint, "cuts": cuts}).encode(), TEXT, st.lists(NUMBERS)
)
VALID = st.one_of(*(values.map(written) for values in RECORDS.values()), CLAIMS, CUT_POINTS)


ODD = (
    *(b"", b"[" * 100_000, b'{"a":' * 50_000, b"null", b"NaN", b"\xff\xfe{\0}\0"),
    *(b'{"version":3}', b'{"version":1e999}', b'{"version":' + b"9" * 5000 + b"}"),
)


@st.composite
def changed(draw: st.DrawFn, value: Any) -> Any:
    """Draw a JSON value that differs from `value` in one place."""
    if isinstance(value, dict) and value and draw(st.integers(0, 9)):
        key = draw(st.sampled_from(sorted(value)))
        return {**value, key: draw(changed(value[key]))}
    if isinstance(value, list) and value and draw(st.integers(0, 9)):
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], draw(changed(value[at])), *value[at + 1 :]]
    return draw(ANYTHING)


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Draw what may become of a file or a message: other values, other bytes, cut off, joined, or not JSON at all."""
    match draw(st.sampled_from(["as it is", "value", "value", "cut", "bytes", "odd"])):
        case "value":
            return json.dumps(draw(changed(json.loads(content))), ensure_ascii=draw(st.booleans())).encode(
                errors="surrogatepass"
            )
        case "cut":
            return content[: draw(st.integers(0, len(content)))]
        case "bytes":
            at = draw(st.integers(0, len(content)))
            return content[:at] + draw(st.binary(max_size=8)) + content[at + draw(st.integers(0, 8)) :]
        case "odd":
            return draw(st.sampled_from([*ODD, content + content]))
    return content


def read_back(record: Stored) -> None:
    """Check that a record is the same when it was written and read, as the lowest version that holds it."""
    again = type(record).model_validate_json(written(record))
    assert again == record, f"{again!r} was read instead of {record!r}"
    assert written(again) == written(record)


def check_texts(transcript: Transcript) -> None:
    """Check that each text file can be written, is recognized, and is text or a document."""
    for fmt in BUILT_IN:
        try:
            content = render(transcript, fmt)
        except FormatError as error:
            if fmt == "pdf" and NO_FONT in str(error):  # as it should be
                continue
            raise
        assert is_same(content, transcript, fmt), f"{fmt} does not recognize what it wrote"
        if fmt not in BINARY:
            content.decode()


# A destination

FOLDER = parts_folder(RECORDING)
JOB = Job(
    slices=(Slice(recording=RECORDING, fingerprint="1", size=1, stem="talk"),),
    options=Options(engine="auto", model="tiny.en"),
    formats=("txt", "vtt", "srt"),
)
[WHOLE] = JOB.slices
PLACES = (
    transcript_key(RECORDING),
    failure_key(RECORDING),
    hash_key(RECORDING),
    RUN,
    f"{JOBS}elsewhere-1.json",
    f"{FOLDER}{JOB.part_id(WHOLE)}-0.json",
    f"{FOLDER}{JOB.part_id(WHOLE)}-0{CLAIM_SUFFIX}",
    f"{FOLDER}{RENAMED}",
    FOLDER + CUTS,
)


@contextmanager
def destination(content: Mapping[str, bytes]) -> Iterator[Path]:
    """Make a source with one recording, `talk.mp3`, and a destination with these files beside it."""
    with tempfile.TemporaryDirectory(prefix="nightscribe-fuzz-") as folder:
        source, dest = Path(folder, "source"), Path(folder, "dest")
        source.mkdir()
        (source / RECORDING).write_bytes(CONTENT)
        os.utime(source / RECORDING, (1, 1))
        for key, each in content.items():
            path = dest / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(each)
        yield Path(folder)


def read_everything(content: bytes) -> None:
    """Read every record of a recording, all of which hold `content`."""
    with destination(dict.fromkeys(PLACES, content)) as folder:
        store = FolderStore(folder / "dest")
        records = Records(store)
        partial = records.partial_results
        found: list[Stored | None] = []
        for read in (
            lambda: found.append(records.provenance(RECORDING)),
            lambda: found.append(records.transcript(RECORDING)),
            lambda: found.append(records.failure(RECORDING)),
            lambda: found.append(records.orphan(PLACES[0])),
            lambda: found.append(records.damaged(RECORDING)),
            lambda: found.append(records.provenance_at(PLACES[0])),
            lambda: found.append(partial.get(JOB, WHOLE)),
            lambda: found.extend(partial.all(JOB, WHOLE) or ()),
            lambda: found.append(partial.claim_on(JOB, WHOLE)),
            lambda: partial.claimed_by(JOB, WHOLE, besides="other", for_s=1e9),
            lambda: partial.claimed_stem(RECORDING),
            lambda: partial.kept_cuts(RECORDING, "1"),
            lambda: records.renamed_from(RECORDING),
            lambda: found.extend(records.activities()),
            lambda: found.extend(records.failures()),
            lambda: found.append(records.last_run()),
            records.forget_activities,
        ):
            try:
                read()
            except (NewerRecord, NewerPart):
                version = stated_version(content)
                assert version is not None
                assert version > 1
            except PermanentError as error:
                assert error.code == "part_damaged"
        for record in found:
            if record is None:
                continue
            read_back(record)
            if isinstance(record, Transcript):
                records.content_hash(record)
                check_texts(record)


def use_everything(content: bytes) -> None:
    """Scan, show and verify a destination, all of whose records hold `content`."""
    with destination(dict.fromkeys(PLACES, content)) as folder:
        source, dest = FolderSource(folder / "source"), folder / "dest"
        records = Records(FolderStore(dest))
        show_status(records, dest)
        for _ in verify_lines(verify(FolderLocation(dest), FolderLocation(folder / "source")), repair=False):
            pass
        try:
            scan = Scanner(source, records, ("txt", "vtt", "srt"), settle_s=0).scan()
            assert sum(scan.states().values()) == 1
        except NewerRecord:
            raise AssertionError("A scan must not end because of one record") from None
        list(verify_lines(verify(FolderLocation(dest), FolderLocation(folder / "source"), repair=True), repair=True))


def show_status(records: Records, dest: Path) -> None:
    """Show the status of a destination in each way, without a queue."""
    at = datetime.now(UTC)
    last = records.last_run()
    live = last is not None and is_live(last, at)
    unreadable = _unreadable(last)
    status = Status(
        dest=str(dest),
        at=at.replace(microsecond=0),
        live=live,
        run=last,
        queue=None,
        no_queue="none",
        workers=tuple(_working(records, None if live else last, None, at)),
        n_done=0,
        n_failed=1,
        failures=tuple(_each_once(records.failures(), unreadable)),
    )
    status.model_dump_json()
    for shown in (status, status.model_copy(update={"live": True})):
        for line in (*lines(shown), *wrapped(shown, 80)):
            assert "\x1b" not in line
        live_view(shown)


# Messages

SECRET = "correct horse battery staple"
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["Run", "Reason", "Code", "Worker", "Recorded", "Released", "Signature", "traceparent"]),
    st.fixed_dictionaries({"StringValue": TEXT | st.sampled_from(["3 1700000000", "0 0", "9" * 40])}) | st.just({}),
)


def read_message(content: bytes) -> None:
    """Read a message as a worker, a director and `status` do."""
    lines_ = content.decode(errors="replace").split("\n", 1)
    head, body = lines_ if len(lines_) == 2 else ("{}", lines_[0])
    try:
        attributes = json.loads(head)
    except (ValueError, RecursionError):
        attributes = {}
    message: Any = {"MessageId": "m", "Body": body, "ReceiptHandle": "r", "Attributes": {}}
    if isinstance(attributes, dict) and all(isinstance(each, dict) for each in attributes.values()):
        message["MessageAttributes"] = attributes
    delivery = Delivery.of(message)
    signer = Signer((SECRET,))
    assert not signer.accepts(body, delivery.signature) or delivery.signature == signer.sign(body)
    assert signer.accepts(body, signer.sign(body))
    delivery.releases.one_more(1.7e9).to_text()
    _queued(Peeked(message_id="m", body=body, receive_count=1, is_visible=True))
    try:
        job = Job.from_message(body)
    except JobError:
        return
    read_back(job)
    for each in job.slices:
        assert each.start_s >= 0
        assert each.end_s is None or each.end_s > each.start_s
        job.part_id(each)
    try:
        assert Job.from_message(job.to_message()) == job
    except JobError as error:
        assert error.code == "job_too_large"


MESSAGES = st.builds(
    lambda attributes, body: json.dumps(attributes).encode() + b"\n" + body,
    ATTRIBUTES,
    JOBS_OF.map(written).flatmap(damaged) | st.text(max_size=50).map(lambda text: text.encode(errors="replace")),
)

# Settings

VALUES = st.sampled_from(
    [
        "",
        "0",
        "1",
        "-1",
        "1e400",
        "nan",
        "inf",
        "true",
        "en",
        "txt,srt",
        "x" * 5000,
        "9" * 5000,
        "/no",
        "é",
        ",",
        "a,b",
    ]
) | st.text(st.characters(exclude_characters="\0"), max_size=20)
ENVIRONMENTS = st.dictionaries(st.sampled_from(sorted(Settings.model_fields)), VALUES, max_size=4).map(
    lambda values: json.dumps(values).encode()
)


def read_settings(content: bytes) -> None:
    """Read settings from an environment, and pass them on to another process."""
    values = {ENV_PREFIX + name.upper(): value for name, value in json.loads(content).items()}
    others = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
    with patch.dict(os.environ, others, clear=True):
        try:
            os.environ.update(values)
        except (ValueError, UnicodeError):
            return
        try:
            settings = load_settings()
            settings.queue_secrets  # noqa: B018
        except SetupError as error:
            said = str(error).lower()
            assert not any(word in said for word in ("pydantic", "traceback", "codec", "validation"))
            return
        Signer(settings.queue_secrets).sign("")
        assert settings.storage.cache_bytes >= 0
    with patch.dict(os.environ, others | to_environment(settings), clear=True):
        assert load_settings() == settings


def read_secret_file(content: bytes) -> None:
    """Read a file with secrets of the queue."""
    with tempfile.NamedTemporaryFile(prefix="nightscribe-fuzz-") as file:
        file.write(content)
        file.flush()
        try:
            secrets = Settings(queue_secret_file=file.name).queue_secrets
        except SetupError as error:
            assert "codec" not in str(error)
            return
        Signer(secrets).sign("")


TARGETS = (
    Target("records", VALID.flatmap(damaged), read_everything),
    Target("destination", VALID.flatmap(damaged), use_everything),
    Target("messages", MESSAGES, read_message),
    Target("settings", ENVIRONMENTS, read_settings),
    Target("secrets", st.binary(max_size=60) | TEXT.map(str.encode), read_secret_file),
)
