"""Public names of a package that are imported when they are first used.

So `import` of a package stays fast and loads no framework. Static type checkers do not run this: a package also
imports its names under `TYPE_CHECKING`, and a test compares the two lists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(package: str, exports: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` of a package, from its public names and the modules that define them.

    Args:
        package: the package's `__name__`.
        exports: the module of each name, relative (".weights") or absolute.
    """

    def get(name: str) -> Any:
        if name in exports:
            return getattr(import_module(exports[name], package), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names() -> list[str]:
        return sorted({*vars(import_module(package)), *exports})

    return get, names
