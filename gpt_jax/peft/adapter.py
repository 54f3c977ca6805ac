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
from gpt_jax.model.remat import ALL_BUT_KERNELS
from gpt_jax.peft.storage import Storage, Unpacked, unpack_kernel


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
  begin: Callable[[Mapping], dict] | None = None
  # Of the frozen kernels, where `peft.base_storage` picks one.
  storage: Storage | None = None

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
    with contextlib.ExitStack() as stack:
      if self.adapter.intercept is not None:
        stack.enter_context(nn.intercept_methods(self.adapter.intercept))
      if self.adapter.storage is not None:
        stack.enter_context(nn.intercept_methods(unpack_kernel))
      return super().apply(variables, *args, **kwargs)


def make_gpt(adapter, cfg, attend=None, rules=None, task_head=None):
  """Returns the GPT of these fields, adapted unless `adapter` is None."""
  if adapter is None:
    return GPT(cfg, attend, rules, task_head)
  if adapter.storage is not None and cfg.remat == 'none':
    cfg = dataclasses.replace(cfg, remat=ALL_BUT_KERNELS)
  return AdaptedGPT(cfg, attend, rules, task_head, adapter=adapter)


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
