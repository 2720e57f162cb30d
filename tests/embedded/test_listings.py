"""Lists of projects, subjects, experiments, scans and resources (§2; §8 rows 8–11, 13, 14)."""

from __future__ import annotations

import csv
import io
from xml.etree import ElementTree

import pytest

from embedded.probe import Probe
from xnat_embedded import Site

P = "/data/projects/PTV000"
RECOMMENDED = "columns=ID,label,xsiType,subject_ID,subject_label,project,date,insert_date,last_modified"


# --- the table -------------------------------------------------------------------------------------------


def test_table_shape(demo: Probe) -> None:
    reply = demo.ask("/data/projects?format=json")
    assert reply.header("Content-Type") == "application/json"
    assert reply.header("Transfer-Encoding") == "chunked"
    assert reply.header("Content-Length") is None
    table = reply.json()["ResultSet"]
    assert table["totalRecords"] == "1"
    assert set(table["Result"][0]) == {
        "ID", "secondary_ID", "name", "description", "pi_firstname", "pi_lastname", "URI",
    }  # fmt: skip


def test_every_value_is_text(demo: Probe, site: Site) -> None:
    first = next(site.experiments()).id
    for path in (
        "/data/projects", f"{P}/subjects", f"{P}/experiments", "/data/experiments", f"/data/experiments/{first}/scans",
        f"/data/experiments/{first}/resources?all=true", f"/data/experiments/{first}/files?all=true",
        f"/data/experiments/{first}/assessors",
    ):  # fmt: skip
        rows = demo.rows(path)
        assert rows
        assert all(isinstance(value, str) for row in rows for value in row.values()), path


def test_neither_row_order_nor_key_order_is_stable(demo: Probe) -> None:
    lists = [demo.rows(f"{P}/experiments") for _ in range(8)]
    assert len({tuple(row["ID"] for row in rows) for rows in lists}) > 1
    assert len({tuple(rows[0]) for rows in lists}) > 1
    assert len({frozenset(row["ID"] for row in rows) for rows in lists}) == 1


def test_sorting(demo: Probe) -> None:
    labels = [row["label"] for row in demo.rows(f"{P}/experiments?sortBy=label&sortOrder=DESC")]
    assert labels == sorted(labels, reverse=True)
    both = [(row["date"], row["label"]) for row in demo.rows(f"{P}/experiments?sortBy=date,label")]
    assert both == sorted(both)


def test_csv_xml_and_html(demo: Probe) -> None:
    rows = list(csv.DictReader(io.StringIO(demo.ask("/data/projects?format=csv").text)))
    assert rows[0]["ID"] == "PTV000"
    for path in (f"{P}/experiments?format=csv&columns=ID,xsiType", f"{P}/subjects?format=csv&columns=ID"):
        assert {"ID", "URI"} <= set(next(csv.DictReader(io.StringIO(demo.ask(path).text))))
    table = ElementTree.fromstring(demo.ask("/data/projects?format=xml").body)
    columns = [column.text for column in table.iter("column")]
    cells = [cell.text for cell in table.iter("cell")]
    assert dict(zip(columns, cells, strict=True))["ID"] == "PTV000"
    assert demo.ask("/data/projects?format=html").header("Content-Type") == "text/html"
    browser = {"Accept": "text/html,application/xhtml+xml"}
    assert demo.ask("/data/projects", headers=browser).header("Content-Type") == "text/html"
    assert demo.ask("/data/projects?format=json", headers=browser).rows()


def test_limit_and_offset_drop_the_total(demo: Probe) -> None:
    table = demo.ask(f"{P}/experiments?limit=3").json()["ResultSet"]
    assert len(table["Result"]) == 3
    assert "totalRecords" not in table
    assert len(demo.rows(f"{P}/experiments?offset=5")) == 2
    assert len(demo.rows(f"{P}/experiments?limit=*")) == 7


