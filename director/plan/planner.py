"""Plan jobs one by one, and read a recording only when its turn comes."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import structlog

from nightscribe.director.backlog import Backlog, Growing, Missing, Settled
from nightscribe.director.plan.bundles import bundles, long_recordings, nominal_cut_points
from nightscribe.director.plan.cut_points import quiet_cut_points
from nightscribe.director.plan.estimate import Rates
from nightscribe.shared.audio.probe import probe
from nightscribe.shared.destination.partial_results import CUTS
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import NightscribeError, PermanentError
from nightscribe.shared.model.jobs import Slice
from nightscribe.shared.model.recording import Recording, Unreadable
from nightscribe.shared.process.concurrency import map_concurrently
from nightscribe.shared.process.liveness import report_alive
from nightscribe.shared.storage.base import Denied, RecordingSource

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Planned:
    """A planned job: some whole recordings, or one slice of one. It is small, since thousands are held in memory."""

    recordings: tuple[Missing, ...]
    fingerprints: tuple[str, ...]
    cut_points: tuple[float, ...] = ()
    index: int = 0

    def slice_of(self, at: int) -> Slice:
        """Return the slice of the recording at this position."""
        recording = self.recordings[at].recording
        return Slice(
            recording=recording.path,
            fingerprint=self.fingerprints[at],
            size=recording.size,
            stem=self.recordings[at].stem,
            cuts=self.cut_points,
            index=self.index,
        )

    @property
    def only_speakers(self) -> bool:
        """Return whether only the speakers of its recordings are labelled."""
        return self.recordings[0].only_speakers

    def slices(self) -> tuple[Slice, ...]:
        """Return all slices of the job."""
        return tuple(map(self.slice_of, range(len(self.recordings))))


class Planner(Iterator[Planned | Settled | Growing]):
    """Yields one job after another, the longest recordings first.

    Yields a `Settled` for a recording that cannot be read any more. With `only_unchanged`, a recording that has changed
    since the scan is in no job: a `Growing` is yielded for it.

    Raises: RetryableError: if the source or the store is unreachable. The next call of `next` tries the same again.
    """

    def __init__(
        self,
        source: RecordingSource,
        records: Records,
        missing: Backlog,
        rates: Rates,
        job_s: float,
        *,
        only_unchanged: bool = False,
        alike: Callable[[str], object] = lambda _path: None,
    ) -> None:
        """`alike`: see `bundles`."""
        self._source = source
        self._records = records
        self._job_s = job_s
        self._only_unchanged = only_unchanged
        self._long = iter(long_recordings(missing, rates, job_s))
        self._bundles = bundles(missing, rates, job_s, alike)
        self._group: list[Missing] = []
        self._is_long = False
        self._ready: deque[Planned | Settled | Growing] = deque()

    def __next__(self) -> Planned | Settled | Growing:
        while not self._ready:
            self._group = self._group or self._next_group()
            self._ready.extend(self._plan(self._group))
            self._group = []
        return self._ready.popleft()

    def _next_group(self) -> list[Missing]:
        long = next(self._long, None)
        self._is_long = long is not None
        return next(self._bundles) if long is None else [long]

    def _plan(self, group: list[Missing]) -> list[Planned | Settled | Growing]:
        made: list[Planned | Settled | Growing] = []
        whole: list[tuple[Missing, str]] = []
        kept = self._records.partial_results.kept([missing.recording.path for missing in group])

        def inspect(missing: Missing) -> tuple[str, Recording, tuple[float, ...] | None]:
            return self._inspect(missing, has_cut_points=CUTS in kept[missing.recording.path])

        for missing, look in map_concurrently(
            inspect, group, max(self._source.max_concurrency, self._records.store.max_concurrency)
        ):
            report_alive()
            try:
                fingerprint, now, cut_points = look()
            except PermanentError as error:
                made.append(Settled(missing, Unreadable(missing.recording.path, str(error))))
                continue
            if now != missing.recording:
                made.append(Growing(replace(missing, recording=now)))
                continue
            if cut_points is None and self._is_long:
                cut_points = self._find_cut_points(missing, fingerprint)
            if cut_points:
                indices = range(len(cut_points) + 1)
                made.extend(Planned((missing,), (fingerprint,), cut_points, index) for index in indices)
            else:
                whole.append((missing, fingerprint))
        if whole:
            made.append(Planned(tuple(each for each, _ in whole), tuple(fingerprint for _, fingerprint in whole)))
        return made

    def _inspect(self, missing: Missing, *, has_cut_points: bool) -> tuple[str, Recording, tuple[float, ...] | None]:
        """Return the fingerprint, the current state of the recording, and the cut points of an earlier run, if any."""
        path = missing.recording.path
        self._records.require_room(path)
        try:
            fingerprint = self._source.fingerprint(missing.recording)
            # This order matters: a network file system knows the current size of a file only once it was opened.
            now = self._source.stat(path) if self._only_unchanged else missing.recording
        except Denied as error:  # other recordings can still be planned
            raise PermanentError(str(error), code=error.code) from error
        # A later run cuts an unfinished recording where the first one did, and so finds its partial results.
        return fingerprint, now, self._records.partial_results.kept_cuts(path, fingerprint) if has_cut_points else None

    def _find_cut_points(self, missing: Missing, fingerprint: str) -> tuple[float, ...]:
        """Return where to cut a recording; nothing if it is short or unreadable, as its worker will record."""
        path = missing.recording.path
        try:
            with self._source.local(path) as file:
                info = probe(file)
                nominal = nominal_cut_points(info.duration_s or 0.0, self._job_s)
                streams = [track.number for track in info.tracks]
                cut_points = quiet_cut_points(file, nominal, streams) if nominal else ()
        except (NightscribeError, OSError) as error:
            log.warning("recording.not_cut", recording=path, why=str(error))
            return ()
        if cut_points:
            self._records.partial_results.keep_cuts(path, fingerprint, cut_points)
            log.info("recording.cut", recording=path, n_slices=len(cut_points) + 1)
        return cut_points
