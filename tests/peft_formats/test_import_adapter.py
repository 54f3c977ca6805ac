"""Folders of peft that do not fit, or are not supported: refused with the list."""

import json

import numpy as np
import pytest
import safetensors.numpy

import gpt_jax
from configs import base as base_config
from gpt_jax import cli
from gpt_jax.core.errors import CheckpointError, StorageError
from gpt_jax.peft_formats.import_adapter import import_adapter
from gpt_jax.program import adapted_checkpoints, setup
from gpt_jax.program.base import Base
from gpt_jax.train import resume, start
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs
from tests.peft_formats import runs

FIELDS = dict(
  peft_type='LORA', r=2, lora_alpha=6, target_modules=['c_attn'], task_type='CAUSAL_LM',
  fan_in_fan_out=True, use_dora=False, rank_pattern={}, modules_to_save=None,
)  # fmt: skip


def tensors():
  """Returns the tensors of FIELDS on the tiny GPT-2."""
  rng = np.random.default_rng(5)
  found = {}
  for i in range(2):
    here = f'base_model.model.transformer.h.{i}.attn.c_attn'
    for name, shape in (('lora_A', (2, 8)), ('lora_B', (24, 2))):
      found[f'{here}.{name}.weight'] = rng.normal(size=shape).astype(np.float32)
  return found


def write(folder, fields=None, arrays=None):
  folder.mkdir()
  (folder / 'adapter_config.json').write_text(json.dumps(FIELDS | (fields or {})))
  arrays = tensors() if arrays is None else arrays
  safetensors.numpy.save_file(arrays, folder / 'adapter_model.safetensors')
  return folder


@pytest.fixture(scope='module')
def base(tmp_path_factory):
  return runs.gpt2(tmp_path_factory.mktemp('base') / 'base')


def logits(path):
  return np.asarray(gpt_jax.load(path).logits(runs.TOKENS_BT))


def test_the_update_is_added_to_the_fused_matrix(base, tmp_path):
  arrays = tensors()
  import_adapter(write(tmp_path / 'a'), base, Workdir(tmp_path / 'run'))
  plain = safetensors.numpy.load_file(base / 'model.safetensors')
  for i in range(2):
    name = f'transformer.h.{i}.attn.c_attn'
    a, b = (arrays[f'base_model.model.{name}.lora_{x}.weight'] for x in 'AB')
    plain[f'{name}.weight'] += 3 * (b @ a).T
  merged = tmp_path / 'merged'
  merged.mkdir()
  (merged / 'config.json').write_bytes((base / 'config.json').read_bytes())
  safetensors.numpy.save_file(plain, merged / 'model.safetensors')
  np.testing.assert_allclose(
    logits(tmp_path / 'run'), logits(merged), atol=1e-4, rtol=0
  )


def test_the_run_has_a_base_with_checksums(base, tmp_path):
  imported = import_adapter(write(tmp_path / 'a'), base, Workdir(tmp_path / 'run'))
  with adapted_checkpoints.open_run(tmp_path / 'run') as store:
    found = Base.of_step(store, 0)
  assert found == imported.base and found.source == str(base)
  assert imported.config.peft.options.targets == '/(key|query|value)$'
  assert imported.count == 2 * 3 * (2 * 8 + 2 * 8)
  runs.gpt2(tmp_path / 'other', seed=7)
  config = json.loads((tmp_path / 'run' / 'config.json').read_text())
  config['init_from'] = str(tmp_path / 'other')
  (tmp_path / 'run' / 'config.json').write_text(json.dumps(config))
  with pytest.raises(CheckpointError, match=found.fingerprint):
    gpt_jax.load(tmp_path / 'run')


def test_a_run_is_a_base_as_well(base, tmp_path):
  assert cli.main(['import', str(base), f'--workdir={tmp_path / "plain"}']) == 0
  folder = write(tmp_path / 'a')
  import_adapter(folder, tmp_path / 'plain', Workdir(tmp_path / 'run'))
  import_adapter(folder, base, Workdir(tmp_path / 'again'))
  np.testing.assert_array_equal(logits(tmp_path / 'run'), logits(tmp_path / 'again'))


