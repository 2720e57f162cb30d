"""A site made from a folder: ``SUBJECT/EXPERIMENT/scans/SCAN/RESOURCE/**`` and ``…/resources/RESOURCE/**``.

Contents stay on disk and are streamed from there. The tree is read once; a file that vanishes afterwards is listed
and missing, as it would be on a real server.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from .content import DiskFile
from .site import DEMO_PASSWORD, Site
from .tree import Experiment, Owner


def site_from_folder(
    path: str | os.PathLike[str], project_id: str, *, user: str = "demo", password: str = DEMO_PASSWORD
) -> Site:
    """A site with one project, which ``user`` may read."""
    root = os.fspath(path)
    if not os.path.isdir(root):
        raise NotADirectoryError(f"{root} is not a folder")
    site = Site()
    site.add_user(user, password)
    project = site.add_project(project_id, members=(user,))
    _add_resources(project, os.path.join(root, "resources"))
    for subject_label, subject_path in _folders(root):
        if subject_label == "resources":
            continue
        subject = project.add_subject(subject_label)
        _add_resources(subject, os.path.join(subject_path, "resources"))
        for label, session_path in _folders(subject_path):
            if label != "resources":
                _fill(subject.add_session(label), session_path)
    return site


def _fill(session: Experiment, path: str) -> None:
    _add_resources(session, os.path.join(path, "resources"))
    for scan_id, scan_path in _folders(os.path.join(path, "scans")):
        # A desktop client's download names the folder "4-t1_mprage".
        scan = session.add_scan(scan_id)
        inner = os.path.join(scan_path, "resources")
        _add_resources(scan, inner if os.path.isdir(inner) else scan_path)


def _add_resources(owner: Owner, path: str) -> None:
    for label, folder in _folders(path):
        resource = owner.add_resource(label, format=label if label == "DICOM" else "")
        inner = os.path.join(folder, "files")
        base = inner if os.path.isdir(inner) and os.listdir(folder) == ["files"] else folder
        for rel in _files(base):
            full = os.path.join(base, rel)
            resource.add_file(rel.replace(os.sep, "/"), DiskFile(full), mtime=int(os.stat(full).st_mtime), touch=False)


def _folders(path: str) -> Iterator[tuple[str, str]]:
    if not os.path.isdir(path):
        return
    with os.scandir(path) as found:
        entries = sorted((entry.name, entry.path) for entry in found if entry.is_dir())
    yield from (entry for entry in entries if not entry[0].startswith("."))


def _files(base: str) -> Iterator[str]:
    for folder, folders, names in os.walk(base):
        folders.sort()
        for name in sorted(names):
            yield os.path.relpath(os.path.join(folder, name), base)
