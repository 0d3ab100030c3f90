"""Read, write and list objects in a bucket of S3 or a compatible server, with retries."""

import base64
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from botocore.config import Config
from botocore.exceptions import BotoCoreError

from nightscribe.shared import aws
from nightscribe.shared.errors import NameTooLong, PermanentError, RetryableError, SetupError, StorageError
from nightscribe.shared.process.liveness import report_alive
from nightscribe.shared.storage.base import CHANGED, Denied, VersionConflict

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

T = TypeVar("T")

MAX_CONCURRENCY = 16
"""Number of calls worth making at the same time, because each mostly waits for the network."""
TIMEOUT_S = 20.0
RETRY_TIMEOUT_S = 60.0  # how long a call is retried before its error is raised
LONGEST_KEY = 1024  # bytes

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,254}")
_SHA256 = re.compile(r"[A-Za-z0-9+/]{43}=")
_RANGE = re.compile(r"bytes \d+-\d+/(\d+)")
_ACTIONS = {
    "list_objects_v2": "s3:ListBucket",
    "head_object": "s3:GetObject",
    "get_object": "s3:GetObject",
    "put_object": "s3:PutObject",
    "delete_object": "s3:DeleteObject",
}
_CONDITIONAL = {"put_object", "delete_object"}
_ELSEWHERE = {"301", "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
_DENIED = {"AccessDenied", "403"}
# Every S3 server includes these on success, but the page of a proxy or a network's login does not.
_ALWAYS_PRESENT = {"list_objects_v2": "Name", "head_object": "ETag", "get_object": "ETag", "put_object": "ETag"}


@dataclass(frozen=True)
class Bucket:
    """A bucket, or the part of it below a prefix."""

    name: str
    prefix: str = ""
    """Empty or ends in "/"."""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Parse `s3://bucket` or `s3://bucket/prefix`. Raises: SetupError: if it is neither."""
        name, _, prefix = url.removeprefix("s3://").partition("/")
        if not url.startswith("s3://") or not _NAME.fullmatch(name):
            raise SetupError(
                f"{url!r} names no bucket; write s3://bucket or s3://bucket/prefix (the name of a bucket has at least "
                "three letters)."
            )
        if name.endswith("--x-s3"):
            raise SetupError(
                f"{url!r} is a directory bucket (S3 Express One Zone), which lists its objects in no order; give a "
                "general purpose bucket."
            )
        prefix = prefix.removesuffix("/")
        if prefix and any(part in ("", ".", "..") for part in prefix.split("/")):
            raise SetupError(f"{url!r} has '//', '.' or '..' in its prefix, which cannot name a folder; remove it.")
        return cls(name, prefix and prefix + "/")

    def __str__(self) -> str:
        return f"s3://{self.name}/{self.prefix}".removesuffix("/")


@dataclass(frozen=True, slots=True)
class Object:
    """The metadata of an object from ListObjects or HeadObject. `key` is relative to the prefix."""

    key: str
    size: int
    modified: datetime
    etag: str
    """An opaque string; a hash of the content only if it was uploaded in one piece and is not encrypted."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A range of bytes of an object, with the size and ETag of the whole object."""

    content: bytes
    size: int
    etag: str


class Replaced(PermanentError):
    """The object was replaced while it was read."""

    code = "changed"

    def __init__(self) -> None:
        super().__init__(CHANGED)


class Objects:
    """Reads and writes objects below a prefix. Safe to use from several threads. Keys are relative to the prefix.

    Every method raises RetryableError if the server does not respond for a minute, and StorageError if it refuses.
    """

    def __init__(
        self,
        bucket: Bucket,
        make_client: "Callable[[], S3Client]",
        *,
        payer: bool = False,
        retry_timeout_s: float = RETRY_TIMEOUT_S,
    ) -> None:
        """`payer`: this account pays for the requests instead of the bucket's owner."""
        self.bucket = bucket
        self._make_client = make_client
        self._client = make_client()
        self._retry_timeout_s = retry_timeout_s
        self._without_conditions: set[str] = set()
        """Operations that the server refuses with a condition."""
        self._payer = {"RequestPayer": "requester"} if payer else {}
        self._subject = _subject(bucket)

    @property
    def address(self) -> str:
        """Return the address of the server."""
        return self._client.meta.endpoint_url

    def head(self, key: str) -> Object | None:
        """Return the metadata of one object, or None if it does not exist."""
        if not self.takes(key):
            return None
        try:
            found = self._call("head_object", Key=self._full(key))
        except _NoKey:
            # Only a response with a body shows whether the bucket exists.
            return None if self.read(key, 0, 1) is None else self.head(key)
        return Object(key, found["ContentLength"], found["LastModified"], found["ETag"])

    def age_s(self, key: str) -> float | None:
        """Return the age of an object in seconds, by the server's clock, or None if it does not exist."""
        if self.head(key) is None:
            return None
        try:
            found = self._call("head_object", Key=self._full(key))
        except _NoKey:
            return None
        modified: datetime = found["LastModified"]
        date = found["ResponseMetadata"]["HTTPHeaders"].get("date")
        now = parsedate_to_datetime(date) if date else datetime.now(UTC)
        return max(0.0, (now - modified).total_seconds())

    def sha256(self, key: str) -> str | None:
        """Return the SHA-256 of a whole object in hexadecimal digits, or None if the server does not state it.

        A server has it only if the object was uploaded in one piece and the uploader requested this checksum.
        """
        try:
            found = self._call("head_object", Key=self._full(key), ChecksumMode="ENABLED")
        except (_NoKey, Denied):  # it may require rights to a KMS key that reading does not
            return None
        stated = found.get("ChecksumSHA256", "")
        # The checksum of an object uploaded in several parts is a hash of their hashes, and ends with their number.
        return base64.b64decode(stated).hex() if _SHA256.fullmatch(stated) else None

    def read(self, key: str, first: int = 0, n: int | None = None, *, etag: str | None = None) -> Piece | None:
        """Return `n` bytes from offset `first` (fewer at the end), or the whole object; None if it does not exist.

        Raises: Replaced: if the object no longer has this `etag`.
        """
        if not self.takes(key):
            return None
        wanted: dict[str, Any] = {} if n is None else {"Range": f"bytes={first}-{first + n - 1}"}
        if etag:
            wanted["IfMatch"] = etag
        try:
            # Reading the body is part of the call, so that it is retried with it.
            return self._persist(
                "get_object", lambda get: _piece(get(Key=self._full(key), **wanted), first, n), given=wanted
            )
        except _NoKey:
            return None
        except _BeyondEnd:
            whole = self.head(key)
            return Piece(b"", whole.size, whole.etag) if whole else None

    def link(self, key: str, lifetime_s: int) -> str:
        """Return an address under which anyone can read an object for a while. It makes no request."""
        arguments = {"Bucket": self.bucket.name, "Key": self._full(key), **self._payer}
        return self._client.generate_presigned_url("get_object", Params=arguments, ExpiresIn=lifetime_s)

    def put(self, key: str, content: bytes, **options: str) -> None:
        """Store the whole object or nothing. Raises: NameTooLong: if the key is too long for S3."""
        self._call("put_object", Key=self._writable(key), Body=content, **options)

    def put_new(self, key: str, content: bytes, **options: str) -> bool:
        """Store an object unless one exists; return whether the object has this content now.

        A retry may find what an earlier try stored. A server without conditional requests overwrites the object.
        Raises: NameTooLong: if the key is too long for S3.
        """
        try:
            self.put_version(key, content, None, options)
        except VersionConflict:
            there = self.read(key)
            return there is not None and there.content == content
        return True

    def upload_new(self, key: str, file: Path, **options: str) -> bool:
        """Store a file of any size as a new object, in several parts if it is large; return False if one exists.

        Two that upload to one key at the same moment may both succeed, and the later one stays.
        Raises: NameTooLong: if the key is too long for S3. RetryableError: if not all of it has arrived.
        """
        target = self._writable(key)
        if self.head(key):
            return False

        def upload(_call: object) -> None:
            with file.open("rb") as content:
                self._client.upload_fileobj(content, self.bucket.name, target, ExtraArgs={**options, **self._payer})

        self._persist("put_object", upload, given=options)
        there = self.head(key)
        if there is None or there.size != file.stat().st_size:
            raise RetryableError(f"{key!r} did not arrive whole in {self.bucket}.", code="storage_unreachable")
        return True

    def put_version(
        self,
        key: str,
        content: bytes,
        etag: str | None,
        options: Mapping[str, str],
        check: Callable[[], None] = lambda: None,
    ) -> str:
        """See `ConditionalWrites.put_version`: a version is an ETag. Raises: NameTooLong: if S3 refuses the key."""
        arguments = {"Key": self._writable(key), "Body": content, **options}
        condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
        return str(self._conditional("put_object", arguments, condition, check)["ETag"])

    def delete(self, key: str) -> None:
        """Remove an object; it is not an error if it does not exist."""
        if self.takes(key):
            self._call("delete_object", Key=self._full(key))

    def delete_version(self, key: str, etag: str, check: Callable[[], None] = lambda: None) -> None:
        """See `ConditionalWrites.delete_version`."""
        try:
            self._conditional("delete_object", {"Key": self._full(key)}, {"IfMatch": etag}, check)
        except VersionConflict:
            if self.head(key):  # otherwise it is gone, perhaps removed by a try whose response was lost
                raise

    def _conditional(
        self, operation: str, arguments: dict[str, Any], condition: dict[str, str], check: Callable[[], None]
    ) -> dict[str, Any]:
        """Call an operation that depends on the object's version, or without the condition if the server has none.

        `check` is called before each try. Raises: VersionConflict: if the object has another version.
        """
        while True:
            given = arguments | (condition if operation not in self._without_conditions else {})
            try:
                return self._persist(operation, partial(_checked, check, given), given=given)
            except (Replaced, _NoKey) as error:
                raise VersionConflict from error
            except _NoConditions:
                self._without_conditions.add(operation)

    def pages(self, folder: str, *, deep: bool, after: str = "") -> Iterator[tuple[list[Object], list[str]]]:
        """Yield the objects in a folder ("" or ending in "/"), a thousand at a time by key, and the folders in it.

        With `deep`, it yields all objects below instead of folders; with `after`, only keys after that one. An
        interruption never causes an object to be missed or yielded twice.
        """
        before = self.bucket.prefix
        if not self.takes(folder):
            return
        arguments = {"Prefix": before + folder} | ({} if deep else {"Delimiter": "/"})
        token, last = "", before + after if after else ""
        while True:
            where = {"ContinuationToken": token} if token else {"StartAfter": last} if last else {}
            try:
                report_alive()
                page = self._call("list_objects_v2", **arguments, **where)
            except _TokenRefused:
                token = ""
                continue
            objects = [
                Object(each["Key"][len(before) :], each["Size"], each["LastModified"], each["ETag"])
                for each in page.get("Contents", ())
                if each["Key"] > last
            ]
            folders = [each["Prefix"] for each in page.get("CommonPrefixes", ()) if each["Prefix"] > last]
            yield objects, [each[len(before) :] for each in folders]
            if not page.get("IsTruncated"):
                return
            last = max([last, *folders[-1:], *(before + each.key for each in objects[-1:])])
            token = page.get("NextContinuationToken", "")

    def takes(self, key: str) -> bool:
        """Return whether the key is short enough for S3."""
        return len(self._full(key).encode()) <= LONGEST_KEY

    def _full(self, key: str) -> str:
        return self.bucket.prefix + key

    def _writable(self, key: str) -> str:
        if not self.takes(key):
            raise NameTooLong(
                f"{key!r} in {str(self.bucket)!r} would have a longer name than the {LONGEST_KEY:,} bytes S3 allows."
            )
        return self._full(key)

    def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        return self._persist(operation, lambda call: call(**arguments), given=arguments)

    def _persist(
        self, operation: str, do: Callable[[Callable[..., dict[str, Any]]], T], *, given: Collection[str]
    ) -> T:
        """Return the result of `do`, which receives the operation to call; `given` names the call's arguments."""
        return aws.persist(
            lambda: do(partial(self._request, operation, Bucket=self.bucket.name, **self._payer)),
            self._subject,
            operation=operation,
            retry_timeout_s=self._retry_timeout_s,
            renew=self._renew,
            translated=lambda code, message: self._translated(code, message, operation, given),
            is_final=lambda error: isinstance(error, Denied),
        )

    def _request(self, operation: str, **arguments: Any) -> dict[str, Any]:
        response: dict[str, Any] = getattr(self._client, operation)(**arguments)
        if not _is_from_s3(operation, response):
            if body := response.get("Body"):
                body.close()
            raise RetryableError(aws.not_the_service(self._subject), code=self._subject.unreachable_code)
        return response

    def _renew(self) -> None:
        self._client = self._make_client()

    def _translated(self, code: str, message: str, operation: str, given: Collection[str]) -> Exception | None:
        why = f"{code}: {message}" if message else code
        if code in _ERRORS:
            return _ERRORS[code]()
        for argument, codes, refused in _ARGUMENT_ERRORS:
            if argument in given and code in codes:
                return refused()
        if code == "NotImplemented" and operation in _CONDITIONAL and {"IfMatch", "IfNoneMatch"} & set(given):
            return _NoConditions()
        if code in _DENIED:
            kind = Denied if operation in ("get_object", "head_object") else StorageError
            return kind(self._denied(operation, why))
        if operation == "head_object" and code == "400":  # a response without a body gives no reason
            return aws.CredentialsExpired("perhaps: the server gave no reason")
        return StorageError(sentence) if (sentence := self._unreachable(code, why)) else None

    def _unreachable(self, code: str, why: str) -> str | None:
        if code == "NoSuchBucket":
            return (
                f"There is no bucket {self.bucket.name!r} on {self.address}. Check its name, AWS_ENDPOINT_URL_S3 and "
                "the credentials."
            )
        if code in _ELSEWHERE:
            return (
                f"The bucket {self.bucket.name!r} is in another region ({why}). Set AWS_DEFAULT_REGION to that region."
            )
        return None

    def _denied(self, operation: str, why: str) -> str:
        action = _ACTIONS[operation]
        where = "" if action == "s3:ListBucket" else f"/{self.bucket.prefix}*"
        more = " (and s3:ListBucket, without which S3 denies missing objects)" if action == "s3:GetObject" else ""
        return (
            f"The bucket {self.bucket.name!r} denies {operation} ({why}). These credentials need {action} on "
            f"arn:aws:s3:::{self.bucket.name}{where}{more}."
        )


class _NoKey(Exception):
    pass


class _BeyondEnd(Exception):
    pass


class _TokenRefused(Exception):
    pass


class _NoConditions(Exception):
    pass


_ERRORS: dict[str, Callable[[], Exception]] = {
    "NoSuchKey": _NoKey,
    "404": _NoKey,
    "InvalidRange": _BeyondEnd,
    "416": _BeyondEnd,
    "PreconditionFailed": Replaced,
    "412": Replaced,
    "ConditionalRequestConflict": lambda: RetryableError(
        "Another process is writing that object.", code="storage_unreachable"
    ),
    "KeyTooLongError": lambda: NameTooLong("Its name is longer than the bucket's server allows; rename it."),
    "InvalidObjectState": lambda: PermanentError(
        "It is in an archive (storage class); restore it there.", code="archived"
    ),
}


_ARGUMENT_ERRORS: tuple[tuple[str, set[str], type[Exception]], ...] = (
    ("ContinuationToken", {"InvalidArgument", "InvalidRequest", "IncorrectContinuationToken"}, _TokenRefused),
)


def objects_of(bucket: Bucket, *, payer: bool = False, retry_timeout_s: float = RETRY_TIMEOUT_S) -> Objects:
    """Return the objects of a bucket on the server that the environment names (see `aws.client`), sending nothing yet.

    Raises: StorageError: if the server's address is incomplete.
    """
    # Other servers refuse checksums that only AWS supports.
    more = Config(
        max_pool_connections=2 * MAX_CONCURRENCY,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        tcp_keepalive=True,
    )
    try:
        return Objects(
            bucket,
            lambda: aws.client("s3", timeout_s=min(TIMEOUT_S, retry_timeout_s), more=more),
            payer=payer,
            retry_timeout_s=retry_timeout_s,
        )
    except (BotoCoreError, ValueError, RuntimeError) as error:
        raise aws.incomplete(error, _subject(bucket)) from error


def _subject(bucket: Bucket) -> aws.Subject:
    return aws.Subject(f"bucket {bucket.name!r}", StorageError, "AWS_ENDPOINT_URL_S3")


def _checked(
    check: Callable[[], None], arguments: dict[str, Any], call: Callable[..., dict[str, Any]]
) -> dict[str, Any]:
    check()
    return call(**arguments)


def _is_from_s3(operation: str, response: dict[str, Any]) -> bool:
    is_complete = operation not in _ALWAYS_PRESENT or _ALWAYS_PRESENT[operation] in response
    return is_complete and not aws.is_page(response["ResponseMetadata"])


def _piece(found: dict[str, Any], first: int, n: int | None) -> Piece:
    content: bytes = found["Body"].read()
    if content_range := _RANGE.match(found.get("ContentRange", "")):
        return Piece(content, int(content_range[1]), found["ETag"])
    # The whole object was requested, or the server ignored the range.
    return Piece(content[first : None if n is None else first + n], len(content), found["ETag"])
