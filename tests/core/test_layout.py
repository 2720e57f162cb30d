"""Where things lie: no two in one place, none outside its folder, and the same whatever the order of the listing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xnat_sync.core import layout, names
from xnat_sync.core.errors import UsageError
from xnat_sync.core.layout import STATE
from xnat_sync.core.listing import ListedResource
from xnat_sync.core.model import Experiment, Level, Place, RemoteFile, Resource, Unit, UnitKind

SESSION = Unit(UnitKind.EXPERIMENT, "P1", "XNAT_E1", "S1_MR1", "S1/S1_MR1")


def subject_folders(subjects: Mapping[str, str]) -> dict[str, str]:
    made = layout.units("P1", [], subjects)
    return {unit.id: unit.folder for unit in made.values() if unit.kind is UnitKind.SUBJECT}


def experiment(accession: str, label: str, subject: str = "XNAT_S1", subject_label: str = "S1") -> Experiment:
    return Experiment(accession, label, subject, subject_label, "P1", "xnat:mrSessionData", "2020-09-01", "then")


def listed(number: str, label: str, place: Place) -> ListedResource:
    return ListedResource(place, number, label, (RemoteFile("a", 1, None),))


def folders(listed_: Iterable[ListedResource]) -> dict[str, str]:
    return {resource.id: resource.folder for resource in layout.place(SESSION, list(listed_))}


# -- units ------------------------------------------------------------------------------------------------------


def test_labels_name_folders() -> None:
    mr = experiment("XNAT_E1", "S1_MR1")
    assert layout.units("P1", [mr]) == {
        "P1": Unit(UnitKind.PROJECT, "P1", "P1", "P1", ""),
        "XNAT_S1": Unit(UnitKind.SUBJECT, "P1", "XNAT_S1", "S1", "S1", subject_label="S1", subject_id="XNAT_S1"),
        "XNAT_E1": Unit(
            UnitKind.EXPERIMENT,
            "P1",
            "XNAT_E1",
            "S1_MR1",
            "S1/S1_MR1",
            subject_label="S1",
            subject_id="XNAT_S1",
            last_modified="then",
            xsi_type="xnat:mrSessionData",
            date="2020-09-01",
        ),
    }


def test_a_shared_session_lies_in_the_project_that_was_asked_for() -> None:
    shared = Experiment("XNAT_E1", "label here", "XNAT_S1", "subject here", "OTHER")
    unit = layout.units("P1", [shared])["XNAT_E1"]
    assert (unit.project, unit.folder) == ("P1", "subject here/label here")


def test_subjects_without_experiments_have_a_folder_too() -> None:
    made = layout.units("P1", [experiment("XNAT_E1", "MR")], {"XNAT_S2": "two", "XNAT_S1": "S1"})
    assert {key: unit.folder for key, unit in made.items()} == {
        "P1": "",
        "XNAT_S1": "S1",
        "XNAT_S2": "two",
        "XNAT_E1": "S1/MR",
    }


def test_a_project_without_anything_is_a_unit() -> None:
    assert list(layout.units("P1", [])) == ["P1"]


def test_an_experiment_without_a_subject_has_a_folder_but_its_subject_is_no_unit() -> None:
    made = layout.units("P1", [experiment("XNAT_E1", "MR", "", "")])
    assert {key: unit.folder for key, unit in made.items()} == {"P1": "", "XNAT_E1": f"{names.safe('')}/MR"}


@pytest.mark.parametrize(
    ("one", "two"),
    [
        pytest.param("S1", "s1", id="case"),
        pytest.param("\u00e4", "a\u0308", id="composed and decomposed"),
        pytest.param("straße", "STRASSE", id="folded"),
        pytest.param("same", "same", id="the same label twice"),
        pytest.param("a\u200bb", "a\u200b\u200bb", id="invisible characters escaped alike or not"),
    ],
)
def test_labels_that_some_file_system_takes_for_one_get_their_ids(one: str, two: str) -> None:
    made = subject_folders({"XNAT_S1": one, "XNAT_S2": two, "XNAT_S3": "other"})
    assert names.fold(made["XNAT_S1"]) != names.fold(made["XNAT_S2"])
    assert made["XNAT_S3"] == "other"
    if names.fold(one) == names.fold(two) and names.is_safe(one):
        assert made["XNAT_S1"] == f"{one}~XNAT_S1"
        assert made["XNAT_S2"] == f"{two}~XNAT_S2"


@pytest.mark.parametrize("label", ["resources", "Resources", "RESOURCES"])
def test_a_label_does_not_take_the_place_of_the_fixed_word(label: str) -> None:
    made = layout.units("P1", [experiment("XNAT_E1", label, "XNAT_S1", label)])
    assert made["XNAT_S1"].folder == f"{label}~XNAT_S1"
    assert made["XNAT_E1"].folder == f"{label}~XNAT_S1/{label}~XNAT_E1"


@pytest.mark.parametrize("label", ["scans", "assessors", "reconstructions", "RESOURCES2"])
def test_fixed_words_of_other_folders_are_ordinary_labels(label: str) -> None:
    assert layout.units("P1", [experiment("XNAT_E1", label)])["XNAT_E1"].folder == f"S1/{label}"


def test_no_subject_lies_in_our_own_folder() -> None:
    made = subject_folders({"XNAT_S1": STATE, "XNAT_S2": STATE.upper()})
    assert all(names.fold(folder) != STATE for folder in made.values())


def test_an_id_of_other_letters_does_not_make_a_folder_too_long() -> None:
    made = layout.units("P1", [experiment("E1", "x" * 300), experiment("Eé", "x" * 300)])
    assert all(len(unit.folder.rpartition("/")[2].encode()) <= 255 for unit in made.values())


LABELS = [
    "", ".", "..", "/", "a", "A", "a/b", "a%2Fb", "\u00e4", "a\u0308", "\u00c4", "ß", "ss", "SS", "CON", "con.", " a",
    "a ", "resources", "Resources", "resources~1", "a~1", "A~2", "scans", STATE, "x" * 300, "X" * 300, "\ud800", "\0",
]  # fmt: skip
labels = st.sampled_from(LABELS) | st.text(max_size=4)
identities = st.sampled_from(["1", "2", "3", "4", "a", "A", "resources", "é"])
experiment_lists = st.dictionaries(
    identities.map(lambda key: f"E{key}"), st.tuples(labels, st.integers(0, 2)), max_size=6
).flatmap(
    lambda each: st.tuples(labels, labels, labels).map(
        lambda subjects: [
            experiment(key, label, f"S{subject}", subjects[subject]) for key, (label, subject) in each.items()
        ]
    )
)


def clashes(paths: Iterable[str]) -> list[str]:
    """Of final paths, those that some file system takes for another one or that lie inside another one."""
    folded = sorted(tuple(names.fold(part) for part in path.split("/")) for path in paths)
    return [str(two) for one, two in pairwise(folded) if two[: len(one)] == one]


@settings(deadline=None)
@given(st.data(), experiment_lists, st.dictionaries(st.sampled_from(["S0", "S7", "S8"]), labels, max_size=2))
def test_units_never_clash_and_do_not_depend_on_the_order(
    data: st.DataObject, experiments: list[Experiment], subjects: dict[str, str]
) -> None:
    made = layout.units("P1", experiments, subjects)
    assert set(made) == {"P1", *subjects, *(e.id for e in experiments), *(e.subject_id for e in experiments)}
    assert layout.units("P1", data.draw(st.permutations(experiments)), subjects) == made
    subject_units = [unit for unit in made.values() if unit.kind is UnitKind.SUBJECT]
    experiment_units = [unit for unit in made.values() if unit.kind is UnitKind.EXPERIMENT]
    assert not clashes(["resources", STATE, *(unit.folder for unit in subject_units)])
    own = [f"{unit.folder}/resources" for unit in subject_units]
    assert not clashes([*own, *(unit.folder for unit in experiment_units)])
    assert all(names.is_safe(part) for unit in experiment_units for part in unit.folder.split("/"))
    parents = {e.id: made[e.subject_id].folder for e in experiments}
    assert all(unit.folder.rpartition("/")[0] == parents[unit.id] for unit in experiment_units)


# -- resources --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "folder"),
    [
        (Place(Level.SCAN, "4"), "scans/4/DICOM"),
        (Place(Level.SCAN, "4-MR1/x"), "scans/4-MR1%2Fx/DICOM"),
        (Place(Level.SESSION), "resources/DICOM"),
        (Place(Level.SUBJECT), "resources/DICOM"),
        (Place(Level.PROJECT), "resources/DICOM"),
        (Place(Level.ASSESSOR, "XNAT_A1", "out"), "assessors/XNAT_A1/out/DICOM"),
        (Place(Level.ASSESSOR, "XNAT_A1", "in"), "assessors/XNAT_A1/in/DICOM"),
        (Place(Level.ASSESSOR, "XNAT_A1"), "assessors/XNAT_A1/resources/DICOM"),
        (Place(Level.RECONSTRUCTION, "r", "out"), "reconstructions/r/out/DICOM"),
        (Place(Level.RECONSTRUCTION, "r", "in"), "reconstructions/r/in/DICOM"),
        (Place(Level.RECONSTRUCTION, "r"), "reconstructions/r/resources/DICOM"),
    ],
    ids=str,
)
def test_the_place_in_the_tree_is_the_place_on_disk(place: Place, folder: str) -> None:
    one = listed("12", "DICOM", place)
    assert layout.place(SESSION, [one]) == (Resource(SESSION, place, "12", "DICOM", one.files, folder),)


def test_a_unit_without_files_has_no_folders() -> None:
    assert layout.place(SESSION, []) == ()


SCAN = Place(Level.SCAN, "4")


def test_resources_of_one_scan_lie_side_by_side() -> None:
    assert folders(
        [listed("1", "DICOM", SCAN), listed("2", "SNAPSHOTS", SCAN), listed("3", "DICOM", Place(Level.SCAN, "5"))]
    ) == {
        "1": "scans/4/DICOM",
        "2": "scans/4/SNAPSHOTS",
        "3": "scans/5/DICOM",
    }


def test_resources_of_one_label_are_told_apart_by_their_numbers() -> None:
    same = [listed("1", "DICOM", SCAN), listed("2", "DICOM", SCAN), listed("3", "dicom", SCAN), listed("4", "x", SCAN)]
    assert folders(same) == {
        "1": "scans/4/DICOM~1",
        "2": "scans/4/DICOM~2",
        "3": "scans/4/dicom~3",
        "4": "scans/4/x",
    }


def test_a_resource_without_a_label_is_named_by_its_number() -> None:
    assert folders([listed("7", "", SCAN), listed("8", "", SCAN)]) == {"7": "scans/4/7", "8": "scans/4/8"}
    assert folders([listed("7", "", SCAN), listed("8", "7", SCAN)]) == {"7": "scans/4/7~7", "8": "scans/4/7~8"}


def test_scans_whose_ids_differ_in_case_only_are_told_apart() -> None:
    made = folders([listed("1", "DICOM", Place(Level.SCAN, "4a")), listed("2", "DICOM", Place(Level.SCAN, "4A"))])
    assert not clashes(made.values())
    assert made["1"].startswith("scans/4a~")
    assert made["2"].startswith("scans/4A~")


def test_resources_in_and_out_of_an_assessor_do_not_meet() -> None:
    ways = [listed(str(at), "DICOM", Place(Level.ASSESSOR, "A", way)) for at, way in enumerate(("in", "out"))]
    assert folders(ways) == {"0": "assessors/A/in/DICOM", "1": "assessors/A/out/DICOM"}


@pytest.mark.parametrize("level", [Level.ASSESSOR, Level.RECONSTRUCTION])
def test_an_own_resource_does_not_take_the_place_of_an_output_of_the_same_label(level: Level) -> None:
    own, output = listed("1", "DICOM", Place(level, "A")), listed("2", "DICOM", Place(level, "A", "out"))
    made = folders([own, output])
    assert not clashes(made.values())
    assert folders([output, own]) == made


def test_an_assessor_is_named_by_its_label_where_that_is_known() -> None:
    listed_ = [
        listed("1", "DICOM", Place(Level.ASSESSOR, "A1", "out")),
        listed("2", "DICOM", Place(Level.ASSESSOR, "A2", "out")),
        listed("3", "DICOM", Place(Level.ASSESSOR, "A3", "out")),
        listed("4", "DICOM", Place(Level.ASSESSOR, "A4", "out")),
    ]
    made = layout.place(SESSION, listed_, labels={"A1": "QC", "A2": "qc", "A3": "FS/1"})
    assert [resource.folder for resource in made] == [
        "assessors/QC~A1/out/DICOM",
        "assessors/qc~A2/out/DICOM",
        "assessors/FS%2F1/out/DICOM",
        "assessors/A4/out/DICOM",
    ]


def test_a_scans_resources_know_its_type_and_no_others_do() -> None:
    here = [listed("1", "DICOM", SCAN), listed("2", "DICOM", Place(Level.SCAN, "5"))]
    listed_ = [*here, listed("3", "DICOM", Place(Level.ASSESSOR, "4", "out")), listed("4", "x", Place(Level.SESSION))]
    made = layout.place(SESSION, listed_, types={"4": "t1 mprage", "": "wrong"})
    assert [resource.scan_type for resource in made] == ["t1 mprage", "", "", ""]


@st.composite
def places(draw: st.DrawFn) -> Place:
    level = draw(st.sampled_from([Level.SCAN, Level.SESSION, Level.ASSESSOR, Level.RECONSTRUCTION]))
    if level is Level.SESSION:
        return Place(level)
    way = "" if level is Level.SCAN else draw(st.sampled_from(["", "in", "out"]))
    return Place(level, draw(st.sampled_from(["4", "4a", "4A", "in", "resources", "a/b", "..", "é", "e\u0301"])), way)


@settings(deadline=None, max_examples=200)
@given(st.data(), st.dictionaries(st.integers(0, 10), st.tuples(labels, places()), max_size=7))
def test_resources_never_clash_and_do_not_depend_on_the_order(
    data: st.DataObject, each: dict[int, tuple[str, Place]]
) -> None:
    resources = [listed(str(number), label, place) for number, (label, place) in each.items()]
    made = layout.place(SESSION, resources)
    assert {(r.id, r.label, r.place, r.files) for r in made} == {(r.id, r.label, r.place, r.files) for r in resources}
    assert not clashes(r.folder for r in made)
    assert folders(data.draw(st.permutations(resources))) == {r.id: r.folder for r in made}
    assert all(names.is_safe(part) for r in made for part in r.folder.split("/"))
    for one in made:
        for two in made:
            alike = (one.place.level, one.place.owner) == (two.place.level, two.place.owner)
            if one.place.level in (Level.SCAN, Level.ASSESSOR, Level.RECONSTRUCTION):
                assert (one.folder.split("/")[:2] == two.folder.split("/")[:2]) is alike


def test_what_hangs_elsewhere_changes_no_folder() -> None:
    scans = [listed("1", "DICOM", SCAN), listed("2", "dicom", SCAN)]
    more = [listed("3", "DICOM", Place(Level.SESSION)), listed("4", "DICOM", Place(Level.ASSESSOR, "4", "out"))]
    for order in permutations(scans + more):
        assert folders(order).items() >= folders(scans).items()


# -- templates --------------------------------------------------------------------------------------------------

TEMPLATES = [
    "short",
    "xnat",
    "{subject}/{session}/{scan}/{resource}",
    "{subject}/{date}/{session}/{scan}-{scan_type}/{resource}",
    "{date}/{session}/{scan_type}/{scan}/{resource}",
    "{session_type}/{subject}_{session}/scans/{scan}/{resource}",
    "{project}/{session_id}/{scan}/{resource_id}",
    "sub-{subject_id}/ses-{session}/{resource}/{scan}",
    "{session}/all/{scan}_{resource}",
]


def test_the_names_are_templates() -> None:
    assert layout.parse("short") == layout.parse("{subject}/{session}/scans/{scan}/{resource}") == layout.SHORT
    assert layout.parse("xnat").wrapped
    assert not layout.parse("short").wrapped
    assert layout.parse("xnat") == layout.parse("{session}/scans/{scan_and_type}/resources/{resource}/files")


@pytest.mark.parametrize("row", ["scan", "session", "assessor", "subject", "project"])
def test_the_table_of_the_docstring_is_what_short_does(row: str) -> None:
    unit = layout.units("P1", [experiment("E1", "{session}", "S1", "{subject}")])
    of = {
        "scan": ("E1", Place(Level.SCAN, "{scan}")),
        "session": ("E1", Place(Level.SESSION)),
        "assessor": ("E1", Place(Level.ASSESSOR, "{label}", "out")),
        "subject": ("S1", Place(Level.SUBJECT)),
        "project": ("P1", Place(Level.PROJECT)),
    }
    owner, spot = of[row]
    (made,) = layout.place(unit[owner], [listed("1", "{resource}", spot)])
    table = dict(line.split("``")[:2] for line in (layout.__doc__ or "").splitlines() if line.endswith("``"))
    cells = {name.strip(): cell for name, cell in table.items()}
    assert made.path == cells[row].replace("{out|in|resources}", "out")


XNAT = [
    (Place(Level.SCAN, "4"), "scans/4-t1_mprage/resources/DICOM/files"),
    (Place(Level.SCAN, "5"), "scans/5/resources/DICOM/files"),
    (Place(Level.SESSION), "resources/DICOM/files"),
    (Place(Level.ASSESSOR, "A1", "out"), "assessors/A1/out/resources/DICOM/files"),
    (Place(Level.ASSESSOR, "A1"), "assessors/A1/resources/DICOM/files"),
    (Place(Level.SUBJECT), "resources/DICOM/files"),
]


@pytest.mark.parametrize(("place", "folder"), XNAT, ids=[folder for _, folder in XNAT])
def test_xnats_own_layout(place: Place, folder: str) -> None:
    form = layout.parse("xnat")
    (made,) = layout.place(SESSION, [listed("1", "DICOM", place)], types={"4": "t1 mprage"}, layout=form)
    assert made.folder == folder
    assert layout.units("P1", [experiment("E1", "MR")], layout=form)["E1"].folder == "MR"


def test_every_field_of_a_template_is_filled_in() -> None:
    form = layout.parse(
        "{project}/{subject}/{subject_id}/{session_type}/{date}/{session_id}/{session}/"
        "{scan}/{scan_type}/{scan_and_type}/{resource_id}/{resource}"
    )
    unit = layout.units("P1", [experiment("E1", "MR", "S1", "one")], layout=form)["E1"]
    assert unit.folder == "P1/one/S1/mrSessionData/2020-09-01/E1/MR"
    known, unknown = [listed("7", "DICOM", SCAN)], [listed("8", "", Place(Level.SCAN, "5"))]
    made = layout.place(unit, known + unknown, types={"4": "t1 w"}, layout=form)
    assert [each.folder for each in made] == ["4/t1 w/4-t1_w/7/DICOM", "5/untyped/5/8/8"]


def test_what_has_no_date_lies_under_a_word_for_it() -> None:
    bare = Experiment("E1", "MR", "S1", "one", "P1")
    form = layout.parse("{date}/{session}/{scan}/{resource}")
    assert layout.units("P1", [bare], layout=form)["E1"].folder == "undated/MR"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is a relative path"),
        ("/{session}/{scan}/{resource}", "is a relative path"),
        ("{session}/../{scan}/{resource}", "is a relative path"),
        ("{session}/./{scan}/{resource}", "is a relative path"),
        ("{session}\\{scan}/{resource}", "is a relative path"),
        ("{session}/{scan}/{resource}/", "is a relative path"),
        ("{scan}/{resource}", "lacks {session} or {session_id}"),
        ("{scan}/{session}/{resource}", "lacks {session} or {session_id}"),
        ("{session}/{resource}", "lacks {scan} or {scan_and_type}"),
        ("{session}/{scan_type}/{resource}", "lacks {scan} or {scan_and_type}"),
        ("{session}/{scan}", "lacks {resource} or {resource_id}"),
        ("{session}/{scan}/{resorce}", "no field is called {resorce}; did you mean resource"),
        ("{session}/{scan}/{qqqqqqq}", "no field is called {qqqqqqq}; there are date, project, resource"),
        ("{session}/{scan!r}/{resource}", "no field is called {scan}"),
        ("{session}/{scan:>9}/{resource}", "no field is called {scan}"),
        ("{session.label}/{scan}/{resource}", "no field is called {session.label}"),
        ("{}/{scan}/{resource}", "no field is called {}"),
        ("{session}/{scan/{resource}", "'{session}/{scan/{resource}'"),
        ("shrt", "lacks"),
    ],
)
def test_a_template_in_which_things_could_fall_together_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        layout.parse(text)
    assert str(error.value).startswith(f"--layout {text!r}")
    assert said in str(error.value)


parts = st.sampled_from(
    ["{subject}", "{session}", "{scan}", "{resource}", "{date}", "x", "/", "{", "}", "{x}", "..", "!r"]
)


@settings(deadline=None)
@given(st.lists(parts, max_size=9).map("".join) | st.text(max_size=10))
def test_any_text_is_a_layout_or_a_mistake_of_the_user(text: str) -> None:
    try:
        form = layout.parse(text)
    except UsageError:
        return
    unit = layout.units("P1", [experiment("E1", "MR")], layout=form)["E1"]
    (made,) = layout.place(unit, [listed("7", "DICOM", SCAN)], layout=form)
    assert all(names.is_safe(part) for part in made.path.split("/"))


@pytest.mark.parametrize("template", TEMPLATES)
@settings(deadline=None, max_examples=25)
@given(data=st.data(), experiments=experiment_lists)
def test_in_no_layout_units_clash(template: str, data: st.DataObject, experiments: list[Experiment]) -> None:
    form = layout.parse(template)
    made = layout.units("P1", experiments, layout=form)
    assert layout.units("P1", data.draw(st.permutations(experiments)), layout=form) == made
    own = [f"{unit.folder}/resources" for unit in made.values() if unit.kind is UnitKind.SUBJECT]
    assert not clashes(["resources", STATE, *own, *(made[each.id].folder for each in experiments)])


@pytest.mark.parametrize("template", TEMPLATES)
@settings(deadline=None, max_examples=25)
@given(data=st.data(), each=st.dictionaries(st.integers(0, 10), st.tuples(labels, places()), max_size=6))
def test_in_no_layout_resources_clash(template: str, data: st.DataObject, each: dict[int, tuple[str, Place]]) -> None:
    form = layout.parse(template)
    resources = [listed(str(number), label, place) for number, (label, place) in each.items()]
    types = data.draw(st.dictionaries(st.sampled_from(["4", "4a", "4A", "in"]), st.sampled_from(["t1", "T1", "a/b"])))
    made = {r.id: r.folder for r in layout.place(SESSION, resources, types, layout=form)}
    assert not clashes([*made.values(), layout.METADATA])
    again = layout.place(SESSION, data.draw(st.permutations(resources)), types, layout=form)
    assert {r.id: r.folder for r in again} == made


def test_a_fixed_word_before_the_subject_does_not_put_all_subjects_into_one_folder() -> None:
    form = layout.parse("data/{subject}/{session}/scans/{scan}/{resource}")
    made = layout.units("P1", [experiment("E1", "MR", "S1", "one"), experiment("E2", "MR", "S2", "two")], layout=form)
    assert not clashes(f"{made[subject].folder}/resources" for subject in ("S1", "S2"))


@pytest.mark.parametrize(
    ("template", "folder"),
    [
        ("{subject}/{session}/{scan}/{resource}", "one"),
        ("data/{subject}/{session}/{scan}/{resource}", "data/one"),
        ("{project}/sub-{subject_id}/{session}/{scan}/{resource}", "P1/sub-S1"),
        ("{session}/{subject}/{scan}/{resource}", "one"),
        ("{date}/{subject}/{session}/{scan}/{resource}", "one"),
        ("{session}/{scan}/{resource}", "one"),
        ("{subject}_{session}/{scan}/{resource}", "one"),
        ("{project}-{session}/{subject}/{scan}/{resource}", "one"),
    ],
)
def test_a_subjects_own_folder_is_the_templates_where_it_makes_one(template: str, folder: str) -> None:
    made = layout.units("P1", [experiment("E1", "MR", "S1", "one")], layout=layout.parse(template))
    assert made["S1"].folder == folder


def test_a_scan_and_a_resource_of_one_number_do_not_meet_under_a_fixed_word() -> None:
    form = layout.parse("{subject}/{session}/resources/{scan}/{resource}")
    resources = [listed("7", "DICOM", Place(Level.SCAN, "12")), listed("12", "LOGS", Place(Level.SESSION))]
    assert not clashes(each.folder for each in layout.place(SESSION, resources, layout=form))


def test_a_fixed_word_in_other_case_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'Resources' would fall together with a fixed word"):
        layout.parse("{subject}/{session}/Resources/{scan}/{resource}")
    assert layout.parse("{subject}/{session}/resources/{scan}/{resource}").inner[0] == "resources"
