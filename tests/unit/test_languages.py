"""The languages are Whisper's own."""

import ast
from importlib.util import find_spec
from pathlib import Path

import pytest
from support import cache

from nightscribe.shared.errors import SetupError
from nightscribe.shared.model.languages import LANGUAGES, language_code


def whispers_own() -> dict[str, str]:
    """LANGUAGES of openai-whisper, read from its source: importing it loads torch."""
    found = find_spec("whisper")
    if found is None or found.origin is None:
        cache.unavailable("openai-whisper is not installed in this environment")
    tree = ast.parse(Path(found.origin).with_name("tokenizer.py").read_text())
    [value] = [
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "LANGUAGES"
    ]
    languages: dict[str, str] = ast.literal_eval(value)
    return languages


def test_the_languages_are_those_whisper_knows() -> None:
    assert whispers_own() == LANGUAGES


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("en", "en"),
        ("EN", "en"),
        (" Vietnamese ", "vi"),
        ("haitian creole", "ht"),
        ("auto", "auto"),
        ("Auto", "auto"),
        ("yue", "yue"),
        ("en-US", "en"),
        ("pt_BR", "pt"),
    ],
)
def test_a_language_is_known_by_code_or_name_in_any_case(given: str, code: str) -> None:
    assert language_code(given) == code


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_language_is_found_by_its_name(code: str) -> None:
    assert language_code(LANGUAGES[code].title()) == code


@pytest.mark.parametrize("unknown", ["", "klingon", "xx-US", "deutsch", "xx"])
def test_an_unknown_language_is_refused_with_what_can_be_given(unknown: str) -> None:
    with pytest.raises(SetupError, match=rf"Unknown language {unknown!r}.*Vietnamese.*af, am, ar"):
        language_code(unknown)
