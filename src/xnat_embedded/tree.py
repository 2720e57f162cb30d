"""The archive's tree: project, subject, experiment, scan or assessor.

Tests build it and change it through methods which return the small objects; the server only reads it, under the
site's lock. Nothing here knows HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .resource import Entry, Owner, Registry, Resource

__all__ = [
    "Assessor",
    "Entry",
    "Experiment",
    "Owner",
    "Project",
    "Reconstruction",
    "Resource",
    "Scan",
    "Subject",
]


@dataclass(slots=True, eq=False)
class Scan(Owner):
    """A scan of an imaging session. ``id`` is any text; ``type`` may be empty or hold slashes and commas."""

    pk: int
    id: str
    type: str
    experiment: Experiment
    site: Registry
    xsi_type: str = "xnat:mrScanData"
    quality: str = "usable"
    note: str = ""
    series_description: str = ""
    uid: str = ""
    frames: int | None = None
    resources: list[Resource] = field(default_factory=list)

    def touch(self) -> None:
        self.experiment.touch()

    def remove(self, *, touch: bool = True) -> None:
        """Delete the scan with all below it."""
        with self.site.lock:
            self.experiment.scans.remove(self)
            if touch:
                self.touch()


@dataclass(slots=True, eq=False)
class Assessor(Owner):
    """An image assessor: an experiment that hangs below a session."""

    id: str
    label: str
    xsi_type: str
    experiment: Experiment
    site: Registry
    date: str = ""
    insert_date: str = ""
    resources: list[Resource] = field(default_factory=list)

    def touch(self) -> None:
        self.experiment.touch()


@dataclass(slots=True, eq=False)
class Reconstruction(Owner):
    """A reconstructed image of a session."""

    pk: int
    id: str
    type: str
    experiment: Experiment
    site: Registry
    base_scan_type: str = ""
    resources: list[Resource] = field(default_factory=list)

    def touch(self) -> None:
        self.experiment.touch()


@dataclass(slots=True, eq=False)
class Experiment(Owner):
    """A subject assessor: an imaging session, or a form without images."""

    id: str
    label: str
    subject: Subject
    project: Project
    xsi_type: str
    site: Registry
    date: str = ""
    insert_date: str = ""
    insert_user: str = "admin"
    last_modified: str = ""
    modality: str = ""
    note: str = ""
    uid: str = ""
    shares: dict[str, str] = field(default_factory=dict)
    scans: list[Scan] = field(default_factory=list)
    assessors: list[Assessor] = field(default_factory=list)
    reconstructions: list[Reconstruction] = field(default_factory=list)
    resources: list[Resource] = field(default_factory=list)

    @property
    def imaging(self) -> bool:
        """Whether it is an imaging session: its data type is an extension of ``xnat:imageSessionData``."""
        return self.xsi_type.lower().endswith("sessiondata")

    def label_in(self, project_id: str) -> str | None:
        """Its label in a project that owns it or that it is shared into, else None."""
        if self.project.id == project_id:
            return self.label
        return self.shares.get(project_id)

    def touch(self) -> None:
        with self.site.lock:
            self.last_modified = self.site.stamp()

    def scan(self, scan_id: str) -> Scan:
        """The scan of that id."""
        return next(scan for scan in self.scans if scan.id == scan_id)

    def add_scan(
        self,
        scan_id: str,
        type: str = "",  # noqa: A002 - the name of XNAT's column
        *,
        xsi_type: str = "xnat:mrScanData",
        quality: str = "usable",
        note: str = "",
        series_description: str = "",
        uid: str = "",
        frames: int | None = None,
        touch: bool = True,
    ) -> Scan:
        """Add a scan."""
        with self.site.lock:
            pk = self.site.number("scan")
            scan = Scan(pk, scan_id, type, self, self.site, xsi_type, quality, note, series_description, uid, frames)
            self.scans.append(scan)
            if touch:
                self.touch()
        return scan

    def add_assessor(
        self, label: str, xsi_type: str = "xnat:qcAssessmentData", *, date: str = "", touch: bool = True
    ) -> Assessor:
        """Add an image assessor."""
        with self.site.lock:
            accession = self.site.accession("E")
            assessor = Assessor(accession, label, xsi_type, self, self.site, date or self.date, self.site.stamp())
            self.assessors.append(assessor)
            if touch:
                self.touch()
        return assessor

    def add_reconstruction(
        self,
        recon_id: str,
        type: str = "",  # noqa: A002 - the name of XNAT's column
        *,
        base_scan_type: str = "",
    ) -> Reconstruction:
        """Add a reconstruction."""
        with self.site.lock:
            pk = self.site.number("reconstruction")
            recon = Reconstruction(pk, recon_id, type, self, self.site, base_scan_type)
            self.reconstructions.append(recon)
            self.touch()
        return recon

    def rename(self, label: str, *, touch: bool = True) -> None:
        """Change its label in the project that owns it."""
        with self.site.lock:
            self.label = label
            if touch:
                self.touch()

    def move(self, subject: Subject, *, touch: bool = True) -> None:
        """Move it to another subject, and with it to that subject's project."""
        with self.site.lock:
            self.subject.experiments.remove(self)
            subject.experiments.append(self)
            self.subject, self.project = subject, subject.project
            self.shares.pop(self.project.id, None)
            if touch:
                self.touch()

    def share(self, project: Project, label: str | None = None, *, touch: bool = True) -> None:
        """Show it in another project too, there under ``label``; its subject is shared along."""
        with self.site.lock:
            self.shares[project.id] = self.label if label is None else label
            if self.subject.label_in(project.id) is None:
                self.subject.share(project)
            if touch:
                self.touch()

    def unshare(self, project: Project, *, touch: bool = True) -> None:
        """Show it there no longer."""
        with self.site.lock:
            del self.shares[project.id]
            if touch:
                self.touch()

    def remove(self) -> None:
        """Delete it with all below it."""
        with self.site.lock:
            self.subject.experiments.remove(self)


