"""Draw every kind of mark on synthetic mucosa, three each, as one picture.

python -m tests.marks.sheet experiments/figures/marks.png
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ibca_lightning.datasets.scm.mucosa import draw_scene
from ibca_lightning.marks.kinds import KINDS
from ibca_lightning.marks.painter import draw_mark
from ibca_lightning.marks.placing import Ground

SIDE, EACH, ACROSS, LINE = 144, 3, 3, 16


def tile(kind: str, number: int) -> NDArray[np.uint8]:
    """One mucosa with one mark."""
    seed = [*KINDS].index(kind) * EACH + number
    scene = draw_scene(np.random.default_rng(seed), SIDE)
    pixels = (255 * np.clip(1.15 * scene.albedo * scene.light[..., None], 0, 1)).astype(np.uint8)
    nothing = np.zeros((SIDE, SIDE), bool)
    draw_mark(kind, np.random.default_rng(seed), pixels, Ground.of(pixels, nothing), nothing.copy())
    return pixels


def sheet() -> Image.Image:
    """All kinds, each with its name above its tiles."""
    rows = -(-len(KINDS) // ACROSS)
    whole = Image.new("RGB", (ACROSS * (EACH * SIDE + 4), rows * (SIDE + LINE)), "white")
    write = ImageDraw.Draw(whole)
    for at, kind in enumerate(KINDS):
        left, top = at % ACROSS * (EACH * SIDE + 4), at // ACROSS * (SIDE + LINE)
        write.text((left + 2, top + 1), kind, "black", ImageFont.load_default(12))
        for number in range(EACH):
            whole.paste(Image.fromarray(tile(kind, number)), (left + number * SIDE, top + LINE))
    return Image.fromarray((np.asarray(whole) & 0xF8) + 4)  # 32 shades: less than half of the bytes


if __name__ == "__main__":
    sheet().save(Path(sys.argv[1]), optimize=True)
