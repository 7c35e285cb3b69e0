"""torch.compile, trusted only where its gradients are those of the network as written."""

import torch

from galaxycgan.errors import UserError

#: Largest deviation of a weight's gradient over its size: bfloat16 rounds to 0.4%, in another order when compiled.
TOLERANCE = 0.1
#: Gradients smaller than this share of the largest one are rounding.
NEGLIGIBLE = 1e-3
#: Characters of a compiler's complaint that are told.
MOST_WORDS = 200


def compile_network(network, score, backend="inductor"):
    """Have torch.compile fuse a network's operations; its weights stay as they are.

    Parameters
    ----------
    network : torch.nn.Module
    score : callable
        ``score(call)`` returns a scalar of what ``call(...)`` gives for some inputs; `call` stands for the network.
    backend : str or callable
        As for `torch.compile`.

    Raises
    ------
    UserError
        Where it can't be compiled, or has other gradients then. So it is with torch 2.13 on CPUs: weights below an
        upsampling get none.
    """
    written = _gradients(network, score, network.forward)
    network.compile(backend=backend)
    try:
        compiled = _gradients(network, score, network)
    except Exception as error:  # whatever a compiler runs into: torch's own errors have no common class
        raise UserError(f"--compile: torch.compile failed: {' '.join(str(error).split())[:MOST_WORDS]}") from None
    floor = NEGLIGIBLE * max(float(gradient.norm()) for gradient in written.values())
    for name, gradient in written.items():
        theirs = compiled.get(name, torch.zeros_like(gradient))
        error = float((theirs - gradient).norm()) / max(float(gradient.norm()), floor)
        if not error <= TOLERANCE:
            raise UserError(
                f"--compile: what torch {torch.__version__} compiles has wrong gradients here ({name} {error:.0%} off);"
                " train without it"
            )


def _gradients(network, score, call):
    """Return the gradient of each weight that the score depends on."""
    network.zero_grad(set_to_none=True)
    score(call).backward()
    found = {name: weight.grad.clone() for name, weight in network.named_parameters() if weight.grad is not None}
    network.zero_grad(set_to_none=True)
    return found
