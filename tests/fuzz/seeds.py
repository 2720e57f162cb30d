"""Writes the seeds of the corpus: small real inputs of every kind, the same each time.

``python tests/fuzz/seeds.py`` makes every ``corpus/<target>/seed-*`` anew and leaves what was found by fuzzing alone.
Of the zips only those are kept that reach a line which no smaller one does.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[0] = str(HERE.parent)  # not this folder: its modules are those of the package "fuzz"

from core.test_unzip import SHAPES  # noqa: E402
from core.test_unzip_damage import HOSTILE, WHOLE  # noqa: E402
from core.zips import M, make  # noqa: E402
from embedded.probe import Probe  # noqa: E402
from fuzz import reach  # noqa: E402
from fuzz.check_state import DICOM, GOOD, UNIT  # noqa: E402
from fuzz.seed_texts import FAULTS, WRITTEN, Seeds  # noqa: E402
from fuzz.targets import CORPUS, TARGETS  # noqa: E402
from xnat_embedded import Server, odd_site, small_site  # noqa: E402
from xnat_sync.core import index, layout, ledger, listing, urls  # noqa: E402
from xnat_sync.core.index import Seen  # noqa: E402

CONFIGS = HERE.parents[1] / "configs"


# Whole ones of each kind, to be changed from, whatever lines they reach.
ALWAYS = [
    "embedded server",
    "bomb",
    "ratio",
    "shape comment",
    "shape folder",
    "shape zip64 sizes",
    "shape zip64 end",
    "shape cp437",
]
ALWAYS += ["shape by zipfile, stored", "shape by zipfile, deflated, forward", "whole like XNAT", "whole wide"]


def zips() -> Seeds:
    """Zips of all shapes, good and bad, and one from the embedded server."""
    made = {f"shape {name}": data for name, (data, _) in SHAPES.items()}
    made |= {f"whole {name}": data for name, data in WHOLE.items()}
    made |= {f"hostile {name}": data for name, data, *_ in HOSTILE}
    made["bomb"] = make(M("x", bytes(1 << 18), 8, descriptor="sig32"))
    made["ratio"] = make(M("x", bytes(1 << 12), 8), M("y", bytes(range(256)), date=0, time=0xFFFF))
    with Server(odd_site()) as server:
        probe = Probe(server)
        probe.log_in()
        made["embedded server"] = probe.ask("/data/projects/ODD/files?format=zip").body
    small = {name: data for name, data in made.items() if len(data) <= TARGETS["zip"].longest}
    return reach.adding(TARGETS["zip"], small) | {name: small[name] for name in ALWAYS}


def recipes() -> Seeds:
    """Recipes of zips: nothing but chance."""
    dice = random.Random(65)
    return reach.adding(TARGETS["zip-made"], {str(at): dice.randbytes(10 + at) for at in range(200)})


def listings() -> Seeds:
    """What the embedded server answers, behind the unit that it is about."""
    made = {}
    for project, site in (("PTV000", small_site()), ("ODD", odd_site())):
        with Server(site) as server:
            probe = Probe(server)
            probe.log_in()
            experiments = probe.ask(urls.experiments(project)).body
            units = layout.units(project, listing.experiments(experiments, project))
            tables = {"projects": probe.ask(urls.PROJECTS).body, "experiments": experiments}
            tables["subjects"] = probe.ask(urls.subjects(project)).body
            for name, body in tables.items():
                made[f"{project} {name}"] = b"eXNAT_E00001\n" + few(body)
            for unit in units.values():
                head = f"{unit.kind[0]}{unit.id}\n".encode()
                made[f"{project} {unit.id} files"] = head + few(probe.ask(urls.files(unit)).body)
                made[f"{project} {unit.id} resources"] = head + few(probe.ask(urls.resources(unit)).body)
    made["page"] = b"eXNAT_E00001\n<!DOCTYPE html><html>log in</html>"
    made["user"] = b"e\nUser 'demo' is logged in"
    row = {"URI": "/data/experiments/XNAT_E00001/resources/1/files/", "Size": "1", "digest": ""}
    table = {
        "ResultSet": {"Result": [row, row | {"URI": row["URI"] + "a"}, row | {"URI": row["URI"] + "a", "Size": 2}]}
    }
    made["no path"] = b"eXNAT_E00001\n" + json.dumps(table).encode()
    table["ResultSet"]["Result"].pop(0)
    made["twice"] = b"eXNAT_E00001\n" + json.dumps(table).encode()
    made["number without end"] = (
        b"eE\n"
        + json.dumps(
            {"ResultSet": {"Result": [{"URI": f"/data/experiments/E/resources/{'1' * 5000}/files/a"}]}}
        ).encode()
    )
    made["item"] = b'e\n{"items":[{"data_fields":{"ID":"XNAT_E00001","age":30,"note":null}}]}'
    kept = reach.adding(TARGETS["listing"], made)
    return kept | {
        name: made[name]
        for name in ("ODD XNAT_E00001 files", "ODD XNAT_E00004 files", "no path", "twice", "number without end")
    }


def few(body: bytes) -> bytes:
    """The table with its first rows only."""
    document = json.loads(body)
    rows = document["ResultSet"]["Result"]
    document["ResultSet"]["Result"] = rows[:10]
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def ledgers() -> Seeds:
    """As a run writes them, with files kept singly and in a zip."""
    header, held = ledger.header_line(UNIT), ledger.held_line(DICOM, GOOD)
    zipped = held.replace('"files"', '"zip":99,"files"').replace("scans/4/DICOM", "scans/4/DICOM.zip")
    return {
        "fresh": (header + held).encode(),
        "gone and extra": (header + held + ledger.extra_line([GOOD[0].at]) + ledger.gone_line(["x"])).encode(),
        "zip": (header + zipped).encode(),
        "other place": held.replace('"mtime_ns":7', '"mtime_ns":7,"at":"b"').encode(),
        "torn": (header + held)[:-9].encode(),
        "gone and nonsense": (held + json.dumps({"gone": [GOOD[0].at, 5]})).encode(),
        "held without label": held.replace('"label":"DICOM"', '"label":5').encode(),
        "not a number": (held.replace('"size":5', '"size":1.5') + held.replace(":7", ":true")).encode(),
        "held in a zip without a name": held.replace('"folder":"scans/4/DICOM"', '"folder":"","zip":5').encode(),
        "zeros": (header + held).encode() + bytes(20),
    }


def indexes() -> Seeds:
    """As a run writes them."""
    seen = [Seen(f"E{at}", "experiment", f"MR{at}", "S1", f"S1/MR{at}", "2026", 1.7e9 + at, at, 9) for at in range(4)]
    return {
        "four": "".join(map(index.line, seen)).encode(),
        "gone": (index.line(seen[0]) + index.gone_line("E0")).encode(),
        "torn": (index.line(seen[0]) + index.line(seen[1])[:-9]).encode(),
        "no time": index.line(seen[0]).replace("1700000000.0", "NaN").encode(),
        "time without end": index.line(seen[0]).replace("1700000000.0", f"-1{'0' * 400}").encode(),
        "wrong types": (
            index.line(seen[0]).replace('"MR0"', "0") + index.line(seen[1]).replace("1700000001.0", '""')
        ).encode(),
    }


def main() -> None:
    """Write them."""
    made = {"zip": zips(), "zip-made": recipes(), "listing": listings(), "ledger": ledgers(), "index": indexes()}
    made["config"] = {path.name: path.read_bytes() for path in sorted(CONFIGS.glob("*.toml"))}
    for target in TARGETS:
        inputs = made.get(target, {}) | WRITTEN.get(target, {}) | FAULTS.get(target, {})
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("seed-*"):
            path.unlink()
        for name, data in inputs.items():
            (folder / f"seed-{name.replace(' ', '-').replace(',', '')}").write_bytes(data)


if __name__ == "__main__":
    main()
