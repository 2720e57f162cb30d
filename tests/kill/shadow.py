"""A file system on paper: what a disk may hold after the power failed, from the record of the calls before.

It replays calls and knows of each whether it is durable: what was written to a file is when that file was synced
after, and a change of a name is when its folder was. A rename is one change, never half of it is on a disk: if the
folder that the file left was synced, it has arrived. What is not durable is on the disk or not, as a ``Policy`` and a
seed say:

``STRICT``   no change of a name is there that need not be. Bytes that were not synced are lost, cut, or zeros.
``JOURNAL``  changes of names are there in the order in which they were made, up to a moment after the last sync of
             anything; bytes are lost, cut, zeros, or torn. So do ext4 and XFS, where a sync takes all before it along.
``RANDOM``   any changes of names are there, as long as none lacks what it needs: to make a file where another was moved
             away needs that move, to remove a folder needs that it is empty. Bytes as above.

A file has the time that it had before the power failed, whatever became of its bytes: so a record that believes the
file by its size and time is put to the test. Of bytes that were written over in place the old ones may remain, by
sectors; they do not become zeros. Seed 0 is the worst for STRICT and JOURNAL: as little as may be is there of names
for STRICT, as much as may be for JOURNAL, and every byte that was not synced is zero.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from .calls import Call
from .image import File, Image

SECTOR = 512
DISK = 0  # the folder that all lies in
FIRST = -1  # a moment before the first call
Name = tuple[int, str]  # a folder's number, and a name in it


class Policy(StrEnum):
    """What becomes of changes that were not made durable."""

    STRICT = "strict"
    JOURNAL = "journal"
    RANDOM = "random"


class Fate(StrEnum):
    """What becomes of bytes that were not made durable."""

    LOST = "lost"
    CUT = "cut"
    ZEROS = "zeros"
    TORN = "torn"
    THERE = "there"


@dataclass(frozen=True, slots=True)
class Change:
    """A change of names: ``node`` is no longer ``gone``, and from now on ``new``.

    It cannot be without the changes in ``needs``; ``home`` is the one that put the folder of ``new`` where it is.
    """

    at: int
    node: int
    gone: Name | None
    new: Name | None
    needs: frozenset[int]
    home: int | None


@dataclass(slots=True)
class Node:
    """A file or folder that there was at any time: the calls that changed a file's bytes, and when it was synced."""

    folder: bool
    data: bytes = b""
    mtime_ns: int = 0
    calls: list[tuple[int, Call]] = field(default_factory=list)
    synced: list[int] = field(default_factory=list)


