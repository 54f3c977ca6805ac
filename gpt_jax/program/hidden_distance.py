"""How far a student's hidden states are from its teacher's, layer by layer.

The stream after a layer of the student is compared with that after one of the teacher:
by cosine (DistilBERT, arXiv:1910.01108, section 2) or the mean square of the difference
(TinyBERT, arXiv:1909.10351, eq. 8). Where widths differ, the student's stream goes
through a matrix for each pair that trains along and is no part of the model.
"""

import dataclasses

import jax
import jax.numpy as jnp

from gpt_jax.core.errors import ConfigError, Problem
from gpt_jax.core.matmul import einsum
from gpt_jax.model import initializers, statistics
from gpt_jax.program.state import PROJECTIONS

TEACHER = 'teacher'
"""Of the Program's reference models."""
_STREAM = 5  # of the random numbers of a seed, apart from those of the model


def pairs(config, teacher):
  """Returns ((layer of the student, layer of the teacher), ...), counted from 1.

  By default every layer of the student learns from that at the same depth. Empty
  where hidden states are not compared.
  """
  cfg = config.distill
  if not (cfg.teacher and cfg.hidden_weight):
    return ()
  if cfg.layers:
    return tuple(map(parse, cfg.layers))
  ours, theirs = config.model.num_layers, teacher.model.num_layers
  return tuple((n, max(1, round(n * theirs / ours))) for n in range(1, ours + 1))


def parse(text):
  """Returns (3, 6) of '3:6'; ValueError for other texts."""
  ours, colon, theirs = text.partition(':')
  if not (colon and ours.isdecimal() and theirs.isdecimal()):
    raise ValueError(text)
  return int(ours), int(theirs)


def total(kind, pairs, student, teacher, example):
  """Returns the mean distance over `pairs` and tokens, times the weight of the targets.

  Args:
    kind: an entry of DISTANCES.
    student, teacher: Forwards that were `watching` one pass each.
  Every row counts by the weight of its targets, so microbatches add up to one batch.
  """
  weights_BT = example.loss_weights_BT
  if weights_BT is None:
    weights_BT = example.weights_BT
  is_token_BT = statistics.weights(example.mask, example.inputs_BT.shape)
  count_B = jnp.maximum(is_token_BT.sum(1), 1.0)
  share_BT = weights_BT.sum(1, keepdims=True) * is_token_BT / count_B[:, None]
  projections = student.params.get(PROJECTIONS, {})
  found = 0.0
  for ours, theirs in pairs:
    x_BTD, y_BTE = student.streams_LBTD[ours - 1], teacher.streams_LBTD[theirs - 1]
    if projections:
      kernel_DE = projections[_name(ours, theirs)]['kernel'].astype(x_BTD.dtype)
      x_BTD = einsum('BTD,DE->BTE', x_BTD, kernel_DE, jnp.float32)
    distance_BT = DISTANCES[kind](x_BTD.astype(jnp.float32), y_BTE.astype(jnp.float32))
    found += jnp.sum(share_BT * distance_BT)
  return found / len(pairs)


def cosine(x_BTD, y_BTD):
  """Returns 1 - cos of two streams, float32 [B, T]."""

  def normed(z_BTD):
    square_BT1 = jnp.sum(jnp.square(z_BTD), axis=-1, keepdims=True)
    return z_BTD * jax.lax.rsqrt(square_BT1 + 1e-12)

  return 1 - jnp.sum(normed(x_BTD) * normed(y_BTD), axis=-1)


def mean_square(x_BTD, y_BTD):
  """Returns the mean square of the difference of two streams, float32 [B, T]."""
  return jnp.mean(jnp.square(x_BTD - y_BTD), axis=-1)


DISTANCES = {'cosine': cosine, 'mse': mean_square}


@dataclasses.dataclass(frozen=True, eq=False)
class Projections:
  """The matrices between widths, among the parameters of a training; maybe none."""

  shapes: dict[str, tuple[int, int]]
  dtype: str

  def added(self, params, seed=0):
    """Returns `params` with fresh matrices, each of its own random numbers."""
    if not self.shapes:
      return params
    key = jax.random.fold_in(jax.random.key(seed), _STREAM)
    made = {}
    for i, (name, shape) in enumerate(self.shapes.items()):
      draw = initializers.truncated_normal(shape[0] ** -0.5)
      made[name] = {'kernel': draw(jax.random.fold_in(key, i), shape, self.dtype)}
    return params | {PROJECTIONS: made}

  def with_shardings(self, shardings, rules):
    """Returns `shardings` of a model's parameters with those of the matrices.

    The rows of each are sharded as the stream's width is in matrices.
    """
    if not self.shapes:
      return shardings
    place = rules.sharding(('embed', None))
    return shardings | {PROJECTIONS: {n: {'kernel': place} for n in self.shapes}}


def make_projections(config, reference_configs):
  """Returns the Projections of a Config; `reference_configs` has its teacher."""
  shapes = {}
  if config.distill.teacher:
    teacher = reference_configs[TEACHER]
    shape = config.model.d_model, teacher.model.d_model
    if shape[0] != shape[1]:
      shapes = {_name(*pair): shape for pair in pairs(config, teacher)}
  return Projections(shapes, config.model.param_dtype)


def _name(ours, theirs):
  return f'layer_{ours}_to_{theirs}'


def check(config, teacher):
  """Raises ConfigError for layers that one of the models does not have."""
  cfg = config.distill
  found = pairs(config, teacher)
  for ours, theirs in found:
    for which, number, model in (
      ('the student', ours, config.model),
      ('the teacher', theirs, teacher.model),
    ):
      if not 1 <= number <= model.num_layers:
        raise ConfigError(
          f'distill.layers={cfg.layers!r}: {ours}:{theirs} is layer {number} of'
          f' {which}, which has {model.num_layers}; expected 1 to {model.num_layers}.'
        )
  if found and config.peft.name and teacher.model.d_model != config.model.d_model:
    raise ConfigError(
      f'distill.hidden_weight={cfg.hidden_weight:g}: the teacher has width'
      f' {teacher.model.d_model}, the student {config.model.d_model}, and with'
      f' peft.name={config.peft.name!r} no matrix between them trains; set 0, or use a'
      ' teacher of this width.'
    )


def problems(config):
  """Yields the Problems of the fields about hidden states."""
  cfg = config.distill
  for text in cfg.layers:
    try:
      parse(text)
    except ValueError:
      yield Problem(
        'distill.layers',
        f'={cfg.layers!r}: {text!r} is no pair of layers; expected'
        ' STUDENT:TEACHER, counted from 1, such as 1:2,2:4',
      )
      return
  if cfg.hidden_weight and not cfg.teacher:
    yield Problem(
      'distill.hidden_weight',
      f'={cfg.hidden_weight:g}: distill.teacher is empty; set it to the workdir of a'
      ' run',
    )
