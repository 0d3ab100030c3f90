"""Check the options, the engine and the model before any work starts."""

from nightscribe.shared.audio.probe import ffmpeg_path
from nightscribe.shared.settings import Settings
from nightscribe.worker.engines import registry as engines


def check_options(settings: Settings) -> None:
    """Raise SetupError if the engine, model, language and task cannot be combined."""
    engines.check(settings.engine, settings.model, language=settings.language, task=settings.task)


def check_engine(settings: Settings) -> str:
    """Return the engine that will be used.

    Raises: SetupError: if the engine or ffmpeg is missing, or the engine cannot do what the settings request.
    """
    engine = engines.choose(settings.engine)
    engines.check(engine, settings.model, language=settings.language, task=settings.task)
    ffmpeg_path()
    return engine
