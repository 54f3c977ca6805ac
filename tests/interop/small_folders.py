"""Folders of tiny pretrained models, made by hand: no torch, no transformers."""

import json
from typing import Any

import numpy as np
import safetensors.numpy

GPT2 = dict(
  model_type='gpt2', architectures=['GPT2LMHeadModel'], vocab_size=11, n_layer=2,
  n_embd=8, n_head=2, n_positions=12,
)  # fmt: skip


def gpt2_shapes(layers=2, width=8, vocab=11, positions=12):
  """Returns {name: shape} of the tensors of a GPT-2."""
  shapes = {
    'transformer.wte.weight': (vocab, width),
    'transformer.wpe.weight': (positions, width),
  }
  for i in range(layers):
    here = f'transformer.h.{i}'
    for name, inside, out in (
      ('attn.c_attn', width, 3 * width),
      ('attn.c_proj', width, width),
      ('mlp.c_fc', width, 4 * width),
      ('mlp.c_proj', 4 * width, width),
    ):
      shapes |= {f'{here}.{name}.weight': (inside, out), f'{here}.{name}.bias': (out,)}
    for name in ('ln_1', 'ln_2'):
      shapes |= dict.fromkeys(
        (f'{here}.{name}.weight', f'{here}.{name}.bias'), (width,)
      )
  return shapes | dict.fromkeys(
    ('transformer.ln_f.weight', 'transformer.ln_f.bias'), (width,)
  )


def random_tensors(shapes, dtype=np.float32, seed=0):
  rng = np.random.default_rng(seed)
  return {
    name: rng.normal(0, 0.3, shape).astype(dtype) for name, shape in shapes.items()
  }


def write(folder, config, tensors):
  """Writes config.json and model.safetensors into a new folder, and returns it."""
  folder.mkdir(parents=True)
  (folder / 'config.json').write_text(json.dumps(config))
  safetensors.numpy.save_file(tensors, folder / 'model.safetensors')
  return folder


def gpt2(folder, dtype: Any = np.float32, **changes) -> tuple[Any, dict[str, Any]]:
  """Returns (the folder of a tiny GPT-2, its tensors)."""
  tensors = random_tensors(gpt2_shapes(), dtype)
  return write(folder, GPT2 | changes, tensors), tensors


def write_shards(folder, config, tensors, parts=2):
  """Writes `tensors` over several files with an index, and returns the index."""
  folder.mkdir(parents=True)
  (folder / 'config.json').write_text(json.dumps(config))
  names, weight_map = sorted(tensors), {}
  for i in range(parts):
    file = f'model-{i + 1:05}-of-{parts:05}.safetensors'
    mine = {name: tensors[name] for name in names[i::parts]}
    safetensors.numpy.save_file(mine, folder / file)
    weight_map |= dict.fromkeys(mine, file)
  index = folder / 'model.safetensors.index.json'
  index.write_text(json.dumps({'metadata': {}, 'weight_map': weight_map}))
  return index
