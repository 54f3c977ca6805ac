"""Types and ranges of all config fields: a frozen dataclass for each section.

Defaults and meanings stand in `configs/base.py`. What `options` hold, the entry that a
section picks declares (`options.py`). Upper limits of sizes are far above what any run
takes: they keep mistakes and hostile files from asking for huge arrays.
"""

from typing import TYPE_CHECKING, Any

from gpt_jax.config.methods import DistillConfig, PeftConfig, RegularizationConfig
from gpt_jax.core.sections import (
  a_seed,
  above,
  at_least,
  between,
  comma_separated,
  one_of,
  rate,
  section,
)

# A number that may be None in a config file and is filled in by `load.resolve` (a
# `vocab_size` once the tokenizer is open). Loading checks by the wider type; type
# checkers see the narrower one, as the library reads nothing but resolved configs.
if TYPE_CHECKING:
  FilledInt = int
  FilledFloat = float
else:
  FilledInt = int | None
  FilledFloat = float | None

DTYPES = ('float32', 'bfloat16', 'float16')


@section
class InitConfig:
  transform: str
  rules: tuple[Any, ...]
  options: Any
  tokenizer: str = one_of('keep', 'new')
  model: str = one_of('own', 'keep')


@section
class ModelConfig:
  vocab_size: FilledInt = between(1, 2**24)
  pad_vocab_to_multiple_of: int = between(1, 2**20)
  num_layers: int = between(1, 10_000)
  d_model: int = between(1, 2**20)
  num_heads: int = between(1, 2**16)
  num_kv_heads: FilledInt = between(1, 2**16)
  head_dim: FilledInt = between(1, 2**16)
  d_ff: FilledInt = between(1, 2**22)
  max_seq_len: FilledInt = between(1, 2**28)
  layer_pattern: tuple[str, ...] = comma_separated()
  block: str = one_of('serial', 'parallel', 'parallel_norms', 'attention_only')
  position: str
  position_options: Any
  rope_theta: float = above(0.0)
  rope_local_theta: float | None = above(0.0)
  rope_fraction: float = between(0.0, 1.0)
  rope_scaling: str = one_of('none', 'linear', 'ntk', 'llama3')
  rope_factor: float = at_least(1.0)
  rope_original_len: int = between(1, 2**28)
  norm: str = one_of('layernorm', 'rmsnorm')
  norm_position: str = one_of('pre', 'post', 'sandwich')
  norm_bias: bool
  norm_zero_centered: bool
  norm_eps: float = above(0.0)
  qk_norm: str = one_of('none', 'layernorm', 'rmsnorm')
  bias: bool
  qkv_bias: bool | None
  out_bias: bool | None
  mlp_bias: bool | None
  activation: str
  token_types: int = between(0, 2**16)
  pooler: bool
  head: str = one_of('linear', 'transform', 'none')
  head_bias: bool
  tie_embeddings: bool
  scale_embeddings: bool
  logit_softcap: float = at_least(0.0)
  dropout: float = rate()
  embed_dropout: FilledFloat = rate()
  attention_dropout: FilledFloat = rate()
  residual_dropout: FilledFloat = rate()
  stochastic_depth: float = rate()
  init: str = one_of('gpt2', 'fan_in', 'mup')
  init_std: float = above(0.0)
  mup_base_width: int = between(1, 2**20)
  remat: str = one_of('none', 'full', 'dots', 'names', 'auto')
  scan_layers: bool
  dtype: str = one_of(*DTYPES)
  param_dtype: str = one_of(*DTYPES)
  quantization: str = one_of('none', 'int8', 'int4', 'nf4')
  quantization_group: int = between(2, 2**16)
  quantized_embedding: bool
  quantized_activations: bool
  outlier_threshold: float = at_least(0.0)
  fake_quantization: str = one_of('none', 'int8', 'int4')


def parse_layer(layer):
  """Returns the window in tokens of `'local:W'`, None for `'global'`.

  Raises ValueError when `layer` is neither.
  """
  if layer == 'global':
    return None
  kind, _, width = layer.partition(':')
  if kind != 'local' or not width.isdigit() or int(width) < 1:
    raise ValueError(layer)
  return int(width)


