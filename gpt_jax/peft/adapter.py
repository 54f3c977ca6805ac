"""What a method of parameter-efficient fine-tuning is to the rest: an Adapter.

The model does not know of it. Added parameters stand in the model's tree beside those
that they change, such as `.../query/lora_a` beside `.../query/kernel`, so that the scan
over layers, shardings, optimizers and checkpoints have them like any other; methods of
modules are intercepted where they act (`flax.linen.intercept_methods`).
"""

import contextlib
import dataclasses
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gpt_jax.core import pytree
from gpt_jax.model.gpt import GPT
from gpt_jax.model.remat import ALL_BUT_CONSTANTS
from gpt_jax.peft.storage import Storage
from gpt_jax.quantization.packed import Unpacked


@dataclasses.dataclass(frozen=True)
class Leaf:
  """A parameter that a method adds."""

  shape: tuple[int, ...]
  axes: tuple[str | None, ...]  # logical, one for each dimension
  init: Callable  # (key, shape, dtype) -> array
  trains: bool = True
  # float32, whatever the model has: updates of a few numbers must not round to nothing.
  dtype: Any = jnp.float32


@dataclasses.dataclass(frozen=True)
class Merge:
  """A parameter of the plain model, made of several of the adapted one."""

  names: tuple[str, ...]
  make: Callable  # of these arrays, to one like the first


@dataclasses.dataclass(frozen=True, eq=False)
class Training:
  """What a method does in a training step, beside adding parameters."""

  # Of an optax transformation, to one; what it keeps is saved with the optimizer's.
  wrap_optimizer: Callable
  # {name: parameter that trains} -> {metric: float32 scalar that the loss grows by}.
  penalties: Callable[[dict], dict]
  # (the same after the update, steps made) -> {metric: scalar}.
  metrics: Callable[[dict, Any], dict]


@dataclasses.dataclass(frozen=True, eq=False)
class Adapter:
  """A method on a model, as the entries of `peft.METHODS` make it."""

  name: str
  added: Mapping[str, Leaf]  # by the name of the parameter
  # Of the base, by name: which of its parameters train as well.
  trains: Callable[[str], bool] = lambda name: False
  # (call, args, kwargs, context) -> result, as `flax.linen.intercept_methods` takes it.
  intercept: Callable | None = None
  # {parameter of the plain model: Merge}; None: there is no plain model like this.
  merged: Mapping[str, Merge] | None = None
  # (parameters by name with the base loaded, observe=None, ids=None) -> {added name:
  # array}, for initial values that depend on them or on data; `observe` is that of
  # `program.observe.make_observe`, None where no training follows; `ids`, int32 [N],
  # are those of `begin_text`. None: all as their Leafs say.
  begin: Callable[..., dict] | None = None
  begin_text: str = ''
  # Of the number of steps of a run; None: updates and loss are the usual ones.
  training: Callable[[int], Training | None] = lambda total_steps: None
  # {path of a linear map: ranks, one a layer} from the parameters, for methods that
  # choose them.
  ranks: Callable[[Any], dict] | None = None
  # Of the frozen kernels, where `peft.base_storage` picks one.
  storage: Storage | None = None
  # Of the tree of parameters, that which the interceptor reads: computed at each call
  # in training, once for decoding. Of its own result it returns the same.
  prepare: Callable[[Any], Any] | None = None
  # Positions that virtual tokens take before those of the text.
  num_positions: int = 0
  has_virtual_keys: bool = False  # whether kernels see `Mask.num_virtual`
  # {linear map: (A, B)} from {added name: array}: all that it does is to add x A B to
  # their outputs, so that `batched.py` can; None: it does something else.
  factors: Callable[[Mapping], dict] | None = None

  def prepared(self, params):
    """Returns `params` as the interceptor reads them."""
    return params if self.prepare is None else self.prepare(params)

  def bound(self, params):
    """Returns the parameters of one `apply`, as `intercept` reads them."""
    return params

  def is_frozen(self, name):
    """Returns whether the parameter `name` keeps every bit; task heads never do."""
    if name in self.added:
      return not self.added[name].trains
    if self.storage is not None and name in self.storage:
      return True
    return not (name.startswith('task_head/') or self.trains(name))

  def init(self, seed):
    """Returns {name: fresh array} of the added parameters."""
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(self.name.encode()))
    return {
      name: leaf.init(
        jax.random.fold_in(key, zlib.crc32(name.encode())), leaf.shape, leaf.dtype
      )
      for name, leaf in self.added.items()
    }

  def first_params(self, params, seed):
    """Returns `params` of a plain model with the added ones, and kernels stored."""
    params = with_leaves(params, self.init(seed))
    return params if self.storage is None else self.storage.pack(params)

  def axes(self, rules):
    """Returns {name: logical axes} of what a plain model does not have, on a mesh."""
    stored = {} if self.storage is None else self.storage.axes(rules)
    return {name: leaf.axes for name, leaf in self.added.items()} | stored


