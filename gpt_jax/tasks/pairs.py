"""Classes of pairs of texts: entailment, paraphrase, or any other; one label a pair."""

from gpt_jax.tasks.classification import Classification


class Pairs(Classification):
  """A task head over both texts, read as one row: BERT's [CLS] a [SEP] b [SEP]."""

  name = 'pairs'
  inputs = ('text', 'text_b')


def make(config):
  """Returns the task of a Config: two texts and the label of the pair."""
  return Pairs(config)
