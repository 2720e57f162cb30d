"""The command that is measured, as a user would start it: the ``xnat-sync`` of the Python in use."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from .clock import Contender
from .datasets import PASSWORD, PROJECT, USER

COMMAND = os.path.join(os.path.dirname(sys.executable), "xnat-sync")


def login(url: str, authority: str = "") -> dict[str, str]:
    """What the environment says of the server."""
    said = {"XNAT_HOST": url, "XNAT_USER": USER, "XNAT_PASS": PASSWORD}
    return said | ({"XNAT_SYNC_CA_BUNDLE": authority} if authority else {})


def mirror(target: str, *more: str) -> Sequence[str]:
    """The command that mirrors the project into ``target``."""
    return [COMMAND, "project", PROJECT, "--dest", target, "-q", *more]


def contender(url: str, *more: str, authority: str = "", name: str = "") -> Contender:
    """``xnat-sync`` with these options."""
    title = name or " ".join(["xnat-sync", *more])
    return Contender(title, lambda target: mirror(target, *more), login(url, authority))
