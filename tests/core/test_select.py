"""What part is asked for: names and patterns against labels and ids, and none that matches nothing goes unnoticed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xnat_sync.core import layout, patterns, select
from xnat_sync.core.errors import UsageError
from xnat_sync.core.model import Experiment, Level, Place, Resource
from xnat_sync.core.patterns import Patterns
from xnat_sync.core.select import WITHIN_SESSION, Selection, Target, parse_target

ALL = layout.units(
    "P1",
    [
        Experiment("XNAT_E1", "S1_MR1", "XNAT_S1", "S1", "P1", date="2020-01-01"),
        Experiment("XNAT_E2", "S1_PET1", "XNAT_S1", "S1", "P1", date="2021-01-01"),
        Experiment("XNAT_E3", "MR", "XNAT_S2", "S2", "P1", date="2022-01-01"),
        Experiment("XNAT_E4", "MR", "XNAT_S3", "S3", "P1", date=""),
    ],
)
SUBJECTS, EXPERIMENTS = ["XNAT_S1", "XNAT_S2", "XNAT_S3"], ["XNAT_E1", "XNAT_E2", "XNAT_E3", "XNAT_E4"]


def only(kind: str, *include: str, exclude: tuple[str, ...] = ()) -> Patterns:
    return Patterns(kind, include, exclude)


def found(selection: Selection) -> list[str]:
    return [unit.id for unit in selection.units(ALL)]


# -- names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "depth", "target"),
    [
        ("P1", 1, Target("P1")),
        ("/P1/", 1, Target("P1")),
        ("P1/S1", 2, Target("P1", "S1")),
        ("P1/S1/MR", 3, Target("P1", "S1", "MR")),
        ("P1/S1/MR/4", 4, Target("P1", "S1", "MR", "4")),
        ("P1/S1/MR/4/x/y", 4, Target("P1", "S1", "MR", "4/x/y")),
        ("XP/SX/", 2, Target("XP", "SX")),
        ("P 1/é", 2, Target("P 1", "é")),
    ],
)
def test_names_are_separated_by_slashes(text: str, depth: int, target: Target) -> None:
    assert parse_target(text, depth) == target


@pytest.mark.parametrize(
    ("text", "depth", "shape"),
    [
        ("", 1, "PROJECT"),
        ("/", 1, "PROJECT"),
        ("P1/S1", 1, "PROJECT"),
        ("P1", 2, "PROJECT/SUBJECT"),
        ("P1/S1/MR", 2, "PROJECT/SUBJECT"),
        ("P1//MR", 3, "PROJECT/SUBJECT/EXPERIMENT"),
        ("P1/S1/MR/4", 3, "PROJECT/SUBJECT/EXPERIMENT"),
        ("P1/S1/MR", 4, "PROJECT/SUBJECT/EXPERIMENT/SCAN"),
        ("P1/S1/MR/", 4, "PROJECT/SUBJECT/EXPERIMENT/SCAN"),
    ],
)
def test_too_few_or_too_many_names_are_an_error_that_shows_the_shape(text: str, depth: int, shape: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_target(text, depth)
    assert str(error.value) == f"{text!r} does not name {shape}"


names = st.text(min_size=1, max_size=5).filter(lambda name: "/" not in name)


@settings(deadline=None)
@given(st.lists(names, min_size=1, max_size=4))
def test_names_joined_by_slashes_are_found_again(parts: list[str]) -> None:
    assert parse_target("/".join(parts), len(parts)) == Target(*parts)


# -- units ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "ids"),
    [
        pytest.param(Target("P1"), ["P1", *SUBJECTS, *EXPERIMENTS], id="all"),
        pytest.param(Target("P1", "S1"), ["XNAT_S1", "XNAT_E1", "XNAT_E2"], id="a subject with its experiments"),
        pytest.param(Target("P1", "XNAT_S1"), ["XNAT_S1", "XNAT_E1", "XNAT_E2"], id="a subject by its id"),
        pytest.param(Target("P1", "S1", "S1_MR1"), ["XNAT_E1"], id="an experiment"),
        pytest.param(Target("P1", "XNAT_S1", "XNAT_E1"), ["XNAT_E1"], id="an experiment by ids"),
        pytest.param(Target("P1", "S2", "MR"), ["XNAT_E3"], id="an experiment whose label is not unique"),
        pytest.param(Target("P1", experiment="XNAT_E4"), ["XNAT_E4"], id="an experiment without its subject"),
        pytest.param(Target("P1", experiment="MR"), ["XNAT_E3", "XNAT_E4"], id="all experiments of a label"),
        pytest.param(Target("P1", "S1", "S1_MR1", "4"), ["XNAT_E1"], id="a scan is looked for in its experiment"),
    ],
)
def test_a_target_asks_for_units(target: Target, ids: list[str]) -> None:
    assert sorted(found(Selection(target))) == sorted(ids)
    assert found(Selection(target)) == [each for each in ALL if each in ids]


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ({"subjects": only("subject", "S[12]")}, [*SUBJECTS[:2], *EXPERIMENTS[:3]]),
        ({"subjects": only("subject", "XNAT_S3")}, ["XNAT_S3", "XNAT_E4"]),
        ({"subjects": only("subject", "S*", exclude=("S1",))}, [*SUBJECTS[1:], *EXPERIMENTS[2:]]),
        ({"experiments": only("experiment", "*MR*")}, ["XNAT_E1", "XNAT_E3", "XNAT_E4"]),
        ({"experiments": only("experiment", "re:S1_.*")}, ["XNAT_E1", "XNAT_E2"]),
        ({"experiments": only("experiment", "*", exclude=("MR",))}, ["XNAT_E1", "XNAT_E2"]),
        ({"experiments": only("experiment", "XNAT_E2")}, ["XNAT_E2"]),
        ({"after": "2021-01-01"}, ["XNAT_E2", "XNAT_E3"]),
        ({"before": "2021-01-01"}, ["XNAT_E1", "XNAT_E2"]),
        ({"after": "2020-06-01", "before": "2021-06-01"}, ["XNAT_E2"]),
        ({"after": "2021-01-01", "before": "2021-01-01"}, ["XNAT_E2"]),
        ({"levels": frozenset({Level.PROJECT})}, ["P1"]),
        ({"levels": frozenset({Level.SUBJECT})}, SUBJECTS),
        ({"levels": frozenset({Level.SCAN})}, EXPERIMENTS),
        ({"levels": frozenset({Level.ASSESSOR, Level.PROJECT})}, ["P1", *EXPERIMENTS]),
        ({"scans": only("scan", "4")}, EXPERIMENTS),
        ({"scan_types": only("scan type", "t1*")}, EXPERIMENTS),
        ({"resources": only("resource", "DICOM")}, ["P1", *SUBJECTS, *EXPERIMENTS]),
    ],
)
def test_filters_ask_for_units(filters: dict[str, Any], ids: list[str]) -> None:
    assert sorted(found(Selection(Target("P1"), **filters))) == sorted(ids)


def test_a_pattern_that_is_no_regular_expression_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"^'re:\(' is no regular expression: "):
        only("subject", "re:(")
    with pytest.raises(UsageError, match=r"^'re:\[' is no regular expression: "):
        only("subject", exclude=("re:[",))


def test_dates_that_leave_no_day_are_an_error() -> None:
    with pytest.raises(UsageError, match=r"^no date is after 2021-01-02 and before 2021-01-01$"):
        Selection(Target("P1"), after="2021-01-02", before="2021-01-01")


@pytest.mark.parametrize(("after", "before"), [("2022-01-02", ""), ("", "2019-12-31"), ("2020-01-02", "2020-12-31")])
def test_dates_without_a_session_are_an_error_that_tells_what_dates_there_are(after: str, before: str) -> None:
    said = r"^no session has a date in that range; they are of 2020-01-01 to 2022-01-01$"
    with pytest.raises(UsageError, match=said):
        Selection(Target("P1"), after=after, before=before).units(ALL)


def test_where_no_session_has_a_date_a_range_leaves_none() -> None:
    undated = layout.units("P1", [Experiment("XNAT_E4", "MR", "XNAT_S3", "S3", "P1", date="")])
    assert Selection(Target("P1"), after="2020-01-01").units(undated) == []


def test_a_hint_costs_no_memory_without_bound() -> None:
    some = only("scan", "none")
    for number in range(20_000):
        assert not some.take(str(number))
    assert len(some.seen) == 10_000
    assert some.unmatched() == ["none"]


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        pytest.param(Selection(Target("P1", "S9")), "S9", id="a subject"),
        pytest.param(Selection(Target("P1", "s1")), "did you mean S1", id="case counts"),
        pytest.param(Selection(Target("P1", "S1", "S1_MR2")), "did you mean S1_MR1", id="an experiment"),
        pytest.param(Selection(Target("P1", "S1", "MR")), "MR", id="an experiment of another subject"),
        pytest.param(Selection(Target("P1", "S1", "XNAT_E3")), "XNAT_E3", id="an id of another subject"),
        pytest.param(Selection(Target("P1", experiment="NONE")), "NONE", id="an experiment alone"),
        pytest.param(Selection(Target("P1"), subjects=only("subject", "Q*")), "Q*", id="a pattern for subjects"),
        pytest.param(
            Selection(Target("P1"), experiments=only("experiment", "*MR*", "re:CT.*")), "re:CT.*", id="one of two"
        ),
    ],
)
def test_a_name_that_matches_nothing_is_an_error(selection: Selection, said: str) -> None:
    with pytest.raises(UsageError, match=r"^no (subject|experiment) ") as error:
        selection.units(ALL)
    assert said in str(error.value)


def test_a_name_is_told_as_it_was_given() -> None:
    with pytest.raises(UsageError) as error:
        Selection(Target("P1", "S 9.x")).units(ALL)
    assert "'S 9.x'" in str(error.value)


def test_a_name_is_no_pattern() -> None:
    for name in ("S?", "re:S.", "S.*", "S[1]"):
        with pytest.raises(UsageError):
            Selection(Target("P1", name)).units(ALL)
    odd = layout.units("P1", [Experiment("XNAT_E1", "a.b*[c]", "XNAT_S1", "re:x", "P1")])
    assert [unit.id for unit in Selection(Target("P1", "re:x", "a.b*[c]")).units(odd)] == ["XNAT_E1"]


def test_a_project_without_anything_is_still_a_unit() -> None:
    empty = layout.units("P1", [])
    assert [unit.id for unit in Selection(Target("P1")).units(empty)] == ["P1"]
    with pytest.raises(UsageError, match=r"S1'$"):
        Selection(Target("P1", "S1")).units(empty)


# -- levels -----------------------------------------------------------------------------------------------------

ALL_LEVELS = frozenset(Level)
TABLE = [
    ("a project all", {}, Target("P1"), ALL_LEVELS),
    ("a project all", {"resources": only("resource", "DICOM")}, Target("P1"), ALL_LEVELS),
    ("subjects all but the project's own", {}, Target("P1", "S1"), ALL_LEVELS - {Level.PROJECT}),
    (
        "subjects all but the project's own",
        {"subjects": only("subject", "S1")},
        Target("P1"),
        ALL_LEVELS - {Level.PROJECT},
    ),
    ("experiments, or a range of dates those within a session", {}, Target("P1", "S1", "MR"), WITHIN_SESSION),
    (
        "experiments, or a range of dates those within a session",
        {"experiments": only("experiment", "*")},
        Target("P1"),
        WITHIN_SESSION,
    ),
    ("experiments, or a range of dates those within a session", {"after": "2020-01-01"}, Target("P1"), WITHIN_SESSION),
    ("experiments, or a range of dates those within a session", {"before": "2020-01-01"}, Target("P1"), WITHIN_SESSION),
    ("scans, or scan types scans", {}, Target("P1", "S1", "MR", "4"), frozenset({Level.SCAN})),
    ("scans, or scan types scans", {"scans": only("scan", "4")}, Target("P1", "S1"), frozenset({Level.SCAN})),
    ("scans, or scan types scans", {"scan_types": only("scan type", "t1")}, Target("P1"), frozenset({Level.SCAN})),
]


@pytest.mark.parametrize(("row", "filters", "target", "levels"), TABLE)
def test_the_table_says_which_levels_are_meant(
    row: str, filters: dict[str, Any], target: Target, levels: frozenset[Level]
) -> None:
    assert Selection(target, **filters).effective_levels == levels
    assert row in " ".join((select.__doc__ or "").split())
    said = frozenset({Level.SUBJECT, Level.SCAN})
    assert Selection(target, **filters, levels=said).effective_levels == said


@pytest.mark.parametrize(
    ("words", "levels"),
    [
        ([], set()),
        (["scans"], {Level.SCAN}),
        (["scans,session", "subject"], {Level.SCAN, Level.SESSION, Level.SUBJECT}),
        ([" scans , project "], {Level.SCAN, Level.PROJECT}),
    ],
)
def test_levels_are_words(words: list[str], levels: set[Level]) -> None:
    assert select.levels(words) == levels


@pytest.mark.parametrize("word", ["scan", "", "scans,", "SCANS", "all"])
def test_a_word_that_is_no_level_is_an_error_that_tells_the_levels(word: str) -> None:
    with pytest.raises(UsageError, match=r"^no level is called '.*': there are scans, session, assessors, "):
        select.levels([word])


@pytest.mark.parametrize(
    ("target", "filters", "everything", "wholly"),
    [
        (Target("P1"), {}, True, ["P1", "XNAT_S1", "XNAT_E1"]),
        (Target("P1"), {"levels": ALL_LEVELS}, True, ["P1", "XNAT_S1", "XNAT_E1"]),
        (Target("P1", "S1"), {}, False, ["XNAT_S1", "XNAT_E1"]),
        (Target("P1"), {"subjects": only("subject", "S1")}, False, ["XNAT_S1", "XNAT_E1"]),
        (Target("P1", "S1", "MR"), {}, False, ["XNAT_E1"]),
        (Target("P1"), {"experiments": only("experiment", "*")}, False, ["XNAT_E1"]),
        (Target("P1"), {"after": "2020-01-01"}, False, ["XNAT_E1"]),
        (Target("P1"), {"before": "2020-01-01", "levels": ALL_LEVELS}, False, ["P1", "XNAT_S1", "XNAT_E1"]),
        (Target("P1", "S1", "MR", "4"), {"levels": ALL_LEVELS}, False, []),
        (Target("P1"), {"scans": only("scan", "4"), "levels": ALL_LEVELS}, False, []),
        (Target("P1"), {"scan_types": only("scan type", "t1"), "levels": ALL_LEVELS}, False, []),
        (Target("P1"), {"resources": only("resource", exclude=("X",))}, False, []),
        (Target("P1"), {"levels": frozenset({Level.SCAN, Level.SUBJECT})}, False, ["XNAT_S1"]),
        (Target("P1"), {"levels": WITHIN_SESSION}, False, ["XNAT_E1"]),
        (Target("P1"), {"levels": frozenset({Level.PROJECT})}, False, ["P1"]),
    ],
)
def test_what_is_asked_for_wholly(target: Target, filters: dict[str, Any], everything: bool, wholly: list[str]) -> None:
    selection = Selection(target, **filters)
    assert selection.everything is everything
    assert [each for each in ("P1", "XNAT_S1", "XNAT_E1") if selection.wholly(ALL[each])] == wholly


# -- resources --------------------------------------------------------------------------------------------------


def resource(place: Place, label: str = "DICOM", scan_type: str = "t1") -> Resource:
    return Resource(ALL["XNAT_E1"], place, "12", label, (), scan_type=scan_type)


ON_4 = resource(Place(Level.SCAN, "4"))
OF_SESSION = resource(Place(Level.SESSION))
EVERYWHERE = [
    ON_4,
    OF_SESSION,
    resource(Place(Level.SCAN, "40")),
    resource(Place(Level.ASSESSOR, "4", "out")),
    resource(Place(Level.RECONSTRUCTION, "4", "out")),
    resource(Place(Level.SUBJECT)),
    resource(Place(Level.PROJECT)),
]


@pytest.mark.parametrize(
    ("filters", "target", "taken"),
    [
        ({}, Target("P1"), EVERYWHERE),
        ({}, Target("P1", "S1", "S1_MR1", "4"), [ON_4]),
        ({"levels": ALL_LEVELS}, Target("P1", "S1", "S1_MR1", "4"), [ON_4]),
        ({"scans": only("scan", "4")}, Target("P1"), [ON_4]),
        ({"scans": only("scan", "4*", exclude=("4",))}, Target("P1"), [EVERYWHERE[2]]),
        (
            {"scans": only("scan", "4"), "levels": frozenset({Level.SCAN, Level.SESSION})},
            Target("P1"),
            [ON_4, OF_SESSION],
        ),
        ({"levels": frozenset({Level.SESSION})}, Target("P1"), [OF_SESSION]),
        ({"scan_types": only("scan type", "t2")}, Target("P1"), []),
        ({"scan_types": only("scan type", "t?")}, Target("P1"), [ON_4, EVERYWHERE[2]]),
        ({"resources": only("resource", "DICOM")}, Target("P1"), EVERYWHERE),
        ({"resources": only("resource", "12")}, Target("P1"), EVERYWHERE),
        ({"resources": only("resource", "NIFTI")}, Target("P1"), []),
        ({"resources": only("resource", exclude=("D*",))}, Target("P1"), []),
        ({"after": "2020-01-01"}, Target("P1"), EVERYWHERE[:5]),
    ],
)
def test_which_resources_are_taken(filters: dict[str, Any], target: Target, taken: list[Resource]) -> None:
    selection = Selection(target, **filters)
    assert [each for each in EVERYWHERE if selection.takes(each)] == taken


@pytest.mark.parametrize(
    ("filters", "target", "said"),
    [
        ({}, Target("P1", "S1", "S1_MR1", "5"), "scan"),
        ({"scans": only("scan", "5")}, Target("P1"), "scan"),
        ({"scan_types": only("scan type", "t2")}, Target("P1"), "scan type"),
        ({"resources": only("resource", "NIFTI")}, Target("P1"), "resource"),
    ],
)
def test_what_was_named_and_never_seen_is_an_error_in_the_end(
    filters: dict[str, Any], target: Target, said: str
) -> None:
    selection = Selection(target, **filters)
    assert not any(selection.takes(each) for each in EVERYWHERE)
    with pytest.raises(UsageError, match=rf"^no {said} "):
        selection.complain()


def test_patterns_that_were_not_given_know_what_they_are_about() -> None:
    plain = Selection(Target("P1"))
    each = (plain.subjects, plain.experiments, plain.scans, plain.scan_types, plain.resources)
    assert [some.kind for some in each] == ["subject", "experiment", "scan", "scan type", "resource"]


def test_what_was_named_and_seen_once_is_no_error() -> None:
    selection = Selection(Target("P1", "S1", "S1_MR1", "4"), resources=only("resource", "DICOM"))
    assert [selection.takes(each) for each in EVERYWHERE].count(True) == 1
    selection.complain()


@pytest.mark.parametrize(
    ("name", "known", "said"),
    [
        ("abcd", ["abce", "abcf", "zzzz"], "; did you mean abcf, abce?"),
        ("abcd", ["zzzz"], ""),
        ("abcd", [], ""),
        ("a1", ["a2", "a3", "a4", "a5", "a2"], "; did you mean a5, a4, a3?"),
    ],
)
def test_at_most_three_names_are_offered_each_once(name: str, known: list[str], said: str) -> None:
    assert patterns.nearest(name, known) == said
