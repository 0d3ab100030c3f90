"""Read what a folder with a model for the engine onnx-asr says about it."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightscribe.shared.errors import ValueRefused, WeightsError
from nightscribe.shared.model.languages import language_code
from nightscribe.worker.weights.catalogue import Model
from nightscribe.worker.weights.kinds import CONVERTIBLE, FILES, KINDS, TENSORS, Kind, other_files

CONFIG, CARD = "config.json", "README.md"


@dataclass(frozen=True)
class FrameModel:
    """A model that reports frames."""

    kind: Kind
    languages: frozenset[str] | None
    """Codes of its languages; None if they are unknown."""

    @property
    def detects_language(self) -> bool:
        """Return whether it finds out itself which of its languages is spoken, or does not need to know."""
        return self.kind != "nemo-conformer-aed"


def describe(folder: Path, known: Model | None = None) -> FrameModel:
    """Return the kind of the model in a folder, and its languages. `known`: what the catalogue says about it.

    Raises: WeightsError: if there is no model that the engine can use; the message says what was expected.
    """
    if not folder.is_dir():
        raise WeightsError(f"{folder} is not a folder, which a model for onnx-asr is. Check the path of the model.")
    config = read_config(folder)
    kind = kind_of(names_in(folder), config, str(folder)) if known is None or known.kind is None else known.kind
    if known is not None and kind == "transformers-ctc" and config.get("model_type") == "wav2vec2-ctc":
        kind = "wav2vec2-ctc"  # converted
    return FrameModel(kind, known.languages if known else _languages(folder, kind, config))


def kind_of(names: Sequence[str], config: Mapping[str, Any], place: str) -> Kind:
    """Return the kind of a model by its files. `place`: folder or repository, for the message.

    Raises: WeightsError: if it is none that the engine can use.
    """
    stated = config.get("model_type")
    if stated in KINDS:
        kind: Kind = stated
        return kind
    if stated in CONVERTIBLE and any(name in names for name in TENSORS):
        return "transformers-ctc"
    if stated is None and "model.onnx" in names and "vocab.txt" in names:
        return "nemo-conformer-ctc"
    raise WeightsError(
        f"{place} holds no model that nightscribe can use: its config.json names the type {stated!r}. The types are "
        f"{', '.join(sorted(FILES))}, and checkpoints of {' and '.join(sorted(CONVERTIBLE))} with "
        f"{' or '.join(TENSORS)}."
    )


def names_in(folder: Path) -> list[str]:
    """Return the paths of the files in a folder and the folders in it, relative to it."""
    found = [path for pattern in ("*", "*/*") for path in folder.glob(pattern) if path.is_file()]
    return sorted(path.relative_to(folder).as_posix() for path in found)


def read_config(folder: Path) -> dict[str, Any]:
    """Return the content of config.json, or nothing if there is none.

    Raises: WeightsError: if it is damaged.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise WeightsError(f"{folder / CONFIG} cannot be read ({error}). Pull the model again.") from None
    if not isinstance(config, dict):
        raise WeightsError(f"{folder / CONFIG} holds no settings of a model. Pull the model again.")
    return config


def read_vocabulary(folder: Path, kind: Kind) -> dict[int, str]:
    """Return the tokens by number, with spaces as they are in the text; nothing if the model is not listed this way."""
    if kind == "t-one-ctc":
        letters = read_config(folder).get("decoder_params", {}).get("vocabulary", [])
        return {number: str(letter) for number, letter in enumerate(letters)}
    names = [name for name in other_files(kind, names_in(folder)) or () if name.endswith(".txt")]
    if not names:
        return {}
    try:
        lines = (folder / names[0]).read_text(encoding="utf-8").splitlines()
        pairs = (line.rstrip("\n").rsplit(" ", 1) for line in lines if line.strip())
        return {int(number): token.replace("\u2581", " ") for token, number in pairs}
    except (OSError, ValueError) as error:
        raise WeightsError(f"{folder / names[0]} is not a list of tokens ({error}). Pull the model again.") from None


def known_languages(codes: object) -> frozenset[str] | None:
    """Return the languages of a list as a model card states them, or None if it names none, or `multilingual`."""
    listed = [codes] if isinstance(codes, str) else codes if isinstance(codes, list) else []
    found = set()
    for code in listed:
        try:
            found.add(language_code(str(code).partition("-")[0].lower()))
        except ValueRefused:
            continue
    found.discard("auto")
    return frozenset(found) if found and "multilingual" not in listed else None


def _languages(folder: Path, kind: Kind, config: Mapping[str, Any]) -> frozenset[str] | None:
    if stated := known_languages(config.get("languages")):
        return stated
    if kind == "nemo-conformer-aed":
        tokens = read_vocabulary(folder, kind).values()
        return known_languages([token[2:-2] for token in tokens if re.fullmatch(r"<\|[a-z]{2}\|>", token)])
    return _card_languages(folder / CARD)


def _card_languages(card: Path) -> frozenset[str] | None:
    """Return the languages that the head of a model card lists (YAML between two lines of dashes)."""
    try:
        text = card.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    head = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    if not head:
        return None
    one = re.search(r"^language: *([\w-]+) *$", head[1], re.MULTILINE)
    several = re.search(r"^language: *\[(.*?)\]|^language: *\n((?: *- *[\w\"'-]+ *\n?)+)", head[1], re.MULTILINE)
    if one:
        return known_languages([one[1]])
    return known_languages(re.findall(r"[\w-]*\w", several[1] or several[2])) if several else None
