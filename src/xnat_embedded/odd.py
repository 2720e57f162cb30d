"""A site of oddities: project ``ODD`` holds every name, level and disagreement that real archives have (§2.6, §8).

All of it can be downloaded, except what is said to be missing; nothing here needs a fault. ``demo`` may read ``ODD``
and ``ODD2``, into which a session is shared.
"""

from __future__ import annotations

import io
import zipfile

from .content import Pattern
from .site import Site, empty_site
from .tree import Experiment, Project

#: Names of files as people and scanners make them, in one resource.
FILE_NAMES = (
    "plain.dcm",
    "with space.dcm",
    "plus+plus.dcm",
    "plus+ and space.dcm",
    "hash#tag.dcm",
    "question?mark.dcm",
    "percent%41.dcm",
    "percent%20literal.dcm",
    "100%.dcm",
    "amp&eq=semi;comma,.dcm",
    "colon:star*pipe|.dcm",
    "[brackets]{braces}^`.dcm",
    "quote'double\".dcm",
    "umlaut-é-nfc.dcm",
    "umlaut-e\N{COMBINING ACUTE ACCENT}-nfd.dcm",
    "日本語.dcm",
    "emoji-\N{BRAIN}.dcm",
    "Case.dcm",
    "case.dcm",
    "trailing dot.",
    "aux.txt",
    "-leading-dash",
    ".hidden",
    "~tilde",
    "n" * 200 + ".dcm",
    "a/same.dcm",
    "b/same.dcm",
    "4/in a folder named like the scan.dcm",
    "files/in a folder named files.dcm",
    "resources/1/files/nested words.dcm",
    "deep/er/and/deeper/still/x.dcm",
    "empty.dcm",
)


def odd_site(*, big: bool = False) -> Site:
    """The site. ``big`` adds a sparse file of 4 GiB and a bit, for ZIP64."""
    site = empty_site()
    odd = site.add_project("ODD", members=("demo",), description='<b>"Odd" & more</b>')
    other = site.add_project("ODD2", members=("demo",))
    subject = odd.add_subject("S1")
    _names(subject.add_session("NAMES"))
    _scans(subject.add_session("SCANS"))
    _resources(subject.add_session("RESOURCES"))
    _catalogs(subject.add_session("CATALOGS"))
    _levels(odd, subject.add_session("LEVELS"))
    _sharing(odd, other)
    _labels(odd)
    subject.add_session("EMPTY")
    subject.add_session("EMPTYSCAN").add_scan("1", "t1").add_resource("DICOM", format="DICOM")
    if big:
        huge = subject.add_session("HUGE").add_scan("1", "huge").add_resource("RAW")
        huge.add_file("huge.bin", Pattern((4 << 30) + 12345), digest="")
        huge.add_file("after.txt", "after\n")
    return site


def _names(session: Experiment) -> None:
    resource = session.add_scan("4", "t1 mprage").add_resource("DICOM", format="DICOM", content="RAW")
    for number, name in enumerate(FILE_NAMES):
        data = b"" if name == "empty.dcm" else f"{number} {name}\n".encode() * (number + 1)
        resource.add_file(name, data)
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as archive:
        archive.writestr(zipfile.ZipInfo("inner.txt"), "inner\n")
    resource.add_file("stored.zip", stored.getvalue())


def _scans(session: Experiment) -> None:
    """Ids that look alike, and types that look like ids or paths."""
    plans = (
        ("4", "t1 mprage"),
        ("4-MR1", "t1 mprage"),
        ("401a", "1/2"),
        ("5", "4"),
        ("6", ""),
        ("7", "a, b"),
        ("8", "café ∆"),
        ("9", "CON"),
        ("MR.1", "..."),
        ("sp ace", "t2"),
        ("plus+1", "t2"),
    )
    for number, (scan_id, kind) in enumerate(plans):
        scan = session.add_scan(scan_id, kind)
        scan.add_resource("DICOM", [("1.dcm", f"scan {number}\n")], format="DICOM", content="RAW")
    # Ids which no path can name alone: only their numeric resources can be reached.
    for number, scan_id in enumerate(("1/2", "3,4")):
        scan = session.add_scan(scan_id, "odd id")
        scan.add_resource("DICOM", [("1.dcm", f"odd {number}\n")], format="DICOM", content="RAW")