def test_a_failing_query_is_200_and_empty(demo: Probe, site: Site) -> None:
    for path in (f"{P}/experiments?date=2020-09-01", f"{P}/experiments?limit=x"):
        reply = demo.ask(path)
        assert (reply.status, reply.header("Content-Length"), reply.body) == (200, "0", b"")
    site.break_query = True
    assert demo.ask(f"{P}/experiments").body == b""


def test_closed_range_on_a_list_is_ignored_and_an_open_one_is_500(demo: Probe) -> None:
    assert demo.ask("/data/projects", headers={"Range": "bytes=0-9"}).status == 200
    assert demo.ask("/data/projects", headers={"Range": "bytes=0-"}).status == 500


# --- projects and rights ---------------------------------------------------------------------------------


def test_only_readable_projects_are_listed(demo: Probe, probe: Probe) -> None:
    assert [row["ID"] for row in demo.rows("/data/projects")] == ["PTV000"]
    probe.log_in("admin", "admin-password")
    assert {row["ID"] for row in probe.rows("/data/projects")} == {"PTV000", "HIDDEN", "GUARDED"}


@pytest.mark.parametrize("level", ["subjects", "experiments"])
def test_hidden_is_404_protected_is_403(demo: Probe, level: str) -> None:
    for project in ("HIDDEN", "NOPE"):
        reply = demo.ask(f"/data/projects/{project}/{level}")
        assert reply.status == 404
        assert "<title>Status page</title>" in reply.text
        assert "<h3>" in reply.text
        assert reply.header("Content-Type") == "text/html;charset=ISO-8859-1"
    assert demo.ask(f"/data/projects/GUARDED/{level}").status == 403


@pytest.mark.parametrize("prefix", ["/data", "/REST", "/data/archive", "/REST/archive"])
def test_every_archive_route_exists_four_times(demo: Probe, prefix: str) -> None:
    assert len(demo.rows(f"{prefix}/projects/PTV000/experiments")) == 7


# --- subjects --------------------------------------------------------------------------------------------


def test_subjects(demo: Probe) -> None:
    rows = demo.rows(f"{P}/subjects")
    assert {row["label"] for row in rows} == {"Haofei01", "Haofei02", "Haofei03", "Haofei04"}
    assert set(rows[0]) == {"insert_date", "project", "ID", "label", "insert_user", "URI"}
    assert all(row["URI"] == f"/data/subjects/{row['ID']}" for row in rows)
    assert len(demo.rows("/data/subjects")) == 4
    assert set(demo.rows(f"{P}/subjects?columns=ID,label,nonsense")[0]) == {"ID", "label", "URI"}


# --- experiments -----------------------------------------------------------------------------------------


def test_default_columns(demo: Probe) -> None:
    rows = demo.rows(f"{P}/experiments")
    assert set(rows[0]) == {
        "date", "xsiType", "xnat:subjectassessordata/id", "insert_date", "project", "ID", "label", "URI",
    }  # fmt: skip
    assert all(row["URI"] == f"/data/experiments/{row['ID']}" for row in rows)
    assert all(row["xnat:subjectassessordata/id"] == row["ID"] for row in rows)


def test_experiments_hold_forms_but_no_image_assessors(demo: Probe) -> None:
    types = {row["xsiType"] for row in demo.rows(f"{P}/experiments")}
    assert types == {"xnat:mrSessionData", "xnat:ctSessionData", "xnat:petSessionData", "xnat:subjectVariablesData"}


def test_recommended_call(demo: Probe) -> None:
    row = demo.rows(f"{P}/experiments?{RECOMMENDED}&format=json&sortBy=label")[0]
    assert row["label"] == "Haofei01_MR1"
    assert row["subject_label"] == "Haofei01"
    assert row["project"] == "PTV000"
    assert row["last_modified"] > row["insert_date"]


def test_columns_replace_the_default_and_unknown_ones_are_dropped(demo: Probe) -> None:
    rows = demo.rows(f"{P}/experiments?columns=ID,label,nonsense,xnat:subjectassessordata/subject_id")
    odd = "xnat:subjectassessordata/id"
    assert set(rows[0]) == {"ID", "label", "URI", odd, "xnat:subjectassessordata/subject_id"}


