"""Every entry of every registry trains, from the day it is added.

An entry is found in its registry, put into a tiny config and trained for a few steps.
One that needs a file gets it in `corpus` and a line in NEEDS; one that needs files of
others stands in ELSEWHERE.
"""

import importlib
import inspect
import itertools
import json
import math

import jax
import numpy as np
import pytest

from gpt_jax.commands import COMMANDS
from gpt_jax.data import bpe, loader
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.program import setup
from tests import tiny_runs

REGISTRIES = setup.REGISTRIES
ELSEWHERE = {
  ('data.source', 'tfds'): 'data/test_sources',
  ('peft.name', 'adapters'): 'peft/adapted_models',
  ('peft.name', 'bitfit'): 'peft/adapted_models',
  ('peft.name', 'ia3'): 'peft/adapted_models',
  ('peft.name', 'last_layers'): 'peft/adapted_models',
  ('peft.name', 'adalora'): 'peft/adapted_models',
  ('peft.name', 'lora'): 'peft/adapted_models',
  ('peft.name', 'vera'): 'peft/adapted_models',
  ('peft.name', 'p_tuning_v2'): 'peft/adapted_models',
  ('peft.name', 'prefix'): 'peft/adapted_models',
  ('peft.name', 'prompt'): 'peft/adapted_models',
  ('task.name', 'classification'): 'train/test_task_end',
  ('task.name', 'summarization'): 'tasks/test_summarization',
  ('task.name', 'translation'): 'tasks/test_translation',
  ('task.name', 'dialogue'): 'tasks/test_dialogue',
  ('task.name', 'generation'): 'tasks/test_generation',
  ('task.name', 'pairs'): 'tasks/test_pairs',
  ('task.name', 'ner'): 'tasks/test_tagging',
  ('task.name', 'relations'): 'tasks/test_relations',
  ('task.name', 'prompt_classification'): 'tasks/test_verbalizer',
  ('task.name', 'qa'): 'tasks/test_span_answers',
  ('task.name', 'generative_qa'): 'tasks/test_generative_answers',
  ('task.name', 'choice'): 'tasks/test_choice',
  ('task.name', 'recommendation'): 'tasks/test_recommendation',
  ('task.name', 'regression'): 'tasks/test_regression',
  ('task.name', 'preference'): 'tasks/test_preference',
  ('tokenizer.name', 'gpt2'): 'data/test_tokenizers',
  ('tokenizer.name', 'sentencepiece'): 'data/test_tokenizers',
}
"""Entry -> the test file that has what it needs."""

SMALL = {
  'model.num_layers': 1,
  'model.d_model': 16,
  'data.seq_len': 16,
  'model.scan_layers': False,
  'train.batch_size': 4,
}
TEXT = {'data.source': 'text', 'data.path': '{corpus}/words.txt'}
LABELS = {
  'data.source': 'jsonl', 'data.path': '{corpus}/words.jsonl',
  'data.label_field': 'early', 'data.num_labels': 2,
  'data.packing': 'pad', 'data.seq_len': 64,
}  # fmt: skip
FIELDS = {
  'data.source': 'tests.objectives.rows_of_fields:Rows', 'data.packing': 'pad',
}  # fmt: skip
NEEDS = {
  ('attention.kernel', 'splash'): {'data.seq_len': 128},
  ('data.source', 'text'): TEXT,
  ('data.source', 'jsonl'): {'data.path': '{corpus}/words.jsonl'},
  ('data.source', 'prepared'): {'data.path': '{corpus}/prepared'},
  ('data.source', 'array_record'): {'data.path': '{corpus}/words.array_record'},
  ('data.source', 'python_docs'): {'data.split': 'test'},  # less to read
  ('data.source', 'python_source'): {'data.split': 'test'},
  ('data.packing', 'concat_begin'): TEXT | {
    'tokenizer.name': 'bpe', 'tokenizer.vocab_size': 300, 'data.begin_token': bpe.END,
  },
  ('data.packing', 'pad'): {'data.generator.document_len': 12},
  ('data.packing', 'first_fit'): {'data.generator.document_len': 7},
  ('objective.name', 'class_labels'): LABELS,
  ('objective.name', 'token_labels'): LABELS,
  ('objective.name', 'span_labels'): FIELDS,
  ('objective.name', 'regression'): FIELDS,
  ('objective.name', 'reward'): FIELDS,
  ('schedule.name', 'inverse_sqrt'): {'schedule.warmup_steps': 1},
  ('tokenizer.name', 'byte'): TEXT,
  ('tokenizer.name', 'char'): TEXT,
  ('tokenizer.name', 'bpe'): TEXT | {'tokenizer.vocab_size': 300},
  ('tokenizer.name', 'json'): TEXT | {'tokenizer.path': '{corpus}/tokenizer.json'},
  ('optimizer.name', 'lion'): {'optimizer.learning_rate': 1e-3},
  ('optimizer.name', 'sgd'): {'optimizer.learning_rate': 0.1},
}  # fmt: skip
BY_CHANCE = {
  ('objective.name', name) for name in ('span_labels', 'regression', 'reward')
}
"""Entries whose first loss is no logarithm of their outputs: in all rows the same token
is the answer, two random rewards differ, numbers have squares."""
# One parses the standard library; the others have their own tests of values.
SLOW = {('data.source', 'python_docs')} | {
  (field, name)
  for field, fast in {
    'model.activation': {'gelu', 'swiglu'},
    'model.position': {'learned', 'rope'},
    'eval.metrics': {'macro_f1'},
    'logging.statistics': set(),
    'objective.head': {'linear'},
    'init.transform': {'rules'},
    'attention.kernel': {'dense', 'blockwise'},
    'data.source': {'text', 'prepared'},
    'optimizer.name': {'adamw', 'muon'},
    'schedule.name': {'cosine'},
    'tokenizer.name': {'byte', 'json'},
  }.items()
  for name in REGISTRIES[field]
  if name not in fast
}
ENTRIES = [
  pytest.param(field, name, marks=[pytest.mark.slow] * ((field, name) in SLOW))
  for field, registry in REGISTRIES.items()
  for name in registry
  if (field, name) not in ELSEWHERE
]


