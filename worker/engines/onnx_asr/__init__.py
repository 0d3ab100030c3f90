"""Models that report frames (CTC, RNN-T, TDT) on ONNX Runtime: through the library onnx-asr, or decoded here."""
