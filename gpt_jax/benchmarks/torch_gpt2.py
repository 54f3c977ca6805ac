"""The same GPT-2 in PyTorch, timed beside ours: transformers' GPT2LMHeadModel.

Same sizes (padding of the vocabulary included), parameters, batch, microbatches, AdamW
groups and clipping; weights in float32, autocast for bfloat16. In its fastest setting:
fused AdamW, scaled-dot-product attention, gradients set to None, TF32 on GPUs (as jax
does), as many threads as XLA.
"""

import contextlib
import functools
import importlib.util
import os
from typing import Any

import jax
import numpy as np

from gpt_jax.benchmarks import decoding, gpt2_shape, timing
from gpt_jax.core.errors import ConfigError, require_extra
from gpt_jax.model import stacking

PREFIX = 'transformers/'
DTYPES = ('float32', 'bfloat16')


def require_packages():
  for package in ('torch', 'transformers'):
    if importlib.util.find_spec(package) is None:
      raise ConfigError(
        f'--vs=transformers {require_extra("compare", package)}. On Linux that brings'
        ' the CUDA build of torch, some GB; for CPUs alone, first pip install torch'
        ' --index-url https://download.pytorch.org/whl/cpu'
      )


def describe(dtype):
  import torch
  import transformers

  return dict(
    name='transformers GPT2LMHeadModel',
    dtype=dtype,
    torch=torch.__version__,
    transformers=transformers.__version__,
  )


def threads():
  """Returns how many cores this process may use, as many as XLA:CPU does."""
  if hasattr(os, 'sched_getaffinity'):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


class TorchGPT2:
  """A GPT2LMHeadModel with the parameters and the batch of a Workload."""

  def __init__(self, workload, dtype):
    """Raises ConfigError for a config that is no GPT-2, and without the packages."""
    gpt2_shape.check(workload.config)
    require_packages()
    if dtype not in DTYPES:
      raise ConfigError(
        f'--vs_dtype={dtype}: expected one of {", ".join(DTYPES)}; float16 would need'
        ' its gradients scaled.'
      )
    import torch
    import transformers

    torch.set_num_threads(threads())
    torch.set_float32_matmul_precision('high')  # TF32 on GPUs; no change on CPUs
    on_gpu = jax.default_backend() == 'gpu'
    if on_gpu and not torch.cuda.is_available():
      raise ConfigError(
        f'--vs=transformers: jax computes on a GPU, but torch {torch.__version__} sees'
        ' none; install a CUDA build of torch (https://pytorch.org/get-started), or set'
        ' JAX_PLATFORMS=cpu to compare on the CPU.'
      )
    self.config, self.first_loss = workload.config, workload.first_loss
    self.device = torch.device('cuda' if on_gpu else 'cpu')
    self.dtype = getattr(torch, dtype)
    transformers.logging.set_verbosity_error()
    model: Any = transformers.GPT2LMHeadModel(_architecture(self.config))
    load_params(model, jax.device_get(workload.state.params))
    self.model = model.to(self.device).train()
    self.optimizer = _adamw(self.model, self.config.optimizer)
    tokens = torch.from_numpy(np.asarray(workload.batch['tokens'], np.int64))
    self.tokens = tokens.to(self.device)

  def step(self):
    """Takes a training step on the batch and returns its loss, a tensor."""
    import torch

    count = self.config.train.grad_accum
    total = 0.0
    self.optimizer.zero_grad(set_to_none=True)
    for part in range(count):
      loss = self.loss(self.tokens[part::count]) / count
      loss.backward()
      total = total + loss.detach()
    if self.config.optimizer.clip_norm:
      torch.nn.utils.clip_grad_norm_(
        self.model.parameters(), self.config.optimizer.clip_norm
      )
    self.optimizer.step()
    if 'transformers' not in self.first_loss:
      self.first_loss['transformers'] = float(total)
    return total

  def loss(self, tokens_BN):
    import torch

    with self._autocast():
      logits_BTV = self.model(tokens_BN[:, :-1], use_cache=False).logits
    return torch.nn.functional.cross_entropy(
      logits_BTV.float().flatten(0, 1), tokens_BN[:, 1:].flatten()
    )

  def forward(self):
    import torch

    self.model.eval()
    with torch.no_grad():
      loss = self.loss(self.tokens)
    self.model.train()
    return loss

  def for_generation(self, dtype=None):
    """Returns the model with weights in a dtype, None: that of the comparison."""
    import copy

    import torch

    dtype = self.dtype if dtype is None else getattr(torch, dtype)
    return copy.deepcopy(self.model).to(dtype).eval()

  def generator(self, prompts, model=None):
    """Returns `tokens -> ids`, greedy, with the cache that is made at the start."""
    import torch

    model = self.for_generation() if model is None else model
    prompts = torch.from_numpy(np.asarray(prompts, np.int64)).to(self.device)
    settings = dict(do_sample=False, pad_token_id=0, eos_token_id=None)
    # A GPU would have it compile the model at the first call of each shape.
    static = dict(cache_implementation='static', disable_compile=True)

    def generate(tokens):
      with torch.no_grad():
        return model.generate(
          prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=tokens,
          min_new_tokens=tokens, **settings, **static,
        )  # fmt: skip

    return generate

  def wait(self):
    import torch

    if self.device.type == 'cuda':
      torch.cuda.synchronize()

  def _autocast(self):
    import torch

    if self.dtype == torch.float32:
      return contextlib.nullcontext()
    return torch.autocast(self.device.type, dtype=self.dtype)


