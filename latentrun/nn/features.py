"""Features of examples: what distances between sets of examples are measured in."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import torch
from torch import Tensor

from latentrun.errors import InputError, one_line
from latentrun.functional.distances.frechet import gaussian_fit
from latentrun.functional.images.resize import Resize, resized
from latentrun.functional.spacing import evenly
from latentrun.functional.statistics.components import principal_components
from latentrun.nn.classifier import ROWS, Classifier

BATCH = 32  # pictures that a foreign network sees at once
FITTED = 4000  # training rows that principal components are fitted to
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


class Features(ABC):
    """A fixed map from ``x (N, *event)`` to ``(N, d)``, and what it is called in a table."""

    name: str

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """Features ``(N, d)``, float32 or float64, on the device of x."""


class Pixels(Features):
    """x itself, flattened."""

    name = "pixels"

    def __call__(self, x: Tensor) -> Tensor:
        return x.flatten(1)


class Principal(Features):
    """The first ``k`` principal components of ``train``, in data units and not whitened: distances are those
    of x in the plane of largest variance; one number that is 0 where nothing varies. Fitted to at most
    ``FITTED`` rows, evenly taken; ``share`` of their variance that lies in the plane."""

    def __init__(self, train: Tensor, k: int):
        rows = train[evenly(len(train), FITTED).to(train.device)].flatten(1)
        self.components = principal_components(rows, k)
        self.share = self.components.share
        self.name = f"pca ({max(1, len(self.components.axes))} components)"

    def __call__(self, x: Tensor) -> Tensor:
        found = self.components.coordinates(x.flatten(1))
        return found if found.shape[1] else found.new_zeros(len(x), 1)


class Penultimate(Features):
    """The layer before the last of a classifier, divided by one number, so that the mean variance of the
    features over ``train`` is 1: how large a net makes them says nothing about the data."""

    @torch.no_grad()
    def __init__(self, classifier: Classifier, train: Tensor):
        self.classifier, self.unit = classifier, 1.0
        self.name = f"classifier ({classifier.head.in_features} units)"
        fit = gaussian_fit(self(part) for part in train.split(ROWS))
        self.unit = (fit.scatter.trace() / (fit.n * len(fit.mean))).sqrt().item() or 1.0

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        return self.classifier.features(x) / self.unit


def is_scripted(path: Path) -> bool:
    """Whether a file has the form of TorchScript, by its table of contents; nothing in it is run."""
    try:
        with ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (BadZipFile, OSError):
        return False


class Scripted(Features):
    """The output of a TorchScript file for pictures: values clamped to ``value_range`` and carried to
    ``input_range`` linearly, grey repeated for 3 ``channels`` (colour made grey for 1), stretched to ``size``
    bilinearly, without smoothing, None: as they are. ``resize``: ``tf1`` as the published Inception scores
    do, ``half_pixel`` as torch does (see :func:`latentrun.functional.images.resize.resized`; features of
    small pictures move by a sixth of their norm between the two). Published scores are of pictures of whole
    bytes, which those of a decoder are not: these are not rounded here.

    The file is a program: torch runs what it holds, in an interpreter of its own. Name only files that you
    trust. InputError where it cannot be read, does not take such pictures, or gives no finite ``(N, d)``;
    ``where``: the setting that names the file, for these errors.
    """

    def __init__(
        self,
        path: str,
        size: tuple[int, int] | None,
        channels: int,
        input_range: tuple[float, float],
        value_range: tuple[float, float],
        resize: Resize,
        device: torch.device,
        where: str = "features",
    ):
        self.where = f"{where}: {path!r}"
        self.size, self.channels, self.resize = size, channels, resize
        self.input_range, self.value_range = input_range, value_range
        self.name = Path(path).name
        with warnings.catch_warnings():
            # torch.export reads no file of today's feature networks.
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                self.network = torch.jit.load(Path(path).expanduser(), map_location=device).eval()
            except (RuntimeError, OSError, ValueError) as error:
                reason = one_line(error)
                raise InputError(f"{self.where} is no TorchScript file that can be read: {reason}") from None

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        return torch.cat([self._part(part) for part in x.split(BATCH)])

    def _part(self, x: Tensor) -> Tensor:
        images = self._prepared(x)
        try:
            output = self.network(images)
        except RuntimeError as error:  # torch.jit.Error is one
            reason = str(error).strip().splitlines()[-1]
            shape = tuple(images.shape[1:])
            raise InputError(f"{self.where} does not take pictures of {shape}: {reason}") from None
        if not isinstance(output, Tensor) or not output.is_floating_point() or len(output) != len(x):
            given = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise InputError(
                f"{self.where} must give (N, d) numbers for N pictures, and gives {given} for {len(x)}"
            )
        if not output.isfinite().all():
            raise InputError(f"{self.where} gives values that are not finite")
        return output.flatten(1)

    def _prepared(self, x: Tensor) -> Tensor:
        """Images ``(N, c, h, w)`` with the range, the channels and the size that the network wants."""
        (low, high), (first, last) = self.value_range, self.input_range
        x = first + (x.clamp(low, high) - low) * ((last - first) / (high - low))
        if self.channels == 3 and x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        elif self.channels == 1 and x.shape[1] == 3:
            x = torch.einsum("nchw,c->nhw", x, torch.tensor(LUMA).to(x)).unsqueeze(1)
        if self.size is not None:
            x = resized(x, self.size, self.resize)
        return x.contiguous()
