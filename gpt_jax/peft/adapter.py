"""What a method of parameter-efficient fine-tuning is to the rest: an Adapter.

The model does not know of it. Added parameters stand in the model's tree beside those
that they change, such as `.../query/lora_a` beside `.../query/kernel`, so that the scan
over layers, shardings, optimizers and checkpoints have them like any other; methods of
modules are intercepted where they act (`flax.linen.intercept_methods`).
"""

import dataclasses
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gpt_jax.core import pytree
from gpt_jax.model.gpt import GPT


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
  # {added name: array} from the parameters with the base loaded, for initial values
  # that depend on it; None: all as their Leafs say.
  begin: Callable[..., dict] | None = None
  # A text whose ids, int32 [N], `begin` takes as well; '': it takes no more.
  begin_text: str = ''
  # Of the tree of parameters, that which the interceptor reads: computed at each call
  # in training, once for decoding. Of its own result it returns the same.
  prepare: Callable[[Any], Any] | None = None
  # Positions that virtual tokens take before those of the text.
  num_positions: int = 0
  has_virtual_keys: bool = False  # whether kernels see `Mask.num_virtual`

  def prepared(self, params):
    """Returns `params` as the interceptor reads them."""
    return params if self.prepare is None else self.prepare(params)

  def is_frozen(self, name):
    """Returns whether the parameter `name` keeps every bit; task heads never do."""
    if name in self.added:
      return not self.added[name].trains
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


class AdaptedGPT(GPT):
  """A GPT whose methods an Adapter intercepts."""

  adapter: Adapter | None = None

  @nn.nowrap
  def apply(self, variables, *args, **kwargs):
    """Returns what `GPT.apply` returns, adapted."""
    assert self.adapter
    if self.adapter.intercept is None:
      return super().apply(variables, *args, **kwargs)
    prepared = {'params': self.adapter.prepared(variables['params'])}
    variables = {**variables, **prepared}
    with nn.intercept_methods(self.adapter.intercept):
      return super().apply(variables, *args, **kwargs)


def make_gpt(adapter, cfg, attend=None, rules=None, task_head=None):
  """Returns the GPT of these fields, adapted unless `adapter` is None."""
  if adapter is None:
    return GPT(cfg, attend, rules, task_head)
  return AdaptedGPT(cfg, attend, rules, task_head, adapter=adapter)


def with_leaves(tree, leaves):
  """Returns the nested dict `tree` with `{name: leaf}` added."""
  return pytree.nested(dict(pytree.named_leaves(tree)) | dict(leaves))


def merge_params(adapter, params):
  """Returns the parameters of the plain model that computes the same."""
  leaves = dict(pytree.named_leaves(params))
  plain = {name: leaf for name, leaf in leaves.items() if name not in adapter.added}
  for name, merge in adapter.merged.items():
    plain[name] = merge.make(*(leaves[one] for one in merge.names))
  return pytree.nested(plain)
