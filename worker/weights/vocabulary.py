"""Read the vocabulary of a Whisper model, and turn tokens into text and words. Needs no library."""

import json
import re
import string
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from nightscribe.shared.errors import WeightsError

WITHOUT_SPACES = frozenset({"zh", "ja", "th", "lo", "my", "yue"})  # languages whose words no space divides
# What GPT-2's vocabulary keeps apart: words with the space before them, numbers, and signs.
_WORD = re.compile(r"'(?:s|t|re|ve|m|ll|d)| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")
_LANGUAGE = re.compile(r"<\|([a-z]{2,3})\|>")


def read_vocabulary(folder: Path) -> list[str]:
    """Return the tokens of a CTranslate2 model by their numbers. Raises: WeightsError: if there are none."""
    try:
        if (as_json := folder / "vocabulary.json").is_file():
            return [str(token) for token in json.loads(as_json.read_text(encoding="utf-8"))]
        # Only this character ends a line: others that some functions take for one are parts of tokens.
        return (folder / "vocabulary.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, ValueError) as error:
        raise WeightsError(f"The vocabulary of {folder} cannot be read: {error}. Download the model again.") from None


class Vocabulary:
    """The tokens of a model and their meanings."""

    def __init__(self, tokens: Sequence[str]) -> None:
        numbers = {token: n for n, token in enumerate(tokens)}
        try:
            self.end = numbers["<|endoftext|>"]
            self.start = numbers["<|startoftranscript|>"]
            self.before = numbers["<|startofprev|>"]
            self.no_timestamps = numbers["<|notimestamps|>"]
            self._tasks = {task: numbers[f"<|{task}|>"] for task in ("transcribe", "translate")}
            self.no_speech = numbers["<|nospeech|>" if "<|nospeech|>" in numbers else "<|nocaptions|>"]
        except KeyError as missing:
            raise WeightsError(f"The vocabulary has no {missing}, so this is not a Whisper model.") from None
        # Whisper's English models have these tokens too, but never use them.
        self.is_multilingual = len(tokens) >= 51865
        found = {match[1]: n for n, token in enumerate(tokens) if (match := _LANGUAGE.fullmatch(token))}
        self.languages: dict[str, int] = found if self.is_multilingual else {}
        code = _byte_of_letter()
        self._bytes = [bytes(code.get(letter, 0x3F) for letter in token) for token in tokens[: self.end]]

    def prompt(self, language: str, task: str) -> list[int]:
        """Return the tokens before a text without timestamps."""
        if not self.is_multilingual:
            return [self.start, self.no_timestamps]
        return [self.start, self.languages[language], self._tasks[task], self.no_timestamps]

    def before_text(self, text: str, at_most: int) -> list[int]:
        """Return the tokens that tell the model which text precedes a window: the last ones, `at_most` and one more."""
        return [self.before, *self.encode(f" {text.strip()}")[-at_most:]] if text.strip() else []

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text: of two neighbours, those that make the token with the lowest number are joined.

        That is how the vocabulary was made, so its order is all that is needed.
        """
        found = []
        for word in _WORD.findall(text):
            pieces = [bytes([byte]) for byte in word.encode()]
            while len(pieces) > 1:
                numbers = [self._numbers.get(a + b, self.end) for a, b in pairwise(pieces)]
                if (lowest := min(numbers)) == self.end:
                    break
                at = numbers.index(lowest)
                pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
            found += [self._numbers[piece] for piece in pieces if piece in self._numbers]
        return found

    @cached_property
    def _numbers(self) -> dict[bytes, int]:
        return {piece: n for n, piece in reversed(list(enumerate(self._bytes)))}

    def text(self, tokens: Iterable[int]) -> str:
        """Return the text of tokens, without special ones."""
        return b"".join(self._bytes[token] for token in tokens if token < self.end).decode(errors="replace")

    def words(self, tokens: Sequence[int], language: str) -> tuple[list[str], list[list[int]]]:
        """Return the words of a text with the tokens of each.

        Where spaces divide words, so do they here, and punctuation stands alone; elsewhere each character is a word.
        """
        texts: list[str] = []
        pieces: list[list[int]] = []
        for text, piece in self._characters(tokens):
            is_alone = text.startswith(" ") or text.strip() in string.punctuation
            if language in WITHOUT_SPACES or is_alone or not texts:
                texts.append(text)
                pieces.append(piece)
            else:
                texts[-1] += text
                pieces[-1] += piece
        return texts, pieces

    def _characters(self, tokens: Sequence[int]) -> Iterable[tuple[str, list[int]]]:
        """Yield the shortest runs of tokens that are whole characters."""
        run: list[int] = []
        for token in tokens:
            run.append(token)
            raw = b"".join(self._bytes[each] for each in run)
            try:
                text = raw.decode()
            except UnicodeDecodeError as error:
                if error.reason == "unexpected end of data":
                    continue
                text = raw.decode(errors="replace")
            yield text, run
            run = []
        if run:
            yield b"".join(self._bytes[each] for each in run).decode(errors="replace"), run


def _byte_of_letter() -> dict[str, int]:
    """Return the byte that each letter of a token stands for.

    GPT-2's vocabulary, which Whisper uses, writes printable Latin-1 bytes as they are and the others as the letters
    from U+0100 on.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + n): byte for n, byte in enumerate(others)}
