"""An ONNX graph written step by step, with the same bytes for the same steps."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

OPSET = 18  # the first in which Resize antialiases


class Graph:
    """Nodes and constants, numbered in the order in which they are made.

    A name given by a converter may differ from run to run; the numbers do not.
    """

    def __init__(self, prefix: str = "t") -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._imports: dict[str, int] = {"": OPSET}
        self._functions: list[onnx.FunctionProto] = []
        self._prefix, self._made = prefix, 0

    def _name(self) -> str:
        self._made += 1
        return f"{self._prefix}{self._made}"

    def constant(self, value: ArrayLike) -> str:
        """Return the name of a constant; whole numbers in Python become int64."""
        array = np.asarray(value)
        self.constants.append(numpy_helper.from_array(array, self._name()))
        return self.constants[-1].name

    def op(self, kind: str, *inputs: str | ArrayLike | None, **attributes: Any) -> str:
        """Add an operation, and return the name of its first output.

        Inputs are names of tensors, values of constants, or None for one that is left out.
        """
        return self.ops(kind, *inputs, outputs=1, **attributes)[0]

    def ops(
        self, kind: str, *inputs: str | ArrayLike | None, outputs: int, **attributes: Any
    ) -> list[str]:
        """Add an operation, and return the names of its outputs; see `op`."""
        names = [
            "" if value is None else value if isinstance(value, str) else self.constant(value)
            for value in inputs
        ]
        results = [self._name() for _ in range(outputs)]
        self.nodes.append(helper.make_node(kind, names, results, **attributes))
        return results

    def include(self, model: onnx.ModelProto, inputs: Mapping[str, str]) -> dict[str, str]:
        """Add a whole network, and return the names of its outputs here by those that they had.

        `inputs` are the tensors here by the names of the inputs of the network.
        """
        self._need({one.domain: one.version for one in model.opset_import}, model.functions)
        names = {"": "", **inputs}
        values = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in _in_order(model.graph):
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.name = ""
            for name in [*node.input, *_captured(node)]:
                if name not in names:
                    names[name] = self.constant(numpy_helper.to_array(values[name]))
            for name in node.output:
                names.setdefault(name, self._name())
            _rename(copy, names)
            self.nodes.append(copy)
        return {output.name: names[output.name] for output in model.graph.output}

    def _need(self, imports: Mapping[str, int], functions: Iterable[onnx.FunctionProto]) -> None:
        for domain, version in imports.items():
            self._imports[domain] = max(version, self._imports.get(domain, 0))
        self._functions += functions

    def body(
        self, inputs: Sequence[str], outputs: Sequence[str], inside: "Graph"
    ) -> onnx.GraphProto:
        """Return this graph, of float32 tensors, as that of a loop in another one."""
        inside._need(self._imports, self._functions)
        starts, ends = (
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]
            for names in (inputs, outputs)
        )
        return helper.make_graph(self.nodes, "body", starts, ends, initializer=self.constants)

    def model(
        self,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
        metadata: Mapping[str, str],
    ) -> onnx.ModelProto:
        """Return the model, checked, with these inputs, outputs and properties."""
        graph = helper.make_graph(self.nodes, "tissue", inputs, outputs, self.constants)
        imports = [helper.make_opsetid(*item) for item in sorted(self._imports.items())]
        model = helper.make_model(
            graph, opset_imports=imports, functions=self._functions, producer_name="tissue"
        )
        model.ir_version = helper.find_min_ir_version_for(imports, ignore_unknown=True)
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model)
        return model


def _in_order(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes that the outputs need, in an order that depends on the graph alone."""
    by_output = {name: node for node in graph.node for name in node.output if name}
    ordered: dict[int, onnx.NodeProto] = {}
    waiting = [(output.name, False) for output in reversed(graph.output)]
    while waiting:
        name, inputs_done = waiting.pop()
        node = by_output.get(name)
        if node is None or id(node) in ordered:
            continue
        if inputs_done:
            ordered[id(node)] = node
            continue
        waiting.append((name, True))
        waiting += [(one, False) for one in reversed([*node.input, *_captured(node)])]
    return list(ordered.values())


def _inner(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """Return the graphs within a node, such as the branches of an If."""
    return [
        graph
        for attribute in node.attribute
        for graph in ([attribute.g] if attribute.HasField("g") else attribute.graphs)
    ]


def _captured(node: onnx.NodeProto) -> list[str]:
    """Return the names that graphs within a node take from outside."""
    found = []
    for graph in _inner(node):
        own = {value.name for value in (*graph.initializer, *graph.input)}
        for inner in graph.node:
            found += [name for name in (*inner.input, *_captured(inner)) if name not in own]
            own |= set(inner.output)
        found += [value.name for value in graph.output if value.name not in own]
    return found


def _rename(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    node.input[:] = [names.get(name, name) for name in node.input]
    node.output[:] = [names.get(name, name) for name in node.output]
    for graph in _inner(node):
        own = {value.name for value in (*graph.initializer, *graph.input)}
        own |= {name for inner in graph.node for name in inner.output}
        outer = {old: new for old, new in names.items() if old not in own}
        for inner in graph.node:
            _rename(inner, outer)
        for value in graph.output:
            value.name = outer.get(value.name, value.name)
