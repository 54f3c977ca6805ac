"""FLOPs of the matmuls in a traced function, counted from their shapes."""

import math

import jax
from jax.interpreters import partial_eval


def of_function(function, *arguments):
  """Returns the matmul FLOPs of `function(*arguments)`; arrays may be abstract.

  What no result depends on does not count.
  """
  jaxpr = jax.make_jaxpr(function)(*arguments).jaxpr
  # Derivative rules such as `matmul.einsum`'s make both gradients, whatever is asked.
  used, _ = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
  return of_jaxpr(used)


def of_jaxpr(jaxpr):
  """Returns 2 x outputs x contracted length over all dots, those in loops as often.

  Of branches the dearest counts, of a `while` one pass.
  """
  return sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation):
  if equation.primitive.name == 'dot_general':
    axes, _ = equation.params['dimension_numbers'][0]
    shape = equation.invars[0].aval.shape
    contracted = math.prod(shape[axis] for axis in axes)
    return 2 * equation.outvars[0].aval.size * contracted
  inner = [
    of_jaxpr(getattr(value, 'jaxpr', value))
    for values in equation.params.values()
    for value in (values if isinstance(values, tuple) else (values,))
    if hasattr(getattr(value, 'jaxpr', value), 'eqns')
  ]
  if equation.primitive.name == 'cond':
    return max(inner)
  return sum(inner) * equation.params.get('length', 1)
