"""A compressed run is a run: smaller, scored, and not trained on as it is."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gpt_jax
from gpt_jax import cli
from gpt_jax.analysis import compression
from gpt_jax.core import pytree
from gpt_jax.core.errors import CheckpointError, StorageError
from gpt_jax.inference import text
from gpt_jax.inference.request import make_requests
from gpt_jax.program import adapted_checkpoints
from gpt_jax.quantization import packed, rows
from gpt_jax.train import loop, resume
from gpt_jax.workdir import provenance
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs
from tests.peft_formats import runs


def compress(run, out, method, *flags):
  return cli.main(
    ['compress', f'--workdir={run}', f'--out={out}', f'--method={method}', *flags]
  )


def test_parameters_in_half_the_bytes_lose_nothing(plain_run, tmp_path, capsys):
  assert compress(plain_run, tmp_path / 'out', 'bfloat16', '--json') == 0
  found = json.loads(capsys.readouterr().out.splitlines()[-1])
  assert found['bytes_after'] * 2 == found['bytes_before']
  assert abs(found['loss_after'] - found['loss_before']) < 0.01
  arrays = tiny_runs.saved_arrays(tmp_path / 'out')
  before = tiny_runs.saved_arrays(plain_run)
  for name, array in arrays.items():
    assert array.dtype.name == 'bfloat16'
    np.testing.assert_allclose(array.astype(np.float32), before[name], rtol=2**-8)
  (start,) = provenance.read_starts(Workdir(tmp_path / 'out'))
  assert start['compressed'] == 'bfloat16' and start['source'] == str(plain_run)


def test_what_cannot_be_is_refused(plain_run, tmp_path, capsys):
  out = tmp_path / 'out'
  assert compress(plain_run, out, 'bfloat16', '--no_loss') == 0
  with pytest.raises(CheckpointError, match='a model made smaller'):
    resume.refuse_imported(Workdir(out))
  assert compress(out, tmp_path / 'again', 'bfloat16') == 2
  assert 'as small already' in capsys.readouterr().err
  assert compress(plain_run, out, 'bfloat16') == StorageError.exit_code
  assert compress(plain_run, tmp_path / 'other', 'int99') == 2
  assert not (tmp_path / 'other').exists() and not (tmp_path / 'again').exists()


@pytest.fixture(scope='module')
def quantized(plain_run, tmp_path_factory):
  out = tmp_path_factory.mktemp('quantized') / 'int8'
  assert compress(plain_run, out, 'int8', '--no_loss') == 0
  return out


def test_a_quantized_run_decodes_as_its_kernels_in_full(quantized):
  run = gpt_jax.load(quantized)
  dense = packed.unpacked(run.params, jnp.float32)
  model = packed.in_full_model(run.config.model)
  config = dataclasses.replace(run.config, model=model)
  plain = text.make_engine(config, dense, run.tokenizer.vocab_size)
  prompts = [np.array([1, 2, 3], np.int32), np.array([5, 6], np.int32)]
  requests = make_requests(prompts, max_new_tokens=8)
  for found, wanted in zip(
    run.engine.generate(requests), plain.generate(requests), strict=True
  ):
    np.testing.assert_array_equal(found, wanted)
  np.testing.assert_allclose(
    run.logits(np.array([[1, 2, 3, 4]])), plain.logits(np.array([[1, 2, 3, 4]])),
    atol=1e-4,
  )  # fmt: skip


def test_a_quantized_checkpoint_is_small_and_read_in_full(quantized, plain_run):
  saved = tiny_runs.saved_arrays(quantized)
  kernels = [a for name, a in saved.items() if "['kernel']" in name]
  assert kernels and all(array.dtype == np.int8 for array in kernels)
  with adapted_checkpoints.open_source(quantized) as store:
    (step,) = store.steps()
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    wanted = store.abstract(step, 'params', here)
    found = store.restore(step, {'params': wanted})['params']
  before = tiny_runs.saved_arrays(plain_run)
  for name, array in pytree.named_leaves(found):
    path = "['params']" + ''.join(f"['{part}']" for part in name.split('/'))
    np.testing.assert_allclose(array, before[path], atol=0.02, err_msg=name)


def test_adapters_train_over_what_a_quantized_run_says(quantized, tmp_path):
  config = tiny_runs.tiny_config(
    {
      'init_from': str(quantized), 'peft.name': 'lora', 'peft.options.rank': 2,
      'peft.base_storage': 'int8', 'train.steps': 2, 'eval.every_steps': 2,
      'checkpoint.every_steps': 2,
    }
  )  # fmt: skip
  loop.train(config, tmp_path / 'lora', quiet=True)
  run = gpt_jax.load(tmp_path / 'lora')
  base = gpt_jax.load(quantized).params['embed']
  wanted = rows.dequantize(base['embedding'], base[rows.SCALE])
  np.testing.assert_array_equal(run.params['embed']['embedding'], wanted)


def test_kernels_in_few_bits_do_not_train(quantized, tmp_path, capsys):
  flags = [f'--config={quantized}', f'--config.init_from={quantized}']
  assert cli.main(['train', *flags, f'--workdir={tmp_path / "run"}']) == 2
  assert 'kernels in few bits do not train' in capsys.readouterr().err
  assert compress(quantized, tmp_path / 'again', 'int4') == 2
  assert 'quantized already' in capsys.readouterr().err


@pytest.mark.slow
def test_training_rounded_gives_a_run(plain_run, tmp_path):
  config = tiny_runs.tiny_config(
    {'model.fake_quantization': 'int4', 'model.quantization_group': 16}
  )
  loop.train(config, tmp_path / 'run', quiet=True)
  found = compression.cost(
    str(tmp_path / 'run'), 'int4:calibration=none:group=16:embedding=False'
  )
  assert abs(found.difference) < 2e-3


@pytest.mark.slow
def test_export_writes_kernels_in_full(tmp_path, capsys):
  run, small, out = (tmp_path / name for name in ('run', 'int4', 'hf'))
  runs.gpt2(tmp_path / 'model')
  assert cli.main(['import', str(tmp_path / 'model'), f'--workdir={run}']) == 0
  method = 'int4:calibration=none:group=4'
  assert compress(run, small, method, '--no_loss') == 0
  assert cli.main(['export', f'--workdir={small}', f'--out={out}']) == 0
  found, wanted = (gpt_jax.load(x).logits(runs.TOKENS_BT) for x in (out, small))
  np.testing.assert_allclose(found, wanted, atol=1e-4)
  assert compress(run, tmp_path / 'w8a8', 'llm_int8', '--no_loss') == 0
  flags = [f'--workdir={tmp_path / "w8a8"}', f'--out={tmp_path / "other"}']
  assert cli.main(['export', *flags]) == 2
  assert 'inputs are rounded too' in capsys.readouterr().err
