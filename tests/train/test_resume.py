"""Resumed runs are uninterrupted ones, bit for bit, or are refused by field."""

import os
import signal
import subprocess
import sys
import time

import pytest

from gpt_jax.checkpoints.reader import CheckpointReader
from gpt_jax.config import load
from gpt_jax.core.errors import CheckpointError, StorageError
from gpt_jax.parallel import multihost
from gpt_jax.train import changeable, loop, resume
from gpt_jax.workdir import provenance
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs
from tests.faults import flips

EVERYTHING = {
  'model.dropout': 0.1,
  'model.num_layers': 1,
  'optimizer.ema_decay': 0.9,
  'schedule.name': 'cosine',
  'schedule.warmup_steps': 2,
  'train.batch_size': 32,
  'train.grad_accum': 2,
  'train.ramp_start_batch_size': 16,
  'train.ramp_tokens': 1024,
  'data.generator.num_documents': 16,  # a few epochs
  'train.steps': 9,
}
"""What has a state or draws at random: all of it must come back."""


@pytest.fixture(scope='module')
def long_run(tmp_path_factory):
  """Returns the workdir of the plain run, eight steps long. Only read it."""
  workdir = tmp_path_factory.mktemp('runs') / 'long'
  loop.train(tiny_runs.tiny_config({'train.steps': 8}), workdir, quiet=True)
  return workdir


@pytest.fixture
def run_copy(plain_run, tmp_path):
  tiny_runs.copy(plain_run, tmp_path / 'run')
  return tmp_path / 'run'


def record_batches(monkeypatch):
  """Returns a list that gets the first token rows of every batch that is trained on."""
  seen = []
  usual = multihost.global_batch

  def watch(batch, sharding):
    seen.append(batch['tokens'].tobytes())
    return usual(batch, sharding)

  monkeypatch.setattr(multihost, 'global_batch', watch)
  return seen


@pytest.mark.parametrize(
  'overrides',
  [
    pytest.param({}, id='plain'),
    pytest.param(EVERYTHING, id='everything', marks=pytest.mark.slow),
  ],
)
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(
  overrides, tmp_path, monkeypatch
):
  config = tiny_runs.tiny_config(overrides)
  batches = record_batches(monkeypatch)
  # The two that begin share a program; the one that resumes builds its own.
  shared = {'open_program': tiny_runs.open_shared}
  loop.train(config, tmp_path / 'uninterrupted', quiet=True, **shared)
  expected = list(batches)

  tiny_runs.train_until_crash(config, tmp_path / 'resumed', 5, **shared)
  assert list(tiny_runs.losses(tmp_path / 'resumed')) == [1, 2, 3, 4, 5]
  batches.clear()
  loop.train(config, tmp_path / 'resumed', quiet=True)

  assert batches == expected[-len(batches) :]
  assert tiny_runs.lines(tmp_path / 'resumed') == tiny_runs.lines(
    tmp_path / 'uninterrupted'
  )
  last = config.train.steps
  for saved in (last - 3, last):
    tiny_runs.assert_same(
      tiny_runs.saved_arrays(tmp_path / 'resumed', saved),
      tiny_runs.saved_arrays(tmp_path / 'uninterrupted', saved),
    )
  assert tiny_runs.start_steps(tmp_path / 'resumed') == [0, 3]


HANGING = """
import sys, time
sys.path.insert(0, {tests!r})
import pytest
from tests import conftest, tiny_runs
from gpt_jax import cli

def hang(session, progress):
  session.store.wait()
  (session.workdir.path / 'reached').touch()
  time.sleep(600)

tiny_runs.after_step(pytest.MonkeyPatch(), 5, hang)
cli.main(sys.argv[1:])
"""