@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
  """Returns a folder with a text in each form that a source or tokenizer reads."""
  from array_record.python import array_record_module

  from gpt_jax.corpus import prepare

  folder = tmp_path_factory.mktemp('corpus')
  text = tiny_runs.words(6_000)
  (folder / 'words.txt').write_text(text)
  lines = [text[i : i + 60] for i in range(0, len(text), 60)]
  with open(folder / 'words.jsonl', 'w') as file:
    for line in lines:
      file.write(json.dumps({'text': line, 'early': int(line[0] < 'm')}) + '\n')
  writer = array_record_module.ArrayRecordWriter(
    str(folder / 'words.array_record'), 'group_size:1'
  )
  for line in lines:
    writer.write(line.encode())
  writer.close()
  bpe.train([text], 300).save(folder / 'bpe')
  (saved,) = (folder / 'bpe').glob('tokenizer.json')
  saved.rename(folder / 'tokenizer.json')
  of_text = TEXT | {'data.path': str(folder / 'words.txt')}
  (folder / 'prepared').mkdir()
  prepare.prepare(prepare.Request(tiny_runs.tiny_config(of_text), folder / 'prepared'))
  return folder


@pytest.mark.parametrize('field, name', ENTRIES)
def test_every_entry_trains(field, name, corpus, tmp_path):
  needs = NEEDS.get((field, name), {})
  needs = {key: str(v).format(corpus=corpus) for key, v in needs.items()}
  config = tiny_runs.tiny_config(SMALL | {field: name} | needs)
  tokenizer = setup.open_tokenizer(config, tmp_path)
  dataset = setup.open_training_data(config, tokenizer, tmp_path)
  mesh = make_mesh(config.parallel.mesh, jax.devices()[:1])
  program = setup.open_program(config, tokenizer, mesh)
  with loader.Loader(dataset).batches(0, [4]) as batches:
    batch = next(batches)

  state, metrics = program.step(program.init(0), batch)
  losses = [float(metrics['loss'])]
  for _ in range(11):  # the same rows again and again: there is something to learn
    state, metrics = program.step(state, batch)
    losses.append(float(metrics['loss']))
  assert all(math.isfinite(loss) for loss in losses)
  choices = program.objective.num_outputs or program.config.model.vocab_size
  if (field, name) not in BY_CHANCE:
    assert losses[0] == pytest.approx(np.log(choices), rel=0.2)
  assert np.mean(losses[-3:]) < losses[0]
  assert metrics['learning_rate'] > 0


@pytest.mark.parametrize('field', sorted(REGISTRIES))
def test_every_entry_has_a_docstring(field):
  for entry in REGISTRIES[field].values():
    # Private functions and lambdas are explained beside their registry.
    if getattr(entry, '__name__', '_')[0].isalpha():
      assert inspect.getdoc(entry)


@pytest.mark.parametrize('field', sorted(REGISTRIES))
def test_base_config_names_each_entry(field):
  lines = (tiny_runs.ROOT / 'configs' / 'base.py').read_text().splitlines()
  start = f'  {field} = '.replace('eval.', 'evaluation.')
  (first,) = (i for i, line in enumerate(lines) if line.startswith(start))
  comment = lines[first]
  for near in (reversed(lines[:first]), lines[first + 1 :]):
    comment += ' '.join(itertools.takewhile(lambda line: line[:3] == '  #', near))
  missing = {name for name in REGISTRIES[field] if name not in comment}
  assert missing - {'ids'} == set()  # which synthetic sources set themselves


@pytest.mark.parametrize('name', sorted(COMMANDS))
def test_a_command_has_a_module_with_its_help(name):
  module = importlib.import_module(f'gpt_jax.commands.{name}_command')
  assert inspect.getdoc(module)
  assert callable(module.add_arguments)
  assert callable(module.run)
  assert COMMANDS[name]


def test_entries_listed_as_tested_elsewhere_are():
  for (field, name), file in ELSEWHERE.items():
    assert name in REGISTRIES[field]
    assert name in (tiny_runs.ROOT / 'tests' / f'{file}.py').read_text()
