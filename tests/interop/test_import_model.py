"""An imported model is a run at step 0."""

import pathlib

import numpy as np
import pytest

import gpt_jax
from gpt_jax import cli
from gpt_jax.checkpoints.manager import Checkpoints
from gpt_jax.checkpoints.reader import CheckpointReader
from gpt_jax.config.files import load_file
from gpt_jax.core.errors import StorageError
from gpt_jax.interop.import_model import import_model
from gpt_jax.interop.open_model import open_model
from gpt_jax.program import setup
from gpt_jax.train import loop
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs
from tests.interop import small_folders


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return small_folders.gpt2(tmp_path_factory.mktemp('models') / 'gpt2')[0]


@pytest.fixture(scope='module')
def run(folder, tmp_path_factory):
  workdir = tmp_path_factory.mktemp('runs') / 'run'
  assert cli.main(['import', str(folder), f'--workdir={workdir}', '--json']) == 0
  return workdir


def test_an_imported_run_holds_the_parameters_of_the_folder(folder, run):
  with CheckpointReader(Workdir(run).checkpoints) as store:
    assert store.latest_valid_step() == 0
    saved = store.abstract(0, 'params')
    assert store.read_meta(0)['imported'] == {'family': 'gpt2'}
  with open_model(folder) as model:
    assert saved == model.abstract(0, 'params')


@pytest.mark.slow
def test_a_run_and_its_folder_give_the_same_logits(folder, run):
  tokens_BT = np.arange(10).reshape(2, 5)
  wanted = gpt_jax.load(folder).logits(tokens_BT)
  np.testing.assert_array_equal(gpt_jax.load(run).logits(tokens_BT), wanted)


def test_a_run_is_not_written_over(folder, run):
  with open_model(folder) as model, pytest.raises(StorageError, match='holds a run'):
    import_model(model, Workdir(run))


def test_a_run_is_not_imported_again(run, tmp_path, capsys):
  assert cli.main(['import', str(run), f'--workdir={tmp_path / "again"}']) == 2
  assert 'is a run, and needs no import' in capsys.readouterr().err


def test_nothing_is_left_of_an_import_that_failed(folder, tmp_path, monkeypatch):
  def fail(*args, **kwargs):
    raise StorageError('the disk is full')

  monkeypatch.setattr(Checkpoints, 'save', fail)
  workdir = tmp_path / 'run'
  with open_model(folder) as model, pytest.raises(StorageError, match='full'):
    import_model(model, Workdir(workdir))
  assert not workdir.exists()
  workdir.mkdir()
  with open_model(folder) as model, pytest.raises(StorageError, match='full'):
    import_model(model, Workdir(workdir))
  assert list(pathlib.Path(workdir).iterdir()) == []


@pytest.mark.slow
def test_large_arrays_are_written_in_parts(tmp_path, monkeypatch):
  monkeypatch.setattr('gpt_jax.interop.import_model._LEAST_FILE_BYTES', 1 << 12)
  shape = small_folders.gpt2_shapes(width=64, vocab=101)
  tensors = small_folders.random_tensors(shape)
  config = small_folders.GPT2 | dict(n_embd=64, vocab_size=101)
  folder = small_folders.write(tmp_path / 'model', config, tensors)
  with open_model(folder) as model:
    imported = import_model(model, Workdir(tmp_path / 'run'))
  assert imported.count == sum(array.size for array in tensors.values())
  assert imported.num_bytes == 4 * imported.count
  tokens_BT = np.arange(10).reshape(2, 5)
  np.testing.assert_array_equal(
    gpt_jax.load(tmp_path / 'run').logits(tokens_BT),
    gpt_jax.load(folder).logits(tokens_BT),
  )
  files = [path.stat().st_size for path in (tmp_path / 'run').rglob('d/*')]
  # Arrays that are written at the same time may fill a file a little further.
  assert len(files) > 20 and max(files) < sum(files) / 4


def train(source, run, workdir):
  """Returns the losses of two steps from the parameters of `source`."""
  overrides = {
    **tiny_runs.MARKOV,
    'data.generator.vocab_size': 11,
    'data.seq_len': 8,
    'init_from': str(source),
    'train.steps': 2,
    'train.batch_size': 8,
    'logging.every_steps': 1,
    'logging.tensorboard': False,
    'logging.figures': False,
    'logging.sample_prompts': (),
    'eval.max_batches': 1,
  }
  config = setup.resolve(load_file(str(run)), overrides)
  loop.train(config, workdir, quiet=True)
  return tiny_runs.losses(workdir)


@pytest.mark.slow
def test_training_starts_from_a_run_or_its_folder_alike(folder, run, tmp_path):
  from_run = train(run, run, tmp_path / 'from_run')
  assert len(from_run) == 2
  assert train(folder, run, tmp_path / 'from_folder') == from_run


def test_an_imported_run_is_not_trained_in_place(run, capsys):
  assert cli.main(['train', f'--workdir={run}']) == 4
  assert f'--config.init_from={run} --workdir=NEW' in capsys.readouterr().err
