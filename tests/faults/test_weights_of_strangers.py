"""Checkpoints and weights of strangers: what a pickle would take is refused before, what is no weight is named."""

import codecs
from argparse import Namespace
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor

from ibca_lightning.data.tables.label_space import read_label_space
from ibca_lightning.model.checkpoint import read_checkpoint, require_fitting_weights, require_kinds
from ibca_lightning.model.fine_tuning.init_from import initialise_from
from ibca_lightning.model.fine_tuning.lora import merged
from ibca_lightning.model.network import NetworkTeacher, load_network
from ibca_lightning.model.weights import files
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.model_files import plain_pickle
from ibca_lightning.system.model_files.model_record import model_record
from tests.training import checkpoint, module


class Call:
    """What a pickle that holds it calls."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self.called = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[object, ...]]:
        return self.called


def tower(values: int) -> bytes:
    """A pickle of a dictionary whose key is a tuple that holds itself twice, so many times over."""
    twice = b"".join(b"h%c\x86q%c" % (at, at + 1) for at in range(values))
    return b"\x80\x02}K\x01q\0" + twice + b"K\x01s."


HOSTILE: dict[str, tuple[Callable[[], object], str]] = {
    "bytes of any number": (lambda: Call(bytearray, 2**31), "bytearray in 'planted'"),
    "a tensor of any size": (lambda: Call(torch.FloatTensor, 2**29), "torch.FloatTensor in 'planted'"),
    "a storage of any size": (lambda: Call(torch.UntypedStorage, 2**31), "UntypedStorage in 'planted'"),
    "a call within a call": (
        lambda: Call(torch._tensor._rebuild_from_type_v2, bytearray, bytearray, (2**31,), {}), "in 'planted'",
    ),
    "a text that is written otherwise for hours": (lambda: Call(codecs.encode, "x", "punycode"), "encode in 'planted'"),
    "code": (lambda: Call(eval, "1"), "eval in 'planted'"),
    "integers of one hash": (lambda: {(2**61 - 1) * at: 1 for at in range(1, 1200)}, "a value without measure"),
    "quantised": (lambda: torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8), "a quantised tensor in 'pl"),
    "sparse": (lambda: torch.eye(3).to_sparse(), "a sparse tensor in 'planted'"),
    "without values": (lambda: torch.empty(2**40, device="meta"), "a tensor without values in 'planted'"),
    "8-bit floats": (lambda: torch.ones(3).to(torch.float8_e4m3fn), "a tensor of 8-bit floats"),
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = checkpoint(tmp_path_factory.mktemp("whole") / "s.ckpt", 0, ["A", "B"])
    read: dict[str, Any] = torch.load(path, weights_only=True)
    return read


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    def loaded(*_: object, **__: object) -> None:
        raise AssertionError("torch was let at it")

    monkeypatch.setattr(torch, "load", loaded)


@pytest.mark.usefixtures("unread")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_pickle_that_asks_for_more_than_its_file_is_refused_before(
    name: str, whole: dict[str, Any], tmp_path: Path
) -> None:
    make, said = HOSTILE[name]
    path = tmp_path / "x.ckpt"
    torch.save(whole | {"planted": make()}, path)
    for read in (read_checkpoint, read_label_space, files.read, NetworkTeacher):
        with pytest.raises(InputError, match=said):
            read(str(path))
    if name not in ("8-bit floats", "without values"):  # which that format has not
        torch.save(whole | {"planted": make()}, path, _use_new_zipfile_serialization=False)
        with pytest.raises(InputError, match=said):
            files.read(str(path))


@pytest.mark.usefixtures("unread")
def test_a_pickle_that_would_take_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.ckpt"
    for content, said in ((tower(60), "a value without measure"), (b"\x80\x02]" + b"(l" * 3000 + b"e.", "more values")):
        archive = torch._C.PyTorchFileWriter(str(path))
        archive.write_record("data.pkl", content, len(content))
        archive.write_end_of_file()
        monkeypatch.setattr(plain_pickle, "_MAX_OPCODES", 2000)
        with pytest.raises(InputError, match=said):
            read_checkpoint(path)


def test_what_checkpoints_and_weights_hold_is_read(whole: dict[str, Any], tmp_path: Path) -> None:
    """Half floats, a parameter, a set, sizes, types, numbers beyond 64 bits: as programs save them, in both formats."""
    more = {
        "p": torch.nn.Parameter(torch.ones(2)), "set": {1, 2}, "size": torch.Size([2]), "type": torch.bfloat16,
        "long": 2**128, "d": torch.device("cpu"), "o": OrderedDict(a=(1, (2, 3))), "count": Counter("aab"), "c": 1j,
        "b": b"\x00\xff", "b2": b"x",
        ("a", 1): None, "bool": torch.ones(2, dtype=torch.bool),
    }  # fmt: skip
    half = {
        name: value.to(torch.bfloat16 if "conv" in name else torch.float16) if value.is_floating_point() else value
        for name, value in whole["state_dict"].items()
    }
    path = tmp_path / "x.ckpt"
    torch.save(whole | {"state_dict": half, "more": more}, path)
    read = read_checkpoint(path)
    assert repr(read["more"]) == repr(more)
    assert load_network(read, path)
    for legacy in (False, True):
        torch.save({"state_dict": half, "args": Namespace(lr=0.1)}, path, _use_new_zipfile_serialization=not legacy)
        assert files.read(str(path)).keys() == half.keys()


WRONG: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "complex": (lambda weight: weight.to(torch.complex64), "complex64 in place of floating-point numbers in"),
    "whole numbers": (lambda weight: weight.to(torch.int64), "int64 in place of floating-point numbers in"),
    "truth values": (lambda weight: weight.bool(), "bool in place of floating-point numbers in"),
    "beyond float32": (lambda weight: torch.full_like(weight, 1e300, dtype=torch.float64), "NaN or infinity in"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.filterwarnings("ignore")
def test_a_weight_of_another_kind_is_named(name: str, whole: dict[str, Any], tmp_path: Path) -> None:
    change, said = WRONG[name]
    path = tmp_path / "x.ckpt"
    for weight in ("head.linear.weight", "backbone.model.conv1.0.weight"):
        torch.save(whole | {"state_dict": whole["state_dict"] | {weight: change(whole["state_dict"][weight])}}, path)
        with pytest.raises(InputError, match=rf"x.ckpt with finite weights, got {said} {weight}"):
            read_checkpoint(path)
    prefix = "backbone.model."
    backbone = {k.removeprefix(prefix): v for k, v in whole["state_dict"].items() if k.startswith(prefix)}
    model = timm.create_model("test_resnet", num_classes=0)
    for suffix, save in ((".pth", torch.save), (".safetensors", safetensors.torch.save_file)):
        file = str(tmp_path / f"w{suffix}")
        own = model.state_dict()
        save(own | {"conv1.0.weight": change(own["conv1.0.weight"])}, file)  # type: ignore[operator]
        with pytest.raises(InputError, match=f"finite weights of test_resnet in .*{suffix}, got {said} conv1.0.weight"):
            files.load(model, "test_resnet", file)
    assert backbone


def test_a_variance_below_zero_is_named(whole: dict[str, Any], tmp_path: Path) -> None:
    name = next(name for name in whole["state_dict"] if name.endswith("running_var"))
    changed = whole["state_dict"] | {name: -whole["state_dict"][name]}
    torch.save(whole | {"state_dict": changed}, tmp_path / "x.ckpt")
    with pytest.raises(InputError, match=rf"x.ckpt with finite weights, got a variance below 0 in {name}"):
        read_checkpoint(tmp_path / "x.ckpt")


def test_a_value_of_another_kind_under_a_name_that_says_nothing(whole: dict[str, Any]) -> None:
    """Of a head of one's own: whether it is a float is known once the model is built."""
    own, path = {"head.centre": torch.ones(2)}, "x.ckpt"
    with pytest.raises(InputError, match=r"x.ckpt with weights of the model's types, got int64 .* in head.centre"):
        require_kinds({"head.centre": torch.ones(2, dtype=torch.int64)}, own, path)
    changed = whole | {"state_dict": whole["state_dict"] | {"head.progress": torch.zeros((), dtype=torch.bool)}}
    model = module(class_names=["A", "B"], feature_stride=8)
    for take in (
        lambda: load_network(changed, path), lambda: initialise_from(model, changed, path),
        lambda: require_fitting_weights(changed, model),
    ):  # fmt: skip
        with pytest.raises(InputError, match=r"bool in place of floating-point numbers in head.progress"):
            take()


