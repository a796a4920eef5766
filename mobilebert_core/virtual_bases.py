"""Objects that pass `isinstance` for a class of another library, which this package never imports.

The Trainer of transformers saves config.json and ties only for what is a `transformers.PreTrainedModel`, its Auto
classes only believe a `transformers.PreTrainedConfig`, and PEFT looks for the former inside of models. These classes
are no abstract ones that others could register with, so an object says it through its `__class__`, which `isinstance`
asks after the type. The type itself stays what it is.
"""

from __future__ import annotations

import copyreg
import sys
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar


class VirtualSubclass:
    """A mixin whose objects are also instances of `_virtual_base`, once the user has imported its module.

    Attributes:
        _virtual_base: module and name of the class.
    """

    _virtual_base: ClassVar[tuple[str, str]]

    if not TYPE_CHECKING:  # for a type checker the class of an object is its type

        @property
        def __class__(self) -> type:
            module, name = self._virtual_base
            base = getattr(sys.modules.get(module), name, None)
            cls = type(self)
            return cls if base is None or issubclass(cls, base) else _subclass_of_both(cls, base)

        @__class__.setter
        def __class__(self, cls: type) -> None:
            object.__dict__["__class__"].__set__(self, cls)

        def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
            """As of every object, but for pickle's check that the class is the type."""
            made, *rest = super().__reduce_ex__(max(int(protocol), 2))
            return (_new if made is copyreg.__newobj__ else made, *rest)


def _new(cls: Any) -> Any:
    return cls.__new__(cls)


@cache
def _subclass_of_both(cls: type, base: type) -> type:
    """What `__class__` returns: called, it makes objects of `cls`."""

    def make(_: type, *args: Any, **kwargs: Any) -> Any:
        return cls(*args, **kwargs)

    names: dict[str, Any] = {name: getattr(cls, name) for name in ("__module__", "__qualname__", "__doc__")}
    return type(cls.__name__, (cls, base), {**names, "__new__": make})
