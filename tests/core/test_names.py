"""Names on disk: the tables say what stays and what is escaped, Hypothesis that nothing is ever lost or mixed up.

For any names at all: ``safe`` is injective, its results are safe, ``unsafe`` turns it round; what ``assign`` and
``assign_paths`` give never clashes, never leaves its folder, and does not depend on the order.
"""

from __future__ import annotations

import time
import unicodedata
from hashlib import sha256

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xnat_sync.core.names import LONGEST, LONGEST_PATH, assign, assign_paths, fold, is_safe, safe, unsafe

STAYS = [
    "S1_MR1",
    "1.2.840.113619.2.5-17",
    "t1 mprage (sag) [2mm] {x}",
    "a+b#c&d;e=f,g@h!i$j'k^l`m~n",
    "50% O2",
    "100%",
    "%",
    "%4",
    "%zz",
    "Müller",
    "日本語.dcm",
    "Приве́т",
    "🧠",
    ".hidden",
    "..data",
    "...x",
    "CONTROL",
    "COM10",
    "COMB.txt",
    "NULL",
    "x.con",
    "-rf",
    "~user",
    ".xnat-sync2",
    "x" * 255,
    "ü" * 127,
]

ESCAPED = {
    "": "%FF",
    ".": "%2E",
    "..": ".%2E",
    "...": "..%2E",
    " ": "%20",
    " a ": "%20a%20",
    "a. .": "a. %2E",
    "trailing.": "trailing%2E",
    "a/b": "a%2Fb",
    "a\\b": "a%5Cb",
    "C:": "C%3A",
    '<>"|?*': "%3C%3E%22%7C%3F%2A",
    "\0": "%00",
    "a\nb\x7f": "a%0Ab%7F",
    "\x85": "%C2%85",
    "exe\u202egpj": "exe%E2%80%AEgpj",
    "zero\u200bwidth": "zero%E2%80%8Bwidth",
    "\ud800": "%ED%A0%80",
    "\ud83d\ude00": "%ED%A0%BD%ED%B8%80",
    "\ufeffbom": "%EF%BB%BFbom",
    "%41": "%2541",
    "%ff": "%25ff",
    "%2F": "%252F",
    "%%41": "%%2541",
    "%/": "%%2F",
    "%4/": "%4%2F",
    "CON": "%43ON",
    "con.tar.gz": "%63on.tar.gz",
    "Aux ": "Aux%20",
    "PRN .txt": "%50RN .txt",
    "nul": "%6Eul",
    "Com1": "%43om1",
    "COM¹.dcm": "%43OM¹.dcm",
    "LPT9": "%4CPT9",
    "CONIN$": "%43ONIN$",
    "conout$.x": "%63onout$.x",
    ".xnat-sync": "%2Exnat-sync",
    ".XNAT-Sync": "%2EXNAT-Sync",
    ".xnat-\u017fync": "%2Exnat-\u017fync",
    ".xnat-sync\ufe0f": "%2Exnat-sync\ufe0f",
    "%long": "%25long",
    "%LONG": "%25LONG",
}


@pytest.mark.parametrize("name", STAYS)
def test_ordinary_names_stay(name: str) -> None:
    assert safe(name) == name
    assert unsafe(name) == name
    assert is_safe(name)


@pytest.mark.parametrize(("name", "component"), ESCAPED.items())
def test_escapes(name: str, component: str) -> None:
    assert safe(name) == component
    assert unsafe(component) == name
    assert is_safe(component)
    assert not is_safe(name) or "%" in name


@pytest.mark.parametrize("name", ["x" * 256, "ü" * 128, "日" * 90 + ".nii.gz", "/" * 86, "%" * 300, "x" * 250 + "ü/ü"])
def test_long_names_are_cut(name: str) -> None:
    component = safe(name)
    assert len(component.encode()) in range(LONGEST - 5, LONGEST + 1)
    digest = sha256(name.encode()).hexdigest()[:16]
    assert component.endswith(f"~{digest}.nii.gz" if name.endswith("gz") else f"~{digest}")
    assert is_safe(component)
    with pytest.raises(ValueError, match="shortened"):
        unsafe(component)


def test_what_looks_cut_is_cut() -> None:
    """Else somebody could name a file like the shortened name of another."""
    cut = safe("x" * 300)
    assert safe(cut) != cut
    assert safe("x" * 200 + cut[-17:]) == "x" * 200 + cut[-17:]  # too short to have been cut


