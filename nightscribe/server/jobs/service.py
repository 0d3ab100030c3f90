"""Submit recordings, and follow, read, cancel and delete their jobs. Plain functions that any thread may call.

What is accepted is never lost: the recording lies durably in the source, and its job in the database, before `submit`
returns. From there on every process may be killed: the jobs that are not over are queued again when a server starts or
a queue has lost them, and a worker that finds its work done does nothing.
"""

import asyncio
import hashlib
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import structlog

from nightscribe.director.scan.text_stems import free_stem
from nightscribe.server.database.database import Database
from nightscribe.server.jobs import planning
from nightscribe.server.jobs.follower import Followed, Follower, Outcome
from nightscribe.server.jobs.lane import Lane
from nightscribe.server.jobs.model import (
    Busy,
    Job,
    JobRequest,
    NoSuchJob,
    NotFinished,
    Refused,
    State,
)
from nightscribe.server.jobs.names import clean_folder, clean_name, numbered
from nightscribe.server.jobs.planning import Plan
from nightscribe.server.jobs.resumable import Uploads
from nightscribe.server.jobs.signals import Signals, async_ends_of, ends_of
from nightscribe.server.jobs.spool import Spool, Upload
from nightscribe.server.jobs.store import JobStore, Note
from nightscribe.shared.audio.probe import OTHER_SUFFIXES
from nightscribe.shared.destination.erasure import discard, recordings_of_requests
from nightscribe.shared.destination.keys import transcript_key
from nightscribe.shared.destination.records import Records
from nightscribe.shared.destination.tombstones import Tombstones
from nightscribe.shared.errors import ModelUnavailable, NightscribeError, PermanentError, RetryableError, SetupError
from nightscribe.shared.model.failure import Failure
from nightscribe.shared.model.jobs import REQUESTS_FOLDER, Options
from nightscribe.shared.model.paths import suffix, without_suffix
from nightscribe.shared.model.recording import Recording
from nightscribe.shared.model.transcript import Provenance, Transcript
from nightscribe.shared.storage.base import Intake, RecordingSource

log = structlog.get_logger()

RENEWED_EVERY_S = 6 * 3600.0
SWEPT_EVERY_S = 30.0
TIDIED_EVERY_S = 3600.0
ABANDONED_S = 3600.0  # a file that nobody writes to for so long, and that belongs to nothing
USUAL_JOB_S = 5.0  # of an interactive job, before any was done
RECENT_JOBS = 20
_no_note: Note = lambda _session, _job: None  # noqa: E731
CHOICES = frozenset(Options.model_fields) - {"engine", "speakers", "min_speakers", "max_speakers", "voiceprints"}
"""Options that change the words of a transcript."""


@dataclass(frozen=True)
class Limits:
    """Bounds of what the server accepts and keeps."""

    most_interactive: int = 128
    """Jobs in the interactive queue."""
    interactive_s: float = 600.0
    """A recording of at most this length counts as interactive if the request leaves it open."""
    keep_results_s: float = 3600.0
    """After so long, the result of an ephemeral job is removed."""
    refresh_on_use: bool = True
    """Count that time from the last reading of the result."""
    keep_uploads_s: float = 24 * 3600.0
    """After so long without a byte, an unfinished upload is removed."""


