"""From a DataConfig to numbered samples: sources, tokens, packing, shuffling, mixing.

Sample n of a dataset is a function of n alone, so batches do not depend on the number
of hosts, on microbatches or on interruptions, and n is all there is to save.
"""

import dataclasses
import os
from typing import Any

import numpy as np

from gpt_jax import data as sources
from gpt_jax.config import load
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import lookup
from gpt_jax.data import documents, order, packing, tokenizers
from gpt_jax.data.token_cache import TokenStore, open_tokens

ADDED_TO_FINGERPRINT = ('split_rule',)
"""Last parts of names in `Dataset.fingerprint` that older runs have not saved."""


@dataclasses.dataclass(frozen=True)
class Dataset:
  """Samples by number n; n // len is the epoch, and each has its own order."""

  order: (
    Any  # grain.MapDataset: n -> number of the sample, counted through all packings
  )
  packings: tuple[packing.Packing, ...]
  num_samples: int  # of an epoch, which ends when the first of the mixed sources does
  num_tokens: int
  stores: dict[str, TokenStore]  # by name in the mixture; '' without one
  fields: tuple[str, ...]  # of every sample, beside the tokens
  num_labels: int | None  # classes of field `labels`
  entropy: float | None  # of the source; None in a mixture
  fingerprint: dict[str, str | int | float | bool]  # all that decides what sample n is
  prefetch_batches: int
  warn_after_seconds: float
  timeout_seconds: float

  def __len__(self):
    return self.num_samples

  def sample(self, n):
    """Returns sample n, as in `packing.Packing`."""
    _, packed, number = self._find(n)
    return packed.sample(number)

  @property
  def reads_at_once(self):
    """How many samples to ask for at once: of a bucket each takes a while."""
    return max(store.reads_at_once for store in self.stores.values())

  def spans(self, n):
    """Returns (name, [(start, stop), ...]): where in `stores[name]` sample n lies."""
    name, packed, number = self._find(n)
    return name, packed.spans(number)

  def _find(self, n):
    number = int(self.order[n])
    for name, packed in zip(self.stores, self.packings, strict=True):
      if number < len(packed):
        return name, packed, number
      number -= len(packed)
    raise IndexError(n)


def members(data):
  """Returns `{name: (DataConfig, weight)}`; `{'': (data, 1.0)}` without a mixture."""
  if not data.mixture:
    return {'': (data, 1.0)}
  alone = dataclasses.replace(data, mixture={})
  return {
    name: (
      load.data_section(alone, dict(part), f'data.mixture.{name}', sources.SOURCES),
      float(part['weight']),
    )
    for name, part in sorted(data.mixture.items())
  }


def _check_same_fields(data, parts):
  for name, part in parts.items():
    if part.seq_len != data.seq_len:
      raise ConfigError(
        f'data.mixture.{name}.seq_len={part.seq_len}: expected data.seq_len='
        f'{data.seq_len}, as all samples of a batch are of one length.'
      )
  segmented = {name: packing.has_segments(part) for name, part in parts.items()}
  if len(set(segmented.values())) > 1:
    listed = ', '.join(f'{n} {"yes" if s else "no"}' for n, s in segmented.items())
    raise ConfigError(
      'data.mixture: some members keep documents apart and some do not'
      f' ({listed}); give all the same data.packing and data.mask_documents.'
    )


def declared_fields(data):
  """Returns the fields of the samples of a DataConfig, sorted; reads no data.

  Those that the entries of its sources declare by `fields.known_fields`.
  """
  found = set()
  for part, _ in members(data).values():
    make = lookup(sources.SOURCES, part.source, 'data.source')
    found.update(getattr(make, 'fields', lambda part: ())(part))
  return tuple(sorted(found))


def _with_all_fields(stores, parts):
  """Returns (fields, stores that have all of them); a mixture's members may lack some.

  Without a `loss_mask` all tokens of a member bear loss, without `labels` none has one.
  """
  names = tuple(sorted({name for store in stores.values() for name in store.fields}))
  filled = {name: store.with_fields(names) for name, store in stores.items()}
  for name, store in filled.items():
    if store is None:
      lacking = sorted(set(names) - set(stores[name].fields))
      raise ConfigError(
        f'data.mixture.{name}.source={parts[name].source!r}: has no fields'
        f' {", ".join(lacking)}, which other members have and which have no default.'
      )
  return names, filled