def _resources(session: Experiment) -> None:
    """Two of one label, one without, all digits, a space, another case, and one with nothing in it."""
    scan = session.add_scan("1", "t1")
    for number, label in enumerate(
        ("DICOM", "DICOM", "", "2023", "with space", "dicom", "a&b", "Üml", "per%cent", "x.zip")
    ):
        scan.add_resource(label, [("f.dcm", f"resource {number}\n"), (f"only-{number}.dcm", b"x")])
    scan.add_resource("NOTHING")


def _catalogs(session: Experiment) -> None:
    """Where catalog, database and disk disagree."""
    scan = session.add_scan("1", "t1")
    stale = scan.add_resource("STALE", [("1.dcm", b"one"), ("2.dcm", b"two")])
    stale.file_count, stale.file_size = "7", "999"
    blank = scan.add_resource("BLANK", [("1.dcm", b"one")])
    blank.file_count = blank.file_size = ""
    holes = scan.add_resource("HOLES", [("here.dcm", b"here")])
    holes.add_file("gone.dcm", b"it was here once", on_disk=False)
    bare = scan.add_resource("BARE")
    bare.add_file("nodigest.dcm", b"no digest", digest="")
    bare.add_file("nosize.dcm", b"no size", size="")
    bare.add_file("neither.dcm", b"neither", size="", digest="")
    bare.add_file("remote.dcm", b"kept elsewhere", remote=True)
    old = scan.add_resource("NOIDS")
    old.add_file("1.dcm", b"an entry without id", has_id=False)


def _levels(project: Project, session: Experiment) -> None:
    """A file on every level that can hold one."""
    session.add_resource("SESSION", [("s.txt", b"session")])
    session.add_scan("1", "t1").add_resource("DICOM", [("1.dcm", b"scan")], format="DICOM")
    assessor = session.add_assessor("LEVELS_QC")
    assessor.add_resource("OUT", [("o.txt", b"out")], way="out")
    assessor.add_resource("IN", [("i.txt", b"in")], way="in")
    assessor.add_resource("OWN", [("w.txt", b"own")])
    recon = session.add_reconstruction("R1", "mean", base_scan_type="t1")
    recon.add_resource("NIFTI", [("mean.nii.gz", b"recon")], way="out")
    project.subject("S1").add_resource("SUBJECT", [("sub.txt", b"subject")])
    project.add_resource("PROJECT", [("p.txt", b"project"), ("folder/q.txt", b"in a folder")])


def _sharing(odd: Project, other: Project) -> None:
    """One session in two projects, under two labels; and a subject of one project scanned in another."""
    subject = odd.add_subject("SHARED")
    session = subject.add_session("SHARED_MR1")
    session.add_scan("1", "t1").add_resource("DICOM", [("1.dcm", b"shared")], format="DICOM")
    subject.share(other, "S-01")
    session.share(other, "S-01_MR")
    own = other.add_subject("LENT")
    lent = own.add_session("LENT_MR1")
    lent.add_scan("1", "t1").add_resource("DICOM", [("1.dcm", b"lent")], format="DICOM")
    lent.share(odd, "BORROWED_MR1")


def _labels(project: Project) -> None:
    """Labels that no path can name: only accession ids reach them. Two differ in case alone."""
    for number, label in enumerate(("with space", "Jürgen", "O'Neil & Co", "a+b", "lower", "LOWER", "semi;colon")):
        session = project.add_subject(label).add_session(f"{label} MR{number}")
        session.add_scan("1", "t1").add_resource("DICOM", [("1.dcm", f"label {number}\n")], format="DICOM")
