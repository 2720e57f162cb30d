"""The odd site: every name that archives hold, and how far each can be addressed (§2.6, end of §8)."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from embedded.probe import Probe
from xnat_embedded import Server, Site, odd_site
from xnat_embedded.odd import FILE_NAMES


def accession(probe: Probe, label: str, project: str = "ODD") -> str:
    return next(row["ID"] for row in probe.rows(f"/data/projects/{project}/experiments") if row["label"] == label)


def encoded(uri: str) -> str:
    """By the rule: every segment percent-encoded beyond the unreserved, slashes kept."""
    return quote(uri, safe="/-._~")


@pytest.mark.parametrize("name", FILE_NAMES)
def test_every_file_name_can_be_fetched_by_the_rule(odd: Probe, name: str) -> None:
    rows = odd.rows(f"/data/experiments/{accession(odd, 'NAMES')}/files?all=true")
    row = next(row for row in rows if row["URI"].partition("/files/")[2] == name)
    assert row["Name"] == name.rpartition("/")[2]
    reply = odd.ask(encoded(row["URI"]))
    assert reply.status == 200, name
    assert len(reply.body) == int(row["Size"])


def test_plus_is_a_space_only_if_something_else_is_encoded(odd: Probe) -> None:
    base = f"/data/experiments/{accession(odd, 'NAMES')}/scans/4/resources/DICOM/files/"
    assert odd.ask(base + "plus+plus.dcm").status == 200
    assert odd.ask(base + "plus+and%20space.dcm").status == 404
    assert odd.ask(base + "plus+%20and%20space.dcm").status == 404
    assert odd.ask(base + "with+space.dcm").status == 200  # Decoded in the second attempt.


def test_all_names_are_in_the_zip_as_they_are(odd: Probe) -> None:
    session = accession(odd, "NAMES")
    row = odd.rows(f"/data/experiments/{session}/resources?all=true")[0]
    number = row["xnat_abstractresource_id"]
    names = odd.zip(f"/data/experiments/{session}/resources/{number}/files").namelist()
    start = "NAMES/resources/DICOM/files/"
    assert {name.removeprefix(start) for name in names} == {*FILE_NAMES, "stored.zip"}


def test_every_listed_file_of_the_whole_site_is_served_or_known_to_be_missing(odd: Probe) -> None:
    missing = []
    for project in ("ODD", "ODD2"):
        for session in odd.rows(f"/data/projects/{project}/experiments"):
            for row in odd.rows(f"/data/experiments/{session['ID']}/files?all=true"):
                uri = row["URI"]
                if "/scans/" in uri:
                    # Scan ids with a slash or a comma cannot be named; numbers reach their resources all the same.
                    uri = f"/data/experiments/{session['ID']}/resources/{uri.partition('/resources/')[2]}"
                status = odd.ask(encoded(uri)).status
                if status != 200:
                    missing.append((row["Name"], status))
    assert missing == [("gone.dcm", 404)]


def test_scan_ids_with_slash_or_comma_cannot_be_named(odd: Probe) -> None:
    session = accession(odd, "SCANS")
    ids = {row["ID"] for row in odd.rows(f"/data/experiments/{session}/scans")}
    assert {"1/2", "3,4", "4", "4-MR1"} <= ids
    assert odd.ask(f"/data/experiments/{session}/scans/1%2F2/files").status == 400
    rows = odd.rows(f"/data/experiments/{session}/scans/3,4/files")
    assert {row["URI"].split("/scans/")[1].split("/")[0] for row in rows} == {"4", "5"}
    assert len(odd.rows(f"/data/experiments/{session}/scans/1%5BSLASH%5D2/files")) == 1  # A type, not an id.
    assert len(odd.rows(f"/data/experiments/{session}/scans/a%5BCOMMA%5D%20b/files")) == 1
    assert len(odd.rows(f"/data/experiments/{session}/scans/sp%20ace/files")) == 1
    assert len(odd.rows(f"/data/experiments/{session}/scans/plus%2B1/files")) == 1


def test_labels_with_special_characters_cannot_be_addressed(odd: Probe) -> None:
    for label in ("with space", "Jürgen", "O'Neil & Co"):
        assert odd.ask(f"/data/projects/ODD/subjects/{quote(label)}/experiments").status == 404
    assert odd.ask("/data/projects/ODD/subjects/a+b/experiments").status == 200
    lower, upper = (odd.rows(f"/data/projects/ODD/subjects/{name}/experiments") for name in ("lower", "LOWER"))
    assert lower[0]["ID"] != upper[0]["ID"]


def test_resource_labels_are_not_decoded_and_digits_are_numbers(odd: Probe) -> None:
    base = f"/data/experiments/{accession(odd, 'RESOURCES')}/scans/1/resources"
    assert odd.rows(f"{base}/with%20space/files") == []
    assert odd.ask(f"{base}/2023/files").status == 403
    assert len(odd.rows(f"{base}/DICOM/files")) == 4  # Two resources of one label.
    labels = [row["label"] for row in odd.rows(base)]
    assert sorted(labels).count("DICOM") == 2
    assert "" in labels
    assert odd.ask(f"{base}/DICOM/files?format=zip").names() == [  # The second f.dcm is a duplicate: the end.
        "RESOURCES/scans/1-t1/resources/DICOM/files/f.dcm",
        "RESOURCES/scans/1-t1/resources/DICOM/files/only-0.dcm",
    ]


def test_disagreements(odd: Probe) -> None:
    session = accession(odd, "CATALOGS")
    counts = {
        row["label"]: (row["file_count"], row["file_size"])
        for row in odd.rows(f"/data/experiments/{session}/resources?all=true")
    }
    assert counts["STALE"] == ("7", "999")
    assert counts["BLANK"] == ("", "")
    rows = {row["Name"]: row for row in odd.rows(f"/data/experiments/{session}/files?all=true")}
    assert rows["nodigest.dcm"]["digest"] == ""
    assert rows["nosize.dcm"]["Size"] == ""
    assert rows["gone.dcm"]["digest"] != ""


def test_levels(odd: Probe) -> None:
    session = accession(odd, "LEVELS")
    rows = odd.rows(f"/data/experiments/{session}/files?all=true")
    middles = {row["URI"].partition("/resources/")[0].removeprefix(f"/data/experiments/{session}") for row in rows}
    assessor = odd.rows(f"/data/experiments/{session}/assessors")[0]["ID"]
    assert middles == {
        "", "/scans/1", "/reconstructions/R1/out",
        f"/assessors/{assessor}/out", f"/assessors/{assessor}/in", f"/assessors/{assessor}",
    }  # fmt: skip
    assert odd.rows(f"/data/experiments/{session}/reconstructions")[0]["ID"] == "R1"
    assert len(odd.rows("/data/projects/ODD/files")) == 2
    assert len(odd.rows("/data/projects/ODD/subjects/S1/files")) == 1


def test_sharing(odd: Probe) -> None:
    assert accession(odd, "SHARED_MR1") == accession(odd, "S-01_MR", "ODD2")
    assert accession(odd, "BORROWED_MR1") == accession(odd, "LENT_MR1", "ODD2")


def test_the_big_file_is_listed_with_its_size() -> None:
    site: Site = odd_site(big=True)
    with Server(site) as server:
        probe = Probe(server)
        probe.log_in()
        session = accession(probe, "HUGE")
        sizes = {row["Name"]: row["Size"] for row in probe.rows(f"/data/experiments/{session}/files?all=true")}
        assert int(sizes["huge.bin"]) > 4 << 30
        number = site.project("ODD").subject("S1").session("HUGE").scan("1").resources[0].id  # type: ignore[union-attr]
        path = f"/data/experiments/{session}/resources/{number}/files/huge.bin"
        reply = probe.ask(path, headers={"Range": f"bytes={(4 << 30) + 12340}-"})
        assert (reply.status, reply.body) == (206, bytes(5))
