"""The list of recordings: what is known of each, filtered, sorted, by pages, and always what the records say."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from making import WHEN, failure, segment, transcript

from nightscribe.search.library import Choice, Sort
from nightscribe.services.correct import ChangedMeanwhile, correct_passage, undo
from nightscribe.services.library import facets, list_recordings, next_in_doubt
from nightscribe.services.review import approve, look_at
from nightscribe.services.search import index
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import ValueRefused
from nightscribe.shared.model.corrections import corrected, tag_of
from nightscribe.shared.model.doubt import doubtful
from nightscribe.shared.model.speakers import Speaker
from nightscribe.shared.model.transcript import Flag
from nightscribe.shared.storage.folder.location import FolderLocation
from nightscribe.shared.storage.folder.store import FolderStore

LABELLED = {"options": {"engine": "auto", "model": "tiny.en", "speakers": "auto"}}


@pytest.fixture
def dest(tmp_path: Path) -> FolderLocation:
    """Three transcripts and a failure in three folders."""
    records = Records(FolderStore(tmp_path))
    kept(records, "2012/b/talk.mp3", decoded_s=60.0, language="de", flags=(Flag.GAP,))
    unsure = (segment(0, 2, "Perhaps this."), segment(2, 4, "Or that.", confidence=0.4, speaker="Speaker 1"))
    kept(
        records,
        "2012/interview.mp3",
        *unsure,
        segment(4, 6, "Or those.", confidence=0.3, speaker="Speaker 2"),
        speakers=(Speaker(label="Speaker 1", clean_s=2, name="Anna"), Speaker(label="Speaker 2", clean_s=2)),
        decoded_s=30.0,
        finished_at=WHEN + timedelta(hours=1),
        flags=(Flag.GAP, Flag.LOW_CONFIDENCE),
        **LABELLED,
    )
    kept(records, "Ärger 100%.wav", *unsure, decoded_s=10.0, finished_at=WHEN - timedelta(hours=1))
    records.fail(failure("2013/broken.mp3", code="not_audio", failed_at=WHEN + timedelta(days=1)))
    location = FolderLocation(tmp_path)
    index(location)
    return location


def kept(records: Records, recording: str, *segments: Any, **changes: Any) -> None:
    made = transcript(*segments, recording=recording, stem=recording, formats=(), **changes)
    records.finish(made, ())


def names(dest: FolderLocation, sort: Sort = "name", limit: int = 50, offset: int = 0, **choice: Any) -> list[str]:
    page = list_recordings(dest, Choice(**choice), sort, limit=limit, offset=offset).page
    return [each.recording.rpartition("/")[2] for each in page.items]


def test_recordings_are_sorted(dest: FolderLocation) -> None:
    assert names(dest) == ["broken.mp3", "interview.mp3", "talk.mp3", "Ärger 100%.wav"]
    assert names(dest, "newest") == ["broken.mp3", "interview.mp3", "talk.mp3", "Ärger 100%.wav"]
    assert names(dest, "oldest")[0] == "Ärger 100%.wav"
    assert names(dest, "longest")[:2] == ["talk.mp3", "interview.mp3"]
    assert names(dest, "doubt")[:2] == ["interview.mp3", "Ärger 100%.wav"]
    assert names(dest, limit=2, offset=1) == ["interview.mp3", "talk.mp3"]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"text": "ärger 100%"}, ["Ärger 100%.wav"]),
        ({"text": "TALK 2012"}, ["talk.mp3"]),
        ({"text": "' OR 1=1"}, []),
        ({"folder": "2012"}, ["interview.mp3", "talk.mp3"]),
        ({"folder": "2012/b/"}, ["talk.mp3"]),
        ({"folder": "201"}, []),
        ({"state": "failed"}, ["broken.mp3"]),
        ({"state": "review"}, ["interview.mp3", "Ärger 100%.wav"]),
        ({"state": "done", "language": "de"}, ["talk.mp3"]),
        ({"flag": "gap"}, ["interview.mp3", "talk.mp3"]),
        ({"flag": "low"}, []),
        ({"speaker": "Anna"}, ["interview.mp3"]),
        ({"code": "not_audio"}, ["broken.mp3"]),
    ],
)
def test_recordings_are_filtered(dest: FolderLocation, choice: dict[str, Any], expected: list[str]) -> None:
    assert names(dest, **choice) == expected


def test_a_list_says_what_there_is_to_choose_from(dest: FolderLocation) -> None:
    listed = list_recordings(dest, Choice())
    assert (listed.page.n_total, listed.page.duration_s) == (4, 100.0)
    found = facets(dest)
    assert (found.n_recordings, found.n_failed, found.n_to_review, found.n_reviewed) == (4, 1, 2, 0)
    assert found.folders == {"2012": 2, "2013": 1}
    assert found.flags == {"gap": 2, "low confidence": 1}
    assert found.speakers == {"Anna": 1, "Speaker 2": 1}
    assert found.codes == {"not_audio": 1}
    assert facets(dest, "2012").folders == {"2012/b": 1}


def test_the_list_follows_the_records(dest: FolderLocation) -> None:
    records = Records(dest.open_store(None))  # type: ignore[arg-type]
    records.forgive("2013/broken.mp3")
    kept(records, "2013/broken.mp3", segment())
    correct_passage(dest, "2012/interview.mp3", 2, "Or that thing.", by="Berta")
    index(dest)
    listed = list_recordings(dest, Choice())
    assert (listed.page.n_total, facets(dest).n_failed) == (4, 0)
    [item] = list_recordings(dest, Choice(text="interview")).page.items
    assert (item.n_corrections, item.n_doubtful, item.speakers) == (1, 1, ("Anna", "Speaker 2"))
    index(dest, rebuild=True)
    assert list_recordings(dest, Choice()).page.n_total == 4


def test_what_a_person_has_looked_at_is_no_longer_in_doubt(dest: FolderLocation) -> None:
    records = Records(dest.open_store(None))  # type: ignore[arg-type]
    name = "2012/interview.mp3"
    assert next_in_doubt(dest) == name
    assert next_in_doubt(dest, name) == "Ärger 100%.wav"
    assert next_in_doubt(dest, "Ärger 100%.wav") is None
    assert [each.text for each in doubtful(look_at(dest, name, 2.0, by="Berta"))] == ["Or those."]
    correct_passage(dest, name, 4, "Or these.", by="Berta")
    found = records.transcript(name)
    assert found is not None
    assert not doubtful(found)
    assert [(each.by, each.start_s) for each in found.looked_at] == [("Berta", 2.0)]
    look_at(dest, name, 2.0, by="Berta", is_right=False)
    undo(dest, name, by="Berta")
    assert doubtful(approve(dest, name, by="Berta")) == ()
    assert approve(dest, name, by="Berta", is_approved=False).reviewed is None
    with pytest.raises(ValueRefused, match="begins at 3 s"):
        look_at(dest, name, 3.0, by="Berta")


def test_a_correction_of_words_that_somebody_else_has_changed_is_refused(dest: FolderLocation) -> None:
    name, seen = "2012/interview.mp3", tag_of("Or that.")
    correct_passage(dest, name, 2, "Or that one.", by="Anna", tag=seen)
    with pytest.raises(ChangedMeanwhile, match="Somebody else"):
        correct_passage(dest, name, 2, "Or that thing.", by="Berta", tag=seen)
    correct_passage(dest, name, 4, "Or these.", by="Berta", tag=tag_of("Or those."))  # another passage
    found = Records(dest.open_store(None)).transcript(name)  # type: ignore[arg-type]
    assert found is not None
    assert [each.text for each in corrected(found).segments] == ["Perhaps this.", "Or that one.", "Or these."]


def test_of_two_passages_at_one_time_the_one_that_was_seen_is_corrected(tmp_path: Path) -> None:
    records = Records(FolderStore(tmp_path))
    kept(records, "call.wav", segment(0, 2, "Hello there."), segment(0, 2, "Good morning."))
    correct_passage(FolderLocation(tmp_path), "call.wav", 0, "Good evening.", by="Anna", tag=tag_of("Good morning."))
    correct_passage(FolderLocation(tmp_path), "call.wav", 0, "Hello you.", by="Anna", tag=tag_of("Hello there."))
    found = records.transcript("call.wav")
    assert found is not None
    assert [each.text for each in corrected(found).segments] == ["Hello you.", "Good evening."]
