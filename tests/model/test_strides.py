"""The map of every family of timm is as fine as was asked for: architecture alone, without weights or arithmetic."""

from typing import Any

import pytest
import torch

from ibca_lightning.model.backbone import Backbone
from ibca_lightning.system.errors import InputError

SIZE = 256
FAMILIES = """
    bat_resnext26ts coat_lite_tiny convmixer_768_32 cpubone_nano csatv2 cs3darknet_focus_m cspnext_tiny davit_tiny
    dla46x_c dpn48b edgenext_xx_small eca_halonext26ts efficientformer_l1 efficientformerv2_s0 efficientvim_m1
    efficientvit_b0 efficientvit_m0 fasternet_t0 fastvit_t8 focalnet_tiny_srf gcvit_xxtiny gernet_s ghostnet_050
    hardcorenas_b hgnetv2_b0 hrnet_w18_small iformer_t inception_next_atto inception_v3 jx_nest_tiny lcnetv2_small
    legacy_seresnet18 levit_128s lowformer_b0 mobilenetv3_small_050 mobilevit_xxs nextvit_small nf_regnet_b0
    poolformerv2_s12 pvt_v2_b0 rdnet_tiny regnety_002 repghostnet_050 repvit_m0_9 res2net50_26w_4s resnest14d
    resnetv2_18 rexnet_100 sam2_hiera_tiny selecsls42 shvit_s1 skresnet18 starnet_s050 swiftformer_xs
    swin_tiny_patch4_window7_224 swinv2_cr_tiny_224 test_convnext test_efficientnet test_mambaout test_resnet test_vit
    tinynet_e tiny_vit_5m_224 tresnet_m vgg11 visformer_tiny ese_vovnet19b_dw xception41
"""


class Watched(Backbone):
    """Keeps what it gave when it was probed: to run it again would take a third of the time."""

    def _dry_run(self, *arguments: Any, **options: Any) -> Any:
        output = super()._dry_run(*arguments, **options)
        self.__dict__["probed"] = output
        return output


def rows(name: str, size: int, stride: int) -> int:
    with torch.device("meta"):
        shape = vars(Watched(name, pretrained=False, feature_stride=stride, image_size=size))["probed"].shape
    assert shape[2] == shape[3]
    return int(shape[2])


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES.split())
def test_no_family_gives_a_coarser_map_than_was_asked_for(name: str) -> None:
    lost = 2 if name.startswith("inception_v3") else 0  # at the borders: its convolutions are not padded
    size = 224 if name == "efficientformer_l1" else SIZE  # its attention has the size of its pictures
    assert rows(name, size, 32) >= size // 32 - lost


@pytest.mark.parametrize("size", [64, 224, 256, 384])
def test_vgg_gives_the_map_before_its_last_convolution_at_any_size(size: int) -> None:
    """That convolution of 7 x 7 made 1 x 1 of 7 x 7 cells, and 2 x 2 of 8 x 8."""
    assert rows("vgg11", size, 32) == size // 32
    assert rows("vgg11", size, 16) == size // 16


def test_a_map_that_is_far_coarser_is_refused() -> None:
    with pytest.raises(InputError, match=r"inception_v3 with a cell for each 32 pixels of 96, got 1 x 1 cells"):
        rows("inception_v3", 96, 32)
