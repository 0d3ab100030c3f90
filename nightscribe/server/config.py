"""Define the settings of `nightscribe serve`, from `NIGHTSCRIBE_*` variables overridden by the command line."""

import os
from ipaddress import ip_address
from typing import Annotated

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from nightscribe.server.address_policy import AddressPolicy
from nightscribe.shared.errors import SetupError
from nightscribe.shared.process.cores import usable_cores
from nightscribe.shared.settings import ENV_PREFIX, validation_sentence


class ServerSettings(BaseSettings):
    """Settings of the server only; those of transcripts, storage and the queue are in `Settings`."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="ignore")

    host: str = Field(default="127.0.0.1", description="Address on which the server listens.")
    port: int = Field(default=8484, ge=0, le=65_535, description="Port on which the server listens; 0 for a free one.")
    database: str = Field(
        default="",
        description="Database for tokens, the log and jobs, such as postgresql://user@host/name.",
        json_schema_extra={"shown": "a file in DEST"},
        repr=False,
    )
    require_login: bool = Field(
        default=False, description="Demand a token or a login also from programs on this machine."
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default_factory=tuple,
        description="Names under which the server is reached, separated by commas, such as transcripts.example.org.",
        json_schema_extra={"shown": "any, or on loopback only localhost"},
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        default_factory=tuple,
        description="Addresses of reverse proxies whose X-Forwarded-For and -Proto are believed, separated by commas.",
        json_schema_extra={"shown": "none"},
    )
    workers: int = Field(
        default_factory=lambda: max(1, usable_cores() // 2),
        ge=1,
        description="Number of worker processes on this machine for jobs that nobody waits for.",
        json_schema_extra={"shown": "half of the cores"},
    )
    interactive_workers: int = Field(
        default=1, ge=1, description="Number of worker processes on this machine for jobs that somebody waits for."
    )
    no_workers: bool = Field(
        default=False, description="Start no workers and no queue here, because the workers of a fleet do the jobs."
    )
    max_waiting: int = Field(
        default=128, ge=1, description="Number of jobs that somebody waits for, from which on others are refused."
    )
    results_minutes: float = Field(
        default=60, ge=0, description="Minutes after which the result of a request that is not kept is removed."
    )
    no_refresh: bool = Field(
        default=False,
        description="Count these minutes from the end of the job, not from the last reading of the result.",
    )
    max_upload_gb: float = Field(default=10, gt=0, description="Largest file that can be uploaded, in GB.")
    upload_hours: float = Field(
        default=24, gt=0, description="Hours after which an upload that was not continued is removed."
    )
    sync_minutes: float = Field(
        default=240,
        ge=0,
        description="Longest recording in minutes for the APIs whose clients wait for the result; 0 for any.",
    )
    largest_model: str = Field(
        default="", description="Largest model that a request may name.", json_schema_extra={"shown": "any"}
    )
    requests_per_minute: int = Field(
        default=600,
        ge=0,
        description="Requests per minute of one token, login or address; 0 for any number. Programs of this machine "
        "that need no token may send any number.",
    )
    fetch_urls: bool = Field(
        default=False, description="Let programs submit the URL of a recording, which the server fetches."
    )
    fetch_minutes: float = Field(default=30, gt=0, description="Minutes after which fetching a URL ends.")
    no_gpu: bool = Field(default=False, description="Let the workers of this machine use no GPU.")
    cpu_model: str = Field(
        default="",
        description="Model to use instead of --model if this machine has no GPU.",
        json_schema_extra={"shown": "the same"},
    )
    log_file: str = Field(
        default="",
        description="File to which events are logged, and not to standard error.",
        json_schema_extra={"shown": "none"},
    )
    log_file_hours: float = Field(default=24, gt=0, description="Hours after which another log file is begun.")
    log_files: int = Field(default=14, ge=0, description="Number of earlier log files that are kept; 0 for all.")
    session_hours: float = Field(default=12, gt=0, le=24 * 366, description="Hours after which a login ends.")

    @field_validator("port", mode="before")
    @classmethod
    def _skip_kubernetes(cls, value: object) -> object:
        # Kubernetes sets NIGHTSCRIBE_PORT to tcp://… in containers beside a service that is named nightscribe.
        return cls.model_fields["port"].default if isinstance(value, str) and value.startswith("tcp://") else value

    allowed_addresses: Annotated[tuple[str, ...], NoDecode] = Field(
        default_factory=tuple,
        description="Networks and hosts of your own to which the server may connect for webhooks and URLs, besides "
        "public addresses, separated by commas, such as 10.0.0.0/8,media.example.org.",
        json_schema_extra={"shown": "none"},
    )

    @field_validator("allowed_addresses")
    @classmethod
    def _check_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        AddressPolicy.of(value)
        return value

    @field_validator("allowed_hosts", "allowed_addresses", "trusted_proxies", mode="before")
    @classmethod
    def _divide(cls, value: object) -> object:
        return tuple(filter(None, map(str.strip, value.lower().split(",")))) if isinstance(value, str) else value

    @property
    def is_loopback(self) -> bool:
        """Return whether only programs on this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


def load_server_settings(**given: object) -> ServerSettings:
    """Return the settings of the environment, overridden by the `given` values that are not None.

    Raises: SetupError: if a setting is not valid; the message names each one and where it was set.
    """
    values = {name: value for name, value in given.items() if value is not None}
    try:
        return ServerSettings(**values)  # type: ignore[arg-type]
    except ValidationError as error:
        wrong = []
        for problem in error.errors():
            name = str(problem["loc"][0]) if problem["loc"] else "settings"
            variable = ENV_PREFIX + name.upper()
            origin = variable if name not in values and variable in os.environ else "--" + name.replace("_", "-")
            wrong.append(f"{origin} is {problem['input']!r}: {validation_sentence(problem)}")
        raise SetupError("; ".join(wrong)) from None
