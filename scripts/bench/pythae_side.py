"""pythae's side of scripts/bench/training: its VAE around our networks, its trainer with a stopwatch."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback

for name in [name for name in logging.root.manager.loggerDict if name.startswith("pythae")]:
    logging.getLogger(name).setLevel(logging.ERROR)


class Stopwatch:
    """Seconds of the steps, and of whole epochs, of pythae's trainer."""

    def __init__(self, clock: Callable[[], float]):
        self.clock, self.steps, self.whole, self.start = clock, 0.0, 0.0, 0.0


def timed_trainer(watch: Stopwatch) -> tuple[type, type]:
    """pythae's trainer that writes no files, and a callback, which together drive the stopwatch."""

    class Timed(BaseTrainer):
        def train_step(self, epoch):
            start = watch.clock()
            loss = super().train_step(epoch)
            watch.steps += watch.clock() - start
            return loss

        def save_model(self, model, dir_path):
            """Nothing: files are no part of the comparison."""

    class Watch(TrainingCallback):
        def on_epoch_begin(self, training_config, **kwargs):
            watch.start = watch.clock()

        def on_epoch_end(self, training_config, **kwargs):
            watch.whole += watch.clock() - watch.start

    return Timed, Watch


def model_of(case):
    """pythae's VAE with the networks of ours."""
    source = case.model()

    class Encoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            self.net = source.encoder

        def forward(self, x):
            mean, log_variance = self.net(x).chunk(2, dim=1)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self):
            super().__init__()
            self.net, self.head = source.decoder, source.head

        def forward(self, z):
            return ModelOutput(reconstruction=self.head.mean(z, self.net(z)))

    shape = case.data.event_shape
    config = VAEConfig(input_dim=shape, latent_dim=source.latent_dim, reconstruction_loss="mse")
    return VAE(config, Encoder(), Decoder())


def config_of(case, epochs: int, folder: str):
    """The settings of our training as pythae's trainer takes them."""
    settings = dict(case.config["training"]["optimizer"])
    name, rate = settings.pop("_target_").rpartition(".")[2], settings.pop("lr")
    return BaseTrainerConfig(
        output_dir=folder,
        num_epochs=epochs,
        per_device_train_batch_size=case.training.batch_size,
        per_device_eval_batch_size=min(case.training.batch_size, 128),
        optimizer_cls=name,
        learning_rate=rate,
        optimizer_params=settings,
        no_cuda=True,
    )


def splits_of(case) -> list[BaseDataset]:
    """Training and validation rows as pythae takes them."""
    splits = case.data.split("train"), case.data.split("val")
    return [BaseDataset(split.x, torch.zeros(len(split.x))) for split in splits]
