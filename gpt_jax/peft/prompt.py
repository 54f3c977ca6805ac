"""Prompt tuning: trained embeddings before the text, arXiv:2104.08691.

They begin as those of real tokens (section 3.2): at step 0 the model is the plain one
with these tokens before the text. Where tokens see only what is before them, the keys
and values of the prompt depend on no text: they are computed once for all rows, and
tokens see them as virtual keys. An encoder reads the prompt in each row.
"""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax import objectives
from gpt_jax.attention import bind, dense, masks
from gpt_jax.config.schema import parse_layer
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import entry, lookup
from gpt_jax.core.sections import at_least, section
from gpt_jax.data.packing import PACKINGS
from gpt_jax.model import positions
from gpt_jax.model.cache import empty_cache
from gpt_jax.model.gpt import GPT
from gpt_jax.model.layers import Embed
from gpt_jax.peft import virtual_keys
from gpt_jax.peft.adapter import Adapter, Leaf

PROMPT = 'prompt'
"""Beside the embedding, [P, D]: rows like its own, which the model scales as those."""


@section
class PromptOptions:
  length: int = at_least(1, default=20)  # virtual tokens
  # Text whose tokens they begin as, again and again; '': random ones of the vocabulary.
  init_text: str = ''


@entry(options=PromptOptions)
def make(config):
  """Returns the Adapter of a Config."""
  cfg, length = config.model, config.peft.options.length
  virtual_keys.check_length(config, length)
  _check_embeddings(config)
  is_encoder = objectives.describe(config).visibility == 'bidirectional'
  (_check_encoder if is_encoder else _check_distances)(config, length)
  attend = bind(dense.attend, cfg, config.attention)
  intercept = (
    _read_in_each_row(length)
    if is_encoder
    else virtual_keys.intercept(length, precede=True)
  )
  init = jax.nn.initializers.normal(0.02)
  return Adapter(
    name='prompt',
    added={f'embed/{PROMPT}': Leaf((length, cfg.d_model), (None, 'embed'), init)},
    intercept=intercept,
    begin=functools.partial(_begin, length=length, seed=config.seed),
    begin_text=config.peft.options.init_text,
    prepare=None if is_encoder else functools.partial(expand, cfg=cfg, attend=attend),
    num_positions=length,
    has_virtual_keys=not is_encoder,
  )


def expand(params, *, cfg, attend):
  """Returns `params` with the prompt's keys and values of all layers in its place."""
  embed = params['embed']
  if PROMPT not in embed:  # they are there already
    return params
  length = len(embed[PROMPT])
  cfg = dataclasses.replace(cfg, scan_layers='layers' in params, remat='none')
  # With space for all of them in local layers too.
  cache = empty_cache(cfg, 1, length, cfg.dtype, spare=length)
  tokens_BT = jnp.zeros((1, length), jnp.int32)
  with nn.intercept_methods(_embed_prompt(length)):
    read: Any = GPT(cfg, attend).apply(
      {'params': params}, tokens_BT, cache=cache, method='hidden'
    )
  embed = {name: leaf for name, leaf in embed.items() if name != PROMPT}
  rest = params | {'embed': embed}
  return virtual_keys.with_layers(rest, cfg, _of_layers(cfg, read[2]['layers']))


def _of_layers(cfg, caches):
  """Returns the keys and values in the cache of one row, [L, 2, G, P, K]."""
  names = [f'block_{i}' for i in range(len(cfg.layer_pattern))]
  if cfg.scan_layers:
    pairs = [jnp.stack([caches[n].k_BGSK, caches[n].v_BGSK], 1) for n in names]
    stacked = jnp.stack(pairs, 1)  # groups, then blocks of each
    return stacked.reshape(cfg.num_layers, *stacked.shape[2:])[:, :, 0]
  blocks = [group[name] for group in caches for name in names]
  return jnp.stack([jnp.stack([b.k_BGSK, b.v_BGSK]) for b in blocks])[:, :, 0]


def _begin(leaves, observe=None, ids=None, *, length, seed):
  """Returns the first prompt: rows of the embedding, of `ids` or of random tokens."""
  del observe
  rows_VD = leaves['embed/embedding']
  if ids is None:
    ids = np.random.default_rng(seed).choice(len(rows_VD), length)
  return {f'embed/{PROMPT}': jnp.asarray(rows_VD)[jnp.asarray(np.resize(ids, length))]}


