"""Several models as one, and each picture seen in several views: the mean of the probabilities."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ibca_lightning.data.pictures.transforms import Transform, evaluation_transform
from ibca_lightning.data.pictures.views import turned
from ibca_lightning.system.errors import InputError
from ibca_lightning.use.predictor import Predictor


class Ensemble:
    """Models of the same classes.

    Args:
        models: By what to call them in messages.
        views: How many of `data.pictures.views.VIEWS` each picture is seen in: 1, 4 (flips and the half turn) or 8.

    Raises:
        InputError: When the classes differ, or a pair of pictures is to be turned by a quarter.
    """

    def __init__(self, models: dict[str, Predictor], views: int = 1) -> None:
        (first, leader), *_ = models.items()
        for name, model in models.items():
            if model.spec.class_names != leader.spec.class_names:
                raise InputError(
                    f"checkpoints of one list of classes ({', '.join(leader.spec.class_names)} in {first})",
                    f"{', '.join(model.spec.class_names)} in {name}", "leave out the one that differs",
                )  # fmt: skip
        self.models, self.views = list(models.values()), views
        self.most = min(model.most for model in self.models)
        self.class_names = leader.spec.class_names
        settings = [(model.spec.image_size, model.spec.preprocessing) for model in self.models]
        ways = [setting for at, setting in enumerate(settings) if setting not in settings[:at]]
        self.transforms: list[Transform] = [evaluation_transform(*way) for way in ways]
        """One for each way in which the models want pictures to be read."""
        self._way_of = [ways.index(setting) for setting in settings]
        self._pair = ["pair" in preprocessing for _, preprocessing in ways]
        if views > 4 and any(self._pair):
            raise InputError("--tta 4 for a model of two pictures side by side", views, "quarter turns would mix them")

    @property
    def thresholds(self) -> list[float]:
        """For each class the mean of the models' thresholds; of one model its own."""
        means: list[float] = np.mean([model.spec.thresholds for model in self.models], axis=0).tolist()
        return means if len(self.models) > 1 else list(self.models[0].spec.thresholds)

    def probabilities(self, images: Sequence[Tensor]) -> Tensor:
        """The mean over models and views, (B, L) float32 on the CPU, of `images`: (B, 3, S, S) for each transform."""
        total = torch.zeros(len(images[0]), len(self.class_names), dtype=torch.float64)
        for model, way in zip(self.models, self._way_of, strict=True):
            for view in range(self.views):
                total += model.forward(turned(images[way], view, self._pair[way]))[0]
        return (total / (len(self.models) * self.views)).float()
