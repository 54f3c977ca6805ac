"""The recipes of docs/extending.md: one program of all plug-ins, and each alone."""

import importlib
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from gpt_jax.attention import dense, masks
from gpt_jax.benchmarks import workload
from gpt_jax.checkpoints.reader import CheckpointReader
from gpt_jax.config import load
from gpt_jax.config.files import load_file
from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.corpus import step_flags
from gpt_jax.data import loader, packing
from gpt_jax.data.token_cache import TokenStore
from gpt_jax.evaluation import evaluate as evaluation
from gpt_jax.model.gpt import GPT
from gpt_jax.planning import inputs
from gpt_jax.program import init_from, setup
from gpt_jax.program.batches import put_batch
from gpt_jax.train import hooks
from gpt_jax.workdir.paths import Workdir
from tests import small_models
from tests.checkpoints import states
from tests.corpus import texts


def recipe(name):
  return importlib.import_module(f'my_ideas.{name}')


@pytest.fixture(scope='module')
def outside_run(my_ideas, tmp_path_factory):
  """Returns (config, program, state after a step, metrics) with every recipe in it."""
  overrides = {
    'attention.kernel': 'my_ideas.by_group:attend',
    'model.position': 'my_ideas.partial_rope:PARTIAL_ROPE',
    'model.activation': 'my_ideas.mish:mish',
    'objective.name': 'my_ideas.second_half:make',
    'eval.metrics': ('my_ideas.entropy:ENTROPY',),
    'logging.statistics': ('my_ideas.farthest:DISTANCE',),
    'optimizer.name': 'my_ideas.belief:make',
    'optimizer.post_update': 'my_ideas.block_diagonal:make',
    'schedule.name': 'my_ideas.falling:sqrt',
    'data.source': 'my_ideas.sums:make',
    'tokenizer.name': 'my_ideas.digits:make',
    'parallel.preset': 'my_ideas.rules:EVERY_AXIS',
    'tokenizer.vocab_size': 280,
    'data.seq_len': 16,
    'model.num_layers': 1,
    'model.d_model': 16,
    'train.batch_size': 8,
    'eval.batch_size': 8,
  }
  values = load_file(str(my_ideas / 'my_ideas' / 'grouped.py'))
  config = setup.resolve(values, overrides)
  workdir = tmp_path_factory.mktemp('run')
  tokenizer = setup.open_tokenizer(config, workdir)
  dataset = setup.open_training_data(config, tokenizer, workdir)
  program = setup.open_program(config, tokenizer)
  with loader.Loader(dataset).batches(0, [8]) as batches:
    batch = put_batch(program, next(batches))
  state, metrics = program.step(program.init(0), batch)
  return types.SimpleNamespace(
    config=program.config, program=program, state=state, metrics=metrics, batch=batch,
    tokenizer=tokenizer, dataset=dataset, workdir=workdir,
  )  # fmt: skip


def test_one_program_made_of_all_recipes_takes_a_step(outside_run):
  assert np.isfinite(float(outside_run.metrics['loss']))
  assert int(outside_run.state.step) == 1
  assert outside_run.config.model.num_kv_heads == 2
  # The objective's second half of 8 rows of 16 tokens.
  assert float(outside_run.metrics['targets']) == 8 * 8


def test_the_recipe_for_an_init_transform_doubles_the_layers(my_ideas, tmp_path):
  saved = {'embed': jnp.ones((3, 2)), 'layers': {'w': jnp.arange(4.0).reshape(2, 2)}}
  fresh = {'embed': jnp.zeros((3, 2)), 'layers': {'w': jnp.zeros((4, 2))}}
  config = small_models.resolve(
    init_from='runs/a', init__transform='my_ideas.twice_as_deep:transform'
  )
  with states.open_all(tmp_path) as store:
    store.save(1, {'params': saved}, {})
  with CheckpointReader(tmp_path) as store:
    params, report = init_from.init_params(config, fresh, store, 1)
  doubled = np.concatenate(2 * [saved['layers']['w']])
  np.testing.assert_array_equal(params['layers']['w'], doubled)
  np.testing.assert_array_equal(params['embed'], saved['embed'])
  assert report.kinds == {'taken': ['embed'], 'made': ['layers/w']}