def test_factors_of_a_sum_that_do_not_fit_are_not_multiplied(monkeypatch: pytest.MonkeyPatch) -> None:
    at = "backbone.model.fc.parametrizations.weight"
    sound = {"original": torch.ones(4, 3), "0.up": torch.ones(4, 2), "0.down": torch.ones(2, 3)}
    assert torch.equal(
        merged({f"{at}.{n}": v for n, v in sound.items()})["backbone.model.fc.weight"], torch.full((4, 3), 3.0)
    )

    def multiplied(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Tensor, "__matmul__", multiplied)
    for wrong in ({"0.up": torch.ones(9, 2)}, {"0.down": torch.ones(2)}, {"original": torch.ones(())},
                  {"0.up": torch.ones(4, 2, dtype=torch.float16)}):  # fmt: skip
        with pytest.raises(InputError, match=r"two factors of backbone.model.fc.weight, torch.float32 of shape"):
            merged({f"{at}.{name}": value for name, value in (sound | wrong).items()})


@pytest.mark.parametrize("value", [{}, None])
def test_a_record_that_repeats_itself_is_not_written_out(value: Any, whole: dict[str, Any]) -> None:
    for _ in range(40):
        value = [value, value]
    for key in ("format", "version", "class_names"):
        with pytest.raises(InputError, match=r"x.ckpt") as caught:
            model_record(
                {"ibca": whole["ibca"] | ({"format": 7} if key == "version" else {}) | {key: {"a": value}}}, "x.ckpt"
            )
        assert len(str(caught.value)) < 400
