"""The compared ways of fine-tuning are all there are, and each suits a GPT."""

from gpt_jax import peft
from gpt_jax.benchmarks.peft_methods import FULL, METHODS
from gpt_jax.peft import linears
from gpt_jax.peft.storage import FORMATS
from tests import tiny_runs

ROOMY = {
  'data.seq_len': 32, 'model.num_layers': 3, 'model.d_model': 64, 'model.bias': True,
  'model.scan_layers': False, 'model.vocab_size': 64, 'train.steps': 60,
}  # fmt: skip


def test_every_method_and_every_storage_is_compared():
  names = {overrides['peft.name'] for overrides in METHODS.values()}
  assert names == {''} | set(peft.METHODS)
  stored = {
    overrides.get('peft.base_storage', 'as_is') for overrides in METHODS.values()
  }
  assert stored == {'as_is'} | set(FORMATS)
  assert METHODS[FULL] == {'peft.name': ''}


def test_each_makes_an_adapter_of_a_gpt():
  for label, overrides in METHODS.items():
    config = tiny_runs.tiny_config(ROOMY | overrides)
    assert (peft.make_adapter(config) is None) == (label == FULL)


def test_lora_has_its_rank_in_every_linear_map():
  for label, overrides in METHODS.items():
    if overrides['peft.name'] != 'lora':
      continue
    config = tiny_runs.tiny_config(ROOMY | overrides)
    rank, adapter = overrides['peft.options.rank'], peft.make_adapter(config)
    assert label in (f'lora_{rank}', 'qlora', 'qlora_int8')
    found = {
      name.rpartition('/')[0]: leaf.shape[-1]
      for name, leaf in adapter.added.items()
      if name.endswith('lora_a')
    }
    paths = {linear.path for linear in linears.find(config.model)}
    assert found == dict.fromkeys(paths, rank)
