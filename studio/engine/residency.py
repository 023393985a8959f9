"""Which models are in memory: leased while in use, the least recently used one leaves first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from studio.engine.weights import ModelBundle
from studio.errors import OutOfMemory

GIB = 2**30


@dataclass
class _Resident:
    bundle: ModelBundle
    leases: int = 0


class Residency:
    """`load` makes a bundle, `need` says the bytes it would add, `budget` how many bytes there are for all.

    `budget` gets the bytes resident now, so that it can count them as free when it asks the machine.
    """

    def __init__(
        self, load: Callable[[str], ModelBundle], need: Callable[[str], int], budget: Callable[[int], int]
    ) -> None:
        self._load, self._need, self._budget = load, need, budget
        self._needs: dict[str, int] = {}  # as last seen: asked each tick while a job waits
        self._residents: OrderedDict[str, _Resident] = OrderedDict()  # least recently used first

    @contextmanager
    def lease(self, name: str) -> Iterator[ModelBundle]:
        """The model, in memory until the block ends. Raises OutOfMemory when it cannot be made to fit."""
        resident = self._residents.get(name)
        if resident is None:
            self._make_room(name)
            resident = self._residents[name] = _Resident(self._load(name))
        self._residents.move_to_end(name)
        resident.leases += 1
        try:
            yield resident.bundle
        finally:
            resident.leases -= 1

    def must_wait(self, name: str) -> bool:
        """True while `name` fits only after a lease of another model has ended."""
        if name in self._residents or not any(resident.leases for resident in self._residents.values()):
            return False
        leased = _held(resident for resident in self._residents.values() if resident.leases)
        if name not in self._needs:
            self._needs[name] = self._need(name)
        return self._needs[name] > self._budget(self.bytes) - leased

    @property
    def bytes(self) -> int:
        """What two models share is counted once."""
        return _held(self._residents.values())

    def bundles(self) -> tuple[ModelBundle, ...]:
        """Least recently used first."""
        return tuple(resident.bundle for resident in self._residents.values())

    def _make_room(self, name: str) -> None:
        need, budget = self._need(name), self._budget(self.bytes)
        self._needs.pop(name, None)
        if need > budget:
            raise OutOfMemory(
                f"{name} needs {need / GIB:.2f} GiB of memory; {budget / GIB:.2f} GiB is there.",
                hint="Pick a smaller model, or raise STUDIO_MEMORY.",
            )
        for other in [key for key, resident in self._residents.items() if not resident.leases]:
            if self.bytes + need <= budget:
                return
            del self._residents[other]
            need = self._need(name)  # what it shared with the one that left has to be read now


def _held(residents: Iterable[_Resident]) -> int:
    """Bytes of these models, networks that several have counted once."""
    bundles = [resident.bundle for resident in residents]
    parts: dict[int, int] = {}
    for bundle in bundles:
        parts.update(bundle.parts)
    banks = [bank.bytes for bundle in bundles for bank in bundle.banks.values()]
    return sum(parts.values()) + sum(banks)
