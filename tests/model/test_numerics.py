"""Options that make training faster or steadier give the figures of plain float32, within what the README states."""

import copy

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch.nn.functional import binary_cross_entropy_with_logits

from ibca_lightning.heads import GAPHead, IBCAHead
from ibca_lightning.losses import masked_bce
from ibca_lightning.model import compilation
from ibca_lightning.model.checkpoint import read_checkpoint
from ibca_lightning.system.errors import InputError
from tests.command_line import done, experiment, ibca, written
from tests.training import Pictures, last, loader, module, sgd, trainer


class Gradients(Callback):
    """Every gradient just before the first step, and the norm of what the step takes."""

    def __init__(self):
        self.first, self.norms = {}, []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if not self.first:
            self.first = {name: p.grad.clone() for name, p in pl_module.named_parameters()}

    def on_before_zero_grad(self, trainer, pl_module, optimizer):
        if all(p.grad is not None for p in pl_module.parameters()):
            self.norms.append(float(torch.nn.utils.get_total_norm([p.grad for p in pl_module.parameters()])))


def gradients(pictures, size, batches=1, **options):
    """Of the first step, `batches` of `size` pictures each."""
    seen = Gradients()
    model = module(backbone="test_vit", **options)  # no BatchNorm, which would see smaller batches
    trainer(max_steps=1, accumulate_grad_batches=batches, callbacks=[seen]).fit(
        model, loader(pictures, size), loader(pictures)
    )
    return seen.first


def furthest(one, two):
    assert one.keys() == two.keys()
    return max(float((one[name] - two[name]).abs().max()) for name in one)


# --- bf16, accumulation, clipping, channels-last ------------------------------------------------------------------


@pytest.mark.slow
def test_a_model_trained_in_bf16_reaches_the_map_of_float32_within_a_twentieth():
    train, val, scores = Pictures(48), Pictures(48, seed=1), {}
    for precision in ("32-true", "bf16-mixed"):
        model = module(head=IBCAHead, optimizer=lambda groups: torch.optim.AdamW(groups, lr=3e-3))
        run = trainer(max_epochs=8, check_val_every_n_epoch=8, precision=precision)
        run.fit(model, loader(train), loader(val, 16))
        scores[precision] = model.evaluations["val"].figures["metrics"]["mAP"]
        assert all(p.dtype == torch.float32 for p in model.parameters())
        trainer(precision="bf16-mixed" if precision == "32-true" else "32-true").validate(
            model, loader(val, 16), verbose=False
        )
        other = model.evaluations["val"].figures["metrics"]["mAP"]
        assert other == pytest.approx(scores[precision], abs=0.01)  # the same weights read in the other precision
    assert scores["32-true"] > 0.9
    assert scores["bf16-mixed"] == pytest.approx(scores["32-true"], abs=0.05)


def test_two_batches_of_four_have_the_gradient_of_one_of_eight_where_as_many_labels_are_known():
    pictures = Pictures(8)
    assert furthest(gradients(pictures, 8), gradients(pictures, 4, 2)) < 1e-6
    pictures.label[:4, 0] = -1  # 8 known labels in one half, 12 in the other: each half counts as much
    one, two = gradients(pictures, 8), gradients(pictures, 4, 2)
    assert furthest(one, two) > 1e-4
    model = module(backbone="test_vit")
    halves = [masked_bce(model(pictures.image[at]).logits, pictures.label[at]) for at in (slice(4), slice(4, 8))]
    (sum(halves) / 2).backward()
    assert furthest(two, {name: p.grad for name, p in model.named_parameters()}) < 1e-6


def test_what_a_head_compares_within_a_batch_is_compared_within_the_smaller_one():
    pictures = Pictures(8)
    still = {"dropout": 0.0, "bottleneck": 0.0, "gradual": 0.0}  # nothing drawn
    options = {"head": lambda c, n: IBCAHead(c, n, contrast=1.0, **still)}
    assert furthest(gradients(pictures, 8, **options), gradients(pictures, 4, 2, **options)) > 1e-4
    options = {"head": lambda c, n: IBCAHead(c, n, contrast=0.0, **still)}
    assert furthest(gradients(pictures, 8, **options), gradients(pictures, 4, 2, **options)) < 1e-6


def test_clipping_bounds_the_norm_of_a_step_and_keeps_its_direction():
    pictures, free, bound = Pictures(16), Gradients(), Gradients()
    for seen, clip in ((free, None), (bound, 0.05)):
        run = trainer(max_epochs=1, gradient_clip_val=clip, callbacks=[seen])
        run.fit(module(), loader(pictures), loader(pictures))
    assert min(free.norms) > 0.1
    assert max(bound.norms) <= 0.05 * (1 + 1e-5)
    clipped, model = module(), module()
    before = copy.deepcopy(model.state_dict())
    for each, clip in ((clipped, 0.05), (model, None)):
        trainer(max_steps=1, gradient_clip_val=clip).fit(each, loader(pictures), loader(pictures))
    steps = [each.head.linear.weight - before["head.linear.weight"] for each in (clipped, model)]
    torch.testing.assert_close(steps[0] / steps[0].norm(), steps[1] / steps[1].norm(), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("dtype", "outputs", "slopes"), [(torch.float32, 1e-5, 1e-3), (torch.float64, 1e-12, 1e-12)])
def test_channels_last_gives_the_logits_and_gradients_of_the_other_order(dtype, outputs, slopes):
    pictures, results = Pictures(8), []
    for on in (True, False):
        model = module(channels_last=on).to(dtype)
        conv = next(p for p in model.backbone.parameters() if p.ndim == 4 and p.shape[1] > 1 and p.shape[-1] > 1)
        assert conv.is_contiguous(memory_format=torch.channels_last) == on
        output = model(pictures.image)
        binary_cross_entropy_with_logits(output.logits, pictures.label.to(dtype)).backward()
        results.append((output.logits, [p.grad.contiguous() for p in model.parameters()]))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=0, atol=outputs)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=0, atol=slopes)


