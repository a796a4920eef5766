"""An ONNX graph that is rewritten: its constants as numpy arrays, its nodes in order, and who reads what."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

_IR_VERSIONS = {23: 11}  # the lowest that may hold an opset which rewriting asks for


class Graph:
    """Reads a model, which stays as it is. Nodes keep the order in which each comes after those it reads."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self.constants = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
        self.nodes: list[NodeProto] = []
        for node in model.graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            else:
                self.nodes.append(node)
        self.inputs = [each.name for each in model.graph.input]
        self.outputs = [each.name for each in model.graph.output]
        self.opset = next(each.version for each in model.opset_import if not each.domain)
        self._count = 0

    def readers(self) -> dict[str, list[NodeProto]]:
        """The nodes that read each name."""
        found: dict[str, list[NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in dict.fromkeys(node.input):
                found[name].append(node)
        return found

    def writers(self) -> dict[str, NodeProto]:
        return {name: node for node in self.nodes for name in node.output}

    def name(self, hint: str) -> str:
        self._count += 1
        return f"{hint}.int.{self._count}"

    def constant(self, hint: str, array: Any) -> str:
        """A new constant; its name."""
        name = self.name(hint)
        self.constants[name] = np.asarray(array)
        return name

    def node(self, op: str, inputs: Iterable[str], output: str | None = None, count: int = 1, **attributes: Any) -> Any:
        """A node that is not in the graph yet; with `output` it writes that name, else `count` new ones."""
        outputs = [output] if output else [self.name(op) for _ in range(count)]
        return helper.make_node(op, list(inputs), outputs, name=self.name(f"node_{op}"), **attributes)

    def replace(self, replaced: dict[int, list[NodeProto]]) -> None:
        """Puts new nodes in the place of others, which are given by `id`."""
        self.nodes = [new for node in self.nodes for new in replaced.get(id(node), [node])]

    def drop_unread(self) -> None:
        """Takes out nodes that nobody reads, and constants."""
        needed, kept = set(self.outputs), []
        for node in reversed(self.nodes):
            if needed & set(node.output):
                kept.append(node)
                needed |= set(node.input)
        self.nodes = kept[::-1]
        self.constants = {name: array for name, array in self.constants.items() if name in needed}

    def model(self) -> onnx.ModelProto:
        """The rewritten model, checked.

        Raises:
            onnx.checker.ValidationError: for a graph that is none.
        """
        self.drop_unread()
        old = self._model.graph
        initializers = [numpy_helper.from_array(np.asarray(a, order="C"), n) for n, a in self.constants.items()]
        graph = helper.make_graph(self.nodes, old.name, old.input, old.output, initializers)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", self.opset), *(o for o in self._model.opset_import if o.domain)],
            ir_version=max(self._model.ir_version, _IR_VERSIONS.get(self.opset, 0)),
            producer_name=self._model.producer_name,
        )
        model.metadata_props.extend(self._model.metadata_props)
        onnx.checker.check_model(model)
        return model


def attributes(node: NodeProto) -> dict[str, Any]:
    """The attributes of a node by name, as Python's values."""
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}
