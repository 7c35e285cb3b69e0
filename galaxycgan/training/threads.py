"""How many CPU threads make a training fastest, where that is left to it: tried out."""

import time

import torch

#: Runs of fewer images take all cores: they are over before it would matter.
WORTH_IMAGES = 20_000
#: Steps after which all kinds of them have come; as many come before, unmeasured; the faster of two rounds counts.
CYCLE, ROUNDS = 4, 2
#: A number of threads is taken that is so many times as fast as half of it.
WORTH = 1.05


def fastest_threads(trainer, most, check):
    """Set and return the number of CPU threads, of 1, 2, 4, ... and `most`, with which steps of training are fastest.

    Threads wait for each other at each of a thousand small operations a step: many cores, or few of which others have a
    part, are slower than one.

    Parameters
    ----------
    trainer : Trainer
        Of the run's networks and batch. It learns nonsense: none that is needed.
    most : int
        Cores at hand.
    check : callable
        Called between steps; may raise.
    """
    shape, batch = trainer.generator.shape, trainer.settings.batch
    flux = torch.randn(batch, shape.n_bands, shape.size, shape.size)
    conditions = torch.randn(batch, shape.n_conditions)
    best, least = 1, float("inf")
    for threads in sorted({min(2**k, most) for k in range(most.bit_length() + 1)}):
        torch.set_num_threads(threads)
        seconds = []
        for _ in range(1 + ROUNDS):
            start = time.perf_counter()
            for _ in range(CYCLE):
                check()
                trainer.step(flux, conditions, 0.0)
            seconds.append(time.perf_counter() - start)
        if min(seconds[1:]) * WORTH > least:
            break  # more of them only wait more
        best, least = threads, min(seconds[1:])
    torch.set_num_threads(best)
    return best
