"""A bucket in a bad night: answers that are errors, lists that end in the middle, objects replaced while being read."""

import random
import shutil
import socket
import threading
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import EndpointConnectionError
from support.buckets import Faulty, TestBucket, in_pages, refused
from support.workplace import OPTIONS, Dictated, Workplace, Wrapped

from nightscribe.director.backlog import Settled
from nightscribe.director.scan.scanner import Scanner
from nightscribe.shared import aws
from nightscribe.shared.audio.decode import Decoder
from nightscribe.shared.audio.probe import probe
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import PermanentError, RetryableError, SetupError, StorageError
from nightscribe.shared.model.assembly import merge
from nightscribe.shared.model.failure import Failure
from nightscribe.shared.model.jobs import Job, Slice
from nightscribe.shared.model.transcript import Part, Transcript, utc_now
from nightscribe.shared.queue.client import connect
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.fingerprint import FINGERPRINT_BYTES
from nightscribe.shared.storage.folder.store import FolderStore
from nightscribe.shared.storage.s3.block_cache import BLOCK_BYTES, Blocks
from nightscribe.shared.storage.s3.location import BucketLocation
from nightscribe.shared.storage.s3.objects import Objects
from nightscribe.shared.storage.s3.source import BucketSource
from nightscribe.shared.storage.s3.store import BucketStore

BUSY = refused("SlowDown", 503)
BROKEN = refused("InternalError", 500)
NO_TOKEN = refused("InvalidArgument", 400, "The continuation token provided is incorrect")
EXPIRED = refused("ExpiredToken")
DENIED = refused("AccessDenied", 403, "Access Denied")
AWAY = EndpointConnectionError(endpoint_url="http://bucket")
FOR_EVER = range(1, 1000)


def objects_with(bucket: TestBucket, *clients: Any, retry_timeout_s: float = 20) -> Objects:
    """What is in a bucket, seen through these clients: the next one each time there are to be new credentials."""
    each = iter(clients)
    return Objects(bucket.at(), lambda: next(each), retry_timeout_s=retry_timeout_s)


# Writing


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("error", [BROKEN, BUSY, AWAY], ids=["500", "503", "no answer"])
def test_a_put_that_fails_in_the_middle_is_done_in_the_end(bucket: TestBucket, error: Exception, after: bool) -> None:
    """Also if the server has stored it before it failed: the same again is no harm."""
    faulty = Faulty(bucket.client, "put_object", {1: error, 2: error}, after=after)
    BucketStore(objects_with(bucket, faulty)).put("a.txt", b"words")
    assert faulty.n_calls == 3
    assert bucket.get("a.txt") == b"words"
    assert bucket.keys == ["a.txt"]


def test_a_bucket_that_stays_away_is_told_to_be_so(bucket: TestBucket) -> None:
    """So that the job is tried again later, by whoever."""
    faulty = Faulty(bucket.client, "put_object", dict.fromkeys(FOR_EVER, BROKEN))
    store = BucketStore(objects_with(bucket, faulty, retry_timeout_s=0.3))
    with pytest.raises(RetryableError, match="is overloaded"):
        store.put("a.txt", b"words")
    assert bucket.keys == []


def test_a_new_object_whose_answer_was_lost_is_known_to_be_there(bucket: TestBucket) -> None:
    """Or the second try would take what the first one put for somebody else's."""
    faulty = Faulty(bucket.client, "put_object", {1: BROKEN}, after=True)
    assert BucketStore(objects_with(bucket, faulty)).put_new("a.txt", b"words")
    assert faulty.n_calls == 2
    bucket.put("b.txt", b"notes")
    assert not BucketStore(objects_with(bucket, bucket.client)).put_new("b.txt", b"words")
    assert bucket.get("b.txt") == b"notes"


