"""The voices of a destination: the same person in many recordings, their names, and what becomes of the texts."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from making import OPTIONS, segment, transcript

from nightscribe.cli.main import cli
from nightscribe.services.speakers import VoiceBook, VoicesFound
from nightscribe.services.verify import verify
from nightscribe.shared.destination.keys import VOICES
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import ValueRefused
from nightscribe.shared.model.speakers import Speaker, encode_embedding
from nightscribe.shared.model.transcript import Transcript
from nightscribe.shared.model.voice import Voice
from nightscribe.shared.speakers.recognition import recognized
from nightscribe.shared.storage.folder.location import FolderLocation
from nightscribe.shared.storage.folder.store import FolderStore

LABELLED = OPTIONS.model_copy(update={"speakers": "auto"})
FORMATS = ("txt", "vtt", "srt")
PEOPLE = {name: np.random.default_rng(n).normal(size=192) for n, name in enumerate(("Anna", "Ben", "Cleo"))}


def speaker(number: int, person: str, occasion: int = 0, clean_s: float = 30.0) -> Speaker:
    """How a person sounds in a recording: never the same twice."""
    noise = np.random.default_rng([occasion, number]).normal(size=192)
    return Speaker(label=f"Speaker {number}", embedding=encode_embedding(PEOPLE[person] + 0.5 * noise), clean_s=clean_s)


class Place:
    """A destination with finished recordings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records = Records(FolderStore(folder))

    @property
    def book(self) -> VoiceBook:
        return VoiceBook(FolderLocation(self.folder))

    def finish(self, recording: str, *people: str, occasion: int = 0, embeddings: bool = True) -> Transcript:
        """Let these people have talked, one sentence each."""
        speakers = [speaker(n, person, occasion) for n, person in enumerate(people, 1)]
        found = recognized(speakers, self.records.voices)
        made = transcript(
            *(segment(10 * n, 10 * n + 9, f"This is {p}.", speaker=f"Speaker {n + 1}") for n, p in enumerate(people)),
            recording=recording,
            stem=recording.rpartition(".")[0],
            decoded_s=100.0,
            container_s=100.0,
            options=LABELLED,
            speakers=tuple(each if embeddings else each.model_copy(update={"embedding": None}) for each in found),
        )
        self.records.finish(made, FORMATS)
        return made

    def text(self, name: str) -> str:
        return (self.folder / name).read_text()

    def transcript(self, recording: str) -> Transcript:
        found = self.records.transcript(recording)
        assert found
        return found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Anna talks to Ben, to Cleo, and to herself."""
    made = Place(tmp_path)
    made.finish("1.mp3", "Anna", "Ben", occasion=1)
    made.finish("2012/2.mp3", "Cleo", "Anna", occasion=2)
    made.finish("3.mp3", "Anna", occasion=3)
    made.records.finish(transcript(recording="4.mp3", stem="4"), FORMATS)
    return made


def people(found: VoicesFound) -> list[tuple[str | None, list[str]]]:
    return [(each.name, [seen.recording for seen in each.appearances]) for each in found.voices]


def id_of(place: Place, recording: str, label: str) -> str:
    [voice] = [
        each.id for each in place.book.all().voices for seen in each.appearances
        if (seen.recording, seen.label) == (recording, label)
    ]  # fmt: skip
    return voice


def test_a_person_in_many_recordings_is_one_voice(place: Place) -> None:
    found = place.book.all()
    assert people(found) == [(None, ["1.mp3", "2012/2.mp3", "3.mp3"]), (None, ["1.mp3"]), (None, ["2012/2.mp3"])]
    assert (found.n_recordings, found.n_unlabelled) == (3, 1)
    assert (found.voices[0].spoken_s, found.voices[0].has_voiceprint) == (90.0, True)
    assert found.voices[1].sample == "This is Ben."
    assert found.voices[1].sample_at == ("1.mp3", 10.0)
    assert [each.id for each in place.book.all().voices] == [each.id for each in found.voices]


def test_a_name_is_written_into_every_recording_of_the_voice_and_no_other(place: Place) -> None:
    before = place.text("4.txt")
    changed = place.book.name(id_of(place, "1.mp3", "Speaker 1"), " Grand\nma ")
    assert changed.name == "Grand ma"
    assert changed.recordings == ("1.mp3", "2012/2.mp3", "3.mp3")
    assert place.text("1.txt") == "Grand ma: This is Anna.\n\nSpeaker 2: This is Ben.\n"
    assert place.text("2012/2.txt") == "Speaker 1: This is Cleo.\n\nGrand ma: This is Anna.\n"
    assert "<v Grand ma>This is Anna." in place.text("2012/2.vtt")
    assert place.text("4.txt") == before
    assert set(changed.written) >= {"1.txt", "1.srt", "1.vtt", "3.txt"}
    assert people(place.book.all())[0] == ("Grand ma", ["1.mp3", "2012/2.mp3", "3.mp3"])
    again = place.book.name("grand MA", "Anna")
    assert again.voice == changed.voice
    assert place.text("3.txt") == "Anna: This is Anna.\n"


def test_a_new_recording_gets_known_names_by_itself_with_how_sure_that_is(place: Place) -> None:
    place.book.name("1.mp3#1", "Anna")
    made = place.finish("new.mp3", "Ben", "Anna", occasion=9)
    assert [each.name for each in made.speakers] == [None, "Anna"]
    assert 0.6 < (made.speakers[1].name_confidence or 0) < 1
    assert place.text("new.txt") == "Speaker 1: This is Ben.\n\nAnna: This is Anna.\n"
    [anna] = [each for each in place.book.all().voices if each.name]
    assert [seen.confidence is None for seen in anna.appearances] == [True, True, True, False]


def test_of_two_similar_speakers_of_a_recording_only_one_has_a_known_voice() -> None:
    anna = Voice(
        id="v123456", name="Anna", voiceprints=(encode_embedding(PEOPLE["Anna"]),), changed_at=transcript().finished_at
    )
    near, far = speaker(1, "Anna", 1), speaker(2, "Anna", 2)
    assert sorted(each.name or "" for each in recognized([near, far], [anna])) == ["", "Anna"]
    short = speaker(1, "Anna", 1, clean_s=2.0)
    assert recognized([short], [anna]) == [short]


def test_a_text_that_somebody_edited_is_left_as_it_is(place: Place) -> None:
    (place.folder / "1.txt").write_text("Anna: My own words.\n")
    changed = place.book.name("1.mp3#1", "Anna")
    assert changed.edited == ("1.txt",)
    assert place.text("1.txt") == "Anna: My own words.\n"
    assert "Anna: This is Anna." in place.text("1.srt")
    assert not list(place.folder.glob("*kept*"))


def test_two_voices_of_one_person_are_merged(place: Place) -> None:
    place.book.name("1.mp3#2", "Ben")
    changed = place.book.merge(id_of(place, "2012/2.mp3", "Speaker 1"), ["Ben"])
    assert changed.name == "Ben"
    assert place.text("2012/2.txt").startswith("Ben: This is Cleo.")
    assert people(place.book.all())[0] == ("Ben", ["1.mp3", "2012/2.mp3"])
    [stored] = place.records.voices
    assert len(stored.voiceprints) == 2
    assert [each.name for each in place.finish("new.mp3", "Cleo", "Anna", occasion=8).speakers] == ["Ben", None]


def test_a_recording_of_another_person_is_split_off_and_stays_apart(place: Place) -> None:
    place.book.name("1.mp3#1", "Anna")
    changed = place.book.split("Anna", ["3.mp3"])
    assert changed.recordings == ("3.mp3",)
    assert place.text("3.txt") == "This is Anna.\n"
    assert people(place.book.all())[0] == ("Anna", ["1.mp3", "2012/2.mp3"])
    place.book.name(changed.voice, "Aunt Anna")
    assert place.text("3.txt") == "Aunt Anna: This is Anna.\n"
    assert ("Anna", ["1.mp3", "2012/2.mp3"]) in people(place.book.all())


def test_a_forgotten_voice_leaves_no_voiceprint_and_keeps_its_name_in_the_texts(place: Place) -> None:
    place.book.name("1.mp3#1", "Anna")
    changed = place.book.forget(["Anna"])
    assert changed.recordings == ("1.mp3", "2012/2.mp3", "3.mp3")
    assert list(place.records.voices) == []
    assert place.text("3.txt") == "Anna: This is Anna.\n"
    [anna] = [each for each in place.book.all().voices if each.name]
    assert (len(anna.appearances), anna.has_voiceprint) == (3, False)
    assert [each.name for each in place.finish("new.mp3", "Anna", "Ben", occasion=9).speakers] == [None, None]
    place.book.forget([])
    held = b"".join(path.read_bytes() for path in place.folder.rglob("*") if path.is_file())
    assert b"embedding" not in held
    assert not list((place.folder / VOICES).glob("*.json"))


def test_speakers_without_voiceprints_are_listed_by_recording_and_can_be_named(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for n in range(2):
        place.finish(f"{n}.mp3", "Anna", "Ben", occasion=n, embeddings=False)
    found = place.book.all()
    assert [len(each.appearances) for each in found.voices] == [1, 1, 1, 1]
    assert not any(each.has_voiceprint for each in found.voices)
    place.book.name("0.mp3#Speaker 2", "Ben")
    assert "Ben: This is Ben." in place.text("0.txt")
    assert "Ben:" not in place.text("1.txt")


def test_what_cannot_be_is_refused_in_a_sentence(place: Place) -> None:
    anna = id_of(place, "1.mp3", "Speaker 1")
    place.book.name(anna, "Anna")
    for call, why in (
        (
            lambda: place.book.name("nobody", "Ben"),
            "There is no voice 'nobody'. To list all voices: nightscribe speakers",
        ),
        (lambda: place.book.name("1.mp3#7", "Ben"), "There is no voice '1.mp3#7'"),
        (lambda: place.book.name("", "Ben"), "There is no voice ''"),
        (lambda: place.book.name(anna, " \n"), "The name is empty."),
        (lambda: place.book.name(anna, "x" * 81), "at most 80"),
        (lambda: place.book.name("1.mp3#2", "anna"), "'Anna' is already the name of the voice"),
        (lambda: place.book.merge("Anna", [anna]), "Name different voices"),
        (lambda: place.book.split("Anna", ["4.mp3"]), "does not speak in '4.mp3'"),
        (lambda: place.book.split("1.mp3#2", ["1.mp3"]), "nothing is left to split off"),
    ):
        with pytest.raises(ValueRefused) as refused:
            call()
        assert why in str(refused.value)


def test_two_commands_that_name_different_voices_do_not_undo_each_other(place: Place) -> None:
    """Each has read the voices before the other one wrote."""
    first, second = place.book, place.book
    ben = id_of(place, "1.mp3", "Speaker 2")
    first.name("1.mp3#1", "Anna")
    second.name(ben, "Ben")
    assert place.text("1.txt") == "Anna: This is Anna.\n\nBen: This is Ben.\n"
    assert {each.name for each in place.records.voices} == {"Anna", "Ben"}


def test_many_occasions_of_many_people_are_as_many_voices(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for n in range(10):
        place.finish(f"{n}.mp3", *list(PEOPLE)[: 1 + n % 3], occasion=n)
    assert [len(each.appearances) for each in place.book.all().voices] == [10, 6, 3]


# The command


def call(*arguments: str | Path) -> str:
    done = CliRunner().invoke(cli, ["speakers", *map(str, arguments)], prog_name="nightscribe")
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_recording_in_which_nobody_speaks_lacks_no_labels(place: Place) -> None:
    before = place.book.all()
    place.finish("silence.mp3")
    after = place.book.all()
    assert (after.n_recordings, after.n_unlabelled) == (before.n_recordings, before.n_unlabelled)


def test_the_command_lists_voices_and_says_what_to_type_next(place: Place) -> None:
    said = call(place.folder)
    assert said == call("list", place.folder)
    anna = id_of(place, "1.mp3", "Speaker 1")
    assert said.startswith("3 voices in 3 recordings, 0 with a name\n")
    assert f"{anna}  (no name)  3 recordings, speaks for 1 min 30 s" in said
    assert "    1.mp3 at 0:10: This is Ben.\n    1.mp3  Speaker 2\n" in said
    assert f'nightscribe speakers name {place.folder} {anna} "Grandma"' in said
    assert "1 recording without labels" in said
    made = call("name", place.folder, anna, "Anna")
    assert made == f"The voice {anna} is 'Anna'. 3 transcripts and 9 text files written again.\n"
    place.finish("new.mp3", "Anna", "Ben", occasion=7)
    assert "new.mp3  Speaker 1  recognized, similarity 0." in call(place.folder)
    held = json.loads(call("list", place.folder, "--json"))
    assert [each["name"] for each in held["voices"]] == ["Anna", None, None]
    assert call("merge", place.folder, anna, "2012/2.mp3#1").startswith(f"They are one voice: {anna}, 'Anna'. ")
    assert call("split", place.folder, "Anna", "3.mp3").startswith("The new voice is v")
    (place.folder / "1.srt").write_text("mine")
    assert call("name", place.folder, "Anna", "Ann").endswith("1 text file edited by hand is left as it is:\n  1.srt\n")
    assert call("forget", place.folder, "--all").startswith("The voiceprints are deleted. ")
    assert "Ann  4 recordings, speaks for 2 min 00 s, no voiceprint" in call(place.folder)


def test_without_labels_the_command_says_how_to_get_them(tmp_path: Path) -> None:
    Records(FolderStore(tmp_path)).finish(transcript(), FORMATS)
    assert call(tmp_path).endswith(f"nightscribe run SOURCE {tmp_path} --speakers auto\n")


def test_a_verify_knows_the_voices(place: Place) -> None:
    place.book.name("1.mp3#1", "Anna")
    found = verify(FolderLocation(place.folder))
    assert [each.kind for each in found.problems] == []
    [stored] = (place.folder / VOICES).glob("*.json")
    stored.write_text("{")
    assert [each.path for each in verify(FolderLocation(place.folder)).problems] == [f"{VOICES}{stored.name}"]
