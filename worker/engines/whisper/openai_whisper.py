"""Run OpenAI's own Whisper on torch, with float32 on a CPU and float16 on a GPU.

Short windows are encoded unpadded; silence is appended after encoding, as in `faster_whisper.py`.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import whisper
from torch import Tensor
from torch.nn import functional
from whisper.decoding import DecodingOptions, DecodingTask
from whisper.model import disable_sdpa
from whisper.timing import median_filter
from whisper.tokenizer import Tokenizer, get_tokenizer

from nightscribe.shared.audio.waveform import RATE, Waveform
from nightscribe.shared.errors import SetupError
from nightscribe.shared.model.transcript import Word
from nightscribe.worker.engines.whisper.alignment import aligned, path_through
from nightscribe.worker.engines.whisper.recognizer import WhisperRecognizer
from nightscribe.worker.engines.whisper.runtime import (
    BEST_OF,
    FRAMES,
    HOP,
    SILENCE,
    WINDOW_S,
    Decoded,
    Encoded,
    batch_size,
    by_language,
    kept_values,
    most_tokens,
    n_frames,
    n_positions,
    stacked,
)

LARGEST_GPU_BATCH = 128
GPU_SHARE = 4  # a batch takes at most this part of the free memory of the GPU: other workers may use the same one
MEDIAN_FRAMES = 7  # positions over which attention is smoothed. Source: whisper/timing.py


class OpenAIWhisper:
    """A `Runtime` on torch."""

    name = f"openai-whisper {version('openai-whisper')}"

    def __init__(self, weights: Path, *, threads: int, compute_type: str = "auto") -> None:
        torch.set_num_threads(threads)
        self._on_gpu = torch.cuda.is_available()
        if compute_type == "float16" and not self._on_gpu:
            raise SetupError("openai-whisper computes in float16 only on a GPU; choose --compute-type float32 or auto.")
        self._model = whisper.load_model(str(weights), device="cuda" if self._on_gpu else "cpu")
        self._dtype = torch.float16 if self._on_gpu and compute_type != "float32" else torch.float32
        if self._dtype == torch.float16:
            _prepare_for_gpu(self._model)
        # The library selects the alignment heads by a model's name, but this model was loaded from a file.
        if heads := _alignment_heads(weights.stem):
            self._model.set_alignment_heads(heads)

    @cached_property
    def _tail(self) -> Tensor:
        return self._states(torch.full((self._model.dims.n_mels, FRAMES), SILENCE))

    @property
    def batch_size(self) -> int:
        """See `Runtime.batch_size`. On a GPU, a step for many windows takes hardly longer than for one."""
        return self._batch_size

    @cached_property
    def _batch_size(self) -> int:
        width, layers = self._model.dims.n_text_state, self._model.dims.n_text_layer
        if not self._on_gpu:
            return batch_size(width, layers)
        free_bytes, _ = torch.cuda.mem_get_info()
        window_bytes = kept_values(width, layers) * self._dtype.itemsize
        return int(max(1, min(LARGEST_GPU_BATCH, free_bytes // GPU_SHARE // window_bytes)))

    def encode(self, waveform: Waveform, *, full: bool = False) -> Encoded:
        """See `Runtime.encode`."""
        waveform = waveform[: round(WINDOW_S * RATE)]
        seconds = len(waveform) / RATE
        mel = whisper.log_mel_spectrogram(np.pad(waveform, (0, HOP)), self._model.dims.n_mels)
        mel = mel[:, : max(1, len(waveform) // HOP)]
        n = n_frames(seconds, full=full)
        return Encoded(self._states(functional.pad(mel, (0, n - mel.shape[1]), value=float(mel.min()))), seconds, full)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _states(self, mel: Tensor) -> Tensor:
        """Run the encoder on a mel spectrogram of any length; the library's own method requires a whole window."""
        encoder = self._model.encoder
        states = mel[None].to(self._model.device, self._dtype)
        states = functional.gelu(encoder.conv2(functional.gelu(encoder.conv1(states)))).permute(0, 2, 1)
        states = (states + encoder.positional_embedding[: states.shape[1]]).to(self._dtype)
        for block in encoder.blocks:
            states = block(states)
        return encoder.ln_post(states)

    def _filled(self, windows: Sequence[Encoded]) -> Tensor:
        """Return the windows, each followed by silence, shape (n_windows, n_positions, n_states)."""
        return stacked(windows, self._tail, n_positions(w.states.shape[1] for w in windows), torch.cat)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def detect_language(self, windows: Sequence[Encoded]) -> list[dict[str, float]]:
        """See `Runtime.detect_language`."""
        if not self._model.is_multilingual:
            return [{"en": 1.0}] * len(windows)
        tokenizer = self._tokenizer("en", "transcribe")
        start = torch.full((len(windows), 1), tokenizer.sot, device=self._model.device)
        logits = self._model.decoder(start, self._filled(windows))[:, 0, list(tokenizer.all_language_tokens)]
        probabilities = logits.float().softmax(dim=-1).tolist()
        return [dict(zip(tokenizer.all_language_codes, each, strict=True)) for each in probabilities]

    def decode(
        self,
        windows: Sequence[Encoded],
        languages: Sequence[str],
        *,
        task: str,
        temperature: float = 0.0,
        beams: int = 1,
        before: Sequence[str] = (),
    ) -> list[Decoded]:
        """See `Runtime.decode`."""
        found: dict[int, Decoded] = {}
        before = before or [""] * len(windows)
        for language, text, chosen in _alike(languages, before):
            options = DecodingOptions(
                task=task,
                language=language,
                temperature=temperature,
                best_of=BEST_OF if temperature else None,
                beam_size=beams if beams > 1 and not temperature else None,
                prompt=text or None,
                sample_len=most_tokens(windows),
                without_timestamps=True,
                fp16=self._dtype == torch.float16,
            )
            n_texts = BEST_OF if temperature else beams
            size = max(1, self.batch_size // n_texts) if n_texts > 1 else len(chosen)
            groups = [chosen[at : at + size] for at in range(0, len(chosen), size)]
            results = [
                result
                for group in groups
                for result in _Task(self._model, options).run(self._filled([windows[n] for n in group]))
            ]
            for n, result in zip(chosen, results, strict=True):
                found[n] = Decoded(
                    tuple(result.tokens), result.text, float(result.avg_logprob), float(result.no_speech_prob)
                )
        return [found[n] for n in range(len(windows))]

    def align(
        self, windows: Sequence[Encoded], decoded: Sequence[Decoded], languages: Sequence[str], *, task: str
    ) -> list[list[Word]]:
        """See `Runtime.align`."""
        return aligned(
            windows,
            decoded,
            languages,
            tokenizer=lambda language: self._tokenizer(language, task),
            paths=self._paths,
        )

    def _paths(
        self, windows: Sequence[Encoded], decoded: Sequence[Decoded], tokenizer: Tokenizer
    ) -> Iterator[list[tuple[int, int]]]:
        texts = [each.tokens for each in decoded]
        attention = self._attention(windows, tokenizer, texts)
        for window, weights, tokens in zip(windows, attention, texts, strict=True):
            seen = weights[:, : len(tokenizer.sot_sequence) + 1 + len(tokens) + 1]
            yield path_through(_match(seen, round(50 * window.seconds), len(tokenizer.sot_sequence)))

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _attention(self, windows: Sequence[Encoded], tokenizer: Tokenizer, texts: Sequence[Sequence[int]]) -> Tensor:
        """Return the attention of the alignment heads, shape (n_windows, n_heads, n_tokens, n_positions)."""
        # Align words with the sound alone, without the silence after it.
        size = max(w.states.shape[1] for w in windows)
        sound = stacked(windows, torch.zeros_like(self._tail), size, torch.cat)
        longest = max(len(text) for text in texts)
        tokens = torch.tensor(
            [
                [*tokenizer.sot_sequence, tokenizer.no_timestamps, *text, *[tokenizer.eot] * (longest + 1 - len(text))]
                for text in texts
            ],
            device=self._model.device,
        )
        layers: dict[int, Tensor] = {}
        hooks = [
            block.cross_attn.register_forward_hook(lambda _m, _i, out, n=n: layers.__setitem__(n, out[-1]))
            for n, block in enumerate(self._model.decoder.blocks)
        ]
        try:
            with disable_sdpa():
                self._model.decoder(tokens, sound)
        finally:
            for hook in hooks:
                hook.remove()
        heads = self._model.alignment_heads.indices().T.tolist()
        return torch.stack([layers[layer][:, head] for layer, head in heads], dim=1).float()

    def _tokenizer(self, language: str, task: str) -> Tokenizer:
        return get_tokenizer(
            self._model.is_multilingual, num_languages=self._model.num_languages, language=language, task=task
        )


def _alike(languages: Sequence[str], before: Sequence[str]) -> Iterator[tuple[str, str, list[int]]]:
    """Yield each language and text before with the indexes of its windows, which the library decodes together."""
    for language, chosen in by_language(languages):
        for text in dict.fromkeys(before[n] for n in chosen):
            yield language, text, [n for n in chosen if before[n] == text]


class _Task(DecodingTask):  # type: ignore[misc]
    """A decoding task that takes the encoder's output, of any length, instead of a mel spectrogram.

    The library repeats the tokens of each window for its samples, but not the window, so it would accept only one.
    """

    def _get_audio_features(self, mel: Tensor) -> Tensor:
        return mel.repeat_interleave(self.n_group, dim=0)

    def _detect_language(self, audio_features: Tensor, tokens: Tensor) -> tuple[list[str], Any]:
        return super()._detect_language(audio_features[:: self.n_group], tokens)  # type: ignore[no-any-return]


def _prepare_for_gpu(model: whisper.Whisper) -> None:
    """Convert the weights once, which the library would do in each step, and choose a fast attention.

    The layers that normalize stay in float32, as the library requires. cuDNN's attention prepares a plan for each new
    shape, which takes 40 ms, and every token that is decoded has a new shape.
    """
    for module in model.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv1d | torch.nn.Embedding):
            module.half()
    torch.backends.cuda.enable_cudnn_sdp(False)


def _match(weights: Tensor, n_positions: int, n_start: int) -> "np.ndarray":
    """Return how well each token matches each position, shape (n_tokens, n_positions).

    Source: whisper/timing.py, `find_alignment`.
    """
    weights = weights[:, :, : max(1, n_positions)].softmax(dim=-1)
    std, mean = torch.std_mean(weights, dim=-2, keepdim=True, unbiased=False)
    smooth = median_filter((weights - mean) / std.clamp(min=1e-6), MEDIAN_FRAMES)
    matrix: np.ndarray = smooth.mean(dim=0)[n_start:-1].cpu().numpy()
    return matrix


def _alignment_heads(name: str) -> bytes | None:
    heads: bytes | None = whisper._ALIGNMENT_HEADS.get(name)  # noqa: SLF001  the library offers no other access to them
    return heads


def load(_model: str, weights: Path, *, threads: int, compute_type: str = "auto") -> WhisperRecognizer:
    """Return the engine with the model in this checkpoint. Raises: SetupError: if it cannot compute in that type."""
    return WhisperRecognizer(OpenAIWhisper(weights, threads=threads, compute_type=compute_type))