def test_a_server_that_knows_no_conditions_is_asked_for_one_once(bucket: TestBucket) -> None:
    conditions = []

    def unconditional(real: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        conditions.append("IfNoneMatch" in arguments)
        if conditions[-1]:
            raise refused("NotImplemented", 501, "A header you provided implies functionality that is not implemented")
        return real(**arguments)

    store = BucketStore(objects_with(bucket, Wrapped(bucket.client, "put_object", unconditional)))
    assert store.put_new("a.txt", b"words")
    assert store.put_new("b.txt", b"words")
    assert conditions == [True, False, False]
    assert bucket.keys == ["a.txt", "b.txt"]


# Another one answers


PAGE = "<html><head><title>Welcome</title></head><body><p>Log in to use this network.{}</p></body></html>"


PAGES = ["a page that is XML", "a page that is not"]
REDIRECT = "a redirect"


@pytest.fixture
def hotel(request: pytest.FixtureRequest, bucket: TestBucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A network that answers everything with the page on which one logs in, or leads there."""
    page = PAGE.format("<br>" if request.param == "a page that is not" else "").encode()
    status = 302 if request.param == REDIRECT else 200

    class Login(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("ETag", '"5f3-login"')
            self.send_header("Content-Length", str(len(page)))
            if status == 302:
                self.send_header("Location", "http://login.example/")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(page)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815  as its class calls them

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Login) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for service in ("S3", "SQS"):
            monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", f"http://127.0.0.1:{server.server_address[1]}")
        yield
        server.shutdown()


@pytest.mark.usefixtures("hotel")
@pytest.mark.parametrize("hotel", PAGES, indirect=True)
@pytest.mark.parametrize(
    "ask",
    [
        lambda objects: next(objects.pages("", deep=False)),
        lambda objects: objects.head("a.txt"),
        lambda objects: objects.read("a.txt"),
        lambda objects: objects.put("a.txt", b"words"),
        lambda objects: objects.put_new("a.txt", b"words"),
        lambda objects: objects.delete("a.txt"),
    ],
    ids=["list", "look", "read", "put", "put new", "delete"],
)
def test_the_page_of_another_one_is_no_answer(bucket: TestBucket, ask: Callable[[Objects], object]) -> None:
    """To nothing that is asked: a list would be empty, a transcript damaged, and what was put there nowhere."""
    with pytest.raises(RetryableError, match="login page of this network"):
        ask(bucket.objects(retry_timeout_s=0.2))


@pytest.mark.usefixtures("hotel")
@pytest.mark.parametrize("hotel", [*PAGES, REDIRECT], indirect=True)
def test_a_source_in_whose_place_another_one_answers_is_told_before_any_work(
    bucket: TestBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All its recordings would seem to be gone."""
    monkeypatch.setattr("nightscribe.shared.storage.s3.location.CHECK_TIMEOUT_S", 0.2)
    with pytest.raises(RetryableError, match="perhaps from a proxy or the login page"):
        bucket.at().check_source(Settings().storage)


@pytest.mark.usefixtures("hotel")
@pytest.mark.parametrize("hotel", [*PAGES, REDIRECT], indirect=True)
def test_a_queue_in_whose_place_another_one_answers_is_not_empty() -> None:
    queue = connect("a.fifo", visibility_timeout_s=30, max_receives=3)
    queue._retry_timeout_s = 0.2
    for ask in (queue.find, queue.ensure):
        with pytest.raises(RetryableError, match="login page of this network"):
            ask()


def test_an_object_that_is_a_page_is_read(bucket: TestBucket) -> None:
    """As the report is, and whatever somebody put there as one."""
    bucket.client.put_object(Bucket=bucket.name, Key="a.html", Body=PAGE.encode(), ContentType="text/html")
    assert BucketStore(bucket.objects()).get("a.html") == PAGE.encode()


# Reading


@pytest.mark.parametrize("error", [BROKEN, BUSY, AWAY], ids=["500", "503", "no answer"])
def test_what_is_asked_for_is_read_in_the_end(bucket: TestBucket, error: Exception) -> None:
    bucket.put("a.txt", b"words")
    store = BucketStore(objects_with(bucket, Faulty(bucket.client, "get_object", {1: error, 2: error})))
    assert store.get("a.txt") == b"words"


def test_a_file_that_is_replaced_between_its_two_ends_is_read_again(bucket: TestBucket) -> None:
    bucket.put("a.json", b"old" + bytes(5000) + b"old")
    client = After(bucket.client, "get_object", lambda: bucket.put("a.json", b"new" + bytes(6000) + b"new"))
    assert BucketStore(objects_with(bucket, client)).ends("a.json", 3, 3) == (b"new", b"new")


def test_a_recording_that_is_replaced_between_its_two_ends_has_the_fingerprint_of_the_new_one(
    bucket: TestBucket,
) -> None:
    old, new = bytes(3 * FINGERPRINT_BYTES), b"1" * 3 * FINGERPRINT_BYTES
    bucket.put("new.wav", new)
    bucket.put("a.wav", old)
    source = BucketSource(objects_with(bucket, bucket.client), Blocks(0))
    torn = BucketSource(
        objects_with(bucket, After(bucket.client, "get_object", lambda: bucket.put("a.wav", new))), Blocks(0)
    )
    assert torn.fingerprint(source.stat("a.wav")) == source.fingerprint(source.stat("new.wav"))


def test_a_recording_that_is_replaced_after_a_look_has_the_fingerprint_of_the_new_one(bucket: TestBucket) -> None:
    """Though what was looked at is remembered for a moment, so that it is not looked at three times."""
    bucket.put("a.wav", b"old")
    bucket.put("b.wav", b"new")
    source = BucketSource(objects_with(bucket, bucket.client), Blocks(0))
    before = source.stat("a.wav")
    bucket.put("a.wav", b"new")
    assert source.fingerprint(before) == source.fingerprint(source.stat("b.wav"))
    assert source.stat("a.wav").size == 3


class After:
    """The real client; once its first call of an operation is answered, something else happens."""

    def __init__(self, client: Any, operation: str, then: Callable[[], object]) -> None:
        self._client = client
        self._operation = operation
        self._then: Callable[[], object] | None = then

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._client, name)
        if name != self._operation:
            return real

        def call(**arguments: Any) -> Any:
            answer = real(**arguments)
            if then := self._then:
                self._then = None
                then()
            return answer

        return call


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of twenty blocks: more than what lies in the pipes between a bucket and us."""
    path = tmp_path_factory.mktemp("long") / "long.wav"
    with wave.open(str(path), "wb") as made:
        made.setnchannels(2)
        made.setsampwidth(2)
        made.setframerate(44_100)
        made.writeframes(random.Random(1).randbytes(20 * BLOCK_BYTES))
    return path


@pytest.mark.parametrize("cache_bytes", [0, 2**30])
def test_a_recording_that_is_replaced_while_it_is_decoded_has_changed(
    bucket: TestBucket, long: Path, cache_bytes: int
) -> None:
    """The rest of the one would be taken for that of the other."""
    bucket.put("a.wav", long.read_bytes())
    source = BucketSource(bucket.objects(), Blocks(cache_bytes))
    with source.local("a.wav") as opened:
        chunks = iter(Decoder(opened))
        next(chunks)
        bucket.put("a.wav", long.read_bytes()[::-1])
        with pytest.raises(PermanentError, match="changed while it was transcribed"):
            list(chunks)
    assert opened.size == long.stat().st_size


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_bucket_that_is_away_in_the_middle_of_a_recording_does_not_look_like_its_end(
    bucket: TestBucket, long: Path, n: int
) -> None:
    """Nor like a damaged one: it is tried again later. From the n-th piece on nothing comes."""
    bucket.put("a.wav", long.read_bytes())
    faulty = Faulty(bucket.client, "get_object", dict.fromkeys(range(n, 1000), AWAY))
    source = BucketSource(objects_with(bucket, faulty, retry_timeout_s=0.2), Blocks(0))
    with source.local("a.wav") as opened, pytest.raises(RetryableError, match="does not respond"):
        list(Decoder(opened))


def test_a_bucket_that_is_away_does_not_look_like_something_that_is_no_recording(
    bucket: TestBucket, long: Path
) -> None:
    bucket.put("a.wav", long.read_bytes())
    faulty = Faulty(bucket.client, "get_object", dict.fromkeys(FOR_EVER, AWAY))
    source = BucketSource(objects_with(bucket, faulty, retry_timeout_s=0.2), Blocks(0))
    with source.local("a.wav") as opened, pytest.raises(RetryableError, match="does not respond"):
        probe(opened)


@contextmanager
def cutting(endpoint: str, after_bytes: int, n_times: int) -> Iterator[str]:
    """The address of a server in between that hangs up in the middle of so many of the answers."""
    port = urlsplit(endpoint).port
    left = [n_times]

    def serve(near: socket.socket) -> None:
        with near, socket.create_connection(("127.0.0.1", port)) as far:
            cut = left[0] > 0
            back = threading.Thread(target=forward, args=(far, near, after_bytes if cut else None), daemon=True)
            left[0] -= cut
            back.start()
            forward(near, far, None)
            back.join()

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def listen() -> None:
            while True:
                try:
                    near, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(near,), daemon=True).start()

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def forward(near: socket.socket, far: socket.socket, at_most: int | None) -> None:
    """Until one of them ends, or so much is forwarded."""
    n_done = 0
    while True:
        try:
            read = near.recv(65536)
            n_done += len(read)
            if not read or (at_most is not None and n_done > at_most):
                break
            far.sendall(read)
        except OSError:
            break
    for end in (near, far):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue


@pytest.mark.parametrize("after_bytes", [100, 300_000])
def test_a_connection_cut_in_the_middle_of_an_answer_costs_another_one(
    bucket: TestBucket, long: Path, monkeypatch: pytest.MonkeyPatch, after_bytes: int
) -> None:
    bucket.put("a.wav", long.read_bytes())
    with cutting(bucket.client.meta.endpoint_url, after_bytes, n_times=3) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
        assert BucketStore(bucket.objects()).get("a.wav") == long.read_bytes()


# Listing


@pytest.mark.parametrize(("page", "error"), [(1, NO_TOKEN), (2, NO_TOKEN), (3, NO_TOKEN), (7, NO_TOKEN), (2, BUSY)])
def test_a_list_that_breaks_off_goes_on_behind_what_it_told(bucket: TestBucket, page: int, error: Exception) -> None:
    """Nothing is missed and nothing told twice, whichever of its pages it is, folders and objects among each other."""
    keys = ["a.mp3", "a/1.mp3", "a/2.mp3", "b/1.mp3", "b.mp3", "c.mp3", "c/d/1.mp3", "e.mp3"]
    for key in keys:
        bucket.put(key)
    for n in range(2, 8):
        faulty = Faulty(in_pages(bucket.objects(), page)._client, "list_objects_v2", {n: error})
        names, folders = BucketStore(objects_with(bucket, faulty)).listing("")
        assert (names, folders) == (["a.mp3", "b.mp3", "c.mp3", "e.mp3"], ["a", "b", "c"])
        faulty = Faulty(in_pages(bucket.objects(), page)._client, "list_objects_v2", {n: error})
        assert list(BucketStore(objects_with(bucket, faulty)).walk("")) == sorted(keys)


# Credentials


@pytest.mark.parametrize("operation", ["get_object", "put_object", "list_objects_v2", "head_object"])
def test_credentials_that_expire_in_the_night_are_read_anew(bucket: TestBucket, operation: str) -> None:
    """A login in another window has renewed the file that they come from."""
    bucket.put("a.wav", b"sound")
    # An answer without a body cannot say why.
    error = refused("400") if operation == "head_object" else EXPIRED
    expired = Faulty(bucket.client, operation, dict.fromkeys(FOR_EVER, error))
    objects = objects_with(bucket, expired, expired, bucket.client)
    source = BucketSource(objects, Blocks(0))
    [folder] = source.folders()
    assert source.stat("a.wav") == folder.recordings[0]
    assert source.fingerprint(folder.recordings[0])
    BucketStore(objects).put("a.txt", b"words")
    assert bucket.get("a.txt") == b"words"


def test_credentials_that_have_expired_for_good_end_the_work_with_a_sentence(bucket: TestBucket) -> None:
    expired = Faulty(bucket.client, "put_object", dict.fromkeys(FOR_EVER, EXPIRED))
    store = BucketStore(Objects(bucket.at(), lambda: expired, retry_timeout_s=0.3))
    with pytest.raises(StorageError, match=r"have expired.*Log in again"):
        store.put("a.txt", b"words")


def test_a_worker_whose_credentials_have_expired_gives_its_job_back_and_ends(
    bucket: TestBucket, workplace: Workplace
) -> None:
    """Another one, or the same started again with new ones, has the job at once."""
    workplace.queue.send([workplace.job("a.wav")], "run")
    expired = Faulty(bucket.client, "put_object", dict.fromkeys(range(2, 1000), EXPIRED))
    store = BucketStore(Objects(bucket.at(), lambda: expired, retry_timeout_s=0.3))
    with pytest.raises(SetupError, match="have expired"):
        workplace.worker(Dictated(), store=store).run(until_empty=True)
    assert not any(key.endswith(".txt") for key in bucket.keys)
    workplace.worker(Dictated(), store=BucketStore(bucket.objects())).run(until_empty=True)
    assert {"a.txt", "a.vtt", "a.srt", ".nightscribe/transcripts/a.wav.json"} <= set(bucket.keys)
    assert workplace.is_empty()


def failure(name: str) -> Failure:
    """Of a recording of five bytes, which may be this one."""
    told = {"reason": "It is no recording.", "attempts": 1, "worker": "here-1", "failed_at": utc_now()}
    return Failure(recording=name, fingerprint="5-a", size=5, mtime_ns=None, **told)


@pytest.mark.parametrize(
    ("error", "kind"),
    [(EXPIRED, StorageError), (AWAY, RetryableError), (DENIED, None)],
    ids=["expired", "away", "denied"],
)
def test_a_look_that_can_see_nothing_more_ends_and_calls_no_recording_unreadable(
    bucket: TestBucket, tmp_path: Path, error: Exception, kind: type[Exception] | None
) -> None:
    """Each of a million would wait as long. One that is denied is named."""
    records = Records(FolderStore(tmp_path))
    for n in range(3):
        bucket.put(f"{n}.mp3", b"sound")
        records.fail(failure(f"{n}.mp3"))
    faulty = Faulty(bucket.client, "get_object", dict.fromkeys(FOR_EVER, error))
    source = BucketSource(Objects(bucket.at(), lambda: faulty, retry_timeout_s=0.2), Blocks(0))
    scanner = Scanner(source, records, ("txt",), settle_s=0)
    if kind:
        with pytest.raises(kind):
            scanner.scan()
    else:
        assert [each.path for each in scanner.scan().unreadable] == ["0.mp3", "1.mp3", "2.mp3"]


def denying(client: Any, key: str) -> Wrapped:
    """The real client, to which one object is denied; an answer without a body cannot say so."""

    def deny(error: Exception) -> Callable[[Callable[..., Any], dict[str, Any]], Any]:
        def instead(real: Callable[..., Any], arguments: dict[str, Any]) -> Any:
            if arguments["Key"] == key:
                raise error
            return real(**arguments)

        return instead

    return Wrapped(Wrapped(client, "get_object", deny(DENIED)), "head_object", deny(refused("403", 403)))


def test_a_recording_that_is_denied_keeps_no_other_from_being_queued(bucket: TestBucket, workplace: Workplace) -> None:
    for name in ("a.wav", "b.wav"):
        bucket.put(name, b"sound")
    source = BucketSource(objects_with(bucket, denying(bucket.client, "a.wav"), retry_timeout_s=0.2), Blocks(0))
    director = workplace.director()
    director.source, director.outage_limit_s = source, 0
    missing = Scanner(source, workplace.records, ("txt",), settle_s=0).scan().missing
    settled = [event for event in director.direct(missing, follow=False) if isinstance(event, Settled)]
    assert [each.missing.recording.path for each in settled] == ["a.wav"]
    assert "need s3:GetObject" in str(settled[0].result)
    assert director.outstanding == {"b.wav"}


def test_a_recording_that_is_denied_to_a_worker_ends_neither_it_nor_the_others_of_its_job(
    bucket: TestBucket, workplace: Workplace
) -> None:
    """One worker after the other would end at it, each giving the job back as it was."""
    shutil.copy(workplace.source / "a.wav", workplace.source / "b.wav")
    for name in ("a.wav", "b.wav"):
        bucket.put(name, (workplace.source / name).read_bytes())
    workplace.queue.send([workplace.job("a.wav", "b.wav")], "run")
    workplace.settings = workplace.settings.model_copy(update={"retry_delay_s": 0.1})
    worker = workplace.worker(Dictated())
    worker.source = BucketSource(objects_with(bucket, denying(bucket.client, "a.wav"), retry_timeout_s=0.2), Blocks(0))
    worker.run(until_empty=True)
    assert workplace.records.provenance("b.wav")
    failure = workplace.records.failure("a.wav")
    assert failure
    assert "need s3:GetObject" in failure.reason


def finished(name: str) -> Transcript:
    """Of a recording of five bytes."""
    slice_ = Slice(recording=name, fingerprint="5-a", size=5, stem=name.removesuffix(".mp3"))
    job = Job(slices=(slice_,), options=OPTIONS, formats=("txt",))
    part = Part(
        segments=(), engine="dictated 1", language=None, container_s=1.0, decoded_s=1.0, processing_s=1.0, flags=()
    )
    return merge(job, slice_, [part], mtime_ns=None, finished_at=utc_now())


def test_a_bucket_that_is_away_ends_the_search_for_renamed_recordings(bucket: TestBucket, tmp_path: Path) -> None:
    """Each would be waited for as long, and what was only moved would be transcribed again."""
    records = Records(FolderStore(tmp_path))
    for n in range(3):
        bucket.put(f"{n}.mp3", b"sound")
        records.finish(finished(f"old {n}.mp3"), ("txt",))
    faulty = Faulty(bucket.client, "get_object", dict.fromkeys(FOR_EVER, AWAY))
    scanner = Scanner(
        BucketSource(objects_with(bucket, faulty, retry_timeout_s=0.2), Blocks(0)), records, ("txt",), settle_s=0
    )
    with pytest.raises(RetryableError, match="does not respond"):
        scanner.scan()


# Before any work is wasted


@pytest.fixture
def answering(bucket: TestBucket, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Exception], None]:
    """Lets every client be answered by an error to one operation."""

    def let(operation: str, error: Exception) -> None:
        faulty = Faulty(bucket.client, operation, dict.fromkeys(FOR_EVER, error))
        monkeypatch.setattr(aws, "client", lambda *_, **__: faulty)
        monkeypatch.setattr("nightscribe.shared.storage.s3.location.CHECK_TIMEOUT_S", 0.3)

    return let


@pytest.mark.parametrize(
    ("operation", "error", "said"),
    [
        ("list_objects_v2", DENIED, "need s3:ListBucket on arn:aws:s3:::bucket-[0-9a-f]+[.]"),
        ("get_object", DENIED, "need s3:GetObject on arn:aws:s3:::bucket-[0-9a-f]+/in/"),
        ("list_objects_v2", refused("PermanentRedirect", 301), "in another region .* Set AWS_DEFAULT_REGION"),
        ("list_objects_v2", refused("AuthorizationHeaderMalformed"), "in another region .* Set AWS_DEFAULT_REGION"),
        ("list_objects_v2", refused("InvalidAccessKeyId", 403), "Check the AWS credentials"),
        ("list_objects_v2", refused("RequestTimeTooSkewed", 403), "Correct the clock"),
        ("list_objects_v2", EXPIRED, "have expired"),
        ("list_objects_v2", AWAY, "does not respond"),
    ],
)
def test_a_source_that_cannot_be_read_is_told_before_any_work(
    bucket: TestBucket, answering: Callable[[str, Exception], None], operation: str, error: Exception, said: str
) -> None:
    bucket.put("in/a.mp3", b"sound")
    answering(operation, error)
    with pytest.raises((SetupError, RetryableError), match=said):
        bucket.at("in/").check_source(Settings().storage)


@pytest.mark.parametrize(
    ("operation", "action"),
    [
        ("list_objects_v2", "s3:ListBucket"),
        ("put_object", "s3:PutObject"),
        ("get_object", "s3:GetObject"),
        ("delete_object", "s3:DeleteObject"),
    ],
)
def test_what_a_destination_denies_is_told_before_any_work(
    bucket: TestBucket, answering: Callable[[str, Exception], None], operation: str, action: str
) -> None:
    answering(operation, DENIED)
    with pytest.raises(StorageError, match=f"need {action} on arn:aws:s3:::{bucket.name}"):
        bucket.at("out/").check_dest(Settings().storage, create=True)


def test_one_recording_that_is_denied_is_no_reason_not_to_begin(
    bucket: TestBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be another account's."""
    for name in ("1.mp3", "2.mp3"):
        bucket.put(name, b"sound")
    monkeypatch.setattr(aws, "client", lambda *_, **__: Faulty(bucket.client, "get_object", {1: DENIED}))
    bucket.at().check_source(Settings().storage)


def test_a_bucket_that_does_not_exist_is_told_to_be_so(bucket: TestBucket) -> None:
    nowhere = BucketLocation("nobodys-bucket")
    for check in (
        lambda: nowhere.check_source(Settings().storage),
        lambda: nowhere.check_dest(Settings().storage, create=True),
        lambda: nowhere.check_dest(Settings().storage, create=False),
        lambda: nowhere.check_records(Settings().storage),
    ):
        with pytest.raises(StorageError, match="There is no bucket 'nobodys-bucket' on http://127"):
            check()


def test_a_bucket_that_can_be_used_is_left_as_it_was(bucket: TestBucket) -> None:
    bucket.put("a.mp3", b"sound")
    bucket.at().check_source(Settings().storage)
    bucket.at().check_dest(Settings().storage, create=True)
    assert bucket.keys == ["a.mp3"]
    with pytest.raises(SetupError, match="holds no records of nightscribe"):
        bucket.at().check_records(Settings().storage)


def test_no_credentials_are_told_to_be_missing(bucket: TestBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(StorageError, match="Set AWS_ACCESS_KEY_ID"):
        bucket.at().check_source(Settings().storage)


# What is denied or archived while the work goes on


@pytest.mark.parametrize(
    ("error", "kind"), [(DENIED, RetryableError), (refused("InvalidObjectState", 403), PermanentError)]
)
def test_one_recording_that_cannot_be_read_ends_no_worker(
    bucket: TestBucket, error: Exception, kind: type[Exception]
) -> None:
    """It fails alone; and whether more are denied, a person may change in time."""
    bucket.put("a.wav", bytes(BLOCK_BYTES))
    faulty = Faulty(bucket.client, "get_object", dict.fromkeys(FOR_EVER, error))
    source = BucketSource(objects_with(bucket, faulty), Blocks(0))
    with pytest.raises(kind):
        source.fingerprint(source.stat("a.wav"))
    assert faulty.n_calls == 1
