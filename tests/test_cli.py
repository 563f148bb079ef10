"""What the command says to wrong input: one line, exit code 2, nothing written, before anything trains."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
import torch

import latentrun
from latentrun.cli import main
from latentrun.config.options import GROUPS, options, shipped
from latentrun.errors import InputError

OWN = Path(__file__).parent / "own"  # the worked example of a package of one's own

POINTS = """
from latentrun.data.base import Dataset

class Points(Dataset):
    event_shape, value_range, factors = (4,), (-1.0, 1.0), ()

    def __init__(self): ...
    def _load(self): raise AssertionError("nothing is read before everything fits")
"""
# What the command lines below find, by its place in the folder {p}.
PLACES = {
    "file": "a file\n",
    "empty/nothing": "",
    "sweep/0_seed=1/meta.json": "{}",
    "newer/meta.json": '{"schema": 99}',
    "points/data/points.yaml": "# Points\n_target_: strange_points.Points\n",
    "again/data/points.yaml": "# Points once more\n_target_: strange_points.Points\n",
    "broken/model/broken.yaml": (
        "# Broken\n_target_: latentrun.models.ae.AE\nlatent_dim: 3\n squash: : false\n"
    ),
    "binary/model/binary.yaml": b"# \xff\xfe\n",
    "shadow/model/vae.yaml": "# Mine\n_target_: latentrun.models.ae.AE\n",
    "root/config.yaml": "seed: 3\n",
    "pieces/model/untargeted.yaml": "# No class\nlatent_dim: 3\n",
    "pieces/model/unknown_key.yaml": (
        "# A key too many\n_target_: latentrun.models.ae.AE\nlatent_dim: 3\nsquash: false\nsquish: 3\n"
    ),
    "pieces/model/incomplete.yaml": "# A key too few\n_target_: latentrun.models.ae.AE\nlatent_dim: 3\n",
    "pieces/experiment/dangling.yaml": (
        "# @package _global_\n# Names what is not there\ndefaults:\n  - override /model: vea\n"
    ),
    "sweeps/experiment/key.yaml": (
        "# @package _global_\n# Key\nhydra: {sweeper: {params: {modl: 'vae,ae'}}}\n"
    ),
    "sweeps/experiment/option.yaml": (
        "# @package _global_\n# Option\nhydra: {sweeper: {params: {model: 'vae,vea'}}}\n"
    ),
    "sweeps/experiment/value.yaml": (
        "# @package _global_\n# Value\nhydra: {sweeper: {params: {model.latent_dim: '1,x'}}}\n"
    ),
    "sweeps/experiment/text.yaml": (
        "# @package _global_\n# Text\nhydra: {sweeper: {params: {seed: '1,(2'}}}\n"
    ),
    "sweeps/experiment/listed.yaml": (
        "# @package _global_\n# List\nhydra: {sweeper: {params: {seed: [1, 2]}}}\n"
    ),
    "sweeps/experiment/param.yaml": (
        "# @package _global_\n# Param\nhydra: {sweeper: {param: {seed: '1,2'}}}\n"
    ),
    "values/experiment/knn.yaml": "# @package _global_\n# Some of its values\ndiagnostic: {knn: {k: 3}}\n",
    "values/experiment/misspelt.yaml": "# @package _global_\n# None of it\ndiagnostic: {knm: {k: 3}}\n",
    "packages/strange_points.py": POINTS,
}
# (command line, the one line it gets: ``...`` at the end stands for whatever follows)
WRONG = [
    # names that do not exist, with the nearest that does
    (
        "model=vea",
        "unknown model 'vea' (did you mean 'vae'?); known: ae, flow, gaussian, mixture, "
        "two_stage_race, two_stage_vae, vae",
    ),
    (
        "model=VAE",
        "unknown model 'VAE' (did you mean 'vae'?); known: ae, flow, gaussian, mixture, "
        "two_stage_race, two_stage_vae, vae",
    ),
    ("data=heatmap", "unknown data 'heatmap' (did you mean 'heatmaps'?); known: ..."),
    ("network=dnse", "unknown network 'dnse' (did you mean 'dense'?); known: conv, dense, draw, resnet"),
    ("task=diagnos", "unknown task 'diagnos' (did you mean 'diagnose'?); known: ..."),
    ("training=defalt", "unknown training 'defalt' (did you mean 'default'?); known: default, latent_noise"),
    (
        "training.then=false",
        "training.then: must be Experiment, got false (or null)",
    ),
    ("debug=quik", "unknown debug 'quik' (did you mean 'quick'?); known: null, overfit, quick"),
    ("experiment=heatmaps", "unknown experiment 'heatmaps' (did you mean 'heatmaps_t'?); known: ..."),
    ("diagnostic=sparsty", "unknown diagnostic 'sparsty' (did you mean 'sparsity'?); known: ..."),
    (
        "diagnostic=[reconstruction,latnts]",
        "unknown diagnostic 'latnts' (did you mean 'latents'?); known: ...",
    ),
    ("mdel=ae", "unknown key 'mdel' (did you mean 'model'?); known: ..."),
    ("trainig.epochs=3", "unknown key 'trainig.epochs' (did you mean 'training'?); known: ..."),
    (
        "model.latnt_dim=3",
        "unknown key of model 'latnt_dim' (did you mean 'latent_dim'?); known: beta, "
        "beta_start, cycle_epochs, cycles, ...",
    ),
    (
        "training.optimizer.learning_rate=1",
        "unknown key of training.optimizer 'learning_rate'; known: fused, lr",
    ),
    (
        "diagnostic.traversal.step=3",
        "unknown key of diagnostic.traversal 'step' (did you mean 'steps'?); known: arcs, directions, "
        "extent, lines, ...",
    ),
    ("model=ae model.beta=4", "unknown key of model 'beta'; known: latent_dim, squash"),
    ("+model.foo=3", "model.foo: VAE takes no such value"),
    ("+foo=3", "unknown key 'foo'; known: ..."),
    ("hydra.foo=1", "Could not override 'hydra.foo': Key 'foo' not in 'HydraConf'"),
    (
        "hydra/launcher=joblib",
        "hydra/launcher=joblib: hydra-joblib-launcher is not installed: pip install 'latentrun[joblib]'",
    ),
    # texts that are no override
    ("model", "'model' cannot be read: write key=value"),
    ("model vae", "'model' cannot be read: write key=value"),
    ("vae", "'vae' cannot be read: write model=vae"),
    ("model = vae", "'model' cannot be read: no spaces around '=': model=..."),
    ("'model: vae'", "'model: vae' cannot be read: write model=vae"),
    ("model:vae", "'model:vae' cannot be read: write model=vae"),
    ("seed=1, 2", "'seed=1,' cannot be read: no space after a comma: seed=1,2"),
    ("seed=[1,2", "'seed=[1,2' cannot be read: a bracket is not closed, or not quoted: 'key=[a,b]'"),
    ('"model=\'vae"', '"model=\'vae" cannot be read: a quote is not closed'),
    (
        "model.=3",
        "'model.=3' cannot be read: 'model.' is no key; keys are names with points between them: "
        "model.latent_dim=3",
    ),
    (
        "/model=vae",
        "'/model=vae' cannot be read: '/model' is no key; keys are names with points between them: "
        "model.latent_dim=3",
    ),
    ("=3", "'=3' cannot be read: write key=value"),
    (
        "seed=foo(1)",
        "'seed=foo(1)' cannot be read: no such function; several values are given as key=1,2,3, as "
        "key=range(1,4) or as ...",
    ),
    (
        "'model=vae;'",
        "'model=vae;' cannot be read: a text with special characters stands in quotes of its own: "
        "\"key='a: b'\"",
    ),
    # flags
    ("--fo", "unknown flag '--fo' (did you mean '--info'?); see latentrun --help"),
    ("--model vae", "unknown flag '--model': values are given without dashes: model=..."),
    ("--seed=3", "unknown flag '--seed=3': values are given without dashes: seed=3"),
    ("-model=vae", "unknown flag '-model=vae': values are given without dashes: model=vae"),
    ("-v", "unknown flag '-v'; see latentrun --help"),
    ("--cfg", "argument --cfg/-c: expected one argument; see latentrun --help"),
    ("--cfg=jobs", "argument --cfg/-c: invalid choice: 'jobs' (choose from ..."),
    ("--cfg job --info", "argument --info/-i: not allowed with argument --cfg/-c; see latentrun --help"),
    ("--cfg job --package mdel", "--package: the configuration has no 'mdel'"),
    ("--resolve", "--resolve goes with --cfg; see latentrun --help"),
    (
        "--config-name other",
        "unknown flag '--config-name' (did you mean '--config-dir'?); see latentrun --help",
    ),
    # types
    ("seed=1.5", "seed: must be a whole number, got 1.5"),
    ("seed=abc", "seed: must be a whole number, got 'abc'"),
    ("seed=true", "seed: must be a whole number, got true"),
    ("seed=[1,2]", "seed: must be a whole number, got [1, 2]"),
    ("seed=99999999999999999999", "seed: must be a whole number below 2^63, got 99999999999999999999"),
    ("seed='1 2'", "seed: must be a whole number, got '1 2'"),
    ("model.latent_dim=", "model.latent_dim: must be a whole number, got ''"),
    ("model.latent_dim=null", "model.latent_dim: must be a whole number, got null"),
    ("model.latent_dim=[3]", "model.latent_dim: must be a whole number, got [3]"),
    ("model.latent_dim={a:1}", "model.latent_dim: must be a whole number, got {'a': 1}"),
    (
        "training.batch_size=1e3",
        "training.batch_size: must be a whole number written without a point, got 1000.0",
    ),
    ("model.sample=1", "model.sample: must be true or false, got 1"),
    ("model.kl=3", "model.kl: 3 is not allowed; allowed: full, quadratic, none"),
    ("model.beta=inf", "model.beta: must be a finite number, got inf"),
    ("training.optimizer.lr=nan", "training.optimizer.lr: must be a finite number, got nan"),
    ("network.widths=128", "network.widths: must be a list, got 128"),
    ("network.widths=abc", "network.widths: must be a list, got 'abc'"),
    ("network.widths=[1,[2]]", "network.widths[1]: must be a whole number, got [2]"),
    ("network.widths={a:1}", "Error merging override network.widths={a:1}: Cannot merge ..."),
    ("data.correlation=3", "data.correlation: must be a mapping, got 3"),
    ("diagnostic.latents=null", "diagnostic.latents: must be a mapping with the key _target_, got null"),
    ("training.optimizer=adam", "training.optimizer: must be a mapping with the key _target_, got 'adam'"),
    (
        "training.optimizer=null",
        "training.optimizer: a value is needed: a class of torch.optim with its settings",
    ),
    (
        "training.optimizers={critic:null}",
        "training.optimizers.critic: a value is needed: a class of torch.optim with its settings",
    ),
    ("trust=numpy", "trust: must be a list, got 'numpy'"),
    ("output=3", "output: must be a text, got 3"),
    ("output=", "output: must be a text that is not empty and can be printed, got ''"),
    ("device=null", "device: must be a text, got null"),
    (
        "hydra.mode=FOO",
        "Error merging override hydra.mode=FOO: Invalid value 'FOO', expected one of [RUN, MULTIRUN]",
    ),
    # ranges
    ("seed=-1", "seed: must be at least 0, got -1"),
    ("rows=1", "rows: must be at least 2, got 1 (or null)"),
    ("threads=0", "threads: must be between 1 and 1024, got 0 (or null)"),
    ("threads=100000", "threads: must be between 1 and 1024, got 100000 (or null)"),
    ("model.latent_dim=0", "model.latent_dim: must be at least 1, got 0"),
    ("model.latent_dim=-1", "model.latent_dim: must be at least 1, got -1"),
    ("model.kl=ful", "model.kl: 'ful' is not allowed (did you mean 'full'?); allowed: full, quadratic, none"),
    ("model.likelihood.scale=0", "model.likelihood.scale: must be more than 0, got 0.0"),
    (
        "model.likelihood=gausian",
        "unknown likelihood 'gausian' (did you mean 'gaussian'?); known: auto, bernoulli, gaussian, mixed",
    ),
    ("model=ae model.likelihood=bernoulli", "unknown key of model 'likelihood'; known: latent_dim, squash"),
    ("likelihood=bernoulli", "'likelihood=bernoulli': write model.likelihood=..."),
    (
        "model.likelihood=bernoulli model.likelihood.balance=fixed",
        "unknown key of model.likelihood 'balance'; known: ",
    ),
    ("training.optimizers={critic:{_target_:torch.optim.SGD,lr:0.1}}", "unknown objective of ..."),
    ("network.channels=[8,0]", "network.channels: must be values at least 1, got [8, 0]"),
    ("training.batch_size=0", "training.batch_size: must be at least 1, got 0"),
    ("training.epochs=-1", "training.epochs: must be at least 0, got -1"),
    ("training.patience=0", "training.patience: must be at least 1, got 0 (or null)"),
    ("training.clip=0", "training.clip: must be more than 0, got 0.0 (or null)"),
    ("training.optimizer.lr=-1", "training.optimizer: Invalid learning rate: -1.0"),
    ("training.scheduler.factor=2", "training.scheduler: Factor should be < 1.0."),
    ("data.val_fraction=0", "data.val_fraction: must be between 0 and 1 (ends excluded), got 0.0"),
    ("data.test_fraction=1.5", "data.test_fraction: must be between 0 and 1 (ends excluded), got 1.5"),
    ("data.correlation.low=-2", "data.correlation: low -2, high 0.85 given; |r| must be below 1"),
    ("data.correlation.step=0", "data.correlation.step: 0 given; a step must be above 0"),
    ("'data.variance_x={low: 2, high: 1, step: 0.1}'", "data.variance_x: low 2 is above high 1"),
    (
        "data=digits data.test_fraction=0.9999",
        "data: the train split is empty; give more examples or another fraction",
    ),
    ("diagnostic.latents.neighbours=0", "diagnostic.latents.neighbours: must be at least 1, got 0"),
    ("model.latent_dim=99999999999", "model: VAE cannot be made: it does not fit into the memory"),
    # keys in the wrong place
    ("model.latent_dim.x=3", "'model.latent_dim.x=3': model.latent_dim is a single value; it has no key 'x'"),
    (
        "diagnostic.sparsity.x=1 diagnostic=[latents]",
        "'diagnostic.sparsity.x=1': the diagnostic 'sparsity' is not one of those chosen: latents",
    ),
    ("run=nowhere", "'run=nowhere': run belongs to task=diagnose, task=encode, task=prune, task=sample"),
    ("model.latent_dim=???", "model.latent_dim: a value is needed: model.latent_dim=..."),
    ("model.latent_dim=${nothing}", "model.latent_dim: Interpolation key 'nothing' not found"),
    ("model.latent_dim=${model.latent_dim}", "model.latent_dim: Recursive interpolation detected"),
    ("hydra.run.dir=${nothing}", "hydra.run.dir: Interpolation key 'nothing' not found"),
    # what a group does not take
    (
        "model=null",
        "unknown model 'null'; known: ae, flow, gaussian, mixture, two_stage_race, two_stage_vae, vae",
    ),
    ("diagnostic=null", "unknown diagnostic 'null'; known: ..."),
    (
        "model=[vae]",
        "'model=[vae]': model takes one option, not a list; known: ae, flow, gaussian, mixture, "
        "two_stage_race, two_stage_vae, vae",
    ),
    (
        "model={latent_dim:3}",
        "'model={latent_dim:3}': model takes the name of an option; values are set with model.key=...",
    ),
    ("model@other=ae", "'model@other=ae': write model=..."),
    ("+model=ae", "'+model=ae': write model=..."),
    ("++model=ae", "'++model=ae': write model=..."),
    ("~model", "'~model': model cannot be left out"),
    ("~diagnostic", "'~diagnostic': diagnostic cannot be left out; write 'diagnostic=[]' for none"),
    ("~seed", "'~seed': seed cannot be left out"),
    ("~nothing", "unknown key 'nothing'; known: ..."),
    (
        "~training.optimizer",
        "training.optimizer: a value is needed: a class of torch.optim with its settings",
    ),
    ("~model.latent_dim", "model: VAE needs a value for latent_dim"),
    ("+seed=3", "'+seed=3': seed is there already; write seed=3"),
    ("++seed=x", "seed: must be a whole number, got 'x'"),
    ("diagnostic=[latents,latents]", "'diagnostic=[latents,latents]': 'latents' is named twice"),
    ("diagnostic=[null]", "unknown diagnostic 'null'; known: ..."),
    ("diagnostic=[[latents]]", "unknown diagnostic \"['latents']\" (did you mean 'latents'?); known: ..."),
    ("debug=false", "unknown debug 'False'; known: null, overfit, quick"),
    # several values
    ("seed=1,2", "'seed=1,2': several values need a sweep: latentrun -m seed=1,2"),
    (
        "diagnostic=latents,sparsity",
        "'diagnostic=latents,sparsity': several values need a sweep: latentrun -m "
        "diagnostic=latents,sparsity; a list is ...",
    ),
    (
        "-m model=vae,vea",
        "unknown model 'vea' (did you mean 'vae'?); known: ae, flow, gaussian, mixture, "
        "two_stage_race, two_stage_vae, vae",
    ),
    ("-m model=vae,ae model.beta=1,2", "unknown key of model 'beta'; known: latent_dim, squash"),
    ("-m diagnostic=[latents],[latnts]", "unknown diagnostic 'latnts' (did you mean 'latents'?); known: ..."),
    ("-m model=glob(x*)", "'model=glob(x*)': there are no such values"),
    ("-m seed=range(1,3,0)", "'seed=range(1,3,0)' cannot be read: range() arg 3 must not be zero"),
    (
        "-m model.latnt_dim=1,2",
        "unknown key of model 'latnt_dim' (did you mean 'latent_dim'?); known: beta, "
        "beta_start, cycle_epochs, cycles, ...",
    ),
    ("-m seed=1,2 =", "'=' cannot be read: write key=value"),
    # what an option sweeps
    (
        "-m --config-dir {p}/sweeps experiment=key",
        "hydra.sweeper.params (modl=vae,ae): unknown key 'modl' (did you mean 'model'?); known: ...",
    ),
    (
        "-m --config-dir {p}/sweeps experiment=option",
        "hydra.sweeper.params (model=vae,vea): unknown model 'vea' (did you mean 'vae'?); known: ae, "
        "flow, gaussian, mixture, two_stage_race, two_stage_vae, vae",
    ),
    (
        "-m --config-dir {p}/sweeps experiment=value",
        "job 1 (model.latent_dim=x): model.latent_dim: must be a whole number, got 'x'",
    ),
    (
        "-m --config-dir {p}/sweeps experiment=text",
        "hydra.sweeper.params (seed=1,(2): 'seed=1,(2' cannot be read: ...",
    ),
    (
        "-m --config-dir {p}/sweeps experiment=listed",
        "hydra.sweeper.params.seed: must be a text with the values, such as '1,2,3', got [1, 2]",
    ),
    (
        "--config-dir {p}/sweeps experiment=param",
        "In 'experiment/param': ConfigKeyError raised while composing config: Key 'param' not in ...",
    ),
    (
        "-m experiment=heatmaps_vae_vs_ae,heatmaps_t",
        "experiment=heatmaps_vae_vs_ae sweeps model=vae,ae by itself (hydra.sweeper.params): choose it alone",
    ),
    (
        "-m experiment=heatmaps_vae_vs_ae model.beta=1,2",
        "hydra.sweeper.params (model=vae,ae): unknown key of model 'beta'; known: latent_dim, squash",
    ),
    (
        "experiment=heatmaps_vae_vs_ae comparison=[metrics]",
        "comparison: one run has nothing to compare it with: task=compare runs=[DIR,...], or a sweep (-m)",
    ),
    # values of diagnostics that nobody chose
    (
        "--config-dir {p}/values experiment=knn diagnostic=[latents] diagnostic.knn.k=5",
        "'diagnostic.knn.k=5': the diagnostic 'knn' is not one of those chosen: latents",
    ),
    (
        "--config-dir {p}/values experiment=knn diagnostic=[latents] diagnostic.knn.resamples=100",
        "'diagnostic.knn.resamples=100': the diagnostic 'knn' is not one of those chosen: latents",
    ),
    (
        "+diagnostic.knn.k=5 diagnostic=[latents]",
        "'+diagnostic.knn.k=5': the diagnostic 'knn' is not one of those chosen: latents",
    ),
    ("+diagnostic.knm.k=5", "unknown diagnostic 'knm' (did you mean 'knn'?); known: ..."),
    (
        "--config-dir {p}/values experiment=misspelt",
        "unknown diagnostic 'knm' (did you mean 'knn'?); known: ...",
    ),
    # settings of diagnostics that name something of the data
    (
        "experiment=heatmaps_t diagnostic.knn.factors=[varience_x]",
        "diagnostic.knn.factors: unknown factor 'varience_x' (did you mean 'variance_x'?); known: "
        "correlation, variance_x, variance_y",
    ),
    (
        "data=digits diagnostic=[knn] diagnostic.knn.factors=[class]",
        "diagnostic.knn.factors: unknown factor 'class'; known: ",
    ),
    (
        "diagnostic=[hull] diagnostic.hull.factors=[variance_x,variance_z]",
        "diagnostic.hull.factors: unknown factor 'variance_z' (did you mean 'variance_y'?); known: "
        "correlation, variance_x, variance_y",
    ),
    (
        "diagnostic=[hull] diagnostic.hull.factors=[varianc_x,varianc_y]",
        "diagnostic.hull.factors: unknown factor 'varianc_x' (did you ...",
    ),
    (
        "diagnostic=[injectivity] diagnostic.injectivity.factor=corelation",
        "diagnostic.injectivity.factor: unknown factor 'corelation' (did you mean 'correlation'?); "
        "known: ...",
    ),
    (
        "diagnostic=[injectivity] +diagnostic.injectivity.corner.variance_z=low",
        "diagnostic.injectivity.corner: unknown factor 'variance_z' (did you mean 'variance_y'?); known: ...",
    ),
    (
        "data=digits diagnostic.traversal.rows=[[2,99999]]",
        "diagnostic.traversal.rows: row 99999 is not in the test split; the nearest that is: 179...",
    ),
    (
        "-m data=digits diagnostic.traversal.rows=[[2,99999]] seed=0,1",
        "job 0 (seed=0): diagnostic.traversal.rows: row 99999 is not in ...",
    ),
    ("-m seed=1,2 output=/proc/nowhere", "output directory '/proc/nowhere/multirun/..."),
    # parts that do not fit each other
    ("network.channels=[8]", "network.strides: 3 values for 1 blocks of network.channels"),
    (
        "network.channels=[1,1,1,1,1,1] network.strides=[1,1,1,1,1,1]",
        "network.channels: 6 blocks leave nothing of 36 x 36 pictures; use fewer",
    ),
    (
        "data=digits network.channels=[4,4,4,4] network.strides=[1,1,1,1]",
        "network.channels: 4 blocks leave nothing of 8 x 8 pictures; use fewer",
    ),
    (
        "model=ae diagnostic=[sparsity]",
        "diagnostic 'sparsity' needs a Gaussian posterior; model 'ae' has none "
        "(skip_inapplicable=true leaves it out)",
    ),
    (
        "model=ae diagnostic=[stationarity] skip_inapplicable=false",
        "diagnostic 'stationarity' needs a Gaussian posterior; model 'ae' has none "
        "(skip_inapplicable=true leaves it out)",
    ),
    (
        "--config-dir {p}/points data=points",
        "network conv needs pictures (channels, height, width); the data have shape (4,): use network=dense",
    ),
    (
        "--config-dir {p}/points data=points network=dense model.likelihood=bernoulli",
        "model.likelihood: bernoulli needs data in [0, 1]; these lie in [-1.0, 1.0]: use gaussian",
    ),
    (
        "--config-dir {own} --config-dir {p}/points data=points model=pca diagnostic=[axes]",
        "diagnostic 'axes' needs factors; data 'points' has none (skip_inapplicable=true leaves it out)",
    ),
    (
        "--config-dir {own} data=ellipsoid model=pca diagnostic=[axes,stationarity]",
        "diagnostic 'stationarity' needs a Gaussian posterior; model 'pca' has none "
        "(skip_inapplicable=true leaves it out)",
    ),
    # classes
    (
        "model._target_=os.system",
        "model._target_: 'os.system' is in the standard library, which is not trusted, whatever trust= says",
    ),
    (
        "model._target_=numpy.ndarray",
        "model._target_: 'numpy.ndarray' is in package 'numpy', which is not trusted (trusted: "
        "latentrun, torch); add ...",
    ),
    (
        "model._target_=nowhere",
        "model._target_: 'nowhere' is in package '', which is not trusted (trusted: latentrun, "
        "torch): write package.module.Class",
    ),
    (
        "model._target_=latentrun.models.vae.VEA",
        "model._target_: there is no class 'latentrun.models.vae.VEA' (did you mean 'VAE'?)",
    ),
    (
        "model._target_=latentrun.models.nowhere.VAE",
        "model._target_: there is no module 'latentrun.models.nowhere'",
    ),
    ("model._target_=latentrun.nn.dense.Dense", "model._target_: 'latentrun.nn.dense.Dense' is not a Model"),
    ("model._target_=latentrun.models.base.Model", "model.likelihood: Model takes no such value"),
    (
        "model._target_=nowhere.Model trust=[nowhere]",
        "model._target_: there is no package 'nowhere': it is neither installed nor on PYTHONPATH",
    ),
    (
        "training.optimizer._target_=torch.load",
        "training.optimizer._target_: 'torch.load' is not an Optimizer",
    ),
    (
        "training.optimizer._target_=torch.optim.Adm",
        "training.optimizer._target_: there is no class 'torch.optim.Adm' (did you mean 'Adam'?)",
    ),
    # files, folders and devices
    ("device=cuda:99", "device: 'cuda:99' is not on this machine; allowed: auto, cpu..."),
    ("device=gpu", "device: 'gpu' is not on this machine; allowed: auto, cpu..."),
    ("data=mnist data.root=nowhere", "data.root: 'nowhere' is not a folder"),
    (
        "data=mnist data.root={p}/empty",
        "data.root: no train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, "
        "t10k-labels-idx1-ubyte in ...",
    ),
    ("output=/dev/null/x", "output directory '/dev/null/x/..."),
    ("output=/proc/nowhere", "output directory '/proc/nowhere/..."),
    ("output={p}/file", "output directory '{p}/file/..."),
    ("hydra.run.dir={p}/file", "output directory '{p}/file' cannot be made in '{p}/file': Not a directory"),
    ("output={long}", "output directory '{long}/..."),
    ("task=diagnose", "run: a value is needed: run=..."),
    ("task=diagnose run=", "run: must be a text that is not empty and can be printed, got ''"),
    ("task=diagnose run=nowhere", "'nowhere' is not a run of latentrun: there is no such directory"),
    ("task=diagnose run={p}/file", "'{p}/file' is not a run of latentrun: it is a file"),
    ("task=diagnose run={p}/empty", "'{p}/empty' is not a run of latentrun: it holds no meta.json"),
    (
        "task=diagnose run={p}/sweep",
        "'{p}/sweep' is not a run of latentrun: it is a folder of runs, one of them '0_seed=1'",
    ),
    (
        "task=diagnose run={p}/newer",
        "'{p}/newer' was written by a newer latentrun (schema 99; this one, {v}, reads schema 2)",
    ),
    ("resume=nowhere", "'nowhere' is not a run of latentrun: there is no such directory"),
    (
        "resume={p}/sweep",
        "'{p}/sweep' is not a run of latentrun: it is a folder of runs, one of them '0_seed=1'",
    ),
    # folders of one's own
    ("--config-dir nowhere", "--config-dir: 'nowhere' is not a folder"),
    ("--config-dir {p}/file", "--config-dir: '{p}/file' is not a folder"),
    ("--config-dir", "argument --config-dir/-cd: expected one argument; see latentrun --help"),
    (
        "--config-dir {p}/broken model=broken",
        "'{p}/broken/model/broken.yaml', line 4: mapping values are not allowed ...",
    ),
    (
        "--config-dir {p}/binary model=binary",
        "a file of {p}/binary is not UTF-8: 'utf-8' codec can't decode byte 0xff in position 2: "
        "invalid start byte",
    ),
    (
        "--config-dir {p}/shadow",
        "'{p}/shadow/model/vae.yaml' has the name of '{conf}/model/vae.yaml', which would be read in "
        "its place: give it another ...",
    ),
    (
        "--config-dir {p}/points --config-dir {p}/again",
        "'{p}/again/data/points.yaml' has the name of '{p}/points/data/points.yaml', which would be "
        "read in its place: give it ...",
    ),
    (
        "--config-dir {p}/root",
        "'{p}/root/config.yaml' would never be read: write it as experiment/<name>.yaml",
    ),
    (
        "--config-dir {p}/pieces model=untargeted",
        "model: must be a mapping with the key _target_, got {'latent_dim': 3}",
    ),
    (
        "--config-dir {p}/pieces model=unknown_key",
        "model.squish: AE takes no such value (did you mean 'squash'?)",
    ),
    ("--config-dir {p}/pieces model=incomplete", "model: AE needs a value for squash"),
    ("--config-dir {p}/pieces experiment=dangling", "unknown model 'vea' (did you mean 'vae'?); known: ..."),
    (
        "hydra.searchpath=nowhere",
        "'hydra.searchpath=nowhere': must be a list of folders: 'hydra.searchpath=[file:///folder,pkg://package.folder]'",
    ),
    ("hydra.searchpath=[file://nowhere]", "hydra.searchpath: 'file://nowhere' is not a folder"),
    (
        "hydra.searchpath=[pkg://nowhere.conf]",
        "hydra.searchpath: 'pkg://nowhere.conf': there is no package 'nowhere': it is neither "
        "installed nor on PYTHONPATH",
    ),
    (
        "hydra.searchpath=[http://nowhere]",
        "hydra.searchpath: 'http://nowhere' begins neither with file:// nor with pkg://",
    ),
    (
        "-sc install=bsh",
        "-sc takes one of install, uninstall, query and a shell, bash, zsh, fish: latentrun -sc "
        "install=bash (did you mean 'bash'?)",
    ),
    (
        "-sc query",
        "-sc takes one of install, uninstall, query and a shell, bash, zsh, fish: latentrun -sc install=bash",
    ),
]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """The folder that the command lines call {p}."""
    folder = tmp_path_factory.mktemp("places")
    for name, content in PLACES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


@pytest.fixture
def elsewhere(places, tmp_path, monkeypatch):
    """An empty working directory, and the packages that the folders name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(places / "packages")
    monkeypatch.syspath_prepend(OWN)
    monkeypatch.setattr(sys, "argv", ["latentrun"])
    for name in ("LATENTRUN_DATA", "LATENTRUN_CONFIG_PATH", "LATENTRUN_DEBUG", "nothing"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def run(arguments: list[str], capsys) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    shown = capsys.readouterr()
    return exit_.value.code, shown.out, shown.err


@pytest.mark.parametrize("line, message", WRONG, ids=[line for line, _ in WRONG])
def test_wrong_input_gets_one_line_and_leaves_nothing(line, message, capsys, places, elsewhere):
    def placed(text: str) -> str:
        names = {
            "{p}": places,
            "{own}": OWN / "ellipsoids" / "conf",
            "{conf}": shipped(),
            "{long}": "x" * 300,
            "{v}": latentrun.__version__,
        }
        for name, value in names.items():
            text = text.replace(name, str(value))
        return text

    code, out, err = run([placed(word) for word in shlex.split(line)], capsys)
    expected, got = placed(message), err.removeprefix("latentrun: ").removesuffix("\n")
    assert got.startswith(expected.removesuffix("...")) if expected.endswith("...") else got == expected
    assert code == 2 and err.startswith("latentrun: ") and err.count("\n") == 1 and out == ""
    assert list(elsewhere.iterdir()) == []


def test_a_traceback_is_there_for_who_asks(elsewhere, monkeypatch):
    monkeypatch.setenv("LATENTRUN_DEBUG", "1")
    with pytest.raises(InputError, match="unknown model"):
        main(["model=vea"])


def test_no_mistyped_line_gets_more_than_one_line(capsys, elsewhere, monkeypatch):
    """Good command lines with a slip of the keyboard in them: composed and checked, or answered in one
    line."""
    monkeypatch.setattr("latentrun.tasks.train.train", lambda *_, **__: 0)
    good = [
        "model=ae",
        "model.latent_dim=4",
        "diagnostic=[latents,samples]",
        "data=digits",
        "network=dense",
        "network.widths=[8,4]",
    ]
    good += [
        "training.optimizer.lr=0.01",
        "seed=3",
        "rows=8",
        "training.scheduler=null",
        "output=here",
        "trust=[a]",
        "-m",
        "--cfg=job",
    ]
    random, answers = Random(0), set()
    for _ in range(40):
        word = random.choice(good)
        place, slip = random.randrange(len(word) + 1), random.choice("=.,:[]{}()'\"~+-/@ \\$#*0aX\n\t\u00e9")
        kind = random.randrange(3)
        mistyped = word[:place] + (slip if kind else "") + word[place + (kind != 1) :]
        # Three words of a shell never hold a sweep here, so that nothing but checking is done.
        words = [
            mistyped if each == word else each
            for each in random.sample([g for g in good[:-2] if g != word], 2)
        ] + [mistyped]
        if "--cfg=job" not in words and "-m" in words:
            words.remove("-m")
        code, _, err = run(words, capsys)
        assert (code, err) == (0, "") or (
            code == 2 and err.count("\n") == 1 and err.startswith("latentrun: ")
        ), (words, code, err)
        answers.add(code)
    assert answers == {0, 2} and list(elsewhere.iterdir()) == []


def test_a_full_disk_is_refused_before_and_ends_in_one_line_during_a_run(elsewhere, capsys, monkeypatch):
    from collections import namedtuple

    tiny = [
        "debug=quick",
        "rows=32",
        "data=digits",
        "network=dense",
        "network.widths=[8]",
        "diagnostic=[reconstruction]",
    ]
    free = namedtuple("usage", "total used free")
    with monkeypatch.context() as small:
        small.setattr(
            "latentrun.system.disk.shutil.disk_usage", lambda path: free(2**30, 2**30 - 2**20, 2**20)
        )
        code, _, err = run([*tiny, "hydra.run.dir=full"], capsys)
        assert code == 2 and err.startswith(
            "latentrun: output directory 'full': 1 MiB are free, the run needs about 54 MiB"
        )
        assert list(elsewhere.iterdir()) == []

    def fsync(file: int) -> None:
        if os.fstat(file).st_size > 20_000:  # the first whole checkpoint
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", fsync)
    code, _, err = run([*tiny, "hydra.run.dir=full"], capsys)
    assert code == 1 and err.count("\n") == 1
    assert "No space left on device: 'full/checkpoints/" in err
    status = json.loads((elsewhere / "full" / "status.json").read_text())
    assert status["state"] == "failed" and "No space left on device" in status["reason"]
    assert (
        not list(elsewhere.rglob("*.part")) and not (elsewhere / "full" / "checkpoints" / "last.pt").exists()
    )
    assert torch.load(elsewhere / "full" / "checkpoints" / "best.pt", weights_only=True)[
        "model"
    ]  # what was whole stays whole


def test_a_checkpoint_that_meets_the_end_of_the_disk_says_so(tmp_path):
    """Torch hides what the system said behind words of its own."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000)); from "
        "latentrun.cli import main; main()"
    )
    tiny = [
        "debug=quick",
        "rows=32",
        "data=digits",
        "network=dense",
        "network.widths=[200]",
        "diagnostic=[]",
        "hydra.run.dir=run",
    ]
    done = subprocess.run([sys.executable, "-c", code, *tiny], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "File too large: 'run/checkpoints/" in done.stderr
    assert not list(tmp_path.rglob("*.part")) and not list(tmp_path.rglob("*.pt"))


# ---------------------------------------------------------------- what is right
def test_help_lists_every_option_with_its_line(capsys):
    code, out, _ = run(["--help"], capsys)
    assert code == 0
    for group in GROUPS:
        for name, text in options(group, [shipped()]).items():
            assert re.search(rf"^  {name}  +{re.escape(text)}$", out, re.MULTILINE)


def test_config_is_shown_without_running(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(["--cfg", "job", "--resolve", "model=ae", "model.latent_dim=7"], capsys)
    assert code == 0 and "latent_dim: 7" in out and "hydra:" not in out
    assert list(tmp_path.iterdir()) == []


def test_flags_may_stand_between_overrides(capsys):
    code, out, _ = run(["model=ae", "--cfg", "job", "model.latent_dim=7"], capsys)
    assert code == 0 and "latent_dim: 7" in out


@pytest.mark.parametrize("way", ["flag", "environment"])
def test_options_of_ones_own(way, capsys, tmp_path, monkeypatch):
    (tmp_path / "network").mkdir()
    (tmp_path / "network" / "mine.yaml").write_text(
        "# My own network\n_target_: latentrun.nn.dense.Dense\nwidths: [5]\n"
    )
    flags = ["--config-dir", str(tmp_path)] if way == "flag" else []
    if way == "environment":
        monkeypatch.setenv("LATENTRUN_CONFIG_PATH", str(tmp_path))
    code, out, _ = run([*flags, "--cfg", "job", "network=mine"], capsys)
    assert code == 0 and "- 5" in out
    assert "My own network" in run([*flags, "--help"], capsys)[1]
    assert "did you mean 'mine'" in run([*flags, "network=mne"], capsys)[2]
