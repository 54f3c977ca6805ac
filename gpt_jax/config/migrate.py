"""Saved configs of earlier versions, under today's names; a rename is a line here.

Only what a run has saved is renamed by itself, in `read_saved`. Overrides and config
files are written by people: they get an error that says the new name (`load`).
"""

import copy

from gpt_jax.core.errors import note_once

RENAMED_FIELDS = {
  'data.skip_corrupt': 'data.max_corrupt_records',
  'data.slow_seconds': 'data.warn_after_seconds',
  'data.stall_seconds': 'data.timeout_seconds',
  'model.vocab_multiple': 'model.pad_vocab_to_multiple_of',
  'optimizer.decay': 'optimizer.decay_mask',
  'optimizer.ema': 'optimizer.ema_decay',
  'parallel.rules': 'parallel.preset',
}
"""Old name -> new name. Fields of `data` are renamed in eval sets and mixtures too."""

RENAMED_VALUES = {('model.layer_pattern', 'dense'): 'global'}
"""(Field under its new name, old value or item) -> new one."""

ADDED_FIELDS = {
  'data.encoding': 'utf-8',
  'optimizer.post_update': '',
  'init.transform': 'rules',
  'init.rules': [],
  'init.tokenizer': 'keep',
  'data.begin_token': '',
  'data.prompt_field': '',
  'data.response_field': '',
  'data.label_field': '',
  'data.label_names': [],
  'data.num_labels': None,
  'attention.options': {},
  'data.options': {},
  'init.options': {},
  'model.position_options': {},
  'objective.options': {},
  'optimizer.options': {},
  'optimizer.post_update_options': {},
  'schedule.options': {},
  'tokenizer.options': {},
  'data.split_by': 'auto',
  'eval.metrics': [],
  'objective.head': 'linear',
  'logging.statistics': [],
  'logging.statistics_every_steps': 0,
  'inference.min_p': 0.0,
  'inference.typical_p': 1.0,
  'inference.repetition_penalty': 1.0,
  'inference.presence_penalty': 0.0,
  'inference.frequency_penalty': 0.0,
  'inference.beyond_positions': 'slide',
  'inference.cache_dtype': 'auto',
  'inference.slots': None,
  'inference.slot_tokens': None,
  'inference.prefill_chunk': 64,
  'inference.prefix_cache_tokens': None,
  'inference.queue_limit': 1024,
  'model.rope_local_theta': None,
  'model.rope_fraction': 1.0,
  'model.norm_zero_centered': False,
  'model.qkv_bias': None,
  'model.out_bias': None,
  'model.mlp_bias': None,
  'model.token_types': 0,
  'model.pooler': False,
  'model.head': 'linear',
  'model.head_bias': False,
  'inference.depth': None,
  'inference.exit_measure': 'none',
  'inference.exit_threshold': 0.9,
  'inference.exit_decay': 0.0,
  'inference.exit_after': 1,
  'inference.draft': '',
  'inference.draft_tokens': 4,
  'init.model': 'own',
  'task.name': '',
  'task.files': {},
  'task.reader': 'auto',
  'task.columns': {},
  'task.label_names': [],
  'task.max_examples': None,
  'task.max_eval_examples': None,
  'task.too_long': 'truncate',
  'task.window_stride': 64,
  'task.buckets': [],
  'task.options': {},
  'task.augmentation': {
    'synonyms': 0.0,
    'insert': 0.0,
    'swap': 0.0,
    'delete': 0.0,
    'table': '',
    'share': 1.0,
  },
  'task.mixture': {},
  'task.mixture_temperature': 1.0,
  'eval.at_start': False,
  'schedule.warmup_fraction': None,
  'train.epochs': None,
  'eval.every_epochs': None,
  'checkpoint.every_epochs': None,
  'checkpoint.best_mode': 'min',
  'early_stopping.patience': 0,
  'early_stopping.metric': '',
  'early_stopping.mode': 'min',
  'early_stopping.min_delta': 0.0,
  'optimizer.layer_decay': 1.0,
  'optimizer.train_last_layers': None,
  'regularization.mixup': 0.0,
  'regularization.cutoff': 0.0,
  'regularization.adversarial': 'none',
  'regularization.adversarial_epsilon': 1.0,
  'regularization.adversarial_steps': 3,
  'regularization.adversarial_step_size': 0.3,
  'regularization.adversarial_weight': 1.0,
  'regularization.r_drop': 0.0,
  'regularization.l2_sp': 0.0,
  'eval.attack_epsilon': 0.0,
  'distill.teacher': '',
  'distill.weight': 0.5,
  'distill.temperature': 2.0,
  'distill.hidden_weight': 0.0,
  'distill.hidden_loss': 'cosine',
  'distill.layers': [],
  'peft.name': '',
  'peft.options': {},
  'peft.base_storage': 'as_is',
  'peft.init_from': '',
  'model.quantization': 'none',
  'model.quantization_group': 32,
  'model.quantized_embedding': False,
  'model.quantized_activations': False,
  'model.outlier_threshold': 0.0,
  'model.fake_quantization': 'none',
}
"""New field -> the value that means what was done before the field existed."""


def read_saved(values, place):
  """Returns a copy of a saved config under today's names, all fields present.

  What was changed is printed, each field and once a process; `place` says where the
  config was saved.
  """
  values, changes = migrated(values)
  if changes:
    note_once(
      '\n  '.join([f'{place}: its config was saved by an earlier version:', *changes])
    )
  return values


def migrated(values):
  """Returns (a copy as of `read_saved`, [what was changed, in words])."""
  values, changes = copy.deepcopy(values), []
  for old, new in RENAMED_FIELDS.items():
    section, name = _section(values, old)
    if name in section:
      new_section, new_name = _section(values, new, make=True)
      new_section[new_name] = section.pop(name)
      changes.append(f'{old} -> {new}')
  for field in ('eval.sets', 'data.mixture'):
    parts, _ = _section(values, f'{field}.')
    changes += _rename_in_parts(parts, field)
  for (field, old), new in RENAMED_VALUES.items():
    section, name = _section(values, field)
    value = section.get(name)
    if value == old:
      section[name] = new
    elif isinstance(value, list) and old in value:
      section[name] = [new if item == old else item for item in value]
    else:
      continue
    changes.append(f'{field}: {old!r} -> {new!r}')
  added = []
  for field, value in ADDED_FIELDS.items():
    section, name = _section(values, field, make=True)
    if name not in section:
      section[name] = copy.deepcopy(value)
      if value != {}:  # options of entries that had none
        added.append(f'{field}={value!r}')
  if added:
    changes.append(f'new since then, and as before: {", ".join(added)}')
  return values, changes


def _rename_in_parts(parts, field):
  """Renames data fields of eval sets or of a mixture; returns what was changed."""
  changes = []
  for part, fields in parts.items():
    fields = fields if isinstance(fields, dict) else {}
    for key in [key for key in fields if f'data.{key}' in RENAMED_FIELDS]:
      new = RENAMED_FIELDS[f'data.{key}'].removeprefix('data.')
      fields[new] = fields.pop(key)
      changes.append(f'{field}.{part}.{key} -> {new}')
    mixture = fields.get('mixture')  # an eval set may have one of its own
    if isinstance(mixture, dict):
      changes += _rename_in_parts(mixture, f'{field}.{part}.mixture')
  return changes


def _section(values, field, make=False):
  """Returns `(the dict that holds dotted `field`, its name there)`."""
  *parents, name = field.split('.')
  for part in parents:
    inner = values.setdefault(part, {}) if make else values.get(part)
    values = inner if isinstance(inner, dict) else {}
  return values, name
