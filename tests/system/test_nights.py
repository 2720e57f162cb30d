"""Three nights of one project, unattended, with all that goes wrong; ends complete. ``-s`` prints the transcript."""

from __future__ import annotations

import re
from pathlib import Path

from system.harness import fill, truth
from system.warm import Run, WarmWorld, warm_world
from xnat_embedded import Site

PASTED: dict[str, str | None] = {"XNAT_USER": None, "XNAT_PASS": None}


class Nights:
    """What cron would do and mail, written down as it goes."""

    def __init__(self, here: WarmWorld) -> None:
        self.here = here
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def begin(self, *arguments: str, env: dict[str, str | None] | None = None) -> Run:
        self.say(f"$ xnat-sync project PTV000 --dest /scratch -q {' '.join(arguments)}".rstrip())
        return self.here.begin_mirror("-q", *arguments, env=env or {})

    def end(self, run: Run, code: int) -> str:
        done = run.done()
        assert done.code == code, done
        assert done.out == ""
        text = done.err.replace(str(self.here.dest), "/scratch").replace(
            self.here.server.url, "https://xnat.example.org"
        )
        self.lines += [f"  mail: {line}" for line in text.splitlines()] or ["  (no mail)"]
        summary = self.here.summary()
        files, sizes = summary["files"], summary["bytes"]
        self.say(
            f"  exit {code} ({summary['name']}): {files['new']} files new, {files['skipped']} here already, "
            f"{sizes['received']} bytes received, {sizes['again']} of them again, "
            f"{summary['sessions_opened']} sessions opened"
        )
        return done.err


def half_of_the_rest(here: WarmWorld, run: Run, share: float) -> None:
    total = sum(path.stat().st_size for path in here.project.rglob("*.dcm")) if here.project.exists() else 0
    before = here.data_bytes()
    whole = 850_000
    assert here.until(lambda: here.data_bytes() - before > (whole - total) * share, run)


def test_three_nights(site: Site, tmp_path: Path, small_disk: Path) -> None:
    with warm_world(site, tmp_path) as here:
        nights = Nights(here)
        site.rate = 25_000

        nights.say("Night 1: the server is restarted in the middle, and the window closes before all is here.")
        run = nights.begin("--max-duration", "3s", "--jobs", "2")
        half_of_the_rest(here, run, 0.05)
        here.server.stop()
        here.server.start()
        mail = nights.end(run, 10)
        assert mail == ""
        assert here.summary()["sessions_opened"] == 2, "the restart ended the first"
        held = here.tree()
        assert held.items() <= truth(site).items()
        kept_by_now = here.summary()["bytes"]["received"]

        nights.say(
            "Night 2: with a session pasted from a browser, which ends; then with a new one, and the disk fills."
        )
        user = here.server.open_session("demo")
        run = nights.begin(env=PASTED | {"XNAT_JSESSION": user})
        half_of_the_rest(here, run, 0.05)
        here.server.kill_sessions()
        mail = nights.end(run, 6)
        assert "JSESSION" in mail
        user = here.server.open_session("demo")
        site.rate = None
        fill(here.dest / "ballast", leave=64 << 10)
        run = nights.begin(env=PASTED | {"XNAT_JSESSION": user})
        mail = nights.end(run, 12)
        assert re.search("do not fit|no space left", mail)
        assert "Traceback" not in mail
        assert here.tree().items() <= truth(site).items()
        assert held.items() <= here.tree().items(), "what was here stays here"

        nights.say("Night 3: somebody has made room.")
        (here.dest / "ballast").unlink()
        run = nights.begin()
        assert nights.end(run, 0) == ""
        assert here.tree() == truth(site)
        nights.say("$ xnat-sync verify /scratch")
        done = here.run("verify", str(here.dest))
        assert done.code == 0
        nights.say(f"  {done.out.strip()}")

        whole = sum(path.stat().st_size for path in here.project.rglob("*.dcm"))
        assert kept_by_now > 0
        # Five runs of four connections, each cut at most once in a file of each.
        assert here.data_bytes() < whole * 1.6
        nights.say(f"In all {here.data_bytes()} bytes were sent for {whole} bytes of files.")
        here.assert_no_secrets()
        print("\n".join(nights.lines))


def test_the_manual_shows_these_nights() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "overnight.md").read_text()
    for end in ("exit 10 (window)", "exit 6 (login)", "exit 12 (disk)", "exit 0 (ok)"):
        assert f"\n  {end}: " in manual
