"""The object graph of a TensorFlow 2 checkpoint: by which ways through which objects a variable is reached.

tf.train.Checkpoint follows the attributes of the objects it gets (a layer in a list in a model) and stores the
graph it finds beside the arrays. An array's key is one way to it, the shortest there was that time, and its full name
is whatever scopes were open when it was made; the graph has every way, and is what TensorFlow itself restores by.

Source: tensorflow/core/protobuf/trackable_object_graph.proto.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ....errors import CheckpointError
from .protobuf_wire import fields

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"  # the key under which a checkpoint holds it
ROOT = 0

_VALUE = "VARIABLE_VALUE"


@dataclass
class GraphObject:
    """One object: its children by attribute name (numbers in lists), and its variable where it is one.

    `key` names the variable's array in the file; `full_name` is the variable's own name, scopes included.
    """

    children: dict[str, int] = field(default_factory=dict)
    key: str | None = None
    full_name: str = ""


class ObjectGraph:
    """The objects of a checkpoint; `objects[ROOT]` is what was saved.

    Raises:
        CheckpointError: the bare fact, without a file's name, when the bytes are no such graph.
    """

    def __init__(self, message: bytes) -> None:
        self.objects = [_object(value) for value in _submessages(message, 1)]
        if not self.objects:
            raise CheckpointError("the object graph is empty")
        size = len(self.objects)
        if outside := {child for item in self.objects for child in item.children.values()} - set(range(size)):
            raise CheckpointError(f"the object graph has {size} objects and refers to number {min(outside)}")

    def find(self, start: int, path: str) -> int | None:
        """The object at a path of attributes, such as "layer_with_weights-0/word_embedding"; None if there is none."""
        place: int | None = start
        for name in path.split("/") if path else ():
            if place is None:
                return None
            place = self.objects[place].children.get(name)
        return place

    def parents(self, child: int) -> list[int]:
        """Every object that has this one as a child."""
        return [number for number, item in enumerate(self.objects) if child in item.children.values()]

    def reachable(self, starts: Iterable[int]) -> dict[int, str]:
        """Every object that can be reached, with the shortest path to it; that of a start is empty."""
        found = dict.fromkeys(starts, "")
        waiting = deque(found)
        while waiting:
            place = waiting.popleft()
            for name, child in self.objects[place].children.items():
                if child not in found:
                    found[child] = f"{found[place]}/{name}".lstrip("/")
                    waiting.append(child)
        return found

    def keys(self, starts: Iterable[int]) -> set[str]:
        """The keys of every variable that can be reached."""
        return {key for place in self.reachable(starts) if (key := self.objects[place].key) is not None}


def _object(message: bytes) -> GraphObject:
    item = GraphObject()
    for child in _submessages(message, 1):
        values = {number: value for number, _, value in fields(child)}
        number, name = values.get(1, 0), values.get(2, b"")
        if isinstance(number, bytes) or not isinstance(name, bytes):
            raise CheckpointError("the object graph has a child whose number or name is of another type")
        item.children[_text(name)] = number
    for attribute in _submessages(message, 2):
        texts = {number: _text(value) for number, _, value in fields(attribute) if isinstance(value, bytes)}
        if texts.get(1) == _VALUE:
            item.full_name, item.key = texts.get(2, ""), texts.get(3, "")
    return item


def _submessages(message: bytes, number: int) -> Iterator[bytes]:
    return (value for found, _, value in fields(message) if found == number and isinstance(value, bytes))


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise CheckpointError(f"the object graph has a name that is not UTF-8: {value[:40]!r}") from None
