"""Adapters of others, in and out: the folders that Hugging Face's `peft` writes.

`FORMATS` has the methods; each is a file with the meaning of its adapter_config.json
and of its tensors. Read `lora_format.py` first; docs/peft_formats.md.
"""

from gpt_jax.peft_formats import ia3_format, lora_format, virtual_format

FORMATS = {
  'lora': lora_format.FORMAT,
  'ia3': ia3_format.FORMAT,
  'p_tuning_v2': virtual_format.PREFIX,
  'prefix': virtual_format.PREFIX,
  'prompt': virtual_format.PROMPT,
}
"""By `peft.name`. A new format is a file with a `Format`, and a line here."""