@dataclass(slots=True, eq=False)
class Subject(Owner):
    """A subject of a project, perhaps shared into others."""

    id: str
    label: str
    project: Project
    site: Registry
    insert_date: str = ""
    insert_user: str = "admin"
    shares: dict[str, str] = field(default_factory=dict)
    experiments: list[Experiment] = field(default_factory=list)
    resources: list[Resource] = field(default_factory=list)

    def label_in(self, project_id: str) -> str | None:
        """Its label in a project that owns it or that it is shared into, else None."""
        if self.project.id == project_id:
            return self.label
        return self.shares.get(project_id)

    def session(self, label: str) -> Experiment:
        """The experiment of that label."""
        return next(found for found in self.experiments if found.label == label)

    def add_session(
        self,
        label: str,
        xsi_type: str = "xnat:mrSessionData",
        *,
        date: str = "2020-09-01",
        modality: str | None = None,
        note: str = "",
        uid: str = "",
        project: Project | None = None,
    ) -> Experiment:
        """Add an experiment; ``xsi_type`` decides whether it is an imaging session.

        ``project`` is for a subject that was shared into another project and scanned there.
        """
        with self.site.lock:
            accession, now = self.site.accession("E"), self.site.stamp()
            if modality is None:
                modality = xsi_type[5:7].upper() if xsi_type.lower().endswith("sessiondata") else ""
            experiment = Experiment(
                accession,
                label,
                self,
                project or self.project,
                xsi_type,
                self.site,
                date,
                insert_date=now,
                last_modified=now,
                modality=modality,
                note=note,
                uid=uid,
            )
            self.experiments.append(experiment)
        return experiment

    def rename(self, label: str) -> None:
        """Change its label in the project that owns it."""
        with self.site.lock:
            self.label = label

    def share(self, project: Project, label: str | None = None) -> None:
        """Show it in another project too."""
        with self.site.lock:
            self.shares[project.id] = self.label if label is None else label

    def remove(self) -> None:
        """Delete it with all below it."""
        with self.site.lock:
            self.project.subjects.remove(self)


@dataclass(slots=True, eq=False)
class Project(Owner):
    """A project. ``visibility`` is ``private``, ``protected`` (known by name, closed) or ``public``."""

    id: str
    site: Registry
    name: str = ""
    description: str = ""
    secondary_id: str = ""
    pi_firstname: str = ""
    pi_lastname: str = ""
    visibility: str = "private"
    members: dict[str, str] = field(default_factory=dict)
    subjects: list[Subject] = field(default_factory=list)
    resources: list[Resource] = field(default_factory=list)

    def subject(self, label: str) -> Subject:
        """The subject of that label."""
        return next(found for found in self.subjects if found.label == label)

    def add_subject(self, label: str) -> Subject:
        """Add a subject."""
        with self.site.lock:
            subject = Subject(self.site.accession("S"), label, self, self.site, insert_date=self.site.stamp())
            self.subjects.append(subject)
        return subject

    def sessions(self) -> list[Experiment]:
        """All experiments of its own subjects."""
        return [experiment for subject in self.subjects for experiment in subject.experiments]
