"""Convert the speaker embedding model CAM++ to ONNX.

Source of the architecture: modelscope/3D-Speaker, speakerlab/models/campplus.
"""

from pathlib import Path

import numpy as np

from nightscribe.worker.weights.onnx_graph import Graph
from nightscribe.worker.weights.torch_file import Tensors

BLOCKS = ((1, 12, 1), (2, 24, 2), (3, 16, 2))  # number, layers, dilation
SEGMENT = 100  # frames over which the context of a layer is averaged
NORM_EPSILON = 1e-5


def convert(tensors: Tensors, path: Path) -> None:
    """Write the model. Its input `features` has the shape (batch, frames, 80), `embeddings` (batch, 192).

    Raises: KeyError: if a tensor is missing.
    """
    graph = Graph("campplus")
    x = graph.add("Unsqueeze", graph.add("Transpose", "features", perm=[0, 2, 1]), np.array([1]))
    x = graph.add("Relu", _norm(graph, _conv2d(graph, x, tensors, "head.conv1"), tensors, "head.bn1"))
    for layer in ("head.layer1", "head.layer2"):
        x = _residual(graph, x, tensors, f"{layer}.0", stride=2)
        x = _residual(graph, x, tensors, f"{layer}.1", stride=1)
    x = graph.add("Relu", _norm(graph, _conv2d(graph, x, tensors, "head.conv2", stride=2), tensors, "head.bn2"))
    n_features = tensors["xvector.tdnn.linear.weight"].shape[1]
    x = graph.add("Reshape", x, np.array([0, n_features, -1]))
    x = graph.add("Conv", x, tensors["xvector.tdnn.linear.weight"], strides=[2], pads=[2, 2])
    x = _nonlinear(graph, x, tensors, "xvector.tdnn.nonlinear")
    for block, layers, dilation in BLOCKS:
        for n in range(1, layers + 1):
            added = _dense_layer(graph, x, tensors, f"xvector.block{block}.tdnnd{n}", dilation)
            x = graph.add("Concat", x, added, axis=1)
        transit = f"xvector.transit{block}"
        x = graph.add(
            "Conv", _nonlinear(graph, x, tensors, f"{transit}.nonlinear"), tensors[f"{transit}.linear.weight"]
        )
    x = _nonlinear(graph, x, tensors, "xvector.out_nonlinear")
    x = graph.add("Conv", _statistics(graph, x), tensors["xvector.dense.linear.weight"])
    x = _norm(graph, x, tensors, "xvector.dense.nonlinear.batchnorm")
    x = graph.add("Squeeze", x, np.array([2]))
    graph.save(path, input_=("features", ("batch", "frames", 80)), output=("embeddings", ("batch", 192)), value=x)


def _conv2d(graph: Graph, x: str, tensors: Tensors, layer: str, stride: int = 1) -> str:
    weight = tensors[f"{layer}.weight"]
    pad = weight.shape[-1] // 2
    return graph.add("Conv", x, weight, strides=[stride, 1], pads=[pad] * 4)


def _norm(graph: Graph, x: str, tensors: Tensors, layer: str) -> str:
    mean, variance = tensors[f"{layer}.running_mean"], tensors[f"{layer}.running_var"]
    scale = tensors.get(f"{layer}.weight", np.ones_like(mean))
    shift = tensors.get(f"{layer}.bias", np.zeros_like(mean))
    return graph.add("BatchNormalization", x, scale, shift, mean, variance, epsilon=NORM_EPSILON)


def _nonlinear(graph: Graph, x: str, tensors: Tensors, layer: str) -> str:
    return graph.add("Relu", _norm(graph, x, tensors, f"{layer}.batchnorm"))


def _residual(graph: Graph, x: str, tensors: Tensors, layer: str, *, stride: int) -> str:
    y = graph.add("Relu", _norm(graph, _conv2d(graph, x, tensors, f"{layer}.conv1", stride), tensors, f"{layer}.bn1"))
    y = _norm(graph, _conv2d(graph, y, tensors, f"{layer}.conv2"), tensors, f"{layer}.bn2")
    if f"{layer}.shortcut.0.weight" in tensors:
        x = _norm(graph, _conv2d(graph, x, tensors, f"{layer}.shortcut.0", stride), tensors, f"{layer}.shortcut.1")
    return graph.add("Relu", graph.add("Add", y, x))


def _dense_layer(graph: Graph, x: str, tensors: Tensors, layer: str, dilation: int) -> str:
    """Add one layer, whose output is masked by what it hears in the whole input and in segments of it."""
    x = graph.add("Conv", _nonlinear(graph, x, tensors, f"{layer}.nonlinear1"), tensors[f"{layer}.linear1.weight"])
    x = _nonlinear(graph, x, tensors, f"{layer}.nonlinear2")
    mask = f"{layer}.cam_layer"
    local = graph.add(
        "Conv", x, tensors[f"{mask}.linear_local.weight"], dilations=[dilation], pads=[dilation, dilation]
    )
    context = graph.add("Add", graph.add("ReduceMean", x, axes=[-1], keepdims=1), _segment_means(graph, x))
    for n, activation in ((1, "Relu"), (2, "Sigmoid")):
        linear = graph.add("Conv", context, tensors[f"{mask}.linear{n}.weight"], tensors[f"{mask}.linear{n}.bias"])
        context = graph.add(activation, linear)
    return graph.add("Mul", local, context)


def _segment_means(graph: Graph, x: str) -> str:
    """Add the mean of each segment of SEGMENT frames, repeated for each of its frames."""
    means = graph.add("AveragePool", x, kernel_shape=[SEGMENT], strides=[SEGMENT], ceil_mode=1)
    repeated = graph.add("Expand", graph.add("Unsqueeze", means, np.array([3])), np.array([1, 1, 1, SEGMENT]))
    flat = graph.add("Reshape", repeated, np.array([0, 0, -1]))
    n_frames = graph.add("Shape", x, start=2, end=3)
    return graph.add("Slice", flat, np.array([0]), n_frames, np.array([2]))


def _statistics(graph: Graph, x: str) -> str:
    """Add the mean and the standard deviation over the frames, shape (batch, 2 × features, 1)."""
    mean = graph.add("ReduceMean", x, axes=[-1], keepdims=1)
    deviation = graph.add("Sub", x, mean)
    squares = graph.add("ReduceSum", graph.add("Mul", deviation, deviation), np.array([-1]), keepdims=1)
    n_frames = graph.add("Cast", graph.add("Shape", x, start=2, end=3), to=1)
    variance = graph.add("Div", squares, graph.add("Sub", n_frames, np.array([1], dtype=np.float32)))
    return graph.add("Concat", mean, graph.add("Sqrt", variance), axis=1)
