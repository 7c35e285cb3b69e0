"""A GPU's work recorded and launched as one: a step of a thousand small operations no longer waits for the CPU."""

import warnings

import torch


class Recorder:
    """Runs functions of tensors as CUDA graphs, one for each key.

    The first call with a key runs the function as written, for libraries to plan and optimisers to make their state;
    the second one records what the GPU is asked to do, and from then on that is replayed.

    Parameters
    ----------
    device : torch.device
        A GPU.

    Attributes
    ----------
    failure : str
        Why nothing is recorded any more; functions run as written then.
    """

    def __init__(self, device):
        # Gradients are added up on the stream that they were first asked for on: all runs use this one.
        self.stream = torch.cuda.Stream(device)
        self.pool = torch.cuda.graph_pool_handle()
        self.known, self.graphs, self.failure = set(), {}, ""

    def __call__(self, key, work, inputs):
        """Return ``work(*inputs)``.

        Parameters
        ----------
        key : hashable
            Calls with the same key do the same to tensors of the same shapes.
        work : callable
            Returns a dict of tensors. What else it changes are tensors on the GPU, in place; it must not wait for the
            GPU, nor draw random numbers.
        inputs : list of tensors
            On the GPU.
        """
        now = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(now)
        with torch.cuda.stream(self.stream):
            if key in self.known and key not in self.graphs and not self.failure:
                self._record(key, work, inputs)
            self.known.add(key)
            found = self._replay(key, inputs) if key in self.graphs else work(*inputs)
        now.wait_stream(self.stream)
        return found

    def _record(self, key, work, inputs):
        graph, given = torch.cuda.CUDAGraph(), [tensor.clone() for tensor in inputs]
        try:
            with torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"):
                found = work(*given)
        except RuntimeError as error:
            self.failure = str(error).splitlines()[0]
            warnings.warn(f"steps are not recorded as CUDA graphs: {self.failure}", stacklevel=2)
            return
        self.graphs[key] = graph, given, found

    def _replay(self, key, inputs):
        graph, given, found = self.graphs[key]
        torch._foreach_copy_(given, inputs)
        graph.replay()
        # The next replay writes over them.
        return {name: tensor.clone() for name, tensor in found.items()}
