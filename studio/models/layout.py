"""What a one-file checkpoint's networks are made of: told from tensor names and shapes alone, no torch.

The names are those of CompVis/latent-diffusion and Stability-AI/generative-models, as every tool writes them;
the configs are diffusers' own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from studio.errors import BadRequest

Shapes = Mapping[str, tuple[int, ...]]

MARK = "model.diffusion_model."
RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
BLOCK = (
    "attn1.to_out.0.weight", "attn1.to_out.0.bias", "attn2.to_out.0.weight", "attn2.to_out.0.bias",
    *(f"attn{number}.to_{kind}.weight" for number in (1, 2) for kind in "qkv"),
    *(f"ff.net.{place}.{kind}" for place in ("0.proj", "2") for kind in ("weight", "bias")),
    *(f"norm{number}.{kind}" for number in (1, 2, 3) for kind in ("weight", "bias")),
)  # fmt: skip
HEAD = 64  # channels of an attention head from SD 2 on; SD 1 has 8 heads whatever the width


@dataclass(frozen=True)
class Source:
    """Where a network's weight lies in the file.

    `third`: which of three stacked along the first axis. `transposed`: rows and columns change places.
    `flat`: a 1 x 1 convolution's (out, in, 1, 1) becomes a linear layer's (out, in).
    """

    key: str
    third: int | None = None
    transposed: bool = False
    flat: bool = False


@dataclass(frozen=True)
class Part:
    """A network: diffusers' (or transformers') config, and its weights' names -> where they lie."""

    config: dict[str, Any]
    sources: Mapping[str, Source]


@dataclass
class Draft:
    """Sources as they are found; `close` judges them."""

    shapes: Shapes
    sources: dict[str, Source] = field(default_factory=dict)

    def put(self, name: str, key: str, **turned: Any) -> None:
        self.sources[name] = Source(key, **turned)

    def pair(self, name: str, key: str) -> None:
        for kind in ("weight", "bias"):
            self.put(f"{name}.{kind}", f"{key}.{kind}")

    def close(self, part: str, prefixes: Iterable[str], spare: Iterable[str] = ()) -> Mapping[str, Source]:
        """Raises BadRequest: `model_incomplete` where weights lack, `model_unknown` where some are left over.

        `spare`: beginnings of keys that may lie there unused.
        """
        wanted = {source.key for source in self.sources.values()}
        lost = sorted(wanted - set(self.shapes))
        if lost:
            raise BadRequest(
                f"The checkpoint is not whole: its {part} lacks {len(lost)} of {len(wanted)} tensors, "
                f"first {lost[0][:120]}.",
                hint="Download the file again.",
                code="model_incomplete",
            )
        known, unused = tuple(prefixes), tuple(spare)
        extra = [
            key
            for key in self.shapes
            if key.startswith(known) and key not in wanted and not (unused and key.startswith(unused))
        ]
        if extra:
            raise unknown(
                f"{len(extra)} tensors of its {part} belong to no model we know, first {extra[0][:120]}"
            )
        return self.sources


def unknown(what: str) -> BadRequest:
    return BadRequest(
        f"This checkpoint is of a kind the studio does not run: {what}.",
        hint="SD 1.5, SD 2.1 and SDXL checkpoints and what is distilled or fine-tuned from them are read.",
        code="model_unknown",
    )


def shape_of(shapes: Shapes, key: str, axes: int) -> tuple[int, ...]:
    """Raises BadRequest (`model_incomplete`) when it is not there or has other axes."""
    shape = shapes.get(key, ())
    if len(shape) != axes or 0 in shape:
        raise BadRequest(
            f"The checkpoint is not whole: {key[:120]} is missing or has {len(shape)} axes, not {axes}.",
            hint="Download the file again.",
            code="model_incomplete",
        )
    return shape


def count(shapes: Shapes, pattern: str) -> int:
    """How many of `pattern` with 0, 1, 2 ... in place of its `*` have tensors, from 0 on without a gap."""
    before, _, after = pattern.partition("*")
    here = {key[len(before) :].split(".", 1)[0] for key in shapes if key.startswith(before) and after in key}
    number = 0
    while str(number) in here:
        number += 1
    return number


@dataclass(frozen=True)
class Levels:
    """The stages of one half of a UNet, outermost first: per stage, transformer blocks beside each resnet."""

    depths: tuple[tuple[int, ...], ...]
    widths: tuple[int, ...]


