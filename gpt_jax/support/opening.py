"""Index, encoder, answerer and threshold put together: from paths to a Service."""

import gpt_jax.api
from gpt_jax.core.errors import ConfigError
from gpt_jax.retrieval.index import Index
from gpt_jax.retrieval.search import Searcher
from gpt_jax.support import answerers, confidence, service


def encoder_of(path, progress=None):
  """Returns `texts -> float32 [N, D]` by a run, vectors of length 1; None for ''.

  Texts lose what is beyond the model's positions. Raises as `gpt_jax.load` does.
  """
  if not path:
    return None
  run = gpt_jax.api.load(path)

  def embed(texts):
    return run.embed(texts, progress=progress)

  return embed


def open_searcher(folder, encoder=''):
  """Returns the Searcher of an index.

  `encoder`: where the run lies now that made its vectors; '': where it lay then.
  Raises ConfigError where that is another one.
  """
  index = Index(folder)
  if not index.settings.encoder:
    if encoder:
      raise ConfigError(
        f'--encoder={encoder}: --index={folder} was made without one; make another'
        ' index with it.'
      )
    return Searcher(index)
  path = encoder or index.settings.encoder
  embed = encoder_of(path)
  index.check_encoder(embed, path)
  return Searcher(index, embed)


def open_service(
  folder, *, encoder='', workdir=None, step=None, method=None, count=None
):
  """Returns the Service of an index and a run, with its threshold if one was chosen."""
  searcher = open_searcher(folder, encoder)
  answerer = answerers.open_answerer(workdir, step)
  made = service.Service(searcher, answerer, None, method, count)
  made.confidence = confidence.load(searcher.index.folder, made.key)
  return made