@pytest.mark.parametrize("component", ["%80", "%C3", "%ED%A0"])
def test_unsafe_refuses_what_safe_never_gives(component: str) -> None:
    with pytest.raises(ValueError, match="utf-8"):
        unsafe(component)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a", "A"),
        ("é", "e\u0301"),
        ("É", "e\u0301"),
        ("STRASSE", "straße"),
        ("ﬁ", "FI"),
        ("Σ", "ς"),
        ("µ", "μ"),
        ("ı", "I"),
        ("ſ", "S"),
        ("Å", "\u212b"),
        ("한", unicodedata.normalize("NFD", "한")),
        ("\u2764\ufe0f", "\u2764"),
        ("x\u200dy", "XY"),
    ],
)
def test_fold(one: str, other: str) -> None:
    assert fold(one) == fold(other)
    given_names = assign([("1", one), ("2", other)])
    assert fold(given_names["1"]) != fold(given_names["2"])


def test_fold_keeps_apart_what_every_file_system_does() -> None:
    assert len({fold(name) for name in ("a", "b", "ä", "a ", "1", "¹", "①", "x_y", "x-y")}) == 9


# Names made to clash: few letters in many guises, pieces of escapes and suffixes, and anything at all.
pieces = st.sampled_from(
    ["a", "A", "ä", "a\u0308", "Ä", "ß", "ss", "~", "%", "%2", "%41", "/", ".", " ", "~1", "CON", "\0", "\u200d"]
)
crafted = st.lists(pieces, max_size=5).map("".join)
anything = st.text(st.characters(codec=None), max_size=12)
long_ones = st.tuples(st.sampled_from(["x", "ü", "日", "/", "%", "🧠"]), st.integers(40, 300), crafted).map(
    lambda parts: parts[0] * parts[1] + parts[2]
)
names = crafted | anything | long_ones


def path_is_safe(path: str) -> bool:
    """Each component is, bar our own folder of long paths at the beginning, and none leaves."""
    parts = path.split("/")
    if parts[0] == "%long":
        parts = parts[1:]
    return bool(parts) and all(map(is_safe, parts)) and len(path.encode()) <= LONGEST_PATH


@given(names)
@settings(max_examples=500, deadline=None)
def test_safe_is_safe_and_reversible(name: str) -> None:
    component = safe(name)
    assert is_safe(component)
    assert not set('/\\\0:*?"<>|') & set(component)
    assert component not in ("", ".", "..")
    try:
        assert unsafe(component) == name
    except ValueError:
        assert len(component.encode()) >= LONGEST - 5
    assert is_safe(safe(component))


@given(st.lists(names, unique=True, max_size=8))
@settings(max_examples=300, deadline=None)
def test_safe_is_injective(some: list[str]) -> None:
    both = {*some, *map(safe, some)}
    assert len(set(map(safe, both))) == len(both)


@given(names, names)
@settings(deadline=None)
def test_what_differs_only_by_fold_is_found(one: str, other: str) -> None:
    assert fold(one.swapcase().lower()) == fold(one.swapcase().lower().upper())
    for form in ("NFC", "NFD"):
        assert fold(unicodedata.normalize(form, other)) == fold(other)


def test_assign() -> None:
    assert assign([]) == {}
    assert assign([("E1", "MR 1"), ("E2", "mr_1")]) == {"E1": "MR 1", "E2": "mr_1"}
    assert assign([("E1", "MR1"), ("E2", "mr1"), ("E3", "x")]) == {"E1": "MR1~E1", "E2": "mr1~E2", "E3": "x"}
    assert assign([("E1", "a/b"), ("E/2", "A/B")]) == {"E1": "a%2Fb~E1", "E/2": "A%2FB~E%2F2"}
    assert assign([("1", "a"), ("2", "A"), ("3", "a~1")]) == {"1": "a~1", "2": "A~2", "3": "a~1~3"}


def test_assign_takes_a_pair_twice_and_one_label_an_id() -> None:
    assert assign([("4", "4"), ("4", "4")]) == {"4": "4"}
    assert assign([("4", "b"), ("4", "a")]) == assign([("4", "a"), ("4", "b")]) == {"4": "a"}


def test_assign_when_suffixes_clash_too() -> None:
    given_names = assign([("e", "a"), ("E", "A"), ("x~y", "b"), ("y", "b~x"), ("z", "B"), ("w", "B~X")])
    assert len(set(map(fold, given_names.values()))) == 6
    assert given_names["e"].startswith("a~")
    assert given_names["E"].startswith("A~")


