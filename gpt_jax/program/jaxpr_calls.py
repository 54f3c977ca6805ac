"""Equations of a jaxpr that hold jaxprs, and how each of them takes more operands.

Whoever rewrites what is inside (`literals.py`) has two kinds to tell apart: calls,
whose inside may as well stand outside, and control flow, whose operands have places.
"""

import functools

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr

INLINED = (
  'jit', 'pjit', 'closed_call', 'core_call', 'custom_jvp_call', 'custom_vjp_call',
)  # fmt: skip
"""Calls. Derivative rules go: what is rewritten was differentiated before."""

_BODIES = ('jaxpr', 'call_jaxpr', 'fun_jaxpr')


def inner(params):
  """Yields ((name of a parameter, position in it), ClosedJaxpr) of all in `params`."""
  for name in sorted(params):
    values = params[name]
    for i, value in enumerate(values if isinstance(values, tuple | list) else [values]):
      if isinstance(value, ClosedJaxpr):
        yield (name, i), value
      elif isinstance(value, Jaxpr):
        yield (name, i), ClosedJaxpr(value, ())


def called(eqn):
  """Returns what `inner` yields for the function that a call calls."""
  return next(found for found in inner(eqn.params) if found[0][0] in _BODIES)


def _scan(eqn, call, numbers, inputs):
  params = eqn.params
  if 'ft_in' in params:  # jax 0.12
    consts, carry, xs = map(list, params['ft_in'].update(inputs).unpack())
  else:
    split = params['num_consts'], params['num_consts'] + params['num_carry']
    consts, carry, xs = inputs[: split[0]], inputs[slice(*split)], inputs[split[1] :]

  def body(carry, xs):
    out = call(('jaxpr', 0), numbers, [*consts, *carry, *xs])
    return out[: len(carry)], out[len(carry) :]

  options = {name: params[name] for name in ('length', 'reverse', 'unroll')}
  carry, ys = jax.lax.scan(body, carry, xs, **options)
  return [*carry, *ys]


def _while(eqn, call, numbers, inputs):
  split = eqn.params['cond_nconsts']
  begin = split + eqn.params['body_nconsts']
  of_cond, of_body, carry = inputs[:split], inputs[split:begin], inputs[begin:]
  return jax.lax.while_loop(
    lambda carry: call(('cond_jaxpr', 0), numbers, [*of_cond, *carry])[0],
    lambda carry: call(('body_jaxpr', 0), numbers, [*of_body, *carry]),
    carry,
  )


def _cond(eqn, call, numbers, inputs):
  index, *operands = inputs

  def branch(i):
    return lambda *operands: call(('branches', i), numbers, operands)

  branches = [branch(i) for i in range(len(eqn.params['branches']))]
  platforms = eqn.params.get('branches_platforms')
  if platforms is None:
    return jax.lax.switch(index, branches, *operands)
  # The index says for which platform this is compiled: jax makes it anew.
  named = {
    name: branch
    for names, branch in zip(platforms, branches, strict=True)
    for name in names or ('default',)
  }
  return jax.lax.platform_dependent(*operands, **named)


def _checkpoint(eqn, call, numbers, inputs):
  # Not by jax.checkpoint: what `differentiated` says of this equation has to stay.
  shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in inputs]
  body = jax.make_jaxpr(functools.partial(call, ('jaxpr', 0)))(numbers, shapes)
  assert not body.consts, 'numbers are operands, arrays too'
  return eqn.primitive.bind(*numbers, *inputs, **eqn.params | dict(jaxpr=body.jaxpr))


REBUILT = {
  'scan': _scan,
  'while': _while,
  'cond': _cond,
  'remat2': _checkpoint,
  'checkpoint': _checkpoint,
}
"""`(equation, call, numbers, operands) -> outputs`; `call(key, numbers, args)` runs the
jaxpr that `inner` yields under `key`, with new numbers in it."""
