"""Whatever bytes others write, a reader returns a value or raises the error that it documents (bench/fuzz).

The same targets run for as long as you like with `./build.sh bench fuzz`; what that found is here as examples.
"""

import io
import json
from pathlib import Path

import pytest
from fuzz import media, records
from fuzz.target import Target
from hypothesis import HealthCheck, given, settings

from nightscribe.director.plan.bundles import MOST_SLICES, ROOM_BYTES, nominal_cut_points
from nightscribe.shared.audio.ffmpeg_process import Log, samples
from nightscribe.shared.audio.layout import Layout, Piece, read_layout
from nightscribe.shared.audio.probe import length_s
from nightscribe.shared.audio.wav import read_wav
from nightscribe.shared.destination.partial_results import Claim
from nightscribe.shared.errors import SetupError
from nightscribe.shared.settings import Settings

EXAMPLES = {"records": 60, "destination": 12, "messages": 60, "settings": 40, "secrets": 30}
UNHURRIED = [*HealthCheck]


@pytest.mark.parametrize("target", records.TARGETS, ids=lambda target: target.name)
def test_what_others_wrote_is_a_value_or_a_documented_error(target: Target) -> None:
    @settings(max_examples=EXAMPLES[target.name], suppress_health_check=UNHURRIED)
    @given(target.inputs)
    def check(content: bytes) -> None:
        target.check(content)

    check()


@settings(max_examples=150, suppress_health_check=UNHURRIED)
@given(media.files())
def test_the_structure_of_any_file_is_read_in_bounds(ffmpeg: None, case: bytes) -> None:
    media.parse(case)


@settings(max_examples=12, suppress_health_check=UNHURRIED)
@given(media.files())
def test_any_file_is_decoded_or_refused_and_its_slices_are_the_whole(ffmpeg: None, case: bytes) -> None:
    media.decode(case)


# What long runs, and thinking about them, have found


def caf(rate: bytes, chunk_bytes: int) -> bytes:
    """The head of a CAF with a rate, and a chunk that states its size."""
    desc = rate + b"lpcm" + bytes(4) + (2).to_bytes(4, "big") + (1).to_bytes(4, "big") + bytes(8)
    head = b"caff\0\1\0\0desc" + (32).to_bytes(8, "big") + desc
    return head + b"free" + chunk_bytes.to_bytes(8, "big") + bytes(100)


def test_an_offset_that_no_file_can_have_is_damage_and_no_trouble_of_the_disk(tmp_path: Path) -> None:
    """Otherwise it would be tried three times, and again by each run."""
    path = tmp_path / "a.caf"
    path.write_bytes(caf(bytes(8), 2**63 - 200))
    assert read_layout(path) == Layout()
    media.parse(b"caf\n" + path.read_bytes())


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0, 1e300, 1e9])
def test_a_length_that_cannot_be_is_none(seconds: float) -> None:
    """JSON has no infinity, and a plan has an entry for every ten minutes."""
    assert length_s(Piece(), Layout(stated_s=seconds), None) is None
    assert length_s(Piece(), Layout(), seconds) is None


def test_a_wav_that_states_centuries_has_no_length() -> None:
    ds64 = b"ds64" + (28).to_bytes(4, "little") + bytes(8) + (2**61).to_bytes(8, "little") + bytes(12)
    fmt = b"fmt " + (16).to_bytes(4, "little") + bytes.fromhex("0100010001000000010000000100 0800")
    content = b"RF64\xff\xff\xff\xffWAVE" + ds64 + fmt + b"data\xff\xff\xff\xff" + bytes(50)
    wav = read_wav(io.BytesIO(content), 0, len(content))
    assert wav is not None
    assert wav.seconds == 2**61
    assert length_s(Piece(wav=wav), Layout(), None) is None


def test_a_recording_has_no_more_slices_than_a_message_can_name() -> None:
    cuts = nominal_cut_points(366 * 24 * 3600, 60)
    assert len(cuts) + 1 == MOST_SLICES
    assert len(json.dumps(cuts, separators=(",", ":"))) < ROOM_BYTES


def test_a_number_in_a_matroska_file_takes_no_more_room_than_a_number() -> None:
    """It states a length of 2**40 bytes, for which Python would make room."""
    element = b"\xe7\x01" + (2**40).to_bytes(7, "big")
    case = b"mka\n\x1aE\xdf\xa3\x80\x18S\x80g\x01\xff\xff\xff\xff\xff\xff\xff" + element + bytes(100)
    media.parse(case)


def test_empty_tags_without_end_are_not_followed_to_the_end() -> None:
    """Each look would read the next 64 KiB."""
    media.parse(b"mp3\n" + b"ID3\x04\0\0\0\0\0\0" * 20_000)


def test_sound_before_the_beginning_is_left_out_piece_by_piece() -> None:
    """There may be hours of it."""
    sound = io.BytesIO(bytes(2 * 3_000_000) + b"\1\0" * 10)
    log = Log()
    log.begins_at = -3_000_000
    largest = 0

    def read(n_bytes: int) -> bytes:
        nonlocal largest
        largest = max(largest, n_bytes)
        return sound.read(n_bytes)

    assert sum(len(chunk) for chunk in samples(read, 1, log)) == 10
    assert largest < 1_000_000


@pytest.mark.parametrize("worker", ["../../x", "a\0b", "/etc/passwd"])
def test_a_claim_leads_to_no_other_file(worker: str) -> None:
    """Its worker's name is part of a file name."""
    claim = json.dumps({"stem": "talk", "worker": worker, "message": "m"}).encode()
    with pytest.raises(ValueError, match="is not the name of a worker"):
        Claim.model_validate_json(claim)
    records.read_everything(claim)


def test_a_file_of_secrets_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "secrets"
    path.write_bytes(b"\xc9|\xd5")
    with pytest.raises(SetupError, match=r"is not text in UTF-8\.$"):
        _ = Settings(queue_secret_file=str(path)).queue_secrets


def test_a_cue_of_many_lines_is_made_in_bounded_time() -> None:
    """The best division of each into lines was sought among all, which took minutes for a few kilobytes."""
    from making import segment, transcript

    from nightscribe.shared.formats.registry import render
    from nightscribe.shared.model.jobs import Layout as TextLayout

    looped = transcript(segment(0, 0, "a " * 600), layout=TextLayout(line_chars=11, lines=10**9))
    assert render(looped, "srt").decode().count("a") == 600
