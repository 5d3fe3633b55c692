"""Find the guest's own modules in one file: forty searched and opened one by one cost its start 10 ms.

The file stands beside `__main__`, in a volume that is read-only; where it is absent, in tests that run the
guest from its sources, the modules are found as any others.
"""

from __future__ import annotations

import marshal
import sys
from _frozen_importlib import ModuleSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

NAME = "modules"
"""Of the file: a marshalled mapping from module names to marshalled code."""


class Packed:
    """A finder and loader of importlib's for one package.

    Args:
        package: the package's name; its own module's code stands under "".
        modules: code by module name.
    """

    def __init__(self, package: str, modules: Mapping[str, bytes]) -> None:
        self._package = package
        self._modules = modules

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        """Return how a module of the package is loaded; None for any other."""
        if self._key(name) is None:
            return None
        is_package = name == self._package
        return ModuleSpec(name, self, is_package=is_package)  # type: ignore[arg-type]  # a loader by what it does

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave the making of the module to importlib."""

    def exec_module(self, module: ModuleType) -> None:
        """Run a module's code."""
        exec(marshal.loads(self._modules[self._key(module.__name__) or ""]), module.__dict__)  # noqa: S102, S302 (our own code, from our own volume)

    def _key(self, name: str) -> str | None:
        package, _, module = name.partition(".")
        return module if package == self._package and module in self._modules else None


def use(folder: str, package: str) -> None:
    """Take the package's modules out of the file in `folder`, where there is one."""
    try:
        with open(f"{folder}/{NAME}", "rb") as file:  # noqa: PTH123 (pathlib would cost the start more than is won)
            modules = marshal.loads(file.read())  # noqa: S302 (our own file)
    except FileNotFoundError:
        return
    sys.meta_path.insert(0, Packed(package, modules))
