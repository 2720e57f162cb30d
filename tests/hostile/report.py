"""What the attacks cost: ``python tests/hostile/report.py`` runs them all and prints a table for the manual.

``XNAT_SYNC_TEST_HEAVY=8`` makes every bomb and endless answer eight times as large; the bounds stay as they are, but
for lists, which are bounded by their own bytes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


def main() -> int:
    """Run the attacks in this process and print what they sent, how they ended, and the memory they took."""
    here = Path(__file__).parent
    sys.path.insert(0, str(here.parent))
    code = pytest.main([str(here), "-q", "-p", "no:cacheprovider"])
    from hostile.scene import FIGURES

    print("\n| attack | MiB sent | exit | peak MiB |\n|---|---:|---:|---:|")
    for name, (sent, ended, memory) in FIGURES.items():
        print(f"| {name} | {sent:.1f} | {ended} | {memory:.0f} |")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
