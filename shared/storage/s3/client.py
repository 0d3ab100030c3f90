"""The objects of a bucket of S3, or of a server that speaks as it does: calls with patience, and lists without end."""

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

from botocore.config import Config
from botocore.exceptions import BotoCoreError

from nightscribe.shared import aws
from nightscribe.shared.errors import BucketError, NameTooLong, PermanentError, RetryableError, SetupError
from nightscribe.shared.process.liveness import report_alive
from nightscribe.shared.storage.base import CHANGED, Denied

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

T = TypeVar("T")

MAX_CONCURRENCY = 16
"""Calls at a time: each waits for the network for longest."""
TIMEOUT_S = 20.0
RETRY_TIMEOUT_S = 60.0  # how long a call is tried again before its error is raised
LONGEST_KEY = 1024  # bytes

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,254}")
_RANGE = re.compile(r"bytes \d+-\d+/(\d+)")
_ACTIONS = {
    "list_objects_v2": "s3:ListBucket",
    "head_object": "s3:GetObject",
    "get_object": "s3:GetObject",
    "put_object": "s3:PutObject",
    "delete_object": "s3:DeleteObject",
}
_ELSEWHERE = {"301", "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
_DENIED = {"AccessDenied", "403"}
# What every server that speaks S3 says in a good answer, and the page of a proxy or a network's login does not.
_ALWAYS_SAID = {"list_objects_v2": "Name", "head_object": "ETag", "get_object": "ETag", "put_object": "ETag"}


@dataclass(frozen=True)
class Bucket:
    """A bucket, or what lies in it below a prefix."""

    name: str
    prefix: str = ""
    """Empty or ends in "/"."""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Raises: SetupError: unless it is `s3://bucket` or `s3://bucket/prefix`."""
        name, _, prefix = url.removeprefix("s3://").partition("/")
        if not url.startswith("s3://") or not _NAME.fullmatch(name):
            raise SetupError(
                f"{url!r} names no bucket; write s3://bucket or s3://bucket/prefix (the name of a bucket has three "
                "letters at least)."
            )
        if name.endswith("--x-s3"):
            raise SetupError(
                f"{url!r} is a directory bucket (S3 Express One Zone), which lists what is in it in no order; give a "
                "general purpose bucket."
            )
        prefix = prefix.removesuffix("/")
        if prefix and any(part in ("", ".", "..") for part in prefix.split("/")):
            raise SetupError(f"{url!r} has '//', '.' or '..' in its prefix, which no folder is called; leave it out.")
        return cls(name, prefix and prefix + "/")

    def __str__(self) -> str:
        return f"s3://{self.name}/{self.prefix}".removesuffix("/")


@dataclass(frozen=True, slots=True)
class Object:
    """An object as a list or a look at it alone tells it. `key` is relative to the prefix."""

    key: str
    size: int
    modified: datetime
    etag: str
    """Opaque: a hash of the content only where it was put there in one piece, and not encrypted."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of an object, with what it is a piece of."""

    content: bytes
    size: int
    etag: str


class Replaced(PermanentError):
    """The object is not the one that was begun with."""

    def __init__(self) -> None:
        super().__init__(CHANGED)


class Objects:
    """What lies below a prefix. Safe to use from several threads. Keys are relative to the prefix.

    Every method raises RetryableError if the server does not answer for a minute, and BucketError if it refuses.
    """

    def __init__(
        self,
        bucket: Bucket,
        make_client: "Callable[[], S3Client]",
        *,
        payer: bool = False,
        retry_timeout_s: float = RETRY_TIMEOUT_S,
    ) -> None:
        """`payer`: this account pays for the requests, not the owner of the bucket."""
        self.bucket = bucket
        self._make_client = make_client
        self._client = make_client()
        self._retry_timeout_s = retry_timeout_s
        self._knows_conditions = True
        self._payer = {"RequestPayer": "requester"} if payer else {}
        self._subject = _subject(bucket)

    @property
    def address(self) -> str:
        """Of the server."""
        return self._client.meta.endpoint_url

    def look_at(self, key: str) -> Object | None:
        """What there is to know of one object without reading it."""
        if not self.takes(key):
            return None
        try:
            found = self._call("head_object", Key=self._full(key))
        except _NoKey:
            # Only what has a body tells whether there is the bucket.
            return None if self.read(key, 0, 1) is None else self.look_at(key)
        return Object(key, found["ContentLength"], found["LastModified"], found["ETag"])

    def read(self, key: str, first: int = 0, n: int | None = None, *, etag: str | None = None) -> Piece | None:
        """So many bytes from the `first` on (fewer at its end), or all of it; of the object of that ETag alone.

        Raises: Replaced: if another object has its key now.
        """
        if not self.takes(key):
            return None
        wanted: dict[str, Any] = {} if n is None else {"Range": f"bytes={first}-{first + n - 1}"}
        if etag:
            wanted["IfMatch"] = etag
        try:
            # Reading what is answered is a part of the call, and tried again with it.
            return self._persist(
                "get_object", lambda ask: _piece(ask(Key=self._full(key), **wanted), first, n), given=wanted
            )
        except _NoKey:
            return None
        except _BeyondEnd:
            whole = self.look_at(key)
            return Piece(b"", whole.size, whole.etag) if whole else None

    def put(self, key: str, content: bytes, **options: str) -> None:
        """Store an object, whole or not at all. Raises: NameTooLong."""
        self._call("put_object", Key=self._writable(key), Body=content, **options)

    def put_new(self, key: str, content: bytes, **options: str) -> bool:
        """The same if no object has that key; whether it is there now, since an answer that was lost is asked again.

        A server that knows no conditions writes over what is there. Raises: NameTooLong.
        """
        if self._knows_conditions:
            try:
                self._call("put_object", Key=self._writable(key), Body=content, IfNoneMatch="*", **options)
                return True
            except Replaced:
                there = self.read(key)
                return there is not None and there.content == content
            except _NoConditions:
                self._knows_conditions = False
        self.put(key, content, **options)
        return True

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        if self.takes(key):
            self._call("delete_object", Key=self._full(key))

    def pages(self, folder: str, *, deep: bool, after: str = "") -> Iterator[tuple[list[Object], list[str]]]:
        """The objects in a folder ("" or ending in "/"), a thousand at a time by their keys, and the folders in it.

        With `deep` those below as well, and no folders; with `after` only what comes behind that key. Whatever
        interrupts it, nothing is missed or told twice.
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
        """Whether an object can have that key."""
        return len(self._full(key).encode()) <= LONGEST_KEY

    def _full(self, key: str) -> str:
        return self.bucket.prefix + key

    def _writable(self, key: str) -> str:
        if not self.takes(key):
            raise NameTooLong(
                f"{key!r} in {str(self.bucket)!r} would have a longer name than the {LONGEST_KEY:,} bytes of S3."
            )
        return self._full(key)

    def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        return self._persist(operation, lambda ask: ask(**arguments), given=arguments)

    def _persist(
        self, operation: str, do: Callable[[Callable[..., dict[str, Any]]], T], *, given: Collection[str]
    ) -> T:
        """What `do` makes of the operation, which it is given; `given` names the arguments that errors are about."""
        return aws.persist(
            lambda: do(partial(self._ask, operation, Bucket=self.bucket.name, **self._payer)),
            self._subject,
            operation=operation,
            retry_timeout_s=self._retry_timeout_s,
            renew=self._renew,
            translated=lambda code, message: self._translated(code, message, operation, given),
            is_final=lambda error: isinstance(error, Denied),
        )

    def _ask(self, operation: str, **arguments: Any) -> dict[str, Any]:
        answer: dict[str, Any] = getattr(self._client, operation)(**arguments)
        if not _is_of_s3(operation, answer):
            if body := answer.get("Body"):
                body.close()
            raise RetryableError(aws.not_the_service(self._subject))
        return answer

    def _renew(self) -> None:
        self._client = self._make_client()

    def _translated(self, code: str, message: str, operation: str, given: Collection[str]) -> Exception | None:
        why = f"{code}: {message}" if message else code
        if code in _ANSWERS:
            return _ANSWERS[code]()
        for argument, codes, refused in _ANSWERS_TO:
            if argument in given and code in codes:
                return refused()
        if code in _DENIED:
            kind = Denied if operation in ("get_object", "head_object") else BucketError
            return kind(self._denied(operation, why))
        if operation == "head_object" and code == "400":  # an answer without a body cannot say so
            return aws.CredentialsExpired("perhaps: the server gave no reason")
        return BucketError(said) if (said := self._unreachable(code, why)) else None

    def _unreachable(self, code: str, why: str) -> str | None:
        if code == "NoSuchBucket":
            return (
                f"There is no bucket {self.bucket.name!r} on {self.address}. Check its name, and that "
                "AWS_ENDPOINT_URL_S3 and the credentials lead where it is."
            )
        if code in _ELSEWHERE:
            return (
                f"The bucket {self.bucket.name!r} is in another region ({why}). Set AWS_DEFAULT_REGION to the one "
                "where it is."
            )
        return None

    def _denied(self, operation: str, why: str) -> str:
        action = _ACTIONS[operation]
        where = "" if action == "s3:ListBucket" else f"/{self.bucket.prefix}*"
        more = " (and s3:ListBucket, without which nothing is ever missing)" if action == "s3:GetObject" else ""
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


_ANSWERS: dict[str, Callable[[], Exception]] = {
    "NoSuchKey": _NoKey,
    "404": _NoKey,
    "InvalidRange": _BeyondEnd,
    "416": _BeyondEnd,
    "PreconditionFailed": Replaced,
    "412": Replaced,
    "ConditionalRequestConflict": lambda: RetryableError("Another one writes that object at this moment."),
    "KeyTooLongError": lambda: NameTooLong("Its name is longer than the bucket's server takes; rename it."),
    "InvalidObjectState": lambda: PermanentError("It lies in an archive (storage class); restore it there."),
}


_ANSWERS_TO: tuple[tuple[str, set[str], type[Exception]], ...] = (
    ("ContinuationToken", {"InvalidArgument", "InvalidRequest", "IncorrectContinuationToken"}, _TokenRefused),
    ("IfNoneMatch", {"NotImplemented"}, _NoConditions),
)


def objects_of(bucket: Bucket, *, payer: bool = False, retry_timeout_s: float = RETRY_TIMEOUT_S) -> Objects:
    """Those on the server that the environment names (see `aws.client`); nothing is sent yet.

    Raises: BucketError: if its address is not complete.
    """
    # Checksums that only AWS knows would be refused by other servers.
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
    return aws.Subject(f"bucket {bucket.name!r}", BucketError, "AWS_ENDPOINT_URL_S3")


def _is_of_s3(operation: str, answer: dict[str, Any]) -> bool:
    is_told = operation not in _ALWAYS_SAID or _ALWAYS_SAID[operation] in answer
    return is_told and not aws.is_page(answer["ResponseMetadata"])


def _piece(found: dict[str, Any], first: int, n: int | None) -> Piece:
    content: bytes = found["Body"].read()
    if said := _RANGE.match(found.get("ContentRange", "")):
        return Piece(content, int(said[1]), found["ETag"])
    # All of it was asked for, or the server gave all of it nevertheless.
    return Piece(content[first : None if n is None else first + n], len(content), found["ETag"])
