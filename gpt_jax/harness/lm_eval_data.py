"""What the .yaml files beside take from here: data sets and metrics for lm_eval."""

import collections
import re
import string

from gpt_jax.harness import sets


def _validation(read):
  def dataset(data_dir=None, **_):
    """Returns `{'validation': datasets.Dataset}`; lm_eval hands on other metadata."""
    import datasets

    return {'validation': datasets.Dataset.from_list(read(data_dir=data_dir))}

  return dataset


piqa = _validation(sets.piqa)
sst2 = _validation(sets.sst2)
rte = _validation(sets.rte)
ag_news = _validation(sets.ag_news)
chnsenticorp = _validation(sets.chnsenticorp)
squad = _validation(sets.squad)
wikitext = _validation(sets.wikitext)


def blimp(paradigm, data_dir=None, **_):
  """Returns the pairs of one paradigm, which `dataset_kwargs` name."""
  return _validation(lambda data_dir: sets.blimp(paradigm, data_dir))(data_dir)


def squad_results(doc, results):
  """Returns the best exact match and F1 over the answers. arXiv:1606.05250, 6.1."""
  pairs = [(_normal(results[0]), _normal(answer)) for answer in doc['answers']]
  return {
    'exact_match': max(float(found == answer) for found, answer in pairs),
    'f1': max(_f1(found.split(), answer.split()) for found, answer in pairs),
  }


def _normal(text):
  kept = ''.join(c for c in text.lower() if c not in string.punctuation)
  return ' '.join(re.sub(r'\b(a|an|the)\b', ' ', kept).split())


def _f1(found, answer):
  common = sum((collections.Counter(found) & collections.Counter(answer)).values())
  return 2 * common / (len(found) + len(answer)) if common else 0.0
