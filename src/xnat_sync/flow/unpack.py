"""A zip's bytes -> verified files in staging: the step that runs in worker threads, one call a piece.

Each member is looked up in the listing, written and hashed as it arrives, and taken in only when the zip's own
CRC-32 and the listing's size and MD5 agree. Members held already, or not listed, are read past. A member of which the
listing knows neither size nor digest is read past too: a zip cannot prove it whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from xnat_sync.core import members, plan
from xnat_sync.core.model import Landed, Want
from xnat_sync.core.unzip import MemberData, MemberEnd, MemberStart, ZipError, ZipLimits, ZipReader
from xnat_sync.shell.disk import Writer
from xnat_sync.shell.stage import Stage
from xnat_sync.shell.zipstore import ZipStage


@dataclass(slots=True)
class Fed:
    """What one piece brought: files landed, bytes of no use, and the fault that ended the zip, if one did."""

    landed: list[Landed] = field(default_factory=list)
    again: int = 0
    wrong: list[str] = field(default_factory=list)
    error: ZipError | None = None


# What a zip may hold beside what was listed: files that came since, folders, and the way to each.
_MORE_MEMBERS = 1000
_LONGER_NAMES = 1024


class Unpacker:
    """Unpacks one zip of one resource into its staging folder."""

    def __init__(
        self, stage: Stage | ZipStage, wants: Mapping[str, Want], listed: Mapping[str, str], most: int
    ) -> None:
        """``wants`` is by listed path, ``listed`` maps names in the zip to listed paths, ``most`` bounds its bytes."""
        longest = max((len(name.encode("utf-8", "surrogatepass")) for name in listed), default=0)
        # What is remembered of members until the directory has named them is bounded by what was listed.
        limits = ZipLimits(
            max_name=longest + _LONGER_NAMES, max_members=2 * len(listed) + _MORE_MEMBERS, max_total=most
        )
        self._reader = ZipReader(limits=limits)
        self._stage = stage
        self._wants = dict(wants)
        self._listed = listed
        self._want: Want | None = None
        self._writer: Writer | None = None
        self._passed = 0

    def feed(self, data: bytes) -> Fed:
        """Take the next piece of the zip."""
        fed = Fed()
        try:
            for event in self._reader.feed(data):
                match event:
                    case MemberData(piece):
                        self._take(piece, fed)
                    case MemberStart():
                        self._begin(event)
                    case MemberEnd():
                        self._end(fed)
        except ZipError as error:
            self._fault(fed, error)
        return fed

    def finish(self) -> Fed:
        """The answer ended: say what is wrong with the zip as a whole, if anything is."""
        fed = Fed()
        try:
            self._reader.finish()
        except ZipError as error:
            self._fault(fed, error)
        return fed

    def close(self) -> int:
        """Drop the member in hand, if any; returns its bytes."""
        if self._writer is None:
            return 0
        size, writer, self._writer = self._writer.size, self._writer, None
        writer.drop()
        return size

    def _begin(self, member: MemberStart) -> None:
        self._passed = 0
        path = None if member.is_folder else members.find(member.name, self._listed)
        want = self._wants.get(path) if path is not None else None
        if want is None or (want.remote.size is None and want.remote.md5 is None):
            return
        self._want = want
        self._writer = self._stage.open_member(want.local, want.remote.size)

    def _take(self, piece: bytes | memoryview, fed: Fed) -> None:
        writer, want = self._writer, self._want
        if writer is None or want is None:
            self._passed += len(piece)
        elif want.remote.size is not None and writer.size + len(piece) > want.remote.size:
            # It is not what was listed, however it goes on; and it may go on until the disk is full.
            self._passed = writer.size + len(piece)
            fed.wrong.append(want.remote.path)
            self._writer = self._want = None
            writer.drop()
        else:
            writer.write(piece)

    def _end(self, fed: Fed) -> None:
        writer, want = self._writer, self._want
        if writer is None or want is None:
            fed.again += self._passed
            return
        self._writer = self._want = None
        md5 = writer.md5
        if plan.same(want.remote, writer.size, md5):
            self._stage.accept(writer, want.local, durable=want.remote.md5 is None)
            del self._wants[want.remote.path]
            fed.landed.append(Landed(want, writer.size, md5))
        else:
            fed.again += writer.size
            fed.wrong.append(want.remote.path)
            writer.drop()

    def _fault(self, fed: Fed, error: ZipError) -> None:
        fed.error = error
        fed.again += self.close()
