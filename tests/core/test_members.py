"""Which listed file a zip's member is: looked up past what the server put before it, or nothing at all."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from xnat_sync.core import members

ID, LABEL = "XNAT_E00001", "S1_MR1"
LISTED = members.index(["1.dcm", "sub/2.dcm", "files/3", "a/resources/9/files/b", "100%20+#?.dcm"], ID, LABEL)


@pytest.mark.parametrize(
    ("member", "path"),
    [
        pytest.param("S1_MR1/resources/DICOM/files/1.dcm", "1.dcm", id="as it is usual"),
        pytest.param("S1_MR1/resources/DICOM/files/sub/2.dcm", "sub/2.dcm", id="in a folder"),
        pytest.param("S1_MR1/resources/DICOM/files/files/3", "files/3", id="in a folder named files"),
        pytest.param(
            "S1_MR1/resources/DICOM/files/a/resources/9/files/b", "a/resources/9/files/b", id="a path like a member's"
        ),
        pytest.param("S1_MR1/scans/4-t1/resources/DICOM/files/1.dcm", "1.dcm", id="below a scan"),
        pytest.param("S1_MR1/resources//files/1.dcm", "1.dcm", id="of a resource without a label"),
        pytest.param("resources/DICOM/files/1.dcm", "1.dcm", id="without a session"),
        pytest.param("resources/resources/DICOM/files/1.dcm", "1.dcm", id="of a session named resources"),
        pytest.param("S1_MR1/resources/DICOM/files/100%20+#?.dcm", "100%20+#?.dcm", id="raw, nothing decoded"),
        pytest.param("S1_MR1/resources/DICOM/files/other", None, id="not listed"),
        pytest.param("S1_MR1/resources/DICOM/files/", None, id="no path"),
        pytest.param("S1_MR1/resources/DICOM/1.dcm", None, id="no files"),
        pytest.param("S1_MR1/sources/DICOM/files/1.dcm", None, id="no resources"),
        pytest.param("S1_MR1/xresources/DICOM/files/1.dcm", None, id="a word that ends so"),
        pytest.param("1.dcm", None, id="the path alone"),
        pytest.param("../../resources/../files/../../etc/passwd", None, id="a way out"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_a_member_is_the_listed_file_after_its_files_folder(member: str, path: str | None) -> None:
    assert members.find(member, LISTED) == path


def test_the_sessions_label_may_stand_where_its_id_stood() -> None:
    listed = members.index([f"{ID}/{ID}.json", "plain"], ID, LABEL)
    assert listed == {
        f"{ID}/{ID}.json": f"{ID}/{ID}.json",
        f"{LABEL}/{LABEL}.json": f"{ID}/{ID}.json",
        "plain": "plain",
    }


def test_a_path_that_is_listed_so_is_never_taken_for_a_rewritten_one() -> None:
    assert members.index([f"{ID}.json", f"{LABEL}.json"], ID, LABEL) == {
        f"{ID}.json": f"{ID}.json",
        f"{LABEL}.json": f"{LABEL}.json",
    }


@pytest.mark.parametrize("turn", [1, -1])
def test_a_rewritten_path_that_may_be_two_files_is_neither(turn: int) -> None:
    paths = ["x-x", "x-y", "y-x", "z"][::turn]
    assert members.index(paths, "x", "y") == {path: path for path in paths}
    assert members.index(["x-z", "z"], "x", "y") == {"x-z": "x-z", "y-z": "x-z", "z": "z"}


def test_without_an_id_nothing_is_rewritten() -> None:
    assert members.index(["a", "b"], "", "label") == {"a": "a", "b": "b"}


words = st.text("xy/é.", min_size=1, max_size=6)


@settings(deadline=None)
@given(st.lists(words, unique=True, max_size=6), st.text("xy", max_size=2), st.text("xyz", max_size=2))
def test_every_listed_path_finds_itself_and_no_name_finds_a_wrong_file(
    paths: list[str], accession: str, label: str
) -> None:
    listed = members.index(paths, accession, label)
    assert {path: path for path in paths}.items() <= listed.items()
    assert members.index(reversed(paths), accession, label) == listed
    for name, path in listed.items():
        could_be = [each for each in paths if accession and each.replace(accession, label) == name]
        assert name == path or could_be == [path]
    if accession:
        for path in paths:
            alias = path.replace(accession, label)
            if alias not in listed:
                assert sum(each.replace(accession, label) == alias for each in paths) > 1


@settings(deadline=None)
@given(
    st.text(max_size=8),
    st.text(max_size=8).filter(lambda label: "/" not in label),
    st.text(min_size=1, max_size=12),
)
def test_what_stands_before_the_path_does_not_matter(session: str, label: str, path: str) -> None:
    assume("/resources/" not in f"/{session}/" or not session)
    assert members.find(f"{session}/resources/{label}/files/{path}", {path: path}) == path
