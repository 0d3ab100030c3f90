"""What can go wrong. Callers branch on the class: what is to be done about it. Programs also on the code: what it was.

NightscribeError
├── SetupError            the user must change something first (exit code 2)
│   ├── ValueRefused      a value that makes no sense
│   ├── WeightsError      a model's weights
│   ├── QueueError        a queue
│   └── BucketError       a bucket
├── RetryableError        trying again later may help
│   └── ModelUnavailable  this worker cannot load what the job asks for
├── PermanentError        trying again cannot help
│   ├── NameTooLong       no room for the names of its records
│   ├── AudioError        no sound that can be decoded
│   └── JobError          a message that is no job
│       └── NewerJob      a job that another release understands
├── LeaseLost             another worker may have the job
└── Interrupted           the process was asked to stop
"""

UNKNOWN = "unknown"


class NightscribeError(Exception):
    """Base of every error raised on purpose. Its text is one plain sentence for people, its code is for programs."""

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
    """Trying again later may help: the job goes back to the queue with a growing delay. Give it a code."""


class ModelUnavailable(RetryableError):
    """This worker cannot load the engine or the model that a job asks for; another worker may."""

    code = "model_unavailable"


class PermanentError(NightscribeError):
    """Trying again cannot help: the failure is recorded with its reason, and the job goes to the dead letters.

    Give it a code.
    """


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