@pytest.mark.slow
def test_a_killed_run_resumes_from_its_last_checkpoint(long_run, tmp_path):
  steps = {'train.steps': 8}
  script = tmp_path / 'killed.py'
  script.write_text(HANGING.format(tests=str(tiny_runs.ROOT)))
  command = [sys.executable, script, 'train', *tiny_runs.flags(steps)]
  environment = os.environ | {'PYTHONPATH': str(tiny_runs.ROOT)}
  command.append(f'--workdir={tmp_path / "run"}')
  with subprocess.Popen(command, env=environment) as process:
    deadline = time.monotonic() + 120
    while not (tmp_path / 'run' / 'reached').exists():
      assert process.poll() is None and time.monotonic() < deadline
      time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
  config = tiny_runs.tiny_config(steps)
  loop.train(config, tmp_path / 'run', quiet=True)
  assert tiny_runs.lines(tmp_path / 'run') == tiny_runs.lines(long_run)
  tiny_runs.assert_same(
    tiny_runs.saved_arrays(tmp_path / 'run'), tiny_runs.saved_arrays(long_run)
  )
  assert tiny_runs.start_steps(tmp_path / 'run') == [0, 3]


@pytest.mark.parametrize(
  'overrides, expected',
  [
    (
      {'model.d_model': 64},
      ['model.d_ff: 128 -> 256', 'model.d_model: 32 -> 64', 'model.head_dim: 16 -> 32'],
    ),
    ({'data.seq_len': 8}, ['data.seq_len: 16 -> 8', 'model.max_seq_len: 16 -> 8']),
    ({'optimizer.name': 'sgd'}, ["optimizer.name: 'adamw' -> 'sgd'"]),
    ({'seed': 1}, ['data.seed: 0 -> 1', 'seed: 0 -> 1']),
    ({'train.batch_size': 16}, ['train.batch_size: 8 -> 16']),
    ({'data.source': 'dyck'}, ["data.source: 'markov' -> 'dyck'"]),
  ],
)
def test_another_config_is_refused_field_by_field(overrides, expected, run_copy):
  before = tiny_runs.lines(run_copy)
  with pytest.raises(CheckpointError) as error:
    loop.train(tiny_runs.tiny_config(overrides), run_copy, quiet=True)
  assert error.value.exit_code == 4
  listed = [line[2:] for line in str(error.value).splitlines() if line[:2] == '  ']
  assert listed == expected
  assert '--allow_changes' in str(error.value)
  assert tiny_runs.lines(run_copy) == before
  assert len(provenance.read_starts(Workdir(run_copy))) == 1


def flat(tree, prefix=''):
  """Yields (dotted name, value) of nested dicts."""
  for name, value in tree.items():
    if isinstance(value, dict) and value:
      yield from flat(value, f'{prefix}{name}.')
    else:
      yield f'{prefix}{name}', value


SAVED_ROWS = {'model.vocab_size': 16}  # a run saves the rows of its embedding
FIELDS = dict(flat(load.to_dict(tiny_runs.tiny_config(SAVED_ROWS))))


def test_each_changed_field_is_named_or_changes_no_number(tmp_path):
  config = tiny_runs.tiny_config(SAVED_ROWS)
  for field, value in FIELDS.items():
    saved = load.to_dict(config)
    *path, name = field.split('.')
    section = saved
    for part in path:
      section = section[part]
    # An embedding may have more rows than are asked for, never fewer.
    section[name] = old = 1 if field == 'model.vocab_size' else 123_456_789
    if any(f'{field}.'.startswith(f'{free}.') for free in changeable.CHANGEABLE_FIELDS):
      assert path != ['model'] or name == 'remat'
      assert resume.same_run(saved, config, tmp_path) == config, field
      continue
    with pytest.raises(CheckpointError) as error:
      resume.same_run(saved, config, tmp_path)
    new = list(value) if isinstance(value, tuple) else value
    assert f'  {field}: {old!r} -> {new!r}' in str(error.value).splitlines()


