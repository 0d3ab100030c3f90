"""Run ONNX models on the processor."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nightscribe.shared.errors import ExtraMissing

MODULES = ("onnxruntime", "onnx")
"""What the extra `speakers` installs: one runs the models, the other converts them once."""


def check_installed() -> None:
    """Raise ExtraMissing if the extra `speakers` is not installed."""
    if missing := [module for module in MODULES if find_spec(module) is None]:
        raise ExtraMissing(f"Telling speakers apart needs {' and '.join(missing)}.", "speakers")


def session(model: Path, threads: int) -> Any:
    """Load a model into ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
