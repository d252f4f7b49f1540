"""LP: classifiers or queries that begin as an embedding of each class from a file, such as of its name or description.

Huang et al., "LP++: A Surprisingly Strong Linear Probe for Few-Shot CLIP", CVPR 2024, arXiv 2404.02285: a class's
classifier is a learnt vector plus the text's embedding times a learnt factor. As queries, embeddings of texts are in
ML-Decoder (for classes never seen) and TSFormer.

Different from the paper:

- any backbone: the map is brought into the space of the embeddings by a learnt projection; theirs are CLIP's pooled
  features, which lie in it already. Both are of length 1 there, ours are the embeddings alone;
- each position is read, so that there is a map; the mean over positions is the pooled feature, as for GAP;
- learnt vectors begin at 0 and factors at 1; theirs at class means and at values that the data give;
- `use: queries`: the embedding decides where to look, too.

The one head that reads a file. What was read is saved with the weights, and a checkpoint does not name the file.

Shapes: B images, C channels, H x W positions, N = H*W, L labels, D numbers of an embedding.
"""
# ruff: noqa: N806 - shape suffixes

import io
import zipfile
from codecs import BOM_UTF8
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ibca_lightning.heads.base import Head, HeadOutput
from ibca_lightning.heads.layers import positionwise
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.expanded import expanded
from ibca_lightning.system.strangers import MAX_TABLE, read_bytes, require_unpacked

Use = Literal["weights", "queries"]


class LPHead(Head):
    """e_ln = (w_l + f_l t_l) . P x_n; logit_l = sum_n A_ln e_ln + b_l, with t_l the embedding of class l, of length 1.

    As weights: A is uniform in the logit, and the attention shown is softmax_n(e_ln), as GAP's. As queries: A_ln =
    softmax_n(t_l . K x_n), and that is the attention.

    Args:
        channels: C of the feature map.
        num_labels: L.
        class_embeddings: File of L rows of D numbers in the order of the classes: `.npy`, `.npz` of one array, or
            `.csv` of numbers alone. None: random directions, which say nothing of the classes.
        use: `weights` or `queries`.
        embedding_size: D of random ones; a file has its own.

    Raises:
        InputError: There is no such file, or it holds something else.

    Examples:
        >>> import torch
        >>> from ibca_lightning.heads import LPHead
        >>> LPHead(channels=8, num_labels=3, use="queries")(torch.rand(2, 8, 6, 5)).attention.shape
        torch.Size([2, 3, 6, 5])
    """

    embedding: Tensor

    def __init__(
        self, channels: int, num_labels: int, class_embeddings: str | None = None,
        use: Use = "weights", embedding_size: int = 512,
    ) -> None:  # fmt: skip
        super().__init__(channels, num_labels)
        self.require(1, embedding_size=embedding_size)
        if use not in get_args(Use):
            raise InputError(f"LPHead's use as {' or '.join(get_args(Use))}", use, "correct it")
        given = torch.randn(num_labels, embedding_size)
        if class_embeddings is not None:
            given = torch.from_numpy(read_embeddings(class_embeddings, num_labels))
        size = given.shape[1]
        # A checkpoint has the numbers: it is built again without the file.
        self.options.update(class_embeddings=None, embedding_size=size)
        self.register_buffer("embedding", F.normalize(given, dim=1))
        self.project = nn.Linear(channels, size, bias=False)
        self.key = nn.Linear(channels, size, bias=False) if use == "queries" else None
        self.factor = nn.Parameter(torch.ones(num_labels))
        self.weight = nn.Parameter(torch.zeros(num_labels, size))
        self.bias = nn.Parameter(torch.zeros(num_labels))

    def forward(self, features: Tensor, labels: Tensor | None = None) -> HeadOutput:
        """See `Head.forward`; no losses of its own."""
        x_BCN = features.flatten(2)
        there_BDN = positionwise(self.project.weight, x_BCN)
        key_BDN = None if self.key is None else positionwise(self.key.weight, x_BCN)
        with torch.autocast(x_BCN.device.type, enabled=False):
            embedding_LD = self.embedding.float()
            classifier_LD = self.weight.float() + self.factor.float()[:, None] * embedding_LD
            evidence = positionwise(classifier_LD, there_BDN.float())
            if key_BDN is None:
                attention, contribution = evidence.softmax(-1), evidence / evidence.shape[-1]
            else:
                attention = positionwise(embedding_LD, key_BDN.float()).softmax(-1)
                contribution = attention * evidence
            logits = contribution.sum(-1) + self.bias.float()
        grid = (-1, *logits.shape[1:], *features.shape[-2:])
        return HeadOutput(logits, attention.reshape(grid), {}, contribution.reshape(grid))


def read_embeddings(path: str, num_labels: int) -> NDArray[np.float32]:
    """Read a row of numbers for each class, (L, D).

    Raises:
        InputError: There is no such file, or it holds something else.
    """
    file = Path(expanded(path))
    try:
        given: Any
        data = io.BytesIO(read_bytes(file, MAX_TABLE).removeprefix(BOM_UTF8))  # of a spreadsheet
        if file.suffix == ".csv":
            given = np.loadtxt(data, delimiter=",", ndmin=2)
        else:
            if zipfile.is_zipfile(data):
                with zipfile.ZipFile(data) as archive:
                    require_unpacked(archive, MAX_TABLE)
            data.seek(0)
            given = np.load(data, allow_pickle=False)
            if not isinstance(given, np.ndarray):
                (name,) = given.files
                given = given[name]
        found: NDArray[np.float32] = np.asarray(given, dtype=np.float32)
        if found.ndim != 2 or found.shape[0] != num_labels or not found.shape[1]:
            raise ValueError(f"an array {found.shape}")
        if not (np.isfinite(found).all() and np.abs(found).any(axis=1).all()):
            raise ValueError("a row of zeros, or one that is not finite")
    except Exception as error:  # numpy's readers end in errors of their own
        expected = f"class_embeddings {path} with a row of numbers for each of {num_labels} classes, in their order"
        got = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(expected, got, "write .npy, .npz of one array, or .csv of numbers alone") from error
    return found
