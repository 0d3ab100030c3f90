"""Write a network as an ONNX model, layer by layer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

OPSET = 17
Shape = Sequence[str | int]
"""The lengths of the axes of a value; a string stands for any length."""

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

    def save(self, path: Path, *, input_: tuple[str, Shape], output: tuple[str, Shape], value: str) -> None:
        """Check the network and write it, with the names and shapes of its input and its output, which is `value`."""
        import onnx
        from onnx import TensorProto, helper

        self._nodes.append(helper.make_node("Identity", [value], [output[0]]))
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (input_, output)]
        graph = helper.make_graph(self._nodes, self._name, ends[:1], ends[1:], self._weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, str(path))