# --- torch.compile ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_compiled_model_trains_and_is_validated_as_the_eager_one_and_shares_its_checkpoints(tmp_path):
    pictures, results = Pictures(10), {}
    for compiled in (False, True):
        # aot_eager traces forward and backward as inductor does, without its compiler and its random numbers.
        options = {"compile": compiled, "compile_backend": "aot_eager", "ema_decay": 0.5}
        model = module(head=IBCAHead, feature_stride=[16, 32], **options)
        trainer(callbacks=[last(tmp_path / str(compiled))]).fit(model, loader(pictures, 5), loader(pictures, 5))
        state = read_checkpoint(tmp_path / str(compiled) / "last.ckpt")["state_dict"]
        results[compiled] = state, model.evaluations["val"].probabilities
    assert model.head._compiled_call_impl is not None
    assert furthest(results[False][0], results[True][0]) < 1e-5
    torch.testing.assert_close(results[True][1], results[False][1], rtol=0, atol=1e-5)
    for compiled, state in ((False, results[True][0]), (True, results[False][0])):  # each in the other
        model = module(head=IBCAHead, feature_stride=[16, 32], compile=compiled, compile_backend="eager")
        model.load_state_dict(state)
        found = model.eval()(pictures.image).logits.sigmoid()
        torch.testing.assert_close(found, results[not compiled][1], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("backend", "dynamic"), [("cudagraphs", False), ("eager", None)])
def test_a_cuda_graph_of_an_epochs_last_batch_is_its_own(monkeypatch, backend, dynamic):
    # Seen on an H200: "size of tensor a (32) must match the size of tensor b (24)".
    asked = []
    monkeypatch.setattr(torch, "compile", lambda function, **options: asked.append(options) or function)
    module(compile="all", compile_backend=backend)
    assert asked == [{"backend": backend, "dynamic": dynamic}] * 2


@pytest.mark.parametrize("compiled", ["head", "none"])
def test_a_cuda_graph_whose_gradients_would_be_overwritten_is_refused(compiled):
    model = module(compile=compiled, compile_backend="cudagraphs")
    fit = trainer(max_steps=1, accumulate_grad_batches=2).fit
    if compiled == "none":
        fit(model, loader(Pictures(4), 2))
    else:
        with pytest.raises(InputError, match=r"accumulate_grad_batches of 1 .* got 2; raise data.batch_size"):
            fit(model, loader(Pictures(4), 2))


def test_a_copy_of_a_compiled_model_runs_its_own_weights():
    model = module(compile=True, compile_backend="eager")
    twin, x = copy.deepcopy(model), Pictures(2).image
    before = model.eval()(x).logits
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    torch.testing.assert_close(twin.eval()(x).logits, before, rtol=0, atol=1e-6)


def test_compile_without_a_compiler_or_with_an_unknown_backend_is_said_at_once(monkeypatch):
    with pytest.raises(InputError, match=r"compile_backend one of .*inductor"):
        compilation.require_backend("inductr")
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    with pytest.raises(InputError, match=r"C\+\+ compiler .* got no no-such-compiler .*model.compile none"):
        module(compile=True)
    assert isinstance(module(compile=True, compile_backend="eager").head, GAPHead)


# --- equal to the bit ---------------------------------------------------------------------------------------------


class Algorithms(Callback):
    """Whether torch was bound to deterministic algorithms when a step was taken."""

    def __init__(self):
        self.bound = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.bound.append(torch.are_deterministic_algorithms_enabled())


@pytest.mark.slow
def test_deterministic_runs_are_equal_to_the_bit_and_another_seed_is_another_run(tree, tmp_path):
    config = experiment(tree, num_workers=2)
    config["trainer"]["callbacks"] = [{"class_path": "tests.model.test_numerics.Algorithms"}]
    file, states = written(tmp_path / "e.yaml", config), {}
    try:
        for name, seed in (("one", 3), ("two", 3), ("other", 4)):
            run = tmp_path / name
            done("fit", "--config", file, "--run_dir", run, "--deterministic", "--seed_everything", seed,
                 "--model.head", "IBCAHead")  # fmt: skip
            assert torch.are_deterministic_algorithms_enabled()
            states[name] = read_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"]
    finally:
        torch.use_deterministic_algorithms(False)
    # To the bit, as `--deterministic` promises of one machine: the same batches on the same number of threads.
    assert all(torch.equal(value, states["two"][name]) for name, value in states["one"].items())
    assert not torch.equal(states["one"]["head.bias"], states["other"]["head.bias"])
    assert "deterministic: true" in (tmp_path / "one" / "config.yaml").read_text()
    assert ibca("fit", "--config", file, "--deterministic", "maybe").code == 2


# --- the rate -----------------------------------------------------------------------------------------------------


def test_the_learning_rate_takes_the_place_of_the_optimisers_own():
    model = module(learning_rate=0.02, backbone_lr_scale=0.5, optimizer=sgd(0.3), warmup_fraction=0.0)
    trainer(max_steps=1).fit(model, loader(Pictures(8)), loader(Pictures(8)))
    groups = model.trainer.optimizers[0].param_groups
    assert {group["part"]: group["initial_lr"] for group in groups} == {"backbone": 0.01, "head": 0.02}
    with pytest.raises(InputError, match=r"learning_rate above 0, got -1"):
        module(learning_rate=-1.0)