class Shadow:
    """What calls do to a disk that was like ``first`` before them, all of it durable, but for the files ``unsynced``.

    A moment ``at`` is after so many calls: 0 is before the first, ``len(calls)`` after the last.
    """

    def __init__(self, first: Image, calls: Sequence[Call], unsynced: Iterable[str] = ()) -> None:
        self._nodes = [Node(folder=True)]
        self._names: dict[Name, int] = {}
        self._changes: list[Change] = []
        self._last: dict[Name, int] = {}  # which change was the last of a name
        self._put: dict[int, int] = {}  # and of a node's place
        self._within: defaultdict[int, set[int]] = defaultdict(set)  # and which there were in a folder
        self._syncs: list[int] = []
        self._settled: dict[tuple[int, int], File] = {}
        fresh = frozenset(unsynced)
        for path in sorted(first.folders):
            self._stand(path, Node(folder=True))
        for path, file in first.files.items():
            written = (FIRST, Call("write", path, data=file.data, mtime_ns=file.mtime_ns))
            new = Node(False, calls=[written]) if path in fresh else Node(False, file.data, file.mtime_ns)
            self._stand(path, new)
        self._first = dict(self._names)
        for at, call in enumerate(calls):
            self._replay(at, call)

    # -- replaying ------------------------------------------------------------------------------------------------

    def _stand(self, path: str, node: Node) -> None:
        self._nodes.append(node)
        self._names[self._name(path)] = len(self._nodes) - 1

    def _node(self, path: str) -> int:
        number = DISK
        for part in filter(None, path.split("/")):
            number = self._names[number, part]
        return number

    def _name(self, path: str) -> Name:
        folder, _, name = path.rpartition("/")
        return self._node(folder), name

    def _replay(self, at: int, call: Call) -> None:
        match call.name:
            case "create" | "mkdir":
                self._nodes.append(Node(call.name == "mkdir", mtime_ns=call.mtime_ns))
                self._change(at, len(self._nodes) - 1, None, self._name(call.path))
            case "rename":
                old = self._name(call.path)
                self._change(at, self._names[old], old, self._name(call.to))
            case "link":
                self._change(at, self._node(call.path), None, self._name(call.to))
            case "unlink" | "rmdir":
                old = self._name(call.path)
                self._change(at, self._names[old], old, None)
            case "write" | "truncate" | "touch":
                self._nodes[self._node(call.path)].calls.append((at, call))
            case "sync":
                self._nodes[self._node(call.path)].synced.append(at)
                self._syncs.append(at)
            case "open":
                pass
            case unknown:
                raise ValueError(f"no such call: {unknown}")

    def _change(self, at: int, node: int, gone: Name | None, new: Name | None) -> None:
        touched = [name for name in (gone, new) if name is not None]
        needs = {self._last[name] for name in touched if name in self._last}
        ends = self._names.get(new) if new is not None else node
        if ends is not None and self._nodes[ends].folder:
            needs |= self._within[ends]  # it must be empty
        number = len(self._changes)
        home = self._put.get(new[0]) if new is not None else None
        self._changes.append(Change(at, node, gone, new, frozenset(needs), home))
        self._put[node] = number
        for name in touched:
            self._last[name] = number
            self._within[name[0]].add(number)
        if gone is not None:
            del self._names[gone]
        if new is not None:
            self._names[new] = node

    # -- what there may be ----------------------------------------------------------------------------------------

    def seen(self, at: int) -> Image:
        """What a program sees at that moment, and finds when it is killed."""
        return self._image(range(self._count(at)), lambda node: self._file(node, at, Fate.THERE, random.Random(0)))

    def crashed(self, at: int, policy: Policy, seed: int) -> Image:
        """What may be on the disk when the power fails at that moment."""
        dice = random.Random(f"{at} {policy} {seed}")
        all_of_them = range(self._count(at))
        fates = [Fate.ZEROS] if seed == 0 else list(Fate)
        match policy:
            case Policy.STRICT:
                there = self._durable(at)
                fates = fates[:3]
            case Policy.JOURNAL:
                since = max((sync for sync in self._syncs if sync < at), default=FIRST)
                until = at if seed == 0 else dice.randint(since + 1, at)
                there = set(range(self._count(until)))
            case Policy.RANDOM:
                there, share, fates = self._durable(at), dice.choice((0.1, 0.5, 0.9)), list(Fate)
                for number in all_of_them:
                    change = self._changes[number]
                    if (
                        dice.random() < share
                        and change.needs <= there
                        and (change.home is None or change.home in there)
                    ):
                        there.add(number)
        return self._image(sorted(there), lambda node: self._file(node, at, dice.choice(fates), dice))

    def kept(self, path: str, at: int) -> bytes | None:
        """Those bytes of a file that is seen at that moment which are durable; None if none is seen."""
        node: int | None = DISK
        names = self._names_with(range(self._count(at)))
        for part in path.split("/"):
            node = None if node is None else names.get((node, part))
        return None if node is None else self._file(node, at, Fate.LOST, random.Random(0)).data

    def _count(self, at: int) -> int:
        return sum(change.at < at for change in self._changes)

    def _durable(self, at: int) -> set[int]:
        """The changes that must be there, and all that these need."""
        found: set[int] = set()
        left: list[int] = []
        for number in range(self._count(at)):
            change = self._changes[number]
            if change.new is not None and self._synced_since(change.new[0], change.at, at):
                left.append(number)
            elif change.gone is not None and self._synced_since(change.gone[0], change.at, at):
                left.append(number)
                home = change.home
                while home is not None:  # it cannot have gone nowhere
                    left.append(home)
                    home = self._changes[home].home
        while left:
            number = left.pop()
            if number not in found:
                found.add(number)
                left.extend(self._changes[number].needs)
        return found

    def _synced_since(self, node: int, since: int, until: int) -> bool:
        return any(since < sync < until for sync in self._nodes[node].synced)

    def _names_with(self, there: Iterable[int]) -> dict[Name, int]:
        names = dict(self._first)
        for number in there:
            change = self._changes[number]
            if change.gone is not None and names.get(change.gone) == change.node:
                del names[change.gone]
            if change.new is not None:
                names[change.new] = change.node
        return names

    def _image(self, there: Iterable[int], content: Callable[[int], File]) -> Image:
        inside: defaultdict[int, dict[str, int]] = defaultdict(dict)
        for (folder, name), node in self._names_with(there).items():
            inside[folder][name] = node
        known: dict[int, File] = {}  # a file of two names is one
        files, folders = {}, set()
        for path, number in _walk(inside, DISK, ""):
            if self._nodes[number].folder:
                folders.add(path)
            else:
                if number not in known:
                    known[number] = content(number)
                files[path] = known[number]
        return Image(files, frozenset(folders))

    def _file(self, number: int, at: int, fate: Fate, dice: random.Random) -> File:
        node = self._nodes[number]
        synced = max((sync for sync in node.synced if sync < at), default=FIRST)
        last = max((moment for moment, _ in node.calls if moment < at), default=None)
        if last is None or last < synced:  # nothing to lose
            if (number, synced) not in self._settled:
                self._settled[number, synced] = self._unsettled(node, synced, at, Fate.LOST, dice)
            return self._settled[number, synced]
        return self._unsettled(node, synced, at, fate, dice)

    @staticmethod
    def _unsettled(node: Node, synced: int, at: int, fate: Fate, dice: random.Random) -> File:
        durable = Bytes(node.data, node.data)
        for moment, call in node.calls:
            if moment < synced:
                durable = durable.after(call)
        now = Bytes(durable.new, durable.new, len(durable.new))
        mtime_ns = node.mtime_ns
        for moment, call in node.calls:
            if moment < at:
                mtime_ns = call.mtime_ns
            if synced <= moment < at:
                now = now.after(call)
        return File(now.by(fate, durable.new, dice), mtime_ns)


