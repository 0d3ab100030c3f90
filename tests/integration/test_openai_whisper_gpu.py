"""What the openai-whisper engine changes for a GPU keeps what the model computes; tried without one, on the CPU."""

from pathlib import Path

import pytest

from nightscribe.worker.engines.whisper.runtime import LARGEST_BATCH, batch_size

pytestmark = pytest.mark.filterwarnings("ignore:unclosed file .*whisper.*(tiktoken|english.json):ResourceWarning")

WIDTH, HEADS, LAYERS, POSITIONS = 64, 1, 2, 1500


def test_half_precision_weights_give_the_same_states_and_scores() -> None:
    torch, whisper = pytest.importorskip("torch"), pytest.importorskip("whisper")
    from nightscribe.worker.engines.whisper.openai_whisper import _prepare_for_gpu

    torch.manual_seed(0)
    dims = whisper.model.ModelDimensions(80, POSITIONS, WIDTH, HEADS, LAYERS, 51865, 448, WIDTH, HEADS, LAYERS)
    model = whisper.model.Whisper(dims).eval()
    torch.nn.init.normal_(model.decoder.positional_embedding, std=0.02)  # the library leaves it uninitialized
    mel, tokens = torch.randn(1, 80, 2 * POSITIONS), torch.tensor([[50258, 50259, 50359]])
    with torch.no_grad():
        states = model.encoder(mel)
        scores = model.decoder(tokens, states)
        had_cudnn = torch.backends.cuda.cudnn_sdp_enabled()
        try:
            _prepare_for_gpu(model)
            half_states = model.encoder(mel.half())
            half_scores = model.decoder(tokens, half_states)
            assert not torch.backends.cuda.cudnn_sdp_enabled()
        finally:
            torch.backends.cuda.enable_cudnn_sdp(had_cudnn)
    assert {each.weight.dtype for each in model.modules() if isinstance(each, torch.nn.Linear)} == {torch.float16}
    assert half_states.dtype == torch.float16
    assert (half_states.float() - states).abs().max() < 0.02 * states.abs().max()
    assert (half_scores.float() - scores).abs().max() < 0.02 * scores.abs().max()


def test_a_wide_model_with_few_decoder_layers_gets_larger_batches() -> None:
    assert batch_size(1280, 4) == LARGEST_BATCH > batch_size(1280, 32) >= 1
    assert batch_size(1280) == batch_size(1280, 32)


def test_a_checkpoint_states_its_decoder_layers(tmp_path: Path) -> None:
    torch, whisper = pytest.importorskip("torch"), pytest.importorskip("whisper")
    from nightscribe.worker.engines.whisper.openai_whisper import OpenAIWhisper

    dims = whisper.model.ModelDimensions(80, 8, 1280, 20, 0, 8, 8, 1280, 20, 1)
    path = tmp_path / "wide.pt"
    torch.save({"dims": dims.__dict__, "model_state_dict": whisper.model.Whisper(dims).state_dict()}, path)
    assert OpenAIWhisper(path, threads=1).batch_size == LARGEST_BATCH
