"""What a run says of itself in the destination, for people elsewhere: `nightscribe status` shows it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from director.director import Director
from nightscribe.tally import Tally
from shared.activity import Run
from shared.records import Records
from shared.settings import ENV_PREFIX, TEXTS, WORDS, Settings, to_environment
from shared.transcript import utc_now

EVERY_S = 2.0
LIVE_S = 60.0  # a run that was not heard of for so long is no more; a slow share makes it silent for seconds


@dataclass
class Account:
    """Writes down how far a run is, every few seconds at most."""

    records: Records
    run: Run
    """As it began."""

    def __post_init__(self) -> None:
        self._told_at: float | None = None

    def tell(self, tally: Tally) -> None:
        """Say how far it is by now, unless that was said a moment ago."""
        now = time.monotonic()
        if self._told_at is None or now - self._told_at >= EVERY_S:
            self._told_at = now
            self.records.put_run(self._now(tally, now))

    def end(self, tally: Tally, *, interrupted: bool) -> None:
        """Say that it has ended."""
        last = self._now(tally, time.monotonic())
        ended = {"ended_at": last.updated_at, "interrupted": interrupted, "left_s": None}
        self.records.put_run(last.model_copy(update=ended))

    def _now(self, tally: Tally, now: float) -> Run:
        return self.run.model_copy(update={"updated_at": utc_now()} | tally.figures(now))


@contextmanager
def account(records: Records, run: Run, tally: Tally) -> Iterator[Account]:
    """Say how far the run is from now on, and in the end that it is over."""
    said = Account(records, run)
    said.tell(tally)
    try:
        yield said
    except BaseException:
        said.end(tally, interrupted=True)
        raise
    said.end(tally, interrupted=False)


def beginning(
    command: Literal["run", "director"],
    director: Director,
    *,
    source: Path,
    settings: Settings,
    n_total: int,
    n_workers: int | None = None,
) -> Run:
    """A run of which nothing is done yet."""
    now = utc_now()
    return Run(
        id=director.run_id,
        command=command,
        source=str(source.absolute()),
        queue_name=director.queue.name,
        endpoint=director.queue.endpoint,
        model=director.options.model,
        engine=director.options.engine,
        asked=asked(settings),
        n_workers=n_workers,
        began_at=now,
        updated_at=now,
        n_total=n_total,
    )


def asked(settings: Settings) -> dict[str, str]:
    """The settings by which the same can be asked for again, as variables."""
    given = to_environment(settings)
    names = (ENV_PREFIX + name.upper() for name in (*WORDS, *TEXTS, "follow_links", "queue_name"))
    return {name: given[name] for name in names}


def is_live(run: Run, now: datetime | None = None) -> bool:
    """Whether a run is at work, as far as can be told from elsewhere."""
    silent_s = ((now or datetime.now(UTC)) - run.updated_at).total_seconds()
    return run.ended_at is None and silent_s < LIVE_S
