"""A config.json, read strictly: a field is used, known to be harmless, or refused."""

from typing import Any

from gpt_jax.core.errors import CheckpointError
from gpt_jax.core.registry import nearest

_MISSING = object()
MAX_LAYERS = 10_000

HARMLESS = frozenset(
  (
    'architectures model_type transformers_version torch_dtype dtype _name_or_path'
    ' use_cache bos_token_id eos_token_id pad_token_id sep_token_id cls_token_id'
    ' decoder_start_token_id unk_token_id initializer_range return_dict'
    ' return_dict_in_generate output_hidden_states output_attentions output_scores'
    ' torchscript use_bfloat16 tf_legacy_loss problem_type task_specific_params prefix'
    ' tokenizer_class finetuning_task id2label label2id num_labels max_length'
    ' min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty'
    ' temperature top_k top_p typical_p repetition_penalty length_penalty'
    ' no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids'
    ' num_return_sequences forced_bos_token_id forced_eos_token_id'
    ' remove_invalid_values exponential_decay_length_penalty suppress_tokens'
    ' begin_suppress_tokens bos_token eos_token pad_token _attn_implementation'
    ' attn_implementation gradient_checkpointing classifier_dropout summary_type'
    ' summary_use_proj'
    ' summary_activation summary_proj_to_labels summary_first_dropout'
    ' cache_implementation pretraining_tp _num_labels predict_special_tokens'
    ' _attn_implementation_autoset transformers.js_config unsloth_fixed'
    ' unsloth_version xla_device'
  ).split()
)
"""Fields that change no number of the forward pass, in any family."""

NEUTRAL = {
  'is_decoder': (False, True), 'is_encoder_decoder': (False,), 'pruned_heads': ({},),
  'add_cross_attention': (False,), 'cross_attention_hidden_size': (None,),
  'chunk_size_feed_forward': (0,), 'tie_encoder_decoder': (False,),
  'quantization_config': (None,),
}  # fmt: skip
"""Fields of all families -> values under which they change nothing."""


class Fields:
  """The fields of a config.json; `finish` raises for what nobody has used."""

  def __init__(self, values, place, subject='model'):
    self.values, self.place, self.subject = values, place, subject
    self._seen, self.problems = set(), []

  def take(self, name, default: Any = _MISSING, kind: type = int) -> Any:
    """Returns a field; what is wrong with it becomes a problem, and 1 or `default`.

    `kind`: int, float, bool or str; None counts as not there.
    """
    self._seen.add(name)
    value = self.values.get(name)
    if value is None:
      if default is _MISSING:
        self.problems.append(f'{name}: missing; expected {_KINDS[kind]}')
        return _STAND_INS[kind]
      return default
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    right = is_number and value == value and abs(value) < 2**53
    if kind is int:
      right = right and value == int(value) and value >= 0
    if not (right if kind in (int, float) else isinstance(value, kind)):
      self.problems.append(f'{name}={value!r}: expected {_KINDS[kind]}')
      return _STAND_INS[kind] if default is _MISSING else default
    return kind(value)

  def take_layers(self, name, default: Any = _MISSING):
    """Returns a number of layers, which is small: lists are made of that length."""
    count = self.take(name, default)
    if not 1 <= count <= MAX_LAYERS:
      self.problems.append(f'{name}={count}: expected 1 to {MAX_LAYERS:,} layers')
      return 1
    return count

  def peek(self, name, default=None):
    """Returns a field as it stands, whatever it is, as one that was used."""
    self._seen.add(name)
    value = self.values.get(name)
    return default if value is None else value

  def expect(self, name, *allowed):
    """Makes a problem of any value but those `allowed`; a field left out is fine."""
    self._seen.add(name)
    value = self.values.get(name, allowed[0])
    if value not in allowed:
      wanted = ' or '.join(map(repr, allowed))
      self.problems.append(f'{name}={value!r}: only {wanted} is supported')

  def choose(self, name, table, default=_MISSING):
    """Returns `table[value]` of a text field; a problem for values not in the table."""
    value = self.take(name, default, str)
    if value not in table:
      known = ', '.join(map(str, table))
      self.problems.append(f'{name}={value!r}: expected one of {known}')
      return next(iter(table.values()))
    return table[value]

  def refuse(self, text):
    self.problems.append(text)

  def ignore(self, *names):
    """Says that fields change nothing in this family."""
    self._seen.update(names)

  def finish(self):
    """Raises CheckpointError with all problems, unknown fields included.

    An unknown field that is null is as one that is left out.
    """
    for name, allowed in NEUTRAL.items():
      if name in self.values and name not in self._seen:
        self.expect(name, *allowed)
    known = self._seen | HARMLESS
    for name in self.values:
      if name not in known and self.values[name] is not None:
        hint = nearest(name, self._seen)
        text = f'{name}={_short(self.values[name])}: not known, so not supported'
        self.problems.append(text + (f' (near {hint})' if hint else ''))
    if self.problems:
      lines = '\n  '.join(self.problems)
      raise CheckpointError(
        f'{self.place}: {len(self.problems)} field(s) of this {self.subject} are not'
        ' supported:'
        f'\n  {lines}'
      )


_KINDS = {
  int: 'a whole number',
  float: 'a number',
  bool: 'true or false',
  str: 'a text',
}
_STAND_INS = {int: 1, float: 1.0, bool: False, str: ''}


def _short(value):
  text = repr(value)
  return text if len(text) <= 60 else f'{text[:57]}...'
