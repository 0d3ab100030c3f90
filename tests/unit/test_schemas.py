"""Records as every release reads them: one frozen schema for each version, in tests/schemas/."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from making import OPTIONS, WHEN, activity, failure, job, part, run_of, segment, slice_of, transcript

from nightscribe.shared.model.activity import Activity, Run
from nightscribe.shared.model.content_hash import ContentHash
from nightscribe.shared.model.failure import Failure
from nightscribe.shared.model.jobs import Job, Layout
from nightscribe.shared.model.speakers import LocalSpeakers, Speaker, SpeakerTurn
from nightscribe.shared.model.transcript import (
    AudioTrack,
    Correction,
    Flag,
    LanguagePrior,
    Part,
    Review,
    Transcript,
    Word,
)
from nightscribe.shared.model.versioned import Stored, Versioned
from nightscribe.shared.model.voice import Voice

SCHEMAS = Path(__file__).parents[1] / "schemas"
MODELS: dict[str, type[Stored]] = {
    "transcript": Transcript, "part": Part, "failure": Failure, "job": Job, "activity": Activity, "run": Run,
    "content_hash": ContentHash, "voice": Voice,
}  # fmt: skip

OLD_WORDS = (Word(0.0, 0.5, "Hello"), Word(0.5, 1.0, " there."))
NEW_WORDS = (Word(0.0, 0.5, "Hello", "anna"), Word(0.5, 1.0, " there."))
OTHER_TRACK = AudioTrack(number=2, language="deu", title="Interpreter", transcribed=False)
PRIOR = LanguagePrior(alone="ca", alone_probability=0.4, folder={"es": 7})
EXAMPLES: list[tuple[str, int, Stored]] = [
    ("transcript", 1, transcript(segment(words=OLD_WORDS), segment(1, 2), redo="1")),
    (
        "transcript",
        2,
        transcript(
            segment(words=NEW_WORDS, speaker="anna", average_log_probability=None),
            content_sha256="0" * 64,
            reviewed=Review(by="Berta", at=WHEN),
            corrections=(Correction(by="Berta", at=WHEN, start_s=0, end_s=1, before="Hallo.", after="Hello."),),
        ),
    ),
    ("part", 1, part(segment(words=OLD_WORDS))),
    ("part", 2, part(segment(words=NEW_WORDS), segment(compression_ratio=None))),
    ("part", 2, part(segment(), flags=(Flag.GAP,))),
    ("part", 2, part(segment(confidence=0.3))),
    ("part", 2, part(segment(), language_prior=PRIOR)),
    ("transcript", 2, transcript(segment(), language_prior=PRIOR)),
    ("transcript", 2, transcript(segment(), confidence=0.3)),
    ("transcript", 2, transcript(segment(), options=OPTIONS.model_copy(update={"languages": ("ca", "es")}))),
    ("job", 2, job(options=OPTIONS.model_copy(update={"languages": ("ca", "es")}))),
    ("transcript", 2, transcript(segment(), flags=(Flag.GAP,))),
    ("part", 2, part(segment(), speakers=LocalSpeakers())),
    ("transcript", 2, transcript(segment(also_speaking=("Speaker 2",)))),
    (
        "transcript",
        2,
        transcript(
            segment(),
            turns=(SpeakerTurn(start_s=0, end_s=1, speaker="Speaker 1"),),
            speakers=(Speaker(label="Speaker 1", clean_s=1, name="Anna", voice="v1", name_confidence=0.5),),
        ),
    ),
    ("part", 2, part(segment(), tracks=(AudioTrack(number=1, transcribed=True), OTHER_TRACK))),
    ("transcript", 2, transcript(segment(), tracks=(AudioTrack(number=1, transcribed=True), OTHER_TRACK))),
    ("failure", 1, failure(reason="Something that nobody has a code for.")),
    ("failure", 2, failure(code="text_not_sound")),
    ("job", 1, job(slice_of(cuts=(5.0,), index=1), redo="1")),
    ("job", 2, job(formats=("txt", "docx"))),
    ("job", 2, job(options=OPTIONS.model_copy(update={"speakers": "auto", "max_speakers": 4}))),
    ("transcript", 2, transcript(segment(), options=OPTIONS.model_copy(update={"speakers": "2"}))),
    ("job", 2, job(options=OPTIONS.model_copy(update={"tracks": "all"}))),
    ("job", 2, job(options=OPTIONS.model_copy(update={"hotwords": ("Tilney",), "prompt": "A talk."}))),
    ("job", 2, job(options=OPTIONS.model_copy(update={"beam_size": 5, "initial_silence": 0.5}))),
    ("job", 2, job(options=OPTIONS.model_copy(update={"task": "translate", "translate_to": "de"}))),
    ("transcript", 2, transcript(segment(), options=OPTIONS.model_copy(update={"condition_on_previous": True}))),
    ("transcript", 2, transcript(segment(), options=OPTIONS.model_copy(update={"compute_type": "float32"}))),
    ("job", 2, job(layout=Layout(subtitles="netflix"))),
    ("transcript", 2, transcript(segment(), layout=Layout(subtitles="bbc"))),
    ("activity", 1, activity()),
    ("voice", 1, Voice(id="v12345f", name="Anna", voiceprints=("AAAA",), changed_at=WHEN)),
    ("run", 1, run_of()),
    (
        "content_hash",
        1,
        ContentHash(recording="talk.mp3", fingerprint="10-abc", finished_at=WHEN, mtime_ns=1, sha256="0" * 64),
    ),
]


def frozen(name: str, version: int) -> Any:
    return json.loads((SCHEMAS / f"{name}-{version}.json").read_text())


def structure(schema: Any) -> Any:
    """A schema without what only people read."""
    if isinstance(schema, list):
        return [structure(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: structure(each) for name, each in value.items()}
        if key in ("properties", "$defs")
        else structure(value)
        for key, value in schema.items()
        if key not in ("title", "description", "additionalProperties")
    }


def newest(model: type[Stored]) -> int:
    return model.newest_version() if issubclass(model, Versioned) else 1


@pytest.mark.parametrize("name", MODELS)
def test_a_record_changes_only_with_a_new_version(name: str) -> None:
    """Another release reads these records.

    A change that is meant takes a new version: add its number to `version`, let `lowest_version` return it where the
    change is used, put the new schema beside the others, and read docs/architecture.md, "Records". The schemas of
    earlier versions are never changed.
    """
    assert structure(MODELS[name].model_json_schema()) == structure(frozen(name, newest(MODELS[name])))


@pytest.mark.parametrize("name", MODELS)
def test_every_version_has_its_schema_and_an_example(name: str) -> None:
    versions = set(range(1, newest(MODELS[name]) + 1))
    assert {int(path.stem.partition("-")[2]) for path in SCHEMAS.glob(f"{name}-*.json")} == versions
    assert {version for other, version, _ in EXAMPLES if other == name} == versions


@pytest.mark.parametrize(("name", "version", "record"), EXAMPLES, ids=[f"{n}-{v}" for n, v, _ in EXAMPLES])
def test_a_record_is_written_as_the_lowest_version_that_holds_it(name: str, version: int, record: Stored) -> None:
    """Those of version 1 by the schema of the first release, which takes no field it does not know."""
    written = record.model_dump_json()
    assert json.loads(written).get("version", 1) == version
    for known in range(1, newest(MODELS[name]) + 1):
        assert Draft202012Validator(frozen(name, known)).is_valid(json.loads(written)) == (known >= version)
    assert type(record).model_validate_json(written) == record
