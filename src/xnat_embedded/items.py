"""Items as JSON or XML, and catalogs as XML (§2.3). Values are typed here, and what is unset is left out."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape, quoteattr

from .tree import Assessor, Experiment, Project, Resource, Scan, Subject

Thing = Project | Subject | Experiment | Assessor | Scan
Json = dict[str, Any]

_START = "Wed Sep 23 14:44:53 UTC 2020"


def item_json(thing: Thing) -> Json:
    """The item as ``format=json`` shows it."""
    return {"items": [_item(thing)]}


def _item(thing: Thing) -> Json:
    match thing:
        case Project():
            fields: Json = {
                "ID": thing.id,
                "name": thing.name,
                "secondary_ID": thing.secondary_id or thing.id,
                "description": thing.description,
            }
            return _node("xnat:projectData", fields, [_files("resources/resource", thing.resources)])
        case Subject():
            fields = {"ID": thing.id, "label": thing.label, "project": thing.project.id}
            children = [
                _child("experiments/experiment", [_item(one) for one in thing.experiments]),
                _files("resources/resource", thing.resources),
                _shares(thing.shares),
            ]
            return _node("xnat:subjectData", fields, children)
        case Experiment():
            children = [
                _child("scans/scan", [_item(scan) for scan in thing.scans]),
                _child("assessors/assessor", [_item(one) for one in thing.assessors]),
                _files("resources/resource", thing.resources),
                _shares(thing.shares),
            ]
            return _node(thing.xsi_type, _experiment_fields(thing), children)
        case Assessor():
            fields = {
                "ID": thing.id,
                "label": thing.label,
                "project": thing.experiment.project.id,
                "imageSession_ID": thing.experiment.id,
                "date": thing.date,
            }
            ways = [("out/file", "out"), ("in/file", "in"), ("resources/resource", "")]
            children = [_files(name, [one for one in thing.resources if one.way == way]) for name, way in ways]
            return _node(thing.xsi_type, fields, children)
        case Scan():
            fields = {
                "ID": thing.id,
                "type": thing.type,
                "quality": thing.quality,
                "note": thing.note,
                "series_description": thing.series_description,
                "frames": thing.frames,
                "UID": thing.uid,
                "xnat_imagescandata_id": thing.pk,
                "image_session_ID": thing.experiment.id,
            }
            return _node(thing.xsi_type, fields, [_files("file", thing.resources)])


def _experiment_fields(experiment: Experiment) -> Json:
    return {
        "ID": experiment.id,
        "label": experiment.label,
        "project": experiment.project.id,
        "subject_ID": experiment.subject.id,
        "date": experiment.date,
        "modality": experiment.modality,
        "note": experiment.note,
        "UID": experiment.uid,
    }


def _files(field: str, resources: list[Resource]) -> Json:
    items = []
    for resource in resources:
        count, size = resource.count_text(), resource.bytes_text()
        fields = {
            "label": resource.label,
            "URI": f"/data/xnat/archive/resource_{resource.id}_catalog.xml",
            "file_count": int(count) if count else None,
            "file_size": int(size) if size else None,
            "format": resource.format,
            "content": resource.content,
            "xnat_abstractresource_id": resource.id,
        }
        items.append(_node("xnat:resourceCatalog", fields, []))
    return _child(field, items)


def _shares(shares: dict[str, str]) -> Json:
    items = [_node("xnat:share", {"project": key, "label": label}, []) for key, label in shares.items()]
    return _child("sharing/share", items)


def _child(field: str, items: list[Json]) -> Json:
    return {"field": field, "items": items}


def _node(xsi_type: str, fields: Json, children: list[Json]) -> Json:
    return {
        "children": children,
        "meta": {"isHistory": False, "create_event_id": 7, "xsi:type": xsi_type, "start_date": _START},
        "data_fields": {key: value for key, value in fields.items() if value not in (None, "")},
    }


def item_xml(thing: Thing) -> str:
    """The item as XML, the default of items."""
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + _xml(_item(thing), root=True)


def _xml(node: Json, *, root: bool = False) -> str:
    name = node["meta"]["xsi:type"]
    tag = name[:1] + name[1:].replace("Data", "") if root else "xnat:item"
    attributes = f" xsi:type={quoteattr(name)}"
    if root:
        attributes += ' xmlns:xnat="http://nrg.wustl.edu/xnat" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    fields = node["data_fields"]
    attributes += "".join(f" {key}={quoteattr(str(value))}" for key, value in fields.items() if key != "note")
    inner = "".join("".join(_xml(item) for item in child["items"]) for child in node["children"] if child["items"])
    note = f"<xnat:note>{escape(str(fields['note']))}</xnat:note>" if "note" in fields else ""
    return f"<{tag}{attributes}>{note}{inner}</{tag}>"


def catalog_xml(resource: Resource) -> str:
    """The catalog of a resource."""
    kind = "DCMCatalog" if resource.format == "DICOM" else "Catalog"
    entries = []
    for entry in resource.entries:
        attributes = {
            "URI": entry.path,
            "name": entry.name,
            "digest": entry.digest_text(),
            "format": entry.format,
            "content": entry.content_type,
            "cachePath": entry.path,
        }
        if entry.has_id:
            attributes["ID"] = entry.path
        shown = "".join(f" {key}={quoteattr(value)}" for key, value in sorted(attributes.items()) if value)
        size = entry.size_text()
        field = f'<cat:metaField name="SIZE">{size}</cat:metaField>' if size else ""
        entries.append(f"<cat:entry{shown}><cat:metaFields>{field}</cat:metaFields></cat:entry>")
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<cat:{kind} ID={quoteattr(resource.label)}'
        ' xmlns:cat="http://nrg.wustl.edu/catalog" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f"<cat:entries>{''.join(entries)}</cat:entries></cat:{kind}>"
    )
