"""The linear maps of a model, as methods that change them need them: where, what shape.

A target is a regular expression that is searched in the path of a linear map, such as
`layers/block_0/attention/query`: 'query|value', 'attention/', 'mlp/', or '' for all.
"""

import re

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import nearest
from gpt_jax.model.layers import Linear
from gpt_jax.model.linear_maps import find
from gpt_jax.quantization.linear_map import LinearMap

_UNROLLED = re.compile(r'^layers_\d+/')


def lookup_layer(entries, path):
  """Returns the entry of a path, None where there is none.

  That of all layers, `layers/...`, stands for those of unrolled ones, `layers_3/...`:
  a model that was trained by a scan over layers decodes without it.
  """
  found = entries.get(path)
  return entries.get(_UNROLLED.sub('layers/', path)) if found is None else found


def of_module(entries, module):
  """Returns `lookup_layer` of the path of a bound module."""
  return lookup_layer(entries, '/'.join(module.path))


def intercept_outputs(targets, change):
  """Returns the interceptor by which outputs of the LinearMaps `targets` change.

  `change(module, linear, x, y) -> y`, before the bias: of a bound Linear, its LinearMap
  (that of all layers, where a scan has trained them), its input and its product.
  """
  by_path = {linear.path: linear for linear in targets}

  def intercept(call, args, kwargs, context):
    module = context.module
    if not isinstance(module, Linear) or context.method_name != 'finish':
      return call(*args, **kwargs)
    linear = of_module(by_path, module)
    if linear is None:
      return call(*args, **kwargs)
    x, y = args
    return call(x, change(module, linear, x, y))

  return intercept


def choose(cfg, pattern, field):
  """Returns the LinearMaps that `pattern` matches; ConfigError where there is none."""
  linears = find(cfg)
  try:
    found = [linear for linear in linears if re.search(pattern, linear.path)]
  except re.error as error:
    raise ConfigError(
      f'{field}={pattern!r}: expected a regular expression ({error}).'
    ) from error
  if found:
    return found
  last = dict.fromkeys(linear.path.rpartition('/')[2] for linear in linears)
  if ',' in pattern:
    raise ConfigError(
      f'{field}={pattern!r}: matches no linear map of the model; expected one regular'
      f' expression: several are {"|".join(p.strip() for p in pattern.split(","))!r}.'
    )
  hint = nearest(pattern, list(last)) or nearest(pattern, [e.path for e in linears])
  raise ConfigError(
    f'{field}={pattern!r}: matches no linear map of the model; there are'
    f' {", ".join(last)}' + (f'; the nearest is {hint!r}.' if hint else '.')
  )


__all__ = [
  'LinearMap', 'choose', 'find', 'intercept_outputs', 'lookup_layer', 'of_module',
]  # fmt: skip
