"""Matmuls with low-precision inputs and float32 sums, in the backward pass too."""

import functools

import jax
import jax.numpy as jnp

from gpt_jax.core import matmul_cpu


def einsum(equation, a, b, out_dtype=None) -> jax.Array:
  """Returns the einsum of `a` and `b` in `out_dtype` (None: of `a`), summed in float32.

  Each letter of `equation` has to be in two of its three terms, as in matmuls.
  """
  return _einsum(equation, a, b, out_dtype or a.dtype)


def sum_dtype(x):
  """Returns the dtype in which matmuls of `x` are summed: float32, or float64."""
  return jnp.promote_types(x.dtype, jnp.float32)


def contract(equation, a, b, dtype) -> jax.Array:
  """Returns the einsum without a derivative rule, to build derivative rules from."""
  # For bfloat16 swapped operands cost training on a CPU nothing and save a TPU 0.7 % of
  # a GPT-2 124M step.
  if a.dtype == jnp.float32:
    return _unswapped(equation, dtype, a, b)
  return _dot(equation, a, b, dtype)


def _unswapped(equation, dtype, a, b):
  terms, out = equation.split('->')
  made = matmul_cpu.unswapped_output(equation)
  result = _dot(f'{terms}->{made}', a, b, dtype)
  return result.transpose([made.index(letter) for letter in out])


def _dot(equation, a, b, dtype):
  return jnp.einsum(equation, a, b, preferred_element_type=sum_dtype(a)).astype(dtype)


def weight_gradient(equation, a, b, dtype) -> jax.Array:
  """Returns `contract` for a sum over tokens; on CPUs in float32 as a plain matmul."""
  if a.dtype != jnp.float32 or matmul_cpu.is_batched(equation):
    return contract(equation, a, b, dtype)
  return jax.lax.platform_dependent(
    a,
    b,
    cpu=functools.partial(matmul_cpu.weight_gradient, equation, dtype),
    default=lambda a, b: contract(equation, a, b, dtype),
  )


def _forward(equation, a, b, dtype):
  # Not einsum(): a remat policy has to see the dot, not a custom_vjp call around it.
  return contract(equation, a, b, dtype), (a, b)


def _backward(equation, dtype, operands, cotangent):
  # Autodiff of `einsum(..., preferred_element_type=float32)` multiplies float32
  # cotangents with bfloat16 operands. Such mixed matmuls miss the matrix units of every
  # backend (on x86 AMX they run 5-10 times slower): cotangents are rounded first.
  a, b = operands
  terms, out = equation.split('->')
  left, right = terms.split(',')
  cotangent = cotangent.astype(a.dtype)
  return (
    contract(f'{out},{right}->{left}', cotangent, b, a.dtype),
    weight_gradient(f'{left},{out}->{right}', a, cotangent, b.dtype),
  )


def _value(equation, a, b, dtype):
  """Returns `contract` where no derivative is asked for."""
  if matmul_cpu.is_matvec(equation, a, b):  # a step of decoding one text
    on_cpu = functools.partial(matmul_cpu.matvec, equation, dtype)
  elif a.dtype != jnp.float32 and matmul_cpu.is_swapped(equation):
    # A CPU would transpose the kernel at each token.
    on_cpu = functools.partial(_unswapped, equation, dtype)
  else:
    return contract(equation, a, b, dtype)
  return jax.lax.platform_dependent(
    a, b, cpu=on_cpu, default=lambda a, b: contract(equation, a, b, dtype)
  )


_einsum = jax.custom_vjp(_value, nondiff_argnums=(0, 3))
_einsum.defvjp(_forward, _backward)
