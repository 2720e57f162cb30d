"""An XNAT server in a box: the real protocol on loopback, quirks included, for tests and demonstrations.

It shares no code with the client. ``Site`` holds users, settings and the tree; ``Server`` serves it; ``Fault`` makes
things go wrong on purpose. Marks such as §3.4 refer to the protocol notes in ``docs/xnat-server.md``.

Imports point one way: ``content`` and ``clock`` know nothing, ``resource`` → ``tree`` → ``site`` are what is served,
``reach`` → ``listings``, ``file_list``, ``items``, ``layout``, ``ranges``, ``packing`` make answers from it, ``auth``
decides who may ask, ``service`` puts them together, ``wire`` sends, ``server`` runs it all.
"""

from __future__ import annotations

from .content import Content, Data, DiskFile, Pattern
from .demo import demo_site, small_site
from .faults import (
    EVERY,
    CleanEnd,
    CorruptMember,
    Delay,
    DropMember,
    Effect,
    EmptyBody,
    EndAfterMember,
    EofDelimited,
    ExpireDuring,
    Fault,
    Faults,
    KillSession,
    LoginPage,
    Reset,
    ShortList,
    Slow,
    Stall,
    Status,
    TruncateMember,
    WrongBody,
)
from .log import Counts, Exchange
from .odd import odd_site
from .server import Server
from .site import Site, User, empty_site
from .tree import Assessor, Entry, Experiment, Project, Reconstruction, Resource, Scan, Subject

__all__ = [
    "EVERY",
    "Assessor",
    "CleanEnd",
    "Content",
    "CorruptMember",
    "Counts",
    "Data",
    "Delay",
    "DiskFile",
    "DropMember",
    "Effect",
    "EmptyBody",
    "EndAfterMember",
    "Entry",
    "EofDelimited",
    "Exchange",
    "Experiment",
    "ExpireDuring",
    "Fault",
    "Faults",
    "KillSession",
    "LoginPage",
    "Pattern",
    "Project",
    "Reconstruction",
    "Reset",
    "Resource",
    "Scan",
    "Server",
    "ShortList",
    "Site",
    "Slow",
    "Stall",
    "Status",
    "Subject",
    "TruncateMember",
    "User",
    "WrongBody",
    "demo_site",
    "empty_site",
    "odd_site",
    "small_site",
]
