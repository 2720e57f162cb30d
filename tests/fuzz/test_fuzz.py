"""Every target on all of its corpus, and for a moment on what Hypothesis makes of it; ``make fuzz`` is the long run.

The invariants stand with the targets, in ``check_*.py``.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz import reach
from fuzz.draw import Draw
from fuzz.shrink import failure, shrink
from fuzz.targets import CORPUS, TARGETS, Target, corpus

# Inputs that show a fault not yet mended -> what is wrong. A target that has any is not fuzzed here meanwhile.
KNOWN: dict[str, str] = {}

INPUTS = [f"{target}/{name}" for target in TARGETS for name in corpus(target)]


@pytest.mark.parametrize(
    "kept",
    [pytest.param(name, marks=pytest.mark.xfail(reason=KNOWN[name])) if name in KNOWN else name for name in INPUTS],
)
def test_an_input_of_the_corpus(kept: str) -> None:
    TARGETS[kept.partition("/")[0]].check((CORPUS / kept).read_bytes())


Edit = tuple[int, int, bytes]


def edited(data: bytes, edits: list[Edit]) -> bytes:
    for at, cut, new in edits:
        at %= len(data) + 1
        data = data[:at] + new + data[at + cut :]
    return data


def inputs(name: str) -> st.SearchStrategy[bytes]:
    """Inputs of the corpus with a few edits, and bytes at all."""
    target = TARGETS[name]
    words = st.sampled_from([b"", *(word.encode("utf-8", "surrogateescape") for word in target.words)])
    edits = st.tuples(st.integers(0, 4096), st.integers(0, 12), st.binary(max_size=8) | words)
    return st.binary(max_size=60) | st.builds(
        edited, st.sampled_from(list(corpus(name).values())), st.lists(edits, max_size=4)
    )


@pytest.mark.parametrize("name", TARGETS)
def test_a_moment_of_fuzzing(name: str) -> None:
    if any(known.startswith(f"{name}/") for known in KNOWN):
        pytest.skip("it has a fault that is known and would be found again")

    @settings(max_examples=40, deadline=None)
    @given(inputs(name))
    def run(data: bytes) -> None:
        TARGETS[name].check(data)

    run()


def test_the_corpus_is_small_and_each_target_has_one() -> None:
    assert {path.name for path in CORPUS.iterdir() if path.is_dir()} == TARGETS.keys()
    assert all(corpus(name) for name in TARGETS)
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < 300_000


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_reaches_most_of_what_the_target_is_about(name: str) -> None:
    target = TARGETS[name]
    there = reach.there(target)
    missed = there - reach.reached(target, corpus(name).values())
    assert len(missed) <= len(there) / 5, sorted(missed)


# -- the tools themselves ---------------------------------------------------------------------------------------


def fails_at(word: bytes) -> Callable[[bytes], None]:
    def check(data: bytes) -> None:
        if word in data:
            raise ValueError(word)
        if b"other" in data:
            raise KeyError

    return check


def test_a_failing_input_is_made_small_and_fails_in_the_same_way() -> None:
    check = fails_at(b"ab")
    assert shrink(check, b"xxxxother" * 40 + b"ab" + b"yyyy" * 40) == b"ab"
    assert failure(check, b"ab") == ("ValueError", __file__, "check")
    assert shrink(fails_at(b"\xff\xfe"), b"\xff\xfe\xfd" * 9) == b"\xff\xfe"
    assert (failure(check, b"fine"), shrink(check, b"fine")) == (None, b"fine")


def test_what_reaches_nothing_new_is_not_added() -> None:
    target = Target(TARGETS["token"].check, ("token.parse", "token._end"))
    token = b'{"alias":"a","secret":"s"'
    kept = reach.adding(target, {"a": b"", "b": b"<html>", "c": token + b"}", "d": token + b',"created":1}'})
    assert list(kept) == ["a", "c"]
    lines = {(file.rpartition("/")[2], line) for file, line in reach.reached(target, [b""])}
    assert {file for file, _ in lines} == {"token.py"}
    assert not reach.adding(target, {"a": b""}, reach.reached(target, [b"<html>"]))


def test_choices_out_of_bytes() -> None:
    draw = Draw(b"\x05\x02abcde\x01\x01\x02")
    assert (draw.number(4), draw.chunk(9), draw.pick("abc"), draw.number(1 << 16)) == (1, b"ab", "a", 0x6564)
    assert (draw.chance(2), draw.number(1000), draw.more) == (True, 0x0201 % 1000, False)
    assert (draw.number(9), draw.chunk(9), draw.pick("xyz"), draw.chance(2)) == (0, b"", "x", False)
