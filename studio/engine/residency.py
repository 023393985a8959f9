"""Which models are in memory: leased while in use, the least recently used one leaves first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from studio.engine.weights import ModelBundle
from studio.errors import OutOfMemory

GIB = 2**30


@dataclass
class _Resident:
    bundle: ModelBundle
    stamp: Hashable
    leases: int = 0


class Residency:
    """`load` makes a bundle, `need` says the bytes it would add, `budget` how many bytes there are for all.

    `budget` gets the bytes resident now, so that it can count them as free when it asks the machine; without
    those mapped from files, which the machine counts as free of itself.
    `stamp`: another one for a model whose files have changed; it is read anew when its last lease has ended.
    """

    def __init__(
        self,
        load: Callable[[str], ModelBundle],
        need: Callable[[str], int],
        budget: Callable[[int], int],
        stamp: Callable[[str], Hashable],
    ) -> None:
        self._load, self._need, self._budget, self._stamp = load, need, budget, stamp
        self._needs: dict[str, int] = {}  # as last seen: asked each tick while a job waits
        self._residents: OrderedDict[str, _Resident] = OrderedDict()  # least recently used first

    @contextmanager
    def lease(self, name: str, work: int = 0) -> Iterator[ModelBundle]:
        """The model, in memory until the block ends, with `work` bytes beside the models if that can be.

        Raises OutOfMemory when the model cannot be made to fit.
        """
        self._drop_outdated(name)
        self._make_room(name, work)
        resident = self._residents.get(name)
        if resident is None:
            stamp = self._stamp(name)  # before reading: a change in the middle counts as one
            resident = self._residents[name] = _Resident(self._load(name), stamp)
        self._residents.move_to_end(name)
        resident.leases += 1
        try:
            yield resident.bundle
        finally:
            resident.leases -= 1

    def must_wait(self, names: Collection[str], work: int = 0) -> bool:
        """True while these models as they are now and `work` bytes fit only after a lease has ended."""
        if not any(resident.leases for resident in self._residents.values()):
            return False
        if any(self._drop_outdated(name) for name in names):
            return True
        leased = _held(one for name, one in self._residents.items() if one.leases or name in names)
        missing = [name for name in names if name not in self._residents]
        for name in missing:
            if name not in self._needs:
                self._needs[name] = self._need(name)
        need = sum(self._needs[name] for name in missing)
        return need + work > self._budget(self._own) - leased

    def room(self) -> int:
        """Bytes that are left for runs."""
        return self._budget(self._own) - self.bytes

    @property
    def bytes(self) -> int:
        """What two models share is counted once."""
        return _held(self._residents.values())

    @property
    def _own(self) -> int:
        """Of `bytes` what no file holds."""
        mapped = [resident.bundle.mapped for resident in self._residents.values()]
        return _held(self._residents.values(), frozenset().union(*mapped))

    def bundles(self) -> tuple[ModelBundle, ...]:
        """Least recently used first."""
        return tuple(resident.bundle for resident in self._residents.values())

    def _drop_outdated(self, name: str) -> bool:
        """True where it is outdated and cannot leave yet."""
        resident = self._residents.get(name)
        if resident is None or resident.stamp == self._stamp(name):
            return False
        if not resident.leases:
            del self._residents[name]
        return resident.leases > 0

    def _make_room(self, name: str, work: int) -> None:
        need = 0 if name in self._residents else self._need(name)
        budget = self._budget(self._own)
        self._needs.pop(name, None)
        if need > budget:
            raise OutOfMemory(
                f"{name} needs {need / GIB:.2f} GiB of memory; {max(0, budget) / GIB:.2f} GiB is there.",
                hint="Pick a smaller model, or raise STUDIO_MEMORY.",
            )
        idle = [key for key, resident in self._residents.items() if not resident.leases and key != name]
        for other in idle:
            if self.bytes + need + work <= budget:
                return
            del self._residents[other]
            need = 0 if name in self._residents else self._need(name)  # what they shared has to be read now


def _held(residents: Iterable[_Resident], without: Collection[int] = ()) -> int:
    """Bytes of these models, networks that several have counted once. `without`: addresses not counted."""
    bundles = [resident.bundle for resident in residents]
    parts: dict[int, int] = {}
    for bundle in bundles:
        parts.update(bundle.parts)
    banks = [bank.bytes for bundle in bundles for bank in bundle.banks.values()]
    return sum(size for address, size in parts.items() if address not in without) + sum(banks)
