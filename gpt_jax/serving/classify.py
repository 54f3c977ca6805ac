"""/v1/classify: what a run with a task head says of texts."""

from gpt_jax.serving.embeddings import texts_of
from gpt_jax.serving.model import CLASSES


async def answer(call):
  """Returns the answer of a Call: for each entry what `Run.predict` gives, or classes."""
  model = call.use(CLASSES).model
  entries = texts_of(call)
  found = await model.compute(_classify, entries)
  data = [{'index': i, 'prediction': one} for i, one in enumerate(found)]
  return {'object': 'list', 'data': data, 'model': call.record.model}


def _classify(run, entries):
  if run.config.task.name:
    return run.predict(entries)
  names = run.config.data.label_names
  return [
    {
      'label': _name(names, int(row_C.argmax())),
      'probabilities': {_name(names, i): float(p) for i, p in enumerate(row_C)},
    }
    for row_C in run.classify(entries)
  ]


def _name(names, i):
  return names[i] if names and i < len(names) else str(i)
