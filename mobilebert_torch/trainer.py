"""Trains a PyTorch model, one step at a time, on batches of numpy arrays.

Twin: mobilebert_tf/trainer.py. What decides the numbers comes from outside: first weights, order, learning rates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.errors import ConfigError
from mobilebert_core.quantization.training import check_quantize
from mobilebert_core.training.ranks import ALONE, IdleBatch, Ranks
from mobilebert_core.training.recipe import Recipe
from mobilebert_core.training.state import AGE, EXTRA, FIRST, GENERATOR, SECOND, STEPS
from mobilebert_core.training.trainer import Objective, TrainerBase

from .distributed import ObjectiveModule, ProcessRanks, like, reached_by, shard_blocks, whole
from .fake_quantization import FakeQuantization
from .heads import MODEL_CLASSES
from .inference import Runner, device_of
from .lamb import Lamb


def own_loss(model: Any, batch: Mapping[str, Tensor]) -> Tensor:
    """The default objective: the model's own loss, from the labels in the batch."""
    return model(**batch).loss


class Trainer(TrainerBase):
    """A model, its optimizer and its random numbers. Global random numbers and their seeds are left alone.

    Args:
        objective: model and batch of tensors -> the scalar that is minimized, or scalars by name whose sum is. The
            model is in training mode.
    """

    def __init__(
        self,
        model: Any,
        recipe: Recipe,
        *,
        precision: str = "float32",
        device: Any = None,
        compile: bool = False,
        objective: Objective | None = None,
        newly_initialized: Sequence[str] = (),
        quantize: str | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        check_quantize(quantize, precision, model.config)
        if ranks.count > 1:
            _check_ranks(ranks, precision, compile, quantize)
        device = device_of(ranks.device if isinstance(ranks, ProcessRanks) else device)
        self.model = model.to(device)
        self.ranks = ranks
        if ranks.sharded:
            shard_blocks(self.model)
        self.config = model.config
        self.recipe = recipe
        self.device = device
        self.objective = objective or own_loss
        self.newly_initialized = tuple(newly_initialized)
        self.autocast = getattr(torch, precision) if precision in ("float16", "bfloat16") else None
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.steps = 0
        self.terms: dict[str, float] = {}
        self._factors = dict.fromkeys(self.parameters, 1.0)
        self._begun: dict[str, int] = {}
        self._extra: dict[str, torch.nn.Parameter] = {}
        self.optimizer = self._make_optimizer()
        self.quantization = None if quantize is None else FakeQuantization(self.model)
        self._forward = torch.compile(self.model) if compile else self.model
        self._wrapped: tuple[Any, Any] = (None, None)
        self._runner = Runner(self.model, device)
        if ranks.sharded:
            self._runner.without_gradients = torch.no_grad  # FSDP2 uses its tensors again when it trains
        self._seed_dropout()

    @classmethod
    def create(cls, head: str, config: MobileBertConfig, precision: str) -> Any:
        with torch.random.fork_rng(devices=[]):  # these numbers are replaced
            return MODEL_CLASSES[head](config).to(_master_dtype(precision))

    @classmethod
    def load(cls, head: str, source: str | Path, precision: str, **fields: Any) -> tuple[Any, dict[str, Any]]:
        with torch.random.fork_rng(devices=[]):
            return MODEL_CLASSES[head].from_pretrained(
                source, dtype=_master_dtype(precision), output_loading_info=True, ignore_mismatched_sizes=True, **fields
            )

    def step(self, batches: Sequence[Mapping[str, np.ndarray]], learning_rate: float) -> float:
        """One update from the mean gradient of batches that hold labels; returns the mean loss."""
        self.model.train()
        loss, terms = torch.zeros((), device=self.device), dict[str, Tensor]()
        with self._own_random_numbers(), self.moving_ranges():
            objective = self._on_all_ranks(batches[0])
            for number, batch in enumerate(batches, 1):
                with self._counted(batch, number == len(batches)):
                    with self._autocast():
                        result: Any = objective(self._tensors(batch))
                    parts = result if isinstance(result, dict) else {"": result}
                    if isinstance(batch, IdleBatch):
                        parts = {name: value * 0 for name, value in parts.items()}
                    part: Any = sum(parts.values()) / len(batches)
                    self.scaler.scale(part).backward()
                loss = loss + part.detach()
                terms |= {n: terms.get(n, 0) + value.detach() / len(batches) for n, value in parts.items()}
        if isinstance(self.ranks, ProcessRanks):
            loss = self.ranks.mean(loss)
            terms = {name: self.ranks.mean(value) for name, value in terms.items()}
        self.scaler.unscale_(self.optimizer)
        if self.recipe.clip_norm is not None:
            self._clip(self.recipe.clip_norm)
        for group in self.optimizer.param_groups:
            group["lr"], group["eps"] = learning_rate * group["factor"], self._epsilon(group["begun"])
        scale = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.steps += self.scaler.get_scale() >= scale  # falls where float16 overflowed: no step was taken
        self.optimizer.zero_grad()
        self.terms = {name: float(value) for name, value in terms.items() if name}
        return float(loss)

    def begin_stage(self, objective: Objective, factors: Mapping[str, float], restart: bool = False) -> None:
        self.objective = objective
        before = (
            {} if restart else {n: self.optimizer.state[p] for n, p in self._trained() if p in self.optimizer.state}
        )
        opened = [n for n, factor in factors.items() if factor and (restart or not self._factors.get(n))]
        self._extra = dict(getattr(objective, "weights", {}))
        self._factors = {n: factors.get(n, 0.0) for n in self.parameters} | dict.fromkeys(self._extra, 1.0)
        self._begun |= dict.fromkeys([*opened, *self._extra], self.steps)
        for name, parameter in self.parameters.items():
            parameter.requires_grad_(self._factors[name] != 0)
            parameter.grad = None
        self.optimizer = self._make_optimizer()
        for name, parameter in self._trained():
            if name in before and name not in {*opened, *self._extra}:
                self.optimizer.state[parameter] = before[name]
        self._wrapped = None, None

    def run(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs by name, without dropout; with the loss, when the batch holds labels."""
        self.model.eval()
        with self._autocast():
            outputs = self._runner.run(batch)
        if self.ranks.sharded:
            self.model.reshard()  # the weights outside the blocks are whole until a backward pass
        return outputs

    # ------------------------------------------------------------------------------------------- state

    def array(self, name: str) -> np.ndarray:
        """A copy of a weight, by its name in the table."""
        return whole(self.model.get_parameter(name).detach()).cpu().numpy().copy()

    def assign(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Gives weights new values."""
        with torch.no_grad():
            for name, array in arrays.items():
                self.parameters[name].copy_(like(torch.as_tensor(array), self.parameters[name]))

    def state(self) -> dict[str, np.ndarray]:
        """All that a training needs to go on exactly, but the weights: moments by weight, random numbers, steps."""
        if self.ranks.rank and not self.ranks.sharded:  # the first saves what all have, and the random numbers of each
            self.ranks.gather(self._random)
            return {}
        found: dict[str, np.ndarray] = {STEPS: np.array([self.steps])}
        for name, parameter in self._trained():
            if moments := self.optimizer.state.get(parameter):
                found[FIRST + name] = whole(moments["exp_avg"]).cpu().numpy().copy()
                found[SECOND + name] = whole(moments["exp_avg_sq"]).cpu().numpy().copy()
            if begun := self._begun.get(name, 0):
                found[AGE + name] = np.array([self.steps - begun])
        found |= {EXTRA + name: p.detach().cpu().numpy().copy() for name, p in self._extra.items()}
        for rank, states in enumerate(self.ranks.gather(self._random)):
            found |= {name: value.numpy() for name, value in zip(self._generators(rank), states, strict=True)}
        if scale := self.scaler.state_dict():
            found[f"{GENERATOR}scale"] = np.array([scale["scale"], scale["_growth_tracker"]])
        return found | self.range_state()

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Goes on from what `state` returned; random numbers only if they were this framework's."""
        self.steps = int(state[STEPS][0])
        self.restore_ranges(state)
        ages = {name: int(state.get(AGE + name, state[STEPS])[0]) for name, _ in self._trained()}
        self._begun = {name: self.steps - age for name, age in ages.items()}
        self.optimizer = self._make_optimizer()
        with torch.no_grad():
            for name, parameter in self._extra.items():
                parameter.copy_(torch.as_tensor(state[EXTRA + name]))
        for name, parameter in self._trained():
            if FIRST + name in state:
                self.optimizer.state[parameter] = {
                    "step": torch.tensor(float(ages[name]), device=self.device),
                    # Copies in the order of the axes, which is that of the bytes that the fused update reads.
                    "exp_avg": like(torch.from_numpy(np.array(state[FIRST + name], order="C")), parameter.detach()),
                    "exp_avg_sq": like(torch.from_numpy(np.array(state[SECOND + name], order="C")), parameter.detach()),
                }
        names = self._generators(self.ranks.rank)
        if all(name in state for name in names):
            self._random = [torch.as_tensor(state[name]) for name in names]
        else:  # saved by fewer processes, on another device or by Keras: not the masks of the first steps again
            self._seed_dropout()
        if f"{GENERATOR}scale" in state and self.scaler.is_enabled():
            scale, tracker = state[f"{GENERATOR}scale"]
            self.scaler.load_state_dict({**self.scaler.state_dict(), "scale": scale, "_growth_tracker": int(tracker)})

    # ------------------------------------------------------------------------------------------ inside

    def _trained(self) -> list[tuple[str, Any]]:
        """The weights that are trained now, by name, those of the objective last."""
        return [(n, p) for n, p in [*self.parameters.items(), *self._extra.items()] if self._factors[n]]

    def _make_optimizer(self) -> Any:
        """A new optimizer, in which matrices come first. What differs in factor or age is a group of its own."""
        groups: dict[tuple[bool, float, int], list[Any]] = {}
        for matrices in (True, False):
            for name, parameter in self._trained():
                if (parameter.dim() > 1) == matrices:
                    key = matrices, self._factors[name], self._begun.get(name, 0)
                    groups.setdefault(key, []).append(parameter)
        decay, lamb = self.recipe.weight_decay, self.recipe.optimizer == "lamb"
        settings: dict[str, Any] = {
            "lr": self.recipe.learning_rate, "betas": (self.recipe.beta_1, self.recipe.beta_2),
            "eps": self.recipe.epsilon,
        }  # fmt: skip
        passed = [
            {"params": found, "weight_decay": decay if matrices else 0.0, "factor": factor, "begun": begun}
            | ({"rescaled": matrices} if lamb else {})
            for (matrices, factor, begun), found in groups.items()
        ]
        return Lamb(passed, **settings) if lamb else torch.optim.AdamW(passed, **settings, fused=True)

    def _epsilon(self, begun: int) -> float:
        """Keras's Adam adds it before the second moment is freed of its bias, PyTorch's after it: made the same."""
        if self.recipe.optimizer == "lamb":
            return self.recipe.epsilon
        return self.recipe.epsilon / (1 - self.recipe.beta_2 ** (self.steps - begun + 1)) ** 0.5

    def _on_all_ranks(self, batch: Mapping[str, np.ndarray]) -> Callable[[Mapping[str, Tensor]], Any]:
        """The objective as it is now, whose gradients are those of all ranks; `batch` is one of those to come."""
        if self._wrapped[0] is not self.objective:
            self._wrapped = self.objective, self._wrap(batch)
        return self._wrapped[1]

    def _wrap(self, batch: Mapping[str, np.ndarray]) -> Any:
        module = ObjectiveModule(self.model, self._forward, self.objective, list(self._extra.values()))
        if not isinstance(self.ranks, ProcessRanks) or self.ranks.sharded:
            return module
        some = self.objective is not own_loss
        if getattr(self.objective, "same_weights", False):  # else another batch may leave out others than this one
            mine = torch.tensor(float(self._leaves_out(module, batch)), device=self.device)
            some = bool(self.ranks.mean(mine) > 0)
        return DistributedDataParallel(module, find_unused_parameters=some)

    def _leaves_out(self, module: ObjectiveModule, batch: Mapping[str, np.ndarray]) -> bool:
        """Whether the objective depends on some weights only, such as those of blocks that are taught."""
        with torch.random.fork_rng(devices=self._cuda()), self._autocast():
            result: Any = module(self._tensors(batch))
        loss: Any = sum(result.values()) if isinstance(result, dict) else result
        reached = reached_by(loss)
        return any(id(weight) not in reached for weight in module.parameters() if weight.requires_grad)

    @contextmanager
    def _counted(self, batch: Mapping[str, np.ndarray], last: bool) -> Iterator[None]:
        """One batch of a step, whose gradients reach the other ranks with the last one."""
        if not isinstance(self.ranks, ProcessRanks):
            yield
            return
        with self.ranks.step(idle=isinstance(batch, IdleBatch)):
            if self.ranks.sharded:
                self.model.set_requires_gradient_sync(last)
            module = self._wrapped[1]
            apart = isinstance(module, DistributedDataParallel) and not last
            with module.no_sync() if apart else nullcontext():
                yield

    def _seed_dropout(self) -> None:
        with torch.random.fork_rng(devices=self._cuda()):
            seed, place = self.recipe.seed, (self.ranks.rank, self.steps)
            if any(place):  # mixed into 32 bits: the CPU's generator takes no more of a seed
                seed = int(np.random.SeedSequence([seed, *place]).generate_state(1)[0])
            torch.manual_seed(seed)
            self._random = self._random_state()

    def _generators(self, rank: int) -> list[str]:
        own = f"rank{rank}." if rank else ""
        return [f"{GENERATOR}{own}torch.{place}" for place in range(1 + len(self._cuda()))]

    def _tensors(self, batch: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        return {name: torch.from_numpy(array).to(self.device) for name, array in batch.items()}

    def _autocast(self) -> Any:
        return nullcontext() if self.autocast is None else torch.autocast(self.device.type, self.autocast)

    def _clip(self, limit: float) -> None:
        gradients = [p.grad for _, p in self._trained() if p.grad is not None]
        norm = whole(torch.nn.utils.get_total_norm(gradients))
        if self.ranks.sharded:
            torch._foreach_mul_(gradients, limit / max(float(norm), limit))
            return
        torch._foreach_mul_(gradients, limit / norm.clamp(min=limit))

    def _cuda(self) -> list[torch.device]:
        return [self.device] if self.device.type == "cuda" else []

    def _random_state(self) -> list[Tensor]:
        return [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in self._cuda())]

    @contextmanager
    def _own_random_numbers(self) -> Iterator[None]:
        with torch.random.fork_rng(devices=self._cuda()):
            torch.set_rng_state(self._random[0])
            for device, state in zip(self._cuda(), self._random[1:], strict=False):
                torch.cuda.set_rng_state(state, device)
            yield
            self._random = self._random_state()


def _check_ranks(ranks: Ranks, precision: str, compile: bool, quantize: str | None) -> None:
    if quantize is not None:
        raise ConfigError(
            f"Trainer: with quantize={quantize!r} wanted one process, whose ranges move with every batch, got "
            f"{ranks.count}. Start the command once, or leave out --quantize."
        )
    if not ranks.sharded:
        return
    if precision == "float16" or compile:
        got = "compile" if compile else precision
        raise ConfigError(
            f"Trainer: with sharded weights wanted float32, bfloat16 or float64 that is not compiled, got {got}. Leave "
            "out --shard, or take --precision bfloat16."
        )


def _master_dtype(precision: str) -> torch.dtype:
    """Weights and moments are kept in float32 where half precision computes."""
    return torch.float64 if precision == "float64" else torch.float32