def test_an_imaging_column_moves_the_root_of_the_query(demo: Probe) -> None:
    rows = demo.rows(f"{P}/experiments?columns=ID,xsiType,modality")
    assert len(rows) == 6
    assert set(rows[0]) == {"ID", "xsiType", "modality", "URI", "xnat:imagesessiondata/id"}


def test_type_filter_renames_the_odd_column(demo: Probe) -> None:
    rows = demo.rows(f"{P}/experiments?xsiType=xnat:mrSessionData")
    assert len(rows) == 4
    assert "xnat:mrsessiondata/id" in rows[0]
    assert "xnat:subjectassessordata/id" not in rows[0]
    assert len(demo.rows(f"{P}/experiments?xsiType=xnat:imageSessionData")) == 6


def test_shortcuts_are_filters_too(demo: Probe) -> None:
    assert len(demo.rows(f"{P}/experiments?label=Haofei01*")) == 2
    assert len(demo.rows(f"{P}/experiments?subject_label=Haofei03")) == 2
    assert len(demo.rows(f"{P}/experiments?date=09/01/2020")) == 1
    assert len(demo.rows(f"{P}/experiments?date=09/01/2020-10/02/2020")) == 4


def test_experiments_of_a_subject(demo: Probe) -> None:
    assert len(demo.rows(f"{P}/subjects/Haofei01/experiments")) == 2
    assert demo.ask(f"{P}/subjects/NOPE/experiments").status == 404


def test_site_wide_list_has_a_title_and_the_assessors(demo: Probe) -> None:
    table = demo.ask("/data/experiments").json()["ResultSet"]
    assert "title" in table
    assert "xnat:qcManualAssessorData" in {row["xsiType"] for row in table["Result"]}
    assert len(demo.rows("/data/experiments?project=PTV000&xsiType=xnat:mrSessionData")) == 4


def test_empty_project_is_an_empty_result(demo: Probe, site: Site) -> None:
    site.add_project("NEW", members=("demo",))
    table = demo.ask("/data/projects/NEW/experiments").json()["ResultSet"]
    assert table["Result"] == []
    assert table["totalRecords"] == "0"


def test_shared_rows_are_rewritten_for_the_project_that_lists_them(demo: Probe, site: Site) -> None:
    other = site.add_project("OTHER", members=("demo",))
    session = next(site.experiments())
    session.subject.share(other, "S-X")
    session.share(other, "X-MR")
    (row,) = demo.rows(f"/data/projects/OTHER/experiments?{RECOMMENDED}")
    assert (row["ID"], row["label"], row["subject_label"], row["project"]) == (session.id, "X-MR", "S-X", "OTHER")
    (subject,) = demo.rows("/data/projects/OTHER/subjects")
    assert (subject["label"], subject["project"]) == ("S-X", "PTV000")
    item = demo.ask(f"/data/experiments/{session.id}?format=json").json()["items"][0]
    shares = next(child for child in item["children"] if child["field"] == "sharing/share")
    assert shares["items"][0]["data_fields"] == {"project": "OTHER", "label": "X-MR"}


# --- scans -----------------------------------------------------------------------------------------------


def test_scans(demo: Probe, site: Site) -> None:
    session = next(site.experiments())
    table = demo.ask(f"/data/experiments/{session.id}/scans").json()["ResultSet"]
    assert table["totalRecords"] == "4"
    row = next(row for row in table["Result"] if row["ID"] == "4")
    assert set(row) == {
        "xnat_imagescandata_id", "ID", "type", "quality", "xsiType", "note", "series_description", "URI",
    }  # fmt: skip
    assert (row["type"], row["URI"]) == ("t1_mprage", f"/data/experiments/{session.id}/scans/4")


def test_scans_of_what_does_not_exist(demo: Probe) -> None:
    assert demo.ask("/data/experiments/NOPE/scans").status == 500
    assert demo.ask("/data/experiments/Haofei01_MR1/scans").status == 500  # A label is no accession id.
    assert demo.ask(f"{P}/subjects/Haofei01/experiments/Haofei01_MR1/scans").status == 200
    assert demo.ask(f"{P}/subjects/Haofei01/experiments/NOPE/scans").status == 404
    assert demo.ask(f"{P}/subjects/NOPE/experiments/Haofei01_MR1/scans").status == 404
    assert demo.ask("/data/projects/NOPE/subjects/Haofei01/experiments/Haofei01_MR1/scans").status == 500