def _walk(inside: Mapping[int, Mapping[str, int]], folder: int, below: str) -> Iterator[tuple[str, int]]:
    for name, node in inside.get(folder, {}).items():
        path = f"{below}/{name}" if below else name
        yield path, node
        yield from _walk(inside, node, path)


@dataclass(frozen=True, slots=True)
class Bytes:
    """A file since it was last synced: what is ``new``, what is there if no write came through, the shortest it was."""

    new: bytes
    old: bytes
    shortest: int = 0

    def after(self, call: Call) -> Bytes:
        """After one more call."""
        if call.name == "truncate":
            new, old = (data[: call.at].ljust(call.at, b"\0") for data in (self.new, self.old))
            return Bytes(new, old, min(self.shortest, call.at))
        if call.name == "write":
            end, new = call.at + len(call.data), self.new.ljust(call.at, b"\0")
            return Bytes(new[: call.at] + call.data + new[end:], self.old.ljust(end, b"\0"), self.shortest)
        return self

    def by(self, fate: Fate, durable: bytes, dice: random.Random) -> bytes:
        """What becomes of it."""
        match fate:
            case Fate.LOST:
                return durable
            case Fate.CUT:
                return self.new[: dice.randint(self.shortest, len(self.new))]
            case Fate.ZEROS:
                return self.old
            case Fate.TORN:
                starts = range(0, len(self.new), SECTOR)
                return b"".join(dice.choice((self.new, self.old))[start : start + SECTOR] for start in starts)
        return self.new
