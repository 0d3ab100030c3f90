"""Run the decoder's graph for many windows at once, with memory that is allocated once and never copied.

A window takes a place in the batch as soon as another one is finished, so that no step is spent on finished texts. All
inputs are numpy arrays to which the graph's inputs are bound; places in use come first.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightscribe.worker.engines.whisper.search import Candidates, Search
from nightscribe.worker.weights.checkpoint import HEAD_STATES

Floats = NDArray[np.float32]

FAR = -1e9  # added to the score of a position that a window does not have
ROUND = 64  # the number of positions of a batch is a multiple of this, so that sums are formed alike in every batch
LEAST_TEXTS = 2  # a single row would be multiplied by other code, with other rounding


@dataclass
class Task:
    """A text to decode about one window."""

    states: Floats
    """Output of the encoder, shape (1, n_positions, n_states)."""
    n_filled: int
    """Number of positions to attend to, at least those of the window; silence follows the sound."""
    prompt: Sequence[int]
    start_at: int
    """Position in the prompt of the token after which `watched` is taken."""
    search: Search | None
    """None: only `watched` is wanted."""
    banned_first: Sequence[int] = ()
    """Tokens that the text does not begin with."""
    noise: Callable[[], Floats] | None = None
    """Returns what is added to the logits of a step to sample from them, shape (n_texts, n_vocab)."""
    watched: Floats | None = None
    """Log probabilities of the tokens that the graph watches."""
    attention: list[Floats] = field(default_factory=list)
    """For each step, the attention of the alignment heads to the sound, shape (n_heads, n_texts, n_positions)."""


@dataclass
class _Place:
    """The window in a place of the batch."""

    task: Task
    at: int = 0
    """Number of tokens decoded."""


class Pool:
    """Memory that is kept from one batch to the next, because the kernel clears fresh memory page by page."""

    def __init__(self) -> None:
        self._kept: dict[str, NDArray[Any]] = {}

    def array(self, name: str, shape: Sequence[int], kind: type = np.float32) -> NDArray[Any]:
        """Return an array with any content, which is valid until the next request with this name."""
        size = math.prod(shape)
        if name not in self._kept or self._kept[name].size < size:
            self._kept.pop(name, None)  # first free the old one
            self._kept[name] = np.empty(size, kind)
        return self._kept[name][:size].reshape(shape)


class Model:
    """The graphs of the decoder with the memory that they use."""

    def __init__(self, memory: Any, decoder: Any) -> None:
        self.memory, self.decoder = memory, decoder
        self.pool = Pool()
        self.silent: tuple[Floats, Floats] = (np.zeros(0, np.float32), np.zeros(0, np.float32))
        """Keys and values of silence: shapes (n_layers, n_heads, 64, n_silent), (n_layers, n_heads, n_silent, 64)."""

    def remember(self, states: Floats, keys: Sequence[Floats], values: Sequence[Floats]) -> None:
        """Write the keys and values of the output of the encoder for each layer.

        The shapes are those of `silent` without the layers; there may be more positions than in `states`.
        """
        padded = self.pool.array("states", (1, keys[0].shape[2], states.shape[2]))
        padded[:, : states.shape[1]] = states
        padded[:, states.shape[1] :] = 0
        binding = self.memory.io_binding()
        binding.bind_ortvalue_input("states", shared(padded))
        for n, (k, v) in enumerate(zip(keys, values, strict=True)):
            binding.bind_ortvalue_output(f"keys_{n}", shared(k))
            binding.bind_ortvalue_output(f"values_{n}", shared(v))
        self.memory.run_with_iobinding(binding)


def shared(array: NDArray[Any]) -> Any:
    """Return an array as a value of ONNX Runtime that shares its memory."""
    import onnxruntime

    return onnxruntime.OrtValue.ortvalue_from_numpy(array)


class Buffers:
    """The inputs and outputs of the decoder's graph for a number of windows and texts about each."""

    def __init__(self, model: Model, *, n_windows: int, n_texts: int, shortest: int, longest: int, room: int) -> None:
        self._model, self._session = model, model.decoder
        self.n_texts = n_texts
        shapes = {each.name: each.shape for each in self._session.get_outputs()}
        keys, values = model.silent
        layers, heads, _, n_silent = keys.shape
        # Silence is needed only after the end of the shortest window; the graph takes at least some.
        self._skipped = min(shortest, n_silent - 1) // ROUND * ROUND
        self.n_silent = n_silent - self._skipped
        self._silent = [
            (np.ascontiguousarray(k[..., self._skipped :]), v[:, self._skipped :].copy())
            for k, v in zip(keys, values, strict=True)
        ]
        self.n_sound = n_sound = -(-longest // ROUND) * ROUND
        rows = n_windows * n_texts
        array = model.pool.array
        past = (rows, heads, room, HEAD_STATES)
        self.keys = [array(f"keys {n}", (n_windows, heads, HEAD_STATES, n_sound)) for n in range(layers)]
        self.values = [array(f"values {n}", (n_windows, heads, n_sound, HEAD_STATES)) for n in range(layers)]
        self.past = [array(f"past {n}", past) for n in range(2 * layers)]
        self.attention = array("attention", (n_windows, shapes["attention"][1], n_texts, n_sound))
        self.mask = np.full((n_windows, 1, 1, self.n_silent + n_sound), FAR, np.float32)
        self.tokens = np.zeros((rows, 1), np.int64)
        self.places = np.zeros((rows, 1), np.int64)
        self.before = np.zeros(rows, np.int32)
        self.total = np.array(1, np.int32)
        self.sharpness = np.array(1, np.float32)
        self._no_noise = np.zeros((1, 1), np.float32)
        self.likeliest = np.zeros((rows, shapes["likeliest"][1]), np.int64)
        self.log_probabilities = np.zeros((rows, shapes["log_probabilities"][1]), np.float32)
        self.watched = np.zeros((rows, shapes["watched"][1]), np.float32)
        self._binding = self._session.io_binding()
        self._bound = 0

    def run(self, n: int, noise: Floats | None) -> None:
        """Make one step for the first `n` windows."""
        if n != self._bound:
            self._bind(n)
        self._binding.bind_ortvalue_input("noise", shared(self._no_noise if noise is None else noise))
        self._session.run_with_iobinding(self._binding)

    def _bind(self, n: int) -> None:
        rows = n * self.n_texts
        io = self._binding
        inputs: dict[str, NDArray[Any]] = {
            "tokens": self.tokens[:rows],
            "places": self.places[:rows],
            "before": self.before[:rows],
            "total": self.total,
            "mask": self.mask[:n],
            "sharpness": self.sharpness,
        }
        outputs = {
            "likeliest": self.likeliest[:rows],
            "log_probabilities": self.log_probabilities[:rows],
            "watched": self.watched[:rows],
            "attention": self.attention[:n],
        }
        for layer, (keys, values) in enumerate(zip(self.keys, self.values, strict=True)):
            inputs[f"silent_k_{layer}"], inputs[f"silent_v_{layer}"] = self._silent[layer]
            inputs[f"sound_k_{layer}"], inputs[f"sound_v_{layer}"] = keys[:n], values[:n]
            for kind, past in zip("kv", self.past[2 * layer : 2 * layer + 2], strict=True):
                value = shared(past[:rows])
                io.bind_ortvalue_input(f"past_{kind}_{layer}", value)
                io.bind_ortvalue_output(f"present_{kind}_{layer}", value)
        for name, array in inputs.items():
            io.bind_ortvalue_input(name, shared(array))
        for name, array in outputs.items():
            io.bind_ortvalue_output(name, shared(array))
        self._bound = n

    def put(self, n: int, states: Floats, n_filled: int) -> None:
        """Put a window in place `n`: the output of the encoder, and to how many positions to attend."""
        size = states.shape[1]
        self._model.remember(states, [keys[n] for keys in self.keys], [values[n] for values in self.values])
        self.mask[n] = FAR
        # The silence takes the positions after the sound.
        self.mask[n, ..., size - self._skipped : max(0, n_filled - self._skipped)] = 0
        self.mask[n, ..., self.n_silent : self.n_silent + size] = 0

    def move(self, source: int, target: int) -> None:
        """Move a window to another place."""
        for array in (*self.keys, *self.values, self.mask):
            array[target] = array[source]
        for array in (*self.past, self.tokens, self.places, self.before):
            per_window = array.reshape(-1, self.n_texts, *array.shape[1:])
            per_window[target] = per_window[source]

    def reorder(self, n: int, parents: Sequence[int], length: int) -> None:
        """Let each text of a window continue another one of its texts."""
        moves = [(text, parent) for text, parent in enumerate(parents) if text != parent]
        base = n * self.n_texts
        for past in self.past:
            for text, parent in moves:
                past[base + text, :, :length] = past[base + parent, :, :length]


def decode(
    model: Model, tasks: Sequence[Task], *, n_places: int, n_texts: int, room: int, sharpness: float = 1.0
) -> None:
    """Decode `n_texts` texts about each window; the results are in the searches of the tasks.

    `n_places`: the most texts at a time. `room`: the most tokens of a text with its prompt.
    """
    waiting = deque(sorted(tasks, key=lambda task: -task.states.shape[1]))
    least = -(-LEAST_TEXTS // n_texts)
    n_windows = max(least, min(len(tasks), n_places // n_texts))
    buffers = Buffers(
        model,
        n_windows=n_windows,
        n_texts=n_texts,
        shortest=waiting[-1].states.shape[1],
        longest=waiting[0].states.shape[1],
        room=room,
    )
    buffers.sharpness[...] = sharpness
    if len(tasks) < least:  # a place that nobody takes must not hold numbers that overflow
        for each in (*buffers.keys, *buffers.values, *buffers.past):
            each[...] = 0
    active: list[_Place] = []

    def fill(n: int, task: Task) -> _Place:
        buffers.put(n, task.states, task.n_filled)
        return _Place(task)

    while waiting or active:
        while waiting and len(active) < n_windows:
            active.append(fill(len(active), waiting.popleft()))
        noise = None
        for n, place in enumerate(active):
            rows = slice(n * n_texts, (n + 1) * n_texts)
            if place.at < len(place.task.prompt):
                buffers.tokens[rows] = place.task.prompt[place.at]
            buffers.places[rows] = place.at
            buffers.before[rows] = place.at
        buffers.total[...] = 1 + max(place.at for place in active)
        n_run = max(len(active), least)
        if any(place.task.noise for place in active):
            made = [place.task.noise() for place in active if place.task.noise]
            blank = np.zeros_like(made[0])
            noise = np.concatenate([*made, *[blank] * (n_run - len(made))])
        buffers.run(n_run, noise)
        finished = [n for n, place in enumerate(active) if _advance(place, n, buffers)]
        for n in reversed(finished):
            if waiting:
                active[n] = fill(n, waiting.popleft())
                continue
            last = active.pop()
            if n < len(active):
                buffers.move(len(active), n)
                active[n] = last


def _advance(place: _Place, n: int, buffers: Buffers) -> bool:
    """Take in the result of a step for the window in place `n`, and return whether it is finished."""
    task, n_texts = place.task, buffers.n_texts
    rows = slice(n * n_texts, (n + 1) * n_texts)
    if task.search is not None:
        task.attention.append(buffers.attention[n, :, :, : task.states.shape[1]].copy())
    if place.at == task.start_at:
        task.watched = buffers.watched[rows.start].copy()
    place.at += 1
    if task.search is None:
        return place.at > task.start_at
    if place.at < len(task.prompt):
        return False
    candidates = Candidates(buffers.likeliest[rows], buffers.log_probabilities[rows])
    if place.at == len(task.prompt):
        candidates = candidates.without(task.banned_first)
    going_on = task.search.advance(candidates)
    if going_on is None:
        return True
    tokens, parents = going_on
    buffers.tokens[rows, 0] = tokens
    if n_texts > 1:
        buffers.reorder(n, parents, place.at)
    return False
