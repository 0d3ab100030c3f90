"""Let the clips of a folder help each other: one whose language is unclear waits for those in which it is clear."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Generic, Protocol, TypeVar

from nightscribe.shared.model.jobs import Slice
from nightscribe.shared.model.transcript import LanguagePrior
from nightscribe.worker.languages import CLEAR_LANGUAGE, likeliest

CLIP_WINDOWS = 3  # a recording of more windows has enough sound to decide by itself
MOST_UNCLEAR = 64  # clips that wait, because each keeps its sound in memory


class _State(Protocol):
    slice_: Slice

    def learn(self, prior: LanguagePrior) -> None: ...


Entry = TypeVar("Entry")
State = TypeVar("State", bound=_State)


class FolderLanguages(Generic[Entry, State]):
    """Holds the windows of each clip until it has been read, and those of an unclear clip until the others are known.

    Which clips are clear does not depend on their order, so every worker that gets the same clips decides alike.
    """

    def __init__(
        self, detect: Callable[[State], Mapping[str, float]], finished: Callable[[str], Mapping[str, int]]
    ) -> None:
        """Take what this class calls.

        `detect`: returns the probabilities of the languages of a slice. `finished`: returns how many finished
        recordings of a folder are certainly in each language.
        """
        self._detect = detect
        self._finished = finished
        self._clear: dict[str, Counter[str]] = defaultdict(Counter)
        self._unread: dict[str, list[Entry]] = {}
        self._long: set[str] = set()
        self._unclear: list[tuple[State, Mapping[str, float], list[Entry]]] = []

    def add(self, state: State, entry: Entry) -> list[Entry]:
        """Hold a window of a clip; return the windows that need not be held any longer."""
        recording = state.slice_.recording
        if state.slice_.count > 1 or recording in self._long:
            return [entry]
        held = self._unread.setdefault(recording, [])
        held.append(entry)
        if len(held) <= CLIP_WINDOWS:
            return []
        self._long.add(recording)
        return self._unread.pop(recording)

    def end(self, state: State) -> list[Entry]:
        """Decide whether the language of a clip that has been read is clear; return the windows to recognize now."""
        self._long.discard(state.slice_.recording)
        held = self._unread.pop(state.slice_.recording, [])
        if not held:
            return []
        probabilities = self._detect(state)
        language = likeliest(probabilities)
        if probabilities[language] >= CLEAR_LANGUAGE:
            self._clear[_folder(state)][language] += 1
            return held
        self._unclear.append((state, probabilities, held))
        return self.rest() if len(self._unclear) >= MOST_UNCLEAR else []

    def rest(self) -> list[Entry]:
        """Return the windows of the unclear clips, after telling these what is known of their folders."""
        finished = {folder: self._finished(folder) for folder in {_folder(state) for state, *_ in self._unclear}}
        found: list[Entry] = []
        for state, probabilities, held in self._unclear:
            known = dict(self._clear[_folder(state)] + Counter(finished[_folder(state)]))
            if known:
                alone = likeliest(probabilities)
                state.learn(LanguagePrior(alone=alone, alone_probability=round(probabilities[alone], 3), folder=known))
            found += held
        self._unclear = []
        return found


def _folder(state: _State) -> str:
    return state.slice_.recording.rpartition("/")[0]
