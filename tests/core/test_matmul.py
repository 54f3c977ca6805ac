"""The matmul of every layer: values, gradients and the dtypes inside."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.core import matmul_cpu
from gpt_jax.core.matmul import contract, einsum, weight_gradient

SIZES = dict(B=2, T=3, S=5, D=6, H=4, G=2, R=2, K=4, F=7, V=8)

EQUATIONS = {
  'BTD,DHK->BHTK': 'queries, keys, values',
  'BHTK,HKD->BTD': 'output of attention',
  'BGRTK,BGSK->BGRTS': 'scores',
  'BGRTS,BGSK->BGRTK': 'weighted values',
  'BTD,DF->BTF': 'widening',
  'BTF,FD->BTD': 'narrowing',
  'BTD,VD->BTV': 'tied head',
  'BTD,DV->BTV': 'untied head',
}


def operands(equation, **sizes):
  """Returns the two operands and a cotangent of their einsum, float32."""
  rng, sizes = np.random.default_rng(0), SIZES | sizes
  terms, out = equation.split('->')
  return [
    rng.normal(size=[sizes[letter] for letter in term]).astype(np.float32)
    for term in (*terms.split(','), out)
  ]


def value_and_gradients(multiply, a, b, cotangent):
  out, vjp = jax.vjp(multiply, a, b)
  return out, *vjp(cotangent)


@pytest.mark.parametrize('equation', EQUATIONS)
def test_value_and_gradients_equal_those_of_autodiff(equation):
  a, b, cotangent = operands(equation)
  ours = value_and_gradients(lambda a, b: einsum(equation, a, b), a, b, cotangent)
  theirs = value_and_gradients(lambda a, b: jnp.einsum(equation, a, b), a, b, cotangent)
  for got, expected in zip(ours, theirs, strict=True):
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('equation', EQUATIONS)
def test_gradients_equal_float64_sums(equation):
  a, b, cotangent = operands(equation)
  terms, out = equation.split('->')
  left, right = terms.split(',')
  _, grad_a, grad_b = value_and_gradients(
    lambda a, b: einsum(equation, a, b), a, b, cotangent
  )
  a64, b64, c64 = (x.astype(np.float64) for x in (a, b, cotangent))
  expected_a = np.einsum(f'{out},{right}->{left}', c64, b64)
  expected_b = np.einsum(f'{left},{out}->{right}', a64, c64)
  np.testing.assert_allclose(grad_a, expected_a, rtol=1e-5, atol=1e-5)
  np.testing.assert_allclose(grad_b, expected_b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('num_tokens', [3, 1])  # one, as when decoding
@pytest.mark.parametrize('equation', EQUATIONS)
def test_bfloat16_runs_here_on_operands_that_other_work_produces(equation, num_tokens):
  """Fused producers and all: XLA's CPU backend once had no kernel for some of these."""
  a, b, cotangent = (x.astype(jnp.bfloat16) for x in operands(equation, T=num_tokens))

  @jax.jit  # optimized as in a run: the trouble lay there
  def run(a, b, cotangent):
    def multiply(a, b):
      masters = jnp.sin(b.astype(jnp.float32))
      return einsum(equation, jnp.roll(a, 1, -1) * 2, masters.astype(jnp.bfloat16))

    out, vjp = jax.vjp(multiply, a, b)
    return out, *vjp(cotangent * 3)

  out, grad_a, grad_b = run(a, b, cotangent)
  assert (out.dtype, grad_a.dtype, grad_b.dtype) == (jnp.bfloat16,) * 3
  rolled = np.roll(a.astype(np.float32), 1, -1) * 2
  sines = np.sin(b.astype(np.float32)).astype(jnp.bfloat16).astype(np.float32)
  # One rounding to 8 bits at the end: sums are float32.
  np.testing.assert_allclose(
    out.astype(np.float32), np.einsum(equation, rolled, sines), rtol=2**-7, atol=1e-2
  )


def test_low_precision_matmuls_sum_in_float32():
  ones_1D = jnp.ones((1, 4096), jnp.bfloat16)  # bfloat16 sums get stuck at 256
  assert einsum('TD,TD->T', ones_1D, ones_1D) == 4096


