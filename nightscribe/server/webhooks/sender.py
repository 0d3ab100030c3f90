"""Send the messages that are due, in the background of the server."""

import random
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta

import anyio
import httpcore2
import structlog
from sqlalchemy.orm import Session

from nightscribe._version import __version__
from nightscribe.server.address_policy import AddressPolicy
from nightscribe.server.context import Context
from nightscribe.server.database.database import Database
from nightscribe.server.outgoing import CONNECT_TIMEOUT_S, AddressRefused, checked_url, core_url, guarded_pool
from nightscribe.server.webhooks import store
from nightscribe.server.webhooks.attempts import Outcome, decide, retry_after_s
from nightscribe.server.webhooks.signing import signed_headers
from nightscribe.shared.errors import RetryableError

log = structlog.get_logger()

TIMEOUT_S = 20.0
MAX_CONCURRENT = 8
POLL_S = 1.0
"""How often the database is searched. Other processes queue messages as well, so this one is not told of all."""
STOP_WITHIN_S = 3.0
PRUNE_EVERY = timedelta(hours=6)


class Sender:
    """Sends messages from a thread of its own. Several servers may do so with one database."""

    def __init__(self, database: Database, policy: AddressPolicy, *, poll_s: float = POLL_S) -> None:
        self._database = database
        self._policy = policy
        self._poll_s = poll_s
        self._stopping = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Send messages until the context ends. Attempts that are not over then are made again at the next start."""
        thread = threading.Thread(target=anyio.run, args=(self._run,), name="webhooks", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            thread.join(STOP_WITHIN_S)

    async def _run(self) -> None:
        pruned_at = datetime.min.replace(tzinfo=UTC)
        async with guarded_pool(self._policy) as pool:
            while not self._stopping.is_set():
                n = 0
                try:
                    n = await self.send_due(pool)
                    if datetime.now(UTC) - pruned_at > PRUNE_EVERY:
                        pruned_at = datetime.now(UTC)
                        self._prune()
                except RetryableError as error:  # the database is away for a moment
                    log.warning("webhooks.waiting", why=str(error))
                if not n:
                    await anyio.to_thread.run_sync(self._stopping.wait, self._poll_s)

    async def send_due(self, pool: httpcore2.AsyncConnectionPool) -> int:
        """Make one attempt for each of a few deliveries that are due, and return how many there were."""
        due = self._claim()
        async with anyio.create_task_group() as group:
            for each in due:
                group.start_soon(self._attempt, pool, each)
        return len(due)

    async def _attempt(self, pool: httpcore2.AsyncConnectionPool, due: store.Due) -> None:
        outcome = await post(pool, due, datetime.now(UTC))
        with self._database.write() as session:
            settle(session, due, outcome)

    def _claim(self) -> list[store.Due]:
        now = datetime.now(UTC)
        with self._database.read() as session:  # most of the time nothing is due, and a look must not hold up writers
            due_at = store.next_due(session)
        if due_at is None or due_at > now:
            return []
        with self._database.write() as session:
            return store.claim(session, now, MAX_CONCURRENT)

    def _prune(self) -> None:
        with self._database.write() as session:
            store.prune(session, datetime.now(UTC))


def sending(context: Context) -> AbstractContextManager[None]:
    """Return a context in which the messages of a server are sent."""
    return Sender(context.database, policy_of(context)).running()


def policy_of(context: Context) -> AddressPolicy:
    """Return to which addresses the server may connect."""
    return AddressPolicy.of(context.server.allowed_addresses)


def settle(session: Session, due: store.Due, outcome: Outcome) -> None:
    """Record an attempt and decide what becomes of its delivery."""
    decision = decide(due.n_attempts + 1, outcome, random.random())  # noqa: S311  not a secret
    log.info(
        "webhook.attempted",
        message=due.message_id,
        attempt=due.n_attempts + 1,
        status=outcome.status,
        error=outcome.error or None,
        verdict=decision.verdict.value,
    )
    store.settle(session, due.delivery_id, outcome, decision, datetime.now(UTC))


async def post(pool: httpcore2.AsyncConnectionPool, due: store.Due, now: datetime) -> Outcome:
    """Make one attempt to deliver a message. The body of the response is not read."""
    body = due.body.encode()
    try:
        url = checked_url(due.url)
        headers = {
            "host": url.netloc.decode("ascii"),
            "content-type": "application/json",
            "content-length": str(len(body)),
            "user-agent": f"nightscribe/{__version__}",
            **signed_headers(due.secrets, due.message_id, int(now.timestamp()), body),
        }
        timeouts = {"connect": CONNECT_TIMEOUT_S, "read": TIMEOUT_S, "write": TIMEOUT_S, "pool": TIMEOUT_S}
        sent = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
        with anyio.fail_after(TIMEOUT_S):
            async with pool.stream(
                "POST", core_url(url), headers=sent, content=body, extensions={"timeout": timeouts}
            ) as response:
                stated = {name.lower(): value for name, value in response.headers}
                after_s = retry_after_s(stated.get(b"retry-after", b"").decode("latin-1"), now)
                return Outcome(response.status, retry_after_s=after_s)
    except AddressRefused as error:
        return Outcome(error=str(error))
    except (TimeoutError, httpcore2.TimeoutException):
        return Outcome(error=f"There was no response within {TIMEOUT_S:g} s.")
    except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError) as error:
        return Outcome(error=f"The connection failed: {str(error).partition(chr(10))[0] or type(error).__name__}.")
