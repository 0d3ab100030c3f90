"""What can go wrong. Callers branch on the class: what is to be done about it. Programs also on the code: what it was.

NightscribeError
├── SetupError            the user must change something first (exit code 2)
│   ├── ValueRefused      a value that makes no sense
│   ├── WeightsError      a model's weights
│   ├── QueueError        a queue
│   └── BucketError       a bucket
├── RetryableError        trying again later may help
├── PermanentError        trying again cannot help
│   ├── NameTooLong       no room for the names of its records
│   ├── AudioError        no sound that can be decoded
│   └── JobError          a message that is no job
│       └── NewerJob      a job that another release understands
├── LeaseLost             another worker may have the job
└── Interrupted           the process was asked to stop
"""

UNKNOWN = "unknown"

CODES = {
    "archived": "They lie in an archive of their bucket.",
    "bucket_unusable": "A bucket is missing or refuses what is asked of it.",
    "changed": "They were changed while they were queued or transcribed.",
    "credentials_expired": "The credentials have expired.",
    "cut_off": "They were cut off: the index at the end of the file is missing.",
    "destination_unusable": "The destination takes no files.",
    "disk_full": "The disk is full.",
    "empty": "They are empty or hold nothing but zero bytes.",
    "encrypted": "They are encrypted.",
    "engine_missing": "The speech engine is not installed.",
    "ffmpeg_failed": "ffmpeg ended or hung while it read them.",
    "ffmpeg_missing": "There is no ffmpeg.",
    "format_unusable": "A format of text files is not installed, or fails.",
    "gone": "They are no longer in the source.",
    "interrupted": "The process was asked to stop.",
    "job_not_understood": "The message is no job that this release understands.",
    "job_too_large": "The job is too large for a message.",
    "lease_lost": "The lease ran out: another worker may have the job.",
    "name_too_long": "Their names are too long.",
    "newer_record": "A newer nightscribe wrote their records.",
    "no_audio_track": "They hold pictures but no sound.",
    "no_sound": "No sound in them can be decoded.",
    "not_audio": "They are no recordings.",
    "not_readable": "They cannot be read.",
    "outside_source": "They lead out of the source.",
    "part_damaged": "What was transcribed of them before cannot be read any more.",
    "queue_unreachable": "The queue does not answer.",
    "queue_unusable": "The queue cannot be used as it is.",
    "setup": "Something must be set up first.",
    "source_unusable": "The source is missing or cannot be read.",
    "storage_unreachable": "The disk, share or bucket does not answer.",
    "text_not_sound": "They hold text, not sound.",
    UNKNOWN: "They failed for other reasons.",
    "value_refused": "A value makes no sense.",
    "weights_unusable": "The model's weights cannot be found, fetched or trusted.",
    "worker_died": "Their worker died each time they were begun.",
}
"""Every code with a sentence that fits all its recordings. docs/failure-codes.md explains them."""


class NightscribeError(Exception):
    """Base of every error raised on purpose. Its text is one plain sentence for the user, its code one of `CODES`."""

    code: str = UNKNOWN

    def __init__(self, *args: object, code: str | None = None) -> None:
        super().__init__(*args)
        if code is not None:
            self.code = code


class SetupError(NightscribeError):
    """The user must change something before any work can start (exit code 2)."""

    code = "setup"


class ValueRefused(SetupError, ValueError):
    """A value makes no sense; whoever read it from the user says which one."""

    code = "value_refused"


class WeightsError(SetupError):
    """The weights of a model could not be found, fetched or trusted."""

    code = "weights_unusable"


class QueueError(SetupError):
    """The queue exists but cannot be used as it is, or it refuses the credentials."""

    code = "queue_unusable"


class BucketError(SetupError):
    """A bucket does not exist or refuses what is asked of it, or it refuses the credentials."""

    code = "bucket_unusable"


class RetryableError(NightscribeError):
    """Trying again later may help: the job goes back to the queue with a growing delay."""


class PermanentError(NightscribeError):
    """Trying again cannot help: the failure is recorded with its reason, and the job goes to the dead letters."""


class NameTooLong(PermanentError):
    """A record of a recording would have a longer name than the destination takes."""

    code = "name_too_long"


class AudioError(PermanentError):
    """A recording holds no sound that can be decoded."""

    code = "not_audio"


class JobError(PermanentError):
    """A message on the queue is not a job that this release understands."""

    code = "job_not_understood"


class NewerJob(JobError):
    """A message on the queue is a job that a newer release understands."""

    code = "newer_record"


class FormatError(PermanentError):
    """A text file cannot be made: its format is not installed here, or fails."""

    code = "format_unusable"


class LeaseLost(NightscribeError):
    """The right to work on a delivery has run out: store and delete nothing more of it."""

    code = "lease_lost"


class Interrupted(NightscribeError):
    """The process was asked to stop: release the delivery and leave."""

    code = "interrupted"
