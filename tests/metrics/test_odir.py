import numpy as np
import pytest
import torch
from sklearn.metrics import cohen_kappa_score, f1_score, roc_auc_score

from ibca_lightning.metrics.odir import odir_score
from ibca_lightning.system.errors import InputError


@pytest.mark.parametrize("seed", range(8))
def test_agrees_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = (rng.random((40, 8)) < 0.2).astype(int)
    scores = np.round(np.clip(0.3 * labels + rng.random((40, 8)) * 0.7, 0, 1), 1 + seed % 3)  # with ties, and 0.5
    truth, score = labels.ravel(), scores.ravel()
    kappa, f1 = cohen_kappa_score(truth, score > 0.5), f1_score(truth, score > 0.5, average="micro")
    auc = roc_auc_score(truth, score)
    found = odir_score(torch.tensor(scores), torch.tensor(labels))
    assert found == pytest.approx({"kappa": kappa, "F1": f1, "AUC": auc, "score": (kappa + f1 + auc) / 3})
    # Unknown labels count for nothing, whatever is predicted.
    more = torch.cat([torch.tensor(scores), torch.rand(3, 8, dtype=torch.float64)])
    assert odir_score(more, torch.cat([torch.tensor(labels), torch.full((3, 8), -1)])) == pytest.approx(found)


def test_what_is_undefined_is_none() -> None:
    nothing = {"kappa": None, "F1": None, "AUC": None, "score": None}
    assert odir_score(torch.rand(2, 3), torch.full((2, 3), -1)) == nothing
    assert odir_score(torch.tensor([[0.2, 0.9]]), torch.tensor([[0, 0]])) == {**nothing, "F1": 0.5}
    with pytest.raises(InputError):
        odir_score(torch.tensor([[1.5]]), torch.tensor([[1]]))
