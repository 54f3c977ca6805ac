"""`gpt-jax augment`: texts translated there and back, by stand-ins and by two runs."""

import json

import pytest

from gpt_jax import cli
from gpt_jax.commands import augment_command
from tests import tiny_runs
from tests.tasks import text_tasks

EXAMPLES = [
  {'text': 'abc', 'label': 'x'},
  {'text': 'cba', 'label': 'y'},
  {'text': 'b', 'label': 'x'},
]


def augment(folder, out='out.jsonl', forward='there', back='here', **flags):
  """Returns the exit code of the command on EXAMPLES."""
  path = text_tasks.write_jsonl(folder / 'in.jsonl', EXAMPLES)
  asked = [f'--{name}={value}' for name, value in flags.items()]
  return cli.main(
    [
      'augment', f'--input={path}', f'--forward={forward}', f'--back={back}',
      f'--out={folder / out}', *asked,
    ]
  )  # fmt: skip


def written(folder):
  return [json.loads(line) for line in (folder / 'out.jsonl').read_text().splitlines()]


@pytest.fixture
def translators(monkeypatch):
  """Replaces runs: `there` turns a text upside down, `here` repeats it twice."""
  calls = []

  def translator(workdir):
    def translate(texts):
      calls.append(workdir)
      if workdir == 'there':
        return [text[::-1] for text in texts]
      return [text if len(text) == 1 else text * 2 for text in texts]

    return translate, workdir

  monkeypatch.setattr(augment_command, '_translator', translator)
  return calls


def test_an_example_differs_in_its_text_alone(translators, tmp_path, capsys):
  assert augment(tmp_path) == 0
  assert written(tmp_path) == [
    {'text': 'cbacba', 'label': 'x'},
    {'text': 'abcabc', 'label': 'y'},
  ]
  assert 'wrote 2 examples' in capsys.readouterr().out
  assert translators == ['there', 'here']


def test_what_was_translated_is_kept(translators, tmp_path):
  assert augment(tmp_path) == 0
  first = written(tmp_path)
  assert augment(tmp_path) == 0
  assert written(tmp_path) == first and translators == ['there', 'here']


def test_a_missing_field_and_another_task_are_told(
  translators, tmp_path, finished_run, monkeypatch, capsys
):
  assert augment(tmp_path, field='texd') == 3
  assert "line 1: no 'texd'; there are 'text', 'label'" in capsys.readouterr().err
  monkeypatch.undo()
  assert augment(tmp_path, forward=finished_run) == 2
  assert 'expected one of translation' in capsys.readouterr().err


@pytest.mark.extra
@pytest.mark.slow
def test_two_runs_translate_there_and_back(tmp_path):
  pytest.importorskip('sacrebleu', reason='sacrebleu is missing: pip install sacrebleu')
  pairs = [{'source': text, 'targets': [text.upper()]} for text in 'abcdefgh']
  path = text_tasks.write_jsonl(tmp_path / 'pairs.jsonl', pairs)
  settings = tiny_runs.tiny_config(
    text_tasks.SMALL
    | {
      'task.name': 'translation',
      'task.files': {'train': path, 'validation': path},
      'task.options.max_new_tokens': 4,
      'train.steps': 2,
      'eval.every_steps': 0,
      'checkpoint.every_steps': 0,
    }
  )
  text_tasks.train(settings, tmp_path / 'run')
  run = str(tmp_path / 'run')
  assert augment(tmp_path, forward=run, back=run) == 0
  assert {one['label'] for one in written(tmp_path)} <= {'x', 'y'}
  cache = (tmp_path / 'out.jsonl.cache').read_text().splitlines()
  assert [json.loads(line)['text'] for line in cache] == ['abc', 'cba', 'b']
