import copy
import logging
import struct
import zipfile

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from ibca_lightning.heads import CSRAHead, GAPHead, Head, IBCAHead
from ibca_lightning.model.checkpoint import ModelSpec, build_head, read_checkpoint
from ibca_lightning.model.fine_tuning.init_from import initialise_from
from ibca_lightning.system.errors import InputError
from tests.training import Pictures, best, last, loader, module, trainer

SMALL = {"width": 8, "latent": 4, "background": 3, "num_heads": 2, "hidden": 5}


def small_ibca(channels, num_labels):
    return IBCAHead(channels, num_labels, **SMALL)


def fitted(folder, **options):
    """Fit one epoch; returns the checkpoint's path."""
    pictures = Pictures(8, labels=len(options.get("class_names", "abc")))
    trainer(callbacks=[best(folder)]).fit(module(**options), loader(pictures), loader(pictures))
    return folder / "best.ckpt"


@pytest.fixture(scope="module")
def ibca_checkpoint(tmp_path_factory):
    return fitted(tmp_path_factory.mktemp("ibca"), head=small_ibca, class_names=["a", "b", "c"])


@pytest.fixture(scope="module")
def normalised_checkpoint(tmp_path_factory):
    return fitted(tmp_path_factory.mktemp("normalised"), normalise_features=True, freeze_backbone=True)


# --- what it holds ------------------------------------------------------------------------------------------------


def test_it_loads_without_code_and_describes_the_model_in_plain_data(ibca_checkpoint):
    record = torch.load(ibca_checkpoint, weights_only=True)["ibca"]
    spec = ModelSpec.from_checkpoint({"ibca": record})
    assert (spec.backbone, spec.image_size, spec.class_names) == ("test_resnet", 64, ["a", "b", "c"])
    assert spec.preprocessing == {"resize": "stretch"}
    assert spec.head["class_path"] == "ibca_lightning.heads.IBCAHead"
    assert SMALL.items() <= spec.head["init_args"].items()
    assert len(spec.thresholds) == 3
    rebuilt = build_head(spec.head, 96, 3)
    assert isinstance(rebuilt, IBCAHead)
    state = read_checkpoint(ibca_checkpoint)["state_dict"]
    rebuilt.load_state_dict({k.removeprefix("head."): v for k, v in state.items() if k.startswith("head.")})


class Executed:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_weight_that_is_marked_as_a_folder_is_not_read_from_chance_memory(ibca_checkpoint, tmp_path):
    with zipfile.ZipFile(ibca_checkpoint) as sound, zipfile.ZipFile(tmp_path / "x.ckpt", "w") as changed:
        for info in sound.infolist():
            content = sound.read(info)
            info.external_attr = 16 if info.filename.endswith("/data/0") else 0
            changed.writestr(info, content)
    with pytest.raises(InputError, match=r"x.ckpt to be a checkpoint"):
        read_checkpoint(tmp_path / "x.ckpt")


