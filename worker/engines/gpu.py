"""Find out whether engines have a GPU on this machine."""

from importlib.util import find_spec


def has_gpu() -> bool:
    """Return whether an installed runtime finds an NVIDIA GPU. It imports the runtime, which can take seconds."""
    if find_spec("ctranslate2"):
        import ctranslate2

        return bool(ctranslate2.get_cuda_device_count() > 0)
    if find_spec("torch"):
        import torch

        return bool(torch.cuda.is_available())
    return False
