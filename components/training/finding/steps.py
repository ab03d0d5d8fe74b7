"""Single steps of a job's training, one at a time and at any rate, for those who measure rather than train.

The same arithmetic as the loop's, on one worker: network, objective, augmentation, precision and optimizer are the
job's own, and after an epoch's batches the weights are those of the loop, bit for bit. Left to the loop: epochs,
checkpoints, averages of the weights and everything that is shared between workers.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from components.augment.policy import augment
from components.config import TransferConfig
from components.models.parts.sequence import blocks as blocks_of
from components.models.preprocessing import laid_out
from components.tasks import registry as tasks
from components.tasks.capabilities import moves
from components.tasks.network import network_of
from components.tasks.protocol import Batch
from components.training.finding.alone import alone
from components.training.jobs.imbalance import balance_of
from components.training.jobs.job import Job
from components.training.loop.surroundings import Data
from components.training.objectives.objective import objective_of
from components.training.optimizing.optimization import build_optimizer, set_rate
from components.training.optimizing.transfer import begin_epoch
from components.training.parallel.choosing import strategy_of
from components.training.processes.workers import Workers, autocast, placed
from components.training.reading.samples import Split
from components.training.reading.sampling import Epochs, Positions, mix
from components.training.reading.stream import Stream


class Steps:
    """A fresh network of the job's, and its steps. To be used within `workers.deterministic`, as the loop is."""

    def __init__(self, job: Job, data: Data, device: torch.device) -> None:
        if isinstance(data.train, Stream):
            raise TypeError("data.train: expected samples in memory or in memory maps, received a stream")
        task, config = tasks.of(data.card), alone(job.training)
        self.job, self.config = job, config
        self.split = Split(data.train, device)
        self.move = moves(task)
        self.balance = balance_of(job, task, data.train.targets, data.card.classes)
        precision = functools.partial(autocast, config, device)
        # As in the last epoch: what is deferred has come, and what was frozen has thawed.
        self.objective = objective_of(job, task, device, precision, self.balance)(job.epochs)
        torch.manual_seed(mix("weights", job.seed))
        network = placed(network_of(task, job.network, data.card).train(), device, config.memory_format)
        blocks = blocks_of(network) if config.transfer != TransferConfig() else []
        sample = laid_out(self.split.batch(np.zeros(1, dtype=np.int64)).inputs, config.memory_format)
        self.strategy = strategy_of(network, sample, config, Workers(device=device), precision)
        torch.manual_seed(mix("training", job.seed, 0))
        self.optimizer = build_optimizer(self.strategy.parameters(), blocks, config)
        self.generator = torch.Generator()
        begin_epoch(self.strategy.network, self.strategy.parameters(), blocks, config.transfer, job.epochs)
        self.strategy.begin_epoch()

    def epochs(self, batch_size: int) -> Epochs:
        """How the job's epochs are cut into batches of this size."""
        return Epochs(self.job.epochs, len(self.split), batch_size, self.job.seed, self.balance)

    def take(self, positions: Positions, rate: float, number: int = 0, epoch: int = 1) -> Tensor:
        """One step on these samples of the training split; returns the loss before it, where it was computed.

        `number` and `epoch` decide how the samples are augmented, as in the loop.
        """
        batch = self.split.batch(positions)
        self.generator.manual_seed(mix("augment", self.job.seed, epoch, number, 0))
        inputs, targets = augment(batch.inputs, batch.targets, self.job.augment, self.generator, self.move)
        shown = Batch(laid_out(inputs, self.config.memory_format), targets)
        losses = self.strategy.backward(shown, self.objective, len(positions))
        if self.config.gradient_clip is not None:
            self.strategy.clip(self.config.gradient_clip)
        set_rate(self.optimizer, rate)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return losses["loss"].detach()
