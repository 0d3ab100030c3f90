"""Every error raised on purpose. Its class says how to react, its code what went wrong.

NightscribeError
├── SetupError            the user must change something first (exit code 2)
│   ├── ExtraMissing      packages of an extra of nightscribe are not installed
│   ├── ValueRefused      a value is not valid
│   ├── WeightsError      a model's weights are unusable
│   ├── QueueError        a queue is unusable
│   └── StorageError      a share, a bucket or another storage is unusable
├── RetryableError        trying again later may help
│   ├── MachineError      the cause is this machine, not the job
│   └── ModelUnavailable  this worker cannot load the engine or model of a job
├── PermanentError        trying again cannot help
│   ├── NameTooLong       the names of a recording's records would be too long
│   ├── AudioError        a recording has no sound that can be decoded
│   └── JobError          a message is not a job
│       ├── NewerJob      only a newer release understands the job
│       └── NotSigned     a message is not signed with a known secret
├── LeaseLost             another worker may have the job
├── JobCancelled          nobody wants the job any more
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


class ExtraMissing(SetupError):
    """What the user wants needs packages that are not installed; `./build.sh` installs them and tries again."""

    def __init__(self, lack: str, extra: str) -> None:
        """Take a sentence that says what is missing, and the extra of nightscribe that has it."""
        super().__init__(f"{lack} Install it: pip install 'nightscribe[{extra}]'.")
        self.lack = lack
        self.extra = extra


class ValueRefused(SetupError, ValueError):
    """A value is not valid. The caller that read it from the user says which one."""

    code = "value_refused"


class WeightsError(SetupError):
    """The weights of a model could not be found, downloaded or trusted."""

    code = "weights_unusable"


class QueueError(SetupError):
    """The queue is unsuitable, or it refuses the credentials."""

    code = "queue_unusable"


class StorageError(SetupError):
    """A share, bucket or other storage does not exist, or it permanently refuses a request or the credentials."""

    code = "storage_unusable"


class RetryableError(NightscribeError):
    """Trying again later may help, so the job returns to the queue with a growing delay. Give it a code."""


class MachineError(RetryableError):
    """The worker's machine has a problem: the worker pauses, and the job is released with all its receives left."""

    code = "machine_trouble"


class ModelUnavailable(RetryableError):
    """This worker cannot load the engine or the model of a job, but another worker may."""

    code = "model_unavailable"


class PermanentError(NightscribeError):
    """Trying again cannot help, so the failure is recorded and the job is dead-lettered. Give it a code."""


class NameTooLong(PermanentError):
    """A record of a recording would have a longer name than the destination allows."""

    code = "name_too_long"


class AudioError(PermanentError):
    """A recording has no sound that can be decoded."""

    code = "not_audio"


class JobError(PermanentError):
    """A message on the queue is not a job that this release understands."""

    code = "job_not_understood"


class NewerJob(JobError):
    """A message on the queue is a job that only a newer release understands."""

    code = "newer_record"


class NotSigned(JobError):
    """A message was not signed with a secret that this worker knows."""

    code = "signature_wrong"


class FormatError(PermanentError):
    """A text file cannot be written because its format is not installed here, or fails."""

    code = "format_unusable"


class LeaseLost(NightscribeError):
    """The right to work on a delivery has run out: store and delete nothing more for it."""

    code = "lease_lost"


class JobCancelled(NightscribeError):
    """Nobody wants the job any more: store nothing for it, and delete its message."""

    code = "cancelled"


class Interrupted(NightscribeError):
    """The process was asked to stop: release the delivery and exit."""

    code = "interrupted"
