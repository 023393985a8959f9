"""A LoRA bank inside an OpenVINO graph: `y = W x + B((A x) * s)` at each banked module, A, B and s as inputs.

A change of weight is another `s`, another adapter other A and B of the same size: no new graph for either.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from studio.engine.backends.openvino_core import openvino

Stacks = Mapping[str, tuple[Tensor, Tensor]]
SCALES = "lora.scales"


def insert(model: Any, stacks: Stacks, size: int) -> None:
    """Changes `model`. `stacks`: module path -> down (R, in, ...) and up (out, R, ...). `size`: R.

    Raises KeyError for a module that the graph does not have as one product.
    """
    op, floating = openvino().opset14, openvino().Type.f32
    products = _products(model)
    scales = op.parameter([-1, size], floating, name=SCALES)
    scales.output(0).get_tensor().set_names({SCALES})
    parameters = [scales]
    for path, (down, up) in stacks.items():
        node = products[path]
        output = node.output(0)
        users = list(output.get_target_inputs())
        low, high = (op.parameter(list(part.shape), floating) for part in (down, up))
        low.output(0).get_tensor().set_names({f"{path}.down"})
        high.output(0).get_tensor().set_names({f"{path}.up"})
        parameters += [low, high]
        total = op.add(output, _delta(op, node, low, high, scales, down.ndim))
        for user in users:
            user.replace_source_output(total.output(0))
    model.add_parameters(parameters)
    model.validate_nodes_and_infer_types()


def _delta(op: Any, node: Any, low: Any, high: Any, scales: Any, dimensions: int) -> Any:
    given = node.input_value(0)
    if dimensions == 2:
        weighed = scales
        if given.get_partial_shape().rank.get_length() == 3:
            weighed = op.unsqueeze(scales, op.constant([1]))
        return op.matmul(op.multiply(op.matmul(given, low, False, True), weighed), high, False, True)
    about = node.get_attributes()
    reduced = op.convolution(
        given, low, about["strides"], about["pads_begin"], about["pads_end"], about["dilations"]
    )
    weighed = op.multiply(reduced, op.unsqueeze(scales, op.constant([2, 3])))
    return op.convolution(weighed, high, [1, 1], [0, 0], [0, 0], [1, 1])


def _products(model: Any) -> dict[str, Any]:
    """Module path -> its MatMul or Convolution with the weights. The tracer names nodes by module."""
    found: dict[str, Any] = {}
    for node in model.get_ops():
        name = node.get_friendly_name()
        if node.get_type_name() in ("MatMul", "Convolution") and name.startswith("__module.network."):
            found[name.removeprefix("__module.network.").partition("/")[0]] = node
    return found
