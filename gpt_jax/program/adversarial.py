"""Adversarial training: gradients under perturbations r of the embedded tokens.

  fgm     r = eps g / |g|; loss(0) + weight loss(r). arXiv:1605.07725, equation 8
  pgd     r <- P(r + a g / |g|), K times from 0, P the projection onto |r| <= eps;
          loss(0) + weight loss(r). arXiv:1706.06083
  freelb  as pgd from a random r, and the mean of the loss at the K points on the way
          is minimised, not at the last one. arXiv:1909.11764, algorithm 1

g is the gradient by r of the loss in float32, under the same dropout for all (FreeLB,
section 3.3); |.| is the L2 norm over a text: a document of a row, or the row where
attention crosses documents.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp

METRIC = 'adversarial_loss'
"""Of fgm and pgd: cross-entropy under the last perturbation."""

_STREAM = 2  # of the random numbers of a step, apart from those of dropout


def make_value_and_grad(cfg, width):
  """Returns what stands for `jax.value_and_grad(mean_loss, has_aux=True)`.

  It takes `mean_loss(trained, example, rng, perturbation_BTD=None)`, which returns the
  loss and its LossSums, and returns `(trained, example, rng) -> ((value, sums),
  gradients)`. `cfg` is a RegularizationConfig, `width` that of the embeddings.
  """
  if cfg.adversarial == 'none':
    return functools.partial(jax.value_and_grad, has_aux=True)
  method = dict(fgm=_fgm, pgd=_pgd, freelb=_freelb)[cfg.adversarial]

  def value_and_grad(mean_loss):
    def compute(trained, example, rng):
      def loss(trained, perturbation_BTD):
        return mean_loss(trained, example, rng, perturbation_BTD)

      return method(cfg, loss, trained, no_perturbation(example, width), example, rng)

    return compute

  return value_and_grad


def no_perturbation(example, width):
  """Returns zeros in the shape of the embedded tokens of an Example, float32."""
  return jnp.zeros((*example.inputs_BT.shape, width), jnp.float32)


def norm(values_BTD, segments_BT=None):
  """Returns the L2 norm over the text that each place is of, [B, T or 1, 1]."""
  squares_BT = jnp.sum(jnp.square(values_BTD), axis=-1)
  if segments_BT is None:
    return jnp.sqrt(jnp.sum(squares_BT, axis=1, keepdims=True))[..., None]
  same_BTS = segments_BT[:, :, None] == segments_BT[:, None, :]
  return jnp.sqrt(jnp.einsum('BTS,BS->BT', same_BTS, squares_BT))[..., None]


def scaled(gradient_BTD, length, segments_BT=None):
  """Returns the gradient at the norm `length` in every text; 0 where it is 0."""
  norm_BT1 = norm(gradient_BTD, segments_BT)
  # Not a smallest norm instead of 1: XLA multiplies by its inverse, which overflows.
  return length * gradient_BTD / jnp.where(norm_BT1 > 0, norm_BT1, 1.0)


def ascend(point_BTD, gradient_BTD, cfg, segments_BT=None):
  """Returns the point after a step along the gradient, within `adversarial_epsilon`."""
  point_BTD += scaled(gradient_BTD, cfg.adversarial_step_size, segments_BT)
  length_BT1 = norm(point_BTD, segments_BT)
  longest = cfg.adversarial_epsilon
  return point_BTD * jnp.minimum(1.0, longest / jnp.maximum(length_BT1, longest))


def start(rng, shape, epsilon, segments_BT=None):
  """Returns FreeLB's first point: uniform in +-epsilon / sqrt(numbers of a text)."""
  rng = jax.random.fold_in(rng, _STREAM)
  point_BTD = jax.random.uniform(rng, shape, jnp.float32, -epsilon, epsilon)
  return point_BTD / norm(jnp.ones(shape, jnp.float32), segments_BT)


def _fgm(cfg, loss, trained, zeros_BTD, example, rng):
  del rng
  clean, (gradients, by_point_BTD) = _both(loss)(trained, zeros_BTD)
  point_BTD = scaled(by_point_BTD, cfg.adversarial_epsilon, example.mask.segments_BT)
  return _plus(cfg, loss, trained, clean, gradients, point_BTD)


def _pgd(cfg, loss, trained, zeros_BTD, example, rng):
  del rng
  segments_BT = example.mask.segments_BT
  clean, (gradients, by_point_BTD) = _both(loss)(trained, zeros_BTD)
  point_BTD = ascend(zeros_BTD, by_point_BTD, cfg, segments_BT)

  def step(_, point_BTD):
    by_point_BTD, _ = jax.grad(loss, argnums=1, has_aux=True)(trained, point_BTD)
    return ascend(point_BTD, by_point_BTD, cfg, segments_BT)

  point_BTD = jax.lax.fori_loop(1, cfg.adversarial_steps, step, point_BTD)
  return _plus(cfg, loss, trained, clean, gradients, point_BTD)


def _freelb(cfg, loss, trained, zeros_BTD, example, rng):
  segments_BT = example.mask.segments_BT
  first = start(rng, zeros_BTD.shape, cfg.adversarial_epsilon, segments_BT)

  def step(carry, _):
    point_BTD, total = carry
    result, (gradients, by_point_BTD) = _both(loss)(trained, point_BTD)
    total = jax.tree.map(
      lambda t, p: t + p.astype(t.dtype) / cfg.adversarial_steps,
      total,
      (result, gradients),
    )
    return (ascend(point_BTD, by_point_BTD, cfg, segments_BT), total), None

  shapes = jax.eval_shape(_both(loss), trained, zeros_BTD)
  shapes = shapes[0], shapes[1][0]
  # Gradients of half-precision parameters are too coarse to add up.
  zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, jnp.float32), shapes)
  carry, _ = jax.lax.scan(step, (first, zeros), length=cfg.adversarial_steps)
  result, gradients = carry[1]
  return result, jax.tree.map(lambda g, p: g.astype(p.dtype), gradients, trained)


def _both(loss):
  """Returns `(trained, point) -> ((value, sums), gradients by both)`."""
  return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)


def _plus(cfg, loss, trained, clean, gradients, point_BTD):
  """Returns the result of a clean pass and the weighted one under a perturbation."""
  weight = cfg.adversarial_weight
  (value, sums), others = jax.value_and_grad(loss, has_aux=True)(trained, point_BTD)
  clean_value, clean_sums = clean
  metrics = clean_sums.metric_sums | {METRIC: sums.metric_sums['loss']}
  both = dataclasses.replace(
    clean_sums,
    objective_sum=clean_sums.objective_sum + weight * sums.objective_sum,
    metric_sums=metrics,
  )
  gradients = jax.tree.map(lambda g, other: g + weight * other, gradients, others)
  return (clean_value + weight * value, both), gradients
