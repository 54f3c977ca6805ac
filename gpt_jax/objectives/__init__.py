"""Training objectives: what to hide, what to predict, what may be seen."""

from gpt_jax.core import registry
from gpt_jax.objectives import causal_lm, masked_lm, prefix_lm, span_corruption
from gpt_jax.objectives.example import Example, Objective, Vocab

OBJECTIVES = {
  'causal_lm': causal_lm.make,
  'prefix_lm': prefix_lm.make,
  'masked_lm': masked_lm.make,
  'span_corruption': span_corruption.make,
}
"""Each entry: `make(cfg, *, vocab, seq_len) -> Objective`."""


def make(cfg, *, vocab, seq_len):
  """Returns the `Objective` of an ObjectiveConfig on sequences of `seq_len` tokens."""
  factory = registry.lookup(OBJECTIVES, cfg.name, 'objective.name')
  return factory(cfg, vocab=vocab, seq_len=seq_len)


def extra_tokens(cfg, seq_len):
  """Returns how many ids the objective needs above the tokenizer's `vocab.size`."""
  return make(cfg, vocab=Vocab(size=1), seq_len=seq_len).extra_tokens


__all__ = ['OBJECTIVES', 'Example', 'Objective', 'Vocab', 'extra_tokens', 'make']
