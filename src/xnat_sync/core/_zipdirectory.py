"""What the end of a zip must agree with: the members that came, and where they lay.

The central directory comes last and costs a reader nothing but this comparison. It is what tells a whole zip
from one whose writer died, and whether other programs will see the names that were handed out here.
"""

from __future__ import annotations

from xnat_sync.core import _zipformat as zf
from xnat_sync.core._ziperrors import CentralMismatch, Encrypted, EndMismatch, MultiDisk

_COMPARED = ("name", "raw_name", "method", "crc", "compressed_size", "size")
_DISKS = ("this_disk", "central_disk")


class Directory:
    """``add`` each member, ``begin`` where they end, ``match`` each record, ``close`` at each end record."""

    __slots__ = ("_at", "_count", "_end64_at", "_unlisted", "began")

    def __init__(self) -> None:
        self.began = False
        self._at = 0
        self._count = 0
        self._unlisted: dict[int, zf.Entry] = {}  # by offset, until a record names them
        self._end64_at: int | None = None

    def add(self, member: zf.Entry) -> None:
        """A member came, whole."""
        self._unlisted[member.offset] = member
        self._count += 1

    def begin(self, at: int) -> None:
        """The first record that is no member lies at ``at``. Later calls change nothing."""
        if not self.began:
            self.began, self._at = True, at

    def match(self, listed: zf.Entry, at: int) -> None:
        """The record at ``at`` must name a member that came and that no record has named before."""
        if listed.flags & zf.ENCRYPTED:
            raise Encrypted(f"member {listed.name!r} is encrypted", found=listed.flags, offset=at, member=listed.name)
        member = self._unlisted.pop(listed.offset, None)
        if member is None:
            raise CentralMismatch(
                f"the central directory puts member {listed.name!r} at byte {listed.offset}, where none came",
                found=listed.offset,
                offset=at,
                member=listed.name,
            )
        for field in _COMPARED:
            expected, found = getattr(member, field), getattr(listed, field)
            if expected != found:
                raise CentralMismatch(
                    f"the central directory gives {member.name!r} the {field} {found!r}, not {expected!r}",
                    expected=expected,
                    found=found,
                    offset=at,
                    member=member.name,
                )

    def close64(self, end: zf.End, at: int) -> None:
        """The ZIP64 end record at ``at`` must be right in every value."""
        self.close(end, at)
        self._end64_at = at

    def locate(self, disk: int, offset: int, disks: int, at: int) -> None:
        """The locator at ``at`` must point at the ZIP64 end record (4.3.15)."""
        if disk or disks > 1:  # some writers count from one, some from zero
            raise MultiDisk(f"the zip is one of {disks} parts", expected=1, found=disks, offset=at)
        if offset != self._end64_at:
            raise _end_mismatch("offset of the ZIP64 end record", self._end64_at, offset, at)

    def close(self, end: zf.End, at: int) -> None:
        """The end record at ``at`` must be right too, or refer to the ZIP64 one before it (4.4.1.4)."""
        if self._unlisted:
            member = next(iter(self._unlisted.values()))
            raise CentralMismatch(
                f"the central directory lacks member {member.name!r}",
                expected=member.name,
                offset=at,
                member=member.name,
            )
        refers = self._end64_at is not None
        size = (at if self._end64_at is None else self._end64_at) - self._at
        right = zf.End(0, 0, self._count, self._count, size, self._at)
        for field, expected, found, full in zip(zf.End._fields, right, end, zf.FULL_END, strict=True):
            if found == expected or (refers and found == full):
                continue
            if field in _DISKS:
                raise MultiDisk(f"the zip is part {found} of several", expected=expected, found=found, offset=at)
            raise _end_mismatch(field, expected, found, at)


def _end_mismatch(field: str, expected: int | None, found: int, at: int) -> EndMismatch:
    return EndMismatch(
        f"the end record gives the {field} as {found}, not {expected}",
        expected=expected,
        found=found,
        offset=at,
    )