def test_the_recipe_for_what_follows_an_update_masks(outside_run):
  leaves = dict(pytree.named_leaves(outside_run.state.params))
  (kernel,) = (leaf for name, leaf in leaves.items() if name.endswith('up/kernel'))
  blocks = np.asarray(kernel).reshape(4, 4, 4, 16).swapaxes(1, 2)
  is_zero = (blocks == 0).all((2, 3))
  np.testing.assert_array_equal(is_zero, ~np.eye(4, dtype=bool))


def test_the_recipe_for_a_metric_is_between_zero_and_uniform(outside_run):
  program = outside_run.program
  batch = {'tokens': np.ones((8, 17), np.int32)}
  sums = program.evaluate(outside_run.state.params, batch, 0)
  sums = {name: np.asarray(value) for name, value in sums.items()}
  found = evaluation.metrics_from_sums(sums, program.objective, program.metrics)
  uniform = np.log(program.config.model.vocab_size)
  assert 0 < found['entropy_of_model'] <= uniform + 1e-5


def test_the_recipe_for_a_statistic_is_below_the_row_length(outside_run):
  program = outside_run.program
  sums = jax.device_get(program.measure(outside_run.state, outside_run.batch))
  found = program.measurement.finished(sums)
  assert found.keys() == {'statistics/DISTANCE/layer_0', 'statistics/DISTANCE'}
  # Random parameters look everywhere alike: half of the way back, 7.5 / 2 of 16 tokens.
  assert found['statistics/DISTANCE'] == pytest.approx(3.75, rel=0.2)


def test_the_recipe_for_a_head_has_so_many_outputs(my_ideas):
  cfg = small_models.resolve()
  model = GPT(cfg.model, task_head=recipe('deep_head').DeepHead(cfg.model, 3))
  tokens_BT = small_models.random_tokens()
  outputs_BTC, variables = model.init_with_output(jax.random.key(0), tokens_BT)
  assert outputs_BTC[0].shape == (*tokens_BT.shape, 3)
  assert variables['params']['task_head'].keys() == {'up', 'out'}


def test_the_recipe_for_a_loss_is_least_at_the_teacher(my_ideas):
  name = 'my_ideas.distilled:make'
  cfg = small_models.resolve(
    objective__name=name, objective__options__temperature=2.0
  ).objective
  objective = recipe('distilled').make(cfg, vocab=None, seq_len=7)
  example = objective({'tokens': small_models.random_tokens()}, jax.random.key(0))
  logits_BTV = jax.random.normal(jax.random.key(1), (*example.inputs_BT.shape, 5))

  class Forward:
    references = {'teacher': lambda *inputs: logits_BTV}

    def __init__(self, logits_BTV):
      self.logits_BTV = logits_BTV

    def __call__(self, *inputs):
      return self.logits_BTV

  def total(logits_BTV):
    return objective.loss(Forward(logits_BTV), example).objective_sum

  value, gradient = jax.value_and_grad(total)(logits_BTV)
  shares_BTV = jax.nn.softmax(logits_BTV / 2)
  entropy = -jnp.sum(shares_BTV * jnp.log(shares_BTV))
  np.testing.assert_allclose(value, 4 * entropy, rtol=1e-5)
  np.testing.assert_allclose(gradient, 0, atol=1e-5)


def test_the_recipe_for_a_kernel_agrees_with_the_oracle(my_ideas):
  rng = np.random.default_rng(0)
  q_BHTK, k_BGSK, v_BGSK = (
    jnp.asarray(rng.normal(size=(2, heads, 5, 4)), jnp.float32) for heads in (4, 2, 2)
  )
  mask = masks.causal(jnp.array([[1, 1, 2, 2, 0], [1, 1, 1, 1, 1]])).with_window(2)
  given = dict(scale=0.5, softcap=3.0)
  out_BHTK = recipe('by_group').attend(q_BHTK, k_BGSK, v_BGSK, mask, **given)
  expected_BHTK = dense.attend(q_BHTK, k_BGSK, v_BGSK, mask, **given)
  np.testing.assert_allclose(out_BHTK, expected_BHTK, atol=1e-6)


