"""Translations: text to text, scored by BLEU and chrF of the whole set."""

from gpt_jax.core import registry
from gpt_jax.core.sections import one_of, section
from gpt_jax.evaluation import translation_scores
from gpt_jax.tasks import seq2seq


@section
class TranslationOptions(seq2seq.Seq2SeqOptions):
  """Template, which names the languages, and what BLEU counts."""

  template: str = 'translate-en-de'
  tokenize: str = one_of(*translation_scores.TOKENIZERS, default='13a')
  """Of sacreBLEU; `zh` for translations into Chinese."""


class Translation(seq2seq.Seq2Seq):
  """A translation of each source; several references are all compared with."""

  name = 'translation'
  metrics = ('bleu', 'chrf')
  packages = (('sacrebleu', 'sacrebleu'),)

  def score(self, records, predictions):
    return translation_scores.translation_scores(
      [self.gold(record) for record in records],
      [one['text'] for one in predictions],
      self.cfg.options.tokenize,
    )

  def baselines(self, train, records):
    from gpt_jax.baselines import copy_source

    del train
    sources = [record.values['source'] for record in records]
    texts = copy_source.copy_source(sources)
    return {'the source itself': [{'text': text} for text in texts]}


@registry.entry(options=TranslationOptions, problems=seq2seq.problems)
def make(config):
  """Returns the task of a Config: a source and its translations."""
  return Translation(config)
