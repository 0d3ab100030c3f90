"""Graphs of Whisper against OpenAI's own model, with small random weights in the shapes of all sizes."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from whisper.model import ModelDimensions, Whisper

from nightscribe.worker.engines.whisper.onnx_decoder import Model, Task, decode
from nightscribe.worker.engines.whisper.search import Beams, Independent
from nightscribe.worker.weights.onnx_graphs import write_decoder, write_encoder, write_memory

CANDIDATES, BANNED, END = 6, (2, 5), 0
TOLERANCE = 0.12  # int8 weights and activations; a wrong graph is off by more than 1

SHAPES = {
    "tiny.en": ModelDimensions(80, 1500, 64, 1, 1, 51864, 448, 64, 1, 2),
    "large-v3": ModelDimensions(128, 1500, 128, 2, 1, 51866, 448, 128, 2, 2),
    "turbo": ModelDimensions(128, 1500, 64, 1, 3, 51866, 448, 64, 1, 1),
}


class Small:
    """A model, and its graphs in ONNX Runtime."""

    def __init__(self, dims: ModelDimensions, folder: Path) -> None:
        torch.manual_seed(1)
        self.dims = dims
        self.whisper = Whisper(dims).eval()
        for parameter in self.whisper.parameters():
            if parameter.ndim == 1:
                torch.nn.init.normal_(parameter, 1.0 if parameter.mean() > 0.5 else 0.0, 0.2)
        torch.nn.init.normal_(self.whisper.decoder.positional_embedding, 0, 0.5)
        torch.nn.init.normal_(self.whisper.decoder.token_embedding.weight, 0, 0.3)
        state = {name: array.numpy() for name, array in self.whisper.state_dict().items()}
        numbers = dims.__dict__
        write_encoder(folder / "encoder.onnx", numbers, state)
        write_memory(folder / "memory.onnx", numbers, state)
        self.heads = [(dims.n_text_layer - 1, dims.n_text_head - 1)]
        write_decoder(
            folder / "decoder.onnx",
            numbers,
            state,
            alignment_heads=self.heads,
            banned=BANNED,
            watched=[3, 4],
            candidates=CANDIDATES,
        )
        self.encoder, memory, decoder = (
            onnxruntime.InferenceSession(str(folder / f"{name}.onnx")) for name in ("encoder", "memory", "decoder")
        )
        self.model = Model(memory, decoder)
        self.silence = np.random.default_rng(2).normal(0, 1, (1, 128, dims.n_audio_state)).astype(np.float32)
        layers, heads = dims.n_text_layer, dims.n_text_head
        keys, values = np.empty((layers, heads, 64, 128), np.float32), np.empty((layers, heads, 128, 64), np.float32)
        self.model.remember(self.silence, list(keys), list(values))
        self.model.silent = keys, values

    def expected(self, states: np.ndarray, n_filled: int, tokens: list[int]) -> np.ndarray:
        """Log probabilities after each token by OpenAI's decoder."""
        filled = np.concatenate([states, self.silence[:, states.shape[1] : n_filled]], axis=1)
        with torch.no_grad():
            logits = self.whisper.decoder(torch.tensor([tokens]), torch.tensor(filled))[0]
        logits[:, list(BANNED)] = -torch.inf
        return logits.log_softmax(dim=-1).numpy()


@pytest.fixture(scope="module", params=SHAPES)
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Small:
    """Each shape in turn."""
    return Small(SHAPES[request.param], tmp_path_factory.mktemp("graphs"))


def windows(small: Small) -> list[np.ndarray]:
    """Encoded windows of several lengths, some longer than the silence."""
    random = np.random.default_rng(3)
    return [random.normal(0, 1, (1, n, small.dims.n_audio_state)).astype(np.float32) for n in (40, 90, 100, 160)]


def texts_of(small: Small, chosen: list[int], n_texts: int, *, places: int) -> list[Task]:
    """Decode windows together."""
    tasks = []
    for n in chosen:
        states = windows(small)[n]
        search = Independent(1, END, 6 + n) if n_texts == 1 else Beams(n_texts, END, 6)
        tasks.append(Task(states, max(110, states.shape[1]), [7, 8, 9 + n], 1, search))
    decode(small.model, tasks, n_places=places, n_texts=n_texts, room=16)
    return tasks


def test_the_encoder_is_that_of_whisper(small: Small) -> None:
    """For a whole window, whose length OpenAI's accepts."""
    mel = np.random.default_rng(4).normal(0, 0.5, (1, small.dims.n_mels, 3000)).astype(np.float32)
    [states] = small.encoder.run(None, {"mel": mel})
    with torch.no_grad():
        expected = small.whisper.encoder(torch.tensor(mel)).numpy()
    assert np.abs(states - expected).mean() < 0.05 * expected.std()
    [short] = small.encoder.run(None, {"mel": mel[..., :300]})
    assert short.shape == (1, 150, small.dims.n_audio_state)


@pytest.mark.parametrize("n_texts", [1, 3])
def test_the_decoder_is_that_of_whisper(small: Small, n_texts: int) -> None:
    """Its probabilities, step by step, for windows that take each other's places; and the attention beside them."""
    for n, task in enumerate(texts_of(small, [0, 1, 2, 3], n_texts, places=2 * n_texts)):
        assert task.search is not None
        best = task.search.best()
        tokens = [*task.prompt, *best.tokens]
        expected = small.expected(task.states, task.n_filled, tokens)
        steps = expected[len(task.prompt) - 1 :]
        total = sum(float(steps[at][token]) for at, token in enumerate(best.tokens))
        if len(best.tokens) < (6 + n if n_texts == 1 else 6):
            total += float(steps[len(best.tokens)][END])
        assert best.total / (len(best.tokens) + 1) == pytest.approx(total / (len(best.tokens) + 1), abs=TOLERANCE)
        assert not set(BANNED) & set(best.tokens)
        for step in task.attention:
            assert step.shape == (len(small.heads), n_texts, task.states.shape[1])
            assert (step >= 0).all()
            assert (step.sum(axis=2) <= 1.001).all()


def test_a_window_longer_than_the_silence_hears_none(small: Small) -> None:
    [task] = texts_of(small, [3], 1, places=2)
    assert task.attention[0].sum() == pytest.approx(1, abs=1e-3)


def test_neighbours_change_nothing(small: Small) -> None:
    """Alone, in pairs, in another order and with other places: the same tokens with the same probabilities."""

    def found(chosen: list[int], n_texts: int, places: int) -> dict[int, tuple[tuple[int, ...], float]]:
        tasks = texts_of(small, chosen, n_texts, places=places)
        bests = [task.search.best() for task in tasks if task.search]
        return {n: (best.tokens, round(best.total, 3)) for n, best in zip(chosen, bests, strict=True)}

    for n_texts in (1, 3):
        together = found([0, 1, 2, 3], n_texts, 4 * n_texts)
        assert found([3, 1, 0, 2], n_texts, 2 * n_texts) == together
        assert found([2, 0], n_texts, 2 * n_texts) | found([3, 1], n_texts, 2 * n_texts) == together
        for n in range(4):
            assert found([n], n_texts, 4 * n_texts)[n] == together[n]
