"""A site that is small and has one of everything, and what may change on it.

Scans as zips, one file in a folder, one large enough to be gone on with, files without a digest, resources of a session
and of a subject.
"""

from __future__ import annotations

import random

from xnat_embedded import Experiment, Resource, Site, empty_site

PROJECT = "PTV000"
LARGE = 1_100_000  # bytes of the large file: the client writes it in a few pieces


def small() -> Site:
    """The site as it is at first."""
    draw = random.Random(6)
    site = empty_site()
    project = site.add_project(PROJECT, members=("demo",))
    first = project.add_subject("S1")
    a, b = first.add_session("A"), first.add_session("B")
    anatomy = [(f"{number}.dcm", draw.randbytes(2000 + number)) for number in range(3)]
    a.add_scan("1", "t1").add_resource("DICOM", [*anatomy, ("more/4.dcm", draw.randbytes(3000))], format="DICOM")
    a.add_scan("2", "bold").add_resource("NIFTI", [("bold.nii", draw.randbytes(LARGE))], format="NIFTI")
    a.add_resource("NOTES", [("notes.txt", draw.randbytes(500))])
    b.add_scan("1", "t1").add_resource("DICOM", [(f"{number}.dcm", draw.randbytes(1500)) for number in range(3)])
    b.scan("1").resource("DICOM")["2.dcm"].listed_digest = ""
    b.add_resource("MINUTES", [("minutes.txt", draw.randbytes(700))])["minutes.txt"].listed_digest = ""
    first.add_resource("CONSENT", [("consent.pdf", draw.randbytes(900))])
    return site


def session(site: Site, label: str) -> Experiment:
    """The session of that label."""
    return next(found for found in site.experiments() if found.label == label)


def resources(site: Site) -> list[Resource]:
    """All resources of a site like ours."""
    owners = [owner for session in site.experiments() for owner in (session, session.subject, *session.scans)]
    return list({resource.id: resource for owner in owners for resource in owner.resources}.values())


def add_doomed(site: Site) -> Experiment:
    """A session that will be gone when everything has changed."""
    doomed = session(site, "A").subject.add_session("GONE")
    draw = random.Random(8)
    doomed.add_scan("1").add_resource("DICOM", [("x.dcm", draw.randbytes(800)), ("y.dcm", draw.randbytes(810))])
    return doomed


def change(site: Site) -> None:
    """Files replaced, added and removed, a scan and a session with other names, a new scan, a file without a digest."""
    draw = random.Random(7)
    a, b = session(site, "A"), session(site, "B")
    anatomy = a.scan("1").resource("DICOM")
    anatomy.replace_file("1.dcm", draw.randbytes(2500))
    anatomy.replace_file("more/4.dcm", draw.randbytes(3001))
    anatomy.add_file("added/5.dcm", draw.randbytes(1700))
    anatomy.remove_file("2.dcm")
    a.scan("2").id = "2-again"
    a.add_scan("3", "t2").add_resource("DICOM", [(f"{number}.dcm", draw.randbytes(900)) for number in range(3)])
    b.resource("MINUTES").replace_file("minutes.txt", draw.randbytes(701))
    b.resource("MINUTES")["minutes.txt"].listed_digest = ""
    b.rename("B-NEW")


def add_third(site: Site) -> Experiment:
    """One more session."""
    third = session(site, "A").subject.add_session("C")
    files = [(f"{number}.dcm", random.Random(number).randbytes(600)) for number in range(2)]
    third.add_scan("1").add_resource("DICOM", files)
    return third


def swap(site: Site) -> None:
    """Two sessions have each other's label, and a third another subject."""
    a, b, third = (session(site, label) for label in "ABC")
    a.rename("B")
    b.rename("A")
    third.move(third.project.add_subject("S2"))
