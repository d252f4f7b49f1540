"""Architectures of published weights that timm has under no name: importing this file adds them to timm's.

So they are built, sized, listed and recorded in a checkpoint as any other model of timm.
"""

from typing import Any

from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import SwiGLUPacked  # type: ignore[attr-defined]
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import nn

_CHEXFOUND = "vit_large_patch16_reg4_chexfound"

default_cfgs = generate_default_cfgs(  # where timm looks for it
    {
        _CHEXFOUND: {
            "input_size": (3, 512, 512), "mean": IMAGENET_DEFAULT_MEAN, "std": IMAGENET_DEFAULT_STD, "num_classes": 0,
            "crop_pct": 1.0, "first_conv": "patch_embed.proj", "classifier": "head",
        }
    }
)  # fmt: skip


@register_model
def vit_large_patch16_reg4_chexfound(pretrained: bool = False, **options: Any) -> nn.Module:
    """CheXFound's ViT-L: DINOv2's with patches of 16 pixels, four registers, and SwiGLU in place of its MLP.

    From its repository's training configuration (`vitl16_ibot333_highres512.yaml`). DINOv2 makes the hidden layer two
    thirds as wide, a multiple of 8: 2736; timm counts both halves.
    """
    own: dict[str, Any] = {
        "patch_size": 16, "embed_dim": 1024, "depth": 24, "num_heads": 16, "init_values": 1e-5, "reg_tokens": 4,
        "no_embed_class": True, "mlp_layer": SwiGLUPacked, "mlp_ratio": 2 * 2736 / 1024, "act_layer": nn.SiLU,
    }  # fmt: skip
    model: nn.Module = build_model_with_cfg(
        VisionTransformer, _CHEXFOUND, pretrained, pretrained_filter_fn=checkpoint_filter_fn,
        feature_cfg={"out_indices": 3, "feature_cls": "getter"}, **(own | options),
    )  # fmt: skip
    return model