def _num_labels(made):
  """Returns the classes of all sources, None without; they have to agree."""
  found = {name: one.num_labels for name, one in made.items() if one.num_labels}
  if len(set(found.values())) > 1:
    listed = ', '.join(f'{name} {count}' for name, count in found.items())
    raise ConfigError(
      f'data.mixture: members have different numbers of classes ({listed}); give all'
      ' the same data.label_names or data.num_labels.'
    )
  return next(iter(found.values()), None)


def open_dataset(data, tokenizer, *, seed, cache_dir, for_eval=False, interleave=False):
  """Returns the `Dataset` of a DataConfig.

  Args:
    seed: of order and synthetic documents, if `data.seed` is None.
    cache_dir: of tokens, if `data.cache_dir` is ''.
    for_eval: in order, once, with the incomplete last sample padded; the members of a
      mixture one after another, or ...
    interleave: ... side by side, so that the first samples are of all of them.
  """
  data = dataclasses.replace(data, seed=seed if data.seed is None else data.seed)
  stores, made = {}, {}
  fingerprint = _settings(data, tokenizer, for_eval)
  parts = members(data)
  _check_same_fields(data, {name: part for name, (part, _) in parts.items()})
  for name, (part, weight) in parts.items():
    made[name] = source = sources.make_source(part)
    _check_vocabulary(source, tokenizer, part)
    stores[name] = store = _prepared_store(
      source, tokenizer, part, for_eval
    ) or open_tokens(
      source,
      tokenizer,
      append_eos=part.append_eos,
      begin_token=part.begin_token,
      cache_dir=part.cache_dir or cache_dir,
      max_corrupt_records=part.max_corrupt_records,
      with_bytes=for_eval,
    )
    fingerprint |= _member_fingerprint(name, part, source, weight)
    if store.skipped:
      fingerprint |= {_prefix(name) + '.skipped': '; '.join(store.skipped)}
  fields, stores = _with_all_fields(stores, {name: parts[name][0] for name in parts})
  packings = [
    packing.pack(stores[name], part, for_eval=for_eval)
    for name, (part, _) in parts.items()
  ]
  if for_eval:
    import grain  # half a second with Orbax, which commands that read no data save

    numbers = grain.MapDataset.range(sum(map(len, packings)))
    if interleave and len(packings) > 1:
      numbers = numbers.map(_interleaved([len(each) for each in packings]).__getitem__)
  else:
    weights = [weight for _, weight in parts.values()]
    shuffled = [part.shuffle for part, _ in parts.values()]
    numbers = _training_order(packings, weights, shuffled, data.seed)
  return Dataset(
    order=numbers if for_eval else numbers.repeat(),
    packings=tuple(packings),
    num_samples=len(numbers),
    num_tokens=sum(store.num_tokens for store in stores.values()),
    stores=stores,
    fields=fields,
    num_labels=_num_labels(made),
    entropy=next(iter(made.values())).entropy if len(made) == 1 else None,
    fingerprint=fingerprint,
    prefetch_batches=data.prefetch_batches,
    warn_after_seconds=data.warn_after_seconds,
    timeout_seconds=data.timeout_seconds,
  )


def _prepared_store(source, tokenizer, data, for_eval):
  """Returns the tokens that a source has already, None where it has texts."""
  store = source.open_store(tokenizer, append_eos=data.append_eos, with_bytes=for_eval)
  if store is not None and data.begin_token:
    raise ConfigError(
      f'data.begin_token={data.begin_token!r}: documents of data.source='
      f'{data.source!r} are tokens already, without one; set it to "", or read the'
      ' texts themselves.'
    )
  return store


def _training_order(packings, weights, shuffled, seed):
  """Returns one epoch of sample numbers, mixed by weight, as a grain dataset."""
  import grain

  # Numbers, not samples: grain's bookkeeping per element costs more than slicing a
  # sample out of a memory map.
  orders, first = [], 0
  for member, packed in enumerate(packings):
    numbers = grain.MapDataset.range(first, first + len(packed))
    if shuffled[member]:
      numbers = _shuffle(numbers, first, len(packed), _order_seed(seed, member))
    orders.append(numbers)
    first += len(packed)
  return orders[0] if len(orders) == 1 else grain.MapDataset.mix(orders, weights)


