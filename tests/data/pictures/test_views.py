import torch

from ibca_lightning.data.pictures.views import VIEWS, turned


def test_the_views_are_the_eight_symmetries_of_the_square() -> None:
    picture = torch.tensor([[1, 2], [3, 4]])
    views = [turned(picture, view).flatten().tolist() for view in range(len(VIEWS))]
    assert views[:4] == [[1, 2, 3, 4], [4, 3, 2, 1], [2, 1, 4, 3], [3, 4, 1, 2]], "as it is, half turn, two flips"
    pair = torch.tensor([[1, 2, 5, 6], [3, 4, 7, 8]])
    halves = [turned(pair, view, pair=True).tolist() for view in range(4)]
    assert halves[2] == [[2, 1, 6, 5], [4, 3, 8, 7]], "left stays left"
    assert [[row[:2] for row in half] for half in halves] == [turned(picture, view).tolist() for view in range(4)]
    assert sorted(views[4:]) == [[1, 3, 2, 4], [2, 4, 1, 3], [3, 1, 4, 2], [4, 2, 3, 1]], "two turns, two diagonals"
