"""Initial weights."""

from __future__ import annotations

from math import prod, sqrt

import torch
from torch import nn


@torch.no_grad()
def scaled(module: nn.Module) -> nn.Module:
    """Normal weights of variance 1 / n, n the inputs that reach one output (LeCun et al. 1998, eq. 16), of 1
    / (3 n) in the last layer, and zero biases.

    Torch's own default shrinks the signal several times in every transposed convolution, whose inputs it
    counts on the wrong side: a deep autoencoder of small pictures then sits at the mean picture until the
    plateau schedule has taken its learning rate away. Variance 2 / n (He et al. 2015) starts VAEs far from
    their prior, for pictures are not centred.
    """
    kinds = nn.Linear | nn.Conv2d | nn.ConvTranspose2d
    layers = [layer for layer in module.modules() if isinstance(layer, kinds)]
    for layer in layers:
        shape = layer.weight.shape
        if isinstance(layer, nn.ConvTranspose2d):
            # An output sees every input channel through kernel / stride positions in either direction.
            inputs = shape[0] * prod(shape[2:]) / prod(layer.stride)
        else:
            inputs = prod(shape[1:])
        layer.weight.normal_(0.0, sqrt((1 / 3 if layer is layers[-1] else 1) / inputs))
        if layer.bias is not None:
            layer.bias.zero_()
    return module
