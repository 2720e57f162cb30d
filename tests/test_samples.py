"""The samples in ``configs/`` and in ``docs/overnight.md``: they load, parse, run, and agree with each other."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from xnat_sync.core import events, profiles, settings, values, wire
from xnat_sync.core.events import Exit, Tally
from xnat_sync.face import cli, options
from xnat_sync.face.configfile import KNOWN

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
MANUAL = ROOT / "docs" / "overnight.md"
SAMPLES = sorted(path for path in CONFIGS.iterdir() if path.is_file())
SCRIPTS = [CONFIGS / "slurm.sh", CONFIGS / "pbs.sh"]
SERVICE = CONFIGS / "xnat-sync@.service"
TIMER = CONFIGS / "xnat-sync@.timer"


def ids(path: Path) -> str:
    return path.name


def second_line(text: str) -> str:
    return re.sub(r"\W+", "-", text.splitlines()[1])[:30]


def needs(tool: str) -> str:
    found = shutil.which(tool)
    if found is None:
        pytest.skip(f"{tool} is not installed")
    return found


def fenced(language: str) -> list[str]:
    """The manual's blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", MANUAL.read_text(), re.MULTILINE | re.DOTALL)


def unfenced() -> list[str]:
    """The manual's other lines, continuation lines joined."""
    text = re.sub(r"^```.*?^```", "", MANUAL.read_text(), flags=re.MULTILINE | re.DOTALL)
    return text.replace("\\\n", " ").splitlines()


def indented() -> list[str]:
    """The manual's commands."""
    return [line.strip() for line in unfenced() if line.startswith("    ")]


def profile(name: str) -> dict[str, Any]:
    found = profiles.chosen((CONFIGS / "cron.toml").read_text(), "cron.toml", name, KNOWN)
    assert found is not None
    return dict(found.values)


# -- Every command line that is shown --------------------------------------------------------------------------------


def _candidates(path: Path) -> Iterator[str]:
    """What may hold a command line: code in comments, quoted commands, and lines that are no comment."""
    for line in path.read_text().replace("\\\n", " ").splitlines():
        body = line.removeprefix("#")
        if line.startswith("#"):
            yield from re.findall(r"'(xnat-sync [^']*)'", body)
        if not line.startswith("#") or body.startswith("     ") or re.match(r"[\d*]", body):
            yield body.strip().replace("\\%", "%").partition("=")[2] if path.suffix == ".service" else body.strip()


def shown() -> list[tuple[str, tuple[str, ...]]]:
    """Where each command line of xnat-sync stands, and its arguments."""
    texts = [(path.name, text) for path in SAMPLES for text in _candidates(path)]
    texts += [(MANUAL.name, text) for text in indented()]
    texts += [(MANUAL.name, span) for line in unfenced() for span in line.split("`")[1::2]]
    return [(where, arguments) for where, text in texts for arguments in _calls(text)]


def _calls(text: str) -> Iterator[tuple[str, ...]]:
    if not re.search(r"(^|[\s/(])xnat-sync\s", text):
        return
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    call: list[str] | None = None
    for token in [*lexer, ";"]:
        if set(token) <= set("();<>|&"):
            if call is not None:
                yield tuple(call[:-1] if token.startswith(">") and call[-1] in "12" else call)
            call = None
        elif call is not None:
            call.append(token)
        elif token == "xnat-sync" or token.endswith("/bin/xnat-sync"):
            call = []


def parsed(arguments: Sequence[str]) -> dict[str, settings.Given]:
    """What the real command line makes of arguments. Fails as the command would."""
    command: Any = get_command(cli.app)
    flags: dict[str, settings.Given] = {}
    context: Any = None
    rest = list(arguments)
    while True:
        context = command.make_context(command.name, rest, parent=context)
        given = {name: list(one) if isinstance(one, tuple) else one for name, one in context.params.items()}
        found = options.take(given, [option for option in settings.OPTIONS if option.flags])
        flags |= {name: value for name, value in found.items() if value is not None}
        if not hasattr(command, "resolve_command"):
            return flags
        rest = [*getattr(context, "_protected_args", []), *context.args]
        _, command, rest = command.resolve_command(context, rest)


