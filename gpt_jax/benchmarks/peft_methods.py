"""The ways of fine-tuning that are compared: those of `bench`, rows of experiments."""


def _lora(rank):
  # All linear maps, as in QLoRA; the paper's query and value alone would be cheaper.
  return {
    'peft.name': 'lora', 'peft.options.rank': rank, 'peft.options.targets': '',
  }  # fmt: skip


FULL = 'full'
METHODS = {
  FULL: {'peft.name': ''},
  'last_layers': {'peft.name': 'last_layers'},
  'lora_1': _lora(1),
  'lora_4': _lora(4),
  'lora_16': _lora(16),
  'lora_64': _lora(64),
  'adalora': {'peft.name': 'adalora'},
  'adapters': {'peft.name': 'adapters'},
  'prefix': {'peft.name': 'prefix'},
  'p_tuning_v2': {'peft.name': 'p_tuning_v2'},
  'prompt': {'peft.name': 'prompt'},
  'ia3': {'peft.name': 'ia3'},
  'bitfit': {'peft.name': 'bitfit'},
  'vera': {'peft.name': 'vera'},
  'qlora': _lora(16) | {'peft.base_storage': 'nf4'},
  'qlora_int8': _lora(16) | {'peft.base_storage': 'int8'},
}
"""Label -> overrides of a config without `peft`; what they leave out is as in the
papers (docs/peft.md)."""
