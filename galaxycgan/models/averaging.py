"""Running averages of a network's weights: quieter than the weights of any one step."""

import torch


@torch.no_grad()
def move_average(averaged, network, weight):
    """Move the averaged weights towards the network's.

    Parameters
    ----------
    averaged, network : torch.nn.Module
        Of one kind; `averaged` is changed.
    weight : float
        Of the network's present weights in the new average, 0..1.
    """
    pairs = zip(averaged.parameters(), network.parameters(), strict=True)
    before, now = zip(*pairs, strict=True)
    torch._foreach_lerp_(list(before), list(now), weight)
