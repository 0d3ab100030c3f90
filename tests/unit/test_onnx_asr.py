"""Models other than Whisper, made in the layouts of their publishers and run through onnx-asr."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from onnx_asr.preprocessors.numpy_preprocessor import NemoPreprocessorNumpy
from support.frame_models import (
    FRAME_S,
    PAUSE_S,
    TONE_S,
    decoded_by_tdt,
    played,
    start_of,
    tdt_model,
    tone_model,
)

from nightscribe.shared.audio.waveform import Waveform
from nightscribe.shared.errors import SetupError, WeightsError
from nightscribe.worker.engines import registry
from nightscribe.worker.engines.base import Recognition, RecognitionRequest, SpeechSlice, SpeechWindow
from nightscribe.worker.engines.onnx_asr.recognizer import OnnxAsr, is_plain, load
from nightscribe.worker.engines.onnx_asr.words import TimedToken, timed_words
from nightscribe.worker.weights import precision as precision_module
from nightscribe.worker.weights.catalogue import BEST_FIRST, BEST_FIRST_OTHERWISE, MODELS, SOURCES
from nightscribe.worker.weights.kinds import FILES, graph_files, other_files
from nightscribe.worker.weights.model_folder import describe, known_languages
from nightscribe.worker.weights.precision import precision

SENTENCE = ["\u2581We", "\u2581hear", "\u2581tone", "s", "."]


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CTC model that hears tones, and is always right."""
    return tone_model(tmp_path_factory.mktemp("models") / "tones")


def window_of(sound: Waveform) -> SpeechWindow:
    return SpeechWindow(sound, 0.0, SpeechSlice())


def recognized(engine: OnnxAsr, *sounds: Waveform, request: RecognitionRequest | None = None) -> list[Recognition]:
    return engine.recognize([window_of(sound) for sound in sounds], request or RecognitionRequest())


def test_a_ctc_model_writes_what_was_said_and_when(tones: Path) -> None:
    engine = load(str(tones), tones, threads=1)
    sound = played([*SENTENCE, "", "", "", *SENTENCE[:2]])
    [found] = recognized(engine, sound)
    assert found.text == "We hear tones. We hear"
    assert found.words is not None
    assert "".join(word.text for word in found.words).strip() == found.text
    starts = [start_of(n) for n in (0, 1, 2, 8, 9)]
    assert [word.start_s for word in found.words] == pytest.approx(starts, abs=FRAME_S)
    assert found.words[0].end_s <= starts[1] + FRAME_S
    assert found.words[2].end_s == pytest.approx(start_of(4) + TONE_S, abs=TONE_S)
    assert found.word_probabilities is not None
    assert len(found.word_probabilities) == len(found.words)
    assert min(found.word_probabilities) > 0.8
    assert found.average_log_probability is not None
    assert found.average_log_probability == pytest.approx(0, abs=0.2)
    assert found.is_sure
    assert not found.is_plain
    assert found.language == "en"


def test_a_window_does_not_depend_on_those_beside_it(tones: Path) -> None:
    engine = load(str(tones), tones, threads=1)
    sounds = [played(SENTENCE), played(SENTENCE[:2], seconds=4.0), played([], seconds=1.0), np.zeros(40, np.float32)]
    together = recognized(engine, *sounds)
    assert together == [recognized(engine, sound)[0] for sound in sounds]
    assert [each.text for each in together[2:]] == ["", ""]


def test_the_work_can_be_stopped_between_windows(tones: Path) -> None:
    engine = load(str(tones), tones, threads=1)

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recognized(engine, played(SENTENCE), request=RecognitionRequest(check=stop))


@pytest.mark.parametrize("seed", range(3))
def test_a_tdt_model_is_decoded_as_a_plain_reference_decodes_it(tmp_path: Path, seed: int) -> None:
    """With random weights, so that it repeats itself, skips frames and stays in one."""
    weights = tdt_model(tmp_path / "tdt", seed)
    engine = load("mine", tmp_path / "tdt", threads=1)
    sound = played(SENTENCE)
    [found] = recognized(engine, sound)
    features, n = NemoPreprocessorNumpy("nemo128")(sound[None], np.array([len(sound)]))
    said = decoded_by_tdt(weights, features[0], int(n[0]))
    assert len(said) > 10
    tokens = [TimedToken(each.piece, each.frame * FRAME_S, None, float(np.log(each.probability))) for each in said]
    words, probabilities = timed_words(tokens, len(sound) / 16000)
    assert found.text == "".join(word.text for word in words).strip()
    assert found.words is not None
    assert [word.start_s for word in found.words] == pytest.approx([word.start_s for word in words])
    assert found.word_probabilities == pytest.approx(probabilities, abs=1e-3)


# Folders


def test_a_folder_says_what_its_model_is(tones: Path, tmp_path: Path) -> None:
    """In config.json, in the head of its card, or by its files."""
    assert describe(tones).languages == {"en"}
    copy = Path(shutil.copytree(tones, tmp_path / "copy"))
    config = json.loads((copy / "config.json").read_text())
    del config["languages"]
    (copy / "config.json").write_text(json.dumps(config))
    assert describe(copy).languages is None
    for head in ("language:\n- pt\n- en\n", "language: [pt, 'en']\nx: y\n", "a: b\nlanguage:\n  - pt-BR\n  - en\n"):
        (copy / "README.md").write_text(f"---\n{head}---\nText")
        assert describe(copy).languages == {"pt", "en"}
    (copy / "config.json").unlink()
    assert describe(copy).kind == "nemo-conformer-ctc"
    (copy / "vocab.txt").unlink()
    with pytest.raises(WeightsError, match=r"holds no model .* type None\. The types are gigaam-"):
        describe(copy)
    (copy / "config.json").write_text("{")
    with pytest.raises(WeightsError, match=r"config\.json cannot be read"):
        describe(copy)


