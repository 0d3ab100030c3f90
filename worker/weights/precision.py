"""Choose between the int8 and the float32 form of a model for this machine."""

import platform
from functools import lru_cache
from pathlib import Path

from nightscribe.worker.weights.kinds import Precision

CPUINFO = Path("/proc/cpuinfo")
# Instructions that multiply 8-bit numbers into 32-bit sums. Without them, ONNX Runtime gains little time by int8, and
# on x86 its sums overflow at 16 bits, which costs accuracy.
_X86 = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
_ARM = frozenset({"asimddp", "i8mm"})


def precision(compute_type: str = "auto") -> Precision:
    """Return the precision that was asked for, or else the one that this machine runs best."""
    if compute_type in ("int8", "float32"):
        return "int8" if compute_type == "int8" else "float32"
    return "int8" if _multiplies_int8() and not _has_gpu() else "float32"


@lru_cache(maxsize=1)
def _multiplies_int8() -> bool:
    if platform.system() == "Darwin":
        return platform.machine() == "arm64"
    try:
        lines = CPUINFO.read_text(errors="replace").splitlines()
    except OSError:
        return False
    flags = {
        flag for line in lines if line.startswith(("flags", "Features")) for flag in line.partition(":")[2].split()
    }
    return bool(flags & (_X86 | _ARM))


@lru_cache(maxsize=1)
def _has_gpu() -> bool:
    import onnxruntime

    return any(provider.startswith(("CUDA", "Tensorrt")) for provider in onnxruntime.get_available_providers())
