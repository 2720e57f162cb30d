"""Troubles between the server, the terminal and the command: each ends as documented, and with all else done."""

from __future__ import annotations

import signal
import subprocess

import pytest

from system.harness import COMMAND, World, truth, truth_by_resource
from xnat_embedded import EVERY, Fault, Reset, ShortList, Stall, Status

NOBODY: dict[str, str | None] = {"XNAT_USER": None, "XNAT_PASS": None}


def test_a_kept_token_outlives_a_server_that_is_down(here: World) -> None:
    assert here.run("login", "--token").code == 0
    here.server.faults.add(Fault(Status(503), count=EVERY))
    done = here.run("project", "PTV000", "HIDDEN", "--dest", str(here.dest), "--retries", "0", env=NOBODY)
    assert done.code == 7, done
    here.server.faults.clear()
    assert here.mirror(env=NOBODY).code == 0


@pytest.mark.parametrize("missing", [1, 100_000])
def test_listings_that_hide_files_are_never_believed_in_silence(here: World, missing: int) -> None:
    here.server.faults.add(Fault(ShortList(missing), kind="files", count=EVERY))
    done = here.mirror("-v", "--retries", "1")
    assert ("doubted" in done.err and done.code == 0) or done.code == 3, done
    assert here.tree().items() < truth(here.site).items()
    here.server.faults.clear()
    # What was doubted is listed again, though nothing changed on the server.
    assert here.mirror().code == 0
    hidden = here.tree().keys() ^ truth(here.site).keys()
    assert all(path.startswith(("resources/", "Haofei02/resources/")) for path in hidden), hidden
    assert here.mirror("--relist").code == 0
    assert here.tree() == truth(here.site)


@pytest.mark.parametrize("fault", [Fault(Stall(0), kind="login", count=EVERY), Fault(Status(503), count=EVERY)])
def test_two_signals_stop_a_login_too(here: World, fault: Fault) -> None:
    here.server.faults.add(fault)
    process = here.start("project", "PTV000", "--dest", str(here.dest))
    here.wait_for(lambda: here.server.counts.total > 0, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=15)
    assert process.returncode == 130, (out, err)
    assert "Traceback" not in err


def test_one_resource_that_always_breaks_is_not_the_end_of_the_server(here: World) -> None:
    session = here.site.project("PTV000").subject("Haofei01").session("Haofei01_MR1")  # type: ignore[union-attr]
    number = session.scan("4").resource("DICOM").id
    here.server.faults.add(Fault(Reset(), kind="zip", path=f"/resources/{number}/", count=EVERY))
    here.server.faults.add(Fault(Reset(), kind="file", path=f"/resources/{number}/", count=EVERY))
    done = here.mirror("--jobs", "1", "--retries", "0")
    assert done.code == 3, done
    lost = {f"Haofei01/Haofei01_MR1/scans/4/DICOM/{name}" for name in truth_by_resource(here.site)[
        "Haofei01/Haofei01_MR1/scans/4/DICOM"]}  # fmt: skip
    assert truth(here.site).keys() - here.tree().keys() == lost


def test_an_accession_id_that_cannot_be_asked_about_is_no_mistake_of_the_user(here: World) -> None:
    here.server.faults.add(Fault(Status(503), kind="item", count=EVERY))
    assert here.run("experiment", "XNAT_E00001", "--dest", str(here.dest), "--retries", "0").code == 7


def test_dates_that_no_session_has_are_an_error(here: World) -> None:
    done = here.mirror("--after", "2099-01-01")
    assert (done.code, "no session has a date in that range" in done.err) == (2, True), done


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "| head -c 0"])
def test_nobody_listening_is_no_reason_to_stop(here: World, closed: str) -> None:
    line = f"{' '.join(COMMAND)} project PTV000 --dest {here.dest} --log-format json {closed}"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], env=here.env(), timeout=60, check=False)
    assert done.returncode == 0
    assert here.tree() == truth(here.site)


def test_without_input_a_password_is_not_asked_for(here: World) -> None:
    line = f"{' '.join(COMMAND)} whoami <&-"
    done = subprocess.run(["bash", "-c", line], env=here.env(NOBODY), timeout=60, check=False, capture_output=True)
    assert (done.returncode, b"no login for" in done.stderr) == (2, True), done


@pytest.mark.parametrize("option", ["--log-file", "--report"])
def test_a_log_that_cannot_be_written_is_told_at_once(here: World, option: str) -> None:
    done = here.mirror(option, "/nonexistent/file")
    assert (done.code, "cannot be written" in done.err) == (2, True), done
    assert here.fetched_bytes() == 0


def test_ls_knows_subjects_without_sessions(here: World) -> None:
    subject = here.site.project("PTV000").add_subject("Alone")  # type: ignore[union-attr]
    subject.add_resource("NOTES", [("n.txt", b"n")])
    assert "NOTES" in here.run("ls", "PTV000", "--subject", "Alone", "--level", "subject").out


def test_what_the_second_pass_brings_was_no_trouble(here: World) -> None:
    number = here.site.project("PTV000").subject("Haofei01").session("Haofei01_MR1").scan("4").resource("DICOM").id  # type: ignore[union-attr]
    here.server.faults.add(Fault(Status(503), kind="zip", path=f"/resources/{number}/"))
    here.server.faults.add(Fault(Status(503), kind="file", path=f"/resources/{number}/files/", count=6))
    done = here.mirror("-q", "--retries", "0")
    assert (done.code, done.out, done.err) == (0, "", ""), done
    assert here.tree() == truth(here.site)


def test_what_fails_is_told_once_with_the_way_on(here: World) -> None:
    number = here.site.project("PTV000").subject("Haofei01").session("Haofei01_MR1").scan("4").resource("DICOM").id  # type: ignore[union-attr]
    here.server.faults.add(Fault(Status(503), path=f"/resources/{number}/files", count=EVERY))
    done = here.mirror("-q", "--retries", "0")
    assert done.code == 3, done
    failed = [line for line in done.err.splitlines() if line.startswith("failed: ")]
    assert len(failed) == len(set(failed)) == 6
    assert "report.csv; run again" in done.err


def test_ls_tells_what_it_could_not_list(here: World) -> None:
    session = here.site.project("PTV000").subject("Haofei01").session("Haofei01_MR1")  # type: ignore[union-attr]
    session.scan("4").resource("DICOM").corrupt_catalog = True
    done = here.run("ls", "PTV000/Haofei01/Haofei01_MR1")
    assert (done.code, "failed: " in done.err, "NIFTI" in done.out) == (3, True, True), done
