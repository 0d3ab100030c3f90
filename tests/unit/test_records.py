"""Records in a real folder: what is written is read back, and what is damaged is not there."""

import json
from pathlib import Path

import pytest
from making import OPTIONS, activity, failure, job, part, segment, slice_of, transcript

from shared.errors import RetryableError
from shared.formats import FORMATS, render
from shared.names import JOBS, failure_key, parts_folder, transcript_key
from shared.records import Records
from shared.store import FolderStore
from shared.transcript import Flag, Provenance, Transcript

ALL = tuple(FORMATS)
DONE = transcript(
    segment(0, 1, "Räksmörgås & <b>."), segment(1, 2, "🎤"), flags=(Flag.TRUNCATED,), redo="run-1", mtime_ns=2**60 + 1
)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """An empty destination."""
    return Records(FolderStore(tmp_path))


def damage(records: Records, key: str, content: bytes) -> None:
    records.store.put(key, content)


# Finished recordings


def test_a_finished_transcript_is_read_back_whole(records: Records) -> None:
    records.finish(DONE, ("txt",))
    assert records.transcript("talk.mp3") == DONE


def test_how_it_was_made_is_read_without_its_text(records: Records) -> None:
    records.finish(DONE, ())
    found = records.provenance("talk.mp3")
    assert found is not None
    assert not hasattr(found, "segments")
    assert Provenance.model_validate(found.model_dump()) == Provenance.model_validate(
        DONE.model_dump(exclude={"segments"})
    )


class Ends(FolderStore):
    """Gives away nothing but the ends of files."""

    def get(self, key: str) -> bytes | None:
        raise AssertionError(f"{key} was read whole")


def test_of_a_long_transcript_only_the_ends_are_read(tmp_path: Path) -> None:
    """A million of them are compared at each run."""
    long = transcript(*(segment(n, n + 1, "words " * 50) for n in range(1000)))
    Records(FolderStore(tmp_path)).finish(long, ())
    assert Records(Ends(tmp_path)).provenance("talk.mp3") == records_of(tmp_path).provenance("talk.mp3")
    assert Records(Ends(tmp_path)).provenance("other.mp3") is None


def records_of(folder: Path) -> Records:
    return Records(FolderStore(folder))


ODD = [
    '","segments":[',
    '"segments":[]',
    "\\",
    '\\"',
    ',"segments":[',
    "]}",
    '{"segments":[',
    "a" * 250,
    "é" * 4000,
    "\n",
]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_what_a_recording_is_called_does_not_change_how_it_is_read(records: Records, odd: str) -> None:
    odd_one = transcript(segment(text=odd), stem=odd, engine=odd, fingerprint=odd)
    records.finish(odd_one, ())
    found = records.provenance("talk.mp3")
    assert found is not None
    assert (found.stem, found.engine, found.fingerprint) == (odd, odd, odd)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("turned", [True, False])
def test_a_transcript_that_someone_has_written_in_another_way_is_read_as_well(
    records: Records, indent: int | None, turned: bool
) -> None:
    items = list(DONE.model_dump(mode="json").items())
    written = json.dumps(dict(reversed(items) if turned else items), indent=indent) + "\n"
    records.store.put(transcript_key("talk.mp3"), written.encode())
    found = records.provenance("talk.mp3")
    assert found is not None
    assert found.redo == "run-1"


def test_finishing_writes_the_formats_asked_for(records: Records) -> None:
    records.finish(DONE, ("vtt", "json"))
    assert set(records.store.names("")) == {"talk.vtt", "talk.json"}
    assert records.store.get("talk.vtt") == render(DONE, "vtt")


class Failing(FolderStore):
    """A disk that is full from the n-th file on."""

    room = 0

    def put(self, key: str, content: bytes, *, durable: bool = True) -> None:
        if not self.room:
            raise RetryableError("No space left on device.")
        self.room -= 1
        super().put(key, content, durable=durable)