def test_the_command_lines_are_found() -> None:
    places = [where for where, _ in shown()]
    assert places.count("overnight.md") > 10
    for sample in ("crontab.sample", "xnat-sync@.service", "slurm.sh", "pbs.sh", "cron.toml", "federated.toml"):
        assert sample in places
    with pytest.raises(Exception, match="No such option"):
        parsed(["project", "PTV000", "--dets", "/scratch"])
    with pytest.raises(Exception, match="No such command"):
        parsed(["porject", "PTV000"])


@pytest.mark.parametrize(
    ("where", "arguments"), [pytest.param(*each, id=f"{each[0]}-{number}") for number, each in enumerate(shown())]
)
def test_a_command_line_is_one(where: str, arguments: tuple[str, ...]) -> None:
    flags = {name: value for name, value in parsed(arguments).items() if "$" not in str(value)}
    settings.merge(flags, {})


@pytest.mark.parametrize("span", re.findall(r"^\| `(--[^`]*)`", MANUAL.read_text(), re.MULTILINE))
def test_an_option_in_a_table_of_the_manual_is_one(span: str) -> None:
    flags = parsed(["project", "PTV000", *shlex.split(span)])
    assert len(flags) == 1
    if not span.split()[-1].isupper() or span[-1].isdigit():
        settings.merge(flags, {})


# -- Settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", fenced("toml"), ids=second_line)
def test_the_profiles_of_the_manual_load(text: str) -> None:
    found = profiles.chosen(text, "the manual", "nightly", KNOWN)
    assert found is not None
    merged = settings.merge({}, {}, found)
    assert {key for key in found.values if merged.sources[key] == found.origin} == set(found.values)


@pytest.mark.parametrize("name", ["nightly", "archive"])
def test_a_profile_for_the_night_is_quiet_and_ends(name: str) -> None:
    merged = settings.merge({}, {}, profiles.chosen((CONFIGS / "cron.toml").read_text(), "", name, KNOWN))
    assert merged.quiet
    assert merged.projects
    assert merged.stop_at is not None
    assert merged.max_duration is not None  # A run that starts by day must not last until the next morning.
    assert merged.min_free > 0
    assert merged.bwlimit is not None


def test_no_real_site_is_named() -> None:
    texts = {path.name: path.read_text() for path in [*SAMPLES, MANUAL]}
    for name, text in texts.items():
        hosts = re.findall(r"https?://([\w.-]+)|\w@([\w-]+\.[\w.-]+)", text)
        for host in {(one or other).rstrip(".") for one, other in hosts}:
            unit = host.endswith((".service", ".timer"))
            assert unit or host == "localhost" or "example" in host.split("."), (name, host)


def test_the_manual_knows_every_sample_and_every_link_leads_somewhere() -> None:
    text = MANUAL.read_text()
    for path in SAMPLES:
        assert path.name in text or path.name in ("federated.toml", "workstation.toml"), path
        assert path.read_text().startswith("#"), f"{path} says at its head how to install it"
    headings = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }
    for link in re.findall(r"\]\(([^)]*)\)", text):
        if link.startswith("#"):
            assert link[1:] in headings, link
        else:
            assert (MANUAL.parent / link).exists(), link


def test_the_manual_has_every_code() -> None:
    found: dict[int, str] = {}
    for codes, names in re.findall(r"^\| ([\d, ]+) \| ([\w, -]+) \|", MANUAL.read_text(), re.MULTILINE):
        found |= dict(zip(map(int, codes.split(", ")), names.split(", "), strict=True))
    assert found == {int(code): code.label for code in Exit}
    order = re.search(r"the first of: a signal, ([\d, ]+)\.", MANUAL.read_text())
    assert order is not None
    assert [int(code) for code in order[1].split(", ")] == [*(int(code) for code in events.PRECEDENCE[2:]), 0]


# -- systemd ---------------------------------------------------------------------------------------------------------


