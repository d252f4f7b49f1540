"""A map for each class of a head whose queries serve all classes alike.

Shapes: B images, Q queries, L labels, N positions.
"""
# ruff: noqa: N803 - shape suffixes

from torch import Tensor

_TINY = 1e-30  # of a softmax that left nothing: its logarithm is finite


def class_maps(attention_BQN: Tensor, evidence_BLN: Tensor) -> Tensor:
    """Where the queries look, times what is there for a class: A_ln = mean_q a_qn exp(e_ln) / sum of it; (B, L, N).

    Ours. Where the queries look everywhere alike it is the softmax of the class activation map, GAP's rule.

    Args:
        attention_BQN: Of each query, non-negative.
        evidence_BLN: What each position says about each class.
    """
    return (attention_BQN.mean(1, keepdim=True).clamp(min=_TINY).log() + evidence_BLN).softmax(-1)
