"""Render the output of `nightscribe models`."""

import json
from collections.abc import Iterator, Sequence

from nightscribe.services.models import ModelInfo, ModelRow, Removed
from nightscribe.terminal import visible_lines
from nightscribe.views.cli_hints import typed
from nightscribe.worker.weights.catalogue import SOURCES

HEAD = ("NAME", "LANGUAGES", "SIZE", "LICENCE", "SPEED", "ERRORS", "HERE")
WHISPER_LANGUAGES = 99
FEW = 4


@visible_lines
def table(rows: Sequence[ModelRow]) -> Iterator[str]:
    """Yield a table of models."""
    cells = [HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEAD))]
    for row in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


@visible_lines
def legend(rows: Sequence[ModelRow]) -> Iterator[str]:
    """Yield what the columns mean."""
    yield "SPEED: times real time on one core, typically. SIZE: about that of the download, or what is here."
    used = sorted({error.source for row in rows for error in row.errors})
    if used:
        yield "ERRORS: word error rates as published. " + " ".join(f"{name}: {SOURCES[name]}." for name in used)
    if lacking := sorted({row.engine for row in rows if not row.is_engine_installed}):
        installs = " ".join(f"pip install 'nightscribe[{name}]'." for name in lacking)
        yield f"Some need an engine that is not installed: {installs}"


def listed(rows: Sequence[ModelRow]) -> str:
    """Return the models as one JSON list."""
    return json.dumps([_object(row) for row in rows], ensure_ascii=False)


@visible_lines
def about(found: ModelInfo) -> Iterator[str]:
    """Yield what is known about a model."""
    row = found.row
    yield f"{row.name}: {_languages(row)}; licence {row.licence or 'unknown'}; {_gb(row.size)}"
    if found.repo_id:
        yield f"From: {found.repo_id}" + (f" at {found.revision}" if found.revision else "")
    precision = f" in {found.precision}" if found.precision else ""
    missing = "" if row.is_engine_installed else f" (not installed: pip install 'nightscribe[{row.engine}]')"
    yield f"This machine would choose: {row.engine}{precision}, about {row.speed:.0f} × real time on a core{missing}"
    if len(found.engines) > 1:
        yield f"Engines that can run it: {', '.join(found.engines)}"
    for error in row.errors:
        yield f"Word errors in {error.language}: {error.percent:g} % ({SOURCES[error.source]})"
    if not found.places:
        yield f"Not on this machine. Fetch it: {typed('models pull', row.name)}"
    for file in found.files:
        yield f"  {file.sha256 or '-':64}  {file.size:>13,}  {file.name}"


def about_object(found: ModelInfo) -> str:
    """Return what is known about a model as one JSON object."""
    return json.dumps(
        _object(found.row)
        | {
            "repository": found.repo_id,
            "revision": found.revision,
            "engines": found.engines,
            "precision": found.precision,
            "files": [{"name": file.name, "size": file.size, "sha256": file.sha256} for file in found.files],
        },
        ensure_ascii=False,
    )


@visible_lines
def removed(found: Removed, *, dry_run: bool) -> Iterator[str]:
    """Yield what was deleted."""
    verb = "Would delete" if dry_run else "Deleted"
    for place in found.places:
        yield f"{verb} {place}"
    yield f"{verb} {_gb(found.size)} of {found.model}."
    if found.others:
        yield f"The same files belong to {', '.join(found.others)}."


def _cells(row: ModelRow) -> tuple[str, ...]:
    best = min(row.errors, key=lambda error: error.percent, default=None)
    errors = f"{best.percent:g} % {best.language} ({best.source})" if best else ""
    speed = f"{row.speed:.0f} ×" if row.speed >= 2 else f"{row.speed:.1f} ×"
    return (
        row.name,
        _languages(row),
        _gb(row.size),
        row.licence or "?",
        speed,
        errors,
        "yes" if row.is_here else "no",
    )


def _languages(row: ModelRow) -> str:
    if row.languages is None:
        return f"{WHISPER_LANGUAGES} languages" if not row.name.startswith("hf:") else "not stated"
    if len(row.languages) <= FEW:
        return " ".join(sorted(row.languages))
    return f"{len(row.languages)} languages"


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _object(row: ModelRow) -> dict[str, object]:
    return {
        "name": row.name,
        "engine": row.engine,
        "engine_installed": row.is_engine_installed,
        "languages": sorted(row.languages) if row.languages is not None else None,
        "size": row.size,
        "licence": row.licence,
        "speed": round(row.speed, 2),
        "errors": [error._asdict() for error in row.errors],
        "here": row.is_here,
    }
