"""A resource kept as one zip: staged as a growing ``.part`` that is its own state, and read back.

``ZipStage`` is to ``--store zip`` what ``Stage`` is to files. A member that streams is written straight behind the
last whole one, under a header that no reader believes until it is replaced in one write; a single file grows in
``parts``, where it can be gone on with, and is copied in when it is whole. What a kill or a power cut leaves is whole
members and then something else: ``prepare`` cuts that off by the headers alone, and ``verified`` proves each member
by its CRC-32.

One lock guards the zip's end, and is held for local work only, never while the network is waited for. So nobody waits
for a member in hand: who has a whole file to append first moves that member out of the way, into ``parts``.

A zip cannot lose a member from its middle: dropped ones leave gaps until ``finish`` copies the rest together. Gaps
cannot stay: who reads a zip from front to back, as we do, would find what was dropped.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from xnat_sync.core import zipwrite
from xnat_sync.core.errors import Broken
from xnat_sync.core.model import OnDisk
from xnat_sync.core.unzip import MemberData, MemberEnd, MemberStart, ZipError
from xnat_sync.core.zipwrite import Files, Member, Read

from . import reach
from .disk import PIECE, Writer, open_own, translated
from .stage import Stage

_NOFOLLOW = os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
_READ = os.O_RDONLY | _NOFOLLOW | getattr(os, "O_NONBLOCK", 0)  # what turns out to be a pipe does not hold us up
_PART = os.O_RDWR | os.O_CREAT
_NOTHING = FileNotFoundError, NotADirectoryError


class MemberWriter(Writer):
    """A member that is written straight into the zip, until it is accepted, dropped or moved out of the way.

    Only ``ZipStage.open_member`` makes one; ``place`` is its row as far as it is known.
    """

    __slots__ = ("_moved", "_stage", "crc", "place")

    def __init__(self, stage: ZipStage, place: Member) -> None:
        self.path = stage.part
        self.place = place
        self.size = 0
        self.crc = 0
        self._stage = stage
        self._moved: Writer | None = None
        self._md5 = hashlib.md5(usedforsecurity=False)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write and hash ``data`` whole."""
        with self._stage.lock:
            if self._moved is not None:
                self._moved.write(data)
            elif self._stage.in_hand is self:
                with translated(self.path):
                    _write_at(self._stage.fd, data, self.place.start + self.size)
            else:
                raise ValueError(f"{self.place.name} was accepted or dropped already")
            self.size += len(data)
        self._md5.update(data)
        self.crc = zipwrite.crc32(data, self.crc)

    def move(self, aside: Writer) -> None:
        """Go on in a file of its own, with what has come so far copied there. The lock is held."""
        try:
            for piece in zipwrite.pieces(self._stage.read, self.place.start, self.place.start + self.size):
                aside.write(piece)
        except BaseException:
            aside.drop()
            raise
        self._moved, self.path = aside, aside.path

    def close(self, *, sync: bool = False) -> None:
        """A member cannot be gone on with: what is closed before it is accepted, and not moved, is dropped."""
        if self._moved is None:
            self.drop()
        else:
            self._moved.close(sync=sync)

    def drop(self) -> None:
        """Give up the member, and the space it took. Does nothing once it was accepted."""
        with self._stage.lock:
            if self._moved is not None:
                self._moved.drop()
            elif self._stage.in_hand is self:
                self._stage.give_up()


