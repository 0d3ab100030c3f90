"""Check the options, the engine and the model before any work starts."""

from importlib.util import find_spec

from nightscribe.shared.audio.probe import ffmpeg_path
from nightscribe.shared.errors import ExtraMissing
from nightscribe.shared.model.jobs import ENGLISH, requests_of
from nightscribe.shared.model.speaker_options import needs_models
from nightscribe.shared.settings import Settings
from nightscribe.worker.engines import registry as engines

SPEAKER_MODULES = ("onnxruntime", "onnx")
"""What the extra `speakers` installs."""


def check_options(settings: Settings) -> None:
    """Raise SetupError if the engine, model, language and task cannot be combined."""
    _check(settings.engine, settings)


def check_speakers(settings: Settings) -> None:
    """Raise ExtraMissing if speakers are to be told apart by their voices, and this machine lacks what that needs."""
    if needs_models(settings) and any(find_spec(module) is None for module in SPEAKER_MODULES):
        raise ExtraMissing(
            f"--speakers {settings.speakers} needs a package that is not installed (--speakers channels does not).",
            "speakers",
        )


def check_engine(settings: Settings) -> str:
    """Return the engine that will be used.

    Raises: SetupError: if the engine or ffmpeg is missing, or the engine cannot do what the settings request.
    """
    engine = engines.choose(settings.engine, settings.model, settings.models_dir)
    _check(engine, settings)
    ffmpeg_path()
    return engine


def _check(engine: str, settings: Settings) -> None:
    engines.check(
        engine,
        settings.model,
        language=settings.language,
        task="translate" if settings.translate_to else settings.task,
        languages=settings.languages,
        translate_to=settings.translate_to or ENGLISH,
        requests=requests_of(settings),
        models_dir=settings.models_dir,
    )
