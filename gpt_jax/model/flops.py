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
from gpt_jax.optimizers import trainable


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


def palm_flops_per_token(cfg, seq_len, params=None):
  """Returns `6 N + 12 L H Q T`, the cost by which published MFUs are defined.

  PaLM, arXiv:2204.02311, appendix B. N leaves out the position embedding, which is only
  read; it keeps norms, biases and both matrices of an untied model. `params` are those
  of a program, where it has others than `cfg` says.
  """
  params = _scanned_params(cfg) if params is None else params
  total = sum(
    pytree.count(leaf)
    for name, leaf in pytree.named_leaves(params)
    if not (name.startswith('position/') and name.endswith('/embedding'))
  )
  return 6 * total + 12 * cfg.num_layers * cfg.num_heads * cfg.head_dim * seq_len


def of_program(program):
  """Returns the FLOPs to train on a token, as MFU counts them.

  They are those of `whole_program`, or, of one that freezes parameters, of its matmuls
  alone: `needed_flops_per_token`.
  """
  if program.frozen:
    return needed_flops_per_token(program)
  return whole_program(program)


def whole_program(program):
  """Returns the `palm_flops_per_token` of a Program if all its parameters trained."""
  config, params = program.config, program.parameters
  if program.model.task_head is not None:  # no logits over tokens: it is only read
    params = {name: leaf for name, leaf in params.items() if name != 'embed'}
  return palm_flops_per_token(config.model, config.data.seq_len, params)


def needed_flops_per_token(program):
  """Returns the matmul FLOPs of the outputs, and of the gradients of what trains.

  A matrix costs 2 FLOPs a parameter forward, 2 more for the gradient of its input where
  something that trains lies before it, and 2 for its own where it trains itself. Layers
  before the first that trains have no backward pass, unless they are scanned: a scan
  makes all alike. Counted in the traced gradient of a microbatch, with dense attention,
  outputs at each token, and nothing recomputed.
  """
  config, params = program.config, program.abstract_state.params
  cfg = dataclasses.replace(program.model.cfg, remat='none')
  attend = bind(dense.attend, cfg, config.attention)
  model = program.model.clone(cfg=cfg, attend=attend, rules=None)

  def total(trained, params, tokens_BT):
    params = trainable.merge(trained, params)
    return jnp.sum(model.apply({'params': params}, tokens_BT)[0])

  rows = program.horizon.stages[-1].batch_size // config.train.grad_accum
  tokens_BT = jax.ShapeDtypeStruct((rows, config.data.seq_len), jnp.int32)
  gradient = jax.value_and_grad(total)
  flops = dot_flops.of_function(gradient, program.trained(params), params, tokens_BT)
  return flops / (rows * config.data.seq_len)


def _scanned_params(cfg):
  return abstract_params(_scanned(cfg))


def _scanned(cfg):
  # The same parameters in one trace of a block, also for 96 unrolled layers.
  return dataclasses.replace(cfg, scan_layers=True, remat='none')


def _pairs(window, seq_len):
  window = min(window or seq_len, seq_len)
  return window * (window + 1) // 2 + (seq_len - window) * window
