"""Lists that are deep, huge, of wrong types or full of names that climb: believed in nothing that they cannot be."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from hostile.conftest import Make
from hostile.evil import body, endless
from hostile.scene import HEAVY, MIB, ORDINARY, Scene, few, some
from system.harness import md5_tree
from xnat_embedded import Site, empty_site

NAMES = [
    "../../../escape", "..", ".", "/etc/passwd", "C:\\Windows", "C:x", "\\\\server\\share", "a\0b", "CON", "LPT\u00b9",
    "resources", ".xnat-sync", "%long", "%2e%2e", "dot.", " space ", "\x1b]0;owned\x07", "\x9b2J", "\u202egnp.exe",
    "a\u200bb", "n" * 3000, "-rf", "$(touch escape)", "`touch escape`;", "=cmd|' /C calc'!A0", "line\nfeed", "\r",
    "{subject}",
]  # fmt: skip
MUCH = 32 * MIB * HEAVY
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
EXPERIMENTS = r"/PTV000/experiments\?"

Row = dict[str, Any]


def table(*rows: object) -> bytes:
    return json.dumps({"ResultSet": {"Result": list(rows), "totalRecords": "1"}}).encode()


def row(number: int, path: str = "0.dcm", **lies: object) -> Row:
    """A row of the file list of the session of that number."""
    uri = f"/data/experiments/XNAT_E{number:05}/scans/1/resources/{number}/files/{path}"
    return {"Name": path, "Size": "1150", "URI": uri, "collection": "DICOM", "cat_ID": str(number), "digest": ""} | lies


def nested(depth: int, number: int) -> bytes:
    return table(row(number, Name="@")).replace(b'"@"', b"[" * depth + b"]" * depth)


def at_uri(number: int, scan: str, resource: str = "", path: str = "0.dcm") -> bytes:
    uri = f"/data/experiments/XNAT_E{number:05}/scans/{scan}/resources/{resource or number}/files/{path}"
    return table(row(number, URI=uri))


DIGESTS: list[object] = [0, None, [], "0" * 32, "Z" * 32, "../../escape.dcm"]
LISTS: dict[str, Callable[[int], bytes]] = {
    "no table": lambda n: b"[]",
    "nothing": lambda n: b"",
    "null": lambda n: b"null",
    "a list for a set": lambda n: b'{"ResultSet": []}',
    "rows that are none": lambda n: table(1, None, [], "x"),
    "a result that is a row": lambda n: json.dumps({"ResultSet": {"Result": row(n)}}).encode(),
    "a URI that is a number": lambda n: table(row(n, URI=7)),
    "a URI that is null": lambda n: table(row(n, URI=None)),
    "a URI that is a list": lambda n: table(row(n, URI=[row(n)["URI"]])),
    "sizes of all kinds": lambda n: table(
        *(row(n, f"{i}", Size=size) for i, size in enumerate([-1, 1e300, True, {}, [], "-5", "9" * 19, "\u0665"]))
    ),
    "digests of all kinds": lambda n: table(
        *(row(n, f"{i}", digest=md5) for i, md5 in enumerate(DIGESTS))
    ),
    "a size beyond any disk": lambda n: table(row(n, Size=str(10**18))),
    "numbers that are none": lambda n: table(row(n)).replace(b'"1150"', b"NaN"),
    "a number of 5000 digits": lambda n: table(row(n)).replace(b'"1150"', b"9" * 5000),
    "keys twice": lambda n: table(row(n)).replace(b'"URI":', b'"URI": "../../../escape.dcm", "URI":'),
    "results twice": lambda n: table(row(n)).replace(b'"Result":', b'"Result": [{"URI": "x"}], "Result":'),
    "no UTF-8": lambda n: table(row(n, "@")).replace(b"@", b"\xff\xfe\xc0\xaf"),
    "UTF-16": lambda n: table(row(n)).decode().encode("utf-16"),
    "a lone surrogate": lambda n: table(row(n, "\ud800.dcm", collection="\udfff")),
    "NUL": lambda n: table(row(n, "a\0b/../\0", collection="\0")),
    "a tail": lambda n: table(row(n)) + table(row(n)),
    "one name, two sizes": lambda n: table(row(n), row(n, Size="7")),
    "one name, a folder too": lambda n: table(row(n), row(n, "0.dcm/below")),
    "another experiment's": lambda n: table(row(n + 1)),
    "another host's": lambda n: table(row(n, URI="http://localhost" + row(n)["URI"])),
    "another path": lambda n: table(row(n, URI="/etc/passwd"), row(n, URI="file:///etc/passwd")),
    "a resource that climbs": lambda n: at_uri(n, "1", "../../1"),
    "a resource of 19 digits": lambda n: at_uri(n, "1", "9" * 19),
    "a resource of other digits": lambda n: at_uri(n, "1", "\u0661"),
    "a scan that climbs": lambda n: at_uri(n, "../../../../../.."),
    "a scan that is a word of ours": lambda n: at_uri(n, ".xnat-sync"),
    "a scan of 100,000 letters": lambda n: at_uri(n, "s" * 100_000),
    "a path of 100,000 folders": lambda n: at_uri(n, "1", path="d/" * 100_000 + "x"),
}  # fmt: skip
for depth in (100, 480, 960, 975, 985, 992, 1000, 10**6):
    LISTS[f"{depth} deep"] = functools.partial(nested, depth)


def test_file_lists_that_are_none(stage: Make) -> None:
    """Each session has another bad list; two have an honest one, and all of these two is here."""
    at = stage(few(len(LISTS) + 2, files=1))
    for number, listing in enumerate(LISTS.values(), 1):
        at.evil.lie(rf"/XNAT_E{number:05}/files\?", body(listing(number)))
    ended = at.attack(name="file lists: 41 bad ones", anywhere=True)
    assert ended.code in (3, 12), ended
    honest = at.hold_back(*range(len(LISTS)))
    assert len(honest) == 2
    assert honest.items() <= at.here.tree().items()
    assert max(map(len, ended.err.splitlines())) < 5000
    assert set(at.here.tree().values()) <= {hashlib.md5(data).hexdigest() for data in contents(at.here.site)}


def contents(site: Site) -> list[bytes]:
    project = site.project("PTV000")
    assert project is not None
    return [
        entry.content.read()
        for subject in project.subjects
        for owner in [subject, *subject.experiments, *(scan for each in subject.experiments for scan in each.scans)]
        for resource in owner.resources
        for entry in resource.entries
        if entry.content is not None
    ]


IDS = [
    "..", ".", "/", "../../../escape", "\0resources", "PTV000", "XNAT_S00001", "CON", ".xnat-sync", "\ud800", "%2e%2e",
    "a/b", "a\\b", "?x=y", "#", "@localhost", "//localhost/", "\r\nX: y", "\u202ecod", "x" * 5000, "C:", "\x1b[2J", " ",
]  # fmt: skip


def test_an_experiment_list_whose_ids_climb(at: Scene) -> None:
    """Ids name ledgers and staging folders, and make addresses; none leaves its place or the server."""
    true = [{"ID": f"XNAT_E0000{n}", "label": f"E0{n - 1}", "subject_ID": "XNAT_S00001", "subject_label": "S",
             "project": "PTV000", "xsiType": "xnat:mrSessionData"} for n in (1, 2)]  # fmt: skip
    false = [{"ID": id_, "label": id_, "subject_ID": id_, "subject_label": id_, "project": id_, "date": id_,
              "xsiType": id_, "last_modified": id_} for id_ in IDS]  # fmt: skip
    at.evil.lie(EXPERIMENTS, body(table(*true, *false, *({"ID": f"N{n}", "label": n} for n in (0, 1.5, True)))))
    ended = at.attack(name="experiments: ids that climb")
    assert ended.code == 3, ended
    assert at.here.tree() == at.hold_back()
    assert all(head.split(b" ", 2)[1].startswith((b"/data/", b"/xapi/")) for head in at.evil.seen)
    assert not [head for head in at.evil.seen if b"\r\nX: y" in head]


def hostile_site() -> tuple[Site, list[bytes]]:
    """A site that has each hostile name as subject, session, scan, scan type, resource, file and folder."""
    site = empty_site()
    project = site.add_project("PTV000", members=("demo",), description="\x1b]52;c;ZXZpbA==\x07")
    for number, name in enumerate(NAMES):
        session = project.add_subject(name).add_session(name, date="2020-01-01")
        scan = session.add_scan(f"{number}{name}", name)
        scan.add_resource(name, [(f"{name.strip('/')}/x", b"deep %d" % number), ("x", b"flat %d" % number)])
        session.add_resource(name, [("y", b"session %d" % number)])
    return site, contents(site)


LAYOUTS = ["short", "xnat", "{session}/{scan}{scan_type}/{subject}-{resource}"]


@pytest.mark.parametrize("layout", some(LAYOUTS, LAYOUTS[2]))
def test_hostile_labels_at_every_level(stage: Make, layout: str) -> None:
    site, data = hostile_site()
    at = stage(site)
    arguments = at.mirroring("--layout", layout, "--metadata", "--on-session", 'echo "$XNAT_SYNC_SUBJECT" >/dev/null')
    ended = at.attack(*arguments, name=f"labels at every level, {layout}", anywhere=True, timeout=100)
    assert ended.code == 3, ended
    tree = md5_tree(at.project)
    # A NUL in an address is refused by the server itself; then a series lacks a file, and waits in staging.
    lost = NAMES.index("a\0b")
    wanted = {hashlib.md5(each).hexdigest() for each in data if each not in (b"deep %d" % lost, b"flat %d" % lost)}
    assert set(tree.values()) >= wanted
    assert all(part not in ("", ".", "..") and part.isprintable() for path in tree for part in path.split("/"))


BOMBS = {
    "empty rows": b"{},",
    "small rows": b'{"a":1},',
    "lists": b"[],",
    "depth": b"[",
    "texts": b'"ab",',
}


@pytest.mark.parametrize("bomb", some(BOMBS, "small rows", "depth", "texts"))
def test_a_list_takes_no_more_memory_than_its_bytes_a_few_times(at: Scene, bomb: str) -> None:
    """What is parsed is bounded by what came: thrice, while the pieces become one and one becomes text."""
    at.evil.lie(EXPERIMENTS, endless(HEAD + b'{"ResultSet":{"Result":[', BOMBS[bomb], MUCH, b"{}]}}"))
    ended = at.attack(name=f"experiments: {MUCH // MIB} MiB of {bomb}", most=ORDINARY + 3 * MUCH)
    assert ended.code == 7, ended


def test_a_label_without_end_is_no_label(at: Scene) -> None:
    at.evil.lie(EXPERIMENTS, endless(HEAD + b'{"ResultSet":{"Result":[{"ID":"', b"x" * 1000, MUCH, b'"}]}}'))
    ended = at.attack(name=f"experiments: an id of {MUCH // MIB} MiB", most=ORDINARY + 5 * MUCH)
    assert ended.code == 7, ended
    assert len(ended.err) < 5000


def test_a_list_as_long_as_the_largest_sessions_have(at: Scene) -> None:
    """50,000 files in one session, as a real one might have: about 2 KiB of memory for each."""
    rows = table(*(row(1, f"{number:08}.dcm", digest=f"{number:032x}") for number in range(50_000)))
    at.evil.lie(r"/XNAT_E00001/files\?", body(rows))
    most = ORDINARY + 50_000 * 3 * 1024
    ended = at.attack(*at.mirroring("--dry-run"), name="files: a list of 50,000", most=most)
    assert ended.code == 0, ended
    assert "50003 new" in ended.out, ended
