"""Read what the destination holds for the recordings of one folder of the source."""

from functools import cached_property

from nightscribe.shared.destination.keys import FAILURES, HASHES, PARTS, TRANSCRIPTS, with_suffix
from nightscribe.shared.destination.records import Records
from nightscribe.shared.model.failure import Failure
from nightscribe.shared.model.recording import Recording
from nightscribe.shared.model.transcript import Provenance
from nightscribe.shared.process.concurrency import map_concurrently


class RareTrees:
    """Lists folders of failures and of partial results, and avoids calls for folders known to be absent."""

    def __init__(self, records: Records) -> None:
        self._listing = records.store.listing
        self._tops = {tree: self._listing(tree) for tree in (FAILURES, PARTS)}

    def listing(self, tree: str, folder: str) -> tuple[list[str], list[str]]:
        """Return what the store's `listing` returns, without a call if the top folder shows that there is nothing."""
        top = self._tops[tree]
        if not folder:
            return top
        return self._listing(tree + folder) if folder.partition("/")[0] in top[1] else ([], [])


class FolderRecords:
    """Lists one folder of the destination when created, and reads single records on request."""

    def __init__(self, records: Records, folder: str, rare_trees: RareTrees) -> None:
        listing = records.store.listing
        self._records = records
        self._folder = folder
        transcripts, self.subfolders = listing(TRANSCRIPTS + folder)
        self.transcripts = set(transcripts)
        """Names of transcripts: the name of a recording with `.json` appended."""
        self._hashes = set(listing(HASHES + folder)[0]) if transcripts else set()
        self._failures = set(rare_trees.listing(FAILURES, folder)[0])
        self._claimed = set(rare_trees.listing(PARTS, folder)[1])
        self.texts = set(listing(folder)[0])
        """Names of all files in the folder of the text files, including other people's."""

    def name(self, recording: Recording) -> str:
        """Return the name of a recording within this folder."""
        return recording.path[len(self._folder) :]

    def has_transcript(self, name: str) -> bool:
        """Return whether the recording has a transcript, perhaps from before the file was changed."""
        return bool(self.transcripts) and with_suffix(name, ".json") in self.transcripts

    def has_hash(self, name: str) -> bool:
        """Return whether the hash of the recording's content is known, perhaps from before the file was changed."""
        return bool(self._hashes) and with_suffix(name, ".json") in self._hashes

    def provenance(self, name: str) -> Provenance | None:
        """Return how the transcript of a recording was made."""
        return self._records.provenance(self._folder + name) if self.has_transcript(name) else None

    def damaged(self, name: str) -> Provenance | None:
        """Return what can still be read of a recording's damaged transcript."""
        return self._records.damaged(self._folder + name) if self.has_transcript(name) else None

    def failure(self, name: str) -> Failure | None:
        """Return why a recording failed."""
        failed = self._failures and with_suffix(name, ".json") in self._failures
        return self._records.failure(self._folder + name) if failed else None

    def is_claimed(self, name: str) -> bool:
        """Return whether a recording has partial results or claims, so that work on it was begun but not finished."""
        return bool(self._claimed) and with_suffix(name, "") in self._claimed

    def claimed_stem(self, name: str) -> str | None:
        """Return the stem at which unfinished work on a recording may have left text files."""
        return self._records.partial_results.claimed_stem(self._folder + name) if self.is_claimed(name) else None

    @cached_property
    def our_stems(self) -> set[str]:
        """Stems of text files that are ours, including those of vanished recordings."""
        keys = (TRANSCRIPTS + self._folder + name for name in self.transcripts)
        max_concurrency = self._records.store.max_concurrency
        return {
            done.stem
            for _, look in map_concurrently(self._records.provenance_at, keys, max_concurrency)
            if (done := look())
        }
