"""A ControlNet in one file, in its makers' names or in diffusers': told from names and shapes, no torch.

Source of the makers' names: lllyasviel/ControlNet, cldm/cldm.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from studio.models.layout import RESNET, Draft, Part, Shapes, Source, count, read_unet, shape_of, unknown

MARK = "control_model."  # what the makers' keys begin with; files for one tool or another leave it out
OURS, THEIRS = "controlnet_cond_embedding.", "input_hint_block."
CONTROL_LORA = "lora_controlnet"  # a key that only those have
BLOCK = re.compile(r"down_blocks\.(\d{1,3})\.(resnets|attentions|downsamplers)\.(\d{1,3})\.(.+)")
OUTER = {
    "conv_in.": "input_blocks.0.0.",
    "time_embedding.linear_1.": "time_embed.0.", "time_embedding.linear_2.": "time_embed.2.",
    "add_embedding.linear_1.": "label_emb.0.0.", "add_embedding.linear_2.": "label_emb.0.2.",
    "mid_block.resnets.0.": "middle_block.0.", "mid_block.attentions.0.": "middle_block.1.",
    "mid_block.resnets.1.": "middle_block.2.", "controlnet_mid_block.": "middle_block_out.0.",
}  # fmt: skip
NUMBERED = re.compile(r"(controlnet_down_blocks|controlnet_cond_embedding\.blocks)\.(\d{1,3})\.(\w+)")


def is_control(names: Iterable[str]) -> bool:
    """Whether a file with these tensors is a ControlNet: it has layers that read the picture."""
    return any(name.startswith((OURS, THEIRS, MARK + THEIRS)) for name in names)


def read_control(shapes: Shapes) -> Part:
    """Config as ControlNetModel wants it, save for what no weight tells: heads and groups are its UNet's.

    Raises BadRequest (`model_unknown`, `model_incomplete`).
    """
    if CONTROL_LORA in shapes:
        raise unknown("it is a Control-LoRA, which holds only a difference from another network")
    names = _their_names(shapes)
    turned = {theirs: shapes[name] for theirs, name in names.items()}
    mark = MARK if any(name.startswith(MARK) for name in turned) else ""
    part = read_unet(turned, heads=8, control=True, mark=mark)
    draft = Draft(turned, dict(part.sources))
    for number in range(count(turned, f"{mark}input_blocks.*.")):
        draft.pair(f"controlnet_down_blocks.{number}", f"{mark}zero_convs.{number}.0")
    draft.pair("controlnet_mid_block", f"{mark}middle_block_out.0")
    config = part.config | {"_class_name": "ControlNetModel", **_eyes(draft, f"{mark}{THEIRS}")}
    sources = draft.close("ControlNet", [mark])
    if (config["in_channels"], config["conditioning_channels"]) != (4, 3):
        raise unknown(
            f"its ControlNet reads {config['in_channels']} channels of latents and "
            f"{config['conditioning_channels']} of a picture, where 4 and 3 are normal"
        )
    return Part(config, {name: Source(names[source.key]) for name, source in sources.items()})


def _eyes(draft: Draft, hint: str) -> dict[str, object]:
    """The convolutions that read the picture: every other one in their middle changes width and halves."""
    places = [0]
    while f"{hint}{places[-1] + 2}.weight" in draft.shapes:
        places.append(places[-1] + 2)
    first, *blocks, last = places if len(places) > 1 else (0, 2)
    draft.pair(f"{OURS}conv_in", f"{hint}{first}")
    for number, place in enumerate(blocks):
        draft.pair(f"{OURS}blocks.{number}", f"{hint}{place}")
    draft.pair(f"{OURS}conv_out", f"{hint}{last}")
    shape = [shape_of(draft.shapes, f"{hint}{place}.weight", 4) for place in (first, *blocks[1::2])]
    return {
        "conditioning_channels": shape[0][1],
        "conditioning_embedding_out_channels": [width for width, *_ in shape],
    }


def _their_names(shapes: Shapes) -> dict[str, str]:
    """Each tensor's name as the makers write it -> its name in the file."""
    if not any(name.startswith(OURS) for name in shapes):
        return {name: name for name in shapes}
    starts, place = [], 1  # the number at which each stage begins; a stage's change of size has one too
    for stage in range(count(shapes, "down_blocks.*.")):
        starts.append(place)
        place += count(shapes, f"down_blocks.{stage}.resnets.*.") + 1
    hints = count(shapes, f"{OURS}blocks.*.")
    return {_their_name(name, starts, hints): name for name in shapes}


def _their_name(name: str, starts: list[int], hints: int) -> str:
    """`name` itself where nobody would write it so: `close` then refuses it."""
    if (found := BLOCK.fullmatch(name)) and int(found[1]) < len(starts):
        stage, kind, layer, leaf = int(found[1]), found[2], int(found[3]), found[4]
        if kind == "downsamplers":
            last = (starts[1:] + [0])[stage] - 1
            return f"input_blocks.{last}.0.op.{leaf.removeprefix('conv.')}"
        block = f"input_blocks.{starts[stage] + layer}"
        return f"{block}.1.{leaf}" if kind == "attentions" else f"{block}.0.{_resnet_leaf(leaf)}"
    if found := NUMBERED.fullmatch(name):
        if found[1] == "controlnet_down_blocks":
            return f"zero_convs.{found[2]}.0.{found[3]}"
        return f"{THEIRS}{2 * int(found[2]) + 2}.{found[3]}"
    ends = {f"{OURS}conv_in.": f"{THEIRS}0.", f"{OURS}conv_out.": f"{THEIRS}{2 * hints + 2}."}
    for ours, theirs in (OUTER | ends).items():
        if name.startswith(ours):
            leaf = name.removeprefix(ours)
            return theirs + (_resnet_leaf(leaf) if "resnets" in ours else leaf)
    return name


def _resnet_leaf(leaf: str) -> str:
    layer, _, rest = leaf.rpartition(".")
    return f"{RESNET.get(layer, layer)}.{rest}"