UNSUPPORTED = [
  (dict(target_parameters=['mlp.experts']), 'target_parameters='),
  (dict(megatron_config={'x': 1}), 'megatron_config='),
  (dict(layer_replication=[[0, 1]]), 'layer_replication='),
  (dict(init_lora_weights='pissa_niter_4'), 'path_initial_model_for_weight_conversion'),
  (dict(lora_bias=True), 'lora_bias=True: only off'),
  (dict(bias='some'), "bias='some': expected one of none, lora_only, all"),
  (dict(new_trick=0.3), 'new_trick=0.3: not known'),
  (dict(rank_pattern={'c_attn': 'x'}), 'rank_pattern='),
  (dict(target_modules=None), 'expected names of modules'),
  (dict(target_modules='c_attn('), 'is no regular expression'),
  (dict(target_modules=['wte']), 'not one of target_modules'),
  (dict(peft_type='LOHA'), "peft_type='LOHA': not supported"),
]


@pytest.mark.parametrize('fields, message', UNSUPPORTED)
def test_what_is_not_supported_is_refused(fields, message, base, tmp_path):
  folder = write(tmp_path / 'a', fields)
  with pytest.raises(CheckpointError) as error:
    import_adapter(folder, base, Workdir(tmp_path / 'run'))
  assert message in str(error.value) and str(folder) in str(error.value)
  assert not (tmp_path / 'run').exists()


def test_all_problems_of_tensors_are_listed_at_once(base, tmp_path):
  arrays = tensors()
  first = 'base_model.model.transformer.h.0.attn.c_attn'
  del arrays[f'{first}.lora_B.weight']
  arrays[f'{first.replace("0", "1")}.lora_A.weight'] = np.zeros((3, 8), np.float32)
  arrays['base_model.model.transformer.wte.weight'] = np.zeros((11, 8), np.float32)
  with pytest.raises(CheckpointError) as error:
    import_adapter(
      write(tmp_path / 'a', arrays=arrays), base, Workdir(tmp_path / 'run')
    )
  for part in (
    'h.0.attn.c_attn.lora_B.weight [24, 2]: missing',
    'h.1.attn.c_attn.lora_A.weight: [3, 8], expected [2, 8]',
    'wte.weight [11, 8]: not a part of such an adapter',
  ):
    assert part in str(error.value)


def test_a_base_of_other_shapes_is_refused(base, tmp_path):
  deeper = runs.gpt2(tmp_path / 'deeper', layers=3)
  with pytest.raises(CheckpointError, match=r'h\.2\.attn\.c_attn\.lora_A.*missing'):
    import_adapter(write(tmp_path / 'a'), deeper, Workdir(tmp_path / 'run'))


def test_folders_without_safe_tensors_are_refused(base, tmp_path):
  folder = write(tmp_path / 'a')
  (folder / 'adapter_model.safetensors').rename(folder / 'adapter_model.bin')
  with pytest.raises(CheckpointError, match='adapter_model.bin, which may run code'):
    import_adapter(folder, base, Workdir(tmp_path / 'run'))


def test_the_command_asks_for_the_base(base, tmp_path, capsys):
  folder = write(tmp_path / 'a', dict(base_model_name_or_path='gpt2'))
  run = tmp_path / 'run'
  assert cli.main(['import', str(folder), f'--workdir={run}']) == 2
  assert "adapter of 'gpt2'; name the model" in capsys.readouterr().err
  command = ['import', str(folder), f'--workdir={run}', f'--base={base}', '--json']
  assert cli.main(command) == 0
  said = json.loads(capsys.readouterr().out.splitlines()[-1])
  assert said['method'] == 'lora' and said['parameters'] == 192
  with pytest.raises(StorageError, match='holds a run'):
    import_adapter(folder, base, Workdir(run))


def test_an_imported_adapter_trains_on(base, tmp_path):
  run = tmp_path / 'run'
  import_adapter(write(tmp_path / 'a'), base, Workdir(run))
  with pytest.raises(CheckpointError, match=r'imported adapter.*peft\.init_from=.*run'):
    resume.refuse_imported(Workdir(run))
  overrides = tiny_runs.MARKOV | {
    'peft.init_from': str(run), 'init.model': 'keep', 'data.seq_len': 4,
    'data.generator.vocab_size': 11, 'train.steps': 2, 'schedule.warmup_steps': 0,
  }  # fmt: skip
  config = setup.resolve(base_config.get_config(), overrides)
  assert (config.peft.name, config.init_from) == ('lora', str(base))
  program = setup.open_saved_program(config, gpt_jax.load(run).tokenizer)
  params, _ = start.starting_params(program)
  rows_BT = np.tile(runs.TOKENS_BT, (4, 1))  # one for each device
  found = program.model.apply({'params': params}, rows_BT)[0]
  np.testing.assert_allclose(found[:2, :, :11], logits(run), atol=1e-5, rtol=0)
