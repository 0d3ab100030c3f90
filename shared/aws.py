"""Call AWS and compatible services through boto3, with retries and errors in plain sentences."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import boto3
import structlog
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    SSOTokenLoadError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
from botocore.exceptions import (
    ConnectionError as BotoConnectionError,
)
from botocore.parsers import ResponseParserError
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from nightscribe.shared.errors import QueueError, RetryableError, SetupError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_sqs import SQSClient

T = TypeVar("T")

log = structlog.get_logger()

LOCAL_QUEUE = "NIGHTSCRIBE_LOCAL_QUEUE"
"""Variable that leads `run` and its workers to the SQS server that it started, whatever else is set for AWS."""
LOCAL_REGION = "us-east-1"
SHUTDOWN_CHECK_S = 0.2  # how often a wait checks `ShutdownFlag`
LAST_TRY_AT = 0.9  # share of the retry timeout; the last try comes then, so that any shorter outage is survived

_REFUSED = {
    "AccessDenied",
    "AccessDeniedException",
    "AllAccessDisabled",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "OptInRequired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
    "403",  # a response without a body
}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
_WRONG_CLOCK = {"RequestTimeTooSkewed"}
_BUSY = {"SlowDown", "RequestTimeout", "RequestLimitExceeded", "TooManyRequests"}
# Credentials from a file or another server work again once the user has logged in or that server is back.
_NO_NEW_CREDENTIALS = (CredentialRetrievalError, SSOTokenLoadError, TokenRetrievalError, UnauthorizedSSOTokenError)

_backoff = wait_random_exponential(multiplier=0.2, max=10)


class CredentialsExpired(RetryableError):
    """The credentials have expired. The next try may find new ones, because a login renews the file they come from."""

    code = "credentials_expired"


@dataclass(frozen=True)
class Subject:
    """A queue or a bucket as error messages name it, for example `queue 'a.fifo'`."""

    name: str
    error: type[SetupError]
    """Class of the error that is raised if the user must change something."""
    address: str
    """Variable that names a server other than AWS."""

    @property
    def unreachable_code(self) -> str:
        """Return the code of the error to raise if the server does not respond."""
        return "queue_unreachable" if issubclass(self.error, QueueError) else "storage_unreachable"


@overload
def client(
    service: Literal["sqs"],
    *,
    timeout_s: float,
    region: str | None = None,
    endpoint: str | None = None,
    local: str | None = None,
) -> "SQSClient": ...
@overload
def client(service: Literal["s3"], *, timeout_s: float, more: Config | None = None) -> "S3Client": ...
def client(
    service: Literal["sqs", "s3"],
    *,
    timeout_s: float,
    region: str | None = None,
    endpoint: str | None = None,
    local: str | None = None,
    more: Config | None = None,
) -> "SQSClient | S3Client":
    """Return a client for `sqs` or `s3` on the server that the environment names, without sending anything yet.

    The `AWS_*` variables are boto3's own. If they name no address but LOCALSTACK_ENDPOINT or LOCALSTACK_HOST is set,
    localstack-client finds LocalStack; otherwise the server is AWS. `region` and `endpoint` override the environment,
    and so does `local`, the address of a server that a run has started; `more` holds further settings of the client.
    Raises: BotoCoreError, ValueError, RuntimeError: if the address is incomplete (see `incomplete`).
    """
    # `persist` retries, not boto3, so that a retry knows the deadline of a lease.
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=timeout_s, read_timeout=timeout_s)
    config = config.merge(more or Config())
    local = local or (os.environ.get(LOCAL_QUEUE) if service == "sqs" else None)
    if local:
        return local_client(local, config)
    session = _session(service, named=endpoint is not None)
    return session.client(service, region_name=region, endpoint_url=endpoint, config=config)


def local_client(endpoint: str, config: Config) -> "SQSClient":
    """Return a client for the SQS server that `run` started on loopback; it uses no proxy."""
    return boto3.session.Session().client(
        "sqs",
        endpoint_url=endpoint,
        aws_access_key_id="nightscribe",
        aws_secret_access_key="nightscribe",  # noqa: S106  this server accepts any
        region_name=LOCAL_REGION,
        config=config.merge(Config(proxies={})),
    )


class ShutdownFlag:
    """A flag that is set once this process must end, so that no thread retries a call."""

    is_set = False  # not a threading.Event: a signal handler sets it and could deadlock on the event's lock


def _sleep(seconds: float) -> None:
    until = time.monotonic() + seconds
    while not ShutdownFlag.is_set and (left_s := until - time.monotonic()) > 0:
        time.sleep(min(SHUTDOWN_CHECK_S, left_s))


def incomplete(error: Exception, subject: Subject) -> SetupError:
    """Return the SetupError for an error that `client` raised."""
    return subject.error(
        f"The address of the {subject.name} is incomplete: {str(error).rstrip('.')}. Set AWS_DEFAULT_REGION and, for "
        f"a server other than AWS, {subject.address} (http://HOST:PORT) or LOCALSTACK_HOST (HOST:PORT)."
    )


def persist(
    do: Callable[[], T],
    subject: Subject,
    *,
    operation: str,
    retry_timeout_s: float,
    renew: Callable[[], None],
    translated: Callable[[str, str], Exception | None] = lambda _code, _message: None,
    is_final: Callable[[Exception], bool] = lambda _: False,
) -> T:
    """Return the result of `do`, retrying it for `retry_timeout_s` where that may help.

    `renew` is called before the next try if the credentials have expired. `translated` receives the code and the
    message of an error response, and may return a more specific error. An error for which `is_final` returns true is
    not retried.
    Raises: RetryableError: if no try succeeded. SetupError: of the subject's class, if the user must do something.
    """
    last_s = LAST_TRY_AT * retry_timeout_s
    is_late = stop_after_delay(last_s)

    def wait_s(state: RetryCallState) -> float:
        return max(0.0, min(_backoff(state), last_s - (state.seconds_since_start or 0.0)))

    def once() -> T:
        try:
            return _once(do, subject, operation, translated)
        except CredentialsExpired as error:
            log.debug("credentials.expired", of=subject.name, why=str(error))
            renew()
            raise

    retrying = Retrying(
        sleep=_sleep,
        stop=lambda state: ShutdownFlag.is_set or is_late(state),
        wait=wait_s,
        retry=retry_if_exception(lambda e: isinstance(e, RetryableError) and not is_final(e)),
        reraise=True,
    )
    try:
        return retrying(once)
    except CredentialsExpired as error:
        raise subject.error(
            f"The credentials for the {subject.name} have expired, and there are no newer ones ({error}). Log in again "
            "(aws sso login) or set new AWS_* variables, and start again; work continues where it stopped."
        ) from error


def _once(
    do: Callable[[], T], subject: Subject, operation: str, translated: Callable[[str, str], Exception | None]
) -> T:
    try:
        response = do()
    except ClientError as error:
        details = error.response.get("Error", {})
        code, message = details.get("Code", "").rpartition(".")[2], details.get("Message", "")
        metadata = error.response.get("ResponseMetadata", {})
        if is_page(metadata):
            raise RetryableError(not_the_service(subject), code=subject.unreachable_code) from error
        status = metadata.get("HTTPStatusCode", 500)
        raise translated(code, message) or _translated(code, message, status, subject, operation) from error
    except (NoCredentialsError, PartialCredentialsError, NoRegionError) as error:
        raise subject.error(
            f"The {subject.name} cannot be reached: {str(error).rstrip('.')}. Set AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY and AWS_DEFAULT_REGION, or AWS_PROFILE; a local server accepts any values."
        ) from error
    except _NO_NEW_CREDENTIALS as error:
        raise CredentialsExpired(str(error).rstrip(".")) from error
    except (BotoConnectionError, HTTPClientError, IncompleteReadError) as error:
        raise RetryableError(
            f"The server of the {subject.name} does not respond ({error}).", code=subject.unreachable_code
        ) from error
    except (ResponseParserError, RecursionError) as error:  # botocore may follow redirections of S3 without end
        raise RetryableError(not_the_service(subject), code=subject.unreachable_code) from error
    except BotoCoreError as error:
        raise subject.error(f"The {subject.name} cannot be used: {error}") from error
    if isinstance(response, dict) and is_page(response.get("ResponseMetadata", {})):
        raise RetryableError(not_the_service(subject), code=subject.unreachable_code)
    return response


def is_page(metadata: Mapping[str, Any]) -> bool:
    """Return whether a response, judging by its metadata, is a web page and does not come from the service."""
    headers = metadata.get("HTTPHeaders", {})
    return headers.get("content-type", "").startswith("text/html") and not any(
        name.startswith("x-amz") for name in headers
    )


def not_the_service(subject: Subject) -> str:
    """Return the error message for a response that does not come from the service."""
    return (
        f"The response does not come from the server of the {subject.name}, but perhaps from a proxy or the login page "
        f"of this network. Log in there, and check {subject.address} and the proxy variables (HTTPS_PROXY, NO_PROXY)."
    )


def _translated(code: str, message: str, status: int, subject: Subject, operation: str) -> Exception:
    why = f"{code}: {message}" if message else code
    if code in _EXPIRED:
        return CredentialsExpired(why)
    if code in _WRONG_CLOCK:
        return subject.error(f"The {subject.name} refuses {operation} ({why}). Correct the clock of this machine.")
    if code in _REFUSED:
        return subject.error(
            f"The {subject.name} refuses {operation} ({why}). Check the AWS credentials and their permissions."
        )
    if status >= 500 or status == 429 or code in _BUSY or "Throttl" in code:
        return RetryableError(
            f"The server of the {subject.name} is overloaded or failing ({why}).", code=subject.unreachable_code
        )
    return subject.error(f"The {subject.name} refuses {operation} ({why}).")


def _session(service: str, *, named: bool) -> boto3.session.Session:
    named = named or f"AWS_ENDPOINT_URL_{service.upper()}" in os.environ or "AWS_ENDPOINT_URL" in os.environ
    localstack = os.environ.get("LOCALSTACK_ENDPOINT") or os.environ.get("LOCALSTACK_HOST")
    if localstack and not named:
        import localstack_client.session

        # The library reads only LOCALSTACK_HOST, and expects HOST:PORT in it.
        host = localstack.rpartition("://")[2].rstrip("/")
        session: boto3.session.Session = localstack_client.session.Session(localstack_host=host)
        return session
    return boto3.session.Session()
