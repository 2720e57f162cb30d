"""Every REST path that the client asks for, built and quoted in one place.

XNAT decodes percent signs unevenly: project, subject and experiment segments are not decoded at all, and a file's
path is form-decoded once it holds ``%20`` or ``%2B``. So units are addressed by accession id and resources by number,
which need no quoting, and file paths are quoted segment by segment with nothing but RFC 3986's unreserved
characters left plain.
"""

from __future__ import annotations

from typing import assert_never
from urllib.parse import quote

from .model import Level, Place, Resource, Unit, UnitKind

JSESSION = "/data/JSESSION"
AUTH = "/data/auth"
BUILD_INFO = "/xapi/siteConfig/buildInfo"
PROJECTS = "/data/projects?format=json"
TOKEN_ISSUE = "/data/services/tokens/issue"  # noqa: S105

# The columns name no imaging-only field: one of those would silently drop every non-imaging experiment.
_EXPERIMENT_COLUMNS = "ID,label,xsiType,subject_ID,subject_label,project,date,insert_date,last_modified"


def segment(text: str) -> str:
    """One path segment, with everything but RFC 3986's unreserved characters percent-encoded."""
    return quote(text, safe="", errors="surrogatepass")


def token_invalidate(alias: str) -> str:
    """Makes an alias token worthless. The secret is left out: addresses end up in the logs of servers."""
    return f"/data/services/tokens/invalidate/{segment(alias)}"


def file_path(path: str) -> str:
    """A file's path within its resource, its slashes kept."""
    return quote(path, safe="/", errors="surrogatepass")


def experiments(project: str) -> str:
    """The project's experiment list, with what is needed to see changes."""
    return f"/data/projects/{segment(project)}/experiments?columns={_EXPERIMENT_COLUMNS}&format=json"


def subjects(project: str) -> str:
    """The project's subject list."""
    return f"/data/projects/{segment(project)}/subjects?format=json"


def scans(accession: str) -> str:
    """The scan list of one experiment."""
    return f"/data/experiments/{segment(accession)}/scans?format=json"


def assessors(accession: str) -> str:
    """The assessor list of one experiment."""
    return f"/data/experiments/{segment(accession)}/assessors?format=json"


def item(accession: str) -> str:
    """The experiment's own record, with typed values."""
    return f"/data/experiments/{segment(accession)}?format=json"


def _base(unit: Unit) -> str:
    match unit.kind:
        case UnitKind.EXPERIMENT:
            return f"/data/experiments/{segment(unit.id)}"
        case UnitKind.SUBJECT:
            return f"/data/projects/{segment(unit.project)}/subjects/{segment(unit.id)}"
        case UnitKind.PROJECT:
            return f"/data/projects/{segment(unit.project)}"
        case _:
            assert_never(unit.kind)


def files(unit: Unit) -> str:
    """The file list of a unit: for an experiment, of everything that hangs on it."""
    everything = "all=true&" if unit.kind is UnitKind.EXPERIMENT else ""
    return f"{_base(unit)}/files?{everything}format=json"


def resources(unit: Unit) -> str:
    """The resource list of a unit: counts and sizes from the database, without reading any catalog."""
    everything = "all=true&" if unit.kind is UnitKind.EXPERIMENT else ""
    return f"{_base(unit)}/resources?{everything}format=json"


def _resource(unit: Unit, place: Place, number: str) -> str:
    # A scan resource is addressed without its scan: scan ids may hold what a path cannot, and a zip asked for
    # this way has its members named without the scan type spliced in.
    owner = ""
    if place.level in (Level.ASSESSOR, Level.RECONSTRUCTION):
        kind = "assessors" if place.level is Level.ASSESSOR else "reconstructions"
        owner = f"/{kind}/{segment(place.owner)}" + (f"/{place.direction}" if place.direction else "")
    return f"{_base(unit)}{owner}/resources/{segment(number)}"


def resource_files(unit: Unit, number: str) -> str:
    """The file list of one resource; its number is enough, wherever in the unit it hangs."""
    return f"{_base(unit)}/resources/{segment(number)}/files?format=json"


def resource_zip(resource: Resource) -> str:
    """All files of a resource as one zip, stored: the server's default, and cheapest for both ends."""
    return f"{_resource(resource.unit, resource.place, resource.id)}/files?format=zip"


def file(resource: Resource, path: str) -> str:
    """One file. No ``format`` and no ``Accept`` that names an image: XNAT would convert DICOM to JPEG."""
    return f"{_resource(resource.unit, resource.place, resource.id)}/files/{file_path(path)}"
