"""What holds for every head of the package."""

import copy
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ibca_lightning.heads import Head
from ibca_lightning.losses import masked_bce
from tests.heads.contract import BATCH, CHANNELS, HEADS, HEIGHT, LABEL_BATCHES, LABELS, WIDTH, features, labels

pytestmark = pytest.mark.parametrize("head_class", HEADS, ids=lambda c: c.__name__)


def build(head_class: type[Head], progress: float = 0.7) -> Head:
    torch.manual_seed(0)
    head = head_class(CHANNELS, LABELS)
    head.set_progress(progress)
    return head


def test_shapes_and_attention(head_class: type[Head]) -> None:
    head = build(head_class)
    for mode in (True, False):
        output = head.train(mode)(features(), labels())
        assert output.logits.shape == (BATCH, LABELS)
        assert output.attention.shape == (BATCH, LABELS, HEIGHT, WIDTH)
        assert (output.attention >= 0).all()
        torch.testing.assert_close(output.attention.sum((-2, -1)), torch.ones(BATCH, LABELS), rtol=0, atol=1e-5)
        assert all(loss.shape == () and loss.isfinite() for loss in output.losses.values())


def test_contribution_is_what_the_logit_sums(head_class: type[Head]) -> None:
    """Beside it stands a constant of the class, the bias, whatever the picture shows."""
    head = build(head_class).eval()
    for parameter in head.parameters():  # a bias that is 0 would hide one that is counted twice
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    x = torch.cat([features(), features(scale=10, seed=1), torch.zeros(1, CHANNELS, HEIGHT, WIDTH)])
    output = head(x)
    if output.contribution is None:
        return
    assert output.contribution.shape == output.attention.shape
    bias = output.logits - output.contribution.sum((-2, -1))
    torch.testing.assert_close(bias, bias[:1].expand_as(bias), rtol=0, atol=1e-4)
    assert output.contribution.std() > 0


def test_attention_of_dead_features_is_uniform(head_class: type[Head]) -> None:
    head = build(head_class)
    if "positions" in head.options:  # an encoding of the places may prefer one of them; without it nothing may
        head = head_class(CHANNELS, LABELS, positions=False)
    attention = head.eval()(torch.zeros(BATCH, CHANNELS, HEIGHT, WIDTH)).attention
    torch.testing.assert_close(attention, torch.full_like(attention, 1 / (HEIGHT * WIDTH)))


def test_losses_only_with_labels_in_training(head_class: type[Head]) -> None:
    head = build(head_class)
    assert head.train()(features()).losses == {}
    assert head.eval()(features(), labels()).losses == {}


def test_labels_do_not_change_the_prediction(head_class: type[Head]) -> None:
    head = build(head_class)
    outputs = []
    for given in (labels(), None):
        torch.manual_seed(1)
        outputs.append(head.train()(features(), given))
    torch.testing.assert_close(outputs[0].logits, outputs[1].logits)


def test_pictures_do_not_see_each_other(head_class: type[Head]) -> None:
    head = build(head_class).eval()
    together = head(features())
    order = torch.tensor([2, 0, 3, 1])
    shuffled = head(features()[order])
    alone = head(features()[1:2])
    torch.testing.assert_close(shuffled.logits, together.logits[order], rtol=0, atol=1e-5)
    torch.testing.assert_close(shuffled.attention, together.attention[order], rtol=0, atol=1e-6)
    torch.testing.assert_close(alone.logits, together.logits[1:2], rtol=0, atol=1e-5)


def test_evaluation_is_deterministic(head_class: type[Head]) -> None:
    head = build(head_class).eval()
    torch.testing.assert_close(head(features()).logits, head(features()).logits)  # noise would be far larger


@pytest.mark.parametrize("progress", [0.0, 1.0])
@pytest.mark.parametrize("batch", LABEL_BATCHES)
def test_every_parameter_has_a_finite_gradient(head_class: type[Head], batch: str, progress: float) -> None:
    """DistributedDataParallel waits for each of them, whatever the labels."""
    head = build(head_class, progress).train()
    output = head(features(), LABEL_BATCHES[batch])
    (masked_bce(output.logits, LABEL_BATCHES[batch]) + sum(output.losses.values())).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_features_have_a_gradient(head_class: type[Head]) -> None:
    x = features().requires_grad_()
    head = build(head_class).train()
    output = head(x, labels())
    (masked_bce(output.logits, labels()) + sum(output.losses.values())).backward()
    assert x.grad is not None
    assert (x.grad.abs().sum((1, 2, 3)) > 0)[:3].all()


