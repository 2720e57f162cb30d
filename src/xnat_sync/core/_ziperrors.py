"""What may be wrong with a zip: one tree, each leaf one sentence.

``ZipError`` (a ``Broken``: what came is not what was listed)
├── ``NotAZip``             begins with something else, for instance a web page
├── ``Truncated``           ends before its end
├── ``BadSignature``        no record, or not one that may stand here
├── ``BadHeader``           a record contradicts itself
├── ``BadDeflate``          compressed data that cannot be inflated, or ends too early or too late
├── ``CrcMismatch``         the bytes do not have the CRC-32 that the header names
├── ``SizeMismatch``        more or fewer bytes than the header names
├── ``DescriptorMismatch``  the data descriptor disagrees with the bytes before it
├── ``CentralMismatch``     the central directory disagrees with the members
├── ``EndMismatch``         the end record disagrees with the central directory
├── ``TrailingData``        goes on after its end
├── ``DuplicateName``       two members of one name
├── ``Unsupported``         perhaps whole, but not for this reader
│   ├── ``Encrypted``
│   ├── ``UnknownMethod``
│   ├── ``MultiDisk``
│   └── ``Unstreamable``    stored with its size only behind it: its end cannot be found without a seek
└── ``OverLimit``           more than :class:`~xnat_sync.core.unzip.ZipLimits` allows
"""

from __future__ import annotations

from typing import TypeAlias

from xnat_sync.core.errors import Broken

Value: TypeAlias = "int | str | bytes | None"


class ZipError(Broken):
    """Something is wrong with a zip: where in the stream, and in which member if in one."""

    def __init__(
        self,
        message: str,
        *,
        expected: Value = None,
        found: Value = None,
        offset: int | None = None,
        member: str | None = None,
    ) -> None:
        super().__init__(message)
        self.expected = expected
        self.found = found
        self.offset = offset
        self.member = member


class NotAZip(ZipError):
    """Raised where the first bytes are not those of any zip."""


class Truncated(ZipError):
    """Raised by ``finish`` where the stream ended before the end of the zip."""


class BadSignature(ZipError):
    """Raised where a record should begin and none does, or one that may not stand there."""


class BadHeader(ZipError):
    """Raised where a record contradicts itself."""


class BadDeflate(ZipError):
    """Raised where compressed data cannot be inflated, or its end is not where the header puts it."""


class CrcMismatch(ZipError):
    """Raised where the bytes of a member do not have the CRC-32 that its header names."""


class SizeMismatch(ZipError):
    """Raised where a member has more or fewer bytes than its header names."""


class DescriptorMismatch(ZipError):
    """Raised where the data descriptor disagrees with the bytes before it."""


class CentralMismatch(ZipError):
    """Raised where the central directory disagrees with the members that came."""


class EndMismatch(ZipError):
    """Raised where an end record disagrees with the central directory that came."""


class TrailingData(ZipError):
    """Raised where bytes follow the end of the zip."""


class DuplicateName(ZipError):
    """Raised where a second member of one name begins. The first is good, the second never handed out."""


class Unsupported(ZipError):
    """Raised where a zip may be whole, but asks for something that this reader does not do."""


class Encrypted(Unsupported):
    """Raised where a member or the central directory is encrypted."""


class UnknownMethod(Unsupported):
    """Raised where a member is neither stored nor deflated."""


class MultiDisk(Unsupported):
    """Raised where the zip is one part of several."""


class Unstreamable(Unsupported):
    """Raised where a stored member has its size only behind it, so that no stream reader can find its end."""


class OverLimit(ZipError):
    """Raised where a zip holds more than the limits allow; ``limit`` is the field of ``ZipLimits``."""

    def __init__(self, limit: str, *, allowed: int, found: int, offset: int, member: str) -> None:
        super().__init__(
            f"member {member!r} goes beyond the limit {limit}: {found}, where {allowed} is allowed",
            expected=allowed,
            found=found,
            offset=offset,
            member=member,
        )
        self.limit = limit
