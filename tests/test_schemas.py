"""What scripts read is what ``docs/*.schema.json`` say: every field is there, described, and none is left out."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from system.harness import STATE
from system.warm import WarmWorld, warm_world
from xnat_embedded import EVERY, Fault, Status, small_site
from xnat_sync.core import wire
from xnat_sync.core.events import Exit

DOCS = Path(__file__).parent.parent / "docs"
JSON_TYPES: dict[Any, Any] = {str: "string", int: "integer", float: "number", bool: "boolean"}


def load(name: str) -> dict[str, Any]:
    found = json.loads((DOCS / f"{name}.schema.json").read_text())
    assert isinstance(found, dict)
    return found


def strict(schema: Any) -> Any:
    """The schema, with fields refused that it does not describe."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    return made | {"additionalProperties": False} if "properties" in schema and "type" in schema else made


def validator(name: str) -> Draft202012Validator:
    schema = load(name)
    Draft202012Validator.check_schema(schema)
    registry: Registry[Any] = Registry().with_resource(
        "summary.schema.json", Resource.from_contents(strict(load("summary")))
    )
    return Draft202012Validator(strict(schema), registry=registry)


EVENTS = {entry["title"]: entry for entry in load("events")["oneOf"]}


@pytest.mark.parametrize("name", ["events", "summary", "all"])
def test_every_field_is_described(name: str) -> None:
    def walk(schema: Any) -> Iterator[str]:
        if isinstance(schema, dict):
            for key, value in schema.get("properties", {}).items():
                if not {"description", "const", "$ref"} & set(value):
                    yield key
            for value in schema.values():
                yield from walk(value)
        elif isinstance(schema, list):
            for value in schema:
                yield from walk(value)

    assert list(walk(load(name))) == []


def test_every_event_is_there_with_its_fields() -> None:
    assert set(EVENTS) == {*wire._JSON_EVENTS.values(), "progress"}
    for event, name in wire._JSON_EVENTS.items():
        hints = get_type_hints(event)
        named = {field.name for field in fields(event)} | ({"bytes"} if name == "committed" else set())
        schema = EVENTS[name]
        assert set(schema["properties"]) == set(schema["required"]) == named | {"event", "time"}, name
        for field in fields(event):
            told = schema["properties"][field.name]
            if "type" in told and hints[field.name] in JSON_TYPES:
                assert told["type"] == JSON_TYPES[hints[field.name]], (name, field.name)


def test_every_code_has_its_name() -> None:
    ended = EVENTS["ended"]["properties"]
    assert ended["code"]["enum"] == [int(code) for code in Exit]
    assert ended["name"]["enum"] == [code.label for code in Exit]
    assert load("summary")["properties"]["name"]["enum"] == ended["name"]["enum"]


def test_what_is_not_described_is_refused() -> None:
    line = {"event": "vanished", "time": "2026-01-02T03:04:05.678Z", "unit": "E1", "resource": "r", "path": "a"}
    check = validator("events")
    assert check.is_valid(line)
    assert not check.is_valid(line | {"more": 1})
    assert not check.is_valid(line | {"time": "yesterday"})
    wrong = copy.copy(line)
    del wrong["path"]
    assert not check.is_valid(wrong)
    assert not check.is_valid(line | {"event": "never heard of"})


@pytest.fixture
def here(tmp_path: Path) -> Iterator[WarmWorld]:
    with warm_world(small_site(), tmp_path) as made:
        yield made


def check(lines: str) -> set[str]:
    """Validate each line; the events that there were."""
    proof, seen = validator("events"), set()
    for line in lines.splitlines():
        entry = json.loads(line)
        proof.validate(entry)
        seen.add(entry["event"])
    return seen


def test_real_runs_say_what_is_described(here: WarmWorld) -> None:
    project = here.site.project("PTV000")
    assert project is not None
    resource = project.subject("Haofei01").session("Haofei01_MR1").scan("4").resource("DICOM")
    seen = set()
    summaries = []

    def run(*arguments: str, env: dict[str, str | None] | None = None) -> None:
        done = here.mirror("--log-format", "json", *arguments, env=env or {})
        folder = sorted((here.project / STATE / "runs").iterdir())[-1]
        seen.update(check(done.out))
        assert check((folder / "log.jsonl").read_text()) <= seen
        summaries.append(here.summary())

    run(env={"XNAT_PASS": "wrong"})
    run("--max-duration", "0s")
    here.server.faults.add(Fault(Status(503), kind="zip", count=3))
    here.server.faults.add(Fault(Status(403), kind="file", count=EVERY))
    run("--jobs", "8", "--retries", "1", "--on-session", "exit 3")
    here.server.faults.clear()
    gone = resource.entries[0].path
    resource.remove_file(gone)
    resource.lose_file(resource.entries[0].path)
    (here.project / "Haofei01" / "Haofei01_MR1" / "scans" / "4" / "DICOM" / resource.entries[0].path).unlink()
    run("--on-session", "true")
    run("--delete", "--min-free", "1K", "--insecure")
    done = here.run("project", "PTV000", "NOPE", "--dest", str(here.dest), "--log-format", "json")
    seen.update(check(done.out))
    for summary in summaries:
        validator("summary").validate(summary)
    [both] = (here.project / STATE / "runs").glob("*/all.json")
    validator("all").validate(json.loads(both.read_text()))
    rare = {"progress", "waiting", "doubted"}
    assert seen >= set(EVENTS) - rare


def test_a_progress_line_is_as_described() -> None:
    from datetime import UTC, datetime

    from xnat_sync.core.events import Tally

    assert check(wire.progress_line(Tally(), datetime.now(UTC))) == {"progress"}
