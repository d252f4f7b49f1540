import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ibca_lightning.data.pictures.masks import mask_name
from ibca_lightning.data.tables.paths import inside
from ibca_lightning.run.callbacks.attention_pictures import _file_name
from ibca_lightning.system.errors import InputError

ROOT = "/data/set"
PARTS = st.sampled_from(
    ("..", ".", "", "a", "b.png", "...", "..a", "a..", " ", "~", "C:", "\n", "data", "set", "x" * 300)
)
PATHS = st.text(max_size=20) | st.builds(
    lambda start, separator, parts: start + separator.join(parts),
    st.sampled_from(("", "/", "//", "\\", ROOT, ROOT + "/", ROOT + "x/", "./")), st.sampled_from("/\\"),
    st.lists(PARTS, max_size=6),
)  # fmt: skip


def lies_in(path: str, root: str) -> bool:
    return Path(os.path.normpath(path)).is_relative_to(root)


@given(PATHS, st.sampled_from(("", "images", "images/deep")))
def test_no_path_leaves_its_root(name: str, folder: str) -> None:
    folder = os.path.join(ROOT, folder)
    try:
        found = inside(name, ROOT, folder, "x.csv, line 2")
    except InputError:
        assert not name or ".." in name.replace("\\", "/").split("/") or os.path.isabs(name)
        return
    assert lies_in(os.path.join(folder, found), ROOT)
    assert not os.path.isabs(found)
    if not os.path.isabs(name):
        assert lies_in(os.path.join(folder, found), folder)
        assert os.path.normpath(os.path.join(folder, name)) == os.path.normpath(os.path.join(folder, found))
        assert inside(found, ROOT, folder, "") == found, "said again, it is the same"
        assert lies_in(os.path.join(ROOT, "masks", mask_name(found)), os.path.join(ROOT, "masks"))


@given(PATHS | st.text(st.sampled_from("ü🩺/."), min_size=100, max_size=400))
def test_an_id_of_any_length_gives_the_name_of_one_file(name: str) -> None:
    if not Path(name).name:
        return
    file = f"val_{_file_name(name)}.png"
    assert len(file.encode()) <= 255
    assert os.path.basename(file) == file
