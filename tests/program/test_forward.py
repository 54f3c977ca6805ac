"""What a loss can do with a Forward: other models, soft targets, pairs, auxiliaries."""

import dataclasses
import functools
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gpt_jax
from gpt_jax import cli, objectives
from gpt_jax.attention import masks
from gpt_jax.objectives import Objective, causal_lm
from gpt_jax.objectives.losses import LossSums
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.program.build import build_program
from gpt_jax.train import score_run
from tests import tiny_runs

VOCAB = objectives.Vocab(size=257, eos_id=256)
SGD = tiny_runs.SGD | tiny_runs.ONE_LAYER


def build(name, overrides=None, devices=1):
  settings = SGD | {'objective.name': f'{__name__}:{name}'} | (overrides or {})
  config = tiny_runs.tiny_config(settings)
  mesh = make_mesh(config.parallel.mesh, jax.devices()[:devices])
  return build_program(config, vocab=VOCAB, mesh=mesh)


def rows(count=8):
  tokens = np.random.default_rng(0).integers(0, 256, (count, 17))
  return {'tokens': tokens.astype(np.int32)}


def one_step(program):
  state, metrics = program.step(program.init(0), rows())
  return tiny_runs.named(state.params), tiny_runs.named(metrics)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Pair:
  """Two sequences, of which the first is to be the likelier: [B, 2, T]."""

  inputs_B2T: jax.Array
  targets_B2T: jax.Array


def preference(cfg, *, vocab, seq_len):
  """Returns a loss of pairs: rows i and i + 1 of a batch belong together."""

  def pair(batch, rng):
    tokens_B2N = batch['tokens'].reshape(-1, 2, seq_len + 1)
    return Pair(tokens_B2N[..., :-1], tokens_B2N[..., 1:])

  def loss(forward, example):
    B, _, T = example.inputs_B2T.shape
    logits_BTV = forward(example.inputs_B2T.reshape(2 * B, T), masks.causal())
    log_probs_BTV = jax.nn.log_softmax(logits_BTV)
    targets_BT1 = example.targets_B2T.reshape(2 * B, T, 1)
    scores_BT = jnp.take_along_axis(log_probs_BTV, targets_BT1, axis=-1)[..., 0]
    scores_B2 = scores_BT.sum(-1).reshape(B, 2)
    margin_B = scores_B2[:, 0] - scores_B2[:, 1]
    nats_B = jax.nn.softplus(-margin_B)
    return LossSums(
      objective_sum=nats_B.sum(),
      weight_sum=jnp.float32(B),
      metric_sums={'loss': nats_B.sum(), 'accuracy': jnp.sum(margin_B > 0.0)},
    )

  return Objective(
    pair, loss, weight=lambda example: jnp.float32(len(example.inputs_B2T))
  )


@pytest.mark.slow
def test_pairs_stay_together_in_microbatches():
  program = build('preference')
  assert program.loss == 'custom'
  whole, its_metrics = one_step(program)
  parts, metrics = one_step(build('preference', {'train.grad_accum': 4}))
  assert its_metrics["['targets']"] == 4
  tiny_runs.assert_same(parts, whole, atol=1e-5)
  tiny_runs.assert_same(metrics, its_metrics, rtol=1e-5, atol=1e-5)


def distilled(cfg, *, vocab, seq_len, path=''):
  """Returns the cross-entropy against another model's distribution of each token."""
  build = causal_lm.make(cfg, vocab=vocab, seq_len=seq_len).build

  def loss(forward, example):
    inputs = example.inputs_BT, example.mask, example.positions_BT
    teacher_BTV = jax.nn.softmax(forward.references['teacher'](*inputs))
    log_probs_BTV = jax.nn.log_softmax(forward(*inputs))
    nats_BT = -jnp.sum(teacher_BTV * log_probs_BTV, axis=-1)
    total = jnp.sum(example.weights_BT * nats_BT)
    return LossSums(total, jnp.sum(example.weights_BT), {'loss': total})

  def metrics(sums):
    return {'loss': sums['loss'] / sums['targets']}

  return Objective(build, loss, metrics=metrics, references={'teacher': path})


def from_the_teacher(cfg, *, vocab, seq_len):
  return distilled(cfg, vocab=vocab, seq_len=seq_len, path=TEACHER['path'])


TEACHER = {}