def unit(path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def complaints(folder: Path, service: str) -> list[str]:
    """What systemd says of the units, when the program is there."""
    program = folder / "xnat-sync"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    failed = fenced("ini")[0]
    (folder / "xnat-sync-failed@.service").write_text(failed)
    texts = {SERVICE.name: service.replace("#OnFailure=", "OnFailure="), TIMER.name: TIMER.read_text()}
    for name, text in texts.items():
        (folder / name).write_text(text.replace("/opt/xnat-sync/bin/xnat-sync", str(program)))
    done = subprocess.run(
        [needs("systemd-analyze"), "--man=no", "verify", *(str(folder / name) for name in texts),
         str(folder / "xnat-sync-failed@.service"), str(folder / "xnat-sync@archive.timer")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    # Units of this machine that ours depend on may have faults of their own.
    return [line for line in (done.stdout + done.stderr).splitlines() if "xnat-sync" in line]


def test_systemd_has_no_complaint(tmp_path: Path) -> None:
    assert complaints(tmp_path, SERVICE.read_text()) == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("ProtectSystem=", "ProtectSystems="), ("KillMode=mixed", "KillMode=mild"), ("LoadCredential=xnat:", "User=:")],
)
def test_systemd_would_complain(tmp_path: Path, right: str, wrong: str) -> None:
    assert right in SERVICE.read_text()
    assert complaints(tmp_path, SERVICE.read_text().replace(right, wrong)) != []


def test_the_cage_is_tight(tmp_path: Path) -> None:
    analyze = needs("systemd-analyze")
    version = subprocess.run([analyze, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    if int(re.match(r"\d+", version)[0]) < 250:  # type: ignore[index]
        pytest.skip("this systemd rates no unit that is not installed")
    shutil.copy(SERVICE, tmp_path)
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=25", "--no-pager", str(tmp_path / SERVICE.name)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_the_service_means_what_the_program_does() -> None:
    found = unit(SERVICE)
    good = {Exit(int(code)) for code in found["SuccessExitStatus"][0].split()}
    assert good == {Exit.WINDOW, Exit.TRANSFER_LIMIT, Exit.TERMINATED}
    assert int(found["TimeoutStopSec"][0]) > 10
    assert found["KillMode"] == ["mixed"]


def test_the_service_and_its_profile_agree() -> None:
    found, archive = unit(SERVICE), profile("archive")
    assert archive["dest"] in found["ReadWritePaths"]
    assert archive["dest"] in found["RequiresMountsFor"]
    assert Path(archive["log_file"]).parent == Path("/var/log") / found["LogsDirectory"][0]
    credential, _, path = found["LoadCredential"][0].partition(":")
    assert archive["password_command"] == f'cat "$CREDENTIALS_DIRECTORY/{credential}"'
    assert path == "/etc/xnat-sync/%i.password"
    assert found["User"] == [archive["user"]]


# -- cron ------------------------------------------------------------------------------------------------------------

RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


def crontab() -> list[str]:
    """Every line with a command, those in comments as well."""
    lines = (CONFIGS / "crontab.sample").read_text().splitlines() + indented()
    return [line.removeprefix("#") for line in lines if re.match(r"#?[\d*]\S* +\S+ +\S+ +\S+ +\S+ +\S", line)]


def unescaped(command: str) -> str:
    """A command as cron hands it to the shell."""
    assert not re.search(r"(?<!\\)%", command), "a bare % ends the command"
    return command.replace("\\%", "%")


@pytest.mark.parametrize("line", crontab())
def test_a_line_of_the_crontab_is_one(line: str) -> None:
    *fields, command = line.split(None, 5)
    for field, (low, high) in zip(fields, RANGES, strict=True):
        if field != "*":
            assert re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", field), field
            assert all(low <= int(number) <= high for number in re.findall(r"\d+", field)), field
    subprocess.run(["/bin/sh", "-n", "-c", unescaped(command)], check=True)


def test_the_crontab_has_only_lines_settings_and_comments() -> None:
    text = (CONFIGS / "crontab.sample").read_text()
    assert text.endswith("\n")
    for line in text.splitlines():
        assert not line or line.startswith("#") or line in crontab() or re.match(r"[A-Z]+=\S+$", line), line
    assert len(crontab()) >= 5


def stub(folder: Path, name: str, body: str) -> None:
    """A command that notes its arguments, one call a line."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    note = f'printf "%s" {name} >> "{folder}/calls"; for a; do printf " %q" "$a" >> "{folder}/calls"; done'
    path.write_text(f'#!/bin/bash\n{note}; echo >> "{folder}/calls"\n{body}\n')
    path.chmod(0o755)


def calls(folder: Path) -> list[list[str]]:
    path = folder / "calls"
    return [shlex.split(line) for line in path.read_text().splitlines()] if path.exists() else []


@dataclass
class Ran:
    """A script that has ended."""

    code: int
    out: str
    err: str
    calls: list[list[str]]


def environment(folder: Path, extra: Mapping[str, str] = {}) -> dict[str, str]:
    return {"HOME": str(folder), "PATH": f"{folder}/bin:/usr/bin:/bin", **extra}


def run(folder: Path, *command: str, env: Mapping[str, str] = {}) -> Ran:
    done = subprocess.run(
        command, env=environment(folder, env), cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )
    return Ran(done.returncode, done.stdout, done.stderr, calls(folder / "bin"))


def test_the_line_that_removes_records_takes_old_ones_only(tmp_path: Path) -> None:
    line = next(line for line in crontab() if "-exec rm" in line)
    assert unescaped(line.split(None, 5)[5]) in indented()
    old, new = (tmp_path / f"PTV000/.xnat-sync/runs/{name}" for name in ("old", "new"))
    data, other = tmp_path / "PTV000/S/E/scans", tmp_path / "PTV000/.xnat-sync/sessions/old"
    for folder in (old, new, data, other):
        folder.mkdir(parents=True)
        (folder / "file").touch()
    for folder in (old, data, other):
        os.utime(folder, (0, 0))
    run(tmp_path, "/bin/sh", "-c", line.split(None, 5)[5].replace("/data/mirror", str(tmp_path)))
    assert not old.exists()
    assert all((folder / "file").exists() for folder in (new, data, other))


# -- Jobs of a cluster -----------------------------------------------------------------------------------------------


def directives(script: Path) -> list[str]:
    """What the queue reads: up to the first line that is no comment."""
    head: list[str] = []
    for line in script.read_text().splitlines():
        if line and not line.startswith("#"):
            break
        head.append(line)
    found = [line for line in head if re.match(r"#(SBATCH|PBS) ", line)]
    assert len(found) == len(re.findall(r"^#(?:SBATCH|PBS) ", script.read_text(), re.MULTILINE)), "one comes too late"
    return found


def seconds(clock: str) -> int:
    hours, minutes, rest = map(int, clock.split(":"))
    return hours * 3600 + minutes * 60 + rest


def job(folder: Path, script: Path, code: int = 0, env: Mapping[str, str] = {}, queue: str = "exit 0") -> Ran:
    """Run a job's script as the queue would, with an xnat-sync that ends with ``code``."""
    stub(folder / "bin", "xnat-sync", f"exit {code}")
    for name in ("scontrol", "sbatch", "srun", "qsub", "qrerun"):
        stub(folder / "bin", name, queue)
    given = {"SLURM_JOB_ID": "42", "PBS_JOBID": "42.pbs", "PBS_O_WORKDIR": str(folder), **env}
    return run(folder, "/bin/bash", str(script), env=given)


def again(script: Path, folder: Path, number: int = 2) -> list[str]:
    if script.stem == "slurm":
        return ["scontrol", "requeue", "42"]
    return ["qsub", "-v", f"ROUND={number}", f"{folder}/xnat-sync.pbs"]


@pytest.mark.parametrize("script", SCRIPTS, ids=ids)
def test_a_script_parses_and_so_do_its_directives(script: Path) -> None:
    subprocess.run([needs("bash"), "-n", str(script)], check=True)
    form = r"#SBATCH --[a-z-]+(=[^\s#]+)?" if script.stem == "slurm" else r"#PBS -[A-Za-z] [^\s#]+"
    assert len(directives(script)) > 5
    for line in directives(script):
        assert re.fullmatch(form, line), line


@pytest.mark.parametrize("code", list(Exit), ids=lambda code: code.label)
@pytest.mark.parametrize("script", SCRIPTS, ids=ids)
def test_only_a_closed_window_goes_back_into_the_queue(tmp_path: Path, script: Path, code: Exit) -> None:
    ran = job(tmp_path, script, int(code))
    mirror, *queue = ran.calls
    assert mirror[0] == "xnat-sync"
    flags = parsed(mirror[1:])
    assert mirror[1:4] == ["project", "PTV000", "PTV001"]
    assert (flags["dest"], flags["wait_lock"]) == ("/scratch/mirror", "15m")
    assert queue == ([again(script, tmp_path)] if code is Exit.WINDOW else [])
    assert ran.code == (0 if code is Exit.WINDOW else int(code))
    assert ran.err == ""


def test_the_window_fits_into_the_time_that_slurm_gives(tmp_path: Path) -> None:
    script = CONFIGS / "slurm.sh"
    limit = next(line for line in directives(script) if "--time=" in line)
    ran = job(tmp_path, script)
    assert parsed(ran.calls[0][1:])["max_duration"] == f"{seconds(limit.partition('=')[2]) - 300}s"
    ran = job(tmp_path, script, env={"SLURM_JOB_END_TIME": str(int(time.time()) + 3600)})
    assert 3200 < values.duration(str(parsed(ran.calls[-1][1:])["max_duration"])) <= 3300
    before = len(ran.calls)
    ran = job(tmp_path, script, env={"SLURM_JOB_END_TIME": str(int(time.time()) + 300)})
    assert (ran.code, len(ran.calls)) == (2, before)
    assert "no time to work" in ran.err


def test_the_window_fits_into_the_walltime_of_pbs(tmp_path: Path) -> None:
    script = CONFIGS / "pbs.sh"
    limit = next(line for line in directives(script) if "walltime=" in line)
    ran = job(tmp_path, script)
    window = values.duration(str(parsed(ran.calls[0][1:])["max_duration"]))
    assert 240 <= seconds(limit.partition("=")[2]) - window <= 600


@pytest.mark.parametrize("script", SCRIPTS, ids=ids)
def test_a_job_does_not_go_round_for_ever(tmp_path: Path, script: Path) -> None:
    last = {"SLURM_RESTART_COUNT": "29", "ROUND": "29"}
    assert job(tmp_path, script, 10, last).calls[-1] == again(script, tmp_path, 30)
    over = {"SLURM_RESTART_COUNT": "30", "ROUND": "30"}
    ran = job(tmp_path, script, 10, over)
    assert (ran.code, ran.calls[-1][0]) == (10, "xnat-sync")
    assert "not complete after 30 rounds" in ran.err


@pytest.mark.parametrize("script", SCRIPTS, ids=ids)
def test_a_job_that_the_queue_does_not_take_back_ends_with_its_code(tmp_path: Path, script: Path) -> None:
    assert job(tmp_path, script, 10, queue="exit 1").code == 10


@pytest.mark.parametrize("script", SCRIPTS, ids=ids)
def test_a_job_that_is_told_to_end_waits_for_the_run_to_park(tmp_path: Path, script: Path) -> None:
    """Slurm signals the script, PBS every process of the job; either way the run is told once."""
    stub(tmp_path / "bin", "scontrol", "exit 0")
    stub(tmp_path / "bin", "qsub", "exit 0")
    ready, told = tmp_path / "ready", tmp_path / "told"
    park = f"trap 'echo told >> {told}; sleep 0.2; exit 143' TERM; touch {ready}; while :; do sleep 0.05; done"
    stub(tmp_path / "bin", "xnat-sync", park)
    process = subprocess.Popen(
        ["/bin/bash", str(script)], env=environment(tmp_path, {"SLURM_JOB_ID": "42", "PBS_O_WORKDIR": str(tmp_path)}),
        start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while not ready.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        if script.stem == "slurm":
            process.terminate()
        else:
            os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(30) == 143
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert told.read_text() == "told\n"
    assert [call[0] for call in calls(tmp_path / "bin")] == ["xnat-sync"]


# -- logrotate -------------------------------------------------------------------------------------------------------

ARGUMENTS = {"su": 2, "rotate": 1, "maxsize": 1} | dict.fromkeys(
    ("weekly", "missingok", "notifempty", "compress", "delaycompress", "nocreate"), 0
)


def test_the_rotation_is_one_block_and_covers_the_logs() -> None:
    text = re.sub(r"^\s*#.*$", "", (CONFIGS / "logrotate.conf").read_text(), flags=re.MULTILINE)
    block = re.fullmatch(r"\s*(/\S+) \{\n(.*)\n\}\s*", text, re.DOTALL)
    assert block is not None
    for line in filter(str.strip, block[2].splitlines()):
        name, *given = line.split()
        assert len(given) == ARGUMENTS[name], line
    for name in ("nightly", "archive"):
        assert fnmatch.fnmatch(profile(name)["log_file"], block[1])
        assert not fnmatch.fnmatch(profile(name)["log_file"] + ".1", block[1]), "a rotated log is not rotated again"
    assert f"su {unit(SERVICE)['User'][0]} {unit(SERVICE)['Group'][0]}" in block[2]


def test_logrotate_takes_it(tmp_path: Path) -> None:
    logrotate = shutil.which("logrotate", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if logrotate is None:
        pytest.skip("logrotate is not installed")
    log = tmp_path / "nightly.jsonl"
    log.write_text("{}\n")
    conf = tmp_path / "logrotate.conf"
    text = (CONFIGS / "logrotate.conf").read_text().replace("/var/log/xnat-sync", str(tmp_path))
    conf.write_text(text.replace("    su mirror mirror\n", ""))
    conf.chmod(0o644)
    rotate = [logrotate, "--state", str(tmp_path / "state")]
    done = subprocess.run([*rotate, "--debug", str(conf)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr
    assert str(log) in done.stderr
    subprocess.run([*rotate, "--force", str(conf)], check=True)
    assert (tmp_path / "nightly.jsonl.1").read_text() == "{}\n"
    assert not log.exists()  # The next write makes it.


# -- Hooks -----------------------------------------------------------------------------------------------------------


def hook(folder: Path, name: str) -> Path:
    """A script of the manual, its folders moved into ours."""
    text = next(block for block in fenced("sh") if f"/{name}:" in block)
    path = folder / name
    path.write_text(text.replace("/data/", f"{folder}/"))
    return path


@pytest.mark.parametrize("text", fenced("sh"), ids=second_line)
def test_a_hook_of_the_manual_parses(text: str) -> None:
    assert text.startswith("#!/bin/sh\n")
    subprocess.run(["/bin/sh", "-n"], input=text, text=True, check=True)


def test_the_hook_for_nifti_replaces_what_it_made(tmp_path: Path) -> None:
    session = tmp_path / "mirror" / "P" / "S 1" / "E"
    for scan in ("4", "5-MR1"):
        (session / "scans" / scan / "DICOM").mkdir(parents=True)
    (session / "scans" / "6" / "SNAPSHOTS").mkdir(parents=True)
    old = tmp_path / "nifti" / "P" / "S 1" / "E" / "4" / "old.nii.gz"
    old.parent.mkdir(parents=True)
    old.touch()
    stub(tmp_path / "bin", "dcm2niix", 'touch "$8/new.nii.gz"; case "$9" in *5-MR1*) exit 2 ;; esac')
    script, env = str(hook(tmp_path, "nifti.sh")), {"XNAT_SYNC_PATH": str(session)}
    assert run(tmp_path, "/bin/sh", script, env=env).code == 0
    made = sorted(str(path.relative_to(tmp_path / "nifti")) for path in (tmp_path / "nifti").rglob("*.nii.gz"))
    assert made == ["P/S 1/E/4/new.nii.gz", "P/S 1/E/5-MR1/new.nii.gz"]
    stub(tmp_path / "bin", "dcm2niix", "exit 1")
    assert run(tmp_path, "/bin/sh", script, env=env).code == 1  # Told, and run again next time.
    assert (old.parent / "new.nii.gz").exists()


def test_the_hook_for_bids_makes_labels_that_bids_takes(tmp_path: Path) -> None:
    stub(tmp_path / "bin", "dcm2bids", "")
    (tmp_path / "E" / "scans").mkdir(parents=True)
    names = {"XNAT_SYNC_SUBJECT": "Haofei_01", "XNAT_SYNC_EXPERIMENT": "Haofei01-MR1; rm"}
    script = str(hook(tmp_path, "bids.sh"))
    ran = run(tmp_path, "/bin/sh", script, env={**names, "XNAT_SYNC_PATH": str(tmp_path / "E")})
    assert ran.code == 0, ran.err
    assert ran.calls[0][1:7] == ["-d", f"{tmp_path}/E/scans", "-p", "Haofei01", "-s", "Haofei01MR1rm"]
    assert run(tmp_path, "/bin/sh", script, env={**names, "XNAT_SYNC_PATH": str(tmp_path)}).calls == ran.calls


def summaries(folder: Path) -> Path:
    """A run's folder as the program leaves it: nothing came of one file."""
    tally = Tally()
    tally.failed["XNAT_E00001", "Haofei01_MR1 scans/4 DICOM", "0001.dcm"] = "HTTP 500"
    one = wire.summary(
        tally, Exit.INCOMPLETE, "1 file is not here", project="PTV000", seconds=2.0, requests=7,
        started=datetime.now(UTC), version="0",
    )  # fmt: skip
    failed = events.Failed("XNAT_E00001", "Haofei01_MR1 scans/4 DICOM", "0001.dcm", "HTTP 500")
    path = folder / "PTV000" / ".xnat-sync" / "runs" / "20260101T000000.000000Z"
    path.mkdir(parents=True)
    (path / "summary.json").write_text(json.dumps(one))
    (path / "all.json").write_text(json.dumps(wire.summary_of_all([one, one], 2, Exit.INCOMPLETE)))
    (path / "log.jsonl").write_text(f"{wire.json_line(failed, datetime.now(UTC))}\n")
    return path


@pytest.mark.parametrize("code", list(Exit), ids=lambda code: code.label)
def test_the_hook_for_the_end_mails_what_went_wrong(tmp_path: Path, code: Exit) -> None:
    needs("jq")
    stub(tmp_path / "bin", "mail", f"cat > {tmp_path}/mail")
    script, folder = str(hook(tmp_path, "on-end.sh")), summaries(tmp_path)
    for summary in ("summary.json", "all.json", ""):
        path = str(folder / summary) if summary else ""
        env = {"XNAT_SYNC_PROJECT": "PTV000", "XNAT_SYNC_CODE": str(int(code)), "XNAT_SYNC_SUMMARY": path}
        ran = run(tmp_path, "/bin/sh", script, env=env)
        assert (ran.code, ran.err) == (0, "")
        if code in (Exit.OK, Exit.TRANSFER_LIMIT, Exit.WINDOW, Exit.TERMINATED):
            assert ran.calls == []
            continue
        assert ran.calls[-1] == ["mail", "-s", f"xnat-sync: PTV000: {int(code)}", "you@example.org"]
        text = (tmp_path / "mail").read_text()
        assert ("PTV000: incomplete: 1 file is not here" in text) is bool(summary)
        assert ("0001.dcm: HTTP 500" in text) is bool(summary)


def jq_lines() -> list[str]:
    return [line for line in indented() if line.startswith("jq ")]


def test_there_are_lines_for_jq() -> None:
    assert len(jq_lines()) > 5


@pytest.mark.parametrize("line", jq_lines())
def test_a_line_for_jq_says_something(tmp_path: Path, line: str) -> None:
    needs("jq")
    enter = next(line for line in indented() if line.startswith("cd ")).partition("#")[0]
    summaries(tmp_path)
    ran = run(tmp_path, "/bin/sh", "-c", f"{enter.replace('/data/mirror', str(tmp_path))} && {line}")
    assert (ran.code, ran.err) == (0, ""), ran
    assert ran.out.strip()
    assert "null" not in ran.out
