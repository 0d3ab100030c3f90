"""List the voices of all recordings, and name them."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from nightscribe.server.auth import Reader, Writer, note, require_everything
from nightscribe.server.context import Serving
from nightscribe.server.database.log import Action
from nightscribe.server.ids import recording_id
from nightscribe.services.speakers import MOST_NAME_CHARS, VoiceBook, VoiceSummary

router = APIRouter(prefix="/speakers", tags=["speakers"])

VoiceId = Annotated[str, Path(max_length=40, description="The id of a voice, from the list.")]


class Sample(BaseModel):
    """Where a voice can be heard."""

    id: str = Field(description="Id of the recording.")
    start_s: float
    text: str


class Appearance(BaseModel):
    """A voice in one recording."""

    id: str = Field(description="Id of the recording.")
    recording: str
    label: str
    spoken_s: float


class VoiceItem(BaseModel):
    """A voice over all recordings."""

    id: str
    name: str | None
    spoken_s: float
    has_voiceprint: bool = Field(description="False if it cannot be recognized in another recording.")
    appearances: list[Appearance]
    sample: Sample | None


class Voices(BaseModel):
    """The voices: named ones first, then those that speak most."""

    voices: list[VoiceItem]
    n_recordings: int = Field(description="Recordings with labels of speakers.")
    n_unlabelled: int = Field(description="Recordings without.")


class VoiceName(BaseModel):
    """The name of a person."""

    name: str = Field(min_length=1, max_length=MOST_NAME_CHARS)


class Named(BaseModel):
    """What a new name has changed."""

    id: str
    name: str | None
    recordings: list[str]
    left: list[str] = Field(description="Text files that somebody has edited, which were left as they are.")


@router.get("")
def list_voices(principal: Reader, context: Serving) -> Voices:
    """List the voices of all recordings. It compares all voiceprints, which takes a while for thousands of them."""
    require_everything(principal)
    found = VoiceBook(context.dest, context.storage).all()
    return Voices(
        voices=[_voice(each) for each in found.voices],
        n_recordings=found.n_recordings,
        n_unlabelled=found.n_unlabelled,
    )


@router.put("/{voice}")
def name_voice(voice: VoiceId, new: VoiceName, principal: Writer, context: Serving) -> Named:
    """Name a voice in all recordings; workers recognize it from then on."""
    require_everything(principal)
    done = VoiceBook(context.dest, context.storage).name(voice, new.name)
    note(context, principal, Action.SPEAKER_NAMED, voice=done.voice)
    context.changed.set()
    return Named(id=done.voice, name=done.name, recordings=list(done.recordings), left=list(done.edited))


def _voice(voice: VoiceSummary) -> VoiceItem:
    at = voice.sample_at
    return VoiceItem(
        id=voice.id,
        name=voice.name,
        spoken_s=voice.spoken_s,
        has_voiceprint=voice.has_voiceprint,
        appearances=[
            Appearance(
                id=recording_id(each.recording), recording=each.recording, label=each.label, spoken_s=each.spoken_s
            )
            for each in voice.appearances
        ],
        sample=Sample(id=recording_id(at[0]), start_s=at[1], text=voice.sample) if at else None,
    )