@pytest.mark.slow
def test_a_teacher_is_read_from_its_workdir(tmp_path, capsys):
  """At the teacher's own weights, the loss is its entropy and the gradient zero."""
  teacher, student = tmp_path / 'teacher', tmp_path / 'student'
  short = {'train.steps': 3, 'eval.every_steps': 0}
  flags = tiny_runs.flags(tiny_runs.ONE_LAYER | short)
  assert cli.main(['train', *flags, f'--workdir={teacher}']) == 0
  TEACHER['path'] = str(teacher)
  name = {'objective.name': f'{__name__}:from_the_teacher', 'train.steps': 4}
  flags = tiny_runs.flags(
    SGD | name | {'init_from': str(teacher), 'eval.every_steps': 2}
  )
  assert cli.main(['train', *flags, f'--workdir={student}']) == 0
  first, last = (gpt_jax.load(folder).params for folder in (teacher, student))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), first, last)
  assert score_run.score_run(student).sets['validation'].keys() == {'loss'}
  saved = tiny_runs.saved_arrays(student)
  assert not any('references' in name for name in saved)


class Sowing(nn.Module):
  """A linear head that also asks its outputs to be small."""

  cfg: object
  num_outputs: int

  @nn.compact
  def __call__(self, x_BTD):
    outputs_BTC = nn.Dense(self.num_outputs, name='out')(x_BTD)
    self.sow('losses', 'size', jnp.square(outputs_BTC).mean())
    return outputs_BTC


def two_outputs(cfg, *, vocab, seq_len):
  """Returns the parity of each next token as its label."""
  causal = causal_lm.make(cfg, vocab=vocab, seq_len=seq_len)

  def parity(batch, rng):
    example = causal(batch, rng)
    return dataclasses.replace(example, targets_BT=example.targets_BT % 2)

  return Objective(parity, num_outputs=2)


@pytest.mark.slow
@pytest.mark.parametrize('grad_accum', [1, 4])
def test_auxiliary_losses_of_modules_are_minimised_too(grad_accum):
  settings = {'objective.head': f'{__name__}:Sowing', 'train.grad_accum': grad_accum}
  program = build('two_outputs', settings)
  state = program.init(0)
  params = jax.tree.map(np.asarray, state.params)
  state, metrics = program.step(state, rows())
  assert metrics['auxiliary_loss'] > 0
  expected = float(metrics['loss'] + metrics['auxiliary_loss'])
  assert float(metrics['objective']) == pytest.approx(expected, rel=1e-5)
  # A step of SGD at rate 1 is the gradient of loss plus auxiliary loss.
  example = program.objective(rows(), jax.random.key(0))

  @jax.jit  # one program instead of one for each operation
  @jax.grad
  def gradient(params):
    outputs_BTC, _ = program.model.apply(
      {'params': params}, example.inputs_BT, example.mask
    )
    log_probs_BTC = jax.nn.log_softmax(outputs_BTC)
    picked_BT1 = jnp.take_along_axis(
      log_probs_BTC, example.targets_BT[..., None], axis=-1
    )
    return -picked_BT1.mean() + jnp.square(outputs_BTC).mean()

  moved = jax.tree.map(lambda old, new: old - np.asarray(new), params, state.params)
  assert_close = functools.partial(np.testing.assert_allclose, atol=1e-5)
  jax.tree.map(assert_close, moved, gradient(params))


@pytest.mark.slow
def test_auxiliary_losses_pass_through_scan_and_remat():
  base = {'model.num_layers': 2, 'model.scan_layers': True}
  base['objective.head'] = f'{__name__}:Sowing'
  plain, metrics = one_step(build('two_outputs', base))
  again, others = one_step(build('two_outputs', base | {'model.remat': 'full'}))
  tiny_runs.assert_same(plain, again, atol=1e-5)
  assert metrics["['auxiliary_loss']"] == pytest.approx(others["['auxiliary_loss']"])


@pytest.mark.slow
def test_an_irregular_objective_is_planned(tmp_path, capsys):
  """The parity of tokens, a head of two outputs: train, eval, plan; no text."""
  name = {'objective.name': f'{__name__}:two_outputs', 'train.steps': 2}
  flags = tiny_runs.flags(tiny_runs.ONE_LAYER | name)
  assert cli.main(['train', *flags, f'--workdir={tmp_path}']) == 0
  assert cli.main(['eval', f'--workdir={tmp_path}', '--json']) == 0
  scores = json.loads(capsys.readouterr().out.splitlines()[-1])
  assert 0 < scores['validation']['accuracy'] <= 1
  assert cli.main(['generate', f'--workdir={tmp_path}']) == 2
  assert 'task head' in capsys.readouterr().err
  assert cli.main(['plan', *flags, '--topology=cpu']) == 0
