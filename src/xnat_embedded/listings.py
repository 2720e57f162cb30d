"""The lists of projects, subjects, experiments, scans, assessors, reconstructions and resources (§2.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .answers import refuse
from .experiment_list import Listed, experiment_table, page
from .reach import Finder, Found
from .routes import Route
from .site import Site
from .tables import Row, Table
from .tree import Assessor, Experiment, Subject

_PROJECT = ("ID", "secondary_ID", "name", "description", "pi_firstname", "pi_lastname", "URI")
_SUBJECT = ("insert_date", "project", "ID", "label", "insert_user", "URI")
_SCAN = ("xnat_imagescandata_id", "ID", "type", "quality", "xsiType", "note", "series_description", "URI")
_RECON = ("xnat_reconstructedimagedata_id", "ID", "type", "baseScanType", "URI")
_ASSESSOR = (
    "ID", "project", "label", "date", "xsiType", "insert_date", "session_ID", "session_label", "URI",
)  # fmt: skip
_RESOURCE = (
    "xnat_abstractresource_id", "label", "element_name", "category", "cat_id", "cat_desc",
    "file_count", "file_size", "tags", "content", "format",
)  # fmt: skip


class Lists:
    """Lists as one user sees them."""

    def __init__(self, site: Site, user: str) -> None:
        self._site = site
        self._user = user
        self._find = Finder(site, user)

    def projects(self, query: Mapping[str, str]) -> Table:
        """The projects this user may read; hidden and protected ones are left out."""
        rows = [
            {
                "ID": project.id,
                "secondary_ID": project.secondary_id or project.id,
                "name": project.name,
                "description": project.description,
                "pi_firstname": project.pi_firstname,
                "pi_lastname": project.pi_lastname,
                "URI": f"/data/projects/{project.id}",
            }
            for project in self._site.projects
            if self._site.can_read(self._user, project)
        ]
        return _columns(Table(_PROJECT, rows), query, keep=("URI",))

    def subjects(self, route: Route, query: Mapping[str, str]) -> Table:
        """The subjects of a project, shared ones included, or all that this user may read."""
        if route.project is not None:
            project = self._find.project(route.project)
            rows = [
                self._subject(subject, subject.label_in(project.id) or "")
                for subject in self._site.subjects_in(project)
            ]
        else:
            readable = (one for one in self._site.subjects() if self._site.can_read_subject(self._user, one))
            rows = [self._subject(subject, subject.label) for subject in readable]
        rows = [row for row in rows if query.get("label", row["label"]) == row["label"]]
        return page(_columns(Table(_SUBJECT, rows), query, keep=("URI",)), query)

    def _subject(self, subject: Subject, label: str) -> Row:
        return {
            "insert_date": subject.insert_date,
            "project": subject.project.id,
            "ID": subject.id,
            "label": label,
            "insert_user": subject.insert_user,
            "URI": f"/data/subjects/{subject.id}",
            "xsiType": "xnat:subjectData",
        }

    def experiments(self, route: Route, query: Mapping[str, str]) -> Table:
        """The experiments of a project or a subject, or all readable ones with their image assessors."""
        if route.project is not None:
            project = self._find.project(route.project)
            subject = self._find.subject(route) if route.subject is not None else None
            shown = [
                Listed(one, project)
                for one in self._site.experiments_in(project)
                if subject is None or one.subject is subject
            ]
            return experiment_table(shown, query)
        if route.subject is not None:
            subject = self._find.subject(route)
            return experiment_table([Listed(one) for one in subject.experiments], query)
        everything = []
        for one in self._site.experiments():
            if self._site.can_read_experiment(self._user, one):
                everything += [Listed(one), *(Listed(one, assessor=each) for each in one.assessors)]
        table = experiment_table(everything, query)
        table.extras["title"] = "Matching experiments"
        return table

    def scans(self, route: Route, query: Mapping[str, str]) -> Table:
        """The scans of a session; a bad accession id, or a bad project on the full path, is a 500."""
        experiment = self._session(route)
        rows = [
            {
                "xnat_imagescandata_id": str(scan.pk),
                "ID": scan.id,
                "type": scan.type,
                "quality": scan.quality,
                "xsiType": scan.xsi_type,
                "note": scan.note,
                "series_description": scan.series_description,
                "URI": f"/data/experiments/{experiment.id}/scans/{scan.id}",
            }
            for scan in experiment.scans
            if query.get("xsiType", scan.xsi_type) in (scan.xsi_type, "xnat:imageScanData")
        ]
        return _columns(Table(_SCAN, rows), query, keep=("xnat_imagescandata_id", "URI"))

    def reconstructions(self, route: Route, query: Mapping[str, str]) -> Table:
        """The reconstructions of a session."""
        experiment = self._session(route)
        rows = [
            {
                "xnat_reconstructedimagedata_id": str(recon.pk),
                "ID": recon.id,
                "type": recon.type,
                "baseScanType": recon.base_scan_type,
                "URI": f"/data/experiments/{experiment.id}/reconstructions/{recon.id}",
            }
            for recon in experiment.reconstructions
        ]
        return _columns(Table(_RECON, rows), query, keep=("URI",))

    def assessors(self, route: Route, query: Mapping[str, str]) -> Table:
        """The image assessors of a session."""
        experiment = self._session(route)
        rows = [
            {
                "ID": assessor.id,
                "project": experiment.project.id,
                "label": assessor.label,
                "date": assessor.date,
                "xsiType": assessor.xsi_type,
                "insert_date": assessor.insert_date,
                "session_ID": experiment.id,
                "session_label": experiment.label,
                "URI": f"/data/experiments/{assessor.id}",
            }
            for assessor in experiment.assessors
        ]
        return _columns(Table(_ASSESSOR, rows), query, keep=("URI",))

    def _session(self, route: Route) -> Experiment:
        if route.project is not None and self._site.project(route.project) is None:
            raise refuse(500)
        experiment = self._find.experiment(route)
        if experiment is None or isinstance(experiment, Assessor):
            raise refuse(500 if route.project is None else 404)
        return experiment


def resource_table(found: Iterable[Found]) -> Table:
    """The resource list; counts and sizes come from the database and may be stale. ``columns`` has no say here."""
    rows = [
        {
            "xnat_abstractresource_id": str(each.resource.id),
            "label": each.resource.label,
            "element_name": "xnat:resourceCatalog",
            "category": each.category,
            "cat_id": each.cat_id,
            "cat_desc": each.cat_desc,
            "file_count": each.resource.count_text(),
            "file_size": each.resource.bytes_text(),
            "tags": each.resource.tags,
            "content": each.resource.content,
            "format": each.resource.format,
        }
        for each in found
    ]
    return Table(_RESOURCE, rows, {"title": "Resources"})


def _columns(table: Table, query: Mapping[str, str], keep: tuple[str, ...]) -> Table:
    """``columns=`` picks among a list's own columns; those in ``keep`` stay anyway, unknown ones are dropped."""
    if "columns" in query:
        asked = query["columns"].split(",")
        known = {*table.keys, *(table.rows[0] if table.rows else ())}
        table.keys = tuple(dict.fromkeys([*(name for name in asked if name in known), *keep]))
    return table
