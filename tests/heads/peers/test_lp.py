"""Class embeddings as weights and as queries, and the files that they come from."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ibca_lightning.heads import LPHead
from ibca_lightning.model.checkpoint import build_head, head_spec
from ibca_lightning.system.errors import InputError
from tests.heads.contract import CHANNELS, LABELS, features

GIVEN = np.arange(1, 1 + 3 * LABELS, dtype=np.float64).reshape(LABELS, 3) ** 0.5


def by_hand(use: str) -> Any:
    """One class whose embedding is (0.6, 0.8), a learnt vector (1, 0), a factor of 2; two positions, no projection."""
    head = LPHead(2, 1, use=use, embedding_size=2)
    head.embedding.copy_(torch.tensor([[0.6, 0.8]]))
    head.project.weight.data = torch.eye(2)
    head.weight.data, head.factor.data, head.bias.data = torch.tensor([[1.0, 0]]), torch.tensor([2.0]), torch.ones(1)
    if head.key is not None:
        head.key.weight.data = torch.tensor([[0.0, 1], [5, 0]])
    return head(torch.tensor([[[[1.0, 0]], [[0, 1.0]]]]))


def test_as_weights_by_hand() -> None:
    # (1, 0) + 2 (0.6, 0.8) = (2.2, 1.6): evidence 2.2 and 1.6, mean 1.9
    output = by_hand("weights")
    assert output.logits.item() == pytest.approx(2.9)
    torch.testing.assert_close(output.attention[0, 0, 0], torch.tensor([2.2, 1.6]).softmax(0))


def test_as_queries_by_hand() -> None:
    # keys (0, 5) and (1, 0): looks at 0.8 * 5 = 4 and 0.6
    output = by_hand("queries")
    looks = torch.tensor([4.0, 0.6]).softmax(0)
    torch.testing.assert_close(output.attention[0, 0, 0], looks)
    assert output.logits.item() == pytest.approx(1 + 2.2 * looks[0].item() + 1.6 * looks[1].item())


@pytest.mark.parametrize("end", ["npy", "npz", "csv"])
def test_a_file_is_read_once_and_its_numbers_are_in_the_weights(end: str, tmp_path: Path) -> None:
    file = tmp_path / f"names.{end}"
    if end == "csv":
        np.savetxt(file, GIVEN, delimiter=",")
    else:
        (np.save if end == "npy" else np.savez)(file, GIVEN)
    head = LPHead(CHANNELS, LABELS, str(file), "queries").eval()
    expected = torch.from_numpy(GIVEN / np.linalg.norm(GIVEN, axis=1, keepdims=True)).float()
    torch.testing.assert_close(head.embedding, expected)
    file.unlink()
    spec = head_spec(head)
    assert str(tmp_path) not in str(spec), "a path may name a person, and a checkpoint is handed on"
    other = build_head(spec, CHANNELS, LABELS).eval()
    other.load_state_dict(head.state_dict())
    torch.testing.assert_close(other(features()).logits, head(features()).logits)


def test_it_begins_as_what_the_embeddings_say() -> None:
    head = LPHead(CHANNELS, LABELS)
    read = head.project(features().flatten(2).mean(-1)) @ head.embedding.T
    torch.testing.assert_close(head(features()).logits, read)
    assert "embedding" not in dict(head.named_parameters()), "and what they say stays"


@pytest.mark.parametrize(
    ("name", "content", "got"),
    [
        ("a.npy", GIVEN[:2], r"an array \(2, 3\)"), ("a.npy", GIVEN[0], r"an array \(3,\)"),
        ("a.npy", GIVEN * 0, "a row of zeros"), ("a.npy", GIVEN * np.nan, "not finite"),
        ("a.npy", np.array([{}]), "pickle"), ("a.csv", "drusen,1,2\n", "could not convert"),
        ("a.npz", {"one": GIVEN, "two": GIVEN}, "too many values"), ("none.npy", None, "No such file"),
    ],
)  # fmt: skip
def test_another_file_is_refused(name: str, content: Any, got: str, tmp_path: Path) -> None:
    file = tmp_path / name
    if isinstance(content, str):
        file.write_text(content)
    elif isinstance(content, dict):
        np.savez(file, **content)
    elif content is not None:
        np.save(file, content)
    with pytest.raises(InputError, match=rf"a row of numbers for each of {LABELS} classes.*{got}"):
        LPHead(CHANNELS, LABELS, str(file))


def test_wrong_options_are_refused() -> None:
    with pytest.raises(InputError, match="LPHead's use as weights or queries, got both"):
        LPHead(CHANNELS, LABELS, use="both")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="LPHead's embedding_size"):
        LPHead(CHANNELS, LABELS, embedding_size=0)


def test_a_record_opens_no_file(tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("jane doe\n")
    for name in (str(tmp_path / "secret.csv"), "secret", ""):
        record = {"class_path": "ibca_lightning.heads.LPHead", "init_args": {"class_embeddings": name}}
        paired = {"class_path": "ibca_lightning.heads.PairHead", "init_args": {"head": record, "fusion": "sum"}}
        for given in (record, paired):
            with pytest.raises(InputError, match=r"class_embeddings of ibca_lightning\.heads\.LPHead") as caught:
                build_head(given, CHANNELS, LABELS)
            assert "jane" not in str(caught.value)
