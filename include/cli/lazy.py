"""Commands that are imported when they run, so that `sluice --help` and tab completion import none of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """The function `name` of `module`, which is imported when it is called."""

    module: str
    name: str

    def __call__(self, *arguments: Any) -> int:
        """Run the command."""
        return int(self.load()(*arguments))

    def load(self) -> Callable[..., int]:
        """Import the module, and return the function."""
        command: Callable[..., int] = getattr(import_module(self.module), self.name)
        return command


class LazyModule:
    """Stands for a module of commands: its attributes are `LazyCommand`."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> LazyCommand:
        return LazyCommand(self._module, name)
