"""A fine-tuning from start to end: best step, test split, predictions, resumes."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gpt_jax
from gpt_jax import cli
from gpt_jax.checkpoints.reader import CheckpointReader
from gpt_jax.commands import predict_command
from gpt_jax.core.errors import (
  ConfigError,
  DataError,
  DivergedError,
  Interrupted,
  StorageError,
)
from gpt_jax.data.tokenizers import ByteTokenizer
from gpt_jax.examples.record import Record
from gpt_jax.interop import export_model
from gpt_jax.interop.families import FAMILIES
from gpt_jax.program import setup
from gpt_jax.train import loop, predict, score_run, task_end, task_scores
from gpt_jax.train.predict import Predictor
from gpt_jax.train.task_scores import SetResult, score_sets
from gpt_jax.workdir import provenance
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs
from tests.tasks import text_tasks, tiny_tasks

pytest.importorskip('sklearn', reason='scores of classes need scikit-learn')

BYTES = ByteTokenizer()
WORDS = {'good': ('fine', 'nice', 'great'), 'bad': ('poor', 'awful', 'sad')}


def examples(count, seed):
  rng = np.random.default_rng(seed)
  for _ in range(count):
    label = str(rng.choice(list(WORDS)))
    filler = ' '.join(rng.choice(list('abcdefg'), rng.integers(1, 6)))
    yield {'text': f'{rng.choice(WORDS[label])} {filler}', 'label': label}


def config(folder, overrides=None):
  files = {
    split: tiny_tasks.write_jsonl(folder / f'{split}.jsonl', examples(count, seed))
    for seed, (split, count) in enumerate(
      (('train', 50), ('validation', 12), ('test', 15))
    )
  }
  settings = {
    'task.files': files,
    'train.steps': None,
    'train.epochs': 4.0,
    'eval.every_epochs': 1.0,
    'checkpoint.every_epochs': 1.0,
    'checkpoint.best_metric': 'validation/accuracy',
    'checkpoint.best_mode': 'max',
    'objective.options.pooling': 'mean',
    'task.buckets': (11, 16),
  }
  return tiny_tasks.config(
    'classification', 'class_labels', settings | (overrides or {})
  )


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  """Returns (workdir, folder of data) of a run of four epochs."""
  folder = tmp_path_factory.mktemp('task')
  loop.train(config(folder), folder / 'run', quiet=True)
  return folder / 'run', folder


def test_the_best_step_is_scored_on_validation_and_test(finished):
  workdir, _ = finished
  found = json.loads((workdir / 'eval.json').read_text())
  with CheckpointReader(
    workdir / 'checkpoints', 'validation/accuracy', 1, 'max'
  ) as one:
    assert found['step'] == one.best_step()
    saved = one.read_metrics(found['step'])
  assert found['validation']['accuracy'] == saved['validation/accuracy']
  assert found['test']['documents'] == 15
  assert found['test']['accuracy'] >= 0.8  # a word decides


def test_predictions_are_kept_beside_answers(finished):
  workdir, folder = finished
  lines = (workdir / 'predictions' / 'test.jsonl').read_text().splitlines()
  found = [json.loads(line) for line in lines]
  given = [
    json.loads(line) for line in (folder / 'test.jsonl').read_text().splitlines()
  ]
  assert [one['input'] for one in found] == [one['text'] for one in given]
  assert [one['answer'] for one in found] == [one['label'] for one in given]
  right = np.mean([one['prediction']['label'] == one['answer'] for one in found])
  scores = json.loads((workdir / 'eval.json').read_text())
  assert scores['test']['accuracy'] == pytest.approx(right)


def test_eval_gives_the_same_scores_again(finished):
  workdir, _ = finished
  before = json.loads((workdir / 'eval.json').read_text())
  report = score_run.score_run(workdir)
  assert report.step == before['step']
  for name in ('validation', 'test'):
    assert report.sets[name] == pytest.approx(before[name], rel=1e-5)


def test_a_finished_run_is_not_scored_a_second_time(finished, monkeypatch):
  workdir, folder = finished

  def refuse(*args, **options):
    raise AssertionError('the test split was scored again')

  monkeypatch.setattr(task_end, 'score_sets', refuse)
  loop.train(config(folder), workdir, quiet=True)


def test_scores_of_fewer_examples_are_not_those_of_the_end(finished, tmp_path, capsys):
  workdir, folder = shutil.copytree(finished[0], tmp_path / 'run'), finished[1]
  fewer = '--config.task.max_eval_examples=4'
  assert cli.main(['eval', f'--workdir={workdir}', fewer, '--json']) == 0
  printed = json.loads(capsys.readouterr().out.splitlines()[-1])
  assert printed['test']['documents'] == 4
  loop.train(config(folder), workdir, quiet=True)
  assert json.loads((workdir / 'eval.json').read_text())['test']['documents'] == 15


def test_eval_json_is_written_once_all_else_is(finished, monkeypatch):
  workdir, folder = Workdir(finished[0]), finished[1]
  workdir.eval.unlink()

  def fail(path, text):
    raise StorageError(f'{path}: no space')

  with monkeypatch.context() as patch, pytest.raises(StorageError, match='no space'):
    patch.setattr(task_end.files, 'write_text', fail)
    loop.train(config(folder), workdir.path, quiet=True)
  assert not workdir.eval.exists()
  loop.train(config(folder), workdir.path, quiet=True)
  assert workdir.eval.exists()


def test_a_signal_ends_the_scoring(finished, monkeypatch):
  workdir, folder = Workdir(finished[0]), finished[1]
  workdir.eval.unlink()
  scored, once = [], task_end.score_sets

  def then_signal(*args, progress, **options):
    scored.extend(args[2])
    yield from once(*args, progress=progress, **options)
    (session,) = progress.args
    session.signals.signal = 'SIGTERM'
    with pytest.raises(Interrupted, match='the same command scores it'):
      list(progress([1, 2], 'batches', 2))

  with monkeypatch.context() as patch, pytest.raises(Interrupted, match='SIGTERM: the'):
    patch.setattr(task_end, 'score_sets', then_signal)
    loop.train(config(folder), workdir.path, quiet=True)
  assert scored == ['validation'] and not workdir.eval.exists()
  loop.train(config(folder), workdir.path, quiet=True)
  assert workdir.eval.exists()


def test_init_from_and_export_take_the_best_step(finished, tmp_path, monkeypatch):
  workdir, folder = finished
  with CheckpointReader(workdir / 'checkpoints') as one:
    steps = one.steps()
  monkeypatch.setattr(
    CheckpointReader,
    'read_metrics',
    lambda self, step: {'validation/accuracy': float(step == steps[0])},
  )
  asked = config(folder, {'init_from': str(workdir), 'train.epochs': 0.2})
  loop.train(asked, tmp_path / 'more', quiet=True)
  (start,) = provenance.read_starts(Workdir(tmp_path / 'more'))
  assert start['init_from']['step'] == steps[0] != steps[-1]
  taken = []
  monkeypatch.setattr(export_model, 'choose_family', lambda *a, **o: FAMILIES['gpt2'])
  monkeypatch.setattr(
    export_model, 'export_model', lambda store, step, *a: taken.append(step) or []
  )
  for words in ([], [f'--step={steps[-1]}']):
    out = f'--out={tmp_path / "out"}'
    assert cli.main(['export', f'--workdir={workdir}', out, *words]) == 0
  assert taken == [steps[0], steps[-1]]


def test_no_more_programs_than_buckets(tmp_path):
  seen = {}

  class Keep:
    def is_due(self, session, progress):
      seen['program'] = session.program
      return False

  hooks = (Keep(),)
  loop.train(config(tmp_path), tmp_path / 'run', quiet=True, extra_hooks=hooks)
  assert 1 < seen['program'].step._cache_size() <= 3  # 11, 16 and the longest, 32


@pytest.mark.slow
def test_a_resumed_run_equals_an_uninterrupted_one(finished, tmp_path):
  workdir, folder = finished
  ended = config(folder, {'train.epochs': 1.5})
  loop.train(ended, tmp_path / 'run', quiet=True)
  (tmp_path / 'run' / 'eval.json').unlink()
  loop.train(config(folder), tmp_path / 'run', quiet=True)
  one, other = (losses(place) for place in (workdir, tmp_path / 'run'))
  assert len(one) == 28
  assert one == other


def losses(workdir):
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  found = [json.loads(line) for line in lines]
  return [one['train/loss'] for one in found if 'train/loss' in one]


def test_a_run_predicts_texts_and_records(finished):
  workdir, _ = finished
  run = gpt_jax.load(workdir)
  found = run.predict(['fine a b', {'text': 'awful c'}])
  assert [one['label'] for one in found] == ['good', 'bad']
  assert sum(found[0]['probabilities'].values()) == pytest.approx(1.0)
  alone = run.predict('fine a b')  # in a batch of one
  assert alone['probabilities'] == pytest.approx(found[0]['probabilities'], abs=1e-6)
  with pytest.raises(DataError, match='text 0: text is'):
    run.predict([' '])


def test_a_record_may_be_there_twice_and_too_long_ones(finished, tmp_path):
  workdir = tmp_path / 'run'
  shutil.copytree(finished[0], workdir)
  saved = json.loads((workdir / 'config.json').read_text())
  saved['task']['too_long'] = 'drop'
  (workdir / 'config.json').write_text(json.dumps(saved))
  run = gpt_jax.load(workdir)
  one = Record({'text': 'fine a b'}, 'here')
  long = {'text': 'awful ' * 20}
  found = run.predict([one, long, {'text': 'sad'}, one])
  assert found[1] is None and found[0] == found[3]
  assert (found[0]['label'], found[2]['label']) == ('good', 'bad')
  assert run.predict([long, long]) == [None, None]
  with pytest.raises(ConfigError, match='generation.* has no answers to predict'):
    Predictor(text_tasks.config('generation'), None, None)


def test_a_diverged_model_predicts_nothing(finished, tmp_path, monkeypatch):
  run = gpt_jax.load(finished[0])
  broken = dataclasses.replace(
    run, params=jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), run.params)
  )
  message = f'predict: step {run.step}: .* not finite: the training diverged'
  with pytest.raises(DivergedError, match=message):
    broken.predict('fine a')
  # Numbers may overflow where parameters are finite.
  with monkeypatch.context() as patch:
    patch.setattr(task_scores, '_are_finite', lambda dataset, outputs: False)
    with pytest.raises(DivergedError, match=f'step {run.step}: the model gives numbe'):
      run.predict('fine a')
  out = tmp_path / 'out.jsonl'
  given = tiny_tasks.write_jsonl(tmp_path / 'new.jsonl', [{'text': 'nice a'}])
  monkeypatch.setattr(gpt_jax, 'load', lambda *args, **options: broken)
  with pytest.raises(DivergedError, match=rf'--workdir={finished[0]}: predict: step'):
    run_command(['--input', given, '--out', str(out)], finished[0])
  assert not out.exists()


def test_a_likelihood_that_is_none_is_no_prediction(finished, monkeypatch):
  run = gpt_jax.load(finished[0])
  nan = dict(label=0, log_probs=[float('nan'), -1.0])
  result = SetResult({}, [], [dict(label='1', log_probs=[-float('inf')]), nan])
  monkeypatch.setattr(predict, 'score_sets', lambda *a, **o: [('predict', result)])
  with pytest.raises(DivergedError, match='text 1: the prediction is .*nan'):
    run.predict(['a', 'b'])


def test_probabilities_do_not_depend_on_the_company(finished):
  run = gpt_jax.load(finished[0])
  texts = ['fine a', 'sad ' + 'b ' * 12, 'poor c d']
  together = run.predict(texts)
  for text, one in zip(texts, together, strict=True):
    alone = run.predict(text)['probabilities']
    assert alone == pytest.approx(one['probabilities'], abs=1e-5)


def test_the_command_predicts_a_file_without_answers(finished, tmp_path, capsys):
  workdir, _ = finished
  given = tiny_tasks.write_jsonl(tmp_path / 'new.jsonl', [{'text': 'nice a'}])
  out = tmp_path / 'out.jsonl'
  run_command(['--input', given, '--out', str(out)], workdir)
  (line,) = out.read_text().splitlines()
  found = json.loads(line)
  assert (found['input'], found['prediction']['label']) == ('nice a', 'good')
  assert found['place'].endswith('new.jsonl, line 1')
  run_command(['--text', 'nice a'], workdir)
  assert json.loads(capsys.readouterr().out)['prediction'] == found['prediction']


@pytest.mark.parametrize(
  ('reader', 'columns', 'text'),
  [
    ('tsv', ('0', '1'), 'nice a\t-1\n'),
    ('tsv', ('0', '1'), 'nice a\n'),
    ('tsv', ('1', '0'), '\tnice a\n'),
    ('tsv_header', ('text', 'label'), 'index\ttext\n0\tnice a\n'),
    ('tsv_header', ('text', 'label'), 'text\tlabel\nnice a\t-1\n'),
    ('csv_header', ('text', 'label'), 'id,text\n0,"nice a"\n'),
    ('jsonl', (), '{"text": "nice a", "label": -1}\n'),
    ('jsonl', (), '{"text": "nice a", "label": ""}\n'),
    ('jsonl', ('text', 'label'), '{"text": "nice a", "label": null}\n'),
  ],
)
def test_files_without_answers_are_read_as_those_of_training(
  tmp_path, reader, columns, text
):
  ending = reader.partition('_')[0]
  given = tmp_path / f'new.{ending}'
  given.write_text(text)
  settings = {
    'task.files': {'train': f'train.{ending}'}, 'task.reader': reader,
    'task.columns': dict(zip(('text', 'label'), columns, strict=False)),
    'task.label_names': ('good', 'bad'),
  }  # fmt: skip
  asked = tiny_tasks.config('classification', 'class_labels', settings)
  (record,) = predict_command._read(asked, [str(given)], {})
  asker = Predictor.__new__(Predictor)  # without a model
  asker.task = tiny_tasks.make_task(asked)
  found = asker._record(0, record)
  assert (found.values['text'], found.values.get('label')) == ('nice a', None)
  assert len(asker.task.encode(found, tiny_tasks.encoder_of(asker.task, BYTES), 0)) == 1


def test_columns_of_a_new_file_may_be_others(finished, tmp_path, capsys):
  workdir = tmp_path / 'run'
  shutil.copytree(finished[0], workdir)
  saved = json.loads((workdir / 'config.json').read_text())
  saved['task']['columns'] = {'text': 'sentence', 'label': 'label'}
  (workdir / 'config.json').write_text(json.dumps(saved))
  given = tiny_tasks.write_jsonl(tmp_path / 'new.jsonl', [{'said': 'nice a'}])
  with pytest.raises(DataError, match="'sentence'.*no such column.*--config.task.colu"):
    run_command(['--input', given], workdir)
  run_command(['--input', given], workdir, {'task.columns': "{'text': 'said'}"})
  assert json.loads(capsys.readouterr().out)['prediction']['label'] == 'good'


def test_columns_that_are_lists_are_read(tmp_path):
  given = tiny_tasks.write_jsonl(
    tmp_path / 'new.jsonl', [{'q': 'x', 'a': '1', 'b': '2'}]
  )
  columns = {'prompt': 'q', 'choices': ('a', 'b'), 'label': 'gold'}
  settings = {'task.columns': columns, 'task.files': {'train': 'all.jsonl'}}
  asked = text_tasks.config('choice', settings)
  (found,) = predict_command._read(asked, [given], {})
  assert found.values == {'prompt': 'x', 'choices': ['1', '2']}


def run_command(arguments, workdir, overrides=None):
  import argparse

  parser = argparse.ArgumentParser()
  predict_command.add_arguments(parser)
  args = parser.parse_args([f'--workdir={workdir}', *arguments])
  predict_command.run(args, overrides or {})


def test_a_run_without_a_task_predicts_nothing(tmp_path):
  loop.train(tiny_runs.tiny_config({'train.steps': 1}), tmp_path, quiet=True)
  with pytest.raises(ConfigError, match='trained without a task'):
    gpt_jax.load(tmp_path).predict('a')
  with pytest.raises(ConfigError, match='trained without a task'):
    run_command(['--input', 'new.jsonl'], tmp_path)


def test_outputs_that_are_no_numbers_are_not_scored(finished, capsys):
  workdir = Workdir(finished[0])
  settings = setup.resolve(workdir.read_config(), {})
  tokenizer = setup.open_tokenizer(settings, workdir)
  program = setup.open_saved_program(settings, tokenizer)
  broken = jax.tree.map(
    lambda leaf: np.full(leaf.shape, np.nan, leaf.dtype), program.abstract_state.params
  )
  sets = task_end.final_sets(settings, tokenizer)
  for name, result in score_sets(program, broken, sets, tokenizer=tokenizer):
    task = sets[name].task
    assert all(np.isnan(result.metrics[metric]) for metric in task.metrics)
    assert 'loss' in result.metrics
    assert result.scores is None and not result.predictions
  said = capsys.readouterr().err
  assert 'test: the model gives numbers that are not finite' in said
