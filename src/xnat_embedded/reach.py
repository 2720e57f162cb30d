"""Which resources a request reaches: XNAT's uneven lookup of names, rights, and its fall-backs (§2.2, §2.6, §2.7).

Project, subject, experiment and resource segments are compared raw and XML-escaped, so that labels with a space or an
umlaut cannot be named; scan lists are form-decoded. A scan or session that does not exist under the full path leads to
the *subject's* resources with status 200; under ``/data/experiments`` it is a 500.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import unquote_plus
from xml.sax.saxutils import escape

from .answers import refuse
from .routes import Route
from .site import Site
from .tree import Assessor, Experiment, Project, Reconstruction, Resource, Scan, Subject

_QUOTES = {'"': "&quot;", "'": "&apos;"}


@dataclass(frozen=True, slots=True)
class Found:
    """A resource as one request reaches it.

    ``uri`` is the start of its rows' ``URI``; ``place`` its path in a zip; the rest are columns of resource lists.
    """

    resource: Resource
    uri: str
    place: str
    category: str = "resources"
    cat_id: str = ""
    cat_desc: str = ""
    scan: Scan | None = None


@dataclass(slots=True)
class Reach:
    """All that a request reaches, and what shapes the names in its zip.

    ``named`` maps accession ids to the labels that replace them; ``scans`` are the scans the request named.
    """

    found: list[Found] = field(default_factory=list)
    label: str = ""
    named: dict[str, str] = field(default_factory=dict)
    scans: list[Scan] = field(default_factory=list)
    #: Several resources' catalogs are combined into one answer.
    combined: bool = True


class Finder:
    """Looks things up for one user."""

    def __init__(self, site: Site, user: str) -> None:
        self._site = site
        self._user = user

    # --- single things ------------------------------------------------------------------------------------------

    def project(self, segment: str) -> Project:
        """A readable project; 403 if it is protected, 404 if it is hidden or does not exist."""
        project = self._site.project(segment)
        if project is None:
            raise refuse(404)
        if not self._site.can_read(self._user, project):
            raise refuse(403 if project.visibility == "protected" else 404)
        return project

    def subject(self, route: Route) -> Subject:
        """The subject a path names: by label or id in its project, else by id only."""
        wanted = route.subject or ""
        if route.project is not None:
            project = self.project(route.project)
            for subject in self._site.subjects_in(project):
                if same(wanted, subject.id) or same(wanted, subject.label_in(project.id)):
                    return subject
            raise refuse(404)
        for subject in self._site.subjects():
            if same(wanted, subject.id) and self._site.can_read_subject(self._user, subject):
                return subject
        raise refuse(404)

    def experiment(self, route: Route) -> Experiment | Assessor | None:
        """The experiment a path names: by label or id below a project, else by accession id only."""
        wanted = route.experiment or ""
        if route.project is not None:
            project = self.project(route.project)
            subject = self.subject(route) if route.subject is not None else None
            for experiment in self._site.experiments_in(project):
                if subject is not None and experiment.subject is not subject:
                    continue
                if same(wanted, experiment.id) or same(wanted, experiment.label_in(project.id)):
                    return experiment
            return None
        return self.accession(wanted)

    def accession(self, segment: str) -> Experiment | Assessor | None:
        """The readable experiment or assessor of an accession id."""
        wanted = escape(segment, _QUOTES)
        for experiment in self._site.experiments():
            found: Experiment | Assessor | None = experiment if experiment.id == wanted else None
            for assessor in experiment.assessors:
                if assessor.id == wanted:
                    found = assessor
            if found is not None:
                return found if self._site.can_read_experiment(self._user, experiment) else None
        return None

    # --- resources ----------------------------------------------------------------------------------------------

    def reach(self, route: Route, *, everything: bool, files: bool) -> Reach:
        """What a ``…/resources`` or ``…/files`` path reaches, before the resource segment narrows it.

        ``everything`` is ``all=true``; ``files`` tells file lists and zips from resource lists, which differ in how
        they fail. Raises ``Refuse``.
        """
        if route.experiment is None:
            if route.subject is not None:
                return self._of_subject(route)
            return self._of_project(self.project(route.project or ""))
        if route.project is not None:
            experiment = self.experiment(route)
            if isinstance(experiment, Experiment):
                found = self._of_experiment(experiment, route, everything)
                if found is not None:
                    return found
            if route.subject is None:
                raise refuse(404)
            return self._of_subject(route)
        reach = Reach()
        for segment in route.experiment.split(","):
            part = self._by_accession(segment, route, everything=everything, files=files)
            reach.found += part.found
            reach.named |= part.named
            reach.scans += part.scans
            reach.label = reach.label or part.label
        return reach

    def _by_accession(self, segment: str, route: Route, *, everything: bool, files: bool) -> Reach:
        experiment = self.accession(segment)
        if experiment is None:
            raise refuse(500 if files else 404)
        if isinstance(experiment, Assessor):
            return self._of_assessor(experiment, f"/data/experiments/{experiment.id}")
        # File lists also want the right to read the primary project, shared or not (§2.6).
        if files and not self._site.can_read(self._user, experiment.project):
            raise refuse(403)
        found = self._of_experiment(experiment, route, everything)
        if found is None:
            raise refuse(500 if files else 404)
        return found

    def _of_project(self, project: Project) -> Reach:
        uri = f"/data/projects/{project.id}"
        found = [Found(each, uri, project.id, cat_id=project.id, cat_desc=" ") for each in project.resources]
        return Reach(found, project.id)

    def _of_subject(self, route: Route) -> Reach:
        subject = self.subject(route)
        project = route.project or subject.project.id
        label = subject.label_in(project) or subject.label
        uri = f"/data/projects/{project}/subjects/{subject.id}"
        found = [Found(each, uri, label, cat_id=subject.id, cat_desc=" ") for each in subject.resources]
        return Reach(found, label)

    def _of_experiment(self, experiment: Experiment, route: Route, everything: bool) -> Reach | None:
        """The resources of a session, or of the scans, assessor or reconstruction named; None if there is none."""
        label = (experiment.label_in(route.project) if route.project else None) or experiment.label
        reach = Reach(label=label, named={experiment.id: label})
        base, place = f"/data/experiments/{experiment.id}", experiment.id
        if route.scans is not None:
            reach.scans = match_scans(experiment.scans, route.scans)
            reach.found = _of_scans(reach.scans, base, place)
            return reach if reach.scans else None
        if route.assessor is not None:
            for assessor in experiment.assessors:
                if same(route.assessor, assessor.id) or same(route.assessor, assessor.label):
                    reach.found = _of_assessor(assessor, base, place, route.way)
                    return reach
            return None
        if route.recon is not None:
            name = unquote_plus(route.recon)
            recons = [recon for recon in experiment.reconstructions if recon.id == name]
            reach.found = _of_recons(recons, base, place)
            return reach if recons else None
        owner = ("", "") if everything else (experiment.id, " ")
        reach.found = [Found(each, base, place, cat_id=owner[0], cat_desc=owner[1]) for each in experiment.resources]
        if everything:
            reach.found += _of_scans(experiment.scans, base, place)
            reach.found += _of_recons(experiment.reconstructions, base, place)
            for assessor in experiment.assessors:
                reach.found += _of_assessor(assessor, base, place, "")
        return reach

    def _of_assessor(self, assessor: Assessor, uri: str) -> Reach:
        found = [Found(each, uri, assessor.id, cat_id=assessor.id, cat_desc=" ") for each in assessor.resources]
        return Reach(found, assessor.label, {assessor.id: assessor.label})

    # --- narrowing by resource ----------------------------------------------------------------------------------

    def narrow(self, reach: Reach, route: Route) -> Reach:
        """Keep the resources that the path names, and give their rows the form of the request.

        Digits are a number, everything else a label; an unknown label leaves nothing, an unknown number is a 403.
        A number works on any path of its session, also for a scan's resource, whose rows then lack the scan.
        """
        chosen: list[Found] = []
        for segment in (route.resources or "").split(","):
            if segment.isdigit():
                chosen.append(self._by_number(reach, route, int(segment)))
            else:
                chosen += [found for found in reach.found if same(segment, found.resource.label)]
        reach.found = [_as_requested(found, route) for found in chosen]
        reach.combined = len(chosen) > 1
        return reach

    def _by_number(self, reach: Reach, route: Route, number: int) -> Found:
        for found in reach.found:
            if found.resource.id == number:
                return found
        if route.experiment is not None and route.scans is None and route.assessor is None and route.recon is None:
            experiment = self.experiment(route)
            if isinstance(experiment, Experiment):
                base = f"/data/experiments/{experiment.id}"
                for resource in _all_of(experiment):
                    if resource.id == number:
                        return Found(resource, base, experiment.id, cat_id=experiment.id, cat_desc=" ")
        raise refuse(403)


def same(segment: str, name: str | None) -> bool:
    """Whether a raw path segment names this: no decoding, but XML-escaping first (§2.6)."""
    return name is not None and name != "" and escape(segment, _QUOTES) == name


def match_scans(scans: Iterable[Scan], segment: str) -> list[Scan]:
    """The scans of a list such as ``4,5``, ``ALL`` or a type. Ids and types are matched together."""
    decoded = unquote_plus(segment)
    if decoded in ("ALL", "*"):
        return list(scans)
    wanted = decoded.split(",")
    types = {name.replace("[SLASH]", "/").replace("[COMMA]", ",") for name in wanted}
    if "NULL" in wanted:
        types.add("")
    else:
        types.discard("")
    return [scan for scan in scans if scan.id in wanted or scan.type in types]


def _of_scans(scans: Iterable[Scan], base: str, place: str) -> list[Found]:
    return [
        Found(each, f"{base}/scans/{scan.id}", f"{place}/scans/{scan.id}", "scans", scan.id, scan.type, scan)
        for scan in scans
        for each in scan.resources
    ]


def _of_recons(recons: Iterable[Reconstruction], base: str, place: str) -> list[Found]:
    return [
        Found(
            each,
            f"{base}/reconstructions/{recon.id}/{each.way or 'out'}",
            f"{place}/reconstructions/{recon.id}/{each.way or 'out'}",
            "reconstructions",
            recon.id,
            recon.type,
        )
        for recon in recons
        for each in recon.resources
    ]


def _of_assessor(assessor: Assessor, base: str, place: str, way: str) -> list[Found]:
    found = []
    for each in assessor.resources:
        if way in ("", each.way):
            below = f"/assessors/{assessor.id}" + (f"/{each.way}" if each.way else "")
            found.append(Found(each, base + below, place + below, "assessors", assessor.id, assessor.xsi_type))
    return found


def _all_of(experiment: Experiment) -> Iterable[Resource]:
    yield from experiment.resources
    for scan in experiment.scans:
        yield from scan.resources
    for recon in experiment.reconstructions:
        yield from recon.resources
    for assessor in experiment.assessors:
        yield from assessor.resources


def _as_requested(found: Found, route: Route) -> Found:
    """The row form when the resource is named: with the project part if, and only if, the request had it."""
    if route.project is None or route.subject is None or not found.uri.startswith("/data/experiments/"):
        return found
    owner = found.resource.owner
    while not isinstance(owner, Experiment):
        if not isinstance(owner, Scan | Assessor | Reconstruction):
            return found
        owner = owner.experiment
    uri = f"/data/projects/{route.project}/subjects/{owner.subject.id}{found.uri[len('/data') :]}"
    return Found(found.resource, uri, found.place, found.category, found.cat_id, found.cat_desc, found.scan)
