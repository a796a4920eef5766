"""Training over several processes with PyTorch's own engines: DDP, or FSDP2 where weights are sharded.

Twin: mobilebert_tf/distributed.py.
"""

from __future__ import annotations

import atexit
import gc
import pickle
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mobilebert_core.errors import ConfigError, MobileBertError, TrainingError, first_line
from mobilebert_core.processes import Launch
from mobilebert_core.training.ranks import Ranks

T = TypeVar("T")
_LONGEST_WAIT = timedelta(hours=12)  # for a rank that reads, evaluates or saves; one that died is noticed at once

_counting: list[tuple[int, bool]] = []  # of the step that is being computed: how many ranks, and whether this one idles


def counted(count: Tensor) -> Tensor:
    """What a sum of losses is divided by: how many there are, at least 1.

    In a step of several ranks it is the mean number of all of them, so that the mean of their losses is that of one
    process with the whole batch, also where labels of -100 fall unevenly on the ranks. `count` must be of a dtype
    that holds it exactly; an objective that means over something uses this as well.
    """
    if not _counting:
        return count.clamp(min=1)
    ranks, idle = _counting[-1]
    total = torch.zeros_like(count) if idle else count.detach().clone()
    dist.all_reduce(total)
    return total.clamp(min=1) / ranks


def several_ranks() -> bool:
    """Whether a step of several ranks is being computed."""
    return bool(_counting)


def join(launch: Launch, device: Any = None, shard: bool = False) -> ProcessRanks:
    """The ranks that a launcher has started, once they have found each other.

    Args:
        device: of each rank; default the GPU of its number on the machine, if there are any.
        shard: whether each rank holds a part of the weights, gradients and moments (FSDP2).

    Raises:
        ConfigError: for a machine with fewer GPUs than ranks, or a device that they would share.
        TrainingError: where they do not find each other.
    """
    if device is None:
        device = f"cuda:{launch.local_rank}" if torch.cuda.is_available() else "cpu"
    found = torch.device(device)
    if found.type == "cuda":
        if torch.cuda.device_count() <= launch.local_rank or str(device) != f"cuda:{launch.local_rank}":
            raise ConfigError(
                f"train: wanted a GPU for each of the processes on this machine, got {torch.cuda.device_count()} and "
                f"--device {device} for process {launch.local_rank}. Start as many as there are GPUs, without --device."
            )
        torch.cuda.set_device(found)
    backend = "cpu:gloo,cuda:nccl" if found.type == "cuda" else "gloo"
    with _explained():
        if not dist.is_initialized():  # left at the end: processes that join again might meet one that is leaving
            dist.init_process_group(backend, timeout=_LONGEST_WAIT, rank=launch.rank, world_size=launch.count)
            atexit.register(_leave)
        return ProcessRanks(found, shard)


class ProcessRanks(Ranks):
    """The processes of PyTorch's default process group.

    Attributes:
        device: where this one computes.
    """

    def __init__(self, device: torch.device, shard: bool) -> None:
        self.rank, self.count = dist.get_rank(), dist.get_world_size()
        self.device, self.sharded = device, shard

    def gather(self, value: T) -> list[T]:
        found: list[Any] | None = [None] * self.count if self.rank == 0 else None
        with _explained():
            dist.gather_object(value, found)
        return found or []

    def first(self, make: Callable[[], T]) -> T:
        result: list[Any] = [None, None]
        if self.rank == 0:
            try:
                result[0] = make()
                pickle.dumps(result)
            except MobileBertError as e:
                result[1] = e
            except Exception as e:
                result[1] = TrainingError(f"the first process of the training has failed ({type(e).__name__}: {e}).")
                self._broadcast(result)
                raise
        self._broadcast(result)
        if result[1] is not None:
            raise result[1]
        return result[0]

    def wait(self) -> None:
        with _explained():
            dist.barrier()

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a scalar over the ranks."""
        with _explained():
            dist.all_reduce(total := value.detach().clone())
        return total / self.count

    @contextmanager
    def step(self, idle: bool) -> Iterator[None]:
        """While it is entered, losses count over all ranks, and a rank that idles counts for nothing."""
        _counting.append((self.count, idle))
        try:
            with _explained():
                yield
        finally:
            _counting.pop()

    def _broadcast(self, result: list[Any]) -> None:
        with _explained():
            dist.broadcast_object_list(result)


class ObjectiveModule(nn.Module):
    """An objective as the module that DDP wraps, so that whatever it calls of the model lies inside."""

    def __init__(
        self, model: nn.Module, forward: Any, objective: Callable[..., Any], weights: list[nn.Parameter]
    ) -> None:
        super().__init__()
        self.model = model
        self.weights = nn.ParameterList(weights)  # of the objective itself
        self._called = (forward, objective)  # a tuple: the compiled model is not a second child

    def forward(self, batch: Mapping[str, Tensor]) -> Any:
        forward, objective = self._called
        return objective(forward, batch)


def reached_by(loss: Tensor) -> set[int]:
    """The `id` of every weight on which a loss depends, looked for in its graph, as DDP does."""
    found: set[int] = set()
    seen: set[Any] = set()
    waiting: list[Any] = [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        waiting += [before for before, _ in node.next_functions]
    return found


def shard_blocks(model: nn.Module) -> None:
    """Shards a model over all ranks by FSDP2: each block on its own, and the rest together."""
    from torch.distributed.fsdp import fully_shard

    for name, module in model.named_modules():
        if name.endswith("encoder.layer"):
            for block in module.children():
                fully_shard(block)
    fully_shard(model)


def whole(tensor: Tensor) -> Tensor:
    """A tensor, or all of one whose parts lie on the ranks, which they then ask for together."""
    full: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return full


def like(values: Tensor, tensor: Any) -> Tensor:
    """Whole values as a tensor of another's kind: its dtype, device and, where it is sharded, its parts."""
    if not hasattr(tensor, "full_tensor"):
        plain: Tensor = values.to(tensor)
        return plain
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(values.to(tensor.device, tensor.dtype), tensor.device_mesh, tensor.placements)


def _leave() -> None:
    """Ends the group. Its destructor waits for threads, which may wait for the interpreter: they get it before."""
    time.sleep(0.05)
    if dist.is_initialized():
        dist.destroy_process_group()
    gc.collect()  # what still holds the group goes while its threads can be ended


@contextmanager
def _explained() -> Iterator[None]:
    """Says what it means where another rank cannot be reached."""
    try:
        yield
    except RuntimeError as e:
        said = str(e)
        if isinstance(e, MobileBertError):
            raise
        if isinstance(e, dist.DistError) or any(word in said for word in ("gloo", "Gloo", "NCCL", "closed by peer")):
            why = first_line(e).partition(". ")[0]  # without advice on other programs
            raise TrainingError(
                f"another process of this training has ended or cannot be reached ({why}). The last saved state is "
                "whole: start the same command with --resume."
            ) from e
        raise
