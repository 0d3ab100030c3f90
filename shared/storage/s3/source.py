"""Read recordings from a bucket."""

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from nightscribe.shared.errors import PermanentError
from nightscribe.shared.model.hotwords import FILE as HOTWORDS_FILE
from nightscribe.shared.model.jobs import REQUESTS_FOLDER
from nightscribe.shared.model.recording import Folder, Recording, Unreadable
from nightscribe.shared.storage.fingerprint import FINGERPRINT_BYTES, fingerprint
from nightscribe.shared.storage.s3.block_cache import BLOCK_BYTES, Blocks
from nightscribe.shared.storage.s3.objects import MAX_CONCURRENCY, Bucket, Object, Objects, Piece, Replaced
from nightscribe.shared.storage.s3.remote_file import Remote, served

SEEN_FOR_S = 5.0  # a caller of `stat` usually reads the recording next, and must get the object that it saw


class BucketSource:
    """Reads objects below a prefix; a "/" in their keys separates folders."""

    max_concurrency = MAX_CONCURRENCY

    def __init__(
        self,
        objects: Objects,
        blocks: Blocks,
        *,
        leave_out: Bucket | None = None,
        encryption: Mapping[str, str] | None = None,
    ) -> None:
        """`leave_out`: the destination. `blocks`: the cache for what is read. `encryption`: of what is added."""
        self._objects = objects
        self._encryption = encryption or {}
        self._blocks = blocks
        bucket = objects.bucket
        inside = leave_out and leave_out.name == bucket.name and leave_out.prefix.startswith(bucket.prefix)
        self._leave_out = leave_out.prefix[len(bucket.prefix) :] if leave_out and inside else ""
        self._seen: dict[str, tuple[float, Object]] = {}
        self._lock = threading.Lock()

    def folders(self) -> Iterator[Folder]:
        """See `RecordingSource.folders`; it lists some of the next folders ahead."""
        pending = [""]
        coming: dict[str, Future[Folder]] = {}
        with ThreadPoolExecutor(MAX_CONCURRENCY) as pool:
            try:
                while pending:
                    for path in pending[-MAX_CONCURRENCY:]:
                        if path not in coming:
                            coming[path] = pool.submit(self._folder, path)
                    folder = coming.pop(pending.pop()).result()
                    yield folder
                    pending.extend(f"{folder.path}{name}/" for name in reversed(folder.below))
            finally:
                pool.shutdown(cancel_futures=True)

    def _folder(self, path: str) -> Folder:
        folder = Folder(path, [], [], [])
        for objects, below in self._objects.pages(path, deep=False):
            for each in objects:
                name = each.key[len(path) :]
                if not name or name.startswith("."):  # an object that marks the folder itself, or a hidden file
                    if name == HOTWORDS_FILE:
                        folder.lists.append(name)
                    continue
                if "\0" in name:
                    folder.unreadable.append(Unreadable(repr(each.key), "Its key holds a zero byte; rename it."))
                else:
                    folder.recordings.append(_recording(each))
            for each_path in below:
                name = each_path[len(path) : -1]
                if not name or "\0" in name:
                    why = "This is not a valid name of a folder, so its contents are skipped; rename its objects."
                    folder.unreadable.append(Unreadable(repr(each_path), why))
                elif not name.startswith(".") and each_path != self._leave_out:
                    folder.below.append(name)
        return folder

    def stat(self, path: str) -> Recording:
        """See `RecordingSource.stat`."""
        found = self._head(path)
        now = time.monotonic()
        with self._lock:
            self._seen = {path: each for path, each in self._seen.items() if now - each[0] < SEEN_FOR_S}
            self._seen[path] = now, found
        return _recording(found)

    def _seen_lately(self, path: str) -> Object | None:
        at, found = self._seen.get(path, (0.0, None))
        return found if time.monotonic() - at < SEEN_FOR_S else None

    def waiting_room(self) -> None:
        """See `Intake.waiting_room`."""

    def add(self, file: Path, path: str) -> bool:
        """See `Intake.add`."""
        if self._leave_out and path.startswith(self._leave_out):
            raise PermanentError(
                f"{path!r} is not a place for recordings; choose another folder.", code="outside_source"
            )
        if not self._objects.upload_new(path, file, **self._encryption):
            return False
        file.unlink(missing_ok=True)
        return True

    def remove(self, path: str) -> None:
        """See `Intake.remove`."""
        self._objects.delete(path)

    def requests(self, older_than_s: float) -> Iterator[str]:
        """See `Intake.requests`."""
        for objects, _ in self._objects.pages(f"{REQUESTS_FOLDER}/", deep=True):
            for each in objects:
                if (datetime.now(UTC) - each.modified).total_seconds() > older_than_s:
                    yield each.key

    def fingerprint(self, recording: Recording) -> str:
        """See `RecordingSource.fingerprint`; it makes one call for a short recording."""
        path = recording.path
        seen = self._seen_lately(path)
        if seen and 0 < seen.size <= BLOCK_BYTES and _recording(seen) == recording:
            # The caller is about to read all of it.
            with contextlib.suppress(Replaced), self._whole(seen) as (content, _):
                return fingerprint(len(content), lambda first, n: content[first : first + n])
        while True:
            with contextlib.suppress(Replaced):  # try again if the object was replaced between the two reads
                return self._fingerprint(path)

    def _fingerprint(self, path: str) -> str:
        """Read both ends. Raises: Replaced: if they belong to different objects."""
        start = self._read(path, 0, 2 * FINGERPRINT_BYTES)

        def read(first: int, n: int) -> bytes:
            if min(first + n, start.size) <= len(start.content):
                return start.content[first : first + n]
            return self._read(path, first, n, etag=start.etag).content

        return fingerprint(start.size, read)

    def stated_sha256(self, path: str) -> str | None:
        """See `StatesHashes.stated_sha256`."""
        return self._objects.sha256(path)

    def link(self, path: str, lifetime_s: int) -> str:
        """See `Links.link`."""
        self._head(path)
        return self._objects.link(path, lifetime_s)

    @contextmanager
    def local(self, path: str) -> Iterator[Path | Remote]:
        """See `RecordingSource.local`; it downloads a short recording, and lets ffmpeg read ranges of a longer one."""
        found = self._seen_lately(path) or self._head(path)
        if 0 < found.size <= BLOCK_BYTES:
            with self._whole(found) as (_, file):
                if file:
                    yield file
                    return
        remote = Remote(
            path, found.size, lambda n: self._blocks.get(self._name(found, n), lambda: self._block(found, n))
        )
        with served(remote):
            yield remote

    def _whole(self, found: Object) -> AbstractContextManager[tuple[bytes, Path | None]]:
        """Fetch the whole of an object that is not larger than a block."""
        # ffmpeg recognizes short clips in a few formats only by their names.
        kind = PurePosixPath(found.key).suffix
        suffix = kind if kind.removeprefix(".").isalnum() else ""
        return self._blocks.pinned(self._name(found, 0), lambda: self._block(found, 0), suffix=suffix)

    def _name(self, found: Object, n: int) -> str:
        """Return the name of a block in the cache, unique among all objects on all servers."""
        objects = self._objects
        return "\0".join((objects.address, str(objects.bucket), found.key, found.etag, str(found.modified), str(n)))

    def _block(self, found: Object, n: int) -> bytes:
        return self._read(found.key, n * BLOCK_BYTES, BLOCK_BYTES, etag=found.etag).content

    def _head(self, path: str) -> Object:
        found = self._objects.head(path)
        if found is None:
            raise _gone(path)
        return found

    def _read(self, path: str, first: int, n: int, *, etag: str | None = None) -> Piece:
        found = self._objects.read(path, first, n, etag=etag)
        if found is None:
            raise _gone(path)
        return found


def _recording(found: Object) -> Recording:
    # ListObjects may return fractions of a second that HeadObject does not.
    return Recording(found.key, found.size, int(found.modified.timestamp()) * 10**9)


def _gone(path: str) -> PermanentError:
    return PermanentError(f"{path!r} is no longer in the source.", code="gone")