def _interleaved(lengths):
  """Returns all numbers below sum(lengths), int64, each stretch at an even pace."""
  places = [(np.arange(length) + 0.5) / length for length in lengths]
  return np.argsort(np.concatenate(places), kind='stable')


def _shuffle(numbers, first, count, seed):
  if count > order.MAX_COUNT:
    return numbers.shuffle(seed=seed)
  return numbers.map_with_index(order.EpochOrder(first, count, seed))


def _order_seed(seed, member):
  # Hashed: grain adds the epoch to the seed, so that seed s in epoch 1 would have the
  # order of seed s + 1 in epoch 0.
  return int(np.random.SeedSequence([seed, member]).generate_state(1)[0])


def _settings(data, tokenizer, for_eval):
  fields = ('seq_len', 'packing', 'mask_documents', 'append_eos', 'shuffle', 'seed')
  settings = {f'data.{field}': getattr(data, field) for field in fields}
  if data.begin_token:  # older runs know no such field
    settings['data.begin_token'] = data.begin_token
  return {**settings, 'tokenizer': tokenizer.fingerprint[:16], 'for_eval': for_eval}


def _prefix(name):
  return f'data.mixture.{name}' if name else 'data'


def _member_fingerprint(name, part, source, weight):
  prefix = _prefix(name)
  described = {f'{prefix}.{key}': value for key, value in source.fingerprint.items()}
  if name:
    described[f'{prefix}.weight'] = weight
    for field in ('packing', 'mask_documents', 'append_eos', 'shuffle'):
      described[f'{prefix}.{field}'] = getattr(part, field)
    if part.begin_token:
      described[f'{prefix}.begin_token'] = part.begin_token
  if source.fields:
    described[f'{prefix}.fields'] = ', '.join(source.fields)
  return described


def _check_vocabulary(source, tokenizer, data):
  size = source.vocab_size
  if size is not None and (tokenizer.name != 'ids' or tokenizer.vocab_size < size):
    raise ConfigError(
      f'data.source={data.source!r} gives ids below {size} that are not text, and'
      f' the {tokenizer.name} tokenizer has {tokenizer.vocab_size}; synthetic languages'
      ' need the "ids" tokenizer and mix with no text.'
    )
  if size is None and tokenizer.name == 'ids':
    raise ConfigError(
      f'data.source={data.source!r} is text, which the ids tokenizer of a synthetic'
      ' language cannot read; evaluate on the same kind of source, or mix alike ones.'
    )


def open_tokenizer(
  tokenizer_config, data, *, workdir=None, held_out=(), inherited=None, cache_dir=''
):
  """Returns the tokenizer of a run, trained on its data where it has to be.

  A synthetic source brings its own vocabulary: ids. `bpe` is trained on `data` alone.
  `char` takes the set of characters of the `held_out` DataConfigs too, so that
  evaluation knows them. `inherited`: as in `tokenizers.build`. `cache_dir`: where runs
  share what they have learned; '': nowhere.
  """
  parts = [part for part, _ in members(data).values()]
  made = [sources.make_source(part) for part in parts]
  sizes = [source.vocab_size for source in made if source.vocab_size]
  if sizes:
    tokenizer_config = dataclasses.replace(
      tokenizer_config, name='ids', vocab_size=max(sizes)
    )
  if tokenizer_config.name == 'char':
    parts = [part for one in held_out for part, _ in members(one).values()]
    made += [sources.make_source(part) for part in parts]

  def texts():
    for source in made:
      for i in range(len(source)):
        yield from documents.texts(source, i)

  prepared = [source.tokenizer_folder for source in made if source.tokenizer_folder]
  shared = None
  if cache_dir and not prepared:
    key = tokenizers.learning_key(tokenizer_config, [one.fingerprint for one in made])
    shared = os.path.join(cache_dir, f'tokenizer-{key}')
  return tokenizers.build(tokenizer_config, texts, workdir, inherited, shared, prepared)