def test_the_recipe_for_a_tokenizer_loses_nothing_and_comes_back(outside_run):
  tokenizer = outside_run.tokenizer
  assert tokenizer.decode(tokenizer.encode('12 + 34 = 46\n')) == '12 + 34 = 46\n'
  digits = [tokenizer.bytes_of(i) for i in tokenizer.encode('12')]
  assert digits == [b'1', b'2']
  again = setup.open_tokenizer(outside_run.config, outside_run.workdir)
  assert again.fingerprint == tokenizer.fingerprint


def test_the_recipe_for_a_source_splits_without_overlap(my_ideas):
  parts = [
    recipe('sums').make(types.SimpleNamespace(source='sums', split=split))
    for split in ('train', 'validation', 'test')
  ]
  texts = [part[i]['text'] for part in parts for i in range(len(part))]
  assert len(texts) == len(set(texts)) == 100 * 100


def test_the_recipe_for_fields_masks_prompts_and_labels(my_ideas, tmp_path):
  overrides = {
    'data.source': 'my_ideas.sorting:make',
    'data.packing': 'pad',
    'data.seq_len': 16,
  }
  config = setup.resolve(base.get_config(), overrides)
  tokenizer = setup.open_tokenizer(config, tmp_path)
  dataset = setup.open_training_data(config, tokenizer, tmp_path)
  assert dataset.num_labels == 2 and dataset.fields == ('labels', 'loss_mask')
  seen = set()
  for n in range(len(dataset)):
    row = dataset.sample(n)
    number = tokenizer.decode(row['tokens'][:9])[5:8]
    bears_loss = row['tokens'][row['loss_mask'] == 1]
    assert tokenizer.decode(bears_loss) == ''.join(sorted(number))
    labels = row['labels'][row['labels'] >= 0].tolist()
    assert labels == [number == ''.join(sorted(number))]
    seen.update(labels)
  assert seen == {0, 1}
  program = types.SimpleNamespace(
    config=config, horizon=horizon_of(8), batch_sharding=None
  )
  assert {'loss_mask', 'labels'} < set(inputs.abstract_batch(program))


def horizon_of(batch_size):
  stage = types.SimpleNamespace(batch_size=batch_size)
  return types.SimpleNamespace(stages=[stage])


def logits_with(**overrides):
  """Returns `(logits, positions -> logits)` of a small model with random parameters."""
  model = small_models.make_gpt(small_models.resolve(**overrides))
  params = small_models.random_params(model)
  logits, tokens_BT = small_models.logits_of(model), small_models.random_tokens()
  return lambda positions_T: logits(params, tokens_BT, None, positions_T[None])


def test_the_recipe_for_positions_depends_on_distances_alone(my_ideas):
  logits = logits_with(model__position='my_ideas.partial_rope:PARTIAL_ROPE')
  first, later = (logits(start + jnp.arange(8)) for start in (0, 100))
  np.testing.assert_allclose(first, later, atol=1e-4)
  assert np.abs(first - logits(3 * jnp.arange(8))).max() > 0.01
  entry = recipe('partial_rope').PARTIAL_ROPE
  x_BHTK = jnp.asarray(np.random.default_rng(0).normal(size=(1, 2, 8, 4)), jnp.float32)
  out_BHTK = entry.rotate(x_BHTK, jnp.ones((1, 8, 1)))
  np.testing.assert_array_equal(out_BHTK[..., 2:], x_BHTK[..., 2:])
  with pytest.raises(ConfigError, match='model.head_dim=6: expected a multiple of 4'):
    logits_with(model__position='my_ideas.partial_rope:PARTIAL_ROPE', model__head_dim=6)


def test_the_recipe_for_an_activation_is_mish(my_ideas):
  mish = recipe('mish').mish
  np.testing.assert_allclose(mish(jnp.array([0.0, 1.0])), [0.0, 0.86510], atol=1e-5)
  logits = logits_with(model__activation='my_ideas.mish:mish')
  assert np.isfinite(logits(jnp.arange(8))).all()


def late_objective(**overrides):
  """Returns the section of the recipe with options of its own."""
  name = 'my_ideas.late:make'
  return small_models.resolve(objective__name=name, **overrides).objective