def test_another_config_is_refused_before_anything_is_compiled(run_copy):
  config = tiny_runs.tiny_config({'model.num_layers': 3})
  with pytest.raises(CheckpointError, match='model.num_layers: 2 -> 3'):
    loop.train(config, run_copy, quiet=True, open_program=pytest.fail)


@pytest.mark.parametrize(
  'overrides',
  [
    {'logging.every_steps': 5, 'eval.every_steps': 1, 'inference.top_k': 3},
    {'checkpoint.keep_last': 1, 'data.prefetch_batches': 1, 'model.remat': 'full'},
    {'train.grad_accum': 4, 'parallel.preset': 'replicated', 'init_from': 'elsewhere'},
  ],
)
def test_what_changes_no_number_may_change(overrides, plain_run):
  config = tiny_runs.tiny_config(overrides)
  saved = Workdir(plain_run).read_config()
  assert resume.same_run(saved, config, plain_run).model.vocab_size == 16


def test_a_finished_run_can_be_extended(run_copy, long_run):
  loop.train(tiny_runs.tiny_config({'train.steps': 8}), run_copy, quiet=True)
  assert tiny_runs.losses(run_copy) == tiny_runs.losses(long_run)
  tiny_runs.assert_same(
    tiny_runs.saved_arrays(run_copy), tiny_runs.saved_arrays(long_run)
  )


@pytest.mark.slow
def test_changes_can_be_allowed_and_are_then_the_run(run_copy):
  changed = tiny_runs.tiny_config({'train.steps': 8, 'optimizer.learning_rate': 0.02})
  with pytest.raises(CheckpointError, match='optimizer.learning_rate: 0.01 -> 0.02'):
    loop.train(changed, run_copy, quiet=True)
  loop.train(changed, run_copy, allow_changes=True, quiet=True)
  last = tiny_runs.lines(run_copy)[-1]
  assert last['step'] == 8
  with CheckpointReader(run_copy / 'checkpoints') as store:
    assert store.read_meta(8)['config']['optimizer']['learning_rate'] == 0.02
  # From here on the new values are the ones to come back to.
  loop.train(changed, run_copy, quiet=True)


def test_other_data_of_the_same_name_is_refused(text_file, finished_run, tmp_path):
  tiny_runs.copy(finished_run, tmp_path / 'run')
  changed = tmp_path / 'words.txt'
  changed.write_text(text_file.read_text().replace('a', 'e'))
  overrides = tiny_runs.everything_on(text_file)
  config = tiny_runs.tiny_config(overrides | {'data.path': str(changed)})
  with pytest.raises(CheckpointError, match='data.path'):
    loop.train(config, tmp_path / 'run', quiet=True)
  meta = dict(fingerprints={'data': {'content': 'old'}, 'tokenizer': 'same'})
  new = {'data': {'content': 'new'}, 'tokenizer': 'same'}
  with pytest.raises(CheckpointError, match="data.content: 'old' -> 'new'"):
    resume.check_same_data(meta, new, tmp_path)
  resume.check_same_data(meta, new, tmp_path, allow_changes=True)
  new = {'data': {'content': 'old'}, 'tokenizer': 'other'}
  with pytest.raises(CheckpointError, match="tokenizer: 'same' -> 'other'"):
    resume.check_same_data(meta, new, tmp_path)


def test_a_split_rule_is_compared_where_it_was_saved(tmp_path):
  saved = dict(fingerprints={'data': {'data.content': 'same'}, 'tokenizer': 'same'})
  new = {'data': {'data.content': 'same', 'data.split_rule': 'names'}}
  new['tokenizer'] = 'same'
  resume.check_same_data(saved, new, tmp_path)  # of a version that did not save it
  saved['fingerprints']['data'] |= {'data.split_rule': 'position'}
  with pytest.raises(CheckpointError, match="split_rule: 'position' -> 'names'"):
    resume.check_same_data(saved, new, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
  'mesh',
  [
    {'parallel.mesh.fsdp': 2, 'parallel.mesh.tensor': 2},
    {'parallel.mesh.sequence': 2, 'parallel.preset': 'sequence'},
  ],
)
def test_a_run_resumes_on_another_mesh(mesh, run_copy, long_run, capsys):
  longer = tiny_runs.tiny_config({'train.steps': 8} | mesh)
  loop.train(longer, run_copy)
  output = capsys.readouterr().out
  assert 'saved on the mesh data=8, now data=' in output and 'not bit for bit' in output
  # Not bit for bit: other sums are taken first.
  tiny_runs.assert_same(
    tiny_runs.saved_arrays(run_copy), tiny_runs.saved_arrays(long_run), atol=2e-4
  )


