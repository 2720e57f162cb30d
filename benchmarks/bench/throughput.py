"""Scenarios (a) to (d): the same bytes as stored zips, as deflated zips, kept as zips, and over TLS.

All from the static server, 4 transfers at once, everything that is unpacked verified: by CRC-32 and MD5 here, by CRC-32
in ``unzip`` and ``md5sum`` there.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from . import ours
from .clock import Contender, Figures, contest, home, run
from .datasets import Shape
from .front import Front, front
from .shells import SAVING, Shells


@dataclass(frozen=True, slots=True)
class Scenario:
    """A table: what was done, and by whom in what time. ``base`` names the row that the others are a multiple of.

    ``files`` is how many they are, where that is what counts.
    """

    key: str
    title: str
    figures: list[Figures]
    base: str = SAVING
    files: int = 0


def run_all(
    shape: Shape,
    folder: str,
    disk: str,
    *,
    rounds: int,
    clients: Callable[[str], Sequence[Contender]],
    say: Callable[[str], None],
    only: str = "abcd",
) -> Iterator[Scenario]:
    """The scenarios; ``folder`` takes what is served and fetched, ``disk`` what is to be written through to a disk.

    ``clients`` gives the other XNAT clients for a server.
    """
    expected, size = shape.digests(), shape.bytes

    def held(key: str, title: str, who: Sequence[Contender], where: str = folder) -> Scenario:
        say(f"({key}) {title}")
        target = f"{where}/contest"
        os.makedirs(target)
        try:
            return Scenario(key, title, contest(who, target, expected, rounds=rounds, size=size, say=say))
        finally:
            os.rmdir(target)

    if {"a", "c", "d"} & set(only):
        with front(shape, f"{folder}/stored") as server:
            zips = warmed(server, folder)
            shells = Shells(server.url, zips).contenders()
            plain = ours.contender(server.url)
            if "a" in only:
                yield held(
                    "a",
                    "stored zips, kept as files",
                    [*shells, Shells(server.url, zips).hashing(), plain, *clients(server.url)],
                )
                if disk:
                    who = [_synced(each) for each in shells] + [plain]
                    yield dataclasses.replace(
                        held("a, disk", "the same, on a disk and written through to it", who, disk),
                        base=who[0].name,
                    )
            if "c" in only:
                yield held("c", "stored zips, kept as zips", [shells[0], ours.contender(server.url, "--store", "zip")])
            if "d" in only:
                secure = Shells(server.secure_url, zips, server.authority).contenders()
                us = ours.contender(server.secure_url, authority=server.authority)
                yield held("d", "stored zips over TLS, kept as files", [*secure, us])
    if "b" in only:
        with front(dataclasses.replace(shape, compression=8), f"{folder}/deflated") as server:
            zips = warmed(server, folder)
            yield held(
                "b",
                "deflated zips, kept as files",
                [*Shells(server.url, zips).contenders(), ours.contender(server.url)],
            )


def warmed(server: Front, folder: str) -> list[str]:
    """Have everything asked for once, so that it is kept; the zips that were."""
    warm = f"{folder}/warm"
    os.makedirs(warm)
    took = run(ours.mirror(f"{warm}/target"), home(warm, **ours.login(server.url)))
    if took.code:
        raise SystemExit(f"xnat-sync ended with {took.code}: {took.said}")
    run(["rm", "-rf", warm], {"PATH": os.environ["PATH"]})
    return server.kept("format=zip")


def _synced(contender: Contender) -> Contender:
    """The same, but all that it wrote is on the disk when it ends, as with ``xnat-sync``."""

    def command(target: str) -> Sequence[str]:
        *shell, script = contender.command(target)
        return [*shell, f"{script} && sync -f '{target}'"]

    return dataclasses.replace(contender, name=f"{contender.name}, sync", command=command)