class Jobs:
    """The jobs of one server. Use it as a context: it follows its jobs until the context ends."""

    def __init__(
        self,
        *,
        source: RecordingSource,
        records: Records,
        database: Database,
        batch: Lane,
        interactive: Lane,
        spool: Spool,
        limits: Limits | None = None,
        check_options: Callable[[Options], None] = lambda _options: None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """`check_options` raises SetupError or ModelUnavailable if no worker can do jobs with these options.

        `changed` is called after a transcript was stored.
        """
        self.spool = spool
        self.signals = Signals()
        self.limits = limits or Limits()
        self.uploads = Uploads(database, spool, keep_s=self.limits.keep_uploads_s)
        self._source = source
        self._records = records
        self._notes = records.notes
        self._store = JobStore(database)
        self._check_options = check_options
        self._transcript_stored = changed
        self._follower = Follower(
            records,
            {True: interactive, False: batch},
            settle=self._settle,
            changed=self._changed,
            every_look=self._housekeep,
        )
        self._submitting = threading.Lock()
        self._planners = ThreadPoolExecutor(2, thread_name_prefix="planner")
        self._took_s: deque[float] = deque(maxlen=RECENT_JOBS)
        self._next_sweep = self._next_tidying = 0.0
        self._next_renewal = time.monotonic() + RENEWED_EVERY_S

    def __enter__(self) -> "Jobs":
        for job, plan in self._store.unfinished():
            self._follow(job, plan)
        self._follower.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._planners.shutdown(wait=False, cancel_futures=True)  # what is not planned is planned by the next server
        self._follower.stop()

    # Submitting

    def require_room(self) -> None:
        """Raise Busy if the interactive queue is full. Call it before an upload, so that it need not be repeated."""
        waiting = self._follower.n_waiting(interactive=True)
        if waiting >= self.limits.most_interactive:
            usual_s = sum(self._took_s) / len(self._took_s) if self._took_s else USUAL_JOB_S
            raise Busy(
                f"The server is busy: {waiting} requests wait. Try again later.",
                retry_after_s=min(60.0, max(1.0, usual_s)),
            )

    def n_queued(self, *, interactive: bool) -> int:
        """Return the number of jobs of this server that wait for a worker."""
        return self._follower.n_queued(interactive=interactive)

    def submit(self, given: Upload | str, request: JobRequest, note: Note = _no_note) -> Job:
        """Accept an upload, or the path of a recording in the source; return its job.

        A repeated upload of the same content with the same options by the same owner joins the job that is not over.
        The file of an upload that is refused or joins another is removed. `note` is called with the new job in the
        transaction that stores it, for instance to add to the log.

        Raises: Busy: if the interactive queue is full. Refused: if it cannot become a job, its code says why.
            NightscribeError: if the options cannot be used, or the source or the database is unreachable.
        """
        try:
            try:
                self._check_options(request.options)
            except (SetupError, ModelUnavailable) as error:
                raise Refused(str(error), code=error.code) from None
            if isinstance(given, Upload):
                return self._submit_upload(given, request, note)
            return self._submit_path(given, request, note)
        finally:
            if isinstance(given, Upload):
                given.discard()

    def _submit_upload(self, upload: Upload, request: JobRequest, note: Note) -> Job:
        if not upload.size:
            raise Refused("The file is empty.", code="empty")
        name = clean_name(upload.name)
        if not request.ephemeral and suffix(name).removeprefix(".") in OTHER_SUFFIXES:
            raise Refused(f"{name!r} is not a recording, as its name says.", code="not_audio")
        key = _join_key(upload, request)
        if joined := self._joined(key):
            return joined
        duration_s = None
        # Starting ffmpeg takes longer than some of the jobs for which somebody waits.
        if not request.ephemeral or upload.size > planning.SHORT_BYTES:
            duration_s = planning.length_s(upload.path)
        interactive = self._is_interactive(request, upload.size, duration_s)
        with self._submitting:
            if joined := self._joined(key):
                return joined
            if interactive:
                self.require_room()
            job_id = request.id or secrets.token_hex(16)
            recording = self._take(upload, name, request, job_id)
            size = upload.size
            try:
                job, plan = self._job(
                    job_id,
                    Recording(recording, size, None),
                    request,
                    name=upload.name,
                    interactive=interactive,
                    duration_s=duration_s,
                    uploaded=True,
                )
                self._store.add(job, plan, key, note)
            except BaseException:
                self._untake(recording)
                raise
        self._begin(job, plan)
        return job

    def _take(self, upload: Upload, name: str, request: JobRequest, job_id: str) -> str:
        """Make a file a recording of the source; return its path."""
        source = self._source
        if not isinstance(source, Intake):
            raise Refused("Recordings cannot be added to this source.", code="source_read_only")
        if request.ephemeral:
            path = f"{REQUESTS_FOLDER}/{job_id}{suffix(name)}"
            source.add(upload.path, path)
            return path
        folder = clean_folder(request.folder)
        for path in numbered(f"{folder}/{name}" if folder else name):
            self._records.require_room(path)
            if self._records.store.ends(transcript_key(path), 1, 0) is not None:
                continue  # the transcript of a recording that is gone; it would be replaced
            self._notes.submit(path, job_id)  # first, so that no director takes the recording
            if source.add(upload.path, path):
                return path
            if not self._follower.find(lambda each, path=path: each.plan.recording == path):  # type: ignore[misc]
                self._notes.settle(path)
        raise AssertionError  # `numbered` never ends

    def _untake(self, recording: str) -> None:
        with suppress(NightscribeError):
            if isinstance(self._source, Intake):
                self._source.remove(recording)
            self._notes.settle(recording)

    def _submit_path(self, path: str, request: JobRequest, note: Note) -> Job:
        parts = path.split("/")
        if path.startswith("/") or "\0" in path or any(part.startswith(".") or not part for part in parts):
            raise Refused(f"{path!r} is not a path below the source.", code="outside_source")
        if suffix(path).removeprefix(".") in OTHER_SUFFIXES:
            raise Refused(f"{path!r} is not a recording, as its name says.", code="not_audio")
        recording = self._source.stat(path)
        fingerprint = self._source.fingerprint(recording)
        with self._source.local(path) as file:
            duration_s = planning.length_s(file)
        interactive = self._is_interactive(request, recording.size, duration_s)
        with self._submitting:
            running = self._follower.find(lambda each: each.plan.recording == path)
            if running:
                if running.plan.options == request.options and running.plan.fingerprint == fingerprint:
                    return self.get(running.job.id)
                raise Refused(
                    f"{path!r} is being transcribed with other options; wait for it, or cancel it.", code="at_work"
                )
            done = self._records.provenance(path)
            if done and done.fingerprint == fingerprint and not request.redo:
                return self._finished_before(done, request, recording, note)
            if interactive:
                self.require_room()
            job_id = secrets.token_hex(16)
            self._records.require_room(path)
            job, plan = self._job(
                job_id,
                recording,
                request,
                name=parts[-1],
                interactive=interactive,
                duration_s=duration_s,
                uploaded=False,
                before=done.stem if done else None,
            )
            self._records.forgive(path)
            self._notes.submit(path, job_id)
            self._store.add(job, plan, "", note)
        self._begin(job, plan)
        return job

    def _finished_before(self, done: Provenance, request: JobRequest, recording: Recording, note: Note) -> Job:
        """Return a job that is over, for a recording with a transcript. Raises: Refused: if its options differ."""
        if any(getattr(done.options, name) != getattr(request.options, name) for name in CHOICES):
            raise Refused(
                f"{recording.path!r} has a transcript that was made with other options; request a redo to replace it.",
                code="already_transcribed",
            )
        job, plan = self._job(
            secrets.token_hex(16),
            recording,
            request,
            name=recording.path.rpartition("/")[2],
            interactive=False,
            duration_s=done.decoded_s,
            uploaded=False,
            before=done.stem,
        )
        job = replace(job, state=State.FINISHED, finished_at=job.created_at, done_s=done.decoded_s)
        self._store.add(job, plan, "", note)
        return job

    def _job(
        self,
        job_id: str,
        recording: Recording,
        request: JobRequest,
        *,
        name: str,
        interactive: bool,
        duration_s: float | None,
        uploaded: bool,
        before: str | None = None,
    ) -> tuple[Job, Plan]:
        path = recording.path
        fingerprint = self._source.fingerprint(recording)
        if not request.ephemeral:
            self._raise_from_the_dead(recording)
        formats = () if request.ephemeral else request.formats
        job = Job(
            id=job_id,
            state=State.QUEUED,
            owner=request.owner,
            name=name,
            recording=path,
            size=recording.size,
            interactive=interactive,
            ephemeral=request.ephemeral,
            uploaded=uploaded,
            options=request.options,
            formats=formats,
            layout=request.layout,
            created_at=datetime.now(UTC),
            duration_s=duration_s,
        )
        plan = Plan(
            id=job_id,
            recording=path,
            fingerprint=fingerprint,
            size=recording.size,
            stem=before or self._stem(path, request),
            options=request.options,
            formats=formats,
            layout=request.layout,
            cuts=() if recording.size <= planning.SHORT_BYTES else None,
        )
        return job, plan

    def _stem(self, path: str, request: JobRequest) -> str:
        """Return where the text files go, so that none of another recording or program is replaced."""
        usual = without_suffix(path)
        if request.ephemeral or not request.formats:
            return usual
        folder = path[: path.rfind("/") + 1]
        existing = set(self._records.store.names(folder))
        taken = self._follower.find(lambda each: each.plan.stem == usual)
        stem = free_stem(
            path, path if taken else usual, request.formats, existing, claimed=None, is_ours=lambda _: True
        )
        return stem or path

    def _raise_from_the_dead(self, recording: Recording) -> None:
        """Remove the tombstone of a recording that was forgotten: somebody wants it to be transcribed again."""
        tombstones = Tombstones(self._records.store).load()
        if len(tombstones) and (found := tombstones.find(recording, self._source)):
            tombstones.remove([found])

    def _is_interactive(self, request: JobRequest, size: int, duration_s: float | None) -> bool:
        if request.interactive is not None:
            return request.interactive
        is_short = size <= planning.SHORT_BYTES if duration_s is None else duration_s <= self.limits.interactive_s
        return is_short and self._follower.n_waiting(interactive=True) < self.limits.most_interactive

    def _joined(self, key: str) -> Job | None:
        found = self._store.joinable(key) if key else None
        return self._live(found) if found else None

    def _begin(self, job: Job, plan: Plan) -> None:
        followed = self._follow(job, plan)
        if plan.cuts is not None:
            self._follower.send(followed)
        self.signals.send("queued", job)

    def _follow(self, job: Job, plan: Plan) -> Followed:
        followed = Followed(job, plan)
        self._follower.add(followed)
        if plan.cuts is None:
            self._planners.submit(self._plan, followed)
        return followed

    def _plan(self, followed: Followed) -> None:
        """Look into a recording, and queue its messages; runs in a thread of its own."""
        plan, job = followed.plan, followed.job
        try:
            planned = planning.with_cuts(plan, self._source, self._records, job.duration_s)
            self._store.plan(planned, job.duration_s)
        except PermanentError as error:
            if self._settle(followed, Failed(error.code, str(error))):
                self._follower.remove(job.id)
            return
        except RetryableError as error:  # the worker that receives all of it will report what is wrong
            log.warning("job.not_planned", job=job.id, why=str(error))
            planned = replace(plan, cuts=())
        followed.plan = planned
        self._follower.send(followed)

    # Reading

    def get(self, job_id: str, owner: str | None = None) -> Job:
        """Return a job. `owner`: whose job it must be; None for anybody's. Raises: NoSuchJob."""
        job = self._store.get(job_id)
        if job is None or (owner is not None and job.owner != owner):
            raise NoSuchJob("There is no such job.")
        return self._live(job)

    def _live(self, job: Job) -> Job:
        return job if job.is_over else self._follower.get(job.id) or job

    def list(
        self,
        *,
        owner: str | None = None,
        states: Sequence[State] = (),
        before: Job | None = None,
        limit: int = 100,
    ) -> list[Job]:
        """Return jobs, the newest first. `before`: the last job of the page before."""
        place = (before.created_at, before.id) if before else None
        found = self._store.listed(owner=owner, states=states, before=place, limit=limit)
        return [self._live(job) for job in found]

    def wait(self, job_id: str, timeout_s: float, owner: str | None = None) -> Job:
        """Wait until a job is over, for at most `timeout_s`; return it as it is then. Raises: NoSuchJob."""
        with ends_of(self.signals, job_id) as over:
            job = self.get(job_id, owner)
            if job.is_over or not over.wait(timeout_s):
                return job if job.is_over else self.get(job_id, owner)
        return self.get(job_id, owner)

    async def wait_async(self, job_id: str, timeout_s: float, owner: str | None = None) -> Job:
        """Do the same in an event loop, without holding a thread."""
        with async_ends_of(self.signals, job_id) as over:
            job = await asyncio.to_thread(self.get, job_id, owner)
            if not job.is_over and timeout_s > 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(over.wait(), timeout_s)
                job = await asyncio.to_thread(self.get, job_id, owner)
        return job

    def transcript(self, job_id: str, owner: str | None = None) -> Transcript:
        """Return the result of a job. Raises: NoSuchJob. NotFinished: if it has none yet. Refused: if it has none."""
        job = self.get(job_id, owner)
        if job.state in (State.FAILED, State.CANCELLED):
            raise Refused(job.error or "The job was cancelled.", code=job.error_code or "cancelled")
        if not job.is_over:
            raise NotFinished("The job is not finished.")
        transcript = self._records.transcript(job.recording)
        if transcript is None:
            raise NoSuchJob("The transcript of this job was removed.")
        if job.expires_at and self.limits.refresh_on_use:
            with suppress(RetryableError):
                self._store.expire_at(job.id, datetime.now(UTC) + timedelta(seconds=self.limits.keep_results_s))
        return transcript

    # Ending

    def cancel(self, job_id: str, owner: str | None = None) -> Job:
        """Stop the work on a job, also when a worker does it now. One that is over stays as it is. Raises: NoSuchJob.

        A recording that is kept stays in the source, and the next run of a director transcribes it.
        """
        job = self.get(job_id, owner)
        if job.is_over:
            return job
        self._notes.cancel(job.id)  # first: if this is interrupted, it can be repeated
        ended = self._expiring(job.with_state(State.CANCELLED, datetime.now(UTC), code="cancelled"))
        if self._store.settle(ended):
            self._after(ended)
        return self.get(job_id)

    def delete(self, job_id: str, owner: str | None = None) -> None:
        """Cancel a job, and forget it. Raises: NoSuchJob.

        Recording and result of an ephemeral job are removed; so is an upload that was not transcribed. What is in the
        library stays there.
        """
        job = self.cancel(job_id, owner)
        if job.ephemeral:
            self._discard(job)
        elif job.uploaded and job.state is not State.FINISHED and not self._records.provenance(job.recording):
            self._untake(job.recording)
            discard(self._records, job.recording)
        self._store.delete(job.id)
        self.signals.send("deleted", job)

    def _settle(self, followed: Followed, outcome: "Outcome | Failed") -> bool:
        """Store the outcome of a job that is followed; return False if that must be tried again."""
        now, job = datetime.now(UTC), followed.job
        match outcome:
            case Provenance():
                ended = replace(
                    job.with_state(State.FINISHED, now),
                    started_at=job.started_at or max(job.created_at, now - timedelta(seconds=outcome.processing_s)),
                    duration_s=outcome.container_s or outcome.decoded_s,
                    done_s=outcome.decoded_s,
                )
            case Failure():
                ended = job.with_state(State.FAILED, now, code=outcome.code, error=outcome.reason)
            case Failed():
                ended = job.with_state(State.FAILED, now, code=outcome.code, error=outcome.reason)
            case str():
                ended = job.with_state(State.FAILED, now, code="newer_record", error=outcome)
        ended = self._expiring(ended)
        try:
            is_news = self._store.settle(ended)
        except RetryableError as error:
            log.warning("job.not_settled", job=job.id, why=str(error))
            return False
        if is_news:
            if job.interactive and ended.state is State.FINISHED:
                self._took_s.append((now - job.created_at).total_seconds())
            self._after(ended)
        return True

    def _expiring(self, ended: Job) -> Job:
        """Return a job that is over with the time at which its result is removed, if that is not kept."""
        if not ended.ephemeral:
            return ended
        return replace(ended, expires_at=datetime.now(UTC) + timedelta(seconds=self.limits.keep_results_s))

    def _after(self, job: Job) -> None:
        """Tell everybody that a job is over, and remove what nobody needs any more."""
        self._follower.remove(job.id)
        self.signals.send(job.state.value, job)
        log.info("job.ended", job=job.id, state=job.state.value, interactive=job.interactive)
        with suppress(NightscribeError):
            if job.ephemeral:
                if isinstance(self._source, Intake):
                    self._source.remove(job.recording)
            else:
                self._notes.settle(job.recording)
                self._transcript_stored()

    def _changed(self, followed: Followed, job: Job) -> None:
        if followed.job.state is State.RUNNING and job.started_at:
            with suppress(RetryableError):
                self._store.begin(job)
        self.signals.send("progress" if job.done_s else "running", job)

    def _discard(self, job: Job) -> None:
        if isinstance(self._source, Intake):
            self._source.remove(job.recording)
        discard(self._records, job.recording)

    # Housekeeping, in the thread of the follower

    def _housekeep(self) -> None:
        now = time.monotonic()
        if now >= self._next_sweep:
            self._next_sweep = now + SWEPT_EVERY_S
            for job in self._store.expired(datetime.now(UTC)):
                self._discard(job)
                self._store.delete(job.id)
                self.signals.send("deleted", job)
            self.uploads.remove_expired()
        if now >= self._next_renewal:
            self._next_renewal = now + RENEWED_EVERY_S
            for job, _ in self._store.unfinished():
                if not job.ephemeral:
                    self._notes.submit(job.recording, job.id)
        if now >= self._next_tidying:
            self._next_tidying = now + TIDIED_EVERY_S
            self._notes.remove_old()
            self._remove_leftovers()

    def _remove_leftovers(self) -> None:
        """Remove files that a server that was killed has left behind, and that belong to nothing."""
        for upload_id, path in self.spool.abandoned(ABANDONED_S):
            if not self.uploads.exists(upload_id):
                path.unlink(missing_ok=True)
        if isinstance(self._source, Intake):
            for recording in self._source.requests(ABANDONED_S):
                job = self._store.get(without_suffix(recording).rpartition("/")[2])
                if job is None or job.is_over:
                    self._source.remove(recording)
        # A worker may have stored something at the moment at which the job was deleted.
        for recording in recordings_of_requests(self._records):
            if self._store.get(without_suffix(recording).rpartition("/")[2]) is None:
                discard(self._records, recording)


@dataclass(frozen=True)
class Failed:
    """A failure before any worker had the job."""

    code: str
    reason: str


def _join_key(upload: Upload, request: JobRequest) -> str:
    """Return what two uploads have in common if they are one; empty if the content is not known."""
    if upload.sha256 is None:
        return ""
    parts = (
        upload.sha256,
        request.owner,
        request.options.model_dump_json(),
        ",".join(request.formats),
        request.layout.model_dump_json(),
        str(request.ephemeral),
        "" if request.ephemeral else request.folder,
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
