"""The training loop of every room: epochs of steps, a score on the dev set after each, the best weights kept.

    for every epoch:
        for every step:  losses of its samples → mean → gradient → clip → AdamW at the schedule's rate
        score on dev:    better → keep these weights; not better for `patience` epochs → stop

Killed at any moment it goes on from the last checkpoint and ends with the same weights, bit for bit on the CPU. On several
ranks (`torchrun`) each takes its part of every batch, and the gradient is that of the whole.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.core.progress import Progress, Tick
from cutaway.core.training.checkpoint import Checkpoints, Position, put_back, restore, tensors_of, trained
from cutaway.core.training.options import Training
from cutaway.core.training.order import epoch_order, part
from cutaway.core.training.schedule import rate
from cutaway.core.training.task import Task, moved


@dataclass(frozen=True)
class Trained:
    """What a training came to. The task's model has the best weights."""

    scores: dict[str, float]
    """On the dev set, with the best weights."""
    step: int
    """After which they were kept."""
    history: tuple[dict, ...]
    """Scores of every epoch."""
    losses: tuple[float, ...]
    """Of every step."""


def train(
    task: Task,
    training: Training,
    folder: str | Path,
    *,
    progress: Progress = Progress(),  # noqa: B008 - has no state
    resume: bool = False,
    trackers: Sequence[str] = (),
) -> Trained:
    """Trains `task.model`, and leaves it with the weights that scored best on the dev set.

    Args:
        folder: for checkpoints; what it holds of an earlier training is forgotten unless `resume`.
        trackers: names that accelerate knows (`tensorboard`, `wandb` …), for those who watch from elsewhere.

    Raises:
        CutawayError: an option out of range, no samples, a loss that is not finite, or a checkpoint of another training.
    """
    training.check()
    if task.n_samples < 1:
        raise CutawayError("there is nothing to train on: the training set is empty")
    loop = _Loop(task, training, Path(folder), trackers)
    if resume:
        loop.resume()
    else:
        loop.start()
    with progress.stage("train", loop.total) as tick:
        tick(loop.at.step)
        loop.run(tick, progress)
    return loop.finish()


