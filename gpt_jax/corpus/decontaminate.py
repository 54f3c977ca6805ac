"""Training documents without the text of evaluation sets.

As Brown et al. 2020, arXiv:2005.14165, appendix C: runs of 13 words, in lower case and
without punctuation, that a document shares with an evaluation text are cut out, with
200 characters on each side. Pieces of less than 200 characters go, and documents that
would be in more than ten pieces go whole. Evaluation texts of fewer words, down to 8
(the least N there), are looked for as a whole. Unlike there, n-grams of many documents
are no exception.
"""

import dataclasses

from gpt_jax.config import load
from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.core.registry import entry, nearest
from gpt_jax.core.sections import at_least, between, comma_separated, section
from gpt_jax.corpus import words
from gpt_jax.corpus.eval_ngrams import EvalNgrams, joined
from gpt_jax.corpus.step import Step
from gpt_jax.data import SOURCES, documents, make_source, pipeline


@section
class Options:
  """Which sets are looked for, and what is cut out."""

  sets: tuple[str, ...] = comma_separated(())  # names in eval.sets; (): all of them
  ngram_words: int = between(2, 64, 13)
  min_words: int = between(2, 64, 8)  # of shorter evaluation texts none is looked for
  window_chars: int = at_least(0, 200)  # on each side of a run of words
  min_piece_chars: int = at_least(1, 200)
  max_pieces: int = at_least(0, 10)  # 0: documents with any such run go whole


class Decontaminate(Step):
  """Cuts evaluation texts out of training documents, or leaves them out."""

  def __init__(self, options, sets):
    """`sets`: {name: texts of an evaluation set}."""
    self._options = options
    self._ngrams = EvalNgrams(sets, options.ngram_words, options.min_words)
    self._last = None, [], None, ''  # what `_look` has found last

  def keep(self, document):
    if not document.is_training:
      return None
    pieces, name, _ = self._look(document)
    if name is None:
      return None
    is_whole = not document.is_divisible or len(pieces) > self._options.max_pieces
    return f'overlaps with {name}' if is_whole or not pieces else None

  def cut(self, document):
    if not document.is_training:
      return None
    pieces, name, _ = self._look(document)
    return None if name is None else (pieces, f'passages of {name}')

  def example(self, document):
    return self._look(document)[-1]

  def _look(self, document):
    """Returns (pieces that stay, name of a set that is found, what of it)."""
    if self._last[0] is not document:
      found, name, count = self._ngrams.find(document.text)
      pieces, passage = self._pieces(document.text, found, count)
      self._last = document, pieces, name, passage
    return self._last[1:]

  def _pieces(self, text, found, count):
    """Returns ([(start, end)] in characters of what stays of `text`, what does not)."""
    spans = list(words.spans(text)) if found else []
    if not found or len(spans) != count:  # NFKC has changed where words end
      return [], text
    window, least = self._options.window_chars, self._options.min_piece_chars
    taken = joined(
      (max(spans[first][0] - window, 0), min(spans[end - 1][1] + window, len(text)))
      for first, end in found
    )
    starts = [0, *(end for _, end in taken)]
    ends = [*(start for start, _ in taken), len(text)]
    pieces = zip(starts, ends, strict=True)
    pieces = [(start, end) for start, end in pieces if end - start >= least]
    return pieces, text[spans[found[0][0]][0] : spans[found[0][1] - 1][1]]

  def describe(self):
    counts = {name: dataclasses.asdict(c) for name, c in self._ngrams.counts.items()}
    return {'looked_for': counts}


def texts_of(config, name):
  """Yields the texts of all documents of the set `name` of eval.sets."""
  fields = config.eval.sets[name]
  data = load.data_section(config.data, fields, f'eval.sets.{name}', SOURCES)
  try:
    for part, _ in pipeline.members(data).values():
      source = make_source(part)
      if source.vocab_size is not None:
        raise ConfigError(
          f'--step=decontaminate:sets={name}: its source {part.source!r} has no text.'
        )
      for i in range(len(source)):
        yield '\n'.join(documents.texts(source, i))
  except DataError as error:
    error.add_note(f'That is of eval.sets.{name}, for --step=decontaminate.')
    raise


@entry(options=Options)
def make(options, context):
  """Returns the step, which has read its sets. Raises ConfigError for unknown ones."""
  known = context.config.eval.sets
  for name in options.sets:
    if name not in known:
      hint = nearest(name, known)
      raise ConfigError(
        f'--step=decontaminate:sets={",".join(options.sets)}: no {name!r} in eval.sets;'
        + (f' did you mean {hint!r}?' if hint else f' expected {", ".join(known)}.')
      )
  if options.min_words > options.ngram_words:
    raise ConfigError(
      f'--step=decontaminate:min_words={options.min_words}: expected at most'
      f' ngram_words={options.ngram_words}.'
    )
  names = options.sets or sorted(known)
  sets = {name: texts_of(context.config, name) for name in names}
  return Decontaminate(options, sets)
