"""A small shop: documents, an index of them, questions, and an answerer for tests."""

import json
import math

from gpt_jax.retrieval import index
from gpt_jax.retrieval.index import Index, Settings
from gpt_jax.retrieval.search import Searcher
from gpt_jax.support import answer
from gpt_jax.support.sentence_answerer import SentenceAnswerer
from gpt_jax.support.service import Service
from tests.retrieval import tiny_encoder

DOCUMENTS = {
  'returns.md': '# Returns\n\nReturn lamps within 30 days. Opened bulbs are kept.\n',
  'delivery.md': '# Delivery\n\nPostage costs 5 euros. Parcels take two days.\n',
  'lamps.md': '# Lamps\n\nThe lamp Lumo is 45 cm tall. Its cable is white.\n',
}
ASKED = (
  ('How many days do I have to return lamps?', '30 days', 'returns.md'),
  ('Are opened bulbs taken back?', 'Opened bulbs are kept', 'returns.md'),
  ('What costs postage?', '5 euros', 'delivery.md'),
  ('How long do parcels take?', 'two days', 'delivery.md'),
  ('How tall is the lamp Lumo?', '45 cm', 'lamps.md'),
  ('Which colour has the cable?', 'white', 'lamps.md'),
)


def write(folder):
  """Writes the documents into a folder; returns it."""
  folder.mkdir(parents=True, exist_ok=True)
  for name, text in DOCUMENTS.items():
    (folder / name).write_text(text)
  return folder


def write_questions(path, repeats=1):
  """Writes the questions, and one without an answer for each, as .jsonl."""
  rows = [
    row
    for _ in range(repeats)
    for text, said, file in ASKED
    for row in (
      dict(question=text, answers=[said], file=file),
      dict(question=f'Who sings opera number {len(text)}?', answers=[]),
    )
  ]
  path.write_text('\n'.join(map(json.dumps, rows)) + '\n')
  return path


def make_searcher(folder, with_vectors=True):
  """Returns the Searcher of a new index of the documents."""
  settings = Settings(60, 0, 'runs/encoder' if with_vectors else '')
  embed = tiny_encoder.make() if with_vectors else None
  index.update(folder / 'index', write(folder / 'docs'), settings, embed)
  return Searcher(Index(folder / 'index'), embed)


def make_service(folder, answerer=None, with_vectors=True, **options):
  """Returns the Service of a new index."""
  searcher = make_searcher(folder, with_vectors)
  return Service(searcher, answerer or SentenceAnswerer(), **options)


class KnowingAnswerer:
  """Finds the right answer of ASKED in a passage that has it, else its first word."""

  kind = 'knowing'
  name = 'knowing'
  passages = 2

  def answer_many(self, items, progress=None):
    return [
      answer.best([self._read(text, hit.passage.text) for hit in hits], hits, 1.0)
      for text, hits in items
    ]

  def _read(self, question, text):
    for asked, said, _ in ASKED:
      if asked == question and said in text:
        return said, math.log(0.9)
    return text.split()[0], math.log(0.01)
