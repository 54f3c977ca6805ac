"""Virtual tokens as peft has them: one tensor, prompt_embeddings, and no modules.

PREFIX_TUNING  [P, layers * 2 * key-value heads * head_dim], a key and a value a layer;
               the MLP of a reparametrized prefix is multiplied out, as peft saves it
PROMPT_TUNING  [P, width], before the embedded text
"""

import dataclasses

import numpy as np

from gpt_jax import objectives, peft
from gpt_jax.config.schema import PeftConfig
from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.interop.mapping import windows
from gpt_jax.model import positions
from gpt_jax.peft import layer_names, prompt, virtual_keys
from gpt_jax.peft_formats.format import HARMLESS, Format

TENSOR = 'prompt_embeddings'
_LEAF = f'embed/{prompt.PROMPT}'
_SIZES = ('token_dim', 'num_attention_heads', 'num_layers')
_IDLE = (
  *_SIZES, 'modules_to_save', 'encoder_hidden_size', 'prefix_projection',
  'init_weights', 'prompt_tuning_init', 'prompt_tuning_init_text',
  'tokenizer_name_or_path', 'tokenizer_kwargs', 'prompt_tuning_init_state_dict_path',
  'prompt_tuning_init_state_dict_key',
)  # fmt: skip
"""Fields that say how it was trained, or that the base says as well."""


def write_prefix(source):
  """Returns the PrefixTuningConfig and the tensor of a run."""
  config, cfg = source.config, source.config.model
  _require_no_head(config)
  if problem := _problem_of_windows(cfg):
    raise ConfigError(f'peft.name={config.peft.name!r}: {problem}.')
  adapter = peft.make_adapter(config)
  assert adapter
  tree = pytree.nested(source.read(list(adapter.added)))
  tree = adapter.prepare(tree) if adapter.prepare else tree
  leaves = layer_names.unrolled_leaves(dict(pytree.named_leaves(tree)))
  paths = virtual_keys.layer_paths(cfg, is_stacked=False)
  kv_LNGPK = np.stack(
    [
      [leaves[f'{path}/{name}'] for name in (virtual_keys.KEY, virtual_keys.VALUE)]
      for path in paths
    ]
  )
  tensor = np.moveaxis(kv_LNGPK, -2, 0)
  sizes = cfg.num_kv_heads * cfg.head_dim, cfg.num_kv_heads, cfg.num_layers
  fields = dict(zip(_SIZES, sizes, strict=True)) | dict(
    num_virtual_tokens=len(tensor),
    num_transformer_submodules=1,
    prefix_projection=False,
    encoder_hidden_size=sizes[0],
  )
  return fields, {TENSOR: tensor.reshape(len(tensor), -1)}


def write_prompt(source):
  """Returns the PromptTuningConfig and the tensor of a run."""
  cfg = source.config.model
  _require_no_head(source.config)
  tensor = source.read([_LEAF])[_LEAF].astype(np.float32) * _scale(cfg)
  sizes = cfg.d_model, cfg.num_heads, cfg.num_layers
  fields = dict(zip(_SIZES, sizes, strict=True)) | dict(
    num_virtual_tokens=len(tensor),
    num_transformer_submodules=1,
    prompt_tuning_init='RANDOM',
  )
  return fields, {TENSOR: tensor}


def read_prefix(target):
  """Returns (Config, {parameter: array}) of a PrefixTuningConfig and its tensor."""
  cfg, length = target.config.model, _read_fields(target.fields)
  if problem := _problem_of_windows(cfg):
    target.problems.append(problem)
  shape = cfg.num_layers, 2, cfg.num_kv_heads, cfg.head_dim
  tensor = target.take(TENSOR, (length, int(np.prod(shape))))
  if tensor is None or target.problems:
    return target.config, {}
  kv_LNGPK = np.moveaxis(tensor.reshape(length, *shape), 0, -2)
  leaves = {
    f'{path}/{name}': array
    for path, pair in zip(
      virtual_keys.layer_paths(cfg, is_stacked=False), kv_LNGPK, strict=True
    )
    for name, array in zip((virtual_keys.KEY, virtual_keys.VALUE), pair, strict=True)
  }
  config = _config(target.config, 'p_tuning_v2', length)
  return config, layer_names.stacked_leaves(leaves) if cfg.scan_layers else leaves


def read_prompt(target):
  """Returns (Config, {parameter: array}) of a PromptTuningConfig and its tensor."""
  cfg, length = target.config.model, _read_fields(target.fields)
  tensor = target.take(TENSOR, (length, cfg.d_model))
  if tensor is None:
    return target.config, {}
  tensor = tensor / np.float32(_scale(cfg))
  return _config(target.config, 'prompt', length), {_LEAF: tensor}


def _read_fields(fields):
  length = fields.take('num_virtual_tokens')
  if length < 1:
    fields.refuse(f'num_virtual_tokens={length}: expected at least 1')
  fields.expect('num_transformer_submodules', 1, None)
  fields.ignore(*_IDLE, *HARMLESS)
  fields.finish()
  return length


def _config(config, name, length):
  """Returns `config` with a method of virtual tokens, and rows short enough."""
  options = peft.METHODS[name].options(length=length)
  section = PeftConfig(name=name, options=options, base_storage='as_is', init_from='')
  limit = positions.max_positions(config.model)
  if limit is not None and length < limit < length + config.data.seq_len:
    data = dataclasses.replace(config.data, seq_len=limit - length)
    config = dataclasses.replace(config, data=data)
  return dataclasses.replace(config, peft=section)


def _scale(cfg):
  """Returns by how much theirs are larger: they are not scaled as embeddings are."""
  return cfg.d_model**0.5 if cfg.scale_embeddings else 1.0


def _problem_of_windows(cfg):
  if any(width is not None for width in windows(cfg)):
    return (
      'local layers: transformers lets tokens see a prefix only where their window'
      ' reaches it, and here all of them see it, so the functions differ'
    )
  return ''


def _require_no_head(config):
  if objectives.describe(config).num_outputs:
    raise ConfigError(
      f'peft.name={config.peft.name!r}: a task head beside virtual tokens has no place'
      ' in the format of peft here; export an adapter of a language model.'
    )


PREFIX = Format('PREFIX_TUNING', write_prefix, read_prefix, prefix='')
PROMPT = Format('PROMPT_TUNING', write_prompt, read_prompt, prefix='')
