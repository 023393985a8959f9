"""The bank against PEFT: every row of a mixed call is what diffusers computes for that stack alone."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any

import pytest
import tiny
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from drive import Shelf
from torch import Tensor, nn

from studio.engine.lora import Adapter, Bank, Delta
from studio.engine.lora_files import read_adapter

STACKS: list[dict[str, float]] = [
    {},
    {"warm": 0.8},
    {"warm": 0.8, "cold": 0.3},
    {"cold": -1.5},
    {"warm": 0.0, "cold": 1.0},
]


@pytest.fixture
def unet() -> UNet2DConditionModel:
    return tiny.unet()


def call(unet: UNet2DConditionModel, rows: slice) -> Tensor:
    """Rows with noise, steps and text of their own, the same in every test."""
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(len(STACKS), 4, 8, 8, generator=generator)
    text = torch.randn(len(STACKS), 77, tiny.DIM, generator=generator)
    steps = torch.tensor([981, 500, 1, 250, 730])
    with torch.no_grad():
        output: Tensor = unet(latents[rows], steps[rows], encoder_hidden_states=text[rows]).sample
    return output


def banked(unet: UNet2DConditionModel, shelf: Shelf) -> Bank:
    bank = Bank(unet)
    for name, file in shelf.loras.items():
        bank.add(name, read_adapter(file, unet, [], "sd15"))
    return bank


def by_peft(shelf: Shelf, unet: UNet2DConditionModel, stack: Mapping[str, float], row: int) -> Tensor:
    pipe = StableDiffusionPipeline.from_pretrained(shelf.models["sd"], unet=unet, safety_checker=None)
    for name in stack:
        file = shelf.loras[name]
        pipe.load_lora_weights(file.parent, weight_name=file.name, adapter_name=name)
    if stack:
        pipe.set_adapters(list(stack), list(stack.values()))
    return call(pipe.unet, slice(row, row + 1))


def distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.filterwarnings("ignore:Already found a `peft_config` attribute")  # PEFT, at its second adapter
def test_rows_with_different_stacks_in_one_call_equal_peft_one_by_one(
    unet: UNet2DConditionModel, shelf: Shelf
) -> None:
    with banked(unet, shelf).weights(STACKS):
        mixed = call(unet, slice(None))
    plain = call(tiny.unet(), slice(None))
    for row, stack in enumerate(STACKS):
        wanted = by_peft(shelf, tiny.unet(), stack, row)
        assert distance(mixed[row : row + 1], wanted) < 1e-4
        if stack:
            assert distance(plain[row : row + 1], wanted) > 1e-2, "a stack must matter here"


def test_weight_zero_is_the_base_bit_for_bit(unet: UNet2DConditionModel, shelf: Shelf) -> None:
    plain = call(unet, slice(None))
    bank = banked(unet, shelf)
    with bank.weights([{"warm": 0.0, "cold": 0.0}] * len(STACKS)):
        assert torch.equal(call(unet, slice(None)), plain)
    assert torch.equal(call(unet, slice(None)), plain), "outside the block nothing is added"


def test_weights_end_with_their_block_when_the_call_fails(unet: UNet2DConditionModel, shelf: Shelf) -> None:
    plain = call(unet, slice(None))
    bank = banked(unet, shelf)
    with pytest.raises(ValueError, match="rows came"), bank.weights([{"warm": 1.0}] * 2):
        call(unet, slice(None))
    assert torch.equal(call(unet, slice(None)), plain)


def test_an_unknown_adapter_is_an_error_and_changes_nothing(unet: UNet2DConditionModel) -> None:
    with pytest.raises(KeyError), Bank(unet).weights([{"gone": 1.0}]):
        pass


def test_rows_may_come_several_times_over(unet: UNet2DConditionModel, shelf: Shelf) -> None:
    with banked(unet, shelf).weights([{"warm": 1.0}]):
        one = call(unet, slice(None))
    unbanked = tiny.unet()
    with banked(unbanked, shelf).weights([{"warm": 1.0}] * len(STACKS)):
        assert torch.equal(call(unbanked, slice(None)), one)


def test_the_checkpoint_is_untouched_while_and_after_twenty_adapters(
    unet: UNet2DConditionModel, shelf: Shelf
) -> None:
    before = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    classes = {name: type(module) for name, module in unet.named_modules()}
    plain = call(unet, slice(None))
    bank = Bank(unet)
    adapter = read_adapter(shelf.loras["cold"], unet, [], "sd15")
    for number in range(20):
        bank.add(f"style_{number}", adapter)
        with bank.weights([{f"style_{number}": 1.0}] * len(STACKS)):
            call(unet, slice(None))
    assert len(bank.names()) == 20
    assert same(unet, before), "names and values stay the checkpoint's own"
    for name in bank.names():
        bank.remove(name)
    assert same(unet, before) and bank.bytes == 0
    assert {name: type(module) for name, module in unet.named_modules()} == classes
    assert not any("stack" in vars(module) for module in unet.modules())
    assert torch.equal(call(unet, slice(None)), plain)


def same(unet: UNet2DConditionModel, before: Mapping[str, Tensor]) -> bool:
    now = unet.state_dict()
    return list(now) == list(before) and all(torch.equal(now[name], before[name]) for name in before)


def test_freed_columns_are_used_again_and_hold_nothing_of_the_last_adapter(
    unet: UNet2DConditionModel, shelf: Shelf
) -> None:
    bank = banked(unet, shelf)
    size = bank.bytes
    for _ in range(50):
        bank.remove("warm")
        bank.add("warm", read_adapter(shelf.loras["warm"], unet, [], "sd15"))
        bank.add("warm", read_adapter(shelf.loras["cold"], unet, [], "sd15"))  # there already: ignored
    assert bank.bytes == size
    with bank.weights([{"warm": 1.0}] * len(STACKS)):
        again = call(unet, slice(None))
    fresh = tiny.unet()
    with banked(fresh, shelf).weights([{"warm": 1.0}] * len(STACKS)):
        assert torch.equal(call(fresh, slice(None)), again)


def test_a_thousand_switches_leave_no_tensor_behind() -> None:
    network = nn.ModuleDict({"a": nn.Linear(8, 6), "b": nn.Conv2d(8, 6, 3)})
    bank = Bank(network)

    def switch(number: int) -> None:
        conv = Delta(torch.randn(4, 8, 3, 3), torch.randn(6, 4, 1, 1), 1.0)
        bank.add(f"style_{number}", Adapter({"unet": {"a": linear(1 + number % 20), "b": conv}}, 2, 2, ""))
        with bank.weights([{f"style_{number}": 1.0}]), torch.no_grad():
            network["a"](torch.randn(1, 8))
        bank.remove(f"style_{number}")

    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())

    for number in range(20):
        switch(number)
    before = tensors()
    for number in range(1000):
        switch(number)
    assert tensors() == before and bank.bytes == 0


def linear(rank: int, scale: float = 1.0, width: int = 8) -> Delta:
    return Delta(torch.randn(rank, width), torch.randn(6, rank), scale)


def added(delta: Delta, x: Tensor, weight: float) -> Tensor:
    return weight * delta.scale * (x @ delta.down.T @ delta.up.T)


def test_ranks_and_alphas_may_differ_from_module_to_module() -> None:
    network = nn.ModuleDict({"a": nn.Linear(8, 6), "b": nn.Linear(8, 6), "c": nn.Linear(8, 6)})
    first = {"a": linear(4, 0.5), "b": linear(20, 2.0)}
    second = {"b": linear(3, 0.0), "c": linear(8, 1 / 8)}
    bank = Bank(network)
    bank.add("first", Adapter({"unet": first}, 2, 2, ""))
    bank.add("second", Adapter({"unet": second}, 2, 2, ""))
    x = torch.randn(2, 5, 8)
    for name, module in network.items():
        wanted = nn.Linear.forward(module, x)
        for adapter, weights in ((first, (0.7, 0.0)), (second, (-1.0, 2.0))):
            if name in adapter:
                wanted = wanted + torch.stack([added(adapter[name], x[i], weights[i]) for i in range(2)])
        with bank.weights([{"first": 0.7, "second": -1.0}, {"second": 2.0}]), torch.no_grad():
            assert torch.allclose(module(x), wanted, atol=1e-5)
            if name != "a":
                assert torch.allclose(module(x[:, 0]), wanted[:, 0], atol=1e-5)


def test_the_bank_grows_in_fixed_sizes() -> None:
    network = nn.ModuleDict({"a": nn.Linear(8, 6)})
    bank = Bank(network)
    sizes = []
    for number in range(10):
        bank.add(f"style_{number}", Adapter({"unet": {"a": linear(8)}}, 1, 1, ""))
        module: Any = network["a"]
        sizes.append(len(module.stack.down))
    assert sizes == [16, 16, 32, 32, 64, 64, 64, 64, 128, 128]


def test_an_adapter_that_does_not_fit_leaves_nothing_behind() -> None:
    network = nn.ModuleDict({"a": nn.Linear(8, 6), "b": nn.Linear(8, 6)})
    bank = Bank(network)
    broken = Adapter({"unet": {"a": linear(4), "b": linear(4, width=9)}}, 2, 2, "")
    with pytest.raises(RuntimeError):
        bank.add("broken", broken)
    assert bank.names() == () and type(network["a"]) is nn.Linear and type(network["b"]) is nn.Linear


def test_stacks_follow_the_network_to_another_type() -> None:
    network = nn.ModuleDict({"a": nn.Linear(8, 6)})
    delta = linear(4)
    bank = Bank(network)
    bank.add("style", Adapter({"unet": {"a": delta}}, 1, 1, ""))
    network.to(torch.bfloat16)
    x = torch.randn(1, 8)
    with bank.weights([{"style": 1.0}]), torch.no_grad():
        given = network["a"](x.bfloat16())
    wanted = nn.Linear.forward(network["a"].float(), x) + added(delta, x, 1.0)
    assert given.dtype == torch.bfloat16
    assert torch.allclose(given.float(), wanted, rtol=0.05, atol=0.1)


def test_an_unused_module_costs_no_product(monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.ModuleDict({"a": nn.Linear(8, 6), "b": nn.Linear(8, 6)})
    bank = Bank(network)
    bank.add("one", Adapter({"unet": {"a": linear(4)}}, 1, 1, ""))
    bank.add("two", Adapter({"unet": {"b": linear(4)}}, 1, 1, ""))
    calls: list[int] = []
    plain = torch.nn.functional.linear

    def counted(*given: Any) -> Tensor:
        calls.append(1)
        return plain(*given)

    monkeypatch.setattr("torch.nn.functional.linear", counted)
    with bank.weights([{"one": 1.0, "two": 0.0}]):
        network["b"](torch.randn(1, 8))
    assert len(calls) == 1, "only the base product"


def test_text_encoder_parts_go_to_the_bank_of_their_encoder() -> None:
    network = nn.ModuleDict({"a": nn.Linear(8, 6)})
    bank = Bank(network, "text_encoder_2")
    delta = linear(4)
    bank.add("style", Adapter({"unet": {"x": linear(4)}, "text_encoder_2": {"a": delta}}, 2, 2, ""))
    x = torch.randn(1, 8)
    with bank.weights([{"style": 2.0}]), torch.no_grad():
        given, plain = network["a"](x), nn.Linear.forward(network["a"], x)
    assert torch.allclose(given, plain + added(delta, x, 2.0), atol=1e-5)