def test_labels_are_no_accession_ids(demo: Probe) -> None:
    for tail in ("?format=json", "/resources"):
        assert demo.ask(f"/data/experiments/Haofei01_MR1{tail}").status == 404


# --- resources -------------------------------------------------------------------------------------------


def test_scan_resources(demo: Probe, site: Site) -> None:
    session = next(site.experiments())
    table = demo.ask(f"/data/experiments/{session.id}/scans/4/resources").json()["ResultSet"]
    assert (table["title"], table["totalRecords"]) == ("Resources", "2")
    row = next(row for row in table["Result"] if row["label"] == "DICOM")
    assert set(row) == {
        "xnat_abstractresource_id", "label", "element_name", "category", "cat_id", "cat_desc",
        "file_count", "file_size", "tags", "content", "format",
    }  # fmt: skip
    found = (row["category"], row["cat_id"], row["cat_desc"], row["file_count"], row["element_name"])
    assert found == ("scans", "4", "t1_mprage", "6", "xnat:resourceCatalog")


def test_session_resources_with_and_without_all(demo: Probe, site: Site) -> None:
    session = next(site.experiments())
    own = demo.rows(f"/data/experiments/{session.id}/resources")
    assert {(row["label"], row["cat_id"], row["cat_desc"]) for row in own} == {
        ("NOTES", session.id, " "),
        ("PHYSIO", session.id, " "),
    }
    everything = demo.rows(f"/data/experiments/{session.id}/resources?all=true")
    assert {(row["category"], row["cat_id"]) for row in everything} == {
        ("resources", ""), ("scans", "1"), ("scans", "4"), ("scans", "5"), ("scans", "6"),
        ("assessors", session.assessors[0].id),
    }  # fmt: skip
    assert demo.ask("/data/experiments/NOPE/resources").status == 404


def test_project_subject_and_assessor_resources(demo: Probe, site: Site) -> None:
    assert [row["label"] for row in demo.rows(f"{P}/resources")] == ["DOCS"]
    assert [row["label"] for row in demo.rows(f"{P}/subjects/Haofei02/resources")] == ["CONSENT"]
    session = next(site.experiments())
    path = f"/data/experiments/{session.id}/assessors/{session.assessors[0].id}"
    assert [row["label"] for row in demo.rows(f"{path}/out/resources")] == ["REPORT"]
    assert demo.rows(f"{path}/in/resources") == []
    assert [row["label"] for row in demo.rows(f"/data/experiments/{session.assessors[0].id}/resources")] == ["REPORT"]


def test_counts_come_from_the_database_and_may_be_stale(demo: Probe, site: Site) -> None:
    session = next(site.experiments())
    resource = session.scan("4").resource("DICOM")
    resource.file_count, resource.file_size = "", "0"
    row = next(row for row in demo.rows(f"/data/experiments/{session.id}/scans/4/resources") if row["label"] == "DICOM")
    assert (row["file_count"], row["file_size"]) == ("", "0")


def test_catalog_xml(demo: Probe, site: Site) -> None:
    session = next(site.experiments())
    for name in ("DICOM", str(session.scan("4").resource("DICOM").id)):
        reply = demo.ask(f"/data/experiments/{session.id}/scans/4/resources/{name}")
        assert reply.header("Content-Type") == "text/xml"
        root = ElementTree.fromstring(reply.body)
        assert root.tag == "{http://nrg.wustl.edu/catalog}DCMCatalog"
        entries = list(root.iter("{http://nrg.wustl.edu/catalog}entry"))
        assert len(entries) == 6
        assert {"URI", "ID", "name", "digest"} <= set(entries[0].attrib)
    assert demo.ask(f"/data/experiments/{session.id}/scans/4/resources/NOPE").status == 404
