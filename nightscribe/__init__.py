"""Turn recordings into transcripts: one with `transcribe`, a folder of them with `transcribe_folder`.

Names are imported when they are first used, so that `import nightscribe` takes no time. See docs/python.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from nightscribe._version import __version__

if TYPE_CHECKING:
    from nightscribe.api import Destination, Progress, Transcript, open_destination, transcribe, transcribe_folder
    from nightscribe.search.base import Hit, SearchResult
    from nightscribe.services.run import RunResult
    from nightscribe.shared.errors import (
        AudioError,
        NightscribeError,
        PermanentError,
        QueueError,
        RetryableError,
        SetupError,
        StorageError,
        ValueRefused,
        WeightsError,
    )
    from nightscribe.shared.formats.format import Format
    from nightscribe.shared.formats.registry import register_format
    from nightscribe.shared.model.engines import EngineSpec, register_engine
    from nightscribe.shared.model.failure import Failure
    from nightscribe.shared.model.transcript import Correction, Segment, Word
    from nightscribe.shared.storage.registry import register_storage

__all__ = [
    "AudioError",
    "Correction",
    "Destination",
    "EngineSpec",
    "Failure",
    "Format",
    "Hit",
    "NightscribeError",
    "PermanentError",
    "Progress",
    "QueueError",
    "RetryableError",
    "RunResult",
    "SearchResult",
    "Segment",
    "SetupError",
    "StorageError",
    "Transcript",
    "ValueRefused",
    "WeightsError",
    "Word",
    "__version__",
    "open_destination",
    "register_engine",
    "register_format",
    "register_storage",
    "transcribe",
    "transcribe_folder",
]

_MODULES = {
    "nightscribe.api": (
        "Destination",
        "Progress",
        "Transcript",
        "open_destination",
        "transcribe",
        "transcribe_folder",
    ),
    "nightscribe.search.base": ("Hit", "SearchResult"),
    "nightscribe.services.run": ("RunResult",),
    "nightscribe.shared.errors": (
        "AudioError",
        "NightscribeError",
        "PermanentError",
        "QueueError",
        "RetryableError",
        "SetupError",
        "StorageError",
        "ValueRefused",
        "WeightsError",
    ),
    "nightscribe.shared.formats.format": ("Format",),
    "nightscribe.shared.formats.registry": ("register_format",),
    "nightscribe.shared.model.engines": ("EngineSpec", "register_engine"),
    "nightscribe.shared.model.failure": ("Failure",),
    "nightscribe.shared.model.transcript": ("Correction", "Segment", "Word"),
    "nightscribe.shared.storage.registry": ("register_storage",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