def read_unet(shapes: Shapes, heads: int | None, control: bool = False, mark: str = MARK) -> Part:
    """`heads`: attention heads of every stage, None = one for each 64 channels.

    `control`: the half of a UNet that a ControlNet has. `mark`: what its keys begin with.
    """
    draft = Draft(shapes)
    levels = _down(draft, mark)
    context = _context(shapes, mark, control)
    middle = _middle(draft, mark)
    up = None if control else _up(draft, mark, levels)
    draft.pair("conv_in", f"{mark}input_blocks.0.0")
    draft.pair("time_embedding.linear_1", f"{mark}time_embed.0")
    draft.pair("time_embedding.linear_2", f"{mark}time_embed.2")
    config = _unet_config(levels, middle, context, heads)
    config["in_channels"] = shape_of(shapes, f"{mark}input_blocks.0.0.weight", 4)[1]
    if up is not None:
        draft.pair("conv_norm_out", f"{mark}out.0")
        draft.pair("conv_out", f"{mark}out.2")
        config["out_channels"] = shape_of(shapes, f"{mark}out.2.weight", 4)[0]
        config["up_block_types"] = [
            "CrossAttnUpBlock2D" if any(depths) else "UpBlock2D" for depths in up.depths
        ]
        uneven = any(len(set(depths)) > 1 for depths in levels.depths)
        if uneven or [list(depths) for depths in up.depths] != _mirrored(levels):
            config["reverse_transformer_layers_per_block"] = [
                [depth or 1 for depth in depths] for depths in up.depths
            ]
    if context:
        _linear(draft, config, mark)
    _extras(draft, config, mark)
    if control:
        return Part(config, draft.sources)
    return Part(config, draft.close("UNet", [mark]))


def _mirrored(levels: Levels) -> list[list[int]]:
    """The up half that diffusers makes by itself from the down half: one resnet more in each stage."""
    return [[depths[0]] * (len(depths) + 1) for depths in reversed(levels.depths)]


