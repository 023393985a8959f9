"""What can be picked, as rows of plain data. To add one, add a row; nothing else changes.

Imports nothing heavy: the page, the API and the command line read these rows without torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Family:
    """A model architecture and the defaults a request gets when it leaves a field out.

    `size`: native width and height in px. `context`: width of the text rows (UNet `cross_attention_dim`),
    by which weights files are told apart. `gib`: fp16 weights of the whole pipeline in GiB.
    """

    label: str
    size: int
    context: int
    steps: int
    guidance: float
    scheduler: str
    sizes: tuple[tuple[int, int], ...]
    gib: float
    advice: str
    advice_zh: str


@dataclass(frozen=True)
class Backend:
    """How a model's networks are run. `dtype`: of the weights PyTorch holds. `package`: what it needs."""

    label: str
    dtype: str
    devices: tuple[str, ...]
    package: str = ""


BACKENDS: Mapping[str, Backend] = {
    "float32": Backend("PyTorch float32, exact", "float32", ("cpu", "cuda", "mps")),
    "bfloat16": Backend("PyTorch bfloat16", "bfloat16", ("cpu", "cuda")),
    "float16": Backend("PyTorch float16", "float16", ("cuda",)),
    "int8": Backend("PyTorch, weights in 8 bits", "bfloat16", ("cpu", "cuda")),
    "openvino": Backend("OpenVINO, bfloat16 where the CPU has it", "bfloat16", ("cpu",), "openvino"),
    "openvino-int8": Backend("OpenVINO, UNet in 8 bits", "bfloat16", ("cpu",), "nncf"),
}

FAMILIES: Mapping[str, Family] = {
    "pocket": Family(
        "Pocket", 128, 160, 20, 3.0, "ddim",
        ((128, 128), (160, 128), (128, 160), (192, 128), (128, 192)),
        0.06,
        "Our own small model. Ships with the studio, runs on any machine, knows 16 products.",
        "内置小模型，随软件附带，任何电脑都能运行，认识 16 种产品。",
    ),
    "sd15": Family(
        "Stable Diffusion 1.5", 512, 768, 30, 7.5, "pndm",
        ((512, 512), (640, 512), (512, 640), (768, 512), (512, 768)),
        2.6,
        "The widest choice of LoRAs and ControlNets; fits 4 GB cards.",
        "LoRA 与 ControlNet 生态最丰富，4 GB 显存即可。",
    ),
    "sd21": Family(
        "Stable Diffusion 2.1", 768, 1024, 30, 7.5, "ddim",
        ((768, 768), (896, 640), (640, 896), (1024, 576), (576, 1024)),
        3.3,
        "Cleaner scenes at 768 px; fewer LoRAs exist. Wants 6 GB.",
        "768 像素画面更干净，LoRA 较少，建议 6 GB 显存。",
    ),
    "sdxl": Family(
        "Stable Diffusion XL", 1024, 2048, 30, 6.0, "euler",
        ((1024, 1024), (1152, 896), (896, 1152), (1216, 832), (832, 1216)),
        6.6,
        "Best detail and text following at 1024 px. Wants 8 GB or more.",
        "1024 像素细节与语义最佳，建议 8 GB 以上显存。",
    ),
}


@dataclass(frozen=True)
class Scheduler:
    """`steps`: advised number of steps, low to high. `options` go over the checkpoint's pristine config."""

    label: str
    diffusers_class: str
    steps: tuple[int, int]
    advice: str
    advice_zh: str
    options: Mapping[str, Any] = field(default_factory=dict)
    a1111: str = ""  # sampler name that other tools write


