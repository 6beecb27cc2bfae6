import torch

from evaluation.table1.features.selection import select


def test_selection_takes_the_strongest_inside_all_four_borders():
    xy = torch.tensor([[3.0, 10], [4, 10], [10, 3], [10, 4], [27, 10], [28, 10], [10, 19], [10, 20], [15, 15]])
    scores = torch.tensor([0.9, 0.1, 0.9, 0.2, 0.3, 0.9, 0.4, 0.9, 0.5])
    assert select(xy, scores, (24, 32), 0).tolist() == [8, 6, 4, 3, 1]
    assert select(xy, scores, (24, 32), 2).tolist() == [8, 6]
