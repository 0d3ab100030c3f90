"""Read the tensors of a file in the format safetensors.

Source: https://github.com/huggingface/safetensors, README, "Format".
"""

import json
from pathlib import Path

import numpy as np

from nightscribe.shared.errors import WeightsError
from nightscribe.worker.weights.torch_file import Tensors

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1", "I8": "i1", "BOOL": "?"}
LARGEST_HEADER = 100_000_000


def read_safetensors(path: Path) -> Tensors:
    """Return the tensors of a file by name, as views of the file. Numbers in bfloat16 become float32.

    Raises: WeightsError: if the file is damaged, or has tensors of an unknown type.
    """
    try:
        with path.open("rb") as file:
            n = int.from_bytes(file.read(8), "little")
            if n > LARGEST_HEADER:
                raise ValueError("its header is too long")  # noqa: TRY301  handled as any damage
            header = json.loads(file.read(n))
        data = np.memmap(path, np.uint8, "r", offset=8 + n)
        found: Tensors = {}
        for name, about in header.items():
            if name == "__metadata__":
                continue
            first, end = about["data_offsets"]
            if not 0 <= first <= end <= len(data):
                raise ValueError(f"{name} lies outside the file")  # noqa: TRY301  handled as any damage
            raw = data[first:end]
            if about["dtype"] == "BF16":
                wide = raw.view("<u2").astype(np.uint32) << 16
                found[name] = wide.view(np.float32).reshape(about["shape"])
            else:
                found[name] = raw.view(_DTYPES[about["dtype"]]).reshape(about["shape"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path} is not a file of safetensors, or is damaged ({error}).") from error
    return found
