"""What the config.json and the tensors of several families have in common."""

from typing import Any

from gpt_jax.interop.mapping import Entry, pattern_of, windows

ACTIVATIONS = {
  'gelu_new': 'gelu', 'gelu_pytorch_tanh': 'gelu', 'gelu_fast': 'gelu',
  'gelu': 'gelu_exact', 'relu': 'relu', 'silu': 'silu', 'swish': 'silu',
  'relu2': 'relu2',
}  # fmt: skip
"""Their name of a plain activation -> ours. gelu_fast is the tanh form as well."""

GATES = {
  'silu': 'swiglu', 'swish': 'swiglu', 'gelu_pytorch_tanh': 'geglu',
  'gelu_new': 'geglu', 'gelu_fast': 'geglu', 'relu': 'reglu',
}  # fmt: skip
"""Their name of a gate's activation -> our name of the gated one."""

LAYER_TYPES = ('full_attention', 'sliding_attention')


def activation_name(cfg, names=None):
  """Returns their name of a ModelConfig's activation, ours where they have none."""
  names = ACTIVATIONS if names is None else names
  return next(
    (name for name, ours in names.items() if ours == cfg.activation), cfg.activation
  )


def embedding(config, theirs, head='lm_head.weight', other_heads=()):
  """Returns the entries of the embedding and of the output layer, tied or its own."""
  is_tied = config.model.tie_embeddings
  aliases = (head, *other_heads) if is_tied else ()
  entries = [Entry(theirs, ('embed/embedding',), 'V D', 'V D', aliases)]
  if not is_tied:
    ours = ('head/kernel',)
    entries.append(Entry(head, ours, 'V D', 'D V', other_names=tuple(other_heads)))
  return entries


# Rotary positions. transformers 5 writes `rope_parameters`; all before it `rope_theta`
# and `rope_scaling`, which is what is written here, since both read it.


def read_rope(fields, max_positions, default_theta=10_000.0):
  """Returns our fields of the rotary positions of a model."""
  given = fields.peek('rope_parameters')
  theta = fields.take('rope_theta', default_theta, float)
  scaling = fields.peek('rope_scaling')
  if given is None:
    given = {} if scaling is None else scaling
  return rope_of(fields, given, 'rope_parameters', theta, max_positions)


def rope_of(fields, given, name, theta, max_positions):
  """Returns our fields of a dict as in `rope_parameters`; its problems go to `fields`.

  A copy of an older field of the same meaning (`type`) may stand beside the new one.
  """
  if not isinstance(given, dict):
    fields.refuse(f'{name}={given!r}: expected an object')
    return {}
  kind = given.get('rope_type', given.get('type', 'default'))
  known = _ROPE_FIELDS.get(kind if isinstance(kind, str) else '')
  if known is None:
    listed = ', '.join(_ROPE_FIELDS)
    fields.refuse(f'{name}.rope_type={kind!r}: expected one of {listed}')
    return {}
  for key in given.keys() - {'rope_type', 'type', 'rope_theta', *known}:
    if given[key] is not None:
      fields.refuse(f'{name}.{key}={given[key]!r}: not known for rope_type={kind!r}')
  for key, wanted in (('low_freq_factor', 1), ('high_freq_factor', 4)):
    if key in known and given.get(key, wanted) != wanted:
      fields.refuse(f'{name}.{key}={given[key]!r}: only {wanted} is supported')
  found = {
    'model.position': 'rope',
    'model.rope_theta': _number(fields, given, name, 'rope_theta', theta),
    'model.rope_scaling': 'none' if kind == 'default' else kind,
  }
  if kind != 'default':
    found['model.rope_factor'] = _number(fields, given, name, 'factor', None)
  if kind == 'llama3':
    key = 'original_max_position_embeddings'
    length = _number(fields, given, name, key, max_positions)
    found['model.rope_original_len'] = int(length)
  return found


_ROPE_FIELDS = {
  'default': (),
  'linear': ('factor',),
  'llama3': (
    'factor', 'low_freq_factor', 'high_freq_factor', 'original_max_position_embeddings'
  ),
}  # fmt: skip
"""rope_type -> the fields that go with it."""


def _number(fields, given, name, key, default):
  value = given.get(key, default)
  is_number = isinstance(value, int | float) and not isinstance(value, bool)
  if not is_number or not 0 < value < 2**53:
    fields.refuse(f'{name}.{key}={value!r}: expected a number above 0')
    return 1.0
  return float(value)


def write_rope(cfg):
  """Returns `rope_theta` and `rope_scaling` of a ModelConfig."""
  scaling: Any = None
  if cfg.rope_scaling != 'none':
    scaling = {'rope_type': cfg.rope_scaling, 'factor': cfg.rope_factor}
  if cfg.rope_scaling == 'llama3':
    scaling |= {
      'low_freq_factor': 1.0,
      'high_freq_factor': 4.0,
      'original_max_position_embeddings': cfg.rope_original_len,
    }
  return dict(rope_theta=cfg.rope_theta, rope_scaling=scaling)


# Windows


def read_windows(fields, num_layers, window, default_types):
  """Returns `model.layer_pattern` by `layer_types`; `window` None: there is none.

  `default_types`: what the library makes of a config.json without that field.
  """
  types = fields.peek('layer_types', default_types)
  if not isinstance(types, list | tuple) or len(types) != num_layers:
    fields.refuse(f'layer_types: expected a list of {num_layers}, one a layer')
    return ('global',)
  for kind in dict.fromkeys(map(str, types)):
    if kind not in LAYER_TYPES:
      listed = ' and '.join(LAYER_TYPES)
      fields.refuse(f'layer_types: {kind!r}: only {listed} are supported')
  if window is None and LAYER_TYPES[1] in types:
    fields.refuse('layer_types: has sliding_attention, but sliding_window is not used')
  return pattern_of([window if kind == LAYER_TYPES[1] else None for kind in types])


def write_windows(cfg):
  """Returns (`layer_types`, `sliding_window` or None) of a ModelConfig.

  Where windows differ, it is the widest.
  """
  widths = windows(cfg)
  types = [LAYER_TYPES[width is not None] for width in widths]
  return types, max((width for width in widths if width), default=None)
