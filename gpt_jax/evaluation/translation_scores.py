"""Scores of translations: BLEU and chrF of a corpus, by sacreBLEU.

Papineni et al. 2002; Post, arXiv:1804.08771; Popovic 2015 (chrF).
"""

from gpt_jax.core import extras
from gpt_jax.core.errors import ConfigError
from gpt_jax.evaluation import aligned, references
from gpt_jax.evaluation.scores import Scores

METRIC = 'BLEU'
TOKENIZERS = ('13a', 'zh', 'intl', 'char', 'none')
"""Those of sacreBLEU that need neither a download nor another package."""


def translation_scores(references_of, predicted, tokenize='13a'):
  """Returns the `Scores` of one predicted translation an example.

  Metrics, of the whole corpus and from 0 to 100: bleu, case kept, with sacreBLEU's
  smoothing `exp`; chrf, of character 1- to 6-grams, beta 2. Details: bleu_signature and
  chrf_signature, which say how they were computed; precisions (of 1- to 4-grams),
  brevity_penalty, predicted_length and reference_length in tokens.

  Args:
    references_of: of each example a list of texts; examples may have different numbers.
    predicted: one text an example, detokenized.
    tokenize: of `TOKENIZERS`; `zh` splits Chinese into characters.

  Raises DataError on no examples, other lengths, or an example without reference.
  """
  aligned.require_aligned(METRIC, references=references_of, predicted=predicted)
  references.require_lists(METRIC, references_of)
  if tokenize not in TOKENIZERS:
    raise ConfigError(
      f'{METRIC}: tokenize={tokenize!r}: expected one of {", ".join(TOKENIZERS)}.'
    )
  package = extras.load(
    'sacrebleu.metrics', extra='tasks', package='sacrebleu', use=METRIC
  )
  # `force`: no advice on the screen about text that looks tokenized.
  bleu, chrf = package.BLEU(tokenize=tokenize, force=True), package.CHRF()
  streams = references.streams(references_of)
  of_bleu = bleu.corpus_score(list(predicted), streams)
  of_chrf = chrf.corpus_score(list(predicted), streams)
  details = dict(
    bleu_signature=str(bleu.get_signature()),
    chrf_signature=str(chrf.get_signature()),
    precisions=[float(value) for value in of_bleu.precisions],
    brevity_penalty=float(of_bleu.bp),
    predicted_length=int(of_bleu.sys_len),
    reference_length=int(of_bleu.ref_len),
  )
  return Scores(dict(bleu=float(of_bleu.score), chrf=float(of_chrf.score)), details)
