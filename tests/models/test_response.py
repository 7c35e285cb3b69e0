"""A galaxy that does not follow its labels is told from one that does, where real galaxies plainly do."""

import pytest
import torch

from galaxycgan.models.conditioning import Conditioning
from galaxycgan.models.response import SHARE, STEP, Response

SIZE = 32


def stamps(light):
    """Galaxies [n, 2 bands, y, x] of that much arcsinh light each: a flat square in the centre."""
    images = torch.zeros(len(light), 2, SIZE, SIZE)
    images[:, :, 14:18, 14:18] = 1.0
    unit = Response(1, SIZE).light(images[:1]).sinh()
    return images * (torch.sinh(light) / unit)[:, None, None, None]


@pytest.fixture
def learned():
    """Light falls by 1.2 with the first label and rises by 0.9 with the second; the others say nothing of it."""
    random = torch.Generator().manual_seed(0)
    conditions = torch.randn(4000, 3, generator=random)
    kind = torch.rand(4000, generator=random) < 0.5
    conditions = torch.cat([conditions, kind[:, None].float(), (~kind)[:, None].float()], 1)
    scatter = 0.4 * torch.randn(4000, generator=random)
    light = 5 - 1.2 * conditions[:, 0] + 0.9 * conditions[:, 1] + 3 * kind + scatter
    response = Response(5, SIZE)
    response.learn(stamps(light), conditions, [True, True, True, False, False])
    return response


def test_the_light_of_a_stamp_is_that_of_its_aperture():
    light = torch.tensor([0.5, 4.0, 8.0])
    assert torch.allclose(Response(1, SIZE).light(stamps(light)), light, atol=1e-4)


def test_it_learns_which_labels_galaxies_follow_and_no_category(learned):
    assert learned.columns == [0, 1]
    assert learned.slope.tolist() == pytest.approx([-1.2, 0.9, 0, 0, 0], abs=0.03)


@pytest.mark.parametrize("n", [12, 16, 20, 24])
def test_labels_of_hardly_more_galaxies_than_labels_tell_nothing(n):
    random = torch.Generator().manual_seed(n)
    response = Response(12, SIZE)
    light = 5 + torch.randn(n, generator=random)
    response.learn(stamps(light), torch.randn(n, 12, generator=random), [True] * 12)
    assert response.columns == []


@pytest.mark.parametrize("column, sign", [(0, -1), (1, 1)])
def test_who_follows_costs_nothing_and_who_goes_the_wrong_way_costs_most(learned, column, sign):
    start = torch.tensor([3.0, 6.0])
    real = STEP * abs(float(learned.slope[column]))
    costs = [
        float(learned.penalty(stamps(start), stamps(start + sign * change), column))
        for change in (real, 1.01 * SHARE * real, 0.0, -real)
    ]
    assert costs[:2] == [0, 0]
    assert costs[2:] == pytest.approx([SHARE * real, (1 + SHARE) * real], rel=1e-3)


def test_amounts_are_told_from_categories():
    labels = torch.tensor([[0.1, 0.0, 9.0], [0.2, 1.0, 9.5], [0.3, 2.0, 9.1]]).numpy()
    conditioning = Conditioning.fit(("photo_z", "kind", "log_mass"), labels, categorical=("kind",))
    assert conditioning.numeric == [True, False, False, False, True]
    assert len(conditioning.numeric) == conditioning.n_conditions
