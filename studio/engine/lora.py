"""All LoRAs of a network at once: `y = W x + B((A x) * s)`, where `s` has a row for each row of the batch.

Base weights are never changed and nothing is patched for a request: a stack is a row of numbers. One pair of
small products serves every stack in the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FIRST_SIZE = 16  # columns of a bank's first size; it doubles from there, so shapes change seldom


@dataclass(frozen=True)
class Delta:
    """What an adapter adds to one Linear or Conv2d: `up @ down * scale`.

    `down`: (rank, in), for a convolution (rank, in, height, width) with the base's kernel.
    `up`: (out, rank), for a convolution (out, rank, 1, 1). `scale`: alpha / rank.
    """

    down: Tensor
    up: Tensor
    scale: float

    @property
    def rank(self) -> int:
        return int(self.down.shape[0])


@dataclass(frozen=True)
class Adapter:
    """A LoRA file that was read, converted and checked against a model.

    `parts`: "unet", "text_encoder", "text_encoder_2" -> module path -> delta.
    `matched` of `total`: modules of the file that the model has.
    `base`: family the file was made for, "" where it does not show.
    """

    parts: Mapping[str, Mapping[str, Delta]]
    matched: int
    total: int
    base: str

    @property
    def rank(self) -> int:
        return max(delta.rank for part in self.parts.values() for delta in part.values())

    @property
    def bytes(self) -> int:
        deltas = [delta for part in self.parts.values() for delta in part.values()]
        return sum(tensor.nbytes for delta in deltas for tensor in (delta.down, delta.up))


@dataclass
class _Use:
    """What the coming call uses: shared by all modules of a bank.

    `scales`: (rows, columns) or None while no weight differs from zero. `begin`, `end`: the columns in use.
    `names`: the adapters in use.
    """

    scales: Tensor | None = None
    begin: int = 0
    end: int = 0
    names: frozenset[str] = frozenset()


@dataclass
class _Stack:
    """The stacked tensors of one module. `down`: (R, in, ...), `up`: (out, R, ...)."""

    plain: type[nn.Module]
    use: _Use
    down: Tensor
    up: Tensor
    owners: set[str] = field(default_factory=set)

    def scales_for(self, x: Tensor) -> Tensor | None:
        """(len(x), columns in use) in the type of `x`; None where this module has nothing to add."""
        if self.use.scales is None or self.owners.isdisjoint(self.use.names):
            return None
        scales = self.use.scales = self.use.scales.to(x)  # kept: a copy to the device for each module adds up
        if len(x) == len(scales):
            return scales
        if len(x) % len(scales):
            raise ValueError(f"{len(x)} rows came where LoRA weights for {len(scales)} were set")
        return scales.repeat_interleave(len(x) // len(scales), dim=0)

    def columns(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`down` and `up` of the columns in use. The tensors follow the network to another device or type."""
        if self.down.device != x.device or self.down.dtype != x.dtype:
            self.down, self.up = self.down.to(x), self.up.to(x)
        begin, end = self.use.begin, self.use.end
        return self.down[begin:end], self.up[:, begin:end]


class BankedLinear(nn.Linear):
    stack: _Stack

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.stack.plain.forward(self, x)
        scales = self.stack.scales_for(x)
        if scales is None:
            return y
        down, up = self.stack.columns(x)
        low = F.linear(x, down)
        return y + F.linear(low * scales.view(len(x), *[1] * (x.ndim - 2), -1), up)


class BankedConv2d(nn.Conv2d):
    stack: _Stack

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.stack.plain.forward(self, x)
        scales = self.stack.scales_for(x)
        if scales is None:
            return y
        down, up = self.stack.columns(x)
        low = self._conv_forward(x, down, None)  # the base's own stride, padding and dilation
        return y + F.conv2d(low * scales[:, :, None, None], up)


