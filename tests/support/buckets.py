"""A bucket as the world outside fills it, and a server that answers as no real one does on demand."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from nightscribe.shared.storage.s3.location import BucketLocation
from nightscribe.shared.storage.s3.objects import Objects, objects_of


@dataclass(frozen=True)
class TestBucket:
    """A bucket with nothing of ours in between."""

    __test__: ClassVar[bool] = False

    client: Any
    name: str

    @classmethod
    def created(cls, client: Any) -> "TestBucket":
        """A new one."""
        name = f"bucket-{uuid.uuid4().hex}"
        client.create_bucket(Bucket=name)
        return cls(client, name)

    def put(self, key: str, content: bytes = b"") -> None:
        """An object, by its whole key."""
        self.client.put_object(Bucket=self.name, Key=key, Body=content)

    def get(self, key: str) -> bytes:
        """What is in it."""
        content: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return content

    @property
    def keys(self) -> list[str]:
        """Of all its objects."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return [each["Key"] for page in pages for each in page.get("Contents", ())]

    def at(self, prefix: str = "") -> BucketLocation:
        """As ours."""
        return BucketLocation(self.name, prefix)

    def objects(self, prefix: str = "", **more: Any) -> Objects:
        """What is below a prefix, as our code sees it."""
        return objects_of(self.at(prefix), **more)


def refused(code: str, status: int = 400, message: str = "as the test wants it") -> ClientError:
    """An answer that is an error."""
    said = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(said, "Any")


class Faulty:
    """The real client, whose n-th call of an operation (from 1 on) raises what it is told, before it or after."""

    def __init__(self, client: Any, operation: str, errors: dict[int, Exception], *, after: bool = False) -> None:
        self._client = client
        self._operation = operation
        self._errors = errors
        self._after = after
        self.n_calls = 0

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._client, name)
        return self._counted(real) if name == self._operation else real

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(**arguments: Any) -> Any:
            self.n_calls += 1
            error = self._errors.get(self.n_calls)
            if error and not self._after:
                raise error
            answer = real(**arguments)
            if error:
                raise error
            return answer

        return call


def in_pages(objects: Objects, page: int) -> Objects:
    """The same with so many on each page of a list, where a server gives a thousand."""
    objects._client.meta.events.register(
        "provide-client-params.s3.ListObjectsV2", lambda params, **_: params | {"MaxKeys": page}
    )
    return objects
