"""One target under Atheris, Google's fuzzer for Python, which is libFuzzer: it keeps what reaches something new.

``python tests/fuzz/guided.py TARGET FOLDER [libFuzzer's options and folders]`` puts an input that fails into FOLDER
and ends there. ``run.py`` does that for all targets.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # not this folder: its modules are those of the package "fuzz"

import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore]  # noqa: E402

with atheris.instrument_imports(include=["xnat_sync.core", "xnat_sync.shell.net", "tomllib", "email", "string"]):
    from fuzz.targets import TARGETS


def main() -> None:
    """Fuzz until libFuzzer has had enough; it ends the process."""
    target, failing = TARGETS[sys.argv.pop(1)], Path(sys.argv.pop(1))

    def check(data: bytes) -> None:
        try:
            target.check(data)
        except BaseException:
            # libFuzzer writes it down as well, but at exit, where its own alarm clock may come before that.
            (failing / "input").write_bytes(data)
            raise

    warnings.simplefilter("error")  # as pytest has it
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
