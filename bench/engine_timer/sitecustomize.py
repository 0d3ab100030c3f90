"""Measures the CPU time of a worker's engine from within; Python imports this first where it is on PYTHONPATH.

Set up by bench/overhead.py. Each worker writes a line of JSON to a file of its own in the folder
BENCH_ENGINE_TIMES: CPU seconds in the engine, the calls of each of its methods, and the CPU time of loading it.
The only thing it knows of nightscribe is `nightscribe.worker.engines.registry.load`, which returns the engine.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path


class TimedEngine:
    """Passes everything on to an engine, and counts the CPU time of this process while a method of it is at work.

    Of the process, because an engine computes in threads of its own. A method that returns an iterator is at work
    whenever the iterator is asked for the next item. Calls within calls, or at the same time, are counted once.
    """

    def __init__(self, engine, loading_s, path):
        self._engine, self._loading_s, self._path = engine, loading_s, path
        self._lock, self._depth, self._began = threading.Lock(), 0, 0.0
        self._cpu_s, self._calls = 0.0, {}
        self._write()

    def __getattr__(self, name):
        value = getattr(self._engine, name)
        if name.startswith("_") or not callable(value):
            return value

        def timed(*arguments, **options):
            result = self._at_work(name, value, *arguments, **options)
            return self._each(name, result) if hasattr(result, "__next__") else result

        return timed

    def _each(self, name, iterator):
        nothing = object()
        while (item := self._at_work(name, next, iterator, nothing)) is not nothing:
            yield item

    def _at_work(self, name, function, *arguments, **options):
        with self._lock:
            if self._depth == 0:
                self._began = time.process_time()
            self._depth += 1
        try:
            return function(*arguments, **options)
        finally:
            with self._lock:
                self._depth -= 1
                self._calls[name] = self._calls.get(name, 0) + 1
                if self._depth == 0:
                    self._cpu_s += time.process_time() - self._began
                    self._write()  # now, because a worker may be ended without ceremony

    def _write(self):
        self._path.write_text(json.dumps({"engine_s": self._cpu_s, "loading_s": self._loading_s, "calls": self._calls}))


def _measure(folder):
    from nightscribe.worker.engines import registry as engines

    load = engines.load
    numbers = iter(range(1_000))

    def timed_load(*arguments, **options):
        began = time.process_time()
        engine = load(*arguments, **options)
        path = Path(folder) / f"{os.getpid()}-{next(numbers)}.json"
        return TimedEngine(engine, time.process_time() - began, path)

    engines.load = timed_load


if "worker" in sys.orig_argv and os.environ.get("BENCH_ENGINE_TIMES"):
    _measure(os.environ["BENCH_ENGINE_TIMES"])
