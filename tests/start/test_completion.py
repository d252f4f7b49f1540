"""The script completes in a real bash; it loads nothing."""

import shutil
import subprocess

import pytest

from tests.command_line import done, ibca

BASH = shutil.which("bash")


def completed(script: str, *words: str) -> list[str]:
    """What TAB offers behind these words."""
    line = " ".join(f"'{word}'" for word in words)
    code = f'COMP_WORDS=({line})\nCOMP_CWORD={len(words) - 1}\n_ibca\nprintf "%s\\n" "${{COMPREPLY[@]}}"'
    result = subprocess.run([str(BASH), "-c", f"{script}\n{code}"], check=True, capture_output=True, text=True)
    assert not result.stderr
    return result.stdout.split()


@pytest.mark.skipif(BASH is None, reason="no bash")
def test_bash_completes_commands_options_and_names() -> None:
    script = done("completion", "bash").out
    assert completed(script, "ibca", "fi") == ["fit"]
    assert {"fit", "init", "completion", "--version"} <= {*completed(script, "ibca", "")}
    assert completed(script, "ibca", "fit", "--model.he") == ["--model.head"]
    assert completed(script, "ibca", "predict", "--im") == ["--images", "--image_column", "--image_dir"]
    assert completed(script, "ibca", "fit", "derm") == ["derm7pt"]
    assert completed(script, "ibca", "fit", "--config", "derm") == ["derm7pt"]
    assert completed(script, "ibca", "fit", "derm7pt", "--config", "backbones/rad") == ["backbones/rad_dino"]
    assert completed(script, "ibca", "fit", "derm7pt", "--model.head", "ml") == ["ml_decoder"]
    assert completed(script, "ibca", "sweep", "--heads", "gap", "csr") == ["csra"]
    losses = ["bce", "asl", "focal", "gce", "logit_adjusted"]
    assert completed(script, "ibca", "fit", "derm7pt", "--model.loss", "") == losses
    assert completed(script, "ibca", "list", "he") == ["heads"]
    assert completed(script, "ibca", "report", "run") == []  # a file: left to the shell
    assert "complete -o default -F _ibca ibca" in script


def test_zsh_gets_the_same_below_what_it_needs_for_it() -> None:
    assert done("completion", "zsh").out.endswith(done("completion", "bash").out)
    result = ibca("completion", "fish")
    assert result.code == 2
    assert len(result.errors) == 1
    assert "bash or zsh" in result.errors[0]