def test_the_recipe_with_a_section_reads_its_options(my_ideas):
  batch = {'tokens': small_models.random_tokens()}
  for start, weights in (('0.25', [0] + [1] * 6), ('0.5', [0] * 3 + [1] * 4)):
    cfg = late_objective(objective__options__start=start)
    objective = recipe('late').make(cfg, vocab=None, seq_len=7)
    example = objective(batch, jax.random.key(0))
    np.testing.assert_array_equal(example.weights_BT[0], weights)
  assert late_objective().options.start == 0.5


def test_the_recipe_with_a_section_refuses_what_it_cannot_do(my_ideas):
  for start, expected in (
    ('1.0', r'options.start=1.0: leaves no target in rows of data.seq_len=8'),
    ('1.5', r'options.start=1.5: expected at most 1.0'),
    ('half', r"options.start='half': expected float"),
  ):
    with pytest.raises(ConfigError, match=expected):
      late_objective(objective__options__start=start)
  with pytest.raises(ConfigError, match="options.strat: .* did you mean 'start'"):
    late_objective(objective__options__strat='0.1')


def test_the_recipe_for_a_packing_keeps_the_beginnings(my_ideas):
  tokens = np.arange(1, 12, dtype=np.uint16)
  store = TokenStore(tokens, np.array([0, 2, 3, 11]))
  name = 'my_ideas.truncate:make'
  data = small_models.resolve(data__packing=name, data__seq_len=3).data
  assert packing.has_segments(data)
  packed = packing.pack(store, data)
  assert [packed.sample(i)['tokens'].tolist() for i in range(len(packed))] == [
    [1, 2, 0, 0], [4, 5, 6, 7],
  ]  # fmt: skip
  assert packed.spans(1) == [(3, 7)]
  assert packed.sample(0)['segments'].tolist() == [1, 1, 0, 0]


def test_the_recipe_for_a_quality_step_leaves_out_capitals(my_ideas):
  (chosen,) = step_flags.parse(['my_ideas.shouting:make:max_share=0.3'])
  step = chosen.make(None)
  assert step.keep(texts.document('STOP now')) == 'capitals'
  assert step.keep(texts.document('Stop now')) is None


def test_the_recipe_for_a_hook_runs_on_a_run(my_ideas, outside_run):
  seen = {}
  session = types.SimpleNamespace(
    program=outside_run.program,
    track=lambda step, values: seen.update(values, step=step),
    console=types.SimpleNamespace(note=lambda line: seen.update(line=line)),
  )
  progress = types.SimpleNamespace(state=outside_run.state, step=1)
  hook = hooks.Every(1, recipe('watch').largest_parameter)
  assert hook.is_due(session, progress)
  hook.action(session, progress)
  params = jax.tree.leaves(progress.state.params)
  assert seen['largest_parameter'] == max(float(jnp.abs(x).max()) for x in params)
  assert seen['step'] == 1 and 'largest parameter' in seen['line']


def test_the_recipe_for_a_writer_writes_the_loss(my_ideas, tmp_path):
  writer = recipe('loss_file').open_loss_file(None, Workdir(tmp_path), 0, {})
  writer.write(3, {'train/loss': 1.5}, tokens=10, time=0.0)
  writer.write(4, {'validation/loss': 1.0}, tokens=10, time=0.0)
  writer.close()
  assert (tmp_path / 'loss.txt').read_text() == '3 1.5\n'


def test_the_recipe_for_a_case_times_the_step(outside_run):
  program = outside_run.program
  shapes = inputs.abstract_batch(program)
  timed = workload.make_workload(
    program, shapes, num_ids=16, workdir=outside_run.workdir
  )
  (case,) = recipe('norms_case').norms(timed)
  case.run(2)
  assert int(timed.state.step) == 2


def test_the_recipe_for_a_command_lists_the_parameters(outside_run, tmp_path, capsys):
  config = load.resolve(base.get_config(), {'model.vocab_size': 32, 'data.seq_len': 8})
  Workdir(tmp_path).write_config(load.to_dict(config))
  arguments = types.SimpleNamespace(workdir=str(tmp_path))
  recipe('shapes_command').run(arguments, {})
  assert 'embed/embedding (32, 128)' in capsys.readouterr().out
