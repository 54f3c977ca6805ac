"""Scales of inputs, moved into what makes them: the model computes the same.

  x W = (x / s) (s W): the norm before W, or the linear map whose outputs are gated and
  read by W, is divided by s.
SmoothQuant (arXiv:2211.10438, section 4) and AWQ (arXiv:2306.00978, section 3.2).
"""

import dataclasses

import jax.numpy as jnp

from gpt_jax.core import pytree
from gpt_jax.model import activations, linear_maps

_NORM_OF = {'attention': 'attention_norm', 'mlp': 'mlp_norm'}
_READ = {'attention': ('query', 'key', 'value'), 'mlp': ('up', 'gate')}


@dataclasses.dataclass(frozen=True)
class Folding:
  """An array [..., C] that LinearMaps read, and what makes it."""

  readers: tuple  # LinearMaps
  norm: str = ''  # path of the norm that makes it, or ...
  maker: str = ''  # ... of the linear map


def find(cfg):
  """Returns the Foldings of a ModelConfig.

  Inputs of attention's output are none of them, nor any after a post-norm, which the
  residual stream reads as well.
  """
  linears = {linear.path: linear for linear in linear_maps.find(cfg)}
  found = []
  for block in dict.fromkeys(path.rsplit('/', 2)[0] for path in linears):
    by_norm = {}
    for part, names in _READ.items():
      readers = [linears[p] for n in names if (p := f'{block}/{part}/{n}') in linears]
      norm = 'attention_norm' if cfg.block == 'parallel' else _NORM_OF[part]
      by_norm.setdefault(norm, []).extend(readers)
    if cfg.norm_position != 'post':
      found += [
        Folding(tuple(readers), norm=f'{block}/{norm}')
        for norm, readers in by_norm.items()
        if readers
      ]
    down = f'{block}/mlp/down'
    if down in linears and activations.is_gated(activations.lookup(cfg)):
      found.append(Folding((linears[down],), maker=f'{block}/mlp/up'))
  return found


def fold(params, cfg, scales):
  """Returns `params` with inputs divided by scales, and kernels multiplied.

  `scales`: pairs of a Folding and float32 [stack, C] of its array.
  """
  leaves = dict(pytree.named_leaves(params))
  for folding, scale in scales:
    for linear in folding.readers:
      sizes = linear.sizes(linear.contracted)
      wide = scale.reshape(*linear.stack, *sizes, *[1] * len(linear.kept))
      leaves[linear.kernel] = _times(leaves[linear.kernel], wide)
    if folding.norm:
      _divide_norm(leaves, cfg, folding.norm, scale)
    else:
      for name in ('kernel', 'bias'):
        if (path := f'{folding.maker}/{name}') in leaves:
          missing = leaves[path].ndim - scale.ndim
          wide = scale.reshape(*scale.shape[:-1], *[1] * missing, scale.shape[-1])
          leaves[path] = _times(leaves[path], 1 / wide)
  return pytree.nested(leaves)


def _divide_norm(leaves, cfg, path, scale):
  shift = 1.0 if cfg.norm_zero_centered else 0.0
  old = leaves[f'{path}/scale']
  new = (old.astype(jnp.float32) + shift) / scale - shift
  leaves[f'{path}/scale'] = new.astype(old.dtype)
  if (bias := leaves.get(f'{path}/bias')) is not None:
    leaves[f'{path}/bias'] = _times(bias, 1 / scale)


def _times(array, scale):
  return (array.astype(jnp.float32) * scale).astype(array.dtype)
