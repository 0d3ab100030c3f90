"""Keep jobs in the server's database."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import CursorResult, delete, select, tuple_, update
from sqlalchemy.orm import Session

from nightscribe.server.database.database import Database
from nightscribe.server.jobs.model import UNFINISHED, Job, State
from nightscribe.server.jobs.planning import Plan
from nightscribe.server.jobs.tables import JobRow
from nightscribe.server.webhooks.events import EventType
from nightscribe.server.webhooks.store import emit_recording
from nightscribe.shared.model.jobs import Layout, Options

EVENTS = {State.FINISHED: EventType.FINISHED, State.FAILED: EventType.FAILED}
"""What webhooks are told of the end of a job."""
Note = Callable[[Session, Job], object]


class JobStore:
    """Reads and writes the table of jobs. Its methods block, and raise RetryableError while the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, job: Job, plan: Plan, join_key: str, note: Note) -> None:
        """Store a new job durably; `note` may store more in the same transaction."""
        row = JobRow(
            id=job.id,
            owner=job.owner,
            state=job.state.value,
            name=job.name,
            recording=job.recording,
            fingerprint=plan.fingerprint,
            size=job.size,
            stem=plan.stem,
            join_key=join_key,
            interactive=job.interactive,
            ephemeral=job.ephemeral,
            uploaded=job.uploaded,
            request={
                "options": job.options.model_dump(mode="json"),
                "formats": list(job.formats),
                "layout": job.layout.model_dump(mode="json"),
            },
            plan=_plan_json(plan),
            duration_s=job.duration_s,
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
            expires_at=job.expires_at,
        )
        with self._database.write() as session:
            session.add(row)
            note(session, job)

    def get(self, job_id: str) -> Job | None:
        """Return a job, or None."""
        with self._database.read() as session:
            row = session.get(JobRow, job_id)
            return _job(row) if row else None

    def unfinished(self) -> list[tuple[Job, Plan]]:
        """Return all jobs that are not over, the oldest first, with their plans."""
        query = select(JobRow).where(JobRow.state.in_(UNFINISHED)).order_by(JobRow.created_at, JobRow.id)
        with self._database.read() as session:
            return [(_job(row), _plan(row)) for row in session.scalars(query)]

    def joinable(self, join_key: str) -> Job | None:
        """Return a job that is not over with this key, or None."""
        query = select(JobRow).where(JobRow.join_key == join_key, JobRow.state.in_(UNFINISHED)).limit(1)
        with self._database.read() as session:
            row = session.scalar(query)
            return _job(row) if row else None

    def listed(
        self,
        *,
        owner: str | None = None,
        states: Sequence[State] = (),
        before: tuple[datetime, str] | None = None,
        limit: int = 100,
    ) -> list[Job]:
        """Return jobs, the newest first. `before`: creation time and id of the last job of the page before."""
        query = select(JobRow).order_by(JobRow.created_at.desc(), JobRow.id.desc()).limit(limit)
        if owner is not None:
            query = query.where(JobRow.owner == owner)
        if states:
            query = query.where(JobRow.state.in_(states))
        if before:
            query = query.where(tuple_(JobRow.created_at, JobRow.id) < before)
        with self._database.read() as session:
            return [_job(row) for row in session.scalars(query)]

    def settle(self, job: Job) -> bool:
        """Store the end of a job, with messages for webhooks; return False if it was over already."""
        change = (
            update(JobRow)
            .where(JobRow.id == job.id, JobRow.state.in_(UNFINISHED))
            .values(
                state=job.state.value,
                duration_s=job.duration_s,
                error_code=job.error_code,
                error=job.error,
                started_at=job.started_at,
                finished_at=job.finished_at,
                expires_at=job.expires_at,
            )
        )
        with self._database.write() as session:
            is_news = cast("CursorResult[Any]", session.execute(change)).rowcount > 0
            if is_news and not job.ephemeral and (event := EVENTS.get(job.state)):
                emit_recording(session, event, datetime.now(UTC), job.recording)
            return is_news

    def begin(self, job: Job) -> None:
        """Store that work on a job has begun."""
        change = update(JobRow).where(JobRow.id == job.id, JobRow.state == State.QUEUED.value)
        with self._database.write() as session:
            session.execute(change.values(state=job.state.value, started_at=job.started_at))

    def plan(self, plan: Plan, duration_s: float | None) -> None:
        """Store where a recording is cut, and its length."""
        change = update(JobRow).where(JobRow.id == plan.id)
        with self._database.write() as session:
            session.execute(change.values(plan=_plan_json(plan), fingerprint=plan.fingerprint, duration_s=duration_s))

    def expire_at(self, job_id: str, at: datetime) -> None:
        """Store when the result of a job is removed."""
        with self._database.write() as session:
            session.execute(update(JobRow).where(JobRow.id == job_id).values(expires_at=at))

    def expired(self, now: datetime, limit: int = 1_000) -> list[Job]:
        """Return jobs whose results are to be removed."""
        query = select(JobRow).where(JobRow.expires_at < now).limit(limit)
        with self._database.read() as session:
            return [_job(row) for row in session.scalars(query)]

    def delete(self, job_id: str) -> None:
        """Remove a job."""
        with self._database.write() as session:
            session.execute(delete(JobRow).where(JobRow.id == job_id))


def _plan_json(plan: Plan) -> dict[str, list[float]] | None:
    return None if plan.cuts is None else {"cuts": list(plan.cuts)}


def _job(row: JobRow) -> Job:
    return Job(
        id=row.id,
        state=State(row.state),
        owner=row.owner,
        name=row.name,
        recording=row.recording,
        size=row.size,
        interactive=row.interactive,
        ephemeral=row.ephemeral,
        uploaded=row.uploaded,
        options=Options.model_validate(row.request["options"]),
        formats=tuple(row.request["formats"]),
        layout=Layout.model_validate(row.request["layout"]),
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        expires_at=row.expires_at,
        duration_s=row.duration_s,
        done_s=(row.duration_s or 0.0) if row.state == State.FINISHED else 0.0,
        error_code=row.error_code,
        error=row.error,
    )


def _plan(row: JobRow) -> Plan:
    job = _job(row)
    plan = Plan(
        id=row.id,
        recording=row.recording,
        fingerprint=row.fingerprint,
        size=row.size,
        stem=row.stem,
        options=job.options,
        formats=job.formats,
        layout=job.layout,
    )
    return plan if row.plan is None else replace(plan, cuts=tuple(row.plan["cuts"]))
