"""/v1/classify: what a run with a task head says of texts."""

from gpt_jax.serving.embeddings import texts_of
from gpt_jax.serving.model import CLASSES


async def answer(call):
  """Returns the answer of a Call: of each entry what `Run.predict` says, or classes."""
  model = call.use(CLASSES).model
  entries = texts_of(call)
  await call.admit()
  found, call.record.prompt_tokens = await model.compute(_classify, entries)
  data = [{'index': i, 'prediction': one} for i, one in enumerate(found)]
  return {'object': 'list', 'data': data, 'model': call.record.model}


def _classify(run, entries):
  """Returns (what is said of each entry, how many tokens they have)."""
  texts = [_text_of(entry) for entry in entries]
  count = sum(map(len, run.tokenizer.encode_batch(texts)))
  if run.config.task.name:
    return run.predict(entries), count
  names = run.config.data.label_names
  found = [
    {
      'label': _name(names, int(row_C.argmax())),
      'probabilities': {_name(names, i): float(p) for i, p in enumerate(row_C)},
    }
    for row_C in run.classify(entries)
  ]
  return found, count


def _text_of(entry):
  if isinstance(entry, str):
    return entry
  return ' '.join(value for value in entry.values() if isinstance(value, str))


def _name(names, i):
  return names[i] if names and i < len(names) else str(i)
