"""The runs that meet faults: the site they see, what stands before each, what it is asked, and what proves it good.

The first journey makes every kind of request that a mirror makes, and meets every fault at each of them. The others
come another way to some of these requests, or make requests of their own, and meet faults only there.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from system.harness import truth
from system.test_store_zip import inside
from system.warm import WarmWorld
from xnat_embedded import (
    EVERY,
    CleanEnd,
    EofDelimited,
    ExpireDuring,
    Fault,
    KillSession,
    Site,
    Status,
    WrongBody,
    empty_site,
)
from xnat_embedded.faults import Effect
from xnat_sync.core.layout import METADATA

JOBS = 3
LARGE, SMALL = 40_000, 3_000  # bytes of single files
LISTED = ("experiments", "subjects", "resources", "files", "assessors")
SLICES = (4_000, 5_000, 6_000)  # bytes of the files that come as a zip; all zips are of one size
LIFE = 2 * 86_400  # seconds that an alias token lives

Environment = Mapping[str, str | None]
About = Callable[[type[Effect], str], bool]


def whole_site(*, digests: bool = True) -> Site:
    """Two sessions with three zips and two large files, and a small file at every other level."""
    site, draw = empty_site(), random.Random(5)
    project = site.add_project("PTV000", members=("demo",))
    for label, scans in (("S1", 2), ("S2", 1)):
        session = project.add_subject(label).add_session(f"{label}_MR1")
        for number in range(1, scans + 1):
            files = [(f"{label} {number}/{at}.dcm", draw.randbytes(size)) for at, size in enumerate(SLICES)]
            session.add_scan(str(number), f"type {number}").add_resource("DICOM", files, format="DICOM")
        session.add_scan("9", "bold").add_resource("NIFTI", [("bold.nii.gz", draw.randbytes(LARGE))])
    first = project.subjects[0].experiments[0]
    first.add_resource("NOTES", [("a note.txt", draw.randbytes(SMALL))])
    first.add_assessor("S1_QC").add_resource("QC", [("qc.txt", draw.randbytes(SMALL))], way="out")
    project.subjects[0].add_resource("CONSENT", [("consent.pdf", draw.randbytes(SMALL))])
    project.add_resource("DOCS", [("README.txt", draw.randbytes(SMALL))])
    if not digests:
        for experiment in site.experiments():
            for scan in experiment.scans:
                for entry in scan.resources[0].entries:
                    entry.listed_digest = ""
    return site


def large_files() -> Site:
    """Three large files, each of a session of its own."""
    site, draw = empty_site(), random.Random(6)
    project = site.add_project("PTV000", members=("demo",))
    for label in ("S1", "S2", "S3"):
        session = project.add_subject(label).add_session(f"{label}_MR1")
        session.add_scan("9", "bold").add_resource("NIFTI", [("bold.nii.gz", draw.randbytes(LARGE))])
    return site


def everywhere(effect: type[Effect], kind: str) -> bool:
    """All faults at all requests."""
    return True


def at(*kinds: str) -> About:
    """All faults at these kinds of requests."""
    return lambda effect, kind: kind in kinds


def at_the_session(effect: type[Effect], kind: str) -> bool:
    """All faults where the session is proved, and the end of the session at every request."""
    return kind == "auth" or effect in (KillSession, ExpireDuring)


def at_unproved_zips(effect: type[Effect], kind: str) -> bool:
    """What sizes and CRCs can tell, without digests: another file of the same size and with its own CRC is believed."""
    return kind == "zip" and effect is not WrongBody


@dataclass(frozen=True)
class Journey:
    """A run that is to meet faults.

    ``{dest}`` and ``{url}`` in ``command`` stand for DEST and the server's. ``before`` brings about what it finds, and
    returns what its environment has besides. A run that mirrors brings what has ``part``, a pattern, in its path;
    another prints the same as ever where it ``prints``, and has done its work if the command ``proof`` succeeds,
    without any other login. What is not ``renewable`` ends with its session;
    ``renamed`` is a folder, and what it is to be.
    """

    name: str
    command: tuple[str, ...]
    about: About = everywhere
    site: Callable[[], Site] = whole_site
    before: Callable[[WarmWorld], Environment] = lambda here: {}
    part: str = ""
    mirrors: bool = True
    zipped: bool = False
    renewable: bool = True
    prints: bool = False
    renamed: tuple[str, str] = ("", "")
    proof: tuple[str, ...] = ()

    def arguments(self, here: WarmWorld) -> list[str]:
        """The command for one world."""
        return [part.format(dest=here.dest, url=here.server.url) for part in self.command]

    def found(self, here: WarmWorld) -> dict[str, str]:
        """What is under a final name: path -> MD5."""
        if self.zipped:
            return inside(here)
        return {path: md5 for path, md5 in here.tree().items() if not path.endswith(f"/{METADATA}")}

    def wanted(self, here: WarmWorld) -> dict[str, str]:
        """What should be there at the end."""
        whole = truth(here.site) if self.mirrors else {}
        return {path: md5 for path, md5 in whole.items() if re.search(self.part, path)}


MIRROR = ("project", "PTV000", "--dest", "{dest}", "--jobs", str(JOBS))
NOBODY: Environment = {"XNAT_USER": None, "XNAT_PASS": None}


def _pasted(here: WarmWorld) -> Environment:
    return {**NOBODY, "XNAT_JSESSION": here.server.open_session("demo")}


def _good(here: WarmWorld, *command: str) -> None:
    done = here.run(*command)
    assert done.code == 0, done


def _kept(here: WarmWorld) -> Environment:
    _good(here, "login")
    return {}


def _token(here: WarmWorld) -> Environment:
    _good(here, "login", "--token")
    return NOBODY


def _old_token(here: WarmWorld) -> Environment:
    """A token that is due to be renewed."""
    _good(here, "login", "--token")
    here.site.clock.advance(LIFE / 2)
    return {**NOBODY, "XNAT_SYNC_TEST_CLOCK": str(LIFE / 2)}


def _cut(here: WarmWorld) -> Environment:
    """A quarter of each large file, as a partial."""
    for experiment in here.site.experiments():
        # What came before a connection broke may be lost with it; before one that just ends, never.
        for effect in (EofDelimited(), CleanEnd(LARGE // 4)):
            here.server.faults.add(Fault(effect, "file", experiment.id))
        here.server.faults.add(Fault(Status(403), "file", experiment.id, nth=2, count=EVERY))
    done = here.mirror("--retries", "0")
    assert done.code == 3, done
    here.server.faults.clear()
    return {}


def _changed(here: WarmWorld) -> Environment:
    """A whole mirror, and then files replaced, removed and added on the server, and a session with another name."""
    _good(here, *MIRROR[:3], str(here.dest))
    draw = random.Random(8)
    first, second = here.site.experiments()
    slices = first.scan("1").resource("DICOM")
    slices.replace_file("S1 1/1.dcm", draw.randbytes(4_500))
    slices.remove_file("S1 1/2.dcm")
    for scan in (first.scan("9"), second.scan("9")):
        scan.resource("NIFTI").replace_file("bold.nii.gz", draw.randbytes(LARGE))
    files = [(f"{number}.dcm", draw.randbytes(SLICES[0])) for number in range(3)]
    second.add_scan("3", "new").add_resource("DICOM", files, format="DICOM")
    second.rename("S2_MR1B")
    return {}


def _all_kept(here: WarmWorld) -> Environment:
    """A session and a token."""
    return {**_token(here), **_kept(here)}


_RENAMED = ("S2/S2_MR1/", "S2/S2_MR1B/")
_DELETE = ("--delete", "--overwrite", "--max-delete", "100")

JOURNEYS = {
    journey.name: journey
    for journey in (
        Journey("mirror", (*MIRROR, "--metadata", "--ping", "{url}/app/template/Login.vm")),
        Journey("store zip", (*MIRROR, "--store", "zip"), at("zip", "file"), zipped=True),
        Journey("no digests", MIRROR, at_unproved_zips, lambda: whole_site(digests=False)),
        Journey("resumed", MIRROR, at("file"), large_files, _cut),
        Journey("changed", (*MIRROR, *_DELETE), at(*LISTED, "zip", "file"), before=_changed, renamed=_RENAMED),
        Journey("by type", (*MIRROR, "--scan-type", "type 1"), at("resources"), part="/scans/1/"),
        Journey("by token", MIRROR, at("login", "auth", "logout"), before=_token),
        Journey("token renewed", MIRROR, at("login", "auth", "token", "logout"), before=_old_token),
        Journey("pasted", MIRROR, at_the_session, before=_pasted, renewable=False),
        Journey("kept", MIRROR, at_the_session, before=_kept, renewable=False),
        Journey("experiment", ("experiment", "XNAT_E00001", *MIRROR[2:]), at("item"), part="^S1/S1_MR1/"),
        Journey("login", ("login",), mirrors=False, proof=("whoami",)),
        Journey("login --token", ("login", "--token"), mirrors=False, proof=("whoami",)),
        Journey("whoami", ("whoami",), mirrors=False),
        Journey("logout", ("logout",), before=_all_kept, mirrors=False),
        Journey("projects", ("projects", "--json"), at("projects"), mirrors=False, prints=True),
        Journey("ls", ("ls", "PTV000/S1/S1_MR1", "--json"), at(*LISTED), mirrors=False, prints=True),
    )
}
