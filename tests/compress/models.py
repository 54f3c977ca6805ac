"""A tiny gated model with outliers in its inputs, and text to calibrate it with."""

import contextlib
import functools

import jax
import numpy as np

from gpt_jax import attention, objectives
from gpt_jax.compress import Given, method_flag
from gpt_jax.core import pytree
from gpt_jax.model.gpt import GPT
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.program.build import build_program
from gpt_jax.program.observe import make_observe
from tests import tiny_runs

OVERRIDES = {
  'model.activation': 'swiglu', 'model.d_ff': 48, 'model.scan_layers': True,
  'model.num_kv_heads': 1, 'model.norm_zero_centered': True,
}  # fmt: skip


@functools.cache
def program(scan=True):
  config = tiny_runs.tiny_config(OVERRIDES | {'model.scan_layers': scan})
  mesh = make_mesh({'data': 1}, jax.devices()[:1])
  vocab = objectives.Vocab(size=16, eos_id=0)
  return build_program(config, vocab=vocab, mesh=mesh)


def params(made):
  """Returns parameters with a few inputs of each kernel that are large."""
  leaves = dict(pytree.named_leaves(made.init(0).params))
  for name, leaf in leaves.items():
    if name.endswith('norm/scale'):
      leaves[name] = leaf.at[..., 3].set(12.0).at[..., 7].set(6.0)
  return pytree.nested(leaves)


def batch(seed):
  rng = np.random.default_rng(seed)
  return {'tokens': rng.integers(0, 15, (8, 17), np.int32)}


def given(text, scan=True):
  """Returns (entry of METHODS, Given with the options of `--method=text`)."""
  made = program(scan)
  tree = params(made)
  batches = (batch(seed) for seed in range(9))
  observe = make_observe(made, tree, lambda: contextlib.closing(batches))
  _, entry, options = method_flag.parse(text)
  return entry, Given(made.config, tree, options, observe)


def logits(config, tree, tokens_BT):
  """Returns the logits of a model of a Config, float32 [B, T, V]."""
  model = GPT(config.model, attention.choose_kernel(config, has_slopes=False)[1])
  return jax.jit(model.apply)({'params': tree}, tokens_BT)[0]


def gpt(config):
  """Returns the GPT of a Config, for shapes."""
  return GPT(config.model)
