"""A lower learning rate for each layer of a backbone that lies deeper: `model.layer_decay`."""

from typing import Any

from timm.models import group_parameters

from ibca_lightning.system.errors import InputError


def layer_scales(model: Any, name: str, decay: float) -> dict[str, float]:
    """By which multiple each parameter of a timm model learns, if each layer has `decay` times the rate of the next.

    The layers are timm's (`group_matcher`): of a ViT what comes before the blocks, then each block, the final norm
    with the last of them. Above lies the head, at 1, as in BEiT's and MAE's recipes.

    Args:
        model: Of timm.
        name: Of the model, for errors.
        decay: Above 0, below 1.

    Raises:
        InputError: timm does not know the layers of that model.
    """
    matcher = getattr(model, "group_matcher", None)
    layers = group_parameters(model, matcher(coarse=False), reverse=True) if matcher else {}
    if len(set(layers.values())) < 2:
        expected = "a backbone whose layers timm tells apart (group_matcher) for model.layer_decay"
        raise InputError(expected, name, "leave it out; --model.backbone_lr_scale is for all layers alike")
    above = max(layers.values()) + 1
    return {parameter: decay ** (above - layer) for parameter, layer in layers.items()}
