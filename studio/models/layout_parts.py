"""The other networks of a one-file checkpoint: VAE and CLIP text encoders, in both ways they are written."""

from __future__ import annotations

from typing import Any

from studio.models.layout import HEAD, Draft, Part, Shapes, count, shape_of, unknown

VAE = "first_stage_model."
VAE_RESNET = {
    "norm1": "norm1",
    "conv1": "conv1",
    "norm2": "norm2",
    "conv2": "conv2",
    "conv_shortcut": "nin_shortcut",
}
OPEN_CLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
LAYER = (
    *(f"self_attn.{kind}_proj" for kind in ("q", "k", "v", "out")),
    "layer_norm1", "layer_norm2", "mlp.fc1", "mlp.fc2",
)  # fmt: skip
LAST_READ = 23  # layers of SD 2's text encoder that are used; the file holds one more


def read_vae(shapes: Shapes, scaling: float, side: int) -> Part:
    """`scaling`: factor between the VAE's values and the UNet's. `side`: px it was trained at."""
    draft = Draft(shapes)
    down, up = f"{VAE}encoder", f"{VAE}decoder"
    stages = count(shapes, f"{down}.down.*.block.")
    if not stages:
        raise unknown("it holds no VAE")
    layers = count(shapes, f"{down}.down.0.block.*.")
    for stage in range(stages):
        for layer in range(layers):
            _vae_resnet(
                draft, f"encoder.down_blocks.{stage}.resnets.{layer}", f"{down}.down.{stage}.block.{layer}"
            )
        for layer in range(layers + 1):
            name = f"decoder.up_blocks.{stages - 1 - stage}.resnets.{layer}"
            _vae_resnet(draft, name, f"{up}.up.{stage}.block.{layer}")
        if stage < stages - 1:
            draft.pair(
                f"encoder.down_blocks.{stage}.downsamplers.0.conv", f"{down}.down.{stage}.downsample.conv"
            )
        if stage > 0:
            name = f"decoder.up_blocks.{stages - 1 - stage}.upsamplers.0.conv"
            draft.pair(name, f"{up}.up.{stage}.upsample.conv")
    for half, mark in (("encoder", down), ("decoder", up)):
        draft.pair(f"{half}.conv_in", f"{mark}.conv_in")
        draft.pair(f"{half}.conv_norm_out", f"{mark}.norm_out")
        draft.pair(f"{half}.conv_out", f"{mark}.conv_out")
        for number in (0, 1):
            _vae_resnet(draft, f"{half}.mid_block.resnets.{number}", f"{mark}.mid.block_{number + 1}")
        _vae_attention(draft, f"{half}.mid_block.attentions.0", f"{mark}.mid.attn_1")
    for name in ("quant_conv", "post_quant_conv"):
        draft.pair(name, f"{VAE}{name}")
    widths = [shape_of(shapes, f"{down}.down.{stage}.block.0.conv1.weight", 4)[0] for stage in range(stages)]
    config = {
        "_class_name": "AutoencoderKL",
        "act_fn": "silu",
        "block_out_channels": widths,
        "down_block_types": ["DownEncoderBlock2D"] * stages,
        "in_channels": 3,
        "latent_channels": shape_of(shapes, f"{up}.conv_in.weight", 4)[1],
        "layers_per_block": layers,
        "norm_num_groups": 32,
        "out_channels": 3,
        "sample_size": side,
        "scaling_factor": scaling,
        "up_block_types": ["UpDecoderBlock2D"] * stages,
    }
    # Trainers leave their discriminator (`loss`) and a moving average in the file.
    return Part(config, draft.close("VAE", [down, up, f"{VAE}quant", f"{VAE}post_quant"]))


def _vae_resnet(draft: Draft, name: str, block: str) -> None:
    for ours, theirs in VAE_RESNET.items():
        if ours != "conv_shortcut" or f"{block}.{theirs}.weight" in draft.shapes:
            draft.pair(f"{name}.{ours}", f"{block}.{theirs}")