def cases(workload, names, dtype):
  """Returns the peer's cases of those of `names` that it has; `dtype`: of DTYPES."""
  peer = TorchGPT2(workload, dtype)
  found = []
  for name, call in (('step', peer.step), ('forward', peer.forward)):
    if name in names:
      run = _repeated(call, peer.wait)
      seconds = timing.first_run_seconds(run)
      found.append(
        timing.Case(PREFIX + name, run, compile_seconds=seconds, tokens=workload.tokens)
      )
  if 'decode' in names:
    found += _decoding(peer, workload)
  return found


def load_params(model, params):
  """Copies our parameters, as numpy, into a GPT2LMHeadModel of the same sizes."""
  import torch

  params = stacking.unstack(params)
  state = {
    'wte.weight': params['embed']['embedding'],
    'wpe.weight': params['position']['embedding'],
    'ln_f.weight': params['final_norm']['scale'],
    'ln_f.bias': params['final_norm']['bias'],
  }
  for i in range(model.config.n_layer):
    block = params[f'layers_{i}']['block_0']
    for name, value in _block(block).items():
      state[f'h.{i}.{name}'] = value
  tensors = {name: torch.tensor(np.asarray(x)) for name, x in state.items()}
  model.transformer.load_state_dict(tensors)


def _block(block):
  attention, mlp = block['attention'], block['mlp']
  D = attention['query']['kernel'].shape[0]
  parts = [attention[name] for name in ('query', 'key', 'value')]
  return {
    'ln_1.weight': block['attention_norm']['scale'],
    'ln_1.bias': block['attention_norm']['bias'],
    'attn.c_attn.weight': np.concatenate(
      [part['kernel'].reshape(D, -1) for part in parts], axis=1
    ),
    'attn.c_attn.bias': np.concatenate([part['bias'].reshape(-1) for part in parts]),
    'attn.c_proj.weight': attention['out']['kernel'].reshape(-1, D),
    'attn.c_proj.bias': attention['out']['bias'],
    'ln_2.weight': block['mlp_norm']['scale'],
    'ln_2.bias': block['mlp_norm']['bias'],
    'mlp.c_fc.weight': mlp['up']['kernel'],
    'mlp.c_fc.bias': mlp['up']['bias'],
    'mlp.c_proj.weight': mlp['down']['kernel'],
    'mlp.c_proj.bias': mlp['down']['bias'],
  }


def _architecture(config):
  import transformers

  model = config.model
  attention: dict[str, Any] = dict(attn_implementation='sdpa')
  return transformers.GPT2Config(
    vocab_size=model.vocab_size,
    n_positions=model.max_seq_len,
    n_embd=model.d_model,
    n_layer=model.num_layers,
    n_head=model.num_heads,
    n_inner=model.d_ff,
    activation_function=gpt2_shape.ACTIVATIONS[model.activation],
    embd_pdrop=model.embed_dropout,
    attn_pdrop=model.attention_dropout,
    resid_pdrop=model.residual_dropout,
    layer_norm_epsilon=model.norm_eps,
    bos_token_id=None,
    eos_token_id=None,
    **attention,
  )


def _adamw(model, optimizer):
  """Returns torch's AdamW with the parameter groups of optimizer.decay_mask."""
  import torch

  def decays(parameter):
    if optimizer.decay_mask == 'matrices':
      return parameter.dim() >= 2  # GPT-2's kernels and embeddings
    return optimizer.decay_mask == 'all'

  parameters = list(model.parameters())
  return torch.optim.AdamW(
    [
      dict(
        params=[p for p in parameters if decays(p)],
        weight_decay=optimizer.weight_decay,
      ),
      dict(params=[p for p in parameters if not decays(p)], weight_decay=0.0),
    ],
    lr=optimizer.learning_rate,
    betas=(optimizer.b1, optimizer.b2),
    eps=optimizer.eps,
    fused=True,
  )


def _repeated(call, wait):
  def run(times):
    for _ in range(times):
      call()
    wait()

  return run


def _decoding(peer, workload):
  _, new = decoding.lengths(workload.config.data.seq_len)
  found = []
  # The first dtype is that of the comparison, as `--vs_dtype` says.
  for dtype, ending in decoding.dtypes(workload.config).items():
    model = peer.for_generation(dtype if ending else None)
    for rows, prompts in decoding.prompts(workload).items():
      names = [f'{PREFIX}{kind}_{rows}{ending}' for kind in ('prefill', 'decode')]
      generate = peer.generator(prompts, model)
      prefill, decode = (
        _repeated(functools.partial(generate, n), peer.wait) for n in (1, new)
      )
      seconds = timing.first_run_seconds(prefill)
      found += [
        timing.Case(names[0], prefill, compile_seconds=seconds, tokens=prompts.size),
        timing.Case(names[1], decode, tokens=rows * (new - 1), minus=names[0]),
      ]
    prompt = decoding.long_prompt_ids(workload)
    run = _repeated(functools.partial(peer.generator(prompt, model), 1), peer.wait)
    seconds = timing.first_run_seconds(run)
    name = f'{PREFIX}long_prompt{ending}'
    found.append(timing.Case(name, run, compile_seconds=seconds, tokens=prompt.size))
  return found
