"""Gemma 2 (arXiv:2408.00118) and the text model of Gemma 3 (arXiv:2503.19786).

RMSNorm before and after each sublayer, its scale stored less 1; GeGLU; embeddings times
sqrt(width); local and global layers. Gemma 2 has soft-caps; Gemma 3 norms of queries
and keys, and another rope base in local layers.
"""

from gpt_jax.interop import dialect, llama
from gpt_jax.interop.family import Family


def _read_common(fields, default_positions):
  if 'hidden_act' in fields.values:  # of old files, whose library read the other
    fields.expect('hidden_act', 'gelu_pytorch_tanh', 'gelu')
  fields.values = {'hidden_activation': 'gelu_pytorch_tanh'} | fields.values
  scalar = fields.take('query_pre_attn_scalar', 256, float)
  if scalar <= 0:
    fields.refuse(f'query_pre_attn_scalar={scalar}: expected a number above 0')
    scalar = 1.0
  fields.values = {'head_dim': 256} | fields.values
  fields.expect('use_bidirectional_attention', False, None)
  has_bias = fields.take('attention_bias', False, bool)
  shape = llama.read_shape(fields, default_positions, 'hidden_activation')
  return shape | {
    'model.norm_position': 'sandwich',
    'model.norm_zero_centered': True,
    'model.scale_embeddings': True,
    'model.qkv_bias': has_bias,
    'model.out_bias': has_bias,
    'model.tie_embeddings': fields.take('tie_word_embeddings', True, bool),
    'attention.scale': scalar**-0.5,
  }


def _write_common(config):
  cfg = config.model
  types, window = dialect.write_windows(cfg)
  values = llama.write_shape(config)
  values['hidden_activation'] = values.pop('hidden_act')
  scale = config.attention.scale or cfg.head_dim**-0.5
  scalar = scale**-2
  is_whole = abs(scalar - round(scalar)) < 1e-6 * scalar
  return values | dict(
    query_pre_attn_scalar=round(scalar) if is_whole else scalar,
    attention_bias=llama.biases(cfg)['qkv'],
    layer_types=types,
    sliding_window=window or 4096,
    final_logit_softcapping=cfg.logit_softcap or None,
    attn_logit_softcapping=config.attention.softcap or None,
  )


def to_config2(fields):
  """Returns our fields of a Gemma2Config."""
  common = _read_common(fields, 8192)
  layers = common['model.num_layers']
  types = [dialect.LAYER_TYPES[(i + 1) % 2] for i in range(layers)]
  window = fields.take('sliding_window', 4096)
  return (
    common
    | dialect.read_rope(fields, common['model.max_seq_len'])
    | {
      'model.layer_pattern': dialect.read_windows(fields, layers, window, types),
      'model.logit_softcap': _softcap(fields, 'final_logit_softcapping', 30.0),
      'attention.softcap': _softcap(fields, 'attn_logit_softcapping', 50.0),
    }
  )


def _softcap(fields, name, default):
  """Returns a soft-cap, 0 for null; a field that is left out has the `default`."""
  return fields.take(name, 0.0 if name in fields.values else default, float)


def to_config3(fields):
  """Returns our fields of a Gemma3TextConfig."""
  common = _read_common(fields, 131_072)
  layers = common['model.num_layers']
  period = fields.take(
    'sliding_window_pattern', fields.take('_sliding_window_pattern', 6)
  )
  types = [dialect.LAYER_TYPES[bool((i + 1) % max(period, 1))] for i in range(layers)]
  window = fields.take('sliding_window', 4096)
  # The library has the field and does not read it.
  fields.expect('attn_logit_softcapping', None)
  return (
    common
    | _read_ropes(fields, common['model.max_seq_len'])
    | {
      'model.qk_norm': 'rmsnorm',
      'model.layer_pattern': dialect.read_windows(fields, layers, window, types),
      'model.logit_softcap': fields.take('final_logit_softcapping', 0.0, float),
    }
  )


def _read_ropes(fields, max_positions):
  """Returns our fields of two rotary encodings, of global and of local layers."""
  theta = fields.take('rope_theta', 1_000_000.0, float)
  local = fields.take('rope_local_base_freq', 10_000.0, float)
  scaling = fields.peek('rope_scaling', {})
  both = fields.peek('rope_parameters')
  if not isinstance(both, dict) or not both.keys() & set(dialect.LAYER_TYPES):
    both = {} if both is None else {'full_attention': both}
    if isinstance(scaling, dict):
      both = {'full_attention': scaling} | both
  for name in both.keys() - set(dialect.LAYER_TYPES):
    fields.refuse(f'rope_parameters.{name}: not known')
  read = {}
  for kind, default in zip(dialect.LAYER_TYPES, (theta, local), strict=True):
    given = both.get(kind) or {}
    name = f'rope_parameters.{kind}'
    read[kind] = dialect.rope_of(fields, given, name, default, max_positions)
  everywhere, inside = read['full_attention'], read['sliding_attention']
  if inside.get('model.rope_scaling', 'none') != 'none':
    fields.refuse('rope_parameters.sliding_attention: only rope_type="default" there')
  return everywhere | {'model.rope_local_theta': inside.get('model.rope_theta', local)}


def from_config2(config):
  """Returns a Gemma2Config of our fields."""
  return _write_common(config)


def from_config3(config):
  """Returns a Gemma3TextConfig of our fields."""
  cfg = config.model
  local = cfg.rope_theta if cfg.rope_local_theta is None else cfg.rope_local_theta
  return _write_common(config) | dict(rope_local_base_freq=local)


GEMMA2 = Family(
  name='gemma2',
  architectures=('Gemma2ForCausalLM', 'Gemma2Model'),
  to_config=to_config2,
  from_config=from_config2,
  table=llama.table,
  prefix='model.',
)
GEMMA3 = Family(
  name='gemma3_text',
  architectures=('Gemma3ForCausalLM', 'Gemma3TextModel'),
  to_config=to_config3,
  from_config=from_config3,
  table=llama.table,
  prefix='model.',
)
