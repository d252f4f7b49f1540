"""The kinds of marks by name: each a function of random numbers and the picture's side S that returns a `Mark`."""

from collections.abc import Callable

import numpy as np

from ibca_lightning.marks.canvas import Mark
from ibca_lightning.marks.kinds.endoscopy import bubbles, glare, instrument
from ibca_lightning.marks.kinds.fundus import lashes, shadow
from ibca_lightning.marks.kinds.radiograph import electrode, side_marker, text, tube
from ibca_lightning.marks.kinds.skin import hair, ink_dots, ink_line, ruler
from ibca_lightning.marks.kinds.slide import pen_ring, stain

Kind = Callable[[np.random.Generator, float], Mark]

KINDS: dict[str, Kind] = {
    each.__name__: each
    for each in (
        *(ink_dots, ruler, text, glare, pen_ring, instrument, hair, side_marker),
        *(stain, bubbles, tube, lashes, electrode, ink_line, shadow),
    )
}
"""Name of a kind -> how it is drawn."""