SCHEDULERS: Mapping[str, Scheduler] = {
    "ddim": Scheduler(
        "DDIM", "DDIMScheduler", (20, 50),
        "Deterministic and steady; good for img2img and for comparing prompts.",
        "确定性采样，稳定，适合图生图与提示词对比。", a1111="DDIM",
    ),
    "pndm": Scheduler(
        "PNDM", "PNDMScheduler", (20, 50),
        "The classic default of SD 1.5; one extra UNet call at the start.",
        "SD 1.5 的经典默认采样器。", {"skip_prk_steps": True}, a1111="PLMS",
    ),
    "euler-ancestral": Scheduler(
        "Euler a", "EulerAncestralDiscreteScheduler", (20, 40),
        "Fresh noise at each step: lively, varied pictures; more steps change the picture.",
        "每步加入新噪声，画面更活泼多样；步数会改变画面。", a1111="Euler a",
    ),
    "euler": Scheduler(
        "Euler", "EulerDiscreteScheduler", (20, 40),
        "Simple and quick, few surprises.", "简单快速，结果稳定。", a1111="Euler",
    ),
    "heun": Scheduler(
        "Heun", "HeunDiscreteScheduler", (10, 25),
        "Two UNet calls a step: finer at few steps, twice the time.",
        "每步两次网络计算，低步数更精细，耗时加倍。", a1111="Heun",
    ),
    "lms": Scheduler(
        "LMS", "LMSDiscreteScheduler", (20, 50),
        "Linear multi-step; smooth, wants 20 steps or more.", "线性多步法，平滑，建议 20 步以上。",
        a1111="LMS",
    ),
    "ddpm": Scheduler(
        "DDPM", "DDPMScheduler", (50, 150),
        "The original method: best with many steps.", "最初的方法，需要较多步数。", a1111="DDPM",
    ),
    "dpmpp-2m": Scheduler(
        "DPM++ 2M", "DPMSolverMultistepScheduler", (15, 30),
        "Clean pictures in few steps; a good everyday choice.", "少步数即可得到干净画面，日常首选。",
        {"algorithm_type": "dpmsolver++", "solver_order": 2, "use_karras_sigmas": False}, a1111="DPM++ 2M",
    ),
    "dpmpp-2m-karras": Scheduler(
        "DPM++ 2M Karras", "DPMSolverMultistepScheduler", (15, 30),
        "As DPM++ 2M with more of its steps spent on detail.", "同 DPM++ 2M，更多步数用于细节。",
        {"algorithm_type": "dpmsolver++", "solver_order": 2, "use_karras_sigmas": True},
        a1111="DPM++ 2M Karras",
    ),
    "dpmpp-2m-sde": Scheduler(
        "DPM++ 2M SDE", "DPMSolverMultistepScheduler", (20, 40),
        "DPM++ with fresh noise at each step: richer texture.", "每步加噪的 DPM++，纹理更丰富。",
        {"algorithm_type": "sde-dpmsolver++", "solver_order": 2, "use_karras_sigmas": False},
        a1111="DPM++ 2M SDE",
    ),
    "unipc": Scheduler(
        "UniPC", "UniPCMultistepScheduler", (8, 20),
        "The fewest steps for a finished picture.", "用最少的步数得到完整画面。", a1111="UniPC",
    ),
    "deis": Scheduler(
        "DEIS", "DEISMultistepScheduler", (10, 25),
        "High order and quick; near DPM++ in look.", "高阶快速，效果接近 DPM++。", a1111="DEIS",
    ),
    "kdpm2": Scheduler(
        "DPM2", "KDPM2DiscreteScheduler", (15, 30),
        "Two UNet calls a step, precise.", "每步两次网络计算，精确。", a1111="DPM2",
    ),
    "kdpm2-ancestral": Scheduler(
        "DPM2 a", "KDPM2AncestralDiscreteScheduler", (15, 30),
        "DPM2 with fresh noise: varied and detailed, twice the time.",
        "带随机噪声的 DPM2，多样且细腻，耗时加倍。",
        a1111="DPM2 a",
    ),
    "lcm": Scheduler(
        "LCM", "LCMScheduler", (4, 8),
        "For distilled models and LCM LoRAs: 4 to 8 steps, guidance 1 to 2.",
        "用于蒸馏模型与 LCM LoRA：4–8 步，引导 1–2。", a1111="LCM",
    ),
}


@dataclass(frozen=True)
class Distilled:
    """A model trained down to few steps: defaults that replace its family's.

    `words`: phrases of a file's or folder's name that tell it. `size`: native px, 0 = the family's.
    `options`: of the scheduler config that a one-file checkpoint gets.
    """

    label: str
    words: tuple[str, ...]
    steps: int
    guidance: float
    scheduler: str
    diffusers_class: str
    size: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)


# Steps and guidance as their makers' model cards say. Guidance 1 is none: one UNet row a picture.
DISTILLED: Mapping[str, Distilled] = {
    "lcm": Distilled("LCM", (), 4, 8.0, "lcm", "LCMScheduler"),  # its UNet is told the guidance
    "lcm-lora": Distilled("LCM", ("lcm",), 6, 1.5, "lcm", "LCMScheduler"),
    "lightning": Distilled(
        "Lightning", ("lightning",), 4, 1.0, "euler", "EulerDiscreteScheduler",
        options={"timestep_spacing": "trailing"},
    ),
    "hyper": Distilled(
        "Hyper-SD", ("hyper", "hypersd"), 8, 1.0, "ddim", "DDIMScheduler",
        options={"timestep_spacing": "trailing"},
    ),
    "sd-turbo": Distilled(
        "Turbo", ("sd turbo", "sdxl turbo", "sd xl turbo"), 4, 1.0, "euler-ancestral",
        "EulerAncestralDiscreteScheduler", 512, {"timestep_spacing": "trailing"},
    ),
    "turbo": Distilled(
        "Turbo", ("turbo",), 6, 2.0, "euler-ancestral", "EulerAncestralDiscreteScheduler",
        options={"timestep_spacing": "trailing"},
    ),
}  # fmt: skip


@dataclass(frozen=True)
class ControlKind:
    """`low`, `high`: default hysteresis thresholds in 8-bit gradient units (as every other tool has them)."""

    label: str
    low: int
    high: int


CONTROLS: Mapping[str, ControlKind] = {"canny": ControlKind("Canny edges", 100, 200)}

FORMATS: Mapping[str, str] = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}

UPSCALERS: Mapping[str, str] = {"lanczos": "Lanczos"}

# What a colour of a brand's palette is for.
COLOUR_ROLES = ("primary", "secondary", "accent", "neutral", "background")

# Where a brand's logo stands: share of the free room to its left and above it.
LOGO_POSITIONS: Mapping[str, tuple[float, float]] = {
    "top-left": (0, 0), "top": (0.5, 0), "top-right": (1, 0),
    "left": (0, 0.5), "centre": (0.5, 0.5), "right": (1, 0.5),
    "bottom-left": (0, 1), "bottom": (0.5, 1), "bottom-right": (1, 1),
}  # fmt: skip
