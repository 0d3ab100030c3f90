"""Whatever comes, goes, changes or is finished between runs: what is unfinished is planned once, and as before."""

import shutil
import tempfile
from itertools import count, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from making import OPTIONS, file, transcript

from nightscribe.director.plan import planner
from nightscribe.director.plan.bundles import LONGEST
from nightscribe.director.plan.estimate import Rates
from nightscribe.director.plan.planner import Planned, Planner
from nightscribe.director.scan.scanner import Scanner
from nightscribe.shared.destination.records import Records
from nightscribe.shared.model.jobs import MAX_MESSAGE_BYTES, Job, Slice
from nightscribe.shared.model.paths import without_suffix
from nightscribe.shared.storage.folder.source import FolderSource
from nightscribe.shared.storage.folder.store import FolderStore

SECOND = Rates({".mp3": 1.0})  # a byte for a second
JOB_S = 60.0
SIZES = st.one_of(st.integers(1, 40), st.integers(1, 40), st.integers(85, 400))


class Plan(NamedTuple):
    """What a run would queue."""

    order: list[str]
    """Missing recordings in the order in which they were found."""
    whole: list[tuple[str, ...]]
    """Recordings that share a job."""
    cut: dict[str, tuple[Slice, ...]]
    ids: dict[tuple[str, ...], str]
    """Of jobs of whole recordings, by these, and of slices, by recording and index."""


