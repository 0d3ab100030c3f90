"""Decide which tests are quick: no weights, no server and no ffmpeg; and stop a quick test that uses one after all."""

import http.server
import inspect
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pytest

from nightscribe.shared.audio import clips, decode, ffmpeg_process, probe
from nightscribe.worker.weights import packaged
from support import buckets, recordings, servers, weights_sources, workplace

UNIT = Path(__file__).parents[1] / "unit"
SLOW_FIXTURES = {
    *("bucket", "ffmpeg", "localstack", "ministack", "models_dir", "sockets", "speech", "sqs_server"),
    "terraform_runs",  # Terraform itself takes half a minute
}
# What starts ffmpeg, pip or a server, or opens sockets.
SLOW_MODULES: set[ModuleType] = {
    *(buckets, recordings, servers, weights_sources, workplace),
    *(clips, decode, ffmpeg_process, probe, packaged),
    *(http.server, socket),
}


def is_quick(item: pytest.Item) -> bool:
    """Return whether the test lies in tests/unit, requests no slow fixture, and calls no slow module."""
    if not isinstance(item, pytest.Function) or not item.path.is_relative_to(UNIT):
        return False
    if SLOW_FIXTURES & set(item.fixturenames):
        return False
    fixtures = [each.func for name in item.fixturenames for each in item._fixtureinfo.name2fixturedefs.get(name, ())]
    return not any(uses_slow_module(function) for function in (item.function, *fixtures))


def uses_slow_module(function: Callable[..., Any], seen: set[CodeType] | None = None) -> bool:
    """Return whether a function uses a slow module, itself or through the functions of its own module that it names."""
    function = inspect.unwrap(function)
    function = getattr(getattr(function, "hypothesis", None), "inner_test", function)
    seen = set() if seen is None else seen
    code = getattr(function, "__code__", None)
    if code is None or code in seen:
        return False
    seen.add(code)
    scope = function.__globals__
    used = [scope[name] for name in _names(code) if name in scope]
    if any(_module(each) in SLOW_MODULES for each in used):
        return True
    same = [each for each in used if getattr(each, "__module__", None) == function.__module__]
    return any(uses_slow_module(each, seen) for each in same)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for each in code.co_consts:
        if isinstance(each, CodeType):  # a function or a comprehension inside this one
            yield from _names(each)


def _module(value: object) -> ModuleType | None:
    if isinstance(value, ModuleType):
        return value
    return sys.modules.get(getattr(value, "__module__", None) or "") if callable(value) else None


_is_guarded = False


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if not _is_guarded:
        return
    if event == "subprocess.Popen":
        program = os.fsdecode(arguments[1][0]) if isinstance(arguments[1], list | tuple) else str(arguments[0])
        if Path(program).name.startswith("ffmpeg"):
            pytest.fail("A quick test started ffmpeg: request the fixture `ffmpeg`.")
    elif event in ("socket.bind", "socket.connect") and arguments[0].family in (socket.AF_INET, socket.AF_INET6):
        pytest.fail("A quick test opened a network socket: request the fixture `sockets`.")


sys.addaudithook(_refuse)


@contextmanager
def guarded() -> Iterator[None]:
    """Fail whoever starts ffmpeg or opens a network socket in this process."""
    global _is_guarded  # noqa: PLW0603  an audit hook cannot be removed
    _is_guarded = True
    try:
        yield
    finally:
        _is_guarded = False