def _unet_config(levels: Levels, middle: int | None, context: int, heads: int | None) -> dict[str, Any]:
    per_block = [len(depths) for depths in levels.depths]
    depths: list[Any] = [
        row[0] or 1 if len(set(row)) == 1 else [depth or 1 for depth in row] for row in levels.depths
    ]
    kinds = {None: None, 0: "UNetMidBlock2D"}
    if middle:
        if not any(levels.depths[-1]):
            depths[-1] = middle  # no attention in this stage: diffusers reads the middle's depth from it
        elif depths[-1] != middle:
            raise unknown(f"{middle} transformer blocks in its middle beside {depths[-1]} in its last stage")
    return {
        "_class_name": "UNet2DConditionModel",
        "act_fn": "silu",
        "attention_head_dim": heads or [max(1, width // HEAD) for width in levels.widths],
        "block_out_channels": list(levels.widths),
        "cross_attention_dim": context,
        "down_block_types": [
            "CrossAttnDownBlock2D" if any(row) else "DownBlock2D" for row in levels.depths
        ],
        "layers_per_block": per_block[0] if len(set(per_block)) == 1 else per_block,
        "mid_block_type": kinds.get(middle, "UNetMidBlock2DCrossAttn"),
        "norm_num_groups": 32,
        "transformer_layers_per_block": depths[0] if len(set(map(str, depths))) == 1 else depths,
    }  # fmt: skip


def _down(draft: Draft, mark: str) -> Levels:
    depths: list[list[int]] = [[]]
    widths: list[int] = []
    for number in range(1, count(draft.shapes, f"{mark}input_blocks.*.")):
        block = f"{mark}input_blocks.{number}"
        stage = f"down_blocks.{len(depths) - 1}"
        if f"{block}.0.op.weight" in draft.shapes:
            draft.pair(f"{stage}.downsamplers.0.conv", f"{block}.0.op")
            depths.append([])
            continue
        place = len(depths[-1])
        width = _resnet(draft, f"{stage}.resnets.{place}", f"{block}.0")
        widths[len(depths) - 1 :] = [width]
        depths[-1].append(_transformer(draft, f"{stage}.attentions.{place}", f"{block}.1"))
    if not all(depths) or any(0 in row and any(row) for row in depths):
        raise unknown("its stages are empty or mix resnets with and without attention")
    return Levels(tuple(map(tuple, depths)), tuple(widths))


def _up(draft: Draft, mark: str, down: Levels) -> Levels:
    depths: list[list[int]] = []
    widths: list[int] = []
    number = 0
    for place, stage in enumerate(reversed(down.depths)):
        depths.append([])
        for layer in range(len(stage) + 1):
            block, name = f"{mark}output_blocks.{number}", f"up_blocks.{place}"
            width = _resnet(draft, f"{name}.resnets.{layer}", f"{block}.0")
            depths[-1].append(_transformer(draft, f"{name}.attentions.{layer}", f"{block}.1"))
            for slot in (1, 2):  # the enlarging convolution comes after the attention, where there is one
                if f"{block}.{slot}.conv.weight" in draft.shapes:
                    draft.pair(f"{name}.upsamplers.0.conv", f"{block}.{slot}.conv")
            number += 1
        widths.append(width)
    return Levels(tuple(map(tuple, depths)), tuple(widths))


def _middle(draft: Draft, mark: str) -> int | None:
    """Transformer blocks in the middle; 0: resnet alone, None: no middle at all."""
    if f"{mark}middle_block.0.in_layers.0.weight" not in draft.shapes:
        return None
    _resnet(draft, "mid_block.resnets.0", f"{mark}middle_block.0")
    depth = _transformer(draft, "mid_block.attentions.0", f"{mark}middle_block.1")
    if depth:
        _resnet(draft, "mid_block.resnets.1", f"{mark}middle_block.2")
    return depth


def _resnet(draft: Draft, name: str, block: str) -> int:
    """Channels that come out of it."""
    for ours, theirs in RESNET.items():
        if ours != "conv_shortcut" or f"{block}.{theirs}.weight" in draft.shapes:
            draft.pair(f"{name}.{ours}", f"{block}.{theirs}")
    return shape_of(draft.shapes, f"{block}.out_layers.3.weight", 4)[0]


def _transformer(draft: Draft, name: str, block: str) -> int:
    """How many blocks it has; 0 where there is none."""
    depth = count(draft.shapes, f"{block}.transformer_blocks.*.")
    if depth:
        for leaf in ("norm", "proj_in", "proj_out"):
            draft.pair(f"{name}.{leaf}", f"{block}.{leaf}")
    for number in range(depth):
        for leaf in BLOCK:
            inside = f"transformer_blocks.{number}.{leaf}"
            draft.put(f"{name}.{inside}", f"{block}.{inside}")
    return depth


def _context(shapes: Shapes, mark: str, control: bool) -> int:
    """Width of the text rows that the UNet reads; 0 for the small ControlNets of SDXL, which read none."""
    widths = {
        shape[1]
        for key, shape in shapes.items()
        if key.startswith(mark) and key.endswith("attn2.to_k.weight") and len(shape) == 2
    }
    if control and not widths:
        return 0
    if len(widths) != 1:
        raise unknown(f"its UNet reads text rows of {len(widths)} widths")
    return widths.pop()


def _linear(draft: Draft, config: dict[str, Any], mark: str) -> None:
    """From SD 2 on the way into a transformer is a linear layer; before, a 1 x 1 convolution."""
    axes = {
        len(shape)
        for key, shape in draft.shapes.items()
        if key.startswith(mark) and key.endswith(".proj_in.weight")
    }
    if len(axes) != 1:
        raise unknown("its transformers are of two kinds")
    config["use_linear_projection"] = axes == {2}


def _extras(draft: Draft, config: dict[str, Any], mark: str) -> None:
    """Sizes and pooled text beside the time (SDXL), guidance told to the UNet (LCM)."""
    sizes = f"{mark}label_emb.0.0"
    if f"{sizes}.weight" in draft.shapes:
        draft.pair("add_embedding.linear_1", sizes)
        draft.pair("add_embedding.linear_2", f"{mark}label_emb.0.2")
        config |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": shape_of(draft.shapes, f"{sizes}.weight", 2)[1],
        }
    told = f"{mark}time_embed.cond_proj.weight"
    if told in draft.shapes:
        draft.put("time_embedding.cond_proj.weight", told)
        config["time_cond_proj_dim"] = shape_of(draft.shapes, told, 2)[1]
