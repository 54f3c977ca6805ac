"""Runs go out as folders that others read, whole or not at all."""

import dataclasses
import json
import pathlib

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from gpt_jax import cli
from gpt_jax.core.errors import ConfigError, StorageError
from gpt_jax.data.tokenizers import IdsTokenizer
from gpt_jax.interop.export_model import choose_family, export_model
from gpt_jax.interop.open_model import open_model
from gpt_jax.interop.safetensors_writer import SafetensorsWriter
from tests import small_models
from tests.interop import small_folders


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return small_folders.gpt2(tmp_path_factory.mktemp('models') / 'gpt2')[0]


def export(folder, out, **options):
  with open_model(folder) as model:
    family = choose_family(model.config)
    export_model(model, 0, model.config, model.tokenizer, out, family, **options)


def test_a_run_that_was_imported_goes_out_as_it_was(folder, tmp_path):
  run, out = tmp_path / 'run', tmp_path / 'out'
  assert cli.main(['import', str(folder), f'--workdir={run}']) == 0
  assert cli.main(['export', f'--workdir={run}', f'--out={out}', '--json']) == 0
  written = safetensors.numpy.load_file(out / 'model.safetensors')
  wanted = safetensors.numpy.load_file(folder / 'model.safetensors')
  assert written.keys() == wanted.keys()
  for name, tensor in wanted.items():
    assert written[name].tobytes() == tensor.tobytes(), name
  config = json.loads((out / 'config.json').read_text())
  assert small_folders.GPT2.items() <= config.items()
  assert [path.name for path in tmp_path.iterdir() if path.name[0] == '.'] == []


def test_large_models_are_split_with_an_index(folder, tmp_path):
  export(folder, tmp_path / 'out', shard_bytes=2000, dtype='bfloat16')
  index = json.loads((tmp_path / 'out' / 'model.safetensors.index.json').read_text())
  found = {}
  for file in set(index['weight_map'].values()):
    part = safetensors.numpy.load_file(tmp_path / 'out' / file)
    assert all(index['weight_map'][name] == file for name in part)
    found |= part
  wanted = safetensors.numpy.load_file(folder / 'model.safetensors')
  assert found.keys() == wanted.keys()
  assert index['metadata']['total_size'] == sum(t.nbytes for t in found.values())
  for name, tensor in wanted.items():
    assert found[name].tobytes() == tensor.astype(ml_dtypes.bfloat16).tobytes()


def test_rows_that_only_pad_the_vocabulary_stay_here(folder, tmp_path):
  with open_model(folder) as model:
    cfg = dataclasses.replace(model.config.model, pad_vocab_to_multiple_of=8)
    padded = dataclasses.replace(model.config, model=cfg)
    tokenizer, family = IdsTokenizer(9), choose_family(model.config)
    export_model(model, 0, padded, tokenizer, tmp_path / 'out', family)
  found = safetensors.numpy.load_file(tmp_path / 'out' / 'model.safetensors')
  wanted = safetensors.numpy.load_file(folder / 'model.safetensors')
  name = 'transformer.wte.weight'
  np.testing.assert_array_equal(found[name], wanted[name][:9])
  assert json.loads((tmp_path / 'out' / 'config.json').read_text())['vocab_size'] == 9


@pytest.mark.parametrize(
  'fields, family',
  [
    (dict(), 'gpt2'),
    (dict(position='rope', block='parallel_norms', rope_fraction=0.5), 'gpt_neox'),
    (dict(position='rope', norm='rmsnorm', bias=False, activation='swiglu'), 'llama'),
    (
      dict(position='rope', norm='rmsnorm', bias=False, activation='swiglu',
           layer_pattern=('local:4',)),
      'mistral',
    ),
    (
      dict(position='rope', norm='rmsnorm', bias=False, activation='swiglu',
           qk_norm='rmsnorm', layer_pattern=('local:4', 'global')),
      'qwen3',
    ),
  ],
)  # fmt: skip
def test_the_family_is_one_that_computes_the_same(fields, family):
  config = small_models.resolve(**{f'model__{k}': v for k, v in fields.items()})
  assert choose_family(config).name == family


def test_what_no_family_can_say_is_listed():
  config = small_models.resolve(
    model__position='alibi', model__norm_position='sandwich', attention__softcap=3.0
  )
  with pytest.raises(ConfigError) as caught:
    choose_family(config)
  for line in ("model.position='alibi'", "model.norm_position='sandwich'",
               'attention.softcap=3.0', 'Further from it are'):  # fmt: skip
    assert line in str(caught.value)
  with pytest.raises(ConfigError, match="did you mean 'llama'"):
    choose_family(config, 'lama')
  with pytest.raises(ConfigError, match='visibility'):
    choose_family(small_models.resolve(objective__name='masked_lm'))


def test_nothing_is_left_of_an_export_that_failed(folder, tmp_path, monkeypatch):
  def full(self, name, parts):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(SafetensorsWriter, 'write', full)
  with pytest.raises(StorageError, match='No space left'):
    export(folder, tmp_path / 'out')
  assert list(pathlib.Path(tmp_path).iterdir()) == []


def test_a_folder_with_files_is_not_written_over(folder, tmp_path):
  (tmp_path / 'mine.txt').write_text('keep')
  with pytest.raises(StorageError, match='is there already'):
    export(folder, tmp_path)
  assert (tmp_path / 'mine.txt').read_text() == 'keep'
