"""How many words of a segment are probably right, and where that is stored and shown."""

import json
from dataclasses import replace
from importlib.resources import files
from typing import Any

import pytest
from making import part, segment, slice_of, transcript
from test_transcript import merged

from nightscribe.shared.model.transcript import Flag, Segment, Word
from nightscribe.views.humanize import flag_names
from nightscribe.worker.pipeline import confidence as module
from nightscribe.worker.pipeline.assemble import SliceState, assemble
from nightscribe.worker.pipeline.confidence import Evidence, confidence, features, model
from nightscribe.worker.pipeline.segmentation import continued
from nightscribe.worker.pipeline.window_reader import SliceEnd

SURE = Evidence(
    "It was the best of times, it was the worst of times.", 3.5, -0.15, no_speech_probability=0.02, speech_share=0.9
)


def test_a_sure_sentence_is_believed() -> None:
    assert confidence(SURE) > 0.85


@pytest.mark.parametrize(
    "doubt",
    [
        {"average_log_probability": -1.2},
        {"average_log_probability": -0.8, "agreement": 0.3},
        {"average_log_probability": -0.6, "agreement": 0.4, "no_speech_probability": 0.6, "speech_share": 0.2},
        {"average_log_probability": -0.7, "text": "I'm not no I'm not no", "agreement": 0.3, "speech_share": 0.4},
    ],
)
def test_each_cause_of_doubt_lowers_the_confidence_below_the_line(doubt: dict[str, Any]) -> None:
    assert confidence(replace(SURE, **doubt)) < model().doubtful_below


def test_what_is_unknown_is_no_cause_of_doubt() -> None:
    """Another engine gives fewer scores."""
    known = replace(SURE, no_speech_probability=0.0, agreement=1.0, language_probability=1.0, speech_share=1.0)
    unknown = Evidence(SURE.text, SURE.seconds, SURE.average_log_probability)
    assert confidence(unknown) == confidence(known)


def test_the_stored_model_has_a_factor_only_for_known_features_and_none_that_rewards_a_doubt() -> None:
    stored = json.loads((files(module.__package__) / "confidence.json").read_text())
    assert set(stored["coefficients"]) <= set(features(SURE))
    assert all(factor <= 0 for factor in stored["coefficients"].values())
    for name in ("made_by", "models", "engine", "fitted_on", "tested_on"):
        assert stored[name], "how it was made"


def test_the_stored_model_reached_its_aim_on_recordings_that_it_was_not_fitted_on() -> None:
    tested = json.loads((files(module.__package__) / "confidence.json").read_text())["tested_on"]
    assert tested["bad_flagged"] >= 0.8 * tested["bad"] > 0
    assert tested["good_flagged"] <= 0.05 * tested["good"] > 0


# In the record


def assembled(*segments: Segment) -> Any:
    state = SliceState(slice_of(), given_language="en", segments=list(segments))
    return assemble(state, SliceEnd(slice_of()), "engine 1")


def test_confidence_is_stored_where_there_is_doubt_and_nowhere_else() -> None:
    """A record with it is one that the first release cannot read."""
    line = model().doubtful_below
    good = assembled(segment(0, 1, confidence=line + 0.1))
    assert (good.segments[0].confidence, good.version, good.flags) == (None, 1, ())
    mixed = assembled(segment(0, 1, confidence=line + 0.1), segment(1, 2, confidence=line - 0.1))
    assert [each.confidence for each in mixed.segments] == [None, pytest.approx(line - 0.1)]
    assert (mixed.version, mixed.flags) == (2, (Flag.LOW_CONFIDENCE,))


def test_joined_segments_have_the_mean_of_their_confidences() -> None:
    first = segment(0, 1, "The Russian", confidence=0.2, words=(Word(0, 1, " The Russian"),))
    second = segment(1.5, 2, "merchant.", confidence=0.9, words=(Word(1.5, 2, " merchant."),))
    [joined] = continued([first, second], "en")
    assert joined.confidence == pytest.approx(0.515, abs=0.01)


def test_a_transcript_has_the_confidence_of_its_doubtful_segments() -> None:
    doubtful = part(segment(text="ab"), segment(text="cdef", confidence=0.2))
    assert merged(part(segment()), doubtful, part(segment(text="gh", confidence=0.5))).confidence == pytest.approx(0.3)
    assert merged(part(segment()), part(segment())).confidence is None
    assert transcript(segment(), confidence=0.3).version == 2


def test_the_confidence_is_shown_beside_its_flag() -> None:
    assert flag_names((Flag.LOW_CONFIDENCE, Flag.GAP), 0.351) == [
        "low confidence (about 35 % of the doubtful words right)", "gap",
    ]  # fmt: skip
    assert flag_names((Flag.LOW_CONFIDENCE,), None) == ["low confidence"]
