"""Read how a recording is to be transcribed, from JSON or from a form, with the server's settings as defaults."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from nightscribe.server.jobs.model import JobRequest
from nightscribe.services.request import options as options_of
from nightscribe.shared.formats.registry import check_formats
from nightscribe.shared.model.jobs import FormatName, Layout, Options, SubtitleProfile
from nightscribe.shared.settings import Settings


def _listed(value: object) -> object:
    """Return a list for texts that are separated by commas."""
    if isinstance(value, str):
        return [each.strip() for each in value.split(",") if each.strip()]
    return value


Formats = Annotated[tuple[FormatName, ...], BeforeValidator(_listed)]


def _optional(name: str) -> tuple[Any, Any]:
    """Return an option of a job as a field that may be left out, with the same validation."""
    known = Options.model_fields[name]
    kind: Any = known.annotation
    before = [BeforeValidator(_listed)] if name.endswith("s") and "tuple" in str(known.annotation) else []
    annotated: Any = Annotated[(kind, *known.metadata, *before)] if known.metadata or before else kind
    return (annotated | None, Field(default=None, description=known.description))


class _Base(BaseModel):
    model_config = ConfigDict(extra="forbid")

    formats: Formats | None = Field(
        default=None, description="Text files to write into the destination; the server's if left out."
    )
    subtitles: SubtitleProfile | None = Field(default=None, description="Guidelines that subtitles follow.")
    line_chars: int | None = Field(default=None, ge=10, le=1000, description="Longest line of a subtitle.")
    lines: int | None = Field(default=None, ge=1, le=10, description="Most lines of a subtitle.")
    word_timestamps: bool | None = Field(default=None, description="Give the time of every word in the json format.")
    interactive: bool | None = Field(
        default=None,
        description="Whether somebody waits for the result; then it does not wait behind a backlog. If left out, "
        "short recordings are interactive.",
    )


_fields: Any = {name: _optional(name) for name in Options.model_fields if name != "engine"}
Wishes: Any = create_model(
    "Wishes",
    __base__=_Base,
    __doc__="How a recording is to be transcribed. What is left out follows the settings of the server.",
    **_fields,
)


def job_request(
    wishes: Any, settings: Settings, *, owner: str, folder: str, keep: bool = True, redo: bool = False
) -> JobRequest:
    """Return the request for a job.

    Raises: RequestValidationError: if the wishes contradict each other. ValueRefused: if a format is not known.
    """
    given = wishes.model_dump(exclude_none=True)
    defaults = options_of(settings, settings.engine).model_dump()
    if "language" in given and given["language"] != "auto":
        defaults["languages"] = ()
    if "speakers" in given:
        defaults |= {"min_speakers": 1, "max_speakers": 0}
    try:
        options = Options.model_validate(
            defaults | {name: given[name] for name in given if name in Options.model_fields}
        )
        layout = Layout(
            line_chars=given.get("line_chars", settings.line_chars),
            lines=given.get("lines", settings.lines),
            words=given.get("word_timestamps", settings.word_timestamps),
            subtitles=given.get("subtitles", settings.subtitles),
        )
        formats = check_formats(given.get("formats", settings.formats))
    except ValidationError as error:
        raise _refused(error) from None
    return JobRequest(
        options=options,
        formats=formats if keep else (),
        layout=layout,
        owner=owner,
        interactive=wishes.interactive,
        ephemeral=not keep,
        folder=folder,
        redo=redo,
    )


def wishes_of_form(fields: Mapping[str, Sequence[str]]) -> Any:
    """Return the wishes in a form, in which a list may be repeated or separated by commas.

    Raises: RequestValidationError: if one is not known or not valid.
    """
    lists = {name for name, known in Wishes.model_fields.items() if "tuple" in str(known.annotation)}
    values = {name: ",".join(texts) if name in lists else texts[-1] for name, texts in fields.items()}
    try:
        return Wishes.model_validate({name: value for name, value in values.items() if value != ""})
    except ValidationError as error:
        raise _refused(error) from None


def _refused(error: ValidationError) -> RequestValidationError:
    return RequestValidationError([problem | {"loc": ("body", *problem["loc"])} for problem in error.errors()])