def test_a_malicious_file_is_refused_and_not_run(tmp_path):
    torch.save({"ibca": {}, "state_dict": Executed(tmp_path / "ran")}, tmp_path / "evil.ckpt")
    with pytest.raises(InputError, match=r"evil.ckpt to be a checkpoint of tensors and plain data"):
        read_checkpoint(tmp_path / "evil.ckpt")
    assert not (tmp_path / "ran").exists()
    torch.load(tmp_path / "evil.ckpt", weights_only=False)  # the file does what it is meant to
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "a checkpoint file at .*, got none"),
        (b"", "unreadable"),
        (b"PK\x03\x04 not a zip", "unreadable"),
        (struct.pack("<4sIQI4s18x", b"PK\6\7", 0, 0, 2, b"PK\5\6"), "unreadable"),  # an archive on several disks
        ({"state_dict": {}}, "written by `ibca fit`"),
        ([1, 2], "written by `ibca fit`"),
        ({"ibca": {"format": 99, "version": "9.9"}}, r"format 1, got format 99 \(ibca 9.9\)"),
        ({"ibca": {"format": 1, "backbone": "test_resnet"}}, "a complete model record"),
    ],
)
def test_what_is_no_checkpoint_is_named_in_one_line(content, message, tmp_path):
    path = tmp_path / "x.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(InputError, match=message) as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"class_names": ["a", "c", "b"]}, r"class_names \['a', 'b', 'c'\], got \['a', 'c', 'b'\]"),
        ({"class_names": ["a", "b"]}, "class_names"),
        ({"backbone": "test_convnext"}, "backbone test_resnet, got test_convnext"),
        ({"feature_stride": 16}, "feature_stride 32, got 16"),
        ({"normalise_features": True}, "normalise_features False, got True"),
        ({"head": GAPHead}, "head .*IBCAHead.*, got .*GAPHead"),
        ({"head": lambda c, n: IBCAHead(c, n, **(SMALL | {"latent": 5}))}, "head latent: 4, got latent: 5"),
    ],
)
def test_another_models_checkpoint_is_refused_with_what_differs(changed, message, ibca_checkpoint):
    model = module(**({"head": small_ibca, "class_names": ["a", "b", "c"]} | changed))
    pictures = Pictures(4, labels=len(model.class_names))
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InputError, match=message):
        trainer().test(model, loader(pictures), ckpt_path=ibca_checkpoint, weights_only=True)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_whether_features_are_normalised_is_part_of_the_model(normalised_checkpoint):
    """The weights of the head would fit without it as well, and mean something else."""
    for use, message in (
        (lambda: trainer().test(module(), loader(Pictures(4)), ckpt_path=normalised_checkpoint, weights_only=True),
         "the checkpoint's normalise_features True, got False from the configuration"),
        (lambda: module(init_from=str(normalised_checkpoint)), r"best.ckpt with normalise_features False, got True"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message) as caught:
            use()
        assert "\n" not in str(caught.value)


def test_a_checkpoint_from_before_features_could_be_normalised_has_them_as_they_are(ibca_checkpoint):
    checkpoint = read_checkpoint(ibca_checkpoint)
    del checkpoint["ibca"]["normalise_features"]
    assert ModelSpec.from_checkpoint(checkpoint).normalise_features is False


def test_reading_pictures_in_another_way_than_in_training_is_said(ibca_checkpoint, caplog):
    for resize, said in (("stretch", False), ("pad", True)):
        model = module(head=small_ibca, class_names=["a", "b", "c"], preprocessing={"resize": resize})
        trainer().test(model, loader(Pictures(4)), ckpt_path=ibca_checkpoint, weights_only=True, verbose=False)
        assert ("trained with {'resize': 'stretch'}, the data have {'resize': 'pad'}" in caplog.text) == said


def test_a_vit_of_another_picture_size_is_refused_in_one_line(tmp_path):
    path = fitted(tmp_path, backbone="test_vit")
    model = module(backbone="test_vit", image_size=128)
    with pytest.raises(InputError, match=r"the checkpoint with .*pos_embed of shape \(1, 65, 64\), got \(1, 17, 64\)"):
        trainer().test(model, loader(Pictures(4)), ckpt_path=path, weights_only=True)


def test_no_other_class_than_a_head_is_built():
    for class_path in ("torch.nn.Linear", "os.system", "no_such_module.Head", "Head", ".x.y", "", "..", "a..b"):
        with pytest.raises(InputError, match="a head of ibca_lightning, or of a module that you trust"):
            build_head({"class_path": class_path, "init_args": {}}, 4, 2)
    with pytest.raises(InputError, match=r"options of the checkpoint that .*GAPHead takes, got no"):
        build_head({"class_path": "ibca_lightning.heads.GAPHead", "init_args": {"no": 1}}, 4, 2)


# --- starting from it ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [["c", "a", "b"], ["b"], ["x", "c", "a", "y", "b"], ["x", "y", "z"], ["a", "b", "c"]],
    ids=["order", "subset", "superset", "none", "same"],
)
def test_shared_classes_take_their_rows_by_name(names, ibca_checkpoint):
    source = read_checkpoint(ibca_checkpoint)
    # Rows that all differ; a fresh head has equal biases.
    generator = torch.Generator().manual_seed(3)
    for name, value in source["state_dict"].items():
        if name.startswith("head.") and value.ndim:
            value.copy_(torch.randn(value.shape, generator=generator))
    model = module(head=small_ibca, class_names=names)
    fresh = {name: value.clone() for name, value in model.state_dict().items()}
    initialise_from(model, source, "x.ckpt")
    ours, theirs, old = model.state_dict(), source["state_dict"], ["a", "b", "c"]
    assert float(ours["head.progress"]) == 0
    shared = (
        "backbone.",
        "head.project.",
        "head.refine.",
        "head.encoder.",
        "head.attended.norm",
        "head.attended.hidden",
    )
    label_free = [name for name in ours if name.startswith(shared)] + ["head.mixture.background_log_weight"]
    for name in label_free:
        assert torch.equal(ours[name], theirs[name]), name
    for name in ("head.mixture.mean", "head.mixture.raw_log_std"):  # classes first, then background
        assert torch.equal(ours[name][len(names) :], theirs[name][3:]), name
    per_label = {"head.evidence.weight": 1, "head.evidence.scale": 1, "head.bias": 0, "head.queries.query": 1,
                 "head.attended.output": 0, "head.mixture.mean": 0, "head.mixture.raw_log_std": 0,
                 "head.mixture.class_log_weight": 0}  # fmt: skip
    for name, axis in per_label.items():
        for at, label in enumerate(names):
            row = ours[name].select(axis, at)
            if label in old:
                assert torch.equal(row, theirs[name].select(axis, old.index(label))), (name, label)
            else:
                assert torch.equal(row, fresh[name].select(axis, at)), (name, label)
    assert set(ours) == {*label_free, *per_label, "head.progress"}


