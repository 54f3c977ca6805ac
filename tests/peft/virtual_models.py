"""Models with virtual tokens and random parameters, for the tests of such methods."""

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax import peft
from gpt_jax.attention import KERNELS, bind
from gpt_jax.core import pytree
from gpt_jax.model import stacking
from gpt_jax.model.cache import KVCache
from gpt_jax.model.gpt import GPT
from tests import small_models as small

P = 3
GPTS = {
  'gpt': {},
  'unrolled': dict(model__scan_layers=False),
  'rotary, grouped, post-norm': dict(
    model__position='rope', model__num_kv_heads=2, model__norm_position='post'
  ),
  'parallel, a cycle of two': dict(
    model__position='rope', model__block='parallel', model__num_layers=4,
    model__layer_pattern=('global', 'local:16'),
  ),
}  # fmt: skip


def config_of(name, **fields):
  """Returns a small Config with peft.name, whose rows have 8 tokens."""
  fields = {'model__max_seq_len': 16, 'peft__options.length': P} | fields
  return small.resolve(peft__name=name, **fields)


def make(name, kernel='dense', **fields):
  """Returns (adapted GPT, plain GPT, random parameters of the adapted one)."""
  config = config_of(name, **fields)
  adapter = peft.make_adapter(config)
  attend = bind(KERNELS[kernel], config.model, config.attention)
  plain = GPT(config.model, attend)
  params = peft.with_leaves(small.random_params(plain), adapter.init(0))
  return peft.make_gpt(adapter, config.model, attend), plain, params


def plain_params(adapted, params):
  """Returns `params` without what the adapter has added."""
  leaves = pytree.named_leaves(params)
  return pytree.nested({n: x for n, x in leaves if n not in adapted.adapter.added})


def past_of(adapted, params, rows, room=16):
  """Returns the virtual keys and values as a cache of the plain, unrolled model.

  It has `room` for more, as `past_key_values` of Hugging Face's models.
  """
  tree = stacking.unstack(adapted.adapter.prepared(params))
  cfg = adapted.cfg

  def block(group, name):
    attention = tree[f'layers_{group}'][name]['attention']
    pair = attention['prefix_key'], attention['prefix_value']
    shape_BGPK = (rows, *pair[0].shape)
    widths = ((0, 0), (0, 0), (0, room), (0, 0))
    return KVCache(*(jnp.pad(jnp.broadcast_to(x, shape_BGPK), widths) for x in pair))

  cycle = len(cfg.layer_pattern)
  groups = [
    {f'block_{i}': block(group, f'block_{i}') for i in range(cycle)}
    for group in range(cfg.num_layers // cycle)
  ]
  return {'layers': groups, 'length_B': jnp.full(rows, P, jnp.int32)}


def greedy(model, params, prompt_ids, count):
  """Returns the ids that a model writes by whole forward passes, padded to 32."""
  forward = _forward(model)
  ids = [*prompt_ids]
  for _ in range(count):
    tokens_BT = np.zeros((1, 32), np.int32)
    tokens_BT[0, : len(ids)] = ids
    ids.append(int(jnp.argmax(forward(params, tokens_BT)[0, len(ids) - 1])))
  return ids[len(prompt_ids) :]


_FORWARDS = {}


def _forward(model):
  if id(model) not in _FORWARDS:
    _FORWARDS[id(model)] = model, small.logits_of(model)
  return _FORWARDS[id(model)][1]


def is_close(a, b, atol=2e-5):
  np.testing.assert_allclose(a, b, atol=atol)
  return True


def leaves(tree):
  return dict(pytree.named_leaves(jax.tree.map(np.asarray, tree)))
