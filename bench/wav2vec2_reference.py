"""Print what transformers computes for small checkpoints, for tests/unit/test_wav2vec2_graph.py.

Usage: pip install transformers, then `PYTHONPATH=tests:. python bench/wav2vec2_reference.py`.
"""

import torch
from support.wav2vec2 import VARIANTS, config_of, tensors_of, waveform
from transformers import HubertConfig, HubertForCTC, Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

CLASSES = {"wav2vec2": (Wav2Vec2Config, Wav2Vec2ForCTC), "hubert": (HubertConfig, HubertForCTC)}


def main() -> None:
    """Print the shape, three frames and the mean of the logarithms of the probabilities for each variant."""
    for variant in VARIANTS:
        config = config_of(variant)
        settings, model_class = CLASSES[config.pop("model_type")]
        model = model_class(settings(**config)).eval()
        state = {name: torch.from_numpy(value) for name, value in tensors_of(config_of(variant)).items()}
        missing = model.load_state_dict(state, strict=False)
        assert set(missing.missing_keys) == {f"{model.base_model_prefix}.masked_spec_embed"}, missing
        inputs = Wav2Vec2FeatureExtractor(do_normalize=True)(waveform(), sampling_rate=16000, return_tensors="pt")
        with torch.no_grad():
            found = torch.log_softmax(model(inputs.input_values).logits, -1)[0].numpy()
        print(f"    {variant!r}: ({found.shape[0]}, [")
        for frame in (0, 11, found.shape[0] - 1):
            print(f"        {[round(float(value), 4) for value in found[frame]]},")
        print("    ]),")


if __name__ == "__main__":
    main()
