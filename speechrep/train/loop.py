"""The one training loop. It knows the contract of a method and imports none.

Each named loss comes as an unaveraged sum; its count is added up over the micro-batches of a step and over processes
before the first backward pass, so that one division is exact: 1 x 8 equals 8 x 1. A run is a function of its
configuration, seed and number of processes: killed at any moment, it goes on from its last checkpoint to the same
weights.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.nn.parallel import DistributedDataParallel

from speechrep.config import with_defaults
from speechrep.data.batches import StepSampler, draw
from speechrep.data.dataset import SpeechDataset, collate_step, to_device
from speechrep.errors import Diverged, SpeechrepError, Stopped
from speechrep.methods.base import LAST, Batch, Method
from speechrep.train import checkpoint, shard
from speechrep.train.clock import Clock
from speechrep.train.distributed import World
from speechrep.train.log import RunLog
from speechrep.train.schedule import rate_at
from speechrep.train.term import TermSignal


ANOTHER_EXP = ("choose another --exp (of a recipe's run.sh: --tag NAME, or, of what is trained on an upstream, "
               "--upstream NAME=SPEC)")
"""The cure where a folder holds a run that is not the one asked for."""


@dataclass(frozen=True)
class TrainConfig:
    """How a method is trained."""

    steps: int
    """Optimiser steps of the whole run."""
    batch_sec: float = 200.0
    """Seconds of audio in a step, over all processes and micro-batches."""
    micro_sec: float = 200.0
    """Seconds of audio, padding counted, that a process holds at once; a larger share is cut into micro-batches."""
    max_sec: float = 30.0
    """Longer utterances are left out."""
    lr: float = 2e-4
    """Peak learning rate."""
    phase_lr: dict[str, float] = dataclasses.field(default_factory=dict)
    """Peak learning rate of a phase where it differs from `lr`."""
    warmup: int = 1000
    """Steps of linear warm-up."""
    schedule: Literal["cosine", "linear", "constant", "inverse_sqrt"] = "cosine"
    """Shape of the decay behind the warm-up."""
    lr_floor: float = 0.05
    """What the learning rate decays to, as a share of the peak."""
    betas: tuple[float, float] = (0.9, 0.98)
    """AdamW's decay rates of the moments."""
    weight_decay: float = 0.01
    """AdamW's decay of matrices; vectors and scalars are not decayed."""
    clip_norm: float = 1.0
    """Bound of the gradient's norm."""
    ema: float = 0.0
    """Decay of the moving average of the weights learnt that is evaluated and kept; 0 keeps the weights themselves."""
    ramps: dict[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    """Loss name -> (first, last) step between which its weight rises from 0 to full."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Autocast: auto takes bf16 where the processor multiplies it natively."""
    dev_every: int = 500
    """Steps between evaluations on the dev part."""
    save_every: int = 500
    """Steps between checkpoints."""
    log_every: int = 50
    """Steps between lines of the log."""
    shard: Literal["none", "full"] = "none"
    """With several processes: none gives each the whole model (DDP); full divides weights, gradients and moments among
    them (FSDP), for a model that one device cannot hold. Its blocks must then be used through their forward only."""
    workers: int = 0
    """Loader processes; 0 loads in the training process."""

    def __post_init__(self):
        if self.steps < 1 or self.batch_sec <= 0 or self.micro_sec <= 0:
            raise ValueError("steps, batch_sec and micro_sec must be positive")


@dataclass(frozen=True)
class Trained:
    """What a finished run tells."""

    dev: dict[str, float]
    """Losses and metrics of the last evaluation."""
    best: dict[str, Any]
    """Of the weights that were kept: `by`, what was compared, its `value`, the `loss` and the `step`."""
    seconds: float
    """How long all sessions took."""


def fit(name: str, method: Method, weights: dict[str, float], config: TrainConfig, train: SpeechDataset,
        dev: SpeechDataset, folder: Path, seed: int, world: World,
        watch: Callable[[int, dict[str, float]], None] | None = None) -> Trained:
    """Train `method` to `config.steps`, resuming from `folder/last.pt` where there is one.

    Leaves `last.pt` (everything to go on), `best.pt` (the weights of the least dev loss, or of what the method
    `selects` by; their moving average where `ema` is set), `log.jsonl` and `time.json` (how long it took). Raises
    `SpeechrepError` on a loss that is not finite, on weights that name other losses than the method's, and on a
    checkpoint of another run.
    watch: told step and values of every evaluation, once its line is logged; what it raises stops the run.
    """
    check_weights(name, method, weights)
    if not (folder / "last.pt").is_file():
        method.to(world.device).take_train(train)
    run = _Run(name, method, weights, config, folder, seed, world)
    loader = _loader(train, config, seed, world, method.draw_weights(train))
    run.resume(loader)
    batches = iter(loader)
    # The loader's iterator draws from the global generator, so the state goes back only now.
    run.restore_rng()
    log = RunLog(folder, run.step, config.steps, name) if world.first else None
    try:
        with TermSignal() as term:
            _steps(run, batches, loader, dev, log, term, watch)
    finally:
        if log:
            log.close()
    return Trained(run.dev_values, run.best, run.clock.seconds)


def _steps(run: "_Run", batches: Iterator[list[Batch]], loader, dev: SpeechDataset, log: RunLog | None,
           term: TermSignal, watch: Callable[[int, dict[str, float]], None] | None = None) -> None:
    config, world = run.config, run.world
    sums: dict[str, torch.Tensor] = {}
    while run.step < config.steps:
        for key, value in run.train_step(next(batches)).items():
            sums[key] = sums.get(key, 0) + value
        done = run.step == config.steps
        if log:
            if run.step % config.log_every == 0 or done:
                means = {key: float(value[0] / value[1].clamp(min=1e-9)) for key, value in sums.items()}
                log.write(run.step, "train", means | {"lr": run.rate("main")})
                log.advance(means)
                sums = {}
            else:
                log.advance({})
        if run.step % config.dev_every == 0 or done:
            values = run.evaluate(dev)
            if log:
                log.write(run.step, "dev", values)
            run.keep_best(values)
            if watch is not None:
                watch(run.step, values)
            why = run.method.collapsed(values, run.step)
            if why:
                raise Diverged(f"step {run.step}: {run.name} has collapsed: {why}",
                               cure="lower train.lr, lengthen train.warmup or batch_sec, or change what the sentence "
                               "names; begin in a new --exp")
        stopping = world.any(term.came)
        if run.step % config.save_every == 0 or done or stopping:
            run.save(loader)
            if stopping and not done:
                raise Stopped(f"stopped at step {run.step} by a signal; the checkpoint is written",
                              cure="run the same command to go on")


def check_weights(name: str, method: Method, weights: dict[str, float]) -> None:
    """`weights` must name exactly the losses that the method returns."""
    wanted = {loss for losses in method.losses.values() for loss in losses}
    if set(weights) != wanted:
        raise SpeechrepError(f"weights: {', '.join(sorted(weights)) or 'none'}",
                             f"exactly the losses of {name}: {', '.join(sorted(wanted))}", "mend the YAML's `weights:`")


def _loader(dataset: SpeechDataset, config: TrainConfig, seed: int, world: World, weights: np.ndarray | None):
    from torchdata.stateful_dataloader import StatefulDataLoader
    sampler = StepSampler(dataset.seconds, config.batch_sec, config.micro_sec, seed, world.rank, world.size,
                          weights=weights)
    return StatefulDataLoader(dataset, batch_sampler=sampler, collate_fn=collate_step, num_workers=config.workers)


def native_bf16(device: torch.device) -> bool:
    """Whether `device` multiplies bfloat16 in hardware."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


class _Run:
    """The moving parts of a run: model, optimisers, moving average, step."""

    def __init__(self, name: str, method: Method, weights: dict[str, float], config: TrainConfig, folder: Path,
                 seed: int, world: World):
        self.name, self.weights, self.config, self.folder = name, weights, config, folder
        self.seed, self.world, self.clock = seed, world, Clock(folder / "time.json")
        self.method = method.to(world.device)
        self.phases = tuple(method.losses)
        self.sharded = config.shard == "full" and world.size > 1
        self.model: torch.nn.Module = self.method
        if self.sharded:
            shard.shard(self.method, world)
        elif world.size > 1:
            # A method of several phases leaves the parameters of the others without gradient.
            self.model = DistributedDataParallel(self.method, find_unused_parameters=method.partial or len(self.phases) > 1)
        self.optimisers = {phase: self._optimiser(phase) for phase in self.phases}
        self.average = {key: value.detach().clone() for key, value in self.method.state_dict().items()} \
            if config.ema else None
        self.learnt = [name for name, parameter in method.named_parameters() if parameter.requires_grad]
        bf16 = config.precision == "bf16" or (config.precision == "auto" and native_bf16(world.device))
        self.autocast = (lambda: torch.autocast(world.device.type, torch.bfloat16)) if bf16 else nullcontext
        self.step = 0
        self.best: dict[str, Any] = {"by": method.selects, "value": math.inf, "loss": math.inf, "step": 0}
        self.dev_values: dict[str, float] = {}
        self._rng: dict[str, Any] | None = None

    def _optimiser(self, phase: str) -> torch.optim.Optimizer:
        parameters = [p for p in self.method.phase_parameters(phase) if p.requires_grad]
        groups = [{"params": [p for p in parameters if p.ndim > 1], "weight_decay": self.config.weight_decay},
                  {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0}]
        # Divided and whole parameters cannot stand in one fused operation.
        return torch.optim.AdamW([group for group in groups if group["params"]], lr=self.config.lr,
                                 betas=self.config.betas, fused=not self.sharded,
                                 foreach=False if self.sharded else None)

    def rate(self, phase: str) -> float:
        c = self.config
        return rate_at(self.step, c.phase_lr.get(phase, c.lr), c.steps, c.warmup, c.schedule, c.lr_floor)

    def weight(self, loss: str) -> float:
        first, last = self.config.ramps.get(loss, (0, 0))
        ramp = 1.0 if last <= first else min(max((self.step - first) / (last - first), 0.0), 1.0)
        return self.weights[loss] * ramp

    def train_step(self, micros: list[Batch]) -> dict[str, torch.Tensor]:
        """One optimiser step of every phase; returns (sum, count) of each loss over all processes."""
        self.method.train()
        generator = torch.Generator().manual_seed(
            hash((self.seed, self.step, self.world.rank)) % 2 ** 63)
        micros = [self.method.prepare(to_device(batch, self.world.device), generator) for batch in micros]
        results: dict[str, torch.Tensor] = {}
        for phase in self.phases:
            names = self.method.losses[phase]
            counted = [self.method.counts(batch, phase) for batch in micros]
            counts = self.world.sum(torch.tensor([sum(count[name] for count in counted) for name in names]))
            optimiser = self.optimisers[phase]
            for group in optimiser.param_groups:
                group["lr"] = self.rate(phase)
            optimiser.zero_grad(set_to_none=True)
            sums = torch.zeros(len(names), dtype=torch.float64, device=self.world.device)
            for number, batch in enumerate(micros):
                last = number == len(micros) - 1
                with nullcontext() if last or self.world.size == 1 or self.sharded else self.model.no_sync():
                    with self.autocast():
                        losses = self.model(batch, phase)
                    # DDP and FSDP average gradients over processes; the counts are those of all of them.
                    total = sum(losses[name].float() * (self.weight(name) * self.world.size / max(float(count), 1.0))
                                for name, count in zip(names, counts))
                    total.backward()
                sums += torch.stack([losses[name].detach().double() for name in names])
            parameters = [p for group in optimiser.param_groups for p in group["params"]]
            if self.sharded:
                shard.reduce_undivided(parameters)
                norm = shard.clip_norm_(parameters, self.config.clip_norm)
            else:
                norm = torch.nn.utils.clip_grad_norm_(parameters, self.config.clip_norm)
            if not math.isfinite(norm):
                raise Diverged(f"step {self.step + 1}: the gradient of phase {phase} is not finite", "finite losses",
                               "lower train.lr or look at the data; "
                               f"{self.folder / 'last.pt'} holds an earlier good state")
            optimiser.step()
            sums = self.world.sum(sums)
            results |= {name: torch.stack([sums[i], counts[i]]) for i, name in enumerate(names)}
            results[f"grad_norm_{phase}"] = torch.stack([norm.double(), torch.ones_like(norm).double()])
        self.step += 1
        self.method.after_step(self.step)
        if self.average is not None:
            # A short memory at first, so that the starting weights do not linger.
            decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
            state = {key: shard.local(value) for key, value in self.method.state_dict().items()}
            average = {key: shard.local(value) for key, value in self.average.items()}
            torch._foreach_lerp_([average[key] for key in self.learnt], [state[key] for key in self.learnt], 1 - decay)
            # What moves by itself, a codebook or a teacher, is taken as it is.
            for key in state.keys() - set(self.learnt):
                average[key].copy_(state[key])
        return results

    @torch.no_grad()
    def evaluate(self, dev: SpeechDataset) -> dict[str, float]:
        """Mean of each loss and metric over the dev part, and their weighted sum `loss`, with the weights to be kept."""
        kept = None
        if self.average is not None:
            kept = {key: value.clone() for key, value in self.method.state_dict().items()}
            self.method.load_state_dict(self.average)
        # Divided weights come together in every forward pass, which all processes must then make.
        world = dataclasses.replace(self.world, rank=0, size=1) if self.sharded else self.world
        self.method.eval()
        with torch.random.fork_rng(devices=[self.world.device] if self.world.device.type == "cuda" else []):
            torch.manual_seed(0)
            sums: dict[str, torch.Tensor] = {}
            weights = self.method.draw_weights(dev)
            drawn = None if weights is None else draw(weights, np.random.default_rng((self.seed, self.step)))
            for batch in dev_batches(dev, self.config, world, drawn):
                batch = self.method.prepare(batch, torch.Generator().manual_seed(0))
                for phase in self.phases:
                    counts = self.method.counts(batch, phase)
                    with self.autocast():
                        losses = self.method(batch, phase)
                    pairs = {name: (losses[name], counts[name]) for name in self.method.losses[phase]}
                    for name, (total, count) in pairs.items():
                        sums[name] = sums.get(name, 0) + torch.tensor([float(total), float(count)], dtype=torch.float64)
                for name, pair in self.method.metrics(batch).items():
                    sums[name] = sums.get(name, 0) + torch.tensor(pair, dtype=torch.float64)
        if kept is not None:
            self.method.load_state_dict(kept)
        # A process may have had no batch at all, so names are gathered with the values.
        totals: dict[str, list[float]] = {}
        for share in world.gather({name: pair.tolist() for name, pair in sums.items()}):
            for name, pair in share.items():
                totals[name] = [a + b for a, b in zip(totals.get(name, (0.0, 0.0)), pair)]
        values = {name: total / max(count, 1e-9) for name, (total, count) in totals.items()}
        values["loss"] = sum(self.weights[name] * values[name] for name in self.method.losses[self.phases[0]])
        values |= self.method.dev_values(values, world.gather(self.method.dev_share()))
        self.dev_values = values
        return values

    def keep_best(self, values: dict[str, float]) -> None:
        by = self.method.selects
        value, loss = -self.step if by == LAST else values[by], values["loss"]
        if (value, loss) < (self.best["value"], self.best["loss"]):
            self.best = {"by": by, "value": value, "loss": loss, "step": self.step}
            state = shard.whole(self.average if self.average is not None else self.method.state_dict())
            if self.world.first:
                checkpoint.save(self.folder / "best.pt", checkpoint.content_of(self.name, self.method, state)
                                | {"step": self.step, "dev": values, "best": self.best, "seed": self.seed})

    def save(self, loader) -> None:
        """`last.pt`: all that the next process needs to go on as if nothing had happened."""
        processes = self.world.gather({"loader": loader.state_dict(), "rng": checkpoint.rng_state()})
        model, average = shard.whole(dict(self.method.state_dict())), shard.whole(self.average)
        optimisers = shard.whole({phase: optimiser.state_dict() for phase, optimiser in self.optimisers.items()})
        if self.world.first:
            checkpoint.save(self.folder / "last.pt", checkpoint.content_of(self.name, self.method, model) | {
                "step": self.step, "ema": average, "best": self.best, "dev": self.dev_values, "seed": self.seed,
                "processes": processes, "optimisers": optimisers})
            self.clock.save()

    def resume(self, loader) -> None:
        """Go back to `last.pt`, where there is one of this very run."""
        path = self.folder / "last.pt"
        if not path.is_file():
            return
        # Of a model that no device can hold whole, the file stays on the disk until each has taken its part.
        content = checkpoint.load(path, "cpu" if self.sharded else self.world.device, mapped=self.sharded)
        same = checkpoint.content_of(self.name, self.method, {})
        content["config"] = with_defaults(type(self.method.config), content["config"])
        for key in ("method", "config", "inventory"):
            if content[key] != same[key]:
                raise SpeechrepError(f"{path}: another {key}", f"the {key} of this run",
                                     f"{ANOTHER_EXP}, or remove the folder to start anew")
        if content["seed"] != self.seed or len(content["processes"]) != self.world.size:
            raise SpeechrepError(f"{path}: seed {content['seed']} on {len(content['processes'])} processes",
                                 f"seed {self.seed} on {self.world.size}",
                                 f"start it as it was started, or {ANOTHER_EXP}")
        best = content["best"]
        if isinstance(best, float):  # an earlier version kept the value alone
            best = {"by": "loss" if self.method.selects == "loss" else "another value", "value": best, "loss": best,
                    "step": None}
        if best["by"] != self.method.selects:
            raise SpeechrepError(f"{path}: a run whose best weights are chosen by {best['by']}",
                                 f"by {self.method.selects}", f"{ANOTHER_EXP}, or remove the folder to start anew")
        own = content["processes"][self.world.rank]
        state = self.method.state_dict()
        self.method.load_state_dict({key: shard.like(value, state.get(key, value))
                                     for key, value in content["model"].items()})
        for phase, optimiser in self.optimisers.items():
            optimiser.load_state_dict(shard.moments_like(content["optimisers"][phase], optimiser))
        if self.average is not None:
            self.average = {key: shard.like(value, state[key]) for key, value in content["ema"].items()}
        self.step, self.best, self.dev_values = content["step"], best, content["dev"]
        self.method.take_extras(content)
        self.clock.resume()
        loader.load_state_dict(own["loader"])
        self._rng = own["rng"]

    def restore_rng(self) -> None:
        if self._rng is not None:
            checkpoint.set_rng_state(self._rng)


def dev_batches(dev: SpeechDataset, config: TrainConfig, world: World, drawn: np.ndarray | None = None) -> Iterator[Batch]:
    """This process's share of the dev part, or of those `drawn` of its utterances, in batches of similar length; the same
    order for the same utterances."""
    order = sorted(range(len(dev)) if drawn is None else drawn.tolist(), key=lambda i: (-dev.seconds[i], i))
    start = number = 0
    while start < len(order):
        size = max(1, int(config.micro_sec / dev.seconds[order[start]]))
        if number % world.size == world.rank:
            yield to_device(collate_step([dev[i] for i in order[start:start + size]])[0], world.device)
        start, number = start + size, number + 1