def test_statistics_of_the_features_are_taken_over_whatever_the_classes(normalised_checkpoint):
    model = module(class_names=["x", "class 1"], normalise_features=True, init_from=str(normalised_checkpoint))
    source = read_checkpoint(normalised_checkpoint)["state_dict"]
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(model.state_dict()[f"feature_norm.{name}"], source[f"feature_norm.{name}"]), name
    assert model.feature_norm.running_mean.abs().max() > 0


class PerPair(Head):
    """Two label axes, a label axis that is not 1:1, and none at all."""

    def __init__(self, channels, num_labels):
        super().__init__(channels, num_labels)
        self.pair = torch.nn.Parameter(torch.randn(num_labels, num_labels))
        self.twice = torch.nn.Parameter(torch.randn(2 * num_labels))
        self.weight = torch.nn.Parameter(torch.randn(num_labels, channels))

    def forward(self, features, labels=None):
        logits = features.mean((2, 3)) @ self.weight.T @ self.pair + self.twice.view(2, -1).sum(0)
        return GAPHead.forward(_Shell(self.weight), features)._replace(logits=logits)


class _Shell:
    def __init__(self, weight):
        self.linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
        self.project = torch.nn.Identity()


def test_every_label_axis_is_matched_and_what_cannot_be_is_said(tmp_path, caplog):
    path = fitted(tmp_path, head=PerPair, class_names=["a", "b", "c"])
    with caplog.at_level(logging.INFO):
        model = module(head=PerPair, class_names=["c", "x", "a"], init_from=str(path), pretrained=True)
    source = read_checkpoint(path)["state_dict"]
    assert torch.equal(model.head.pair[[0, 0, 2, 2], [0, 2, 0, 2]], source["head.pair"][[2, 2, 0, 0], [2, 0, 2, 0]])
    assert torch.equal(model.head.weight[[0, 2]], source["head.weight"][[2, 0]])
    assert "2 of 3 classes taken over (c, a)" in caplog.text
    assert "several rows a label: head.twice" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [({"head": CSRAHead}, "with head .*CSRAHead"), ({"backbone": "test_convnext"}, "with backbone test_convnext")],
)
def test_another_model_cannot_be_started_from(options, message, ibca_checkpoint):
    with pytest.raises(InputError, match=message):
        module(**({"head": small_ibca, "init_from": str(ibca_checkpoint)} | options))


# --- resuming -----------------------------------------------------------------------------------------------------


class StopAfter(Callback):
    """Ends a run after so many epochs."""

    def __init__(self, epochs):
        self.epochs = epochs

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = trainer.current_epoch + 1 == self.epochs


@pytest.mark.parametrize("name", ["last", "best"])
@pytest.mark.parametrize("ema_decay", [None, 0.6])
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(ema_decay, name, tmp_path):
    pictures = Pictures(16)
    options = {"head": small_ibca, "ema_decay": ema_decay}

    def run(model, folder, stop_after=3, seed=0, **resume):
        torch.manual_seed(seed)  # of dropout and of what the head draws; a resumed run has the checkpoint's
        pl_trainer = trainer(max_epochs=3, callbacks=[StopAfter(stop_after), best(folder), last(folder)])
        pl_trainer.fit(model, loader(pictures), loader(pictures), **resume)
        return pl_trainer

    whole, part = module(**options), module(**options)
    run(whole, tmp_path / "whole")
    run(part, tmp_path / "part", stop_after=1)
    path = tmp_path / "part" / f"{name}.ckpt"
    assert 0 < float(read_checkpoint(path)["state_dict"]["head.progress"]) < 1
    resumed = module(seed=9, **options)
    end = run(resumed, tmp_path / "part", seed=5, ckpt_path=path, weights_only=True)
    assert end.global_step == 6
    for key, value in whole.state_dict().items():
        assert torch.allclose(value, resumed.state_dict()[key], atol=1e-6), key
    assert float(resumed.head.progress) == 1
    assert resumed.thresholds == pytest.approx(whole.thresholds, abs=1e-5)