class ZipStage:
    """The staging folder of one resource that is kept as a zip; used like ``Stage``.

    Who is done with it calls ``close``, whatever happened; only ``prepare`` opens it again.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.part = f"{root}/resource.zip.part"  # the zip that grows
        self.lock = threading.Lock()
        self.in_hand: MemberWriter | None = None  # the member that streams behind the last whole one
        self._files = Stage(root)
        self._second = f"{root}/resource.zip.new"  # what the first becomes without its gaps
        self._fd = -1
        self._whole: dict[str, Member] = {}  # in their order in the zip: what comes again, comes last
        self._md5: dict[str, str] = {}  # of those of them that are proved
        self._untidy = False  # there may be something behind the last whole member

    @property
    def parts(self) -> str:
        """Single files in hand."""
        return self._files.parts

    @property
    def fd(self) -> int:
        """The zip, open."""
        if self._fd < 0:
            raise ValueError(f"{self.part} is not open: prepare comes first")
        return self._fd

    def read(self, size: int, at: int) -> bytes:
        """Bytes of the zip."""
        return os.pread(self.fd, size, at)

    def prepare(self) -> None:
        """Open the zip that an earlier run left, and cut it back to its last whole member."""
        self.close()
        self._files.prepare()
        with self.lock, translated(self.part):
            with contextlib.suppress(FileNotFoundError):
                reach.unlink(self._second)
            self._fd = open_own(self.part, _PART)
            self._whole.clear()
            self._md5.clear()
            size = os.fstat(self._fd).st_size
            for member in zipwrite.scan(self.read, size):
                self._keep(member)
            self._untidy = size > self._tail
            self._tidy()

    def whole(self) -> dict[str, int]:
        """Every whole member -> its size. What an earlier run left is to be believed as far as ``verified`` says."""
        with self.lock:
            return {local: member.size for local, member in self._whole.items()}

    def verified(self, local: str) -> tuple[int, str] | None:
        """Size and MD5 of a whole member; None if there is none, or its bytes are not those that were written."""
        with self.lock:
            member, md5 = self._whole.get(local), self._md5.get(local)
        if member is None:
            return None
        if md5 is None:
            with translated(self.part):
                md5 = zipwrite.prove(self.read, member)
            if md5 is None:
                return None
            with self.lock:
                if self._whole.get(local) is member:
                    self._md5[local] = md5
        return member.size, md5

    def part_path(self, local: str) -> str:
        """Where the partial of the single file that will be ``local`` grows."""
        return self._files.part_path(local)

    def open_part(self, local: str, *, append: bool) -> Writer:
        """Begin, or go on with, a single file."""
        return self._files.open_part(local, append=append)

    def open_member(self, local: str, size: int | None = None) -> Writer:
        """Begin a file that streams. A ``size`` that is known spares its header the ZIP64 field.

        Only one at a time streams into the zip; another one grows in ``parts``.
        """
        with self.lock, translated(self.part):
            if self.in_hand is not None:
                return self._files.open_member(local)
            place = self._begin(local, size)
            self.in_hand = MemberWriter(self, place)
            return self.in_hand

    def accept(self, writer: Writer, local: str, *, durable: bool) -> None:
        """Put a verified file among the whole members; of two of one name the last one counts.

        ``durable`` asks for nothing here: the CRC-32 will show what a power cut leaves of it.
        """
        with self.lock, translated(self.part):
            if isinstance(writer, MemberWriter) and writer is self.in_hand:
                member = replace(writer.place, name=local, size=writer.size, crc=writer.crc)
                if member.start == writer.place.start:
                    self._seal(member, writer.md5)
                    self.in_hand = None
                    return
            if self.in_hand is not None:
                self.in_hand.move(self._files.open_member(self.in_hand.place.name))
                self.give_up()
            if writer.path == self.part:
                raise ValueError(f"{local} was accepted or dropped already")
            writer.close()
            self._append(writer, local)
            reach.unlink(writer.path)

    def drop(self, local: str) -> None:
        """Forget a whole member that proved to be of no use."""
        with self.lock:
            self._untidy |= self._whole.pop(local, None) is not None
            self._md5.pop(local, None)

    def adopt_from(self, path: str, names: Collection[str]) -> Files:
        """Copy these members from another zip, as far as it has them and their CRC-32 is right; those copied.

        A member that is whole here already is not copied. The zip need not be one that we wrote.
        """
        adopted: Files = {}
        wanted = set(names).difference(self.whole())
        writer: Writer | None = None
        with translated(path), contextlib.suppress(*_NOTHING), _reader(path) as (_, read):
            try:
                for event in zipwrite.events(read):
                    match event:
                        case MemberStart(name=name) if name in wanted:
                            wanted.remove(name)
                            writer = self.open_member(name, event.size)
                        case MemberData(data) if writer is not None:
                            writer.write(data)
                        case MemberEnd(name=name) if writer is not None:
                            self.accept(writer, name, durable=False)
                            adopted[name] = writer.size, writer.md5
                            writer = None
                        case ZipError() if writer is not None:
                            writer.drop()
                            writer = None
            finally:
                if writer is not None:
                    writer.drop()
        return adopted

    def finish(self) -> tuple[str, Files]:
        """Make it a whole, durable zip: where it lies, for the caller to rename, and what is in it, all of it proved.

        A member still in hand is given up. The stage is closed: only ``clear`` or ``prepare`` may follow.
        """
        files: Files = {}
        for local in self.whole():
            if (fact := self.verified(local)) is None:
                self.drop(local)
            else:
                files[local] = fact
        with self.lock, translated(self.part):
            self.in_hand, self._untidy = None, True
            self._tidy()
            if sum(member.end - member.offset for member in self._whole.values()) < self._tail:
                self._compact()
            self._untidy = True  # until the end is whole
            _write_at(self.fd, zipwrite.ending(self._whole.values(), self._tail), self._tail)
            os.fsync(self.fd)
            self._untidy = False
        self.close()
        return self.part, files

    def close(self) -> None:
        """Give up the member in hand and close the zip; what is whole stays. Closing twice does nothing."""
        with self.lock, translated(self.part):
            if self._fd >= 0:
                self.give_up()
                fd, self._fd = self._fd, -1
                os.close(fd)

    def clear(self) -> None:
        """Remove the staging folder."""
        self.close()
        self._files.clear()

    # -- with the lock held ---------------------------------------------------------------------------------------

    def give_up(self) -> None:
        """Cut off what lies behind the last whole member, as the one in hand leaves."""
        self.in_hand = None
        with contextlib.suppress(OSError, Broken):
            self._tidy()

    @property
    def _tail(self) -> int:
        """Where the last whole member ends."""
        return next(reversed(self._whole.values())).end if self._whole else 0

    def _keep(self, member: Member, md5: str | None = None) -> None:
        self._whole.pop(member.name, None)  # so that it is last here, as it is in the zip
        self._whole[member.name] = member
        if md5 is not None:
            self._md5[member.name] = md5

    def _tidy(self) -> None:
        if self._untidy:
            if os.fstat(self.fd).st_size < self._tail:
                raise Broken(f"{self.part} became shorter: does another process change it?")
            os.ftruncate(self.fd, self._tail)
            self._untidy = False

    def _begin(self, local: str, size: int | None) -> Member:
        """Write a placeholder behind the last whole member: until it is sealed, no later run believes what follows."""
        self._tidy()
        place = Member(local, size or 0, 0, self._tail, wide=size is None)
        self._untidy = True
        _write_at(self.fd, zipwrite.placeholder(place), place.offset)
        return place

    def _seal(self, member: Member, md5: str) -> None:
        _write_at(self.fd, zipwrite.local_header(member), member.offset)
        self._keep(member, md5)
        self._untidy = False

    def _append(self, writer: Writer, local: str) -> None:
        """Copy a whole file in."""
        try:
            place = self._begin(local, writer.size)
            at, crc = place.start, 0
            with _reader(writer.path) as (_, read):
                while piece := read(PIECE, at - place.start):
                    _write_at(self.fd, piece, at)
                    crc = zipwrite.crc32(piece, crc)
                    at += len(piece)
            if at != place.end:
                raise Broken(f"{writer.path} has {at - place.start} bytes where {writer.size} were written")
            self._seal(replace(place, crc=crc), writer.md5)
        except BaseException:
            self.give_up()
            raise

    def _compact(self) -> None:
        """Copy the whole members together into a second zip, and put it in the first one's place."""
        whole: dict[str, Member] = {}
        fd, at = open_own(self._second, _PART | os.O_TRUNC), 0
        try:
            for local, member in self._whole.items():
                whole[local] = replace(member, offset=at)
                for piece in zipwrite.pieces(self.read, member.offset, member.end):
                    _write_at(fd, piece, at)
                    at += len(piece)
            os.fsync(fd)  # the rename is the end of the first one
            reach.rename(self._second, self.part)
        except BaseException:
            os.close(fd)
            with contextlib.suppress(OSError):
                reach.unlink(self._second)
            raise
        os.close(self.fd)
        self._fd, self._whole = fd, whole


