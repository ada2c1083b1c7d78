"""Every classifier of timm by its own name, `timm/NAME`, with weights drawn here: nothing is ever downloaded.

Source: Wightman, "PyTorch Image Models", https://github.com/huggingface/pytorch-image-models.
"""

from importlib import import_module
from typing import Any

from torch import nn

from db3.errors import ConfigError, nearest
from db3.extras import needs
from db3.networks.shapes import ImageShape

PREFIX = "timm/"


def timm_network(name: str, input_shape: ImageShape, classes: int) -> nn.Module:
    """Build a classifier of timm; its first layer takes the images' own channels.

    Networks that are made for one size of image (of attention, mostly) are made for this one, where timm can.

    Args:
        name: `timm/` and a name of `timm.list_models()`.
        input_shape: (C, H, W).
        classes: K.

    Raises:
        ConfigError: the extra `timm` is not installed, there is no such name, or it asks for a download.
        RuntimeError, TypeError, ValueError, AssertionError: timm cannot make it for such images.
    """
    with needs("timm", f"architecture {name}"):
        timm = import_module("timm")  # takes some seconds
    plain = _plain_name(name, timm.list_models())
    options: dict[str, Any] = {"pretrained": False, "num_classes": classes, "in_chans": input_shape[0]}
    described = timm.get_pretrained_cfg(plain)
    if described is not None and described.fixed_input_size:
        options["img_size"] = input_shape[1:]
    network: nn.Module = timm.create_model(plain, **options)
    return network


def _plain_name(name: str, known: list[str]) -> str:
    """The architecture alone; timm would take `resnet18.a1_in1k` and `hf-hub:…` for weights to be downloaded."""
    plain = name.removeprefix(PREFIX).partition(".")[0]
    if ":" in name or (plain in known and "." in name):
        told = f"take {PREFIX}{plain}" if plain in known else f"take {PREFIX} and a name of timm.list_models()"
        raise ConfigError(
            f"{name} names weights that timm would download, and db3 downloads none: {told}, and name a .safetensors "
            "file of this machine as distill.initial_weights"
        )
    if plain not in known:
        hint = nearest(plain, known, PREFIX)
        told = hint if hint.startswith("did you mean") else f"timm.list_models() lists all {len(known):,}"
        raise ConfigError(f"unknown architecture {name!r}; {told}")
    return plain
