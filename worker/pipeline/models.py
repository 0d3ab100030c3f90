"""Keep the model that a worker needs in memory."""

import gc
import time
from pathlib import Path

import structlog

from nightscribe.shared.errors import MachineError, ModelUnavailable, SetupError, WeightsError
from nightscribe.shared.model.engines import AUTO
from nightscribe.shared.model.jobs import Options, requests_of
from nightscribe.shared.process.liveness import LONG_S, report_alive
from nightscribe.worker.engines import registry as engines
from nightscribe.worker.engines.allowed import AllowedModels
from nightscribe.worker.pipeline.diarize.diarizer import Diarizer
from nightscribe.worker.pipeline.transcriber import Transcriber

log = structlog.get_logger()


class Models:
    """Holds one model in memory at a time, and replaces it only when a job requests another."""

    def __init__(
        self, models_dir: Path, *, threads: int, batch_size: int = 0, allowed: AllowedModels | None = None
    ) -> None:
        """`allowed`: the models that jobs may request; None: any."""
        self._models_dir = models_dir
        self._allowed = allowed
        self._threads = threads
        self._batch_size = batch_size
        self._loaded: tuple[str, str, str] | None = None
        """Engine, model and type of numbers."""
        self._own: tuple[str, str] | None = None
        """Engine and model that the worker loaded first, before it received a job."""
        self._transcriber: Transcriber | None = None
        self._diarizer: Diarizer | None = None

    def transcriber(self, options: Options) -> Transcriber:
        """Return a transcriber for the options of a job.

        Raises: ModelUnavailable: if the worker may not load the model, or if `load` raises SetupError, because no job
        may end a worker. MachineError: if the weights that were loaded first are gone.
        """
        if self._allowed:
            self._allowed.check(options)
        try:
            return self.load(options)
        except SetupError as error:
            is_own = self._own and options.engine in (AUTO, self._own[0]) and options.model == self._own[1]
            if is_own and isinstance(error, WeightsError):  # the weights existed when the worker started
                raise MachineError(str(error), code=error.code) from error
            raise ModelUnavailable(str(error)) from error

    def load(self, options: Options) -> Transcriber:
        """Return a transcriber for these options, with its model in memory.

        Raises: SetupError: if the engine or the weights are missing, or the engine does not support the options.
        """
        engine = engines.choose(options.engine, options.model, self._models_dir)
        self._check(engine, options)
        wanted = (engine, options.model, options.compute_type)
        if self._transcriber is None or self._loaded != wanted:
            began = time.monotonic()
            report_alive()
            weights = engines.find_weights(engine, options.model, self._models_dir, compute_type=options.compute_type)
            self._check(engine, options)  # more may be known about a model that was just downloaded
            self._transcriber = None  # frees the old model's memory before the new model needs it
            report_alive(LONG_S)
            try:
                recognizer = engines.load(
                    engine, options.model, weights.path, threads=self._threads, compute_type=options.compute_type
                )
            except (RuntimeError, ValueError, KeyError, EOFError, OSError) as error:
                raise WeightsError(
                    f"{engine} cannot load the weights in {str(weights.path)!r} ({error}). "
                    "Remove them, so that they are downloaded again, or choose other weights."
                ) from error
            self._transcriber = Transcriber(recognizer, batch_size=self._batch_size)
            self._loaded = wanted
            self._own = self._own or wanted[:2]
            report_alive()
            log.info("model.loaded", engine=engine, model=options.model, took_s=round(time.monotonic() - began, 1))
        return self._transcriber

    def _check(self, engine: str, options: Options) -> None:
        engines.check(
            engine,
            options.model,
            language=options.language,
            task=options.task,
            languages=options.languages,
            translate_to=options.translate_to,
            requests=requests_of(options),
            models_dir=self._models_dir,
        )

    def unload(self) -> None:
        """Free the memory of all models; the next job loads what it needs."""
        if self._transcriber is None and self._diarizer is None:
            return
        self._transcriber = self._loaded = self._diarizer = None
        gc.collect()  # engines hold their models in cycles
        log.info("model.unloaded")

    def diarizer(self) -> Diarizer:
        """Return the models that tell voices apart, which stay in memory beside the other.

        Raises: ModelUnavailable: if `load_diarizer` raises SetupError, because no job may end a worker.
        """
        try:
            return self.load_diarizer()
        except SetupError as error:
            raise ModelUnavailable(str(error)) from error

    def load_diarizer(self) -> Diarizer:
        """Return the models that tell voices apart. Raises: SetupError: if they or their extra are missing."""
        if self._diarizer is None:
            began = time.monotonic()
            report_alive(LONG_S)
            self._diarizer = Diarizer(self._models_dir, threads=self._threads)
            report_alive()
            log.info("model.loaded", model="speakers", took_s=round(time.monotonic() - began, 1))
        return self._diarizer
