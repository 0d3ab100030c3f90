"""Define a format: how to make one kind of file from a transcript, and how to recognize it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from nightscribe.shared.model.transcript import Transcript

Render = Callable[[Transcript], bytes]
IsSame = Callable[[bytes, Transcript], bool]

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_SUFFIX = re.compile(r"\.[a-z0-9][a-z0-9._-]{0,31}")


@dataclass(frozen=True)
class Format:
    """A kind of file in which a transcript can be written.

    Attributes:
        name: its name in `--formats`, in lower case.
        suffix: the suffix of its files, with the dot; no two formats share one.
        content_type: the media type with which a bucket serves its files.
        render: returns a file's content; a pure function of the transcript, so that a lost file can be written again.
        is_same: returns whether a file still says what `render` wrote; if not, it is kept as a person's work.
        is_subtitle: whether players show it in time with the sound; people do not keep notes in such files.
        needs: modules that `render` imports and that not every installation has.
        extra: the extra of nightscribe that installs them.
    """

    name: str
    suffix: str
    content_type: str
    render: Render
    is_same: IsSame
    is_subtitle: bool = False
    needs: tuple[str, ...] = ()
    extra: str = ""

    def __post_init__(self) -> None:
        """Raise `ValueError` if the name or the suffix cannot be part of an option or a file name."""
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"the name {self.name!r} is not made of lower-case letters, digits, '-' and '_'")
        if not _SUFFIX.fullmatch(self.suffix):
            raise ValueError(f"the suffix {self.suffix!r} is not a dot followed by lower-case letters and digits")

    @property
    def lacking(self) -> str | None:
        """Return a sentence that says what to install before the format can be written; None if nothing is missing."""
        if all(find_spec(module) is not None for module in self.needs):
            return None
        what = f"pip install 'nightscribe[{self.extra}]'" if self.extra else f"pip install {' '.join(self.needs)}"
        return f"The format {self.name!r} needs packages that are not installed. Install them: {what}."


def same_bytes(render: Render) -> IsSame:
    """Return a comparison that treats any change as a person's work."""
    return lambda content, transcript: content == render(transcript)


def same_words(render: Render) -> IsSame:
    """Return a comparison that ignores line breaks, which depend on the layout."""
    return lambda content, transcript: content.split() == render(transcript).split()
