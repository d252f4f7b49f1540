"""What looks drawn over is swapped between pictures: under do(noise of another picture) an artefact tells no class.

Shapes: B images, C channels, H x W positions, S pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ibca_lightning.losses import masked_mean
from ibca_lightning.metrics.localisation import touched_cells
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.processes import share as mean_over_processes
from ibca_lightning.system.processes import total
from ibca_lightning.terms.base import Batch, Setting, Step, Term

_BOUND = 8.0  # standard deviations: a single cell must not decide what the detector learns
_PACE = 0.1  # of the thresholds: some ten steps
_DRAWN = 3.0  # weight of a cell that is known to be drawn over


class NoiseIntervention(Term):
    """do(noise): the cells of a map that look drawn over are taken out, and those of another picture put in.

    Ink, rulers, letters, instruments accompany a class where a hospital marks what it has found. They are the noisy
    factor of the attention, and a common cause stands behind both mark and label. To learn as if there were none is to
    average over the noise that pictures have, whatever their label: P(y | x, do(noise)) = sum_s P(y | x, s) P(s). Here
    s is drawn from the batch: cell by cell, a picture's own noise gives way to the mean of its other cells, and the
    noise of the next picture of the batch is laid over it. Nothing happens in validation, test and prediction.

    Noise is found by a linear detector on the map, less its mean over the picture: a = w . x + b. It is shown artefacts
    of no kind, which `data.drawn_noise` draws on training pictures at random, and so finds kinds that it has never
    seen. Cells without drawing may hold the very artefacts that are to be found: the loss of those is bounded,
    sigmoid(a), that of drawn cells is not, 3 log(1 + exp(-a)). The loss has no gradient to the backbone. The detector
    is no part of the model.

    What counts as found is a share of the cells that nothing was drawn on, so that data without artefacts lose no more
    than that. Taking out is generous, and lending strict: a lesion that looks drawn over and is laid over pictures
    without it teaches that lesions tell nothing, and the attention then avoids them.

    Source: ours. The intervention stands for the paper's (IBCA) claim of moving attention off what accompanies a class.

    Args:
        weight: Of the detector's loss.
        share: Of the pictures of a batch that are changed, in [0, 1].
        erased: Share in (0, 1] of the cells without drawing, those of the highest log-odds, that is taken out; their
            eight neighbours, whose features see them, go with them.
        lent: The share in (0, erased] that is laid over the next picture; of their neighbours, those go with them that
            are taken out for their own log-odds.
        start: Part of training in [0, 1) that the detector has for itself.

    Raises:
        InputError: A value is out of range.
    """

    needs = ("drawn_mask",)

    def __init__(
        self, weight: float = 1.0, share: float = 1.0, erased: float = 0.2, lent: float = 0.05, start: float = 0.1
    ) -> None:
        super().__init__(weight)
        name = "NoiseIntervention's"
        if not 0 <= share <= 1:
            raise InputError(f"{name} share in [0, 1]", share, "correct it")
        if not 0 <= start < 1:
            raise InputError(f"{name} start in [0, 1)", start, "correct it")
        if not 0 < erased <= 1:
            raise InputError(f"{name} erased in (0, 1]", erased, "correct it")
        if not 0 < lent <= erased:
            raise InputError(f"{name} lent in (0, erased {erased:g}]", lent, "what is lent is taken out first")
        self.share, self.erased, self.lent, self.start = share, erased, lent, start
        self.detector = nn.Module()
        # Log-odds from which a cell is taken out and lent, means over the last steps; nothing is before the first.
        self.thresholds: Tensor
        self.register_buffer("thresholds", torch.full((2,), torch.inf))

    def begin(self, setting: Setting) -> None:
        """Make a detector that finds nothing yet."""
        if setting.channels is None:
            raise InputError("the channels of the map for NoiseIntervention", "none", "train it with MultiLabelModule")
        self.detector = nn.Conv2d(setting.channels, 1, 1)
        nn.init.zeros_(self.detector.weight)
        nn.init.zeros_(self.detector.bias)  # type: ignore[arg-type]

    def features(self, batch: Batch, features: Tensor) -> Tensor:
        """Swap the noise of the pictures, as the class says."""
        if self.progress < self.start:
            return features
        scores = self.scores(features)
        erased, lent = ((scores > threshold).to(features.dtype) for threshold in self.thresholds)
        changed = swapped(features, _with_neighbours(erased), erased * _with_neighbours(lent))
        chosen = torch.rand(len(features), 1, 1, 1, device=features.device) < self.share
        return torch.where(chosen, changed, features)

    def forward(self, step: Step) -> dict[str, Tensor]:
        """See the class."""
        scores = self.scores(step.features if step.before is None else step.before)
        drawn = touched_cells(step.batch["drawn_mask"].to(scores.device), scores.shape[-2:])
        self._follow(scores.detach(), drawn)
        losses = torch.where(drawn, _DRAWN * F.softplus(-scores), scores.sigmoid())
        return {"noise": self.weight * masked_mean(losses, torch.ones_like(drawn))}

    def scores(self, features: Tensor) -> Tensor:
        """Log-odds (B, 1, H, W) of "drawn over", with no gradient to the map."""
        with torch.autocast(features.device.type, enabled=False):
            maps = features.detach().float()
            scores: Tensor = self.detector(_standardised(maps - maps.mean((2, 3), keepdim=True)))
        return scores

    def _follow(self, scores: Tensor, drawn: Tensor) -> None:
        """Bring the thresholds nearer to the quantiles of this batch's cells that nothing was drawn on or beside."""
        near = _with_neighbours(drawn.float()) > 0
        shares = scores.new_tensor([1 - self.erased, 1 - self.lent])
        found = mean_over_processes(torch.nanquantile(scores.masked_fill(near, torch.nan), shares))
        found = torch.where(found.isfinite(), found, self.thresholds)
        self.thresholds.copy_(torch.where(self.thresholds.isfinite(), self.thresholds.lerp(found, _PACE), found))


def swapped(features: Tensor, erased: Tensor, lent: Tensor) -> Tensor:
    """Take out of each picture its noise, and lay over it that of the next one of the batch.

    Args:
        features: (B, C, H, W). The gradient of a cell reaches the picture alone that it belongs to.
        erased: (B, 1, H, W), 1 where a cell is taken out and 0 elsewhere.
        lent: (B, 1, H, W), 1 where a cell is laid over the picture before it.

    Returns:
        (B, C, H, W): the next picture's cells where it lends; elsewhere the own ones, and where those are taken out
        the mean of those that are not (0, where all are).
    """
    own = 1 - erased
    mean = (features * own).sum((2, 3), keepdim=True) / own.sum((2, 3), keepdim=True).clamp_min(1)
    cleaned = torch.where(erased > 0, mean, features)
    return torch.where(lent.roll(1, 0) > 0, features.detach().roll(1, 0), cleaned)


def _with_neighbours(cells: Tensor) -> Tensor:
    """Add the eight neighbours of each cell."""
    return F.max_pool2d(cells, 3, stride=1, padding=1)


def _standardised(features: Tensor) -> Tensor:
    """Bring each channel to mean 0 and deviation 1 over the batches of all processes."""
    count = total(torch.tensor(features.shape[0] * features.shape[2] * features.shape[3], device=features.device))
    mean = total(features.sum((0, 2, 3), keepdim=True)) / count
    variance = total((features - mean).square().sum((0, 2, 3), keepdim=True)) / count
    return ((features - mean) / (variance + 1e-5).sqrt()).clamp(-_BOUND, _BOUND)
