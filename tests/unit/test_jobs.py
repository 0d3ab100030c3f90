"""What goes over the queue: identities that hold everywhere, and messages that cannot do harm."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import OPTIONS, job, slice_of
from pydantic import ValidationError

from nightscribe.shared.errors import JobError, NewerJob, PermanentError
from nightscribe.shared.model.jobs import MAX_MESSAGE_BYTES, Job, Options, Slice

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
PATH = TEXT.filter(
    lambda p: (
        bool(p.strip("./")) and not p.startswith("/") and "\0" not in p and not {"..", ".nightscribe"} & {*p.split("/")}
    )
)


# Identity


def test_the_id_of_a_job_is_the_same_in_another_process() -> None:
    """Python salts its own hashes for each process, so they would not do."""
    made = job(slice_of("räksmörgås/🎤.mp3"))
    program = "import sys; from nightscribe.shared.model.jobs import Job; print(Job.from_message(sys.stdin.read()).id)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=made.to_message(),
        env=os.environ | {"PYTHONHASHSEED": "42"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == made.id


def test_the_id_of_a_job_does_not_depend_on_the_order_of_its_fields() -> None:
    made = job()
    turned = {
        name: dict(reversed(value.items())) if isinstance(value, dict) else value
        for name, value in reversed(made.model_dump(mode="json").items())
    }
    turned["slices"] = [dict(reversed(each.items())) for each in turned["slices"]]
    assert Job.from_message(json.dumps(turned)).id == made.id


def test_the_id_of_a_job_is_not_changed_by_a_new_release() -> None:
    """Else an update in the middle of a night would let two workers do the same job."""
    assert job().id == "be481cc0dc519456077a424fd81631e3"


def test_the_same_slices_are_the_same_job_whatever_files_are_wanted_of_them() -> None:
    assert job(formats=("txt",)).id == job(formats=("json", "tsv")).id


@pytest.mark.parametrize(
    "other",
    [
        job(slice_of("other.mp3")),
        job(slice_of(fingerprint="10-def")),
        job(slice_of(size=11)),
        job(slice_of(stem="talk.mp3")),
        job(slice_of(cuts=(5.0,))),
        job(slice_of(), slice_of("other.mp3")),
        job(options=OPTIONS.model_copy(update={"model": "base"})),
        job(options=OPTIONS.model_copy(update={"language": "fr"})),
        job(options=OPTIONS.model_copy(update={"task": "translate"})),
        job(options=OPTIONS.model_copy(update={"engine": "openai-whisper"})),
        job(redo="run-1"),
    ],
)
def test_whatever_changes_the_result_makes_another_job(other: Job) -> None:
    assert other.id != job().id


def test_ids_are_allowed_as_message_group_ids() -> None:
    assert len(job().id) == len(job().deduplication_id("run")) == 32
    assert (job().id + job().deduplication_id("run")).isalnum()


def test_within_a_run_a_job_is_a_duplicate_of_itself_and_in_the_next_it_is_not() -> None:
    assert job().deduplication_id("one") == job().deduplication_id("one")
    assert job().deduplication_id("one") != job().deduplication_id("two")


def test_parts_of_one_recording_belong_together_and_those_of_other_options_do_not() -> None:
    first, second = (slice_of(index=i, cuts=(5.0,)) for i in (0, 1))
    assert job(first).part_id(first) == job(second).part_id(second) == job(first, second).part_id(second)
    others = [job(first, redo="again"), job(first, options=OPTIONS.model_copy(update={"model": "base"}))]
    assert all(other.part_id(first) != job(first).part_id(first) for other in others)
    for changed in (slice_of(cuts=(5.0,), fingerprint="10-def"), slice_of(cuts=(6.0,))):
        assert job(changed).part_id(changed) != job(first).part_id(first)


# Messages


@given(
    st.lists(st.builds(slice_of, PATH, stem=PATH, fingerprint=TEXT, size=st.integers(0, 2**63)), min_size=1, max_size=3)
)
def test_a_message_is_ascii_and_read_back_as_it_was(slices: list[Slice]) -> None:
    """SQS refuses some characters; none of them is ASCII that JSON lets through."""
    made = job(*slices)
    message = made.to_message()
    assert message.isascii()
    assert message.isprintable()
    assert Job.from_message(message) == made


def test_a_job_too_large_for_a_queue_is_refused_with_the_recording_it_begins_with() -> None:
    many = [slice_of(f"{number:0200}.mp3") for number in range(1000)]
    with pytest.raises(JobError, match=r"0{200}\.mp3.* is too large for a message \(\d+ bytes\)"):
        job(*many).to_message()


def test_the_largest_message_is_within_every_queue() -> None:
    room = MAX_MESSAGE_BYTES - len(job(slice_of(fingerprint="")).to_message())
    assert len(job(slice_of(fingerprint="f" * room)).to_message()) == MAX_MESSAGE_BYTES
    with pytest.raises(JobError):
        job(slice_of(fingerprint="f" * (room + 1))).to_message()


def changed_message(**changes: object) -> str:
    return json.dumps(job().model_dump(mode="json") | changes)


def slice_message(**changes: object) -> str:
    return changed_message(slices=[slice_of().model_dump() | changes])


BAD_PATHS = [
    "/etc/passwd", "//etc/passwd", "../secret.mp3", "a/../../secret.mp3", "a/..", "..", "", ".", "./", "a\0b.mp3",
    ".nightscribe/transcripts/a", "./.nightscribe/run.lock", ".nightscribe", ".//.nightscribe/x",
]  # fmt: skip


@pytest.mark.parametrize("path", BAD_PATHS)
@pytest.mark.parametrize("field", ["recording", "stem"])
def test_a_path_that_leads_elsewhere_is_refused(field: str, path: str) -> None:
    """Whoever may write to the queue must not be able to write to the whole disk."""
    with pytest.raises(JobError, match=f"slices.0.{field}.*not a path below"):
        Job.from_message(slice_message(**{field: path}))


@pytest.mark.parametrize(
    "path", ["..mp3", "a..b/c.mp3", "...", "a/.hidden.mp3", "-rf.mp3", "C:\\a.mp3", " ", "a\nb.mp3", "$(x)"]
)
def test_a_path_that_only_looks_odd_is_taken(path: str) -> None:
    assert Job.from_message(slice_message(recording=path)).slices[0].recording == path


@pytest.mark.parametrize(
    ("message", "where"),
    [
        (changed_message(version=0), "version"),
        (changed_message(formats=["../txt"]), "formats.0"),
        (changed_message(options={"engine": "auto", "model": "base", "task": "sing"}), "options.task"),
        (changed_message(slices=[]), "slices"),
        (slice_message(size=-1), "slices.0.size"),
        (slice_message(cuts=[-1]), "slices.0.cuts"),
        (slice_message(cuts=[0]), "slices.0.cuts"),
        (slice_message(cuts=[2, 1]), "slices.0.cuts"),
        (slice_message(cuts=[1, 1]), "slices.0.cuts"),
        (slice_message(index=1), "slices.0"),
        ("{}", "slices"),
        ("[]", "message"),
        ("null", "message"),
        ("", "message"),
        ("not JSON", "message"),
        ('{"version": 1', "message"),
        ('{"version": 1, "slices": "\\ud800"}', "message"),
        ("[" * 5000, "message"),
    ],
)
def test_what_is_no_job_of_this_version_is_refused_with_the_place(message: str, where: str) -> None:
    with pytest.raises(JobError, match=rf"^The message is not a job of this version of nightscribe \({where}: .+\)\.$"):
        Job.from_message(message)


@given(st.text(st.characters()) | st.binary().map(lambda b: b.decode("latin-1")))
def test_a_strange_message_never_ends_a_worker(message: str) -> None:
    with pytest.raises(JobError):
        Job.from_message(message)


def test_a_job_of_a_newer_release_is_told_from_what_is_no_job() -> None:
    with pytest.raises(
        NewerJob, match=r"^The message is a job of a newer nightscribe \(version 3 .* Update nightscribe\."
    ):
        Job.from_message(changed_message(version=3, slices="many"))


UNKNOWN = {"priority": "high"}


@pytest.mark.parametrize(
    "message",
    [
        changed_message(**UNKNOWN),
        slice_message(**UNKNOWN),
        changed_message(options=OPTIONS.model_dump() | UNKNOWN),
        changed_message(layout=UNKNOWN),
    ],
)
def test_a_field_of_another_release_is_kept_and_makes_the_version_newer(message: str) -> None:
    """A worker that gives back half of a job writes it again; and the release before the fields would refuse them."""
    again = json.loads(Job.from_message(message).model_copy(update={"redo": "1"}).to_message())
    assert again.pop("version") == 2
    assert '"priority":"high"' in json.dumps(again, separators=(",", ":"))


def test_a_job_that_uses_nothing_new_is_of_the_first_version() -> None:
    """Else workers of the first release would put it aside."""
    assert json.loads(job().to_message())["version"] == 1
    assert json.loads(job(formats=("txt", "docx")).to_message())["version"] == 2


def test_an_option_of_another_release_makes_another_job() -> None:
    """Results that it changed never mix with those that it did not."""
    made = Job.from_message(changed_message(options=OPTIONS.model_dump() | UNKNOWN))
    assert made.id != job().id
    assert made.part_id(slice_of()) != job().part_id(slice_of())


def test_a_refused_message_is_not_tried_again() -> None:
    assert issubclass(JobError, PermanentError)


def test_a_job_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        job().formats = ("txt",)  # type: ignore[misc]


def test_the_language_is_detected_and_speech_is_written_down_unless_something_else_is_asked_for() -> None:
    assert (Options(engine="auto", model="base").language, Options(engine="auto", model="base").task) == (
        "auto",
        "transcribe",
    )