@dataclass(frozen=True, slots=True)
class ReadBack:
    """A stat of a zip, the members that are proved, and the first thing that is wrong with it, if anything is."""

    stat: OnDisk
    files: Files
    fault: ZipError | None


def read_back(path: str) -> ReadBack | None:
    """Read a zip whole; None if there is no regular file, or it changes while it is read.

    A member whose bytes are damaged costs only itself, as long as its header says where the next one begins. Members
    of foreign zips may be deflated, and named as they like.
    """
    with translated(path), contextlib.suppress(*_NOTHING), _reader(path) as (fd, read):
        before = os.fstat(fd)
        if not stat.S_ISREG(before.st_mode):
            return None
        files, fault = zipwrite.digest(read)
        after = os.fstat(fd)
        if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
            return ReadBack(OnDisk(after.st_size, after.st_mtime_ns), files, fault)
    return None


def extract(path: str, places: Mapping[str, str]) -> Files:
    """Write members of a zip to files of their own, durably; those written and proved."""
    written: Files = {}
    writer: Writer | None = None
    with translated(path), _reader(path) as (_, read):
        try:
            for event in zipwrite.events(read):
                match event:
                    case MemberStart(name=name) if name in places:
                        writer = Writer(places[name])
                    case MemberData(data) if writer is not None:
                        writer.write(data)
                    case MemberEnd(name=name) if writer is not None:
                        writer.close(sync=True)
                        written[name], writer = (writer.size, writer.md5), None
                    case ZipError() if writer is not None:
                        writer.drop()
                        writer = None
        finally:
            if writer is not None:
                writer.drop()
    return written


@contextlib.contextmanager
def _reader(path: str) -> Iterator[tuple[int, Read]]:
    fd = os.open(path, _READ)
    try:
        yield fd, partial(os.pread, fd)
    finally:
        os.close(fd)


def _write_at(fd: int, data: bytes | bytearray | memoryview, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, at)
        view, at = view[written:], at + written
