"""The parts of a program from its config: config, tokenizer, data, mesh."""

import dataclasses
import json

import pytest

from gpt_jax.core.errors import CheckpointError, ConfigError
from gpt_jax.data import bpe, tokenizers
from gpt_jax.program import setup
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs


def test_a_config_is_read_back_as_it_was(finished_run, text_file):
  config = setup.read_config(finished_run)
  expected = tiny_runs.tiny_config(
    tiny_runs.everything_on(text_file) | {'model.vocab_size': 257}
  )
  assert config == expected


@pytest.mark.parametrize('content', [None, '{"a"'])
def test_a_folder_without_a_readable_config_is_no_run(content, tmp_path):
  if content:
    (tmp_path / 'config.json').write_text(content)
  with pytest.raises(CheckpointError, match=str(tmp_path)):
    setup.read_config(tmp_path)


def test_a_config_of_another_version_names_the_fields(finished_run, tmp_path):
  saved = Workdir(finished_run).read_config()
  saved['model']['old_knob'] = 1
  del saved['train']['grad_accum']
  (tmp_path / 'config.json').write_text(json.dumps(saved))
  with pytest.raises(
    ConfigError, match=r'model\.old_knob: unknown key(.|\n)*grad_accum'
  ):
    setup.read_config(tmp_path)


def test_the_tokenizer_is_kept_in_the_workdir(tmp_path):
  config = tiny_runs.tiny_config()
  first = setup.open_tokenizer(config, tmp_path)
  assert (first.name, first.vocab_size) == ('ids', 16)
  kept = tokenizers.load(Workdir(tmp_path).tokenizer)
  assert kept.fingerprint == first.fingerprint


def test_parameters_of_another_run_come_with_its_tokenizer(text_file, tmp_path):
  learned = tiny_runs.TEXT | {
    'data.path': str(text_file),
    'tokenizer.name': 'bpe',
    'tokenizer.vocab_size': 300,
  }
  first = setup.open_tokenizer(tiny_runs.tiny_config(learned), tmp_path / 'first')
  other = tmp_path / 'other.txt'
  other.write_text('quite another text, with other words in it. ' * 50)
  more = learned | {'data.path': str(other), 'init_from': str(tmp_path / 'first')}
  second = setup.open_tokenizer(tiny_runs.tiny_config(more), tmp_path / 'second')
  assert second.fingerprint == first.fingerprint
  assert Workdir(tmp_path / 'second').tokenizer.is_dir()


@pytest.mark.parametrize(
  'asked, message',
  [
    ({'tokenizer.name': 'byte'}, "tokenizer.name: 'bpe' -> 'byte'"),
    ({'tokenizer.name': 'char'}, "tokenizer.name: 'bpe' -> 'char'"),
    ({'tokenizer.vocab_size': 310}, 'tokenizer.vocab_size: 300 -> 310'),
  ],
)
def test_another_tokenizer_than_that_of_init_from_is_refused(
  asked, message, text_file, tmp_path
):
  learned = tiny_runs.TEXT | {
    'data.path': str(text_file),
    'tokenizer.name': 'bpe',
    'tokenizer.vocab_size': 300,
  }
  setup.open_tokenizer(tiny_runs.tiny_config(learned), tmp_path / 'first')
  more = learned | {'init_from': str(tmp_path / 'first')}
  # Also of a run that has inherited it.
  setup.open_tokenizer(tiny_runs.tiny_config(more), tmp_path / 'second')
  for source in ('first', 'second'):
    more = learned | asked | {'init_from': str(tmp_path / source)}
    with pytest.raises(ConfigError, match=message) as caught:
      setup.open_tokenizer(tiny_runs.tiny_config(more), tmp_path / 'third')
    assert 'init.tokenizer to "new"' in str(caught.value)
    assert not Workdir(tmp_path / 'third').tokenizer.exists()
  new = tiny_runs.tiny_config(more | {'init.tokenizer': 'new'})
  made = setup.open_tokenizer(new, tmp_path / 'fourth')
  assert made.name == new.tokenizer.name
  assert made.name != 'bpe' or made.vocab_size == 310


def test_a_file_of_another_tokenizer_is_refused(text_file, tmp_path):
  files = []
  for i, text in enumerate((text_file.read_text(), 'abc ' * 100)):
    bpe.train([text], 270 + i).save(tmp_path / f'{i}')
    files.append(str(tmp_path / f'{i}' / 'tokenizer.json'))
  own = tiny_runs.TEXT | {'data.path': str(text_file), 'tokenizer.name': 'json'}
  first, other = (
    tiny_runs.tiny_config(own | {'tokenizer.path': path}) for path in files
  )
  setup.open_tokenizer(first, tmp_path / 'run')
  for config, is_same in ((first, True), (other, False)):
    config = dataclasses.replace(config, init_from=str(tmp_path / 'run'))
    if is_same:
      setup.open_tokenizer(config, tmp_path / 'same')
      continue
    with pytest.raises(ConfigError, match='tokenizer.path=.*another tokenizer'):
      setup.open_tokenizer(config, tmp_path / 'other')


def test_eval_sets_are_the_training_data_with_other_fields(tmp_path):
  sets = {
    'validation': {'split': 'validation'},
    'longer': {'split': 'validation', 'seq_len': 32},
  }
  config = tiny_runs.tiny_config({'eval.sets': sets})
  tokenizer = setup.open_tokenizer(config, tmp_path)
  found = setup.open_eval_sets(config, tokenizer, tmp_path)
  assert found.keys() == sets.keys()
  assert [len(found[name].sample(0)['tokens']) for name in sets] == [17, 33]
  train = setup.open_training_data(config, tokenizer, tmp_path)
  assert found['validation'].fingerprint != train.fingerprint


def test_bidirectional_models_are_asked_for_no_samples():
  asked = {'objective.name': 'masked_lm', 'logging.sample_every_steps': 5}
  with pytest.raises(ConfigError, match=r'sample_every_steps=5: .*masked_lm.*set 0'):
    setup.check_plan(tiny_runs.tiny_config(asked))
  setup.check_plan(tiny_runs.tiny_config(asked | {'logging.sample_every_steps': 0}))


def test_unknown_names_are_refused_in_every_registry():
  for field in setup.REGISTRIES:
    with pytest.raises(ConfigError, match=f"{field}='nonsense': expected one of"):
      tiny_runs.tiny_config({field: 'nonsense'})