@pytest.mark.parametrize("room", range(3))
def test_a_recording_is_not_finished_before_its_last_text_file_is_there(tmp_path: Path, room: int) -> None:
    store = Failing(tmp_path)
    store.room = room
    records = Records(store)
    with pytest.raises(RetryableError):
        records.finish(DONE, ("txt", "vtt", "srt"))
    assert records.provenance("talk.mp3") is None
    assert len(store.names("")) == room


def test_nothing_is_known_of_a_recording_never_seen(records: Records) -> None:
    assert records.provenance("a.mp3") is None
    assert records.transcript("a.mp3") is None
    assert records.failure("a.mp3") is None
    assert records.part(job(), slice_of()) is None
    assert list(records.activities()) == []
    assert not records.begun_stem("a.mp3")


WHOLE = DONE.model_dump(mode="json")
DAMAGED = [
    b"", b"\0" * 500, b"{", b"null", b"[]", b"{}", b"\xff\xfe", DONE.model_dump_json().encode()[:-20],
    json.dumps(WHOLE | {"version": 2}).encode(), json.dumps({k: v for k, v in WHOLE.items() if k != "stem"}).encode(),
    json.dumps(WHOLE | {"size": "many"}).encode(), b"[" * 100_000, b'{"version": 1' + b" " * 1000,
]  # fmt: skip


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_record_counts_as_absent(records: Records, content: bytes) -> None:
    """After a power cut or a careless edit; one of them must not end the night."""
    for key in (transcript_key("a.mp3"), failure_key("a.mp3"), JOBS + "here-1.json"):
        damage(records, key, content)
    records.put_part(job(slice_of("a.mp3")), slice_of("a.mp3"), part())
    [name] = [name for name in records.store.names(parts_folder("a.mp3")) if name.endswith(".json")]
    damage(records, parts_folder("a.mp3") + name, content)
    assert records.provenance("a.mp3") is None
    assert records.transcript("a.mp3") is None
    assert records.orphan(transcript_key("a.mp3")) is None
    assert records.failure("a.mp3") is None
    assert records.part(job(slice_of("a.mp3")), slice_of("a.mp3")) is None
    assert list(records.activities()) == []


def test_a_damaged_record_is_replaced_by_the_next_one(records: Records) -> None:
    damage(records, transcript_key("talk.mp3"), b"{")
    records.finish(DONE, ())
    assert records.transcript("talk.mp3") == DONE


# Renaming


def test_a_renamed_recording_takes_its_transcript_and_texts_along(records: Records) -> None:
    records.finish(DONE, ("txt", "srt"))
    records.rename(DONE, "2013/new.wav", 7, "2013/new", ("txt", "srt"))
    moved = records.transcript("2013/new.wav")
    assert moved == DONE.model_copy(update={"recording": "2013/new.wav", "mtime_ns": 7, "stem": "2013/new"})
    assert records.transcript("talk.mp3") is None
    assert records.store.names("") == []
    assert set(records.store.names("2013/")) == {"new.txt", "new.srt"}
    assert records.store.get("2013/new.srt") == render(DONE, "srt")


def test_a_text_file_that_someone_has_edited_stays_where_it_is(records: Records) -> None:
    records.finish(DONE, ("txt", "srt"))
    records.store.put("talk.txt", b"with corrections\n")
    records.rename(DONE, "new.mp3", 7, "new", ("txt", "srt"))
    assert records.store.get("talk.txt") == b"with corrections\n"
    assert set(records.store.names("")) == {"talk.txt", "new.txt", "new.srt"}


def test_a_recording_renamed_under_the_same_stem_keeps_its_texts(records: Records) -> None:
    """Another extension alone: the text files are the same ones."""
    records.finish(DONE, ("txt", "srt"))
    records.rename(DONE, "talk.wav", 7, "talk", ("txt", "srt"))
    assert set(records.store.names("")) == {"talk.txt", "talk.srt"}
    assert records.transcript("talk.wav") is not None


# Parts