class _Loop:
    """One training. The three parts of its state that change, model, optimiser and position, are what a checkpoint holds."""

    def __init__(self, task: Task, training: Training, folder: Path, trackers: Sequence[str]):
        from accelerate import Accelerator

        self.task, self.training = task, training
        self.accelerator = Accelerator(
            cpu=not torch.cuda.is_available(), mixed_precision=training.precision, log_with=list(trackers) or None,
            project_dir=str(folder) if trackers else None,
        )  # fmt: skip
        if trackers:
            self.accelerator.init_trackers("cutaway", config=asdict(training))
        self.rank, self.world = self.accelerator.process_index, self.accelerator.num_processes
        torch.manual_seed(training.seed + self.rank)
        groups = [{"multiple": 1.0, **group} for group in task.groups()]
        # fused: one pass over each parameter; the plain kind takes a third of a step where a model is mostly embeddings
        optimizer = torch.optim.AdamW(groups, lr=training.lr, weight_decay=training.weight_decay, fused=True)
        self.model, self.optimizer = self.accelerator.prepare(task.model, optimizer)
        self.per_epoch = -(-task.n_samples // (training.batch * self.world * training.accumulate))
        self.total = training.epochs * self.per_epoch
        about = {**asdict(training), "samples": task.n_samples, "processes": self.world}
        self.checkpoints = Checkpoints(folder, about)
        self.at = Position()

    # --- beginning and end --------------------------------------------------------------------------------------------

    def start(self) -> None:
        if self.accelerator.is_main_process:
            self.checkpoints.clear()
        self.accelerator.wait_for_everyone()

    def resume(self) -> None:
        """From the last checkpoint, if there is one."""
        if found := self.checkpoints.load():
            self.at, tensors = found
            random = tensors.pop("random")
            restore(self.bare, self.optimizer.optimizer, tensors)
            torch.set_rng_state(random[self.rank])
            before = "task."
            self.task.put_state({name[len(before) :]: x for name, x in tensors.items() if name.startswith(before)})

    def finish(self) -> Trained:
        put_back(self.bare, self.checkpoints.load_best(self.at.best_step))
        self.bare.eval()
        self.release()
        best = next(scores for scores in self.at.scores if scores["step"] == self.at.best_step)
        scores = {name: x for name, x in best.items() if name not in ("epoch", "step")}
        return Trained(scores, self.at.best_step, tuple(self.at.scores), tuple(self.at.losses))

    def release(self) -> None:
        """Trackers end, and accelerate forgets this training, so that another one, of another precision, can follow. The ranks
        stay together: `end_training` would part them."""
        from accelerate.state import AcceleratorState

        for tracker in self.accelerator.trackers:
            tracker.finish()
        AcceleratorState._reset_state()

    @property
    def bare(self) -> nn.Module:
        """The model without what accelerate wraps around it."""
        return self.accelerator.unwrap_model(self.model)

    # --- the loop -----------------------------------------------------------------------------------------------------

    def run(self, tick: Tick, progress: Progress) -> None:
        every, patience = self.training.checkpoint_every, self.training.patience
        while self.at.epoch < self.training.epochs and not (patience and self.at.waited >= patience):
            self.model.train()
            for batches in list(self.steps(self.at.epoch))[self.at.within :]:
                self.at.losses.append(self.step(batches))
                self.at.step += 1
                self.at.within += 1
                tick(1)
                if every and self.at.step % every == 0 and self.at.within < self.per_epoch:
                    self.checkpoint()
            self.score(progress)
            self.checkpoint()

    def steps(self, epoch: int) -> Iterator[list[list[int]]]:
        """The batches of each step of an epoch, over all ranks."""
        training, task = self.training, self.task
        size = training.batch * self.world
        batches = epoch_order(task.n_samples, size, seed=training.seed, epoch=epoch, lengths=task.lengths)
        yield from (batches[i : i + training.accumulate] for i in range(0, len(batches), training.accumulate))

    def step(self, batches: list[list[int]]) -> float:
        """One step of the optimiser; returns the mean loss of its samples."""
        n, loss = sum(map(len, batches)), torch.zeros((), device=self.accelerator.device)
        for i, samples in enumerate(batches):
            last = i == len(batches) - 1
            with nullcontext() if last else self.accelerator.no_sync(self.model):
                # ranks' gradients are averaged, so each counts as if all were its own
                mine = self.losses(samples).sum() * (self.world / n)
                self.accelerator.backward(mine)
            loss += mine.detach() / self.world
        mean = self.accelerator.reduce(loss, "sum").item()
        if mean != mean or mean in (float("inf"), float("-inf")):
            raise CutawayError(
                f"the loss is {mean} at step {self.at.step + 1}: lower the learning rate ({self.training.lr:g})"
            )
        if self.training.clip:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.training.clip)
        share = rate(self.at.step, self.total, warmup=self.training.warmup, schedule=self.training.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = self.training.lr * share * group["multiple"]
        self.optimizer.step()
        self.task.after_step(self.at.step + 1, self.total)
        self.optimizer.zero_grad()
        self.accelerator.log({"loss": mean, "lr": self.training.lr * share}, step=self.at.step)
        return mean

    def losses(self, samples: list[int]) -> Tensor:
        """Of this rank's part of a batch. A rank without any still has to take part, with a loss of nothing."""
        mine = part(samples, self.rank, self.world)
        batch = moved(self.task.collate(mine or samples[:1]), self.accelerator.device)
        with self.accelerator.autocast():
            losses = self.task.losses(self.model, batch)
        return losses if mine else losses * 0

    def score(self, progress: Progress) -> None:
        """Ends an epoch."""
        self.model.eval()
        with torch.no_grad():
            scores = self.task.evaluate(self.bare)
        at = self.at
        loss = sum(at.losses[-self.per_epoch :]) / self.per_epoch
        at.epoch, at.within = at.epoch + 1, 0
        at.scores.append({"epoch": at.epoch, "step": at.step, "loss": loss, **scores})
        self.accelerator.log({f"dev {name}": x for name, x in scores.items()}, step=at.step)
        if not self.task.settled():
            pass
        elif at.best is None or scores["score"] > at.best:
            at.best, at.best_step, at.waited = scores["score"], at.step, 0
            if self.accelerator.is_main_process:
                self.checkpoints.save_best(at.step, trained(self.bare))
        else:
            at.waited += 1
        said = ", ".join(f"{name} {x:.4f}" for name, x in scores.items() if name != "score")
        progress.say(f"epoch {at.epoch}: loss {loss:.4f}; dev {said}{' (best)' if at.best_step == at.step else ''}")

    def checkpoint(self) -> None:
        random = self.accelerator.gather(torch.get_rng_state().to(self.accelerator.device)[None]).cpu()
        if self.accelerator.is_main_process:
            state = {f"task.{name}": x for name, x in self.task.state().items()}
            self.checkpoints.save(self.at, tensors_of(self.bare, self.optimizer.optimizer, random) | state)
        self.accelerator.wait_for_everyone()
