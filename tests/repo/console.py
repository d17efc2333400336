"""Commands of a page of the documentation, and what the page shows as their output.

In a ``console`` block a line that starts with ``$`` is a command; what follows is its output, where ``...`` stands for
any text.
"""

from __future__ import annotations

import re

_LINE_END = re.compile(r" +$", re.MULTILINE)
# On a slow machine, a step that runs for long says so in lines of its own; whole seconds tell them from its end.
_SLOW_STEP = re.compile(r"^.+ … \d+ s(  .*)?\n", re.MULTILINE)


def commands(text: str) -> list[tuple[str, str]]:
    """Return each command of the console blocks in `text`, with the output that is shown for it."""
    blocks = re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL)
    shown = re.split(r"^\$ ", "".join(blocks), flags=re.MULTILINE)[1:]
    return [(command, output) for command, _, output in (each.partition("\n") for each in shown)]


def agrees(shown: str, said: str) -> bool:
    """Return whether a command said what is shown, lines of progress and spaces at the end of a line left out."""
    pattern = ".*".join(re.escape(part) for part in _LINE_END.sub("", shown).strip().split("..."))
    return re.fullmatch(pattern, _LINE_END.sub("", _SLOW_STEP.sub("", said)).strip(), flags=re.DOTALL) is not None
