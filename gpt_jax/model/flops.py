"""How large a model is and what a token costs, counted exactly.

All functions take a resolved ModelConfig whose `vocab_size` is the number of rows of
the table, padding included. Only matrix products are counted as FLOPs, two per
multiply-add.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gpt_jax.config.schema import parse_layer
from gpt_jax.model.gpt import GPT


def abstract_params(cfg):
  """Returns the parameter tree of `cfg` as ShapeDtypeStructs; nothing is allocated."""
  model = GPT(cfg)
  tokens_BT = jax.ShapeDtypeStruct((1, 1), jnp.int32)
  variables = jax.eval_shape(model.init, jax.random.key(0), tokens_BT)
  return nn.unbox(variables['params'])


def parameter_count(cfg):
  """Returns how many parameters `cfg` has, by arithmetic; an exact int."""
  D, V = cfg.d_model, cfg.vocab_size
  H, G, K = cfg.num_heads, cfg.num_kv_heads, cfg.head_dim
  mlp_inputs = 2 if cfg.is_gated else 1

  biases = (H + 2 * G) * K + D + mlp_inputs * cfg.d_ff + D if cfg.bias else 0
  norms = _norms_per_block(cfg) * _norm(cfg.norm, D, cfg)
  block = _block_matrices(cfg) + biases + norms
  if cfg.qk_norm != 'none':
    block += 2 * _norm(cfg.qk_norm, K, cfg)

  positions = cfg.max_seq_len * D if cfg.position == 'learned' else 0
  head = 0 if cfg.tie_embeddings else V * D
  # One more norm after the last block; post-norm models have it after the embedding.
  return V * D + positions + cfg.num_layers * block + _norm(cfg.norm, D, cfg) + head


def matmul_parameters(cfg):
  """Returns how many parameters each token is multiplied with: matrices and the head.

  A tied table counts once, as the head; reading a row of a table is no product.
  """
  return cfg.num_layers * _block_matrices(cfg) + cfg.vocab_size * cfg.d_model


def forward_flops(cfg, seq_len, causal=False):
  """Returns the FLOPs of one sequence's forward pass, an exact int.

  Args:
    causal: False counts each query with all `seq_len` keys, as is usual in reports and
      as a dense kernel computes; True counts the pairs that causality and local windows
      leave, which is the least that a kernel has to do.
  """
  width = cfg.num_heads * cfg.head_dim
  pairs = sum(
    _pairs(parse_layer(layer), seq_len) if causal else seq_len**2
    for layer in cfg.layer_pattern
  ) * (cfg.num_layers // len(cfg.layer_pattern))
  # Scores and weighted values: 2 FLOPs each for every pair and feature.
  return 2 * matmul_parameters(cfg) * seq_len + 4 * width * pairs


def flops_per_token(cfg, seq_len, causal=False):
  """Returns the FLOPs to train on one token: forward, and twice that backward.

  Recomputation (`model.remat`) is not counted. For `causal` see `forward_flops`.
  """
  return 3 * forward_flops(cfg, seq_len, causal) / seq_len


def palm_flops_per_token(cfg, seq_len):
  """Returns `6 N + 12 L H Q T`, the cost that published MFU figures divide by.

  PaLM, arXiv:2204.02311, appendix B. N leaves out the position table, which is only
  read; it keeps norms, biases and both tables of an untied model.
  """
  positions = cfg.max_seq_len * cfg.d_model if cfg.position == 'learned' else 0
  attention = 12 * cfg.num_layers * cfg.num_heads * cfg.head_dim * seq_len
  return 6 * (parameter_count(cfg) - positions) + attention


def _block_matrices(cfg):
  heads = 2 * cfg.num_heads + 2 * cfg.num_kv_heads  # query and out, key and value
  mlp = 3 if cfg.is_gated else 2
  return cfg.d_model * (heads * cfg.head_dim + mlp * cfg.d_ff)


def _norms_per_block(cfg):
  if cfg.block == 'parallel':
    return 1
  return 4 if cfg.norm_position == 'sandwich' else 2


def _norm(kind, width, cfg):
  return width * (2 if kind == 'layernorm' and cfg.norm_bias else 1)


def _pairs(window, seq_len):
  """Returns how many (query, key) pairs a causal layer of `window` keys has."""
  window = min(window or seq_len, seq_len)
  return window * (window + 1) // 2 + (seq_len - window) * window
