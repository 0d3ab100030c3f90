"""Make the messages of a job, as a director makes them."""

from dataclasses import dataclass, replace

from nightscribe.director.backlog import Backlog, Missing, Settled
from nightscribe.director.plan.bundles import JOB_S
from nightscribe.director.plan.estimate import LengthEstimate
from nightscribe.director.plan.planner import Planned, Planner
from nightscribe.shared.audio.probe import probe
from nightscribe.shared.audio.readable import Readable
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import AudioError, PermanentError
from nightscribe.shared.model.jobs import FormatName, Job, Layout, Options, Slice
from nightscribe.shared.model.recording import Recording, Unreadable
from nightscribe.shared.storage.base import RecordingSource

SHORT_BYTES = 2**20  # a file of this size is short enough for one message in every usual format


@dataclass(frozen=True)
class Plan:
    """What the messages of a job consist of."""

    id: str
    recording: str
    fingerprint: str
    size: int
    stem: str
    options: Options
    formats: tuple[FormatName, ...]
    layout: Layout
    cuts: tuple[float, ...] | None = None
    """Seconds at which the recording is cut; None before it was looked at."""

    def slice_at(self, index: int) -> Slice:
        """Return one of the slices."""
        return Slice(
            recording=self.recording,
            fingerprint=self.fingerprint,
            size=self.size,
            stem=self.stem,
            cuts=self.cuts or (),
            index=index,
        )

    def messages(self) -> list[Job]:
        """Return a message for each slice. The id of the job distinguishes them from those of every director."""
        return [
            Job(
                slices=(self.slice_at(index),),
                options=self.options,
                formats=self.formats,
                layout=self.layout,
                redo=self.id,
            )
            for index in range(len(self.cuts or ()) + 1)
        ]


def length_s(file: Readable) -> float | None:
    """Return the seconds of sound that a file states; None if it states none.

    Raises: AudioError: if it holds no sound. RetryableError: if it cannot be read now.
    """
    info = probe(file)
    if not info.has_audio:
        raise AudioError("The file holds no sound.", code="no_audio_track")
    return info.duration_s


def with_cuts(plan: Plan, source: RecordingSource, records: Records, duration_s: float | None) -> Plan:
    """Return the plan with the points at which the recording is cut, so that several workers can share a long one.

    Raises: PermanentError: if it is gone. RetryableError: if it cannot be read now.
    """
    lengths = LengthEstimate()
    if duration_s:
        lengths.learn(plan.recording, plan.size, duration_s)
    recording = Recording(plan.recording, plan.size, None)
    for planned in Planner(source, records, Backlog([Missing(recording, plan.stem)]), lengths.rates(), JOB_S):
        if isinstance(planned, Settled) and isinstance(planned.result, Unreadable):
            raise PermanentError(planned.result.reason, code="not_readable")
        assert isinstance(planned, Planned)  # noqa: S101  it does not ask for unchanged files
        return replace(plan, cuts=planned.cut_points, fingerprint=planned.fingerprints[0])
    raise AssertionError  # there is one recording
