"""torch.compile, trusted only where its gradients are those of the network as written."""

import torch

from galaxycgan.errors import UserError

#: Largest deviation of a weight's gradient over its size: bfloat16 rounds to 0.4%, in another order when compiled.
TOLERANCE = 0.1
#: Gradients smaller than this share of the largest one are rounding.
NEGLIGIBLE = 1e-3
#: Characters of a compiler's complaint that are told.
MOST_WORDS = 200


def compile_network(network, uses, backend="inductor"):
    """Have torch.compile fuse a network's operations; its weights stay as they are.

    Parameters
    ----------
    network : torch.nn.Module
    uses : list of callables
        The ways in which the network is used: each becomes a program of its own. ``use(call)`` returns gradients as a
        dict of tensors, of what ``call(...)`` gives for some inputs; `call` stands for the network.
    backend : str or callable
        As for `torch.compile`.

    Raises
    ------
    UserError
        Where it can't be compiled, or has other gradients then. So it is with torch 2.13 on CPUs: weights below an
        upsampling get none.
    """
    written = [use(network.forward) for use in uses]
    network.compile(backend=backend)
    try:
        compiled = [use(network) for use in uses]
    except Exception as error:  # whatever a compiler runs into: torch's own errors have no common class
        raise UserError(f"--compile: torch.compile failed: {' '.join(str(error).split())[:MOST_WORDS]}") from None
    for mine, theirs in zip(written, compiled, strict=True):
        floor = NEGLIGIBLE * max(float(gradient.norm()) for gradient in mine.values())
        for name, gradient in mine.items():
            off = theirs.get(name, torch.zeros_like(gradient)) - gradient
            error = float(off.norm()) / max(float(gradient.norm()), floor)
            if not error <= TOLERANCE:
                raise UserError(
                    f"--compile: what torch {torch.__version__} compiles has wrong gradients here ({name} {error:.0%}"
                    " off); train without it"
                )


def weight_gradients(network, score):
    """Return a `use` that takes the gradients of a scalar ``score(call)`` with respect to the network's weights."""

    def use(call):
        network.zero_grad(set_to_none=True)
        score(call).backward()
        found = {name: weight.grad.clone() for name, weight in network.named_parameters() if weight.grad is not None}
        network.zero_grad(set_to_none=True)
        return found

    return use


def input_gradients(network, inputs, score):
    """Return a `use` that takes those of ``score(call, inputs)`` with respect to the inputs, the weights at rest."""

    def use(call):
        given = [each.detach().requires_grad_() for each in inputs]
        network.requires_grad_(False)
        score(call, given).backward()
        network.requires_grad_(True)
        return {f"input {k}": each.grad for k, each in enumerate(given)}

    return use
