"""Summaries of articles and dialogues: text to text, scored by ROUGE."""

from gpt_jax.core import registry
from gpt_jax.core.sections import one_of, section
from gpt_jax.evaluation.summary_scores import summary_scores
from gpt_jax.tasks import seq2seq

LEAD = 3
"""Sentences, or lines, of the lead baselines: those of news (arXiv:1704.04368)."""


@section
class SummarizationOptions(seq2seq.Seq2SeqOptions):
  """Template and language of the texts."""

  template: str = 'summarize-article-en'
  language: str = one_of('en', 'zh', default='en')
  """What ROUGE counts: stemmed English words, or Chinese characters."""


class Summarization(seq2seq.Seq2Seq):
  """A summary of each source; several references are all compared with."""

  name = 'summarization'
  metrics = ('rouge1', 'rouge2', 'rougeL')
  packages = (('rouge_score', 'rouge-score'),)

  def score(self, records, predictions):
    return summary_scores(
      [self.gold(record) for record in records],
      [one['text'] for one in predictions],
      self.cfg.options.language,
    )

  def baselines(self, train, records):
    from gpt_jax.baselines import copy_source, lead

    del train
    sources = [record.values['source'] for record in records]
    found = {
      f'first {LEAD} sentences': lead.lead_sentences(sources, LEAD),
      f'first {LEAD} lines': lead.lead_lines(sources, LEAD),
      'the source itself': copy_source.copy_source(sources),
    }
    return {name: [{'text': text} for text in texts] for name, texts in found.items()}


@registry.entry(options=SummarizationOptions, problems=seq2seq.problems)
def make(config):
  """Returns the task of a Config: a source and its summaries."""
  return Summarization(config)
