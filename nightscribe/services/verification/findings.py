"""What a check of a destination finds."""

from collections.abc import Callable
from dataclasses import dataclass, field

from nightscribe.shared.model.transcript import Transcript


@dataclass(frozen=True)
class Problem:
    """A problem that was found."""

    kind: str
    """A word for programs: `record_damaged`, `text_missing` and so on (docs/verify.md)."""
    path: str
    """Key in the destination or, for a recording, path in the source."""
    reason: str
    """A plain sentence."""
    mended: str | None = None
    """A plain sentence on the repair, or None if it was not repaired."""


@dataclass(frozen=True)
class Verified:
    """The result of checking a destination."""

    dest: str
    source: str | None
    n_transcripts: int
    n_failures: int
    n_texts: int
    n_recordings: int
    """Recordings of the source that were read."""
    n_hashed: int
    """Recordings for which the hash of the whole content was missing and has been written."""
    n_unhashed: int
    """Recordings that lack this hash. Without SOURCE, 0."""
    n_unfinished: int
    """Recordings with unfinished work, which the next run continues."""
    corrected: tuple[str, ...]
    """Texts that a person has changed."""
    is_at_work: bool
    """Whether a run, a director or a worker is active; its work in progress was not checked."""
    searched_texts: bool
    """Whether texts without a record were searched for. In the recordings' folder, such texts may belong to anyone."""
    problems: tuple[Problem, ...]

    @property
    def is_clean(self) -> bool:
        """Return whether no problem was found, or all were repaired."""
        return all(problem.mended for problem in self.problems)


Mend = Callable[[], str | None]
"""Repair a problem. Returns: a sentence on what was done, or None if nothing could be."""


@dataclass(frozen=True)
class Found:
    problem: Problem
    mend: Mend | None = None
    left_over: tuple[str, ...] = ()
    """Keys of files that may belong to work in progress, if they are young."""


@dataclass
class Checked:
    """The result of checking one record."""

    found: list[Found] = field(default_factory=list)
    corrected: list[str] = field(default_factory=list)
    n_texts: int = 0
    n_recordings: int = 0
    n_hashed: int = 0
    n_unhashed: int = 0
    transcript: Transcript | None = None

    def problem(self, kind: str, path: str, reason: str, mend: Mend | None = None) -> None:
        self.found.append(Found(Problem(kind, path, reason), mend))