def test_parts_are_whole_only_when_the_last_one_is_there(records: Records) -> None:
    slices = [slice_of(index=i, cuts=(10.0, 20.0)) for i in range(3)]
    whole = job(*slices)
    results = [part(segment(i * 10.0, i * 10.0 + 1, str(i))) for i in range(3)]
    for number in (2, 0):
        records.put_part(whole, slices[number], results[number])
        assert records.parts(whole, slices[0]) is None
    assert records.part(whole, slices[2]) == results[2]
    records.put_part(whole, slices[1], results[1])
    assert records.parts(whole, slices[1]) == results


def test_parts_of_other_options_or_other_sound_are_not_taken(records: Records) -> None:
    records.put_part(job(), slice_of(), part())
    assert records.part(job(options=OPTIONS.model_copy(update={"model": "base"})), slice_of()) is None
    assert records.part(job(redo="again"), slice_of()) is None
    changed = slice_of(fingerprint="10-def")
    assert records.part(job(changed), changed) is None
    assert records.part(job(formats=("json",)), slice_of()) == part()


def test_it_is_told_which_slices_have_their_parts(records: Records) -> None:
    slices = [slice_of(index=i, cuts=(10.0, 20.0)) for i in range(3)]
    whole = job(*slices)
    assert records.stored(whole, slices[0]) == frozenset()
    for number in (2, 0):
        records.put_part(whole, slices[number], part())
    assert records.stored(whole, slices[1]) == {0, 2}
    elsewhere = slice_of(cuts=(11.0, 20.0))
    assert records.stored(job(elsewhere), elsewhere) == frozenset()


def test_where_a_recording_was_cut_is_known_until_it_is_finished_or_changed(records: Records) -> None:
    assert records.kept_cuts("talk.mp3", "10-abc") is None
    records.keep_cuts("talk.mp3", "10-abc", (600.02, 1199.98))
    assert records.kept_cuts("talk.mp3", "10-abc") == (600.02, 1199.98)
    assert records.kept_cuts("talk.mp3", "10-def") is None
    records.drop_parts("talk.mp3")
    assert records.kept_cuts("talk.mp3", "10-abc") is None


def test_dropping_parts_leaves_nothing_of_them_and_touches_no_other(records: Records) -> None:
    records.put_part(job(), slice_of(), part())
    records.put_part(job(redo="again"), slice_of(), part())
    other = slice_of("other.mp3")
    records.put_part(job(other), other, part())
    assert records.begun_stem("talk.mp3")
    records.drop_parts("talk.mp3")
    assert not records.begun_stem("talk.mp3")
    assert records.begun_stem("other.mp3")
    assert list(records.store.walk(parts_folder("talk.mp3"))) == []


# Failures


def test_a_failure_is_remembered_until_it_is_forgiven(records: Records) -> None:
    records.fail(failure())
    assert records.failure("talk.mp3") == failure()
    records.fail(failure(reason="It is empty (0 bytes).", mtime_ns=None))
    assert records.failure("talk.mp3") == failure(reason="It is empty (0 bytes).", mtime_ns=None)
    for _ in range(2):
        records.forgive("talk.mp3")
    assert records.failure("talk.mp3") is None


# Activity


def test_what_workers_do_is_known_until_they_leave(records: Records) -> None:
    for worker in ("b-2", "a-1"):
        records.report(activity(worker=worker, done_s=3.5))
    assert [a.worker for a in records.activities()] == ["a-1", "b-2"]
    records.leave("a-1")
    assert list(records.activities()) == [activity(worker="b-2", done_s=3.5)]


def test_what_is_only_for_people_may_fail(tmp_path: Path) -> None:
    records = Records(FolderStore(tmp_path / "gone"))
    records.report(activity())
    records.leave("here-1")
    assert not (tmp_path / "gone").exists()


def test_a_record_is_read_by_the_next_release_with_the_fields_of_today() -> None:
    """Its fields are a promise; whoever adds one gives it a default."""
    assert Transcript.model_validate_json(json.dumps({k: WHOLE[k] for k in WHOLE if k not in ("redo", "version")}))
