"""Which lines of a target's modules an input reaches: the measure of a corpus, and of what is worth adding to it."""

from __future__ import annotations

import dis
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from fuzz.targets import Target

Line = tuple[str, int]  # file, number


def there(target: Target) -> frozenset[Line]:
    """All lines within functions of the modules; those outside run at import, whatever the input."""
    found = set[Line]()
    for name in target.about:
        module, _, function = name.partition(".")
        file = importlib.import_module(f"xnat_sync.core.{module}").__file__
        assert file is not None
        for code in _functions(compile(Path(file).read_bytes(), file, "exec")):
            if function in ("", code.co_name):
                found |= {(file, number) for _, number in dis.findlinestarts(code) if number != code.co_firstlineno}
    return frozenset(found)


def reached(target: Target, inputs: Iterable[bytes]) -> frozenset[Line]:
    """The lines that any of the inputs reaches; one that fails counts as far as it goes."""
    wanted = there(target)
    files = {file for file, _ in wanted}
    seen = set[Line]()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename not in files:
            return None
        if event == "line":
            seen.add((frame.f_code.co_filename, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for data in inputs:
            _run(target.check, data)
    finally:
        sys.settrace(before)
    return frozenset(seen & wanted)


def adding(target: Target, inputs: Mapping[str, bytes], known: frozenset[Line] = frozenset()) -> dict[str, bytes]:
    """Those inputs that reach a line which neither ``known`` has nor a smaller input of them reaches."""
    kept = {}
    for name, data in sorted(inputs.items(), key=lambda item: (len(item[1]), item)):
        lines = reached(target, [data])
        if not lines <= known:
            kept[name] = data
            known |= lines
    return kept


def _run(check: Callable[[bytes], None], data: bytes) -> None:
    try:
        check(data)
    except Exception:  # noqa: BLE001 -- what fails is reported elsewhere
        return


def _functions(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if constant.co_flags & inspect.CO_OPTIMIZED:  # a class body is not
                yield constant
            yield from _functions(constant)