def test_a_card_that_names_many_languages_says_nothing() -> None:
    assert known_languages(["multilingual", "en"]) is None
    assert known_languages(["tlh"]) is None
    assert known_languages("ca") == {"ca"}


def test_a_language_that_a_model_has_not_is_refused_with_the_list(tones: Path) -> None:
    """Before anything starts, by name as well as by path."""
    registry.check("onnx-asr", str(tones), language="en", task="transcribe")
    for model, language in ((str(tones), "de"), ("parakeet-tdt-0.6b-v2", "de"), ("gigaam-v3-ctc", "en")):
        with pytest.raises(SetupError, match=rf"does not know the language {language}, only (en|ru)\. Choose one of"):
            registry.check("onnx-asr", model, language=language, task="transcribe")
    registry.check("onnx-asr", "parakeet-tdt-0.6b-v3", language="auto", task="transcribe", languages=("de", "it"))
    with pytest.raises(SetupError, match=r"v3 does not know the language ca, only bg, cs, "):
        registry.check("onnx-asr", "parakeet-tdt-0.6b-v3", language="auto", task="transcribe", languages=("ca", "es"))
    with pytest.raises(SetupError, match=r"canary-1b-v2 does not detect the language\. Give it with --language"):
        registry.check("onnx-asr", "canary-1b-v2", language="auto", task="transcribe")
    with pytest.raises(SetupError, match=r"onnx-asr cannot translate"):
        registry.check("onnx-asr", "canary-1b-v2", language="de", task="translate")


def test_auto_takes_the_engine_that_can_run_a_model(tones: Path, tmp_path: Path) -> None:
    assert registry.choose("auto", "parakeet-tdt-0.6b-v2") == "onnx-asr"
    assert registry.choose("auto", str(tones)) == "onnx-asr"
    (tmp_path / "mine.pt").touch()
    assert registry.choose("auto", str(tmp_path / "mine.pt")) == "openai-whisper"
    (tmp_path / "model.bin").touch()
    assert registry.choose("auto", str(tmp_path)) == "faster-whisper"
    assert registry.choose("auto", "base") == registry.choose("auto")


# Vocabularies, precisions, the catalogue


@pytest.mark.parametrize(
    ("tokens", "plain"),
    [
        ({"<blk>", "A", "B", " ", "'"}, True),
        ({"<unk>", "<s>", " а", "б"}, True),
        ({" The", "s", ".", "?"}, False),
        ({" the", "s", "."}, False),
        ({" the", "The"}, False),
        ({"好", "的"}, True),
        (set(), False),
    ],
)
def test_a_vocabulary_shows_whether_there_are_capitals_and_punctuation(tokens: set[str], plain: bool) -> None:
    assert is_plain(tokens) is plain


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("flags : fpu avx2 avx512_vnni", "int8"),
        ("Features : fp asimddp", "int8"),
        ("flags : fpu avx2", "float32"),
    ],
)
def test_a_machine_gets_the_precision_that_it_is_good_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, expected: str
) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor : 0\n{line}\n")
    monkeypatch.setattr(precision_module, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(precision_module.platform, "system", lambda: "Linux")
    monkeypatch.setattr(precision_module, "_has_gpu", lambda: False)
    precision_module._multiplies_int8.cache_clear()
    assert precision() == expected
    assert precision("float32") == "float32"
    precision_module._multiplies_int8.cache_clear()


def test_files_of_one_precision_are_chosen() -> None:
    names = ["vocab.txt", "config.json", "nemo128.onnx"]
    for part in ("encoder-model", "decoder_joint-model"):
        names += [f"{part}.onnx", f"{part}.int8.onnx"]
    names.append("encoder-model.onnx.data")
    assert graph_files("nemo-conformer-tdt", names, "int8") == [
        "encoder-model.int8.onnx",
        "decoder_joint-model.int8.onnx",
    ]
    assert graph_files("nemo-conformer-tdt", names, "float32") == [
        "encoder-model.onnx",
        "decoder_joint-model.onnx",
        "encoder-model.onnx.data",
    ]
    assert graph_files("nemo-conformer-ctc", names, "int8") is None
    assert other_files("nemo-conformer-tdt", names) == ["config.json", "vocab.txt"]
    assert other_files("vosk", ["lang/tokens.txt"]) == ["lang/tokens.txt"]


def test_the_catalogue_is_consistent() -> None:
    """Kinds that have files, sources that are named, choices that exist and know the language."""
    for name, model in MODELS.items():
        assert (model.kind is not None) == ("onnx-asr" in model.layouts), name
        assert model.kind is None or model.kind == "transformers-ctc" or model.kind in FILES
        assert {each.source for each in model.errors} <= set(SOURCES)
        assert model.parameters_m > 0
    for language, choices in BEST_FIRST.items():
        for name in choices:
            languages = MODELS[name].languages
            assert languages is None or language in languages, (language, name)
    assert all(MODELS[name].languages is None for name in BEST_FIRST_OTHERWISE)


def test_the_pauses_of_the_tones_are_heard_as_such() -> None:
    """What the other tests rest on."""
    assert start_of(1) - start_of(0) == pytest.approx(TONE_S + PAUSE_S)
