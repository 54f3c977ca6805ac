"""Labels of documents: which query predicts them, what it reads; train, eval, plan."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax import cli, objectives, planning
from gpt_jax.core.errors import ConfigError
from gpt_jax.planning import topologies
from gpt_jax.program.build import build_program
from gpt_jax.train import score_run
from tests import tiny_runs

VOCAB = objectives.Vocab(size=50, eos_id=0)
# Two documents in a row, each with its end token 0 and its label there; padding.
TOKENS = np.array([[5, 6, 7, 0, 8, 9, 0, 0, 0]], np.int32)
LABELS = np.array([[-1, -1, -1, 1, -1, -1, 2, -1, -1]], np.int32)
SEGMENTS = np.array([[1, 1, 1, 1, 2, 2, 2, 0, 0]], np.int32)
POSITIONS = np.array([[0, 1, 2, 3, 0, 1, 2, 0, 0]], np.int32)
BATCH = dict(tokens=TOKENS, labels=LABELS, segments=SEGMENTS, positions=POSITIONS)


def config(**options):
  overrides = {f'objective.options.{name}': value for name, value in options.items()}
  return tiny_runs.tiny_config(
    {'objective.name': 'class_labels', 'data.seq_len': 8} | overrides
  )


def objective(**options):
  cfg = config(num_labels=3, **options).objective
  return objectives.make_objective(cfg, vocab=VOCAB, seq_len=8)


def test_the_last_token_before_the_end_predicts_the_label():
  example = objective()(BATCH, jax.random.key(0))
  places = np.flatnonzero(example.weights_BT[0])
  assert example.inputs_BT[0][places].tolist() == [7, 9]
  assert example.targets_BT[0][places].tolist() == [1, 2]


class Stream:
  """A forward pass whose stream is the token id, and whose head is the identity."""

  def hidden(self, inputs_BT, mask, positions_BT, token_types_BT=None):
    return inputs_BT[..., None].astype(jnp.float32), None

  def __call__(self, inputs_BT, mask, positions_BT, token_types_BT=None):
    return self.hidden(inputs_BT, mask, positions_BT)[0]

  def task_head(self, x):
    return x


@pytest.mark.parametrize(
  'pooling, expected', [('last', [7, 9]), ('first', [5, 8]), ('mean', [6, 8.5])]
)
def test_a_label_reads_its_own_document(pooling, expected):
  one = objective(pooling=pooling, attention='bidirectional')
  example = one(BATCH, jax.random.key(0))
  outputs = np.asarray(one.outputs(Stream(), example))[0, :, 0]
  np.testing.assert_allclose(outputs[example.weights_BT[0] > 0], expected)


def build(batch_options, **options):
  settings = config(num_labels=3, **options)
  return build_program(settings, vocab=VOCAB, mesh=None)


def test_packed_documents_have_the_loss_of_separate_ones():
  program = build({}, pooling='mean', attention='bidirectional')
  params = program.init(0).params
  alone = dict.fromkeys(BATCH)
  for name, padding in (
    ('tokens', 0),
    ('labels', -1),
    ('segments', 0),
    ('positions', 0),
  ):
    rows = np.full((8, 9), padding, np.int32)
    rows[0, :4], rows[1, :3] = BATCH[name][0, :4], BATCH[name][0, 4:7]
    alone[name] = np.minimum(rows, 1) if name == 'segments' else rows
  together = {
    name: np.concatenate([BATCH[name], np.full((7, 9), pad, np.int32)])
    for name, pad in (('tokens', 0), ('labels', -1), ('segments', 0), ('positions', 0))
  }
  one, other = (program.evaluate(params, batch, 0) for batch in (alone, together))
  assert one['targets'] == other['targets'] == 2
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), one, other)


@pytest.fixture(scope='module')
def labelled(tmp_path_factory):
  """Returns a JSON-lines file whose label says whether the text has more a than b."""
  rng = np.random.default_rng(0)
  path = tmp_path_factory.mktemp('labelled') / 'texts.jsonl'
  with open(path, 'w') as file:
    for _ in range(400):
      text = ''.join(rng.choice(list('ab'), 9))
      label = 'a' if text.count('a') > 4 else 'b'
      file.write(json.dumps({'text': text, 'kind': label}) + '\n')
  return path


def overrides(path):
  return {
    'data.source': 'jsonl',
    'data.path': str(path),
    'data.label_field': 'kind',
    'data.label_names': ('a', 'b'),
    'data.packing': 'first_fit',
    'data.seq_len': 32,
    'objective.name': 'class_labels',
    'objective.options.attention': 'bidirectional',
    'objective.options.pooling': 'mean',
    'model.position': 'none',
    'eval.metrics': ('calibration_error',),
    'train.steps': 60,
    'eval.every_steps': 0,
    'eval.batch_size': 8,
    'checkpoint.every_steps': 0,
  }


@pytest.mark.slow
def test_labels_are_learned_evaluated_and_planned(labelled, tmp_path, capsys):
  flags = tiny_runs.flags(overrides(labelled))
  assert cli.main(['train', *flags, f'--workdir={tmp_path}']) == 0
  found = score_run.score_run(tmp_path).sets['validation']
  assert found['accuracy'] > 0.9
  assert found['macro_f1'] > 0.85
  assert found['documents'] > 5
  assert 0 <= found['calibration_error'] < 0.5
  assert 'perplexity' not in found
  assert cli.main(['generate', f'--workdir={tmp_path}']) == 2
  assert 'task head' in capsys.readouterr().err
  settings = tiny_runs.tiny_config(overrides(labelled))
  plan = planning.make_plan(settings, topologies.parse('cpu'))
  assert plan.time.matmul_flops_per_chip > 0


def test_classes_and_outputs_have_to_agree(labelled, tmp_path):
  flags = tiny_runs.flags(overrides(labelled) | {'objective.options.num_labels': 5})
  assert cli.main(['train', *flags, f'--workdir={tmp_path}']) == 2


def test_documents_without_an_end_token_are_refused():
  with pytest.raises(ConfigError, match=r'data.append_eos=False.*set True'):
    tiny_runs.tiny_config({'objective.name': 'class_labels', 'data.append_eos': False})
