"""What can go wrong, by what is to be done about it: callers branch on the class alone."""


class NightscribeError(Exception):
    """Base of every error raised on purpose. Its text is one plain sentence for the user."""


class SetupError(NightscribeError):
    """The user must change something before any work can start (exit code 2)."""


class ValueRefused(SetupError, ValueError):
    """A value that was given makes no sense; where it was given, the user is told which one."""


class WeightsError(SetupError):
    """The weights of a model could not be found, fetched or trusted."""


class QueueError(SetupError):
    """The queue exists but cannot be used as it is, or the credentials are refused."""


class BucketError(SetupError):
    """A bucket is not there or refuses what is asked of it, or the credentials do not do."""


class RetryableError(NightscribeError):
    """Trying again later may help: the job goes back to the queue with a growing delay."""


class PermanentError(NightscribeError):
    """Trying again cannot help: recorded with its reason and set aside."""


class NameTooLong(PermanentError):
    """What is to be kept of a recording would have a longer name than the place for it takes."""


class AudioError(PermanentError):
    """A recording holds no sound that can be decoded."""


class JobError(PermanentError):
    """A message on the queue is not a job that this version understands."""


class FormatError(PermanentError):
    """A text file cannot be made: its format is not installed here, or fails."""


class LeaseLost(NightscribeError):
    """The right to work on a delivery has run out: store nothing more of it, delete nothing."""


class Interrupted(NightscribeError):
    """The process was asked to stop: give the delivery back and leave."""