class AdaptedGPT(GPT):
  """A GPT whose methods an Adapter intercepts."""

  adapter: Adapter | None = None

  @nn.nowrap
  def apply(self, variables, *args, **kwargs):
    """Returns what `GPT.apply` returns, adapted."""
    assert self.adapter
    params = self.adapter.bound(self.adapter.prepared(variables['params']))
    variables = {**variables, 'params': params}
    with contextlib.ExitStack() as stack:
      if self.adapter.intercept is not None:
        stack.enter_context(nn.intercept_methods(self.adapter.intercept))
      return super().apply(variables, *args, **kwargs)


def make_gpt(adapter, cfg, attend=None, rules=None, task_head=None):
  """Returns the GPT of these fields, adapted unless `adapter` is None."""
  if adapter is None:
    return GPT(cfg, attend, rules, task_head)
  if adapter.storage is not None and cfg.remat == 'none':
    cfg = dataclasses.replace(cfg, remat=ALL_BUT_CONSTANTS)
  return AdaptedGPT(cfg, attend, rules, task_head, adapter=adapter)


def base_names(cfg):
  """Returns the names of the parameters of a ModelConfig's GPT, without a task head."""
  model, tokens_BT = GPT(cfg), jnp.zeros((1, 1), jnp.int32)
  variables = jax.eval_shape(model.init, jax.random.key(0), tokens_BT)
  params = nn.meta.unbox(variables['params'])
  return [name for name, _ in pytree.named_leaves(params)]


def dropped_out(module, x, rate):
  """Returns `x` after dropout, in training alone; inside a call of `module`."""
  if not rate or not module.has_rng('dropout'):
    return x
  kept = jax.random.bernoulli(module.make_rng('dropout'), 1 - rate, x.shape)
  return jnp.where(kept, x / (1 - rate), 0)


def add_penalties(penalties, gradients, trained):
  """Returns ({metric: penalty}, `gradients` with those of `Training.penalties`)."""

  def total(trained):
    found = penalties(dict(pytree.named_leaves(trained)))
    return sum(found.values()), found

  own, found = jax.grad(total, has_aux=True)(trained)
  add = jax.tree.map(lambda g, more: g + more.astype(g.dtype), gradients, own)
  return found, add


def with_leaves(tree, leaves):
  """Returns the nested dict `tree` with `{name: leaf}` added."""
  return pytree.nested(dict(pytree.named_leaves(tree)) | dict(leaves))


def merge_params(adapter, params):
  """Returns the parameters of the plain model that computes the same."""
  leaves, merged = in_full(adapter, params), adapter.merged
  plain = {
    name: leaves[name]
    for name in leaves
    if name not in adapter.added and name not in merged
  }
  for name, merge in merged.items():
    plain[name] = merge.make(*(leaves[one] for one in merge.names))
  return pytree.nested(plain)


def in_full(adapter, params):
  """Returns a Mapping of parameters by name, stored kernels as matmuls see them."""
  leaves = dict(pytree.named_leaves(params))
  if adapter.storage is None:
    return leaves
  return Unpacked(leaves, adapter.storage.dtype)
