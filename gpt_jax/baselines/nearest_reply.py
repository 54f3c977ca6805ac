"""The reply of training that was given to the most similar request, by TF-IDF."""

from gpt_jax.baselines.tfidf import CHARACTERS, WORDS
from gpt_jax.core import extras
from gpt_jax.evaluation import aligned, chinese

METRIC = 'The nearest-reply baseline'


def nearest_reply(requests, replies, asked):
  """Returns a reply for each text of `asked`: that to the nearest of `requests`.

  Nearest by the cosine of TF-IDF vectors; of equals the first. `requests` and `replies`
  are those of training, in pairs. '' for all where no request has a word.
  """
  aligned.require_aligned(METRIC, requests=requests, replies=replies)
  load = dict(extra='tasks', package='scikit-learn', use=METRIC)
  text_features = extras.load('sklearn.feature_extraction.text', **load)
  units = CHARACTERS if chinese.is_chinese(requests) else WORDS
  vectorizer = text_features.TfidfVectorizer(sublinear_tf=True, **units)
  try:
    features = vectorizer.fit_transform(requests)
  except ValueError:  # an empty vocabulary
    return [''] * len(asked)
  # Rows have norm 1; one at a time, as all products together would be a large array.
  asked_rows = vectorizer.transform(asked)
  nearest = [int((features @ row.T).toarray().argmax()) for row in asked_rows]
  return [replies[place] for place in nearest]
