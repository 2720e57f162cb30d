"""The part of ``xnat.xsd`` that this server's items use.

Clients such as xnatpy build their classes from the schemas which ``/xapi/schemas`` names; without one they cannot
name a project. The types and their inheritance are XNAT's, the fields those that ``items`` fills.
"""

from __future__ import annotations

# Type: what it extends, and its fields. A field named "list/item" is a list of another type, given after "=".
_TYPES: dict[str, tuple[str, tuple[str, ...]]] = {
    "abstractResource": ("", ("@label", "@file_count:int", "@file_size:int", "note")),
    "resource": ("abstractResource", ("@URI", "@format", "@content")),
    "resourceCatalog": ("resource", ()),
    "projectData": (
        "",
        ("@ID", "@secondary_ID", "name", "description", "resources/resource=abstractResource"),
    ),
    "subjectData": (
        "",
        (
            "@ID",
            "@project",
            "@label",
            "resources/resource=abstractResource",
            "experiments/experiment=subjectAssessorData",
        ),
    ),
    "experimentData": (
        "",
        ("@ID", "@project", "@label", "date", "note", "resources/resource=abstractResource"),
    ),
    "subjectAssessorData": ("experimentData", ("subject_ID",)),
    "subjectVariablesData": ("subjectAssessorData", ()),
    "imageSessionData": (
        "subjectAssessorData",
        (
            "@UID",
            "modality",
            "scans/scan=imageScanData",
            "assessors/assessor=imageAssessorData",
            "reconstructions/reconstructedImage=reconstructedImageData",
        ),
    ),
    "imageScanData": (
        "",
        (
            "@ID",
            "@type",
            "@UID",
            "image_session_ID",
            "note",
            "quality",
            "series_description",
            "frames:int",
            "file=abstractResource",
        ),
    ),
    "derivedData": ("experimentData", ()),
    "imageAssessorData": (
        "derivedData",
        ("imageSession_ID", "in/file=abstractResource", "out/file=abstractResource"),
    ),
    "qcManualAssessorData": ("imageAssessorData", ()),
    "qcAssessmentData": ("imageAssessorData", ()),
    "reconstructedImageData": ("", ("@ID", "@type", "baseScanType", "out/file=abstractResource")),
    "mrSessionData": ("imageSessionData", ()),
    "ctSessionData": ("imageSessionData", ()),
    "petSessionData": ("imageSessionData", ()),
    "mrScanData": ("imageScanData", ()),
    "ctScanData": ("imageScanData", ()),
    "petScanData": ("imageScanData", ()),
}

#: Schema names as ``/xapi/schemas`` lists them.
NAMES = ("xnat",)


def xnat_xsd() -> str:
    """The schema document."""
    elements = "".join(f'<xs:element name="{name.removesuffix("Data")}" type="xnat:{name}"/>\n' for name in _TYPES)
    types = "".join(_type(name, base, fields) for name, (base, fields) in _TYPES.items())
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<xs:schema targetNamespace="http://nrg.wustl.edu/xnat" xmlns:xnat="http://nrg.wustl.edu/xnat" '
        'xmlns:xdat="http://nrg.wustl.edu/xdat" xmlns:xs="http://www.w3.org/2001/XMLSchema" '
        f'elementFormDefault="qualified" attributeFormDefault="unqualified">\n{elements}{types}</xs:schema>\n'
    )


def _type(name: str, base: str, fields: tuple[str, ...]) -> str:
    attributes = "".join(_attribute(field[1:]) for field in fields if field.startswith("@"))
    inner = "".join(_element(field) for field in fields if not field.startswith("@"))
    body = f"<xs:sequence>{inner}</xs:sequence>{attributes}"
    if base:
        body = f'<xs:complexContent><xs:extension base="xnat:{base}">{body}</xs:extension></xs:complexContent>'
    return f'<xs:complexType name="{name}">{body}</xs:complexType>\n'


def _attribute(field: str) -> str:
    name, _, kind = field.partition(":")
    return f'<xs:attribute name="{name}" type="xs:{_simple(kind)}"/>'


def _element(field: str) -> str:
    path, many, kind = field.partition("=")
    outer, _, inner = path.partition("/")
    if not many:
        name, _, simple = field.partition(":")
        return f'<xs:element name="{name}" type="xs:{_simple(simple)}" minOccurs="0"/>'
    listed = f'type="xnat:{kind}" minOccurs="0" maxOccurs="unbounded"/>'
    if not inner:
        return f'<xs:element name="{outer}" {listed}'
    item = f'<xs:element name="{inner}" {listed}'
    return (
        f'<xs:element name="{outer}" minOccurs="0"><xs:complexType><xs:sequence>{item}'
        "</xs:sequence></xs:complexType></xs:element>"
    )


def _simple(kind: str) -> str:
    return {"int": "integer"}.get(kind, "string")
