"""Which fields a config must have to be GPT-2's published architecture."""

from gpt_jax.core.errors import ConfigError
from gpt_jax.data.packing import has_segments

ACTIVATIONS = {
  'gelu': 'gelu_new',
  'gelu_exact': 'gelu',
  'relu': 'relu',
  'silu': 'silu',
}
"""model.activation -> its name in transformers' GPT2Config."""

MODEL = {
  'block': 'serial',
  'position': 'learned',
  'norm': 'layernorm',
  'norm_position': 'pre',
  'norm_bias': True,
  'qk_norm': 'none',
  'bias': True,
  'tie_embeddings': True,
  'scale_embeddings': False,
  'logit_softcap': 0.0,
  'stochastic_depth': 0.0,
  'init': 'gpt2',
  'param_dtype': 'float32',
}
OPTIMIZER = {
  'name': 'adamw',
  'ema_decay': 0.0,
  'groups': (),
  'weight_decay_mode': 'coupled',
}
OBJECTIVE = {'name': 'causal_lm', 'label_smoothing': 0.0, 'z_loss': 0.0}
"""Fields and the one value that each must have."""

DECAY = ('matrices', 'all', 'none')


def check(config):
  """Raises ConfigError naming all fields of a Config in which GPT-2 differs."""
  problems = [
    _problem(section, field, getattr(getattr(config, section), field), wanted)
    for section, fields in (
      ('model', MODEL),
      ('optimizer', OPTIMIZER),
      ('objective', OBJECTIVE),
      ('attention', {'softcap': 0.0}),
    )
    for field, wanted in fields.items()
    if getattr(getattr(config, section), field) != wanted
  ]
  problems += _model_problems(config)
  if has_segments(config.data) or config.data.mixture:
    problems.append(
      'data: documents are masked or mixed here; set --config.data.packing=concat'
      ' --config.data.mask_documents=False and no data.mixture'
    )
  if problems:
    raise ConfigError(
      'this config is no GPT-2, so --vs=transformers cannot run it:\n  '
      + '\n  '.join(problems)
    )


def _model_problems(config):
  model, problems = config.model, []
  if any(layer != 'global' for layer in model.layer_pattern):
    problems.append(
      f'model.layer_pattern={model.layer_pattern}: GPT-2 has ("global",) only'
    )
  if model.num_kv_heads != model.num_heads:
    problems.append(
      _problem('model', 'num_kv_heads', model.num_kv_heads, model.num_heads)
    )
  if model.head_dim * model.num_heads != model.d_model:
    wanted = model.d_model // model.num_heads
    problems.append(_problem('model', 'head_dim', model.head_dim, wanted))
  if model.activation not in ACTIVATIONS:
    problems.append(
      f'model.activation={model.activation!r}: transformers has'
      f' {", ".join(ACTIVATIONS)}; set --config.model.activation=gelu'
    )
  scale = config.attention.scale
  if scale is not None and abs(scale - model.head_dim**-0.5) > 1e-9:
    problems.append(_problem('attention', 'scale', scale, None))
  if config.optimizer.decay_mask not in DECAY:
    problems.append(
      f'optimizer.decay_mask={config.optimizer.decay_mask!r}: expected one of'
      f' {", ".join(DECAY)}'
    )
  return problems


def _problem(section, field, value, wanted):
  name = f'{section}.{field}'
  return f'{name}={value!r}: GPT-2 has {wanted!r}; set --config.{name}={wanted}'
