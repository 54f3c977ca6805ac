"""peft.init_from: method, options and base of a run in place of the config's own."""

import copy
import json

import pytest

from gpt_jax.config import load
from gpt_jax.core.errors import ConfigError
from gpt_jax.program import inherit_adapter, setup
from tests import small_models as small
from tests import tiny_runs

ADAPTER = {
  'init_from': 'models/base', 'peft.name': 'lora', 'peft.options.rank': 3,
  'peft.options.dropout': 0.1, 'peft.base_storage': 'int8', 'model.scan_layers': True,
}  # fmt: skip


@pytest.fixture
def run(tmp_path):
  """Returns the folder of the config of a run with an adapter."""
  record = load.to_dict(tiny_runs.tiny_config(ADAPTER))
  (tmp_path / 'config.json').write_text(json.dumps(record))
  return str(tmp_path)


def values(path):
  found = copy.deepcopy(small.base_values())
  found['peft']['init_from'] = path
  return found


def test_the_adapter_and_the_base_of_the_run_are_taken(run):
  config = setup.resolve(values(run))
  assert (config.peft.name, config.peft.options.rank) == ('lora', 3)
  assert (config.peft.base_storage, config.init_from) == ('int8', 'models/base')
  assert config.model.scan_layers
  assert config.peft.init_from == run


def test_overrides_of_the_command_line_stay(run):
  overrides = {
    'peft.options.dropout': 0.0, 'peft.base_storage': 'as_is', 'init_from': 'moved',
    'model.scan_layers': False,
  }  # fmt: skip
  config = setup.resolve(values(''), overrides | {'peft.init_from': run})
  assert (config.peft.options.dropout, config.peft.options.rank) == (0.0, 3)
  assert (config.peft.base_storage, config.init_from) == ('as_is', 'moved')
  assert not config.model.scan_layers


def test_the_result_needs_no_run_any_more(run, tmp_path):
  record = load.to_dict(setup.resolve(values(run)))
  (tmp_path / 'config.json').unlink()
  assert load.to_dict(setup.resolve(record)) == record


def test_without_a_run_nothing_changes():
  given = values('')
  assert inherit_adapter.with_adapter_of_run(given, {}) == (given, {})


def test_what_has_no_adapter_is_refused(run, tmp_path):
  with pytest.raises(ConfigError, match='no config.json there.*gpt-jax import FOLDER'):
    setup.resolve(values(str(tmp_path / 'none')))
  record = load.to_dict(tiny_runs.tiny_config())
  (tmp_path / 'config.json').write_text(json.dumps(record))
  with pytest.raises(ConfigError, match='has no adapter.*init_from=.*peft.name=lora'):
    setup.resolve(values(run))