@pytest.mark.slow
def test_an_embedding_that_does_not_divide_is_replicated(
  finished_run, text_file, tmp_path
):
  tiny_runs.copy(finished_run, tmp_path / 'run')
  # 257 bytes and end token, a prime number, over two devices.
  overrides = tiny_runs.everything_on(text_file) | {
    'train.steps': 7,
    'parallel.mesh.tensor': 2,
    'logging.profile_steps': 0,
    'logging.sample_prompts': (),
  }
  loop.train(tiny_runs.tiny_config(overrides), tmp_path / 'run', quiet=True)
  assert Workdir(tmp_path / 'run').read_config()['model']['vocab_size'] == 257
  assert 7 in tiny_runs.losses(tmp_path / 'run')


def test_a_padded_embedding_is_no_change_of_config(plain_run):
  saved = Workdir(plain_run).read_config()
  for asked in (None, 10, 16):
    config = tiny_runs.tiny_config({'model.vocab_size': asked})
    assert resume.same_run(saved, config, plain_run).model.vocab_size == 16
  config = tiny_runs.tiny_config({'model.vocab_size': 20})
  with pytest.raises(CheckpointError, match='model.vocab_size: 16 -> 20'):
    resume.same_run(saved, config, plain_run)


@pytest.mark.slow
def test_a_run_with_a_damaged_checkpoint_ends_the_same(run_copy, long_run, capfd):
  folder = run_copy / 'checkpoints'
  data = flips.flip_parameter(folder / '6')
  loop.train(tiny_runs.tiny_config({'train.steps': 8}), run_copy, quiet=True)
  output = capfd.readouterr().err
  assert 'checkpoints/6 is damaged' in output and data.name in output
  assert '(params/' in output and 'expected sha256' in output and '6.damaged' in output
  assert (folder / '6.damaged').is_dir()
  assert tiny_runs.start_steps(run_copy) == [0, 3]
  assert tiny_runs.lines(run_copy) == tiny_runs.lines(long_run)
  tiny_runs.assert_same(
    tiny_runs.saved_arrays(run_copy), tiny_runs.saved_arrays(long_run)
  )


def test_a_run_with_only_damaged_steps_does_not_start_anew(run_copy):
  for saved in (3, 6):
    (run_copy / 'checkpoints' / str(saved) / 'meta' / 'metadata').write_text('not json')
  with pytest.raises(CheckpointError, match=r'every step is damaged, \[6, 3\]'):
    loop.train(tiny_runs.tiny_config(), run_copy, quiet=True)


def test_a_second_run_in_a_workdir_in_use_is_refused(run_copy):
  before = sorted(run_copy.rglob('*'))
  with Workdir(run_copy).lock():
    with pytest.raises(StorageError, match=r'process \d+ on .* is at work there'):
      loop.train(tiny_runs.tiny_config({'train.steps': 8}), run_copy, quiet=True)
  assert sorted(run_copy.rglob('*')) == before


def test_evaluations_of_another_bound_are_said_not_to_compare():
  config = tiny_runs.tiny_config({'eval.max_batches': 100})
  (note,) = resume.other_bound({'eval': {'max_batches': 0}}, config)
  assert '--config.eval.max_batches=0' in note
  assert resume.other_bound({'eval': {'max_batches': 100}}, config) == []
