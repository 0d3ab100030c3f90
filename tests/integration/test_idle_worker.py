"""A worker that has nothing to do frees the memory of its model, and loads it again for the next job."""

from pathlib import Path

from support.workplace import OPTIONS, Counted, Workplace

from nightscribe.worker.pipeline.models import Models


def test_a_worker_says_for_how_long_it_has_been_idle(workplace: Workplace, engine: Counted) -> None:
    idle_s: list[float] = []
    worker = workplace.worker(engine)
    worker.on_idle = idle_s.append
    worker.run(until_empty=True)
    assert idle_s == sorted(idle_s)
    assert len(idle_s) >= 2
    assert all(seconds >= 0 for seconds in idle_s)


def test_a_model_is_unloaded_and_loaded_again(models_dir: Path, engine: Counted) -> None:  # the engine: its weights
    models = Models(models_dir, threads=1)
    models.unload()
    first = models.transcriber(OPTIONS)
    assert models.transcriber(OPTIONS) is first
    models.unload()
    assert models.transcriber(OPTIONS) is not first
