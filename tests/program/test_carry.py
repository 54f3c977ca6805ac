"""What a shorter run or another batch size changes in the rest of a config."""

import itertools

import pytest

from gpt_jax.config.files import load_file
from gpt_jax.core.errors import ConfigError
from gpt_jax.program import setup
from gpt_jax.program.carry import BATCH, LENGTHS, carry_along
from tests import tiny_runs

TEXTS = {'gpt2': '124m', 'gpt3': '125m', 'llama': '1b', 'shakespeare_char': 'cpu'}
NAMES = sorted(path.stem for path in (tiny_runs.ROOT / 'configs').glob('*.py'))


def values(name):
  spec = f'{name}:{TEXTS[name]}' if name in TEXTS else name
  return load_file(spec).to_dict()


def field(config, name):
  for part in name.split('.'):
    config = getattr(config, part)
  return config


def plan(name, overrides):
  """Returns the Config of a shipped config with `overrides`, checked as by train."""
  config = setup.resolve(values(name), overrides)
  setup.check_plan(config)
  return config


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('steps', [1, 2, 10, 40])
def test_a_shipped_config_may_be_as_short_as_one_likes(name, steps, capfd):
  config = plan(name, {'train.steps': str(steps)})
  assert (config.train.steps, config.train.tokens) == (steps, None)


@pytest.mark.parametrize(
  'name, size', list(itertools.product(NAMES, [1, 2, 7, 24, 512]))
)
def test_a_shipped_config_takes_any_batch_size(name, size):
  config = plan(name, {'train.batch_size': size})
  train = config.train
  assert train.batch_size == size and size % train.grad_accum == 0
  old = values(name)['train']
  if old['grad_accum'] > 1:
    assert size // train.grad_accum <= old['batch_size'] // old['grad_accum']


def test_a_shorter_run_keeps_the_shares_of_its_schedule(capfd):
  config = plan('tiny', {'train.steps': '90'})
  assert config.schedule.warmup_steps == 5
  said = capfd.readouterr().err
  assert 'train.steps=90 carries along: schedule.warmup_steps 50 -> 5' in said
  config = plan('gpt3', {'train.tokens': '3e9'})
  assert config.schedule.warmup_tokens == 3_750_000
  assert config.schedule.decay_tokens == 2_600_000_000
  assert config.train.ramp_tokens == 40_000_000
  # 1.5e9 tokens in full batches of 256 rows of 2048.
  config = plan('gpt3', {'train.steps': 2861})
  assert config.schedule.warmup_tokens == pytest.approx(1.5e9 * 0.00125, rel=1e-4)


def test_a_longer_run_and_other_fields_change_nothing():
  for overrides in (
    {}, {'train.steps': 900}, {'train.steps': 5000}, {'optimizer.learning_rate': 1e-4},
  ):  # fmt: skip
    assert carry_along(values('tiny'), overrides) == overrides


def test_what_is_overridden_itself_stays():
  given = {'train.steps': 90, 'schedule.warmup_steps': 7, 'train.tokens': None}
  assert carry_along(values('tiny'), given) == given
  given = {'train.batch_size': 32, 'train.grad_accum': 2}
  assert carry_along(values('gpt2'), given) == given
  with pytest.raises(ConfigError, match='train.grad_accum=5: expected a divisor'):
    plan('gpt2', {'train.batch_size': 32, 'train.grad_accum': 5})


def test_microbatches_keep_their_rows_and_a_ramp_its_ratio():
  added = carry_along(values('gpt2'), {'train.batch_size': 240})
  assert added['train.grad_accum'] == 3  # 80 rows; 96 do not divide it
  added = carry_along(values('gpt3'), {'train.batch_size': 128})
  assert added['train.ramp_start_batch_size'] == 8
  added = carry_along(values('gpt3'), {'train.batch_size': 8})
  assert added['train.ramp_start_batch_size'] is None is added['train.ramp_tokens']


def test_a_run_that_goes_on_keeps_what_it_has():
  saved = {
    'schedule': dict.fromkeys(
      ('warmup_steps', 'warmup_tokens', 'decay_steps', 'decay_tokens')
    )
    | {'warmup_steps': 3},
    'train': {
      'batch_size': 8, 'grad_accum': 2, 'ramp_start_batch_size': None,
      'ramp_tokens': None,
    },
  }  # fmt: skip
  for steps in (60, 2000):
    added = carry_along(values('tiny'), {'train.steps': steps}, saved)
    assert added['schedule.warmup_steps'] == 3
  added = carry_along(values('tiny'), {'train.batch_size': 8}, saved)
  assert added['train.grad_accum'] == 2
  # Another batch is another run, which --allow_changes allows.
  assert 'train.grad_accum' not in carry_along(
    values('tiny'), {'train.batch_size': 4}, saved
  )


@pytest.mark.parametrize(
  'bad', ['many', '-3', '0', '1.5', {}, True, float('nan'), float('inf'), 10**400]
)
def test_values_that_are_none_are_left_to_the_checks(bad):
  for name in ('train.steps', 'train.batch_size'):
    assert carry_along(values('gpt2'), {name: bad}) == {name: bad}


def test_the_fields_are_fields():
  config = setup.resolve(values('base'))
  for name in (*LENGTHS, *BATCH):
    field(config, name)
