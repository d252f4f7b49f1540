"""Data modules as the command line makes them."""

import subprocess
import sys

import albumentations as A
import pytest
from jsonargparse import ArgumentParser

from ibca_lightning.data import CSVDataModule, Endo, MultiLabelDataModule, MuReD


def parsed(yaml: str) -> MultiLabelDataModule:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(MultiLabelDataModule, "data")
    data: MultiLabelDataModule = parser.instantiate(parser.parse_string(yaml)).data
    return data


@pytest.mark.parametrize("kind", [CSVDataModule, MuReD, Endo])
def test_common_arguments_and_augmentations_come_from_yaml(kind: type[MultiLabelDataModule]) -> None:
    module = parsed(f"""
data:
  class_path: {kind.__name__}
  init_args:
    root: '0012'
    batch_size: 3
    resize: pad
    augment:
      - class_path: albumentations.OneOf
        init_args:
          transforms: [{{class_path: albumentations.Blur}}, {{class_path: albumentations.GaussNoise}}]
          p: 0.25
      - {{class_path: albumentations.HorizontalFlip, init_args: {{p: 1.0}}}}
""")
    assert isinstance(module, kind)
    assert (module.batch_size, module.image_size, module.preprocessing) == (3, 384, {"resize": "pad"})
    either, flip = module.augment
    assert isinstance(either, A.OneOf)
    assert either.p == 0.25
    assert [type(each) for each in either.transforms] == [A.Blur, A.GaussNoise]
    assert flip.p == 1.0
    assert module.training_transform().augmentation is not None


def test_importing_the_package_leaves_albumentations_for_later() -> None:
    code = "import sys, ibca_lightning.data; sys.exit('albumentations' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