@section
class AttentionConfig:
  kernel: str
  softcap: float = at_least(0.0)
  scale: float | None = above(0.0)
  options: Any


@section
class ParallelConfig:
  mesh: dict[str, int]
  preset: str
  overrides: dict[str, Any]


@section
class GeneratorConfig:
  vocab_size: int = between(2, 2**16)
  order: int = between(0, 64)
  concentration: float = above(0.0)
  language_seed: int = a_seed()
  num_documents: int = between(1, 2**31)
  document_len: int = between(2, 2**28)
  max_depth: int = between(1, 2**16)
  min_period: int = between(1, 2**20)
  max_period: int = between(1, 2**20)


@section
class DataConfig:
  source: str
  path: str
  name: str
  split: str
  split_by: str = one_of('auto', 'names', 'content')
  data_dir: str
  text_field: str
  encoding: str
  prompt_field: str
  response_field: str
  label_field: str
  label_names: tuple[str, ...] = comma_separated()
  num_labels: int | None = between(1, 2**24)
  mixture: dict[str, Any]
  seq_len: int = between(1, 2**28)
  packing: str
  mask_documents: bool
  begin_token: str
  append_eos: bool
  shuffle: bool
  seed: int | None = a_seed()
  cache_dir: str
  prefetch_batches: int = between(1, 1024)
  max_corrupt_records: int = at_least(0)
  warn_after_seconds: float = above(0.0)
  timeout_seconds: float = above(0.0)
  generator: GeneratorConfig
  options: Any


@section
class AugmentationConfig:
  synonyms: float = between(0.0, 1.0, 0.0)
  insert: float = between(0.0, 1.0, 0.0)
  swap: float = between(0.0, 1.0, 0.0)
  delete: float = between(0.0, 1.0, 0.0)
  table: str = ''
  share: float = between(0.0, 1.0, 1.0)


@section
class TaskConfig:
  name: str
  files: dict[str, Any]
  reader: str
  columns: dict[str, Any]
  label_names: tuple[str, ...] = comma_separated()
  max_examples: int | None = at_least(1)
  max_eval_examples: int | None = at_least(1)
  too_long: str = one_of('truncate', 'truncate_left', 'window', 'drop')
  window_stride: int = at_least(1)
  buckets: tuple[int, ...]
  augmentation: AugmentationConfig
  mixture: dict[str, Any]
  mixture_temperature: float = at_least(1.0)
  options: Any


@section
class TokenizerConfig:
  name: str
  path: str
  vocab_size: int = between(1, 2**24)
  options: Any


@section
class ObjectiveConfig:
  name: str
  head: str
  label_smoothing: float = rate()
  z_loss: float = at_least(0.0)
  loss: str = one_of('auto', 'plain', 'fused')
  mask_rate: float = between(0.0, 1.0)
  mask_split: tuple[float, ...]
  span_density: float = between(0.0, 1.0)
  span_mean: float = at_least(1.0)
  prefix_min: float = between(0.0, 1.0)
  prefix_max: float = between(0.0, 1.0)
  options: Any


@section
class OptimizerConfig:
  name: str
  learning_rate: float = above(0.0)
  b1: float = rate()
  b2: float = rate()
  eps: float = at_least(1e-37)  # less is 0 in float32, and 0 / 0 no number
  momentum: float = rate()
  nesterov: bool
  weight_decay: float = at_least(0.0)
  weight_decay_mode: str = one_of('coupled', 'independent')
  decay_mask: str
  clip_norm: float = at_least(0.0)
  muon_learning_rate: float = above(0.0)
  ema_decay: float = rate()
  groups: tuple[Any, ...]
  layer_decay: float = between(1e-6, 1.0)
  train_last_layers: int | None = at_least(0)
  post_update: str
  post_update_options: Any
  options: Any


@section
class ScheduleConfig:
  name: str
  warmup_steps: int | None = at_least(0)
  warmup_tokens: int | None = at_least(0)
  warmup_fraction: float | None = between(0.0, 1.0)
  decay_steps: int | None = at_least(1)
  decay_tokens: int | None = at_least(1)
  final_fraction: float = between(0.0, 1.0)
  cooldown_fraction: float = between(0.0, 1.0)
  options: Any