class Plans(RuleBasedStateMachine):
    """A source and a destination, and one run after the other that looks at them."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="plans-"))
        self.files = self.folder / "source"
        (self.folder / "dest").mkdir()
        self.files.mkdir()
        self.source = FolderSource(self.files)
        self.records = Records(FolderStore(self.folder / "dest"))
        self.numbers = count()
        self.missing: dict[str, int] = {}
        """Their contents, as numbers."""
        self.last: Plan | None = None
        self.touched: set[str] = set()
        """Since the last plan."""
        self.slices: dict[tuple[str, int], tuple[Slice, ...]] = {}
        """How each content was cut."""
        self.add([("a", 30), ("b", 200), ("c", 10)])

    def teardown(self) -> None:
        self.plan()
        shutil.rmtree(self.folder)

    def write(self, path: str, size: int) -> None:
        self.missing[path] = next(self.numbers)
        file(self.files / path, f"{self.missing[path]} ".encode().ljust(size))
        self.touched.add(path)

    @rule(new=st.lists(st.tuples(st.sampled_from("abc"), SIZES), min_size=1, max_size=12))
    def add(self, new: list[tuple[str, int]]) -> None:
        """Recordings somewhere among the others."""
        for folder, size in new:
            number = next(self.numbers)
            self.write(f"{folder}/{number * 37 % 100:02}-{number}.mp3", size)

    @precondition(lambda self: self.missing)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """Some are transcribed."""
        for path in data.draw(st.sets(st.sampled_from(sorted(self.missing)), min_size=1, max_size=4)):
            seen = self.source.stat(path)
            of_now = {"fingerprint": self.source.fingerprint(seen), "size": seen.size, "mtime_ns": seen.mtime_ns}
            self.records.finish(transcript(recording=path, stem=without_suffix(path), **of_now), ("txt",))
            self.records.partial_results.drop(path)
            del self.missing[path]
            self.touched.add(path)

    @rule(data=st.data(), size=SIZES)
    def change(self, data: st.DataObject, size: int) -> None:
        """One is recorded anew, finished or not."""
        there = sorted(path.relative_to(self.files).as_posix() for path in self.files.rglob("*.mp3"))
        self.write(data.draw(st.sampled_from(there)), size)

    @precondition(lambda self: len(self.missing) > 3)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        """One is taken away before it was transcribed."""
        path = data.draw(st.sampled_from(sorted(self.missing)))
        (self.files / path).unlink()
        del self.missing[path]
        self.touched.add(path)

    @rule()
    def plan(self) -> None:
        """A run like the one before: what nobody touched is planned as it was."""
        now = self.planned(JOB_S)
        if self.last:
            self.compare(self.last, now)
        self.last, self.touched = now, set()

    @rule(job_s=st.sampled_from([90.0, 600.0]))
    def plan_for_others(self, job_s: float) -> None:
        """A run with fewer workers has longer jobs; what is cut stays cut."""
        self.planned(job_s)

    def planned(self, job_s: float) -> Plan:
        """What a run would queue, which holds everything that is missing exactly once."""
        found = Scanner(self.source, self.records, ("txt",), settle_s=0).scan().missing
        order = [each.recording.path for each in found]
        assert sorted(order) == sorted(self.missing)
        with (
            patch.object(
                planner, "probe", lambda path: SimpleNamespace(duration_s=float(path.stat().st_size), tracks=())
            ),
            patch.object(planner, "quiet_cut_points", lambda _, nominal, _streams: self.never_the_same(nominal)),
        ):
            made = list(Planner(self.source, self.records, found, SECOND, job_s))
        assert all(isinstance(each, Planned) for each in made)
        jobs = [Job(slices=each.slices(), options=OPTIONS, formats=("txt",)) for each in made]  # type: ignore[union-attr]
        assert len({job.id for job in jobs}) == len(jobs)
        assert all(len(job.to_message()) <= MAX_MESSAGE_BYTES for job in jobs)

        whole = [job for job in jobs if job.slices[0].count == 1]
        cut: dict[str, tuple[Slice, ...]] = {}
        for job in jobs:
            if job.slices[0].count > 1:
                [slice_] = job.slices
                cut[slice_.recording] = (*cut.get(slice_.recording, ()), slice_)
        in_jobs = [*cut, *(slice_.recording for job in whole for slice_ in job.slices)]
        assert sorted(in_jobs) == sorted(self.missing)
        for path, slices in cut.items():
            self.assert_covered(path, slices)
        ids = {tuple(slice_.recording for slice_ in job.slices): job.id for job in whole}
        ids |= {(job.slices[0].recording, str(job.slices[0].index)): job.id for job in jobs if job not in whole}
        return Plan(order, [tuple(slice_.recording for slice_ in job.slices) for job in whole], cut, ids)

    def never_the_same(self, nominal: tuple[float, ...]) -> tuple[float, ...]:
        """Cuts near those, so that it shows where they are made a second time."""
        return tuple(at_s + next(self.numbers) % 97 / 97 for at_s in nominal)

    def assert_covered(self, path: str, slices: tuple[Slice, ...]) -> None:
        """From its beginning to its end, without a gap, and where it was cut before."""
        assert [slice_.index for slice_ in slices] == list(range(slices[0].count))
        assert (slices[0].start_s, slices[-1].end_s) == (0.0, None)
        assert all(before.end_s == after.start_s for before, after in pairwise(slices))
        assert all(slice_.start_s < (slice_.end_s or slices[0].size) for slice_ in slices)
        assert self.slices.setdefault((path, self.missing[path]), slices) == slices

    def compare(self, before: Plan, now: Plan) -> None:
        for path in before.cut.keys() - self.touched:
            assert now.cut[path] == before.cut[path]
            assert all(
                now.ids[path, str(slice_.index)] == before.ids[path, str(slice_.index)] for slice_ in now.cut[path]
            )
        if not self.touched:
            assert now == before
        for jobs in set(before.whole) & set(now.whole):
            assert (now.ids[jobs] == before.ids[jobs]) == self.touched.isdisjoint(jobs)
        # Jobs before the first change stay, but for the last of them, which goes on with what comes next.
        order = {path: at for at, path in enumerate(sorted({*before.order, *now.order, *self.touched}))}
        at = [order[path] for path in self.touched]
        early = [jobs for jobs in before.whole if order[jobs[-1]] < min(at, default=0)]
        assert set(early[:-1]) <= set(now.whole)
        # Where one begins behind the last change with the same recording as then, it and all that follow are the same.
        late = [jobs for jobs in before.whole if order[jobs[0]] > max(at, default=-1)]
        starts = {jobs[0] for jobs in now.whole}
        same = next((n for n, jobs in enumerate(late) if jobs[0] in starts), len(late))
        assert set(late[same:]) <= set(now.whole)
        assert all(sum(len((self.files / path).read_bytes()) for path in jobs) <= LONGEST * JOB_S for jobs in now.whole)


TestPlans = Plans.TestCase
TestPlans.settings = settings(
    max_examples=25,
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # a few steps are short enough to be read as they are
)