@pytest.mark.parametrize("scale", [1.0, 1e3])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_is_finite(head_class: type[Head], dtype: torch.dtype, scale: float) -> None:
    head = build(head_class).train()
    x = features(scale=scale).to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        output = head(x, labels())
        loss = masked_bce(output.logits, labels()) + sum(output.losses.values())
    loss.backward()
    assert output.attention.dtype == torch.float32
    torch.testing.assert_close(output.attention.sum((-2, -1)), torch.ones(BATCH, LABELS), rtol=0, atol=1e-5)
    assert output.logits.isfinite().all()
    assert loss.isfinite()
    for tensor in (x, *head.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()


def test_autocast_agrees_with_float32(head_class: type[Head]) -> None:
    head = build(head_class).eval()
    exact = head(features())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = head(features())
    torch.testing.assert_close(rough.logits.float(), exact.logits, rtol=0.05, atol=0.05)
    torch.testing.assert_close(rough.attention, exact.attention, rtol=0.1, atol=0.01)


@pytest.mark.slow
def test_export_with_any_batch_agrees(head_class: type[Head]) -> None:
    head = build(head_class).eval()
    program = torch.export.export(head, (features(),), dynamic_shapes={"features": {0: torch.export.Dim.AUTO}})
    for batch in (1, 7):
        exported, eager = program.module()(features(batch)), head(features(batch))
        torch.testing.assert_close(exported[0], eager.logits, rtol=0, atol=1e-5)
        torch.testing.assert_close(exported[1], eager.attention, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("training", [True, False])
def test_compile_in_one_graph_agrees(head_class: type[Head], training: bool) -> None:
    head = build(head_class).train(training)
    compiled = torch.compile(copy.deepcopy(head), fullgraph=True, backend="aot_eager")
    results = []
    for forward in (head, compiled):
        torch.manual_seed(3)
        output = forward(features(), labels() if training else None)
        results.append((output.logits, output.attention, output.losses))
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-5)


class OnTheGPU(TorchDispatchMode):
    """Refuses what is made on the host, which a CUDA graph cannot hold."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        assert all(x.device.type == "cuda" for x in tree_leaves(output) if isinstance(x, torch.Tensor)), func
        return output


@pytest.mark.parametrize("known", [True, False])
def test_a_training_step_fits_into_a_cuda_graph(
    head_class: type[Head], known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No value is read, so that nothing branches on one or has a shape that depends on it; torch here only feigns."""
    monkeypatch.setattr(torch.nn.init, "trunc_normal_", lambda weight, **_: weight)  # it reads what it has drawn
    monkeypatch.setattr(head_class, "expect", lambda *_: None)  # it looks once, in the first step
    shapes = [(like.shape, like.dtype) for like in (features(), labels())]
    with FakeTensorMode():
        with torch.device("cuda"):
            head = build(head_class).train()
        x, y = (torch.empty(shape, dtype=dtype, device="cuda") for shape, dtype in shapes)
        with OnTheGPU():
            head(x.requires_grad_(), y if known else None)


def test_state_survives_saving(head_class: type[Head]) -> None:
    """The schedule too: a restored head predicts what the saved one did."""
    head, other = build(head_class, progress=0.3).eval(), build(head_class, progress=0.0).eval()
    for parameter in head.parameters():
        parameter.data.add_(0.1)
    other.load_state_dict(head.state_dict())
    torch.testing.assert_close(other(features()).logits, head(features()).logits)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_weights_work(head_class: type[Head], dtype: torch.dtype) -> None:
    """Lightning's "bf16-true" and "16-true" convert the parameters themselves."""
    head = build(head_class).to(dtype).train()
    output = head(features().to(dtype), labels())
    (masked_bce(output.logits, labels()) + sum(output.losses.values())).backward()
    assert output.logits.isfinite().all()


def test_one_label_one_picture_one_position(head_class: type[Head]) -> None:
    head = head_class(CHANNELS, 1).train()
    output = head(torch.ones(1, CHANNELS, 1, 1), torch.ones(1, 1, dtype=torch.int8))
    assert output.attention.item() == pytest.approx(1.0, abs=1e-6)
    assert output.logits.isfinite().all()
    assert all(loss.isfinite() for loss in output.losses.values())
