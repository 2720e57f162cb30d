"""The demonstration site: project ``PTV000`` with real DICOM files, as a small imaging study would leave it.

Four subjects, seven experiments (MR, CT, PET, and one form without images), scan resources DICOM, NIFTI and
SNAPSHOTS, resources of sessions, subjects and the project, and an assessor. ``demo_site`` is 40 MB or so, and
``small_site`` the same shape at a thirtieth.
"""

from __future__ import annotations

import gzip
import io
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from . import dicom
from .content import Data
from .site import Site, empty_site
from .tree import Experiment, Project, Scan

_GIF = bytes.fromhex("47494638396101000100800000ffffff00000021f90401000000002c00000000010001000002024401003b")


@dataclass(frozen=True, slots=True)
class _Plan:
    """A scan to be made: ``files`` and ``zoom`` are for the demo site, small sites have fewer and smaller."""

    id: str
    type: str
    files: int
    zoom: int = 4
    nifti: int = 0
    snapshots: bool = False


_MR = (
    _Plan("1", "localizer", 9, zoom=1),
    _Plan("4", "t1_mprage", 44, snapshots=True),
    _Plan("5", "t2_space", 32),
    _Plan("6", "ep2d bold/rest", 36, zoom=2, nifti=2_500_000),
)
_SHORT_MR = (_Plan("1", "localizer", 9, zoom=1), _Plan("2", "t1_mprage", 30), _Plan("3-MR1", "", 12, zoom=2))
_CT = (_Plan("1", "SCOUT", 2, zoom=1), _Plan("2", "CT HEAD 5mm", 30, zoom=2), _Plan("401a", "BONE", 12, zoom=2))
_PET = (_Plan("1", "PET AC", 40, zoom=2), _Plan("2", "PET NAC", 20, zoom=2))

# Subject, session label, data type, date, scans. The first is the one the manual's examples use.
_SESSIONS = (
    ("Haofei01", "Haofei01_MR1", "xnat:mrSessionData", "2020-09-01", "MR", _MR),
    ("Haofei01", "Haofei01_MR2", "xnat:mrSessionData", "2021-03-15", "MR", _SHORT_MR),
    ("Haofei02", "Haofei02_MR1", "xnat:mrSessionData", "2020-09-08", "MR", _MR),
    ("Haofei03", "Haofei03_CT1", "xnat:ctSessionData", "2020-10-02", "CT", _CT),
    ("Haofei03", "Haofei03_PET1", "xnat:petSessionData", "2020-10-02", "PT", _PET),
    ("Haofei04", "Haofei04_MR1", "xnat:mrSessionData", "2022-01-20", "MR", _SHORT_MR),
)


def demo_site(scale: int = 1, *, form: bool = True) -> Site:
    """About 400 files and 40 MB at scale 1; ``scale`` multiplies the files of every scan.

    ``form=False`` leaves out the experiment without images, on which some clients stop.
    """
    return _site(scale, small=False, form=form)


def small_site() -> Site:
    """The same tree with about 60 files and 1.5 MB, made in a fraction of a second."""
    return _site(1, small=True, form=True)


def _site(scale: int, *, small: bool, form: bool) -> Site:
    site = empty_site()
    site.add_user("jörg", "pässwörd-ünïcode")
    project = site.add_project(
        "PTV000",
        name="Pipeline test volunteers",
        description="Real DICOM files, made for demonstrations",
        members={"demo": "member", "jörg": "collaborator"},
    )
    for number, (subject_label, label, xsi_type, date, modality, plans) in enumerate(_SESSIONS, 1):
        labels = [subject.label for subject in project.subjects]
        known = subject_label in labels
        subject = project.subject(subject_label) if known else project.add_subject(subject_label)
        session = subject.add_session(label, xsi_type, date=date)
        for plan in plans:
            _add_scan(session, number, plan, modality, scale, small=small)
    _add_the_rest(project, small=small)
    if form:
        _add_form(project)
    _add_other_projects(site)
    return site


