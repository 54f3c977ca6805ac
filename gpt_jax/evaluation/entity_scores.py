"""Scores of entities in sequences of IOB2 tags, by seqeval."""

from gpt_jax.core import extras
from gpt_jax.core.errors import DataError
from gpt_jax.evaluation import aligned, tag_schemes
from gpt_jax.evaluation.scores import Scores

METRIC = 'Scores of entities'


def entity_scores(gold_tags, predicted_tags):
  """Returns the `Scores` of entities that agree in type and all their words.

  Metrics: precision, recall and f1 over all entities (micro average), of seqeval in
  strict mode: a predicted I that follows no B or I of its type begins no entity.
  Precision and recall are 0 where they are 0 / 0. Details: per_type, rows of precision,
  recall, f1 and support; num_sentences.

  Args:
    gold_tags: a list of sentences, each a list of valid IOB2 tags.
    predicted_tags: as `gold_tags`, the same lengths; any order of B, I and O.

  Raises DataError on no sentences, other lengths, gold tags that are no IOB2, or a tag
  that is no B, I or O.
  """
  aligned.require_aligned(METRIC, gold=gold_tags, predicted=predicted_tags)
  for row, (gold, predicted) in enumerate(zip(gold_tags, predicted_tags, strict=True)):
    if len(gold) != len(predicted):
      raise DataError(
        f'{METRIC}: sentence {row} has {len(gold)} gold and {len(predicted)} predicted'
        ' tags; expected one a word.'
      )
    tag_schemes.require_iob2(gold, f'{METRIC}: gold sentence {row}')
    for place, tag in enumerate(predicted):
      where = f'{METRIC}: predicted sentence {row}: tag {place}'
      if tag_schemes.parse(tag, where)[0] not in 'OBI':
        raise DataError(f'{where} is {tag!r}: expected B, I or O.')
  load = dict(extra='tasks', package='seqeval', use=METRIC)
  package = extras.load('seqeval.metrics', **load)
  scheme = extras.load('seqeval.scheme', **load)
  if not any(tag != 'O' for tags in (*gold_tags, *predicted_tags) for tag in tags):
    return Scores(
      dict(precision=0.0, recall=0.0, f1=0.0),
      dict(per_type=[], num_sentences=len(gold_tags)),
    )
  report = package.classification_report(
    [list(tags) for tags in gold_tags],
    [list(tags) for tags in predicted_tags],
    output_dict=True,
    mode='strict',
    scheme=scheme.IOB2,
    zero_division=0,
  )
  micro = _row(report.pop('micro avg'))
  del micro['support']
  for name in ('macro avg', 'weighted avg'):
    del report[name]
  per_type = [dict(type=kind, **_row(row)) for kind, row in report.items()]
  return Scores(micro, dict(per_type=per_type, num_sentences=len(gold_tags)))


def _row(row):
  return dict(
    precision=float(row['precision']),
    recall=float(row['recall']),
    f1=float(row['f1-score']),
    support=int(row['support']),
  )
