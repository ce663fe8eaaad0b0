"""Weights, gradients and moments divided among processes (FSDP2), for models that one device cannot hold.

A process holds its rows of every parameter as a `DTensor`; a block's whole weights are there only while it computes.
What leaves here for a checkpoint is plain and whole, so files do not show how they were trained.
"""

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from speechrep.methods.base import Method
from speechrep.train.distributed import World


def shard(method: Method, world: World) -> None:
    """Divide the parameters of `method` in place, block by block and then the rest.

    Single numbers (a temperature) stay whole on every process: they cannot be divided; `reduce_undivided` looks after
    their gradients.
    """
    # Half a second of imports, for those who divide.
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
    mesh = init_device_mesh(world.device.type, (world.size,))
    scalars = {p for p in method.parameters() if p.ndim == 0}
    for block in blocks(method):
        fully_shard(block, mesh=mesh, reshard_after_forward=True, ignored_params=scalars)
    fully_shard(method, mesh=mesh, reshard_after_forward=True, ignored_params=scalars)
    register_fsdp_forward_method(method, "metrics")


def blocks(module: nn.Module, listed: bool = False) -> list[nn.Module]:
    """The elements of the outermost `ModuleList`s: they are gathered one at a time. `listed`: `module` is such a list."""
    found = []
    for child in module.children():
        if listed and type(child) is not nn.ModuleList:
            found.append(child)
        else:
            found += blocks(child, type(child) is nn.ModuleList)
    return [block for block in found if any(p.ndim for p in block.parameters())]


def divided(tensor: torch.Tensor) -> bool:
    """Whether this is a `DTensor`, of which a process holds a part."""
    return hasattr(tensor, "to_local")


def local(tensor: torch.Tensor) -> torch.Tensor:
    """This process's part of a tensor, sharing its memory; of a plain tensor, itself."""
    return tensor.to_local() if divided(tensor) else tensor


def whole(value: Any) -> Any:
    """A tree of dicts and lists in which every divided tensor has become whole and plain, on the CPU. All processes
    must ask."""
    if isinstance(value, dict):
        return {key: whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [whole(item) for item in value]
    return value.full_tensor().detach().cpu() if divided(value) else value


def like(tensor: torch.Tensor, example: torch.Tensor) -> torch.Tensor:
    """A whole tensor, divided as `example` is; every process has the whole and keeps its part."""
    if not divided(example):
        return tensor.to(example.device)
    from torch.distributed.tensor import distribute_tensor
    return distribute_tensor(tensor.to(example.device), example.device_mesh, example.placements, src_data_rank=None)


def moments_like(state: dict[str, Any], optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """An optimiser's `state_dict` from a checkpoint, with whole moments, divided as its parameters are."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    moments = {number: {name: like(value, parameters[number]) if torch.is_tensor(value) and value.ndim else value
                        for name, value in values.items()} for number, values in state["state"].items()}
    return state | {"state": moments}


def reduce_undivided(parameters: Iterable[nn.Parameter]) -> None:
    """Average the gradients of the parameters that every process holds whole, as FSDP does those of the others."""
    for parameter in parameters:
        if parameter.grad is not None and not divided(parameter.grad):
            dist.all_reduce(parameter.grad)
            parameter.grad /= dist.get_world_size()


def clip_norm_(parameters: Iterable[nn.Parameter], bound: float) -> torch.Tensor:
    """Scale divided and whole gradients so that their common norm is at most `bound`; returns the norm before."""
    grads = [p.grad for p in parameters if p.grad is not None]
    parts = [local(grad) for grad in grads if divided(grad)]
    wholes = [grad for grad in grads if not divided(grad)]
    square = sum((grad.square().sum() for grad in parts), torch.zeros((), device=grads[0].device))
    dist.all_reduce(square)
    norm = sum((grad.square().sum() for grad in wholes), square).sqrt()
    factor = (bound / (norm + 1e-6)).clamp(max=1.0)
    for grad in parts + wholes:
        grad.mul_(factor)
    return norm
