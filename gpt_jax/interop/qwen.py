"""Qwen2 and 2.5 (arXiv:2407.10671): LLaMA with biases on q, k, v. Qwen3 (2505.09388):
without them, and with RMSNorm over the dimensions of each query and key head."""

from gpt_jax.interop import dialect, llama
from gpt_jax.interop.family import Family


def _to_config(fields):
  shape = llama.read_shape(fields, default_positions=32768)
  layers = shape['model.num_layers']
  fields.expect('use_mrope', False)
  is_used = fields.take('use_sliding_window', False, bool)
  is_null = 'sliding_window' in fields.values and fields.peek('sliding_window') is None
  window = fields.take('sliding_window', 4096)
  first = fields.take('max_window_layers', 28)
  window = window if is_used and not is_null else None
  types = [
    dialect.LAYER_TYPES[window is not None and i >= first] for i in range(layers)
  ]
  return (
    shape
    | dialect.read_rope(fields, shape['model.max_seq_len'])
    | {
      'model.layer_pattern': dialect.read_windows(fields, layers, window, types),
      'model.tie_embeddings': fields.take('tie_word_embeddings', False, bool),
    }
  )


def _from_config(config):
  types, window = dialect.write_windows(config.model)
  first = types.index('sliding_attention') if window else config.model.num_layers
  return llama.write_shape(config) | dict(
    use_sliding_window=window is not None,
    sliding_window=window,
    max_window_layers=first,
    layer_types=types,
  )


def to_config2(fields):
  """Returns our fields of a Qwen2Config."""
  return _to_config(fields) | {'model.qkv_bias': True}


def to_config3(fields):
  """Returns our fields of a Qwen3Config."""
  if 'head_dim' not in fields.values:
    fields.refuse('head_dim: missing; expected a whole number')
  has_bias = fields.take('attention_bias', False, bool)
  return _to_config(fields) | {
    'model.qk_norm': 'rmsnorm',
    'model.qkv_bias': has_bias,
    'model.out_bias': has_bias,
  }


def from_config2(config):
  """Returns a Qwen2Config of our fields; it has no head_dim of its own."""
  values = _from_config(config)
  if config.model.num_heads * config.model.head_dim == config.model.d_model:
    values.pop('head_dim')
  return values


def from_config3(config):
  """Returns a Qwen3Config of our fields."""
  return _from_config(config) | dict(attention_bias=llama.biases(config.model)['qkv'])


QWEN2 = Family(
  name='qwen2',
  architectures=('Qwen2ForCausalLM', 'Qwen2Model'),
  to_config=to_config2,
  from_config=from_config2,
  table=llama.table,
  prefix='model.',
)
QWEN3 = Family(
  name='qwen3',
  architectures=('Qwen3ForCausalLM', 'Qwen3Model'),
  to_config=to_config3,
  from_config=from_config3,
  table=llama.table,
  prefix='model.',
)
