"""How many parameters a model has and what a token costs, counted exactly.

All functions take a resolved ModelConfig, whose `vocab_size` includes padding. Only
matmuls count as FLOPs, two per multiply-add.
"""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from gpt_jax.config.schema import parse_layer
from gpt_jax.core import pytree
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


def matmul_parameters(cfg):
  """Returns how many parameters each token is multiplied with: kernels and the head."""
  named = pytree.named_leaves(_scanned_params(cfg))
  kernels = sum(pytree.count(leaf) for name, leaf in named if name.endswith('/kernel'))
  # A tied embedding counts once, as the head: reading its rows is no matmul.
  return kernels + (cfg.vocab_size * cfg.d_model if cfg.tie_embeddings else 0)


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


def palm_flops_per_token(cfg, seq_len):
  """Returns `6 N + 12 L H Q T`, the cost by which published MFUs are defined.

  PaLM, arXiv:2204.02311, appendix B. N leaves out the position embedding, which is only
  read; it keeps norms, biases and both matrices of an untied model.
  """
  positions = sum(
    pytree.count(leaf)
    for name, leaf in pytree.named_leaves(_scanned_params(cfg))
    if name.startswith('position/') and name.endswith('/embedding')
  )
  attention = 12 * cfg.num_layers * cfg.num_heads * cfg.head_dim * seq_len
  return 6 * (parameter_count(cfg) - positions) + attention


def _scanned_params(cfg):
  # The same parameters in one trace of a block, also for 96 unrolled layers.
  return abstract_params(dataclasses.replace(cfg, scan_layers=True, remat='none'))


def _pairs(window, seq_len):
  window = min(window or seq_len, seq_len)
  return window * (window + 1) // 2 + (seq_len - window) * window
