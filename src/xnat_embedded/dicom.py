"""Series of real DICOM Part 10 files, made fast: one file is encoded per series, the others are patched copies of it.

The source is a pair of images that come with pydicom (MR and CT, 16 bit, uncompressed). Every file has its own
SOPInstanceUID and InstanceNumber and its own pixels; all of it follows from the series' number, so that the same
site is the same bytes every time.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from typing import Any

_ROOT = "1.2.826.0.1.3680043.8.498"
_SOURCES = {"MR": "MR_small.dcm", "CT": "CT_small.dcm", "PT": "MR_small.dcm"}
_PET_STORAGE = "1.2.840.10008.5.1.4.1.1.128"
_NUMBER = "9753"
_FIRST = 10_000  # A UID component may not begin with a zero, and all must be of one length.


class PydicomMissing(ImportError):
    """pydicom is not installed; it is part of the ``demo`` extra."""


@dataclass(frozen=True, slots=True)
class Series:
    """What tells one series from another. ``zoom`` enlarges the picture, and with it each file, by its square."""

    study: int
    series: int
    number: int
    modality: str
    patient: str
    description: str
    zoom: int = 1

    @property
    def study_uid(self) -> str:
        """StudyInstanceUID."""
        return f"{_ROOT}.1.{self.study}"

    @property
    def uid(self) -> str:
        """SeriesInstanceUID."""
        return f"{_ROOT}.2.{self.series}"

    def instance_uid(self, instance: int) -> str:
        """SOPInstanceUID of the file with that InstanceNumber."""
        return f"{self.uid}.{_FIRST + instance}"


def files(series: Series, count: int) -> list[tuple[str, bytes]]:
    """The files of a series, with names as an XNAT that imported them would give."""
    template, start, pixels = _template(series)
    row = pixels * 1
    uid, number = series.instance_uid(0).encode(), _number_element(_NUMBER)
    made = []
    for instance in range(1, count + 1):
        turn = (instance * 4099) % len(row) & ~1
        head = template[:start].replace(uid, series.instance_uid(instance).encode())
        head = head.replace(number, _number_element(f"{instance:4d}"))
        data = b"".join((head, row[turn:], row[:turn], template[start + len(row) :]))
        made.append((f"{series.instance_uid(instance)}-{series.number}-{instance}.dcm", data))
    return made


def _number_element(value: str) -> bytes:
    """InstanceNumber in Explicit VR Little Endian; leading spaces are allowed in an integer string."""
    return b"\x20\x00\x13\x00IS\x04\x00" + value.encode()


@cache
def _source(name: str, zoom: int) -> tuple[bytes, bytes, int, int]:
    """The encoded source, its enlarged pixels, and their rows and columns."""
    pydicom = _pydicom()
    path = pydicom.data.get_testdata_file(name, download=False)
    dataset = pydicom.dcmread(path)
    rows, columns, pixels = dataset.Rows, dataset.Columns, dataset.PixelData
    width = 2 * columns
    wide = []
    for at in range(0, rows * width, width):
        line = b"".join(pixels[one : one + 2] * zoom for one in range(at, at + width, 2))
        wide.append(line * zoom)
    with open(path, "rb") as file:
        return file.read(), b"".join(wide), rows * zoom, columns * zoom


def _template(series: Series) -> tuple[bytes, int, bytes]:
    """One encoded file of the series, and where its pixels start."""
    pydicom = _pydicom()
    encoded, pixels, rows, columns = _source(_SOURCES[series.modality], series.zoom)
    dataset = pydicom.dcmread(io.BytesIO(encoded))
    dataset.PixelData = pixels
    dataset.Rows, dataset.Columns = rows, columns
    if "DataSetTrailingPadding" in dataset:
        del dataset.DataSetTrailingPadding
    if series.modality == "PT":
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = _PET_STORAGE
    dataset.Modality = series.modality
    dataset.PatientName = dataset.PatientID = series.patient
    dataset.StudyInstanceUID = series.study_uid
    dataset.SeriesInstanceUID = series.uid
    dataset.SeriesNumber = series.number
    dataset.SeriesDescription = series.description
    dataset.InstanceNumber = _NUMBER
    dataset.SOPInstanceUID = series.instance_uid(0)
    dataset.file_meta.MediaStorageSOPInstanceUID = series.instance_uid(0)
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    data = out.getvalue()
    return data, data.index(pixels), pixels


def _pydicom() -> Any:
    try:
        import pydicom
        import pydicom.data
    except ImportError as error:
        raise PydicomMissing("pydicom is not installed") from error
    return pydicom