class Bank:
    """All resident adapters of one network.

    `part`: which part of an adapter it takes: "unet", "text_encoder" or "text_encoder_2".
    A targeted module changes its class, not its place, name or weights, so `state_dict` stays the
    checkpoint's own; removing the last adapter of a module gives it its class back.
    Not for several threads at once.
    """

    def __init__(self, network: nn.Module, part: str = "unet") -> None:
        self._modules = dict(network.named_modules())
        self._part = part
        self._use = _Use()
        self.size = 0  # columns
        self.version = 0  # another one after each change of what is resident
        self._blocks: dict[str, tuple[int, int]] = {}  # name -> its columns, begin and end
        self._scales: dict[str, float] = {}  # name -> alpha / rank of its modules
        self._banked: dict[str, BankedLinear | BankedConv2d] = {}

    def names(self) -> tuple[str, ...]:
        return tuple(self._blocks)

    @property
    def bytes(self) -> int:
        stacks = [module.stack for module in self._banked.values()]
        return sum(stack.down.nbytes + stack.up.nbytes for stack in stacks)

    @torch.inference_mode()
    def add(self, name: str, adapter: Adapter) -> None:
        """Does nothing where the name is there. An adapter without this part gets a name and no columns."""
        if name in self._blocks:
            return
        try:
            self._add(name, adapter)
        except BaseException:
            self.remove(name)
            raise

    def _add(self, name: str, adapter: Adapter) -> None:
        deltas = adapter.parts.get(self._part, {})
        rank = max((delta.rank for delta in deltas.values()), default=0)
        begin = self._free_columns(rank)
        self.version += 1
        # Half precision has little room for B / 128: alpha / rank goes into `s`, and only what differs from
        # module to module goes into the columns.
        common = next((delta.scale for delta in deltas.values()), 1.0) or 1.0
        self._blocks[name], self._scales[name] = (begin, begin + rank), common
        for path, delta in deltas.items():
            stack = self._banked_at(path).stack
            end = begin + delta.rank
            stack.down[begin:end].copy_(delta.down.reshape(delta.rank, *stack.down.shape[1:]))
            up = delta.up if delta.scale == common else delta.up.float() * (delta.scale / common)
            stack.up[:, begin:end].copy_(up.reshape(-1, delta.rank, *stack.up.shape[2:]))
            stack.owners.add(name)

    @torch.inference_mode()
    def remove(self, name: str) -> None:
        """Does nothing where the name is not there."""
        if name not in self._blocks:
            return
        begin, end = self._blocks.pop(name)
        del self._scales[name]
        self.version += 1
        for path, module in list(self._banked.items()):
            stack = module.stack
            stack.down[begin:end].zero_()
            stack.up[:, begin:end].zero_()
            stack.owners.discard(name)
            if not stack.owners:
                self._restore(path)
        if not self._banked:
            self.size = 0

    @contextmanager
    def weights(self, rows: Sequence[Mapping[str, float]]) -> Iterator[None]:
        """Within the block, row i of each call gets the adapters `rows[i]`: name -> weight.

        Raises KeyError for a name that was not added. A call whose first dimension is a multiple of
        `len(rows)` gets each mapping that many times in a row.
        """
        before = vars(self._use).copy()
        vars(self._use).update(vars(self._use_of(rows)))
        try:
            yield
        finally:
            vars(self._use).update(before)

    def scales(self, rows: Sequence[Mapping[str, float]]) -> Tensor | None:
        """(rows, size) float32: what each column counts in each row; None where nothing is to be added."""
        if not any(self._blocks[name][1] > self._blocks[name][0] for name in _wanted(rows)):
            return None
        scales = torch.zeros(len(rows), self.size)
        for index, row in enumerate(rows):
            for name, weight in row.items():
                begin, end = self._blocks[name]
                scales[index, begin:end] = weight * self._scales[name]
        return scales

    def stacks(self) -> Mapping[str, tuple[Tensor, Tensor]]:
        """Module path -> its `down` (size, in, ...) and `up` (out, size, ...), in the order of the paths."""
        stacks = {path: self._banked[path].stack for path in sorted(self._banked)}
        return {path: (stack.down, stack.up) for path, stack in stacks.items()}

    def _use_of(self, rows: Sequence[Mapping[str, float]]) -> _Use:
        scales, wanted = self.scales(rows), _wanted(rows)
        if scales is None:
            return _Use()
        blocks = [self._blocks[name] for name in wanted]
        blocks = [(begin, end) for begin, end in blocks if end > begin]
        first, last = min(begin for begin, _ in blocks), max(end for _, end in blocks)
        return _Use(scales[:, first:last], first, last, frozenset(wanted))

    def _free_columns(self, rank: int) -> int:
        """Where `rank` columns begin: the first gap they fit in, else the end, grown to the next size."""
        begin = 0
        for start, end in sorted(self._blocks.values()):
            if start - begin >= rank:
                return begin
            begin = max(begin, end)
        size = self.size or FIRST_SIZE
        while size < begin + rank:
            size *= 2
        if rank and size != self.size:
            self._grow(size)
        return begin

    def _grow(self, size: int) -> None:
        for module in self._banked.values():
            stack = module.stack
            down = stack.down.new_zeros(size, *stack.down.shape[1:])
            up = stack.up.new_zeros(len(stack.up), size, *stack.up.shape[2:])
            down[: self.size], up[:, : self.size] = stack.down, stack.up
            stack.down, stack.up = down, up
        self.size = size

    def _banked_at(self, path: str) -> BankedLinear | BankedConv2d:
        if path not in self._banked:
            module: Any = self._modules[path]
            down, up = _empty(module, self.size)
            module.stack = _Stack(type(module), self._use, down, up)
            module.__class__ = BankedConv2d if isinstance(module, nn.Conv2d) else BankedLinear
            self._banked[path] = module
        return self._banked[path]

    def _restore(self, path: str) -> None:
        module: Any = self._banked.pop(path)
        module.__class__ = module.stack.plain
        del module.stack


def _wanted(rows: Sequence[Mapping[str, float]]) -> set[str]:
    return {name for row in rows for name, weight in row.items() if weight}


def _empty(module: nn.Module, size: int) -> tuple[Tensor, Tensor]:
    """Zero columns where the module's weight is; in its type unless that is for storage only (int8, fp8)."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    working = weight.dtype in (torch.float32, torch.float16, torch.bfloat16)
    empty = weight.new_zeros if working else weight.float().new_zeros
    return empty(size, *weight.shape[1:]), empty(len(weight), size, *[1] * len(weight.shape[2:]))
