"""Every error raised on purpose has a code that the documents explain."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from making import failure

from nightscribe.shared import errors
from nightscribe.shared.errors import UNKNOWN, NightscribeError, PermanentError, RetryableError
from nightscribe.shared.model.failure import Failure
from nightscribe.shared.model.failure_codes import SENTENCES

ROOT = Path(__file__).parents[2]
FOLDERS = ("shared", "director", "worker", "nightscribe")


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call in the project, with the place where it is."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if folder == "nightscribe" and path.relative_to(ROOT).parts[1] in FOLDERS:
                continue  # a link to a folder beside it
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def name_of(call: ast.Call) -> str:
    return (
        call.func.id
        if isinstance(call.func, ast.Name)
        else call.func.attr
        if isinstance(call.func, ast.Attribute)
        else ""
    )


def test_an_error_whose_class_has_no_code_is_given_one() -> None:
    without = {"NightscribeError", "PermanentError", "RetryableError"}
    for name in without:
        assert getattr(errors, name).code == UNKNOWN
    bare = [
        place
        for place, call in calls()
        if name_of(call) in without and not any(given.arg == "code" for given in call.keywords)
    ]
    assert not bare


def test_every_code_is_known() -> None:
    given = {
        keyword.value.value
        for _, call in calls()
        for keyword in call.keywords
        if keyword.arg == "code" and name_of(call).endswith(("Error", "Failed", "Failure"))
        if isinstance(keyword.value, ast.Constant)
    }
    assert "cut_off" in given
    of_classes = {each.code for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)}
    assert given | of_classes <= set(SENTENCES)


def test_the_documents_explain_every_code_and_no_other() -> None:
    table = (ROOT / "docs/failure-codes.md").read_text()
    assert re.findall(r"^\| `([a-z0-9_]+)` \|", table, re.MULTILINE) == sorted(SENTENCES)


def test_a_code_that_is_given_goes_before_that_of_the_class() -> None:
    assert PermanentError("It is gone.", code="gone").code == "gone"
    assert str(RetryableError("No room.", code="disk_full")) == "No room."
    assert NightscribeError("No reason.").code == UNKNOWN


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("It holds text, not sound.", "text_not_sound"),
        ("It is empty (0 bytes).", "empty"),
        ("It holds a ZIP archive, not sound.", "not_audio"),
        ("'2012/it's\na.mp3' is no longer in the source.", "gone"),
        ("It was begun 3 times and never finished: its worker died or was stopped each time, perhaps.", "worker_died"),
        ("It holds text, not sound. Tried 3 times.", UNKNOWN),
        ("Cannot write 'a.txt' in '/there': No space left on device. Tried 3 times.", UNKNOWN),
        ("It was changed.", UNKNOWN),
    ],
)
def test_a_failure_of_the_first_release_has_a_code_where_its_sentence_is_certain(reason: str, code: str) -> None:
    written = failure().model_dump(mode="json", exclude={"code"}) | {"version": 1, "reason": reason}
    assert Failure.model_validate(written).code == code
    assert code in SENTENCES
