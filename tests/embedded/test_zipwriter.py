"""The zip writer alone: record shapes, and ZIP64 without sending gigabytes."""

from __future__ import annotations

import asyncio
import io
import struct
import zipfile
import zlib
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from xnat_embedded import Data, Pattern
from xnat_embedded.content import Content
from xnat_embedded.zipstream import Member, zip_stream
from xnat_embedded.zipwriter import DEFLATED, STORED, ZipWriter

GIB = 1 << 30


async def _collect(members: Iterable[Member], method: int, keep: int | None) -> tuple[bytes, bytes, int]:
    """The first and last bytes, all of them if ``keep`` is None, and the length of the whole."""
    kept: list[bytes] = []
    tail, size = b"", 0
    async for piece in zip_stream(members, method):
        size += len(piece)
        if keep is None or size <= keep:
            kept.append(bytes(piece))
        else:
            tail = (tail + bytes(piece[-keep:]))[-keep:]
    return b"".join(kept), tail, size


def stream(members: Iterable[Member], method: int = STORED, keep: int | None = None) -> tuple[bytes, bytes, int]:
    return asyncio.run(_collect(members, method, keep))


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20), st.binary(max_size=300)
    ),
    st.sampled_from([STORED, DEFLATED]),
)
def test_zipfile_reads_back_what_was_written(files: dict[str, bytes], method: int) -> None:
    members = [
        Member(f"x/{name.replace(chr(0), '_')}#{i}", Data(data), 1_700_000_000)
        for i, (name, data) in enumerate(files.items())
    ]
    whole, _, _ = stream(members, method)
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert [archive.read(info) for info in archive.infolist()] == list(files.values())
        assert archive.testzip() is None


def test_stored_member_beyond_4_gib() -> None:
    huge = Pattern(4 * GIB + 7, b"abcdefgh")
    members = [Member("huge.bin", huge, 1_700_000_000), Member("after", Data(b"x"), 1_700_000_000)]
    head, tail, size = stream(members, keep=4096)
    version, flags, method, _, _, crc, packed, full, name, extra = struct.unpack_from("<5H3I2H", head, 4)
    assert (version, flags, method, packed, full, extra) == (45, 0x0800, 0, 0xFFFFFFFF, 0xFFFFFFFF, 20)
    assert struct.unpack_from("<HHQQ", head, 30 + name) == (1, 16, huge.size, huge.size)
    assert crc == huge.crc32()
    infos = infolist(tail, size)
    assert [(info.filename, info.file_size, info.CRC) for info in infos] == [
        ("huge.bin", huge.size, crc),
        ("after", 1, zlib.crc32(b"x")),
    ]
    assert infos[1].header_offset > 4 * GIB


def test_descriptor_of_a_deflated_member_beyond_4_gib_has_long_sizes() -> None:
    writer = ZipWriter()
    header = writer.deflated("huge.bin", 1_700_000_000)
    record = writer.deflated_end(5 * GIB, 1000, 0x1234)
    assert record == struct.pack("<4sIQQ", b"PK\x07\x08", 0x1234, 1000, 5 * GIB)
    end = writer.finish()
    (info,) = infolist(end, len(header) + 1000 + len(record) + len(end))
    assert (info.file_size, info.compress_size, info.CRC) == (5 * GIB, 1000, 0x1234)


def test_more_members_than_16_bits_count() -> None:
    whole, _, _ = stream(Member(f"{n}", Data(b""), 1_700_000_000) for n in range(66_000))
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert len(archive.namelist()) == 66_000


def test_pattern_knows_its_crc_without_reading() -> None:
    for size in (0, 1, 7, 262_144, 262_145, 1_000_003):
        pattern = Pattern(size, b"12345")
        assert pattern.crc32() == zlib.crc32(pattern.read())
        assert len(pattern.read()) == size
    middle = b"".join(Pattern(1_000_000, b"12345").pieces(7, 1003))
    assert middle == (b"12345" * 400)[7:1003]


def test_contents_stream_from_any_offset() -> None:
    content: Content = Data(bytes(range(256)) * 4000)
    whole = content.read()
    assert b"".join(content.pieces(100, 900_000)) == whole[100:900_000]
    assert max(map(len, content.pieces())) <= 256 * 1024


def infolist(tail: bytes, size: int) -> list[zipfile.ZipInfo]:
    """The directory of an archive of which only the end is at hand: offsets count from a virtual start."""

    class Far(io.RawIOBase):
        at = 0

        def seekable(self) -> bool:
            return True

        def readable(self) -> bool:
            return True

        def seek(self, offset: int, whence: int = 0) -> int:
            self.at = offset + (0, self.at, size)[whence]
            return self.at

        def tell(self) -> int:
            return self.at

        def read(self, count: int = -1) -> bytes:
            start = self.at - (size - len(tail))
            assert start >= 0
            data = tail[start:] if count < 0 else tail[start : start + count]
            self.at += len(data)
            return data

    with zipfile.ZipFile(Far()) as archive:
        return archive.infolist()
