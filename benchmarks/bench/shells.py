"""What one does without a client for XNAT: ``curl --parallel`` over a list of zips, then ``unzip`` and ``md5sum``.

The list of zips is given to it, and no login is asked of it: the best case for a script. ``curl`` alone, which only
saves the zips, is the measure by which everything else is told.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from .clock import Contender

SAVING = "curl --parallel, zips only saved"
# For one zip, which is $0.
_FOLDER = 'mkdir "$0.d"'
_UNZIP = 'unzip -q "$0" -d "$0.d"'
_BSDTAR = 'bsdtar -xf "$0" -C "$0.d"'
_MD5 = 'find "$0.d" -type f -exec md5sum {} + > "$0.md5" && rm "$0"'


@dataclass(frozen=True, slots=True)
class Shells:
    """The scripts for one list of zips on one server."""

    url: str
    zips: Sequence[str]
    authority: str = ""
    transfers: int = 4

    def contenders(self) -> list[Contender]:
        """Those whose programs are installed."""
        made = [Contender(SAVING, lambda target: self._script(target, ""))]
        made.append(
            Contender("curl --parallel, unzip + md5sum (2 at a time)", lambda target: self._script(target, _UNZIP))
        )
        if shutil.which("bsdtar"):
            name = "curl --parallel, bsdtar + md5sum (2 at a time)"
            made.append(Contender(name, lambda target: self._script(target, _BSDTAR)))
        return made

    def hashing(self) -> Contender:
        """The least that whoever verifies by MD5 must do: nothing is unpacked, the zips as such are hashed."""
        name = "curl --parallel, md5sum of the zips (2 at a time)"
        return Contender(name, lambda target: self._script(target, "", "ls *.zip | xargs -P2 -n1 md5sum > sums.md5"))

    def _script(self, target: str, unpack: str, then: str = "") -> Sequence[str]:
        """``curl`` for all zips, then ``unpack`` and MD5 for each, if asked for, or ``then``."""
        lines = [f'url = "{self.url}{zip_}"\noutput = "{target}/{n}.zip"\n' for n, zip_ in enumerate(self.zips)]
        config = f"{target}.curl"
        with open(config, "w", encoding="utf-8") as file:
            file.writelines(lines)
        trust = f"--cacert '{self.authority}'" if self.authority else ""
        script = (
            f"curl --silent --show-error --fail --parallel --parallel-immediate --parallel-max {self.transfers} "
            f"{trust} --config '{config}'"
        )
        if then:
            script += f" && cd '{target}' && {then}"
        if unpack:
            script += f" && cd '{target}' && ls *.zip | xargs -P2 -n1 sh -c '{_FOLDER} && {unpack} && {_MD5}'"
        return ["sh", "-c", script]


def missing() -> list[str]:
    """What could not be compared for want of a program."""
    wanted = {"curl": "everything that uses it", "unzip": "curl + unzip", "bsdtar": "curl + bsdtar"}
    return [f"{name} is not installed: without it there is no {what}" for name, what in wanted.items()
            if shutil.which(name) is None]  # fmt: skip