def _add_scan(session: Experiment, number: int, plan: _Plan, modality: str, scale: int, *, small: bool) -> None:
    at = len(session.scans) + 1
    count = max(1, plan.files // 7) if small else plan.files * scale
    series = dicom.Series(
        study=number,
        series=number * 1000 + at,
        number=at,
        modality=modality,
        patient=session.subject.label,
        description=plan.type or "unnamed",
        zoom=1 if small else plan.zoom,
    )
    kind = {"MR": "xnat:mrScanData", "CT": "xnat:ctScanData", "PT": "xnat:petScanData"}[modality]
    scan = session.add_scan(
        plan.id,
        plan.type,
        xsi_type=kind,
        series_description=plan.type,
        uid=series.uid,
        frames=count,
    )
    session.uid = series.study_uid
    images = scan.add_resource("DICOM", format="DICOM", content="RAW")
    for name, data in _images(series, count):
        images.add_file(name, data, touch=False)
    if plan.nifti:
        size = plan.nifti // 40 if small else plan.nifti * scale
        scan.add_resource("NIFTI", [(f"{plan.id}_bold.nii.gz", _nifti(size, at))], format="NIFTI")
    if plan.snapshots:
        _add_snapshots(scan)


@cache
def _images(series: dicom.Series, count: int) -> tuple[tuple[str, Data], ...]:
    """Contents are immutable, so sites share them, checksums and all."""
    return tuple((name, Data(data)) for name, data in dicom.files(series, count))


@cache
def _nifti(size: int, seed: int) -> Data:
    """Something like a large ``.nii.gz``: it barely compresses any further."""
    out = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=out, mtime=0) as packed:
        packed.write(b"\x5c\x01\0\0" + bytes(344) + random.Random(seed).randbytes(size))
    return Data(out.getvalue())


def _add_snapshots(scan: Scan) -> None:
    snapshots = scan.add_resource("SNAPSHOTS", format="GIF", content="SNAPSHOTS")
    for kind in ("", "_t"):
        snapshots.add_file(f"{scan.experiment.label}_{scan.id}_qc{kind}.gif", _GIF, touch=False)


def _add_the_rest(project: Project, *, small: bool) -> None:
    first = project.subject("Haofei01").session("Haofei01_MR1")
    notes = first.add_resource("NOTES", format="TXT")
    notes.add_file("protocol.txt", "Head coil; eyes open.\n", touch=False)
    notes.add_file("physio/2020 09/pulse log.txt", "0.81 0.79 0.80\n", touch=False)
    pulses = "".join(_numbers(200 if small else 20_000))
    first.add_resource("PHYSIO", [("pulse.csv", pulses)], format="CSV")
    quality = first.add_assessor("Haofei01_MR1_QC", "xnat:qcManualAssessorData")
    quality.add_resource("REPORT", [("report.txt", "pass\n"), ("figures/snr.gif", _GIF)], way="out")
    project.subject("Haofei02").add_resource("CONSENT", [("consent.pdf", b"%PDF-1.4\n%%EOF\n")], format="PDF")
    project.add_resource("DOCS", [("README.txt", "Made for demonstrations.\n"), ("codes/sites.csv", "id\n1\n")])


def _add_form(project: Project) -> None:
    form = project.subject("Haofei04").add_session(
        "Haofei04_SUR1", "xnat:subjectVariablesData", date="2022-01-20", note="questionnaire"
    )
    form.add_resource("FORMS", [("answers.json", '{"q1": 3}\n')], format="JSON")


def _numbers(count: int) -> Iterator[str]:
    source = random.Random(7)
    for index in range(count):
        yield f"{index},{source.random():.6f}\n"


def _add_other_projects(site: Site) -> None:
    """A project that ``demo`` cannot see, and one that it knows by name only."""
    hidden = site.add_project("HIDDEN", members=("admin",))
    session = hidden.add_subject("X1").add_session("X1_MR1")
    session.add_scan("1", "secret").add_resource("DICOM", [("1.dcm", b"not for you")])
    site.add_project("GUARDED", visibility="protected", members=("admin",)).add_subject("G1").add_session("G1_MR1")
