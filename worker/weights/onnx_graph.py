"""Write a network as an ONNX model, layer by layer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

OPSET = 17
Shape = Sequence[str | int]
"""The lengths of the axes of a value; a string stands for any length."""

LARGEST_FILE = 1_900_000_000  # bytes of weights; a file of ONNX has at most 2 GB
IR_VERSION = 9  # the first release of ONNX Runtime that we allow reads it


class Graph:
    """A network under construction. Its methods return the names of the values they add."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[Any] = []
        self._weights: list[Any] = []

    def add(self, operation: str, *inputs: str | NDArray[Any], outputs: int = 1, **attributes: Any) -> str:
        """Add an operation and return its first output. An array among the inputs becomes a constant."""
        from onnx import helper

        names = [self.constant(each) if isinstance(each, np.ndarray) else each for each in inputs]
        made = [f"{operation}_{len(self._nodes)}" + (f"_{n}" if n else "") for n in range(outputs)]
        self._nodes.append(helper.make_node(operation, names, made, **attributes))
        return made[0]

    def constant(self, array: NDArray[Any]) -> str:
        """Add a constant."""
        from onnx import numpy_helper

        name = f"weight_{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def save(
        self,
        path: Path,
        *,
        input_: tuple[str, Shape],
        output: tuple[str, Shape],
        value: str,
        lengths: tuple[str, Shape] | None = None,
    ) -> None:
        """Check the network and write it, with the names and shapes of its input and its output, which is `value`.

        `lengths`: a second input of whole numbers. Weights that are too large for one file lie in a second one beside
        it, with `.data` after its name.
        """
        import onnx
        from onnx import TensorProto, helper

        self._nodes.append(helper.make_node("Identity", [value], [output[0]]))
        inputs = [helper.make_tensor_value_info(input_[0], TensorProto.FLOAT, input_[1])]
        if lengths:
            inputs.append(helper.make_tensor_value_info(lengths[0], TensorProto.INT64, lengths[1]))
        outputs = [helper.make_tensor_value_info(output[0], TensorProto.FLOAT, output[1])]
        graph = helper.make_graph(self._nodes, self._name, inputs, outputs, self._weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        if sum(len(weight.raw_data) for weight in self._weights) > LARGEST_FILE:
            onnx.save(model, str(path), save_as_external_data=True, location=f"{path.name}.data")
            onnx.checker.check_model(str(path), full_check=True)
            return
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, str(path))
