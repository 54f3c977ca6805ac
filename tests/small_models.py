"""Small models, all of whose parameters are away from zero."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax.attention import bind, dense
from gpt_jax.config.files import load_file
from gpt_jax.core import pytree
from gpt_jax.model.gpt import GPT
from gpt_jax.program import setup

SMALL = {
  'data.seq_len': 8,
  'model.vocab_size': 16,
  'model.num_layers': 2,
  'model.d_model': 16,
  'model.num_heads': 4,
}


QUICK_TO_COMPILE = {
  'xla_backend_optimization_level': 0,
  'xla_cpu_use_fusion_emitters': False,
}


def _known(options):
  """Returns those of the compiler's `options` that this XLA still has."""
  known = {}
  for name, value in options.items():
    try:
      jax.jit(lambda x: x, compiler_options={name: value}).lower(0).compile()
      known[name] = value
    except jax.errors.JaxRuntimeError:
      continue
  return known


# Tests compile far more than they compute; this makes compiling four times faster.
jit = functools.partial(jax.jit, compiler_options=_known(QUICK_TO_COMPILE))


def base_config():
  """Returns the ConfigDict of configs/base.py."""
  return load_file('configs/base.py')


@functools.cache
def base_values():
  """Returns the values of configs/base.py as plain dicts; `resolve` copies them."""
  return base_config().to_dict()


def resolve(**overrides):
  """Returns a small frozen Config; `model__d_model=8` sets `model.d_model`."""
  dotted = {name.replace('__', '.'): value for name, value in overrides.items()}
  return setup.resolve(base_values(), SMALL | dotted)


def model_config(**overrides):
  """Returns a small ModelConfig with `overrides` of its own fields."""
  return resolve(**{f'model__{name}': value for name, value in overrides.items()}).model


def make_gpt(config, kernel=dense.attend, rules=None):
  """Returns the GPT of a frozen Config."""
  return GPT(config.model, bind(kernel, config.model, config.attention), rules)


def boxed_shapes(model):
  """Returns the model's parameters as boxed ShapeDtypeStructs."""
  return _boxed_shapes(model.cfg)


@functools.cache
def _boxed_shapes(cfg):
  model = GPT(cfg)
  tokens_BT = jax.ShapeDtypeStruct((1, 1), jnp.int32)
  return jax.eval_shape(model.init, jax.random.key(0), tokens_BT)['params']


def random_params(model, seed=0):
  """Returns parameters drawn around 0, scales of norms around 1: nothing is special."""
  rng = np.random.default_rng(seed)

  def draw(name, leaf):
    center = 1.0 if name.endswith('scale') else 0.0
    values = rng.normal(center, 0.3, leaf.shape)
    return jnp.asarray(values, leaf.dtype)

  return pytree.map_named(draw, nn.unbox(boxed_shapes(model)))


def random_tokens(batch=2, length=8, vocab=16, seed=0):
  return np.random.default_rng(seed).integers(0, vocab, (batch, length), np.int32)


def logits_of(model):
  """Returns jitted `(params, tokens_BT, mask=None, positions_BT=None) -> logits`."""

  def logits(params, tokens_BT, mask=None, positions_BT=None):
    return model.apply({'params': params}, tokens_BT, mask, positions_BT)[0]

  return jit(logits)


def nats(model):
  """Returns `(params, tokens_BT) -> mean next-token loss`, to take gradients of."""

  def loss(params, tokens_BT):
    logits_BTV, _ = model.apply({'params': params}, tokens_BT[:, :-1])
    log_probs_BTV = jax.nn.log_softmax(logits_BTV)
    return -jnp.take_along_axis(log_probs_BTV, tokens_BT[:, 1:, None], -1).mean()

  return loss


def assert_trees_close(tree, expected, **tolerance):
  """Asserts that two trees have the same names and nearly the same leaves."""
  leaves, expected = pytree.named_leaves(tree), pytree.named_leaves(expected)
  assert [name for name, _ in leaves] == [name for name, _ in expected]
  for (name, leaf), (_, wanted) in zip(leaves, expected, strict=True):
    np.testing.assert_allclose(leaf, wanted, err_msg=name, **tolerance)


def logits_and_grads(model):
  """Returns `(params, tokens_BT) -> (logits_BTV, gradients of a loss of them)`."""

  def loss(params, tokens_BT):
    logits_BTV, _ = model.apply({'params': params}, tokens_BT)
    return jax.nn.logsumexp(logits_BTV, -1).mean(), logits_BTV

  def run(params, tokens_BT):
    (_, logits_BTV), grads = jax.value_and_grad(loss, has_aux=True)(params, tokens_BT)
    return logits_BTV, grads

  return jit(run)