@section
class TrainConfig:
  steps: int | None = between(1, 2**31 - 1)  # or tokens or epochs, exactly one
  tokens: int | None = at_least(1)
  epochs: float | None = above(0.0)
  batch_size: int = between(1, 2**24)
  grad_accum: int = between(1, 2**24)
  ramp_start_batch_size: int | None = at_least(1)
  ramp_tokens: int | None = at_least(1)


@section
class GuardConfig:
  max_bad_steps: int = at_least(1)
  spikes: str = one_of('off', 'skip', 'rollback')
  spike_window: int = at_least(8)
  spike_threshold: float = above(0.0)
  rollback_steps: int = at_least(1)
  rollback_extra_steps: int = at_least(0)
  max_rollbacks: int = at_least(1)


@section
class EvalConfig:
  every_steps: int = at_least(0)
  every_epochs: float | None = above(0.0)
  at_start: bool
  sets: dict[str, Any]
  metrics: tuple[str, ...] = comma_separated()
  batch_size: int | None = between(1, 2**24)
  max_batches: int = at_least(0)
  attack_epsilon: float = at_least(0.0)


@section
class CheckpointConfig:
  every_steps: int = at_least(0)
  every_epochs: float | None = above(0.0)
  keep_last: int = at_least(1)
  keep_best: int = at_least(0)
  best_metric: str
  best_mode: str = one_of('min', 'max')
  asynchronous: bool
  retry_seconds: tuple[float, ...]


@section
class EarlyStoppingConfig:
  metric: str
  mode: str = one_of('min', 'max')
  patience: int = at_least(0)
  min_delta: float = at_least(0.0)


@section
class LoggingConfig:
  every_steps: int = at_least(1)
  tensorboard: bool
  wandb_project: str
  sample_every_steps: int = at_least(0)
  sample_prompts: tuple[str, ...]
  sample_tokens: int = between(1, 2**20)
  layer_norms_every_steps: int = at_least(0)
  statistics: tuple[str, ...] = comma_separated()
  statistics_every_steps: int = at_least(0)
  profile_start_step: int = at_least(0)
  profile_steps: int = at_least(0)
  figures: bool


@section
class InferenceConfig:
  depth: int | None = between(1, 2**16)
  exit_measure: str = one_of('none', 'margin', 'similarity')
  exit_threshold: float = between(0.0, 1.0)
  exit_decay: float = at_least(0.0)
  exit_after: int = between(1, 2**16)
  draft: str
  draft_tokens: int = between(1, 64)
  max_new_tokens: int = between(1, 2**20)
  temperature: float = at_least(0.0)
  top_k: int = at_least(0)
  top_p: float = between(0.0, 1.0)
  min_p: float = between(0.0, 1.0)
  typical_p: float = between(1e-6, 1.0)
  repetition_penalty: float = between(0.01, 100.0)
  presence_penalty: float = between(-100.0, 100.0)
  frequency_penalty: float = between(-100.0, 100.0)
  beyond_positions: str = one_of('error', 'slide')
  cache_dtype: str = one_of('auto', 'float32', 'bfloat16', 'float16', 'int8')
  slots: int | None = between(1, 2**16)
  slot_tokens: int | None = between(1, 2**24)
  prefill_chunk: int = between(1, 2**16)
  prefix_cache_tokens: int | None = at_least(0)
  queue_limit: int = at_least(1)


@section
class Config:
  """A whole run, as `load.resolve` makes it."""

  seed: int = a_seed()
  init_from: str
  init: InitConfig
  model: ModelConfig
  attention: AttentionConfig
  parallel: ParallelConfig
  data: DataConfig
  task: TaskConfig
  tokenizer: TokenizerConfig
  objective: ObjectiveConfig
  optimizer: OptimizerConfig
  schedule: ScheduleConfig
  regularization: RegularizationConfig
  distill: DistillConfig
  peft: PeftConfig
  train: TrainConfig
  guard: GuardConfig
  eval: EvalConfig
  checkpoint: CheckpointConfig
  early_stopping: EarlyStoppingConfig
  logging: LoggingConfig
  inference: InferenceConfig