def _embed_prompt(length):
  """Returns the interceptor by which embeddings of a row's first tokens are trained."""

  def run(call, args, kwargs, context):
    module = context.module
    is_tokens = isinstance(module, Embed) and module.path == ('embed',)
    if not is_tokens or context.method_name != '__call__':
      return call(*args, **kwargs)
    (ids_BT,) = args
    prompt_PD = module.get_variable('params', PROMPT).astype(module.cfg.dtype)
    prompt_BPD = jnp.broadcast_to(prompt_PD, (len(ids_BT), *prompt_PD.shape))
    if ids_BT.shape[1] == length:
      return prompt_BPD
    return jnp.concatenate([prompt_BPD, call(ids_BT[:, length:])], axis=1)

  return run


def _read_in_each_row(length):
  """Returns the interceptor of encoders: rows have `length` more tokens inside."""
  embed_prompt = _embed_prompt(length)
  names = 'tokens_BT', 'mask', 'positions_BT', 'cache', 'token_types_BT'

  def run(call, args, kwargs, context):
    module = context.module
    if context.method_name != 'hidden' or not isinstance(module, GPT):
      return embed_prompt(call, args, kwargs, context)
    if module.rules is not None and module.rules.num_shards('time') > 1:
      raise ConfigError(
        'peft.name="prompt": rows that are sharded in time have no place for a'
        ' prompt; use another parallel.preset.'
      )
    given = dict(zip(names, args, strict=False)) | kwargs
    given['mask'] = _longer_mask(given.get('mask'), length)
    for name in ('tokens_BT', 'token_types_BT'):
      if given.get(name) is not None:
        given[name] = jnp.pad(given[name], ((0, 0), (length, 0)))
    if (positions_BT := given.get('positions_BT')) is not None:
      first_BP = jnp.broadcast_to(jnp.arange(length), (len(positions_BT), length))
      given['positions_BT'] = jnp.concatenate([first_BP, positions_BT + length], axis=1)
    x_BTD, head_VD, cache = call(**given)
    return x_BTD[:, length:], head_VD, cache

  return run


def _longer_mask(mask, length):
  """Returns the mask of rows with so many tokens more before their text."""
  mask = masks.causal() if mask is None else mask
  if mask.segments_BT is None:
    return mask
  first_BP = jnp.repeat(mask.segments_BT[:, :1], length, axis=1)
  segments_BT = jnp.concatenate([first_BP, mask.segments_BT], axis=1)
  return dataclasses.replace(mask, segments_BT=segments_BT)


def _check_embeddings(config):
  """Raises ConfigError for what changes the embeddings of the tokens of a row."""
  asked = config.regularization
  for field, value, none in (
    ('regularization.mixup', asked.mixup, 0.0),
    ('regularization.cutoff', asked.cutoff, 0.0),
    ('regularization.adversarial', asked.adversarial, 'none'),
    ('eval.attack_epsilon', config.eval.attack_epsilon, 0.0),
  ):
    if value != none:
      raise ConfigError(
        f'{field}={value!r}: changes embedded tokens, and those of'
        f' peft.name="prompt" are not in the text; set it to {none!r}, or use'
        ' peft.name="p_tuning_v2".'
      )


def _check_encoder(config, length):
  """Raises ConfigError for rows whose documents cannot each have a prompt."""
  del length
  if not config.task.name and _keeps_documents_apart(config.data):
    raise ConfigError(
      f'data.packing={config.data.packing!r}: several documents in a row, and an'
      ' encoder reads one prompt before it; use data.packing="pad", or'
      ' peft.name="p_tuning_v2", whose keys every document sees.'
    )


def _check_distances(config, length):
  """Raises ConfigError for rows in which later documents are far from the prompt."""
  model = config.model
  windows = [w for w in map(parse_layer, model.layer_pattern) if w is not None]
  reach = min(windows, default=None)
  is_far = reach is not None and reach < length + config.data.seq_len
  if not (is_far or positions.has_slopes(model)):
    return
  if config.task.name or _keeps_documents_apart(config.data):
    field = 'model.position' if not is_far else 'model.layer_pattern'
    raise ConfigError(
      f'{field}: layers look at how far away the prompt is, and of several documents in'
      ' a row it stands before the first; use data.packing="pad", or'
      ' peft.name="p_tuning_v2", whose keys are near everywhere.'
    )


def _keeps_documents_apart(data):
  made = lookup(PACKINGS, data.packing, 'data.packing')
  has_segments = getattr(made, 'has_segments', True) and data.packing != 'pad'
  return data.mask_documents or has_segments
