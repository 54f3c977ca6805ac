"""A student and its teacher: loss, meshes, microbatches, resume, what is refused."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

import gpt_jax
from gpt_jax import cli, objectives
from gpt_jax.core.errors import CheckpointError, ConfigError
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.planning import memory
from gpt_jax.program import distillation, setup, shared
from gpt_jax.program.build import build_program
from gpt_jax.train import loop, score_run
from tests import tiny_runs
from tests.program import tiny_labels

VOCAB = objectives.Vocab(size=257, eos_id=256)
STUDENT = tiny_runs.SGD | tiny_runs.ONE_LAYER | {'distill.teacher': 'teacher'}
HIDDEN = {'distill.hidden_weight': 2.0}
WIDER = {'model.num_layers': 2, 'model.d_model': 64}
IDS = {'model.vocab_size': 258}  # which divide over the mesh
MESH = {'parallel.preset': 'fsdp_tensor', 'parallel.mesh.fsdp': 2}
MESH |= {'parallel.mesh.tensor': 2}


def build(overrides=None, teacher=None, devices=1):
  config = tiny_runs.tiny_config(STUDENT | (overrides or {}))
  other = tiny_runs.tiny_config(tiny_runs.ONE_LAYER | (teacher or {}))
  mesh = make_mesh(config.parallel.mesh, jax.devices()[:devices])
  return build_program(
    config, vocab=VOCAB, mesh=mesh, reference_configs={'teacher': other}
  )


def rows(count=8):
  tokens = np.random.default_rng(0).integers(0, 256, (count, 17))
  return {'tokens': tokens.astype(np.int32)}


def one_step(program):
  state, metrics = program.step(program.init(0), rows())
  return tiny_runs.named(state.params), tiny_runs.named(metrics)


def test_the_divergence_is_that_of_scipy():
  rng = np.random.default_rng(0)
  both = rng.normal(size=(2, 2, 3, 7)) * 3
  p, q = (scipy.special.softmax(one[..., :6] / 1.7, axis=-1) for one in both)
  wanted = scipy.special.rel_entr(p, q).sum(-1)
  # The sixth id is the last; one of the models pads its vocabulary.
  found = distillation.divergence(both[0][..., :6], both[1], 1.7, 6)
  np.testing.assert_allclose(found, wanted, rtol=1e-4)


@pytest.mark.slow
def test_the_loss_weighs_targets_and_teacher():
  program = build({'distill.weight': 0.3, 'distill.temperature': 3.0}, WIDER)
  state = program.init(0)
  example = program.objective(rows(), jax.random.key(0))
  models = program.model, program_of_teacher().model
  trees = state.params, state.references['teacher']
  logits_BTV, soft_BTV = (
    model.apply({'params': tree}, example.inputs_BT)[0]
    for model, tree in zip(models, trees, strict=True)
  )
  targets_BT1 = np.asarray(example.targets_BT)[..., None]
  log_probs_BTV = np.asarray(jax.nn.log_softmax(logits_BTV))
  nats = -np.take_along_axis(log_probs_BTV, targets_BT1, -1).mean()
  divergence = distillation.divergence(soft_BTV, logits_BTV, 3.0, 257).mean()
  _, metrics = program.step(state, rows())
  np.testing.assert_allclose(metrics['loss'], nats, rtol=1e-5)
  np.testing.assert_allclose(metrics['distill_divergence'], divergence, rtol=1e-4)
  wanted = 0.7 * nats + 0.3 * 9 * divergence
  np.testing.assert_allclose(metrics['objective'], wanted, rtol=1e-5)


def program_of_teacher():
  config = tiny_runs.tiny_config(tiny_runs.ONE_LAYER | WIDER)
  return build_program(
    config, vocab=VOCAB, mesh=make_mesh(config.parallel.mesh, jax.devices()[:1])
  )


def test_a_copy_of_the_teacher_has_nothing_to_learn_from_it():
  program = build({'distill.weight': 1.0} | HIDDEN)
  state = program.init(0)
  copy = jax.tree.map(jnp.copy, state.params)
  before = tiny_runs.named(copy)
  state, metrics = program.step(state.replace(references={'teacher': copy}), rows())
  assert abs(float(metrics['distill_divergence'])) < 1e-6
  assert float(metrics['grad_norm']) < 1e-5
  tiny_runs.assert_same(tiny_runs.named(state.params), before, atol=1e-5)


@pytest.mark.slow
def test_on_a_mesh_teacher_and_student_are_sharded_alike():
  """Widths differ, so there is a matrix between them."""
  whole, its_metrics = one_step(build(HIDDEN | IDS, WIDER | IDS))
  program = build(HIDDEN | IDS | MESH, WIDER | IDS, devices=4)
  teacher = program.abstract_state.references['teacher']
  kernel = teacher['layers_0']['block_0']['mlp']['up']['kernel']
  assert kernel.sharding.spec == jax.sharding.PartitionSpec('fsdp', 'tensor')
  parts, metrics = one_step(program)
  tiny_runs.assert_same(parts, whole, atol=1e-5)
  tiny_runs.assert_same(metrics, its_metrics, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_microbatches_are_one_batch():
  whole, its_metrics = one_step(build(HIDDEN, WIDER))
  parts, metrics = one_step(build(HIDDEN | {'train.grad_accum': 4}, WIDER))
  tiny_runs.assert_same(parts, whole, atol=1e-5)
  tiny_runs.assert_same(metrics, its_metrics, rtol=1e-4, atol=1e-5)


def test_a_plan_counts_the_teacher():
  program = build({}, WIDER)
  found = memory.of_arguments(program.abstract_state, {})
  size = sum(4 * leaf.size for leaf in jax.tree.leaves(
    program.abstract_state.references
  ))  # fmt: skip
  assert found['references'] == pytest.approx(size / 2**30)


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
  """Returns the workdir of a run of three steps and two layers."""
  workdir = tmp_path_factory.mktemp('runs') / 'teacher'
  short = {'train.steps': 3, 'eval.every_steps': 0, 'model.scan_layers': False}
  loop.train(tiny_runs.tiny_config(WIDER | short), workdir, quiet=True)
  return workdir


def student(teacher, overrides=None):
  settings = tiny_runs.ONE_LAYER | {'distill.teacher': str(teacher)}
  return tiny_runs.tiny_config(settings | HIDDEN | (overrides or {}))


@pytest.mark.slow
def test_a_distilled_run_resumes_and_needs_no_teacher_then(teacher, tmp_path):
  """Its matrices between the widths are saved, and no part of the model."""
  teacher_here = tmp_path / 'teacher'
  shutil.copytree(teacher, teacher_here)
  config = student(teacher_here, {'optimizer.ema_decay': 0.5})
  through, cut = tmp_path / 'through', tmp_path / 'cut'
  loop.train(config, through, quiet=True)
  tiny_runs.train_until_crash(config, cut, 3)
  loop.train(config, cut, quiet=True)
  saved = tiny_runs.saved_arrays(through)
  tiny_runs.assert_same(tiny_runs.saved_arrays(cut), saved)
  tiny_runs.assert_same(tiny_runs.losses(cut), tiny_runs.losses(through))
  assert any('distill_projections' in name for name in saved)
  assert not any('references' in name for name in saved)
  shutil.rmtree(teacher_here)
  assert score_run.score_run(through).sets['validation']['loss'] > 0
  assert 'distill_projections' not in gpt_jax.load(through).params


@pytest.mark.slow
def test_a_student_can_start_from_layers_of_its_teacher(teacher, tmp_path):
  start = {'init_from': str(teacher), 'init.transform': 'layers', 'train.steps': 1}
  same_width = {'model.d_model': 64, 'optimizer.learning_rate': 1e-9}
  workdir = tmp_path / 'student'
  flags = tiny_runs.flags(
    tiny_runs.ONE_LAYER | start | same_width | {'distill.teacher': str(teacher)}
  )
  assert cli.main(['train', *flags, f'--workdir={workdir}']) == 0
  ours, theirs = (gpt_jax.load(one).params for one in (workdir, teacher))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
    ours['layers_0'], theirs['layers_0'],
  )  # fmt: skip


@pytest.mark.slow
def test_a_teacher_of_other_ids_is_refused(teacher, tmp_path):
  text = tmp_path / 'words.txt'
  text.write_text(tiny_runs.words(2000))
  other = tmp_path / 'other'
  settings = tiny_runs.ONE_LAYER | tiny_runs.TEXT | {'data.path': str(text)}
  config = tiny_runs.tiny_config(settings | {'distill.teacher': str(teacher)})
  with pytest.raises((CheckpointError, ConfigError), match='or of distill.teacher'):
    loop.train(config, other, quiet=True)


def test_what_is_no_run_is_named(tmp_path):
  config = student(tmp_path / 'nothing')
  with pytest.raises(CheckpointError, match="reads as 'teacher'.*no config.json there"):
    setup.check_plan(config)


@pytest.mark.parametrize(
  'ours, theirs, message',
  [
    ({'objective.name': 'layer_skip'}, {}, 'has a loss of its own'),
    ({'objective.name': 'regression'}, {}, 'predicts a number|loss of its own'),
    ({'objective.name': 'class_labels'}, {}, 'its outputs are of the tokens'),
    ({'distill.layers': ('1:3',)} | HIDDEN, WIDER, '1:3 is layer 3 of the teacher'),
    ({'distill.layers': ('2:1',)} | HIDDEN, WIDER, '2:1 is layer 2 of the student'),
  ],
)  # fmt: skip
def test_a_teacher_that_does_not_fit_is_refused(ours, theirs, message):
  config = tiny_runs.tiny_config(STUDENT | ours)
  other = tiny_runs.tiny_config(tiny_runs.ONE_LAYER | theirs)
  with pytest.raises(ConfigError, match=message):
    distillation.check_teacher(config, other)


def test_labels_in_another_order_are_refused():
  names = {'objective.name': 'class_labels', 'data.append_eos': True}
  one, other = (
    tiny_runs.tiny_config(tiny_runs.ONE_LAYER | names | {'data.label_names': given})
    for given in (('bad', 'good'), ('good', 'bad'))
  )
  one = dataclasses.replace(
    one, distill=dataclasses.replace(one.distill, teacher='teacher')
  )
  with pytest.raises(ConfigError, match='its labels are good, bad, here bad, good'):
    distillation.check_teacher(one, other)


@pytest.mark.parametrize(
  'overrides, message',
  [
    ({'regularization.r_drop': 1.0, 'model.dropout': 0.1}, 'leave one of them out'),
    ({'objective.loss': 'fused'}, 'never has all logits'),
    ({'distill.layers': 'a:b'}, "'a:b' is no pair of layers"),
    ({'distill.teacher': '', 'distill.hidden_weight': 1.0}, 'is empty; set it to the'),
    ({'distill.weight': 1.5}, 'distill.weight'),
    ({'distill.temperature': 0.0}, 'distill.temperature'),
  ],
)
def test_fields_that_do_not_go_together_are_refused(overrides, message):
  with pytest.raises(ConfigError, match=message):
    tiny_runs.tiny_config(STUDENT | overrides)


@pytest.mark.slow
def test_classes_have_soft_labels_too():
  """A text's label is read where its pooling says, in both models."""
  config = tiny_labels.build().config
  taught = dataclasses.replace(
    config, distill=dataclasses.replace(config.distill, teacher='t', weight=1.0)
  )
  mesh = make_mesh(config.parallel.mesh, jax.devices()[:1])
  program = build_program(
    taught, vocab=tiny_labels.VOCAB, mesh=mesh, reference_configs={'teacher': config}
  )
  state = program.init(0)
  other = tiny_labels.build().init(1).params
  theirs = tiny_labels.log_probs(tiny_labels.build(), other)
  ours = tiny_labels.log_probs(tiny_labels.build(), state.params)
  wanted = distillation.divergence(theirs[None], ours[None], 2.0).mean()
  state = state.replace(references={'teacher': other})
  _, metrics = program.step(state, tiny_labels.batch())
  np.testing.assert_allclose(metrics['distill_divergence'], wanted, rtol=1e-4)
  np.testing.assert_allclose(metrics['objective'], 4 * wanted, rtol=1e-4)


@pytest.mark.slow
def test_rows_with_and_without_a_teacher_share_a_study(teacher, tmp_path):
  """Programs of one shape are compared: only those that read a teacher have one."""
  plain = tiny_runs.tiny_config(tiny_runs.ONE_LAYER)
  taught = [student(teacher, {'distill.weight': weight}) for weight in (0.3, 0.6)]
  tokenizer = setup.open_tokenizer(plain, tmp_path)
  programs = shared.SharedPrograms([plain, *taught], jax.devices()[:1])
  for config in (plain, *taught):
    program = programs.open_program(config, tokenizer)
    state = program.init(0)
    assert (state.references is None) == (config is plain)
    ids = np.zeros((8, 17), np.int32)
    _, metrics = program.step(state, {'tokens': ids})
    assert ('distill_divergence' in metrics) == (config is not plain)
