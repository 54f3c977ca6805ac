"""Runs with an adapter of random values over a small GPT-2, without torch and peft."""

import dataclasses

import numpy as np

from gpt_jax import peft
from gpt_jax.config import load
from gpt_jax.core import pytree
from gpt_jax.interop.open_model import open_model
from gpt_jax.program import adapted_checkpoints, adapted_run, new_run, setup
from gpt_jax.program.over_base import over_base
from gpt_jax.workdir.paths import Workdir
from tests.interop import small_folders

TOKENS_BT = np.arange(20, dtype=np.int32).reshape(2, 10) % 11


def gpt2(folder, seed=0, layers=2):
  """Returns the folder of a tiny GPT-2 of random values."""
  tensors = small_folders.random_tensors(
    small_folders.gpt2_shapes(layers=layers), seed=seed
  )
  return small_folders.write(folder, small_folders.GPT2 | {'n_layer': layers}, tensors)


def write(
  folder, base_path, seed=0, name='lora', scan=True, base_storage='as_is', **options
):
  """Returns the folder of a run whose adapter is random, and so are trained biases."""
  with open_model(base_path) as model:
    overrides = {'peft.name': name, 'init.transform': 'matching'}
    overrides |= {'init_from': str(base_path), 'model.scan_layers': scan}
    overrides |= {f'peft.options.{key}': value for key, value in options.items()}
    config = setup.resolve(load.to_dict(model.config), overrides)
    leaves = _random(config, seed)
    own, found = over_base(config, model, 0, leaves, folder)
    stored = dataclasses.replace(config.peft, base_storage=base_storage)
    record = load.to_dict(dataclasses.replace(config, peft=stored))
    new_run.write(
      Workdir(folder), step=0, items={'params': pytree.nested(own)},
      meta=model.read_meta(0)
      | dict(next_sample=0, tokens=0, config=record, base=found.as_json()),
      config=record, made_of={},
      save_tokenizer=lambda path: model.tokenizer.save(
        path, dict(name='ids', vocab_size=model.tokenizer.vocab_size)
      ),
    )  # fmt: skip
  return folder


def _random(config, seed):
  adapter = peft.make_adapter(config)
  assert adapter
  leaves = dict(pytree.named_leaves(adapted_run.abstract_params(config, adapter)))
  rng = np.random.default_rng(seed)
  return {
    name: rng.normal(
      1.0 if 'magnitude' in name or 'ia3' in name else 0, 0.3, leaf.shape
    )
    for name, leaf in leaves.items()
    if name in adapter.added or not adapter.is_frozen(name)
  }


def open_run(folder):
  """Returns the AdaptedRun of a folder's step 0."""
  store = adapted_checkpoints.open_run(folder)
  return adapted_run.AdaptedRun(store, setup.read_config(folder), 0, folder)


def without_scan(config):
  model = dataclasses.replace(config.model, scan_layers=False)
  return dataclasses.replace(config, model=model)
