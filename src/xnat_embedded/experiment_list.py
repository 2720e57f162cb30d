"""Experiment lists, whose ``columns`` parameter is a query language of its own (§2.2).

Naming a column that only imaging sessions have moves the root of the query: forms without images vanish from the
list, and the odd id column is renamed. Unknown columns are dropped silently; ``limit``/``offset`` drop the total.
"""

from __future__ import annotations

import datetime as dt
import fnmatch
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from .tables import Row, Table
from .tree import Assessor, Experiment, Project, Subject


class BrokenQuery(Exception):
    """The database refuses the query: the answer will be 200 with an empty body (§2.1)."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An experiment as one list shows it: through which project, hence under which label."""

    experiment: Experiment
    project: Project | None = None
    assessor: Assessor | None = None

    @property
    def subject(self) -> Subject:
        return self.experiment.subject

    @property
    def project_id(self) -> str:
        return self.project.id if self.project else self.experiment.project.id

    @property
    def xsi_type(self) -> str:
        return self.assessor.xsi_type if self.assessor else self.experiment.xsi_type

    @property
    def id(self) -> str:
        return self.assessor.id if self.assessor else self.experiment.id

    @property
    def label(self) -> str:
        if self.assessor:
            return self.assessor.label
        return self.experiment.label_in(self.project_id) or self.experiment.label

    @property
    def subject_label(self) -> str:
        return self.subject.label_in(self.project_id) or self.subject.label


Column = Callable[[Listed], str]

_COMMON: dict[str, Column] = {
    "ID": lambda row: row.id,
    "label": lambda row: row.label,
    "project": lambda row: row.project_id,
    "date": lambda row: (row.assessor or row.experiment).date,
    "time": lambda _row: "",
    "xsiType": lambda row: row.xsi_type,
    "insert_date": lambda row: (row.assessor or row.experiment).insert_date,
    "insert_user": lambda row: row.experiment.insert_user,
    "last_modified": lambda row: row.experiment.last_modified,
    "subject_ID": lambda row: row.subject.id,
    "subject_label": lambda row: row.subject_label,
    "subject_project": lambda row: row.subject.project.id,
    "note": lambda row: row.experiment.note,
    "visit_id": lambda _row: "",
}

_IMAGING: dict[str, Column] = {
    "modality": lambda row: row.experiment.modality,
    "UID": lambda row: row.experiment.uid,
    "session_type": lambda _row: "",
    "scanner": lambda _row: "",
    "dcmPatientId": lambda row: row.subject_label,
    "dcmAccessionNumber": lambda _row: "",
    "session_ID": lambda row: row.id,
    "session_label": lambda row: row.label,
}

_DEFAULT = ("date", "xsiType", "insert_date", "project", "ID", "label")
_SUBJECT_ASSESSOR = "xnat:subjectassessordata"
_IMAGE_SESSION = "xnat:imagesessiondata"


def experiment_table(found: Iterable[Listed], query: Mapping[str, str]) -> Table:
    """The table of these experiments, filtered and with the columns the query names. May raise ``BrokenQuery``."""
    root = _SUBJECT_ASSESSOR
    types = {name.lower() for name in query.get("xsiType", "").split(",") if name}
    if types:
        root = min(types)
    asked = [name for name in query.get("columns", "").split(",") if name] or list(_DEFAULT)
    columns: dict[str, Column] = {}
    for name in asked:
        column, imaging = _column(name)
        if column is None:
            continue
        if imaging and root == _SUBJECT_ASSESSOR:
            root = _IMAGE_SESSION
        columns[name if "/" not in name else name.lower()] = column
    if query.get("fields") == "true":
        return Table(("FIELD",), [{"FIELD": name} for name in (*_COMMON, *_IMAGING)])
    odd = f"{root}/id"
    columns[odd] = _COMMON["ID"]
    columns["URI"] = lambda row: f"/data/experiments/{row.id}"
    chosen = [row for row in found if _of_type(row, root, types) and _passes(row, query)]
    rows = [{name: column(row) for name, column in columns.items()} for row in chosen]
    return page(Table(tuple(columns), rows), query)


def page(table: Table, query: Mapping[str, str]) -> Table:
    """``limit`` and ``offset``: either brings the other's default of 100 or 0, and the total is gone."""
    if "limit" not in query and "offset" not in query:
        return table
    try:
        offset = int(query.get("offset", "0"))
        text = query.get("limit", "100")
        stop = None if text == "*" else offset + int(text)
    except ValueError as error:
        raise BrokenQuery("limit") from error
    rows: list[Row] = table.rows[offset:stop]
    return Table(table.keys, rows, table.extras, counted=False)


def _column(name: str) -> tuple[Column | None, bool]:
    """What a column name means, and whether only imaging sessions have it. Full paths count by their last part."""
    prefix, _, last = name.rpartition("/")
    if not prefix:
        return _COMMON.get(name) or _IMAGING.get(name), name in _IMAGING
    imaging = "session" in prefix.lower()
    for names in (_COMMON, _IMAGING):
        for known, column in names.items():
            if known.lower() == last.lower():
                return column, imaging or names is _IMAGING
    return None, False


def _of_type(row: Listed, root: str, types: set[str]) -> bool:
    if root == _IMAGE_SESSION or _IMAGE_SESSION in types:
        return row.assessor is None and row.experiment.imaging
    if not types or _SUBJECT_ASSESSOR in types or "xnat:experimentdata" in types:
        return True
    return row.xsi_type.lower() in types


def _passes(row: Listed, query: Mapping[str, str]) -> bool:
    """Any shortcut is also a filter, with ``*`` as wildcard."""
    for name, value in query.items():
        column = _COMMON.get(name) or _IMAGING.get(name)
        if column is None or name == "xsiType" or not value:
            continue
        if name == "date":
            if not _in_range(column(row), value):
                return False
        elif not any(fnmatch.fnmatchcase(column(row), one) for one in value.split(",")):
            return False
    return True


def _in_range(date: str, wanted: str) -> bool:
    """``MM/DD/YYYY`` or a range of two with a dash. An ISO date has dashes of its own, and breaks (§2.2)."""
    try:
        ends = [dt.datetime.strptime(end, "%m/%d/%Y").date() for end in wanted.split("-")]  # noqa: DTZ007
        day = dt.date.fromisoformat(date)
    except ValueError as error:
        raise BrokenQuery(wanted) from error
    return ends[0] <= day <= ends[-1]