def test_assign_cuts_labels_not_suffixes() -> None:
    given_names = assign([("1", "x" * 255), ("2", "X" * 255), ("3", "X" * 400), ("i" * 200, "x" * 255)])
    assert given_names["1"] == "x" * 253 + "~1"
    assert given_names["i" * 200].startswith("x" * 222 + "~")
    assert all(map(is_safe, given_names.values()))


@given(st.dictionaries(names, names, max_size=8))
@settings(max_examples=300, deadline=None)
@example({"1": "a", "2": "A", "3": "a~1", "4": "A~1~3"})
def test_assign_never_clashes(labels: dict[str, str]) -> None:
    given_names = assign(labels.items())
    assert given_names.keys() == labels.keys()
    assert len(set(map(fold, given_names.values()))) == len(labels)
    assert all(map(is_safe, given_names.values()))
    assert assign(reversed(labels.items())) == assign(sorted(labels.items())) == given_names
    clashing = [fold(safe(label)) for label in labels.values()]
    for key, label in labels.items():
        if clashing.count(fold(safe(label))) > 1:
            assert given_names[key] != safe(label)  # every one of them


def digits(kind: str, raw: str) -> str:
    return sha256(f"1 {kind} {raw}".encode()).hexdigest()[:8]


PATHS: list[dict[str, str]] = [
    {},
    {"a.dcm": "a.dcm", "sub/a.dcm": "sub/a.dcm", "sub/sub/b": "sub/sub/b"},
    {"": "%FF"},
    {"/": "%FF/%FF", "/a": "%FF/a", "a/": "a/%FF", "b//b": "b/%FF/b"},
    {"////": "%FF/%FF/%FF/%FF/%FF"},
    {"../../x": ".%2E/.%2E/x", "./x": "%2E/x", "x/..": "x/.%2E"},
    {"C:\\x": "C%3A%5Cx", "\\\\host\\share": "%5C%5Chost%5Cshare"},
    {".xnat-sync/lock": "%2Exnat-sync/lock", "%long/x": "%25long/x"},
    {"A.nii.gz": f"A~{digits('file', 'A.nii.gz')}.nii.gz", "a.nii.gz": f"a~{digits('file', 'a.nii.gz')}.nii.gz"},
    {"x": f"x~{digits('file', 'x')}", "x/y": f"x~{digits('folder', 'x')}/y"},
    {"S/1": f"S~{digits('folder', 'S')}/1", "s/1": f"s~{digits('folder', 's')}/1", "t/1": "t/1"},
    {"a.b/1": f"a.b~{digits('folder', 'a.b')}/1", "A.B/1": f"A.B~{digits('folder', 'A.B')}/1"},
]


@pytest.mark.parametrize("table", PATHS)
def test_assign_paths(table: dict[str, str]) -> None:
    assert assign_paths(table) == table
    assert assign_paths([*table, *table]) == table


def test_long_paths_go_into_a_folder_of_their_own() -> None:
    path = "/".join(["x" * 200] * 6) + "/last: one.dcm"
    digest = sha256(path.encode()).hexdigest()[:32]
    assert assign_paths([path, "x"])[path] == f"%long/{digest}/last%3A one.dcm"
    just = "/".join(["x" * 204] * 5)
    assert len(just) == LONGEST_PATH
    assert assign_paths([just]) == {just: just}


paths = st.lists(names | st.sampled_from([".", "..", "", "a", "A"]), min_size=1, max_size=4).map("/".join)


@given(st.lists(paths, unique=True, max_size=10))
@settings(max_examples=400, deadline=None)
@example(["a", "A", "a/b", "a~" + digits("file", "a")])
@example(["/".join(["y" * 250] * 5), "/".join(["Y" * 250] * 5), "%long/x", "%LONG"])
def test_assign_paths_never_clashes(some: list[str]) -> None:
    table = assign_paths(some)
    assert table.keys() == set(some)
    made = list(table.values())
    assert all(map(path_is_safe, made))
    folded = [fold(path) for path in made]
    assert len(set(folded)) == len(folded)
    folders = {path[: at + 1] for path in folded for at, letter in enumerate(path) if letter == "/"}
    assert not {f"{path}/" for path in folded} & folders  # no file where a folder is
    assert assign_paths(reversed(some)) == assign_paths(sorted(some)) == table


def test_ten_thousand_paths_at_once() -> None:
    some = [f"sub-{number % 50}/1.2.840.113619.{number:06d}.dcm" for number in range(10_000)]
    best = 1.0
    for _ in range(5):
        started = time.perf_counter()
        table = assign_paths(some)
        best = min(best, time.perf_counter() - started)
    assert table == dict(zip(some, some, strict=True))
    assert best < 0.2  # about 0.015 on a quiet machine
