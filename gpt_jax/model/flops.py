"""How many parameters a model has and what a token costs, counted exactly.

All functions take a resolved ModelConfig, whose `vocab_size` includes padding. Only
matmuls count as FLOPs, two per multiply-add.
"""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from gpt_jax.attention import bind, dense
from gpt_jax.config.schema import parse_layer
from gpt_jax.core import dot_flops, pytree
from gpt_jax.model.gpt import GPT


@functools.cache
def abstract_params(cfg):
  """Returns the parameter tree of `cfg` as ShapeDtypeStructs; nothing is allocated."""
  model = GPT(cfg)
  tokens_BT = jax.ShapeDtypeStruct((1, 1), jnp.int32)
  variables = jax.eval_shape(model.init, jax.random.key(0), tokens_BT)
  return nn.unbox(variables['params'])


def parameter_count(cfg):
  """Returns how many parameters `cfg` has, an exact int."""
  return pytree.count(_scanned_params(cfg))


@functools.cache
def matmul_parameters(cfg):
  """Returns how many parameters each token is multiplied with, whatever their names."""
  # Counted in the traced model, for one token, which sees itself alone: each head of
  # each layer then makes two dots without parameters, scores and weighted values.
  cfg = _scanned(cfg)
  model = GPT(cfg, attend=bind(dense.attend, cfg))
  flops = dot_flops.of_function(
    lambda params, tokens_BT: model.apply({'params': params}, tokens_BT)[0],
    abstract_params(cfg),
    jax.ShapeDtypeStruct((1, 1), jnp.int32),
  )
  return flops // 2 - 2 * cfg.num_layers * cfg.num_heads * cfg.head_dim


def forward_flops(cfg, seq_len, causal=False):
  """Returns the FLOPs of one sequence's forward pass, an exact int.

  `causal` False counts each query with all `seq_len` keys, as reports and a dense
  kernel do; True counts the pairs that causality and local windows leave.
  """
  width = cfg.num_heads * cfg.head_dim
  pairs = sum(
    _pairs(parse_layer(layer), seq_len) if causal else seq_len**2
    for layer in cfg.layer_pattern
  ) * (cfg.num_layers // len(cfg.layer_pattern))
  # Scores and weighted values: 2 FLOPs each for every pair and feature.
  return 2 * matmul_parameters(cfg) * seq_len + 4 * width * pairs


def flops_per_token(cfg, seq_len, causal=False):
  """Returns the FLOPs to train on one token, 3 times forward, recomputation aside."""
  return 3 * forward_flops(cfg, seq_len, causal) / seq_len


def palm_flops_per_token(cfg, seq_len, params=None, frozen=()):
  """Returns `6 N + 12 L H Q T`, the cost by which published MFUs are defined.

  PaLM, arXiv:2204.02311, appendix B. N leaves out the position embedding, which is only
  read; it keeps norms, biases and both matrices of an untied model. `params` are those
  of a program, where it has others than `cfg` says. With `frozen` names it is what the
  rest cannot do without: the forward pass, and backward the share that trains.
  """
  params = _scanned_params(cfg) if params is None else params
  sizes = {
    name: pytree.count(leaf)
    for name, leaf in pytree.named_leaves(params)
    if not (name.startswith('position/') and name.endswith('/embedding'))
  }
  total = sum(sizes.values())
  trained = sum(size for name, size in sizes.items() if name not in frozen)
  attention = 4 * cfg.num_layers * cfg.num_heads * cfg.head_dim * seq_len
  return (2 * total + attention) * (1 + 2 * trained / total)


def of_program(program):
  """Returns `palm_flops_per_token` of what a Program trains."""
  config = program.config
  params = program.parameters
  if program.model.task_head is not None:  # no logits over tokens: it is only read
    params = {name: leaf for name, leaf in params.items() if name != 'embed'}
  seq_len = config.data.seq_len
  return palm_flops_per_token(config.model, seq_len, params, program.frozen)


def _scanned_params(cfg):
  return abstract_params(_scanned(cfg))


def _scanned(cfg):
  # The same parameters in one trace of a block, also for 96 unrolled layers.
  return dataclasses.replace(cfg, scan_layers=True, remat='none')


def _pairs(window, seq_len):
  window = min(window or seq_len, seq_len)
  return window * (window + 1) // 2 + (seq_len - window) * window
