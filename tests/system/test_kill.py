"""SIGKILL at any moment: what bears a final name is whole, what landed is not fetched again, the next run completes it.

The moments are positions in the bytes that the server has sent, so that no test depends on the speed of the machine.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from system.harness import STATE, md5_tree, truth, truth_by_resource
from system.warm import WarmWorld, warm_world
from xnat_embedded import Resource, Site, empty_site, small_site
from xnat_embedded.log import Exchange

RATE = 400_000
STEP = RATE // 20  # What the server sends in one go at that rate, and so may be on its way on each connection.
HEADERS = 400  # Of a zip, for each member.
MOMENTS = 20
JOBS = 4


@pytest.fixture(scope="module")
def site() -> Site:
    return small_site()


@pytest.fixture(scope="module")
def here(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmWorld]:
    with warm_world(site, tmp_path_factory.mktemp("kill")) as made:
        yield made


@pytest.fixture(scope="module")
def undisturbed(here: WarmWorld) -> int:
    """The bytes that one run takes."""
    done = here.mirror()
    assert done.code == 0, done
    assert here.tree() == truth(here.site)
    return here.data_bytes()


@pytest.fixture
def fresh(here: WarmWorld, undisturbed: int, site: Site) -> Iterator[WarmWorld]:
    """Nothing under DEST, nothing in the log, a slow server."""
    shutil.rmtree(here.dest, ignore_errors=True)
    here.server.clear_log()
    site.rate = RATE
    yield here
    site.rate = None


def largest_files(site: Site) -> dict[str, int]:
    """Number of each resource -> size of its largest file."""
    found = {}
    for experiment in site.experiments():
        owners = [experiment, *experiment.scans, *experiment.assessors, experiment.subject, experiment.subject.project]
        for owner in owners:
            for resource in owner.resources:
                found[str(resource.id)] = max(entry.content.size for entry in resource.entries if entry.content)
    return found


def in_hand(here: WarmWorld, since: int) -> int:
    """The most that a run whose requests began after number ``since`` may have lost when it was killed.

    Of each transfer in hand: the file in hand, and what was on its way. The server may have sent the end of a transfer
    that its client did not live to see, so those that ended last count up to the number of jobs.
    """
    log = [exchange for exchange in here.server.log if exchange.kind in ("zip", "file") and exchange.number > since]
    log.sort(key=lambda exchange: (not exchange.aborted, -(exchange.finished or 0)))
    cut_off = sum(exchange.aborted for exchange in log)
    largest = largest_files(here.site)
    return sum(min(cut.body_bytes, largest[_number(cut)] + STEP + HEADERS) for cut in log[: max(JOBS, cut_off)])


def _number(exchange: Exchange) -> str:
    found = re.search(r"/resources/(\d+)/", exchange.path)
    assert found is not None
    return found[1]


def kill_at(here: WarmWorld, position: int, *arguments: str) -> int | None:
    """Start a mirror and kill it when so many bytes were sent; the most that it lost, None if it ended before."""
    since = max((exchange.number for exchange in here.server.log), default=0)
    run = here.begin_mirror(*arguments)
    reached = here.until(lambda: here.data_bytes() >= position, run)
    run.kill()
    here.until_settled()
    return in_hand(here, since) if reached else None


def assert_nothing_in_part(here: WarmWorld, *, folders: bool = True) -> None:
    """Every file under a final name is whole, every new resource complete, and the ledger claims nothing else."""
    tree, whole = here.tree() if here.project.exists() else {}, truth(here.site)
    assert {path: md5 for path, md5 in tree.items() if whole.get(path) != md5} == {}
    if folders:
        for folder, files in truth_by_resource(here.site).items():
            assert sum(f"{folder}/{path}" in tree for path in files) in (0, len(files)), folder
    for at, (size, md5) in claimed(here.project).items():
        assert md5 == tree[at], at
        assert size == (here.project / at).stat().st_size


def claimed(project: Path) -> dict[str, tuple[int, str]]:
    """What the ledgers say is held: final path -> size and MD5. Only a last line may be torn."""
    found = {}
    for ledger in (project / STATE / "sessions").glob("*.jsonl"):
        folder = ""
        *lines, last = ledger.read_text().split("\n")
        assert last == "" or len(lines) > 0
        for line in lines:
            entry = json.loads(line)
            folder = entry["folder"] if "unit" in entry else folder
            for file in entry.get("files", []):
                at = "/".join(filter(None, (folder, entry["folder"], file.get("at", file["path"]))))
                found[at] = (file["size"], file["md5"])
    return found


@pytest.mark.parametrize("half", [0, 1])
def test_a_killed_run_loses_at_most_the_files_in_hand(tmp_path: Path, undisturbed: int, half: int) -> None:
    """Each kill loses at most what was sent and not yet on disk; taken together, the files in hand and no more.

    The one kill of many that meets a machine too busy to read what the server sent loses that as well.
    """

    def lose(moment: int) -> tuple[int, int]:
        home = tmp_path / str(moment)
        home.mkdir()
        with warm_world(small_site(), home) as here:
            here.site.rate = RATE
            lost = kill_at(here, undisturbed * moment // MOMENTS + 1)
            assert lost is not None
            assert_nothing_in_part(here)
            here.site.rate = None
            done = here.mirror()
            assert done.code == 0, done
            assert here.tree() == truth(here.site)
            here.assert_no_leftovers()
            again = here.data_bytes() - undisturbed
            print(f"moment {moment}: {again} bytes again of {undisturbed}; at most {lost} were in hand")
            sent = [exchange.body_bytes for exchange in here.server.log if exchange.kind in ("zip", "file")]
            assert again <= sum(sorted(sent)[-JOBS:]) + JOBS * STEP
            return again, lost

    with ThreadPoolExecutor(2) as lanes:
        losses = list(lanes.map(lose, range(half, MOMENTS, 2)))
    assert sum(again for again, _ in losses) <= sum(lost for _, lost in losses)


def test_kills_in_a_row_on_one_folder_add_up_and_no_more(fresh: WarmWorld, undisturbed: int) -> None:
    here, source = fresh, random.Random(20)
    losses: list[int] = []
    while len(losses) < 5:
        lost = kill_at(here, here.data_bytes() + source.randrange(undisturbed // 10, undisturbed // 6))
        assert lost is not None
        losses.append(lost)
        assert_nothing_in_part(here)
    here.site.rate = None
    done = here.mirror()
    assert done.code == 0, done
    assert here.tree() == truth(here.site)
    again = here.data_bytes() - undisturbed
    print(f"{len(losses)} kills: {again} bytes again; at most {sum(losses)} were in hand")
    assert again <= sum(losses)


def test_kills_before_the_first_byte_and_while_listing(fresh: WarmWorld) -> None:
    here = fresh
    for kind, count in (("auth", 1), ("experiments", 1), ("files", 1), ("files", 5)):
        here.server.clear_log()
        run = here.begin_mirror()
        assert here.until(lambda: here.server.counts.requests[kind] >= count, run)  # noqa: B023
        run.kill()
        assert_nothing_in_part(here)
    here.site.rate = None
    assert here.mirror().code == 0
    assert here.tree() == truth(here.site)


def test_kills_in_the_second_run_touch_nothing(here: WarmWorld, undisturbed: int) -> None:
    shutil.rmtree(here.dest, ignore_errors=True)
    assert here.mirror().code == 0
    here.server.clear_log()
    for count in (1, 6, 12):
        run = here.begin_mirror()
        here.until(lambda: here.server.counts.requests["files"] >= count, run)  # noqa: B023
        run.kill()
        assert_nothing_in_part(here)
        assert here.tree() == truth(here.site)
    assert here.data_bytes() == 0


def test_a_resource_of_many_files_is_never_seen_in_part(tmp_path: Path) -> None:
    """Killed as soon as its folder has its final name: all is in it. One by one they would take long enough to see."""
    site = empty_site()
    session = site.add_project("PTV000", members=("demo",)).add_subject("S1").add_session("S1_MR1")
    files = [(f"{number}.dcm", b"%d" % number) for number in range(3000)]
    session.add_scan("1", "t1").add_resource("DICOM", files, format="DICOM")
    with warm_world(site, tmp_path) as here:
        folder = here.project / "S1/S1_MR1/scans/1/DICOM"
        run = here.begin_mirror()
        assert here.until(folder.exists, run)
        run.kill()
        assert len(list(folder.iterdir())) == len(files)
        before = here.data_bytes()
        assert here.mirror().code == 0
        assert here.tree() == truth(site)
        assert here.data_bytes() == before


# -- into folders that stand ---------------------------------------------------------------------------------------


def _replaced(site: Site) -> dict[str, bytes]:
    """Change the files of six resources on the server, and add one to each. Returns the new bytes by MD5."""
    new, source = {}, random.Random(6)
    resources = [scan.resource("DICOM") for experiment in site.experiments() for scan in experiment.scans]
    for resource in resources[:6]:
        for entry in list(resource.entries):
            assert entry.content is not None
            data = source.randbytes(entry.content.size)
            resource.replace_file(entry.path, data)
            new[hashlib.md5(data).hexdigest()] = data
        data = source.randbytes(30_000)
        resource.add_file("added.dcm", data)
        new[hashlib.md5(data).hexdigest()] = data
    return new


def test_a_kill_while_files_are_replaced_leaves_old_or_new_ones(tmp_path: Path) -> None:
    site = small_site()
    with warm_world(site, tmp_path) as here:
        assert here.mirror().code == 0
        old, kept = truth(site), tmp_path / "kept"
        shutil.copytree(here.dest, kept)
        new = _replaced(site)
        here.server.clear_log()
        assert here.mirror().code == 0
        assert here.tree() == truth(site)
        needed = here.data_bytes()
        assert needed < sum(map(len, new.values())) * 1.1
        site.rate = RATE
        for moment in range(5):
            shutil.rmtree(here.dest)
            shutil.copytree(kept, here.dest)
            here.server.clear_log()
            lost = kill_at(here, needed * (2 * moment + 1) // 10)
            assert lost is not None
            now = truth(site)
            for path, md5 in here.tree().items():
                assert md5 in (old.get(path), now[path]), path
            assert set(old) <= set(here.tree())
            site.rate = None
            assert here.mirror().code == 0
            site.rate = RATE
            assert here.tree() == now
            here.assert_no_leftovers()
            print(f"{here.data_bytes() - needed} bytes again; at most {lost} were in hand")
            assert here.data_bytes() - needed <= lost


# -- one large file ------------------------------------------------------------------------------------------------


def _one_large_file(size: int) -> tuple[Site, Resource]:
    site = empty_site()
    session = site.add_project("PTV000", members=("demo",)).add_subject("S1").add_session("S1_MR1")
    scan = session.add_scan("1", "bold")
    return site, scan.add_resource("NIFTI", [("bold.nii", random.Random(1).randbytes(size))], format="NIFTI")


@pytest.mark.parametrize("digest", [None, ""], ids=["with a digest", "without"])
def test_a_single_large_file_goes_on_where_it_was_cut(tmp_path: Path, digest: str | None) -> None:
    size, rate = 4_000_000, 4_000_000
    site, resource = _one_large_file(size)
    resource.entries[0].listed_digest = digest
    with warm_world(site, tmp_path) as here:
        site.rate = rate
        for part in (1, 2, 3):
            assert kill_at(here, size * part // 4) is not None
            assert here.tree() == {}
        site.rate = None
        done = here.mirror()
        assert done.code == 0, done
        assert here.tree() == truth(site)
        here.assert_no_leftovers()
        ranges = [exchange.range for exchange in here.server.log if exchange.kind == "file"]
        if digest is None:
            assert ranges[0] == ""
            starts = [int(found[1]) for each in ranges[1:] if (found := re.fullmatch(r"bytes=(\d+)-", each))]
            assert len(starts) == 3, ranges
            assert starts == sorted(starts)
            assert starts[0] > size // 8
            assert here.data_bytes() <= size + 3 * (rate // 20 + 65536)
        else:
            # Nothing would show that a power cut took bytes from the middle of it.
            assert ranges == [""] * 4


def test_a_large_file_that_changed_meanwhile_is_not_spliced(tmp_path: Path) -> None:
    size, rate = 2_000_000, 4_000_000
    site, resource = _one_large_file(size)
    with warm_world(site, tmp_path) as here:
        site.rate = rate
        assert kill_at(here, size // 2) is not None
        resource.replace_file("bold.nii", random.Random(2).randbytes(size))
        site.rate = None
        done = here.mirror()
        assert done.code == 0, done
        assert here.tree() == truth(site)


def test_a_kill_keeps_every_file_that_others_wrote(fresh: WarmWorld, undisturbed: int) -> None:
    here = fresh
    mine = here.project / "Haofei01" / "notes" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    assert kill_at(here, undisturbed // 2) is not None
    here.site.rate = None
    assert here.mirror().code == 0
    assert mine.read_text() == "mine"
    assert set(md5_tree(here.project)) - set(truth(here.site)) == {"Haofei01/notes/mine.txt"}


# -- zips kept as zips ---------------------------------------------------------------------------------------------


def zips(project: Path) -> dict[str, dict[str, str]]:
    """Folder of each resource -> path in it -> MD5, by the zips that bear a final name; each must be sound."""
    found = {}
    for path in project.rglob("*.zip"):
        if STATE not in path.parts:
            with zipfile.ZipFile(path) as held:
                assert held.testzip() is None, path
                members = {name: hashlib.md5(held.read(name)).hexdigest() for name in held.namelist()}
            found[str(path.relative_to(project).with_suffix(""))] = members
    return found


def test_a_kill_while_zips_are_kept_leaves_whole_ones_only(here: WarmWorld, site: Site) -> None:
    shutil.rmtree(here.dest, ignore_errors=True)
    here.server.clear_log()
    whole = truth_by_resource(site)
    assert here.mirror("--store", "zip").code == 0
    assert zips(here.project) == whole
    undisturbed = here.data_bytes()
    for moment in range(1, 6):
        shutil.rmtree(here.dest)
        here.server.clear_log()
        site.rate = RATE
        lost = kill_at(here, undisturbed * moment // 6, "--store", "zip")
        site.rate = None
        assert lost is not None
        assert zips(here.project).items() <= whole.items()
        done = here.mirror("--store", "zip")
        assert done.code == 0, done
        assert zips(here.project) == whole
        here.assert_no_leftovers()
        print(f"{here.data_bytes() - undisturbed} bytes again; at most {lost} were in hand")
        assert here.data_bytes() - undisturbed <= lost