def test_the_result_has_the_dtype_asked_gradients_their_own():
  a, b, _ = (x.astype(jnp.bfloat16) for x in operands('BTD,VD->BTV'))
  out, vjp = jax.vjp(lambda a, b: einsum('BTD,VD->BTV', a, b, jnp.float32), a, b)
  assert out.dtype == jnp.float32
  assert [grad.dtype for grad in vjp(out)] == [jnp.bfloat16, jnp.bfloat16]


@pytest.mark.parametrize('out_dtype', ['bfloat16', 'float32'])
def test_all_three_matmuls_read_bfloat16_and_write_float32(out_dtype):
  a, b, _ = (x.astype(jnp.bfloat16) for x in operands('BTD,DF->BTF'))

  def gradients(a, b):
    out, vjp = jax.vjp(lambda a, b: einsum('BTD,DF->BTF', a, b, out_dtype), a, b)
    return vjp(out)

  text = jax.jit(gradients).lower(a, b).as_text()
  dots = [line for line in text.splitlines() if 'dot_general' in line]
  assert len(dots) == 3
  for line in dots:
    inputs, output = line.split(' : ')[-1].split('->')
    assert inputs.count('bf16') == 2 and 'f32' in output and 'bf16' not in output


@pytest.mark.parametrize('multiply', [contract, weight_gradient])
def test_a_float32_cpu_weight_gradient_transposes_no_tokens(multiply):
  # A transposed copy would recompute, one by one, what made the operand.
  equation = 'BTF,BTD->FD'
  x_BTF, d_out_BTD, _ = operands(equation, T=256, F=96)

  def d_weight(x_BTF, d_out_BTD):
    return multiply(equation, jax.nn.gelu(x_BTF), d_out_BTD, jnp.float32)

  text = jax.jit(d_weight).lower(x_BTF, d_out_BTD).compile().as_text()
  assert ('f32[96,512]' in text) == (multiply is contract)


MATRICES = {
  'BTD,DF->BTF': dict(D=96, F=1024),
  'BTD,DHK->BHTK': dict(D=96, H=16, K=64),
  'BHTK,HKD->BTD': dict(H=16, K=64, D=96),
  'BTD,VD->BTV': dict(V=1024, D=96),
  'BTD,DV->BTV': dict(D=96, V=1024),
}
"""Large enough that a product with one vector is spread over a CPU's cores."""


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('equation', MATRICES)
def test_a_single_vector_is_multiplied_as_many_are(equation, dtype):
  a, b, _ = operands(equation, B=1, T=1, **MATRICES[equation])
  a, b = jnp.asarray(a, dtype), jnp.asarray(b, dtype)
  found = jax.jit(lambda a, b: einsum(equation, a, b, jnp.float32))(a, b)
  exact = np.einsum(equation, np.asarray(a, np.float64), np.asarray(b, np.float64))
  assert found.shape == exact.shape and found.dtype == jnp.float32
  # Sums of up to 1024 products in float32: bfloat16 inputs are multiplied exactly.
  np.testing.assert_allclose(found, exact, atol=1e-3)
  rounded = jax.jit(lambda a, b: einsum(equation, a, b))(a, b)
  assert rounded.dtype == a.dtype
  np.testing.assert_array_equal(rounded, found.astype(dtype))


def test_a_large_bfloat16_matrix_is_read_by_more_rows(monkeypatch):
  a, b, _ = operands('BTD,DF->BTF', B=1, T=1, D=96, F=1024)
  a, b = jnp.asarray(a, jnp.bfloat16), jnp.asarray(b, jnp.bfloat16)
  few = matmul_cpu.matvec('BTD,DF->BTF', jnp.float32, a, b)
  monkeypatch.setattr(matmul_cpu, 'LARGE_MATRIX', b.size)
  many = matmul_cpu.matvec('BTD,DF->BTF', jnp.float32, a, b)
  np.testing.assert_allclose(many, few, atol=1e-4)
  assert np.any(many != few)  # other sums


def test_vectors_of_a_training_step_are_multiplied_as_before():
  equation = 'BTD,DF->BTF'
  a, b, cotangent = operands(equation, B=1, T=1, **MATRICES[equation])
  found, _ = jax.vjp(lambda a, b: einsum(equation, a, b), a, b)
  np.testing.assert_array_equal(found, contract(equation, a, b, a.dtype))
  assert matmul_cpu.is_matvec(equation, a, b)
  assert not matmul_cpu.is_matvec(equation, np.repeat(a, 2, axis=1), b)
  assert not matmul_cpu.is_matvec(equation, a[..., :4], b[:4])  # small
