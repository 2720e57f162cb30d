"""A resource kept as one zip: staged as a growing ``.part`` that is its own state, and read back.

``ZipStage`` is to ``--store zip`` what ``disk.Stage`` is to files. A member that streams is written straight behind the
last whole one, under a header that no reader believes until it is replaced in one write; a single file grows in
``parts``, where it can be gone on with, and is copied in when it is whole. What a kill or a power cut leaves is whole
members and then something else: ``prepare`` cuts it off by the headers alone, and ``verified`` proves each member
by its CRC-32.

One lock guards the zip's end, and is held for local work only, never while the network is waited for. So nobody can
wait for a member in hand: who has a whole file to append moves that member out of the way, into ``parts``.

A zip cannot lose a member from its middle: dropped ones leave gaps until ``finish`` copies the rest together. Gaps
cannot stay: who reads a zip from front to back, as we do, would find what was dropped.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

from xnat_sync.core import zipwrite
from xnat_sync.core.errors import Broken, DiskTrouble
from xnat_sync.core.model import OnDisk
from xnat_sync.core.unzip import MemberData, MemberEnd, MemberStart, ZipError
from xnat_sync.core.zipwrite import Member

from .disk import PIECE, Stage, Writer, translated

Files: TypeAlias = "dict[str, tuple[int, str]]"  # member -> its size and MD5

_NOFOLLOW = os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
_READ = os.O_RDONLY | _NOFOLLOW
_PART = os.O_RDWR | os.O_CREAT | _NOFOLLOW


@dataclass(frozen=True, slots=True)
class _Kept:
    """A whole member of the ``.part``: its row, where its data begins, and its MD5 once it is known."""

    row: Member
    start: int
    md5: str | None = None

    @property
    def end(self) -> int:
        return self.start + self.row.size


class MemberWriter(Writer):
    """A member that is written straight into the zip, until it is accepted, dropped or moved out of the way."""

    __slots__ = ("_moved", "_stage", "crc", "local", "offset", "start", "wide")

    def __init__(self, stage: ZipStage, local: str, offset: int, start: int, *, wide: bool) -> None:
        """Its placeholder is at ``offset``, its data follow at ``start``. Only ``ZipStage.open_member`` makes one."""
        self.path = stage.part
        self.local = local
        self.offset = offset
        self.start = start
        self.wide = wide
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
                    _write_at(self._stage.fd, data, self.start + self.size)
            else:
                raise ValueError(f"{self.local} was accepted or dropped already")
            self.size += len(data)
        self._md5.update(data)
        self.crc = zipwrite.crc32(data, self.crc)

    def move(self, aside: Writer) -> None:
        """Go on in a file of its own, with what has come so far copied there. The lock is held."""
        try:
            for piece in _read_at(self._stage.fd, self.start, self.size):
                aside.write(piece)
        except BaseException:
            aside.drop()
            raise
        self._moved, self.path = aside, aside.path

    def close(self, *, sync: bool = False) -> None:
        """A member cannot be gone on with: unless it was moved, what is closed before it is accepted is dropped."""
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
    """The staging folder of one resource that is kept as a zip; used like ``disk.Stage``.

    ``close`` it in any case, if ``finish`` or ``clear`` did not. Only ``prepare`` opens it again.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.lock = threading.Lock()
        self.in_hand: MemberWriter | None = None  # the member that streams behind the last whole one
        self._files = Stage(root)
        self._fd = -1
        self._whole: dict[str, _Kept] = {}  # as they lie in the zip: what comes anew, also again, comes last
        self._untidy = False  # there may be something behind the last whole member

    @property
    def part(self) -> str:
        """The zip that grows."""
        return f"{self.root}/resource.zip.part"

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

    def prepare(self) -> None:
        """Open the zip that an earlier run left, and cut it back to its last whole member."""
        self.close()
        self._files.prepare()
        with self.lock, translated(self.part):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._compacted)
            self._fd = os.open(self.part, _PART, 0o666)
            self._whole.clear()
            size = os.fstat(self._fd).st_size
            for row, start in zipwrite.scan(partial(os.pread, self._fd), size):
                self._keep(_Kept(row, start))
            self._untidy = size > self._tail
            self._tidy()

    def whole(self) -> dict[str, int]:
        """Every whole member -> its size. What an earlier run left is believed as far as ``verified`` says."""
        with self.lock:
            return {local: kept.row.size for local, kept in self._whole.items()}

    def verified(self, local: str) -> tuple[int, str] | None:
        """Size and MD5 of a whole member; None if there is none, or its bytes are not those that were written."""
        with self.lock:
            kept = self._whole.get(local)
        if kept is None:
            return None
        md5 = kept.md5
        if md5 is None:
            with translated(self.part):
                md5 = _prove(self.fd, kept)
            with self.lock:
                if md5 is not None and self._whole.get(local) is kept:
                    self._whole[local] = replace(kept, md5=md5)
        return None if md5 is None else (kept.row.size, md5)

    def part_path(self, local: str) -> str:
        """Where the partial of the single file that will be ``local`` grows."""
        return self._files.part_path(local)

    def open_part(self, local: str, *, append: bool) -> Writer:
        """Begin, or go on with, a single file."""
        return self._files.open_part(local, append=append)

    def open_member(self, local: str, size: int | None = None) -> Writer:
        """Begin a file that streams. A ``size`` that is known spares its header the ZIP64 field.

        While another one streams, which we never do, it grows in ``parts``.
        """
        with self.lock, translated(self.part):
            if self.in_hand is not None:
                return self._files.open_member(local)
            self._tidy()
            offset, wide = self._tail, zipwrite.is_wide(size)
            header = zipwrite.placeholder(local, wide=wide)
            self._untidy = True
            _write_at(self.fd, header, offset)
            self.in_hand = MemberWriter(self, local, offset, offset + len(header), wide=wide)
            return self.in_hand

    def accept(self, writer: Writer, local: str, *, durable: bool) -> None:
        """Put a verified file among the whole members; of two of one name the last one counts.

        ``durable`` asks for nothing here: the CRC-32 will show what a power cut leaves of it.
        """
        with self.lock, translated(self.part):
            if isinstance(writer, MemberWriter) and writer is self.in_hand:
                row = Member(local, writer.size, writer.crc, writer.offset)
                header = zipwrite.local_header(row, wide=writer.wide)
                if row.offset + len(header) == writer.start:
                    _write_at(self.fd, header, row.offset)
                    self.in_hand = None
                    self._keep(_Kept(row, writer.start, writer.md5))
                    self._untidy = False
                    return
            if self.in_hand is not None:
                self.in_hand.move(self._files.open_member(self.in_hand.local))
                self.give_up()
            if writer.path == self.part:
                raise ValueError(f"{local} was accepted or dropped already")
            writer.close()
            self._append(writer, local)
            os.unlink(writer.path)

    def drop(self, local: str) -> None:
        """Forget a whole member that proved to be of no use."""
        with self.lock:
            if self._whole.pop(local, None) is not None:
                self._untidy = True

    def give_up(self) -> None:
        """Cut off what lies behind the last whole member, as the one in hand leaves. The lock is held."""
        self.in_hand = None
        with contextlib.suppress(OSError):
            self._tidy()

    def adopt_from(self, path: str, names: Collection[str]) -> Files:
        """Copy these members from another zip, as far as it has them and their CRC-32 is right; those copied.

        A member that is whole here already is not copied. The zip need not be one that we wrote.
        """
        adopted: Files = {}
        wanted = set(names).difference(self.whole())
        writer: Writer | None = None
        with translated(path), open(os.open(path, _READ), "rb", buffering=0) as file:
            try:
                for event in zipwrite.events(partial(os.pread, file.fileno())):
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
            fact = self.verified(local)
            if fact is None:
                self.drop(local)
            else:
                files[local] = fact
        with self.lock, translated(self.part):
            self.give_up()
            if sum(kept.end - kept.row.offset for kept in self._whole.values()) < self._tail:
                self._compact()
            self._tidy()
            rows = [kept.row for kept in self._whole.values()]
            _write_at(self.fd, zipwrite.ending(rows, self._tail), self._tail)
            os.fsync(self.fd)
        self.close()
        return self.part, files

    def close(self) -> None:
        """Give up the member in hand and close the zip; what is whole stays. Closing twice does nothing."""
        with self.lock, translated(self.part):
            if self._fd >= 0:
                if self.in_hand is not None:
                    self.give_up()
                fd, self._fd = self._fd, -1
                os.close(fd)

    def clear(self) -> None:
        """Remove the staging folder."""
        self.close()
        self._files.clear()

    # -- all of this with the lock held ---------------------------------------------------------------------------

    @property
    def _compacted(self) -> str:
        return f"{self.root}/resource.zip.new"

    @property
    def _tail(self) -> int:
        """Where the last whole member ends."""
        return next(reversed(self._whole.values())).end if self._whole else 0

    def _keep(self, kept: _Kept) -> None:
        self._whole.pop(kept.row.name, None)  # so that it is last in the dictionary, as it is in the zip
        self._whole[kept.row.name] = kept

    def _tidy(self) -> None:
        if self._untidy:
            os.ftruncate(self.fd, self._tail)
            self._untidy = False

    def _append(self, writer: Writer, local: str) -> None:
        """Copy a whole file in, its header last: until then there is nothing that a later run would believe."""
        self._tidy()
        offset, size, crc = self._tail, writer.size, 0
        header = zipwrite.placeholder(local, wide=zipwrite.is_wide(size))
        self._untidy = True
        try:
            at = start = offset + len(header)
            _write_at(self.fd, header, offset)
            with open(os.open(writer.path, _READ), "rb", buffering=0) as file:
                while piece := file.read(PIECE):
                    _write_at(self.fd, piece, at)
                    crc = zipwrite.crc32(piece, crc)
                    at += len(piece)
            if at - start != size:
                raise Broken(f"{writer.path} has {at - start} bytes where {size} were written")
            row = Member(local, size, crc, offset)
            _write_at(self.fd, zipwrite.local_header(row), offset)
        except BaseException:
            self.give_up()
            raise
        self._keep(_Kept(row, start, writer.md5))
        self._untidy = False

    def _compact(self) -> None:
        """Copy the whole members together into a second zip, and put it in the first one's place."""
        whole: dict[str, _Kept] = {}
        fd, at = os.open(self._compacted, _PART | os.O_TRUNC, 0o666), 0
        try:
            for local, kept in self._whole.items():
                moved = at - kept.row.offset
                row = replace(kept.row, offset=at)
                whole[local] = replace(kept, row=row, start=kept.start + moved)
                for piece in _read_at(self.fd, kept.row.offset, kept.end - kept.row.offset):
                    _write_at(fd, piece, at)
                    at += len(piece)
            os.fsync(fd)  # the first is gone with the rename
            os.rename(self._compacted, self.part)
        except BaseException:
            os.close(fd)
            with contextlib.suppress(OSError):
                os.unlink(self._compacted)
            raise
        os.close(self.fd)
        self._fd, self._whole = fd, whole


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What a zip holds: its file, the members that are proved, and what is wrong with it as a whole, if anything is."""

    stat: OnDisk
    files: Files
    fault: ZipError | None


def read_back(path: str) -> ReadBack | None:
    """Read a zip whole; None if there is no regular file, or it changes while it is read.

    A member whose bytes are damaged costs only itself, as long as its header says where the next one begins. Members
    of foreign zips may be deflated, and named as they like.
    """
    files: Files = {}
    fault: ZipError | None = None
    md5 = hashlib.md5(usedforsecurity=False)
    with translated(path), contextlib.suppress(FileNotFoundError, NotADirectoryError):
        with open(os.open(path, _READ | getattr(os, "O_NONBLOCK", 0)), "rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            if not stat.S_ISREG(before.st_mode):
                return None
            for event in zipwrite.events(partial(os.pread, file.fileno())):
                match event:
                    case MemberStart():
                        md5 = hashlib.md5(usedforsecurity=False)
                    case MemberData(data):
                        md5.update(data)
                    case MemberEnd():
                        files[event.name] = event.size, md5.hexdigest()
                    case ZipError():
                        fault = fault or event
            after = os.fstat(file.fileno())
        if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
            return ReadBack(OnDisk(after.st_size, after.st_mtime_ns), files, fault)
    return None


def _prove(fd: int, kept: _Kept) -> str | None:
    """The MD5 of a member's bytes; None if their CRC-32 is not the one that its header names."""
    md5, crc = hashlib.md5(usedforsecurity=False), 0
    for piece in _read_at(fd, kept.start, kept.row.size):
        md5.update(piece)
        crc = zipwrite.crc32(piece, crc)
    return md5.hexdigest() if crc == kept.row.crc else None


def _read_at(fd: int, at: int, size: int) -> Iterator[bytes]:
    end = at + size
    while at < end:
        piece = os.pread(fd, min(PIECE, end - at), at)
        if not piece:
            raise DiskTrouble("a zip in staging became shorter while it was read: does another process change it?")
        yield piece
        at += len(piece)


def _write_at(fd: int, data: bytes | bytearray | memoryview, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, at)
        view, at = view[written:], at + written
