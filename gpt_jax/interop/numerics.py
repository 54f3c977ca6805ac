"""What a config computes, in a form in which equal models are equal."""

import dataclasses
import math

from gpt_jax import objectives
from gpt_jax.config import load
from gpt_jax.config.files import load_file
from gpt_jax.interop.mapping import windows
from gpt_jax.model import activations, heads, output_layer, positions

# The entries of these decide what a model computes; what a whole run needs beside
# them is checked where a run is made (`program.setup`).
_REGISTRIES = {
  'model.activation': activations.ACTIVATIONS,
  'model.position': positions.POSITIONS,
  'objective.head': heads.HEADS,
  'objective.name': objectives.OBJECTIVES,
}
_RULES = (positions.problems, output_layer.problems)
# Training and layout: they change no number of the forward pass.
_FREE = (
  'pad_vocab_to_multiple_of', 'dropout', 'embed_dropout', 'attention_dropout',
  'residual_dropout', 'stochastic_depth', 'init_std', 'mup_base_width', 'remat',
  'scan_layers', 'dtype', 'param_dtype',
)  # fmt: skip
_OF_OUTPUT_LAYERS = ('tie_embeddings', 'head_bias', 'logit_softcap')
MAX_SEQ_LEN = 1024
"""Of `data.seq_len` of an imported model, whose positions may reach much further."""


def resolve(fields):
  """Returns the Config of `{dotted field: value}`, all else as in configs/base.py."""
  positions_there = fields.get('model.max_seq_len') or MAX_SEQ_LEN
  defaults = {'data.seq_len': min(positions_there, MAX_SEQ_LEN)}
  return load.resolve(load_file('base'), defaults | fields, _REGISTRIES, _RULES)


def effective(config):
  """Returns {field: value} of all that the forward pass of a Config depends on.

  Fields without effect beside others are left out, and defaults filled in.
  """
  cfg = config.model
  found = {
    f'model.{field.name}': getattr(cfg, field.name)
    for field in dataclasses.fields(cfg)
    if field.name not in _FREE
  }
  found |= {
    'model.layer_pattern': tuple(windows(cfg)),
    'model.init': 'mup' if cfg.init == 'mup' else 'any but mup',
    'attention.softcap': config.attention.softcap,
    'attention.scale': _scale(config),
    # Whom a token sees, and what a task head predicts instead of tokens.
    'visibility of objective.name': objectives.describe(config).visibility,
    'outputs of objective.name': objectives.describe(config).num_outputs,
  }
  objective = objectives.describe(config)
  found['what a token sees'] = objective.visibility
  if objective.num_outputs:
    for name in ('head', *_OF_OUTPUT_LAYERS):
      found.pop(f'model.{name}')
    found |= {
      'objective.name': config.objective.name,
      'objective.head': config.objective.head,
      'objective.options': config.objective.options,
    }
  bias = found.pop('model.bias')
  for name in ('qkv_bias', 'out_bias', 'mlp_bias'):
    own = found[f'model.{name}']
    found[f'model.{name}'] = bias if own is None else own
  for name in _without_effect(cfg):
    found.pop(f'model.{name}', None)
  return found


def _scale(config):
  if config.attention.scale is not None:
    return config.attention.scale
  exponent = 1 if config.model.init == 'mup' else 0.5
  return config.model.head_dim**-exponent


def _without_effect(cfg):
  """Yields fields of a ModelConfig that others make idle."""
  rotates = positions.lookup(cfg).angles is not None
  if not rotates:
    yield from ('rope_theta', 'rope_local_theta', 'rope_fraction', 'rope_scaling')
  if not rotates or cfg.rope_scaling == 'none':
    yield 'rope_factor'
  if not rotates or cfg.rope_scaling != 'llama3':
    yield 'rope_original_len'
  if cfg.rope_local_theta is None or all(width is None for width in windows(cfg)):
    yield 'rope_local_theta'
  if not positions.max_positions(cfg):
    yield 'max_seq_len'
  if 'layernorm' not in (cfg.norm, cfg.qk_norm):
    yield 'norm_bias'
  if cfg.block == 'attention_only':
    yield from ('d_ff', 'activation', 'mlp_bias')
  if cfg.head == 'none':
    yield from _OF_OUTPUT_LAYERS


def differences(config, other):
  """Returns a line for each thing in which `other` computes another function."""
  mine, theirs = effective(config), effective(other)
  lines = []
  for name in sorted(mine.keys() | theirs.keys()):
    one, two = mine.get(name), theirs.get(name)
    if one != two and not _is_close(one, two):
      lines.append(f'{name}={one!r}: there it would be {two!r}')
  return lines


def _is_close(one, two):
  is_float = isinstance(one, float) and isinstance(two, float)
  return is_float and math.isclose(one, two, rel_tol=1e-9)
