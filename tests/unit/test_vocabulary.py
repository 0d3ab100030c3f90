"""Tokens as text and words, compared with the tokenizer of OpenAI's library."""

import json
from pathlib import Path

import pytest
from whisper.tokenizer import Tokenizer, get_tokenizer

from nightscribe.shared.errors import WeightsError
from nightscribe.worker.weights.vocabulary import Vocabulary, read_vocabulary

# openai-whisper leaves the file with its vocabulary for the garbage collector to close.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file .*whisper.*tiktoken:ResourceWarning")

TEXTS = {
    "en": ' Ever tried. Ever failed, "no matter": try again – fail better! It\'s 3.5 % of $12…',
    "de": " Größe, Maß und Übermut; Straße? „Ja“, sagte sie.",
    "fr": " C'est l'été — où êtes-vous ? À bientôt.",
    "vi": " Trường hợp đặc biệt: bản ghi âm tiếng Việt.",
    "ru": " Очень хорошо, спасибо.",
    "zh": "今天天气很好,我们去公园。",
    "ja": "今日はとても良い天気ですね。😀",
    "th": "วันนี้อากาศดีมาก",
}


def letters() -> dict[int, str]:
    """How GPT-2 writes each byte in its vocabulary."""
    printable = [byte for byte in range(256) if chr(byte).isprintable() and chr(byte) != " " and byte != 0xAD]
    others = iter(range(256, 512))
    return {byte: chr(byte) if byte in printable else chr(next(others)) for byte in range(256)}


def tokens_of(tokenizer: Tokenizer) -> list[str]:
    """The vocabulary as CTranslate2 keeps it."""
    letter = letters()
    ordinary = {
        number: "".join(letter[byte] for byte in raw) for raw, number in tokenizer.encoding._mergeable_ranks.items()
    }
    names = ordinary | {number: name for name, number in tokenizer.special_tokens.items()}
    return [names.get(number, "") for number in range(tokenizer.encoding.n_vocab)]


@pytest.fixture(scope="module", params=[True, False], ids=["multilingual", "English"])
def theirs(request: pytest.FixtureRequest) -> Tokenizer:
    """OpenAI's."""
    return get_tokenizer(request.param, language="en", task="transcribe")


@pytest.fixture(scope="module")
def ours(theirs: Tokenizer) -> Vocabulary:
    """Made from the same tokens."""
    return Vocabulary(tokens_of(theirs))


def test_the_special_tokens_have_their_numbers(theirs: Tokenizer, ours: Vocabulary) -> None:
    assert (ours.end, ours.start, ours.no_timestamps) == (theirs.eot, theirs.sot, theirs.no_timestamps)
    assert ours.no_speech == theirs.no_speech
    assert ours.is_multilingual == (theirs.encoding.name == "multilingual.tiktoken")
    assert ours.prompt("en", "transcribe") == list(theirs.sot_sequence_including_notimestamps)
    if ours.is_multilingual:
        assert ours.languages == dict(zip(theirs.all_language_codes, theirs.all_language_tokens, strict=True))
        assert ours.prompt("de", "translate")[1:3] == [theirs.to_language_token("de"), theirs.translate]


@pytest.mark.parametrize("language", TEXTS)
def test_text_and_words_are_those_of_whisper(theirs: Tokenizer, ours: Vocabulary, language: str) -> None:
    tokens = theirs.encode(TEXTS[language])
    assert ours.text(tokens) == TEXTS[language]
    tokenizer = Tokenizer(theirs.encoding, theirs.num_languages, language=language)
    assert ours.words(tokens, language) == tokenizer.split_to_word_tokens(tokens)


def test_half_a_character_is_no_error(theirs: Tokenizer, ours: Vocabulary) -> None:
    """A model may stop in the middle of one."""
    tokens = theirs.encode(" good 😀")[:-1]
    assert ours.text(tokens).startswith(" good")
    assert "".join(ours.words(tokens, "en")[0]) == ours.text(tokens)
    assert [token for piece in ours.words(tokens, "ja")[1] for token in piece] == tokens


def test_a_vocabulary_is_read_in_both_forms(tmp_path: Path) -> None:
    """Lines of text, among them an empty one and some that hold exotic ends of lines, or a list in JSON."""
    tokens = ["a", "", "\x85", "\u2028", "<|endoftext|>"]
    (tmp_path / "vocabulary.txt").write_text("\n".join(tokens) + "\n")
    assert read_vocabulary(tmp_path) == tokens
    (tmp_path / "vocabulary.json").write_text(json.dumps(tokens))
    assert read_vocabulary(tmp_path) == tokens


def test_no_vocabulary_and_a_strange_one_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"vocabulary of .* cannot be read: .*Download the model again\."):
        read_vocabulary(tmp_path)
    with pytest.raises(WeightsError, match=r"has no '<\|endoftext\|>', so this is not a Whisper model"):
        Vocabulary(["a", "b"])