def _vae_attention(draft: Draft, name: str, block: str) -> None:
    draft.pair(f"{name}.group_norm", f"{block}.norm")
    for ours, theirs in {"to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}.items():
        key = f"{block}.{theirs}"
        draft.put(
            f"{name}.{ours}.weight", f"{key}.weight", flat=len(draft.shapes.get(f"{key}.weight", ())) == 4
        )
        draft.put(f"{name}.{ours}.bias", f"{key}.bias")


def read_clip(shapes: Shapes, prefix: str) -> Part:
    """A text encoder as transformers writes it, without projection: SD 1, the first of SDXL."""
    inner = "text_model." if f"{prefix}text_model.final_layer_norm.weight" in shapes else ""
    mark = f"{prefix}{inner}"
    draft = Draft(shapes)
    for name in ("embeddings.token_embedding.weight", "embeddings.position_embedding.weight"):
        draft.put(name, f"{mark}{name}")
    draft.pair("final_layer_norm", f"{mark}final_layer_norm")
    layers = count(shapes, f"{mark}encoder.layers.*.")
    for layer in range(layers):
        for leaf in LAYER:
            draft.pair(f"encoder.layers.{layer}.{leaf}", f"{mark}encoder.layers.{layer}.{leaf}")
    config = _text_config(
        shapes, f"{mark}embeddings.token_embedding.weight", f"{mark}embeddings.position_embedding.weight"
    )
    config |= {
        "architectures": ["CLIPTextModel"],
        "hidden_act": "quick_gelu",
        "intermediate_size": shape_of(shapes, f"{mark}encoder.layers.0.mlp.fc1.weight", 2)[0],
        "num_hidden_layers": layers,
        "projection_dim": config["hidden_size"],
    }
    return Part(config, draft.close("text encoder", [mark], spare=[f"{mark}embeddings.position_ids"]))


def read_open_clip(shapes: Shapes, prefix: str, projected: bool) -> Part:
    """A text encoder as open_clip writes it. `projected`: with the projection that SDXL reads."""
    draft = Draft(shapes)
    draft.put("embeddings.token_embedding.weight", f"{prefix}token_embedding.weight")
    draft.put("embeddings.position_embedding.weight", f"{prefix}positional_embedding")
    draft.pair("final_layer_norm", f"{prefix}ln_final")
    there = count(shapes, f"{prefix}transformer.resblocks.*.")
    layers = there if projected else min(there, LAST_READ)
    for layer in range(layers):
        ours, theirs = f"encoder.layers.{layer}", f"{prefix}transformer.resblocks.{layer}"
        for leaf, their in OPEN_CLIP.items():
            draft.pair(f"{ours}.{leaf}", f"{theirs}.{their}")
        for third, kind in enumerate("qkv"):
            for what in ("weight", "bias"):
                key = f"{theirs}.attn.in_proj_{what}"
                draft.put(f"{ours}.self_attn.{kind}_proj.{what}", key, third=third)
    config = _text_config(shapes, f"{prefix}token_embedding.weight", f"{prefix}positional_embedding")
    config |= {
        "architectures": ["CLIPTextModelWithProjection" if projected else "CLIPTextModel"],
        "hidden_act": "gelu",
        "intermediate_size": shape_of(shapes, f"{prefix}transformer.resblocks.0.mlp.c_fc.weight", 2)[0],
        "num_hidden_layers": layers,
        "projection_dim": config["hidden_size"],
    }
    if projected:
        draft.put("text_projection.weight", f"{prefix}text_projection", transposed=True)
        config["projection_dim"] = shape_of(shapes, f"{prefix}text_projection", 2)[1]
    spare = [
        f"{prefix}transformer.resblocks.{LAST_READ}.",
        f"{prefix}text_projection",
        f"{prefix}logit_scale",
        f"{prefix}attn_mask",
    ]
    return Part(config, draft.close("text encoder", [prefix], spare=spare))


def _text_config(shapes: Shapes, words: str, places: str) -> dict[str, Any]:
    vocabulary, width = shape_of(shapes, words, 2)
    return {
        "attention_dropout": 0.0,
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
        "hidden_size": width,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": shape_of(shapes, places, 2)[0],
        "model_type": "clip_text_model",
        "num_attention_heads": max(1, width // HEAD),
        "pad_token_id": 1,
        "vocab_size": vocabulary,
    }
