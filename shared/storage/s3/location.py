"""Use a bucket as SOURCE or DEST, and check it before any work is wasted."""

from dataclasses import dataclass

from nightscribe.shared.errors import StorageError
from nightscribe.shared.model.jobs import RECORDS_FOLDER
from nightscribe.shared.storage.base import Denied, Location, StorageOptions, no_records, trial_key
from nightscribe.shared.storage.s3.block_cache import Blocks
from nightscribe.shared.storage.s3.objects import Bucket, objects_of
from nightscribe.shared.storage.s3.source import BucketSource
from nightscribe.shared.storage.s3.store import BucketStore

CHECK_TIMEOUT_S = 8.0  # a person is waiting for the result
TRIED = 3  # number of objects: a single one may belong to another account


@dataclass(frozen=True)
class BucketLocation(Bucket, Location):
    """A bucket, or the part of it below a prefix."""

    def open_source(self, options: StorageOptions, *, leave_out: Location | None = None) -> BucketSource:
        """See `Location.open_source`. Raises: StorageError: if the address of the bucket's server is incomplete."""
        return BucketSource(
            objects_of(self, payer=options.s3_requester_pays),
            Blocks(options.cache_bytes),
            leave_out=leave_out if isinstance(leave_out, Bucket) else None,
            encryption=options.s3_encryption,
        )

    def open_store(self, options: StorageOptions) -> BucketStore:
        """See `Location.open_store`. Raises: StorageError: if the address of the bucket's server is incomplete."""
        return BucketStore(objects_of(self), options.s3_encryption)

    def check_source(self, options: StorageOptions) -> None:
        """See `Location.check_source`; it lists once, and reads one byte of up to three objects."""
        objects = objects_of(self, payer=options.s3_requester_pays, retry_timeout_s=CHECK_TIMEOUT_S)
        found, _ = next(objects.pages("", deep=True))
        denied: Denied | None = None
        for each in [each for each in found if each.size][:TRIED]:
            try:
                objects.read(each.key, 0, 1)
            except Denied as error:
                denied = error
            else:
                return
        if denied:
            raise StorageError(str(denied)) from denied

    def check_dest(self, options: StorageOptions, *, create: bool) -> None:
        """See `Location.check_dest`; with `create`, it writes, reads and deletes one empty object."""
        objects = objects_of(self, retry_timeout_s=CHECK_TIMEOUT_S)
        next(objects.pages("", deep=False))
        if not create:
            return
        key = trial_key()
        try:
            objects.put(key, b"", **options.s3_encryption)
            objects.read(key)
            objects.delete(key)
        except Denied as error:
            raise StorageError(str(error)) from error

    def check_records(self, options: StorageOptions) -> None:  # noqa: ARG002  none concerns it
        """See `Location.check_records`."""
        objects = objects_of(self, retry_timeout_s=CHECK_TIMEOUT_S)
        found, _ = next(objects.pages(f"{RECORDS_FOLDER}/", deep=True))
        if not found:
            raise no_records(self)
