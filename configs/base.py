"""Every knob once, with its meaning. Other configs start here and state differences.

Values are those of a small GPT-2-like model on the embedded text. Not meant to be run
as it is: start from `configs/tiny.py`.
"""

from ml_collections import ConfigDict


def get_config():
  config = ConfigDict()
  config.seed = 0
  config.init_from = ''  # a workdir whose parameters start this run; '' = fresh ones

  config.model = model = ConfigDict()
  model.vocab_size = None  # None: what tokenizer and objective need
  model.pad_vocab_to_multiple_of = (
    1  # the table is padded up to a multiple (and to the mesh)
  )
  model.num_layers = 4
  model.d_model = 128
  model.num_heads = 4
  model.num_kv_heads = None  # None: num_heads; fewer is GQA, 1 is MQA
  model.head_dim = None  # None: d_model / num_heads
  model.d_ff = None  # None: 4 d_model; gated: 8/3 d_model rounded up to 8
  model.max_seq_len = None  # length of the learned position table; None: data.seq_len
  model.layer_pattern = ('global',)  # cycled over layers; 'local:W' sees W keys back
  model.block = 'serial'  # 'parallel': attention and MLP read the same norm (PaLM)
  model.position = 'learned'  # learned, sinusoidal, rope, alibi, none
  model.rope_theta = 10_000.0
  model.rope_scaling = 'none'  # linear (interpolation), ntk, llama3
  model.rope_factor = 1.0  # how many times longer than trained
  model.rope_original_len = 8192  # llama3 scaling: length of the first training
  model.norm = 'layernorm'  # or rmsnorm
  model.norm_position = 'pre'  # pre, post, sandwich (both)
  model.norm_bias = True  # LayerNorm's additive term
  model.norm_eps = 1e-5
  model.qk_norm = 'none'  # layernorm or rmsnorm on queries and keys, per head
  model.bias = True  # additive terms of all projections
  model.activation = 'gelu'  # gelu_exact relu silu relu2, gated: swiglu geglu reglu
  model.tie_embeddings = True  # output head = input table
  model.scale_embeddings = False  # multiply embeddings by sqrt(d_model)
  model.logit_softcap = 0.0  # c: logits -> c tanh(logits / c); 0 = off
  model.dropout = 0.0  # the three below follow it when None
  model.embed_dropout = None
  model.attention_dropout = None
  model.residual_dropout = None
  model.stochastic_depth = (
    0.0  # drop rate of the last layer; earlier ones linearly less
  )
  model.init = 'gpt2'  # gpt2: N(0, init_std); fan_in: truncated 1/sqrt(fan_in); mup
  model.init_std = 0.02
  model.mup_base_width = 256  # muP: the width at which the learning rate was tuned
  model.remat = 'none'  # full, dots (keep matmul results), names (keep named ones) or
  # auto: full on TPUs with scan_layers, where it is also the fastest; else none
  model.scan_layers = True  # False: unrolled, to debug or for speed at few layers
  model.dtype = 'float32'  # of activations and matmul inputs
  model.param_dtype = 'float32'  # of stored parameters

  config.attention = attention = ConfigDict()
  attention.kernel = 'auto'  # dense, fused (cuDNN on GPUs), splash (TPUs), blockwise
  # (long rows, any backend; no dropout), ring (rows cut over devices:
  # parallel.preset='sequence'); auto picks by devices, model and rows, and logs it
  attention.softcap = 0.0  # c: scores -> c tanh(scores / c); 0 = off
  attention.scale = None  # None: 1/sqrt(head_dim)

  config.parallel = parallel = ConfigDict()
  # -1: the devices left; for data beside another -1: the number of TPU slices
  parallel.mesh = dict(data=-1, fsdp=1, sequence=1, tensor=1, expert=1)
  parallel.preset = 'fsdp_tensor'  # replicated, fsdp, fsdp_tensor, sequence
  parallel.overrides = dict()  # logical axis -> mesh axes, over the preset

  config.data = data = ConfigDict()
  data.source = 'python_docs'  # python_source text jsonl tfds array_record,
  # markov uniform copy dyck induction (known entropy), or "my_pkg.my_file:make"
  data.path = ''  # text, jsonl, array_record: file, glob or folder
  data.name = ''  # tfds: name or name:version
  data.split = 'train'  # train, validation, test, all; tfds: slices: train[:10%]
  data.data_dir = (
    ''  # where path and prepared sets lie; '': GPT_JAX_DATA, TFDS_DATA_DIR
  )
  data.text_field = 'text'  # the field of a record that holds the text
  data.mixture = dict()  # name -> {weight, and any data field}; empty: above
  data.seq_len = 256  # tokens the model sees at once
  data.packing = 'concat'  # concat (split the stream), windows (begin anywhere),
  # first_fit (whole documents side by side), pad (a document a row)
  data.mask_documents = False  # concat only: no attention across documents
  data.append_eos = True  # end each document with the tokenizer's end token
  data.shuffle = True
  data.seed = None  # None: seed
  data.cache_dir = ''  # tokens of a source are kept here; '': the workdir
  data.prefetch_batches = 2
  data.max_corrupt_records = (
    0  # how many unreadable records may be left out; 0: stop at one
  )
  data.warn_after_seconds = 60.0  # say so when no batch came for this long ...
  data.timeout_seconds = 1800.0  # ... and stop with exit code 3 after this long
  data.generator = generator = ConfigDict()  # synthetic languages
  generator.vocab_size = 16
  generator.order = 2  # markov: how many symbols back
  generator.concentration = 0.2  # markov: Dirichlet parameter of each row
  generator.language_seed = 0  # which language; documents come from data.seed
  generator.num_documents = 4096
  generator.document_len = 1024
  generator.max_depth = 4  # dyck
  generator.min_period = 8  # induction: the repeated segment's length lies between
  generator.max_period = 32

  config.tokenizer = tokenizer = ConfigDict()
  tokenizer.name = 'byte'  # byte char bpe gpt2 sentencepiece json
  tokenizer.path = ''  # gpt2: folder of encoder.json and vocab.bpe; others: the file
  tokenizer.vocab_size = 1024  # bpe: how many tokens to learn from the training split

  config.objective = objective = ConfigDict()
  objective.name = 'causal_lm'  # prefix_lm masked_lm span_corruption
  objective.label_smoothing = 0.0
  objective.z_loss = 0.0  # times mean(logsumexp(logits)^2); PaLM uses 1e-4
  objective.loss = 'auto'  # plain, fused (no array of all logits); auto goes by size
  objective.mask_rate = 0.15  # masked_lm: share of tokens to predict
  objective.mask_split = (0.8, 0.1, 0.1)  # of them: [MASK], random, kept
  objective.span_density = 0.15  # span_corruption: share of tokens taken out
  objective.span_mean = 3.0  # mean length of a span
  objective.prefix_min = 0.25  # prefix_lm: prefix is this share of the sequence ...
  objective.prefix_max = 0.75  # ... up to this one, uniform

  config.optimizer = optimizer = ConfigDict()
  optimizer.name = 'adamw'  # adafactor lion muon sgd
  optimizer.learning_rate = 1e-3
  optimizer.b1 = 0.9
  optimizer.b2 = 0.95
  optimizer.eps = 1e-8
  optimizer.momentum = 0.95  # sgd, muon
  optimizer.nesterov = True  # sgd, muon
  optimizer.weight_decay = 0.1
  optimizer.weight_decay_mode = 'coupled'  # independent: not times the learning rate
  optimizer.decay_mask = (
    'matrices'  # which parameters decay: matrices, all, none, or a regex
  )
  optimizer.clip_norm = 1.0  # of the global gradient; 0 = off
  optimizer.muon_learning_rate = 0.02  # hidden matrices; the rest: AdamW as above
  optimizer.ema_decay = 0.0  # decay of the averaged parameters, used by eval; 0 = off
  optimizer.groups = ()  # dicts: match (regex), learning_rate_scale,
  # weight_decay, freeze (True: kept as it starts); the first match counts

  config.schedule = schedule = ConfigDict()
  schedule.name = 'cosine'  # linear inverse_sqrt wsd constant
  schedule.warmup_steps = None  # or
  schedule.warmup_tokens = None
  schedule.decay_steps = None  # from step 0 to the floor; None: the whole run; or
  schedule.decay_tokens = None
  schedule.final_fraction = 0.1  # floor, as a share of the peak
  schedule.cooldown_fraction = 0.2  # wsd: last share of the run that decays

  config.train = train = ConfigDict()
  train.steps = 1000  # or
  train.tokens = None
  train.batch_size = 32  # sequences in a step, over all hosts
  train.grad_accum = 1  # microbatches a step
  train.ramp_start_batch_size = None  # GPT-3's ramp: from here up to batch_size ...
  train.ramp_tokens = None  # ... linearly over this many tokens

  config.guard = guard = (
    ConfigDict()
  )  # steps that would do harm; gpt_jax/program/guard.py
  guard.max_bad_steps = (
    5  # so many in a row without an update end the run (exit code 6);
  )
  # an update is not made when loss or gradient is no finite number, or at a spike
  guard.spikes = 'off'  # skip (the update), rollback (to a checkpoint, past the data)
  guard.spike_window = 128  # a spike is judged by the losses of so many accepted steps:
  guard.spike_threshold = 6.0  # ... above their median by this many robust deviations
  guard.rollback_steps = 100  # back to the newest checkpoint at least so long before
  guard.rollback_extra_steps = 100  # data left out: all since then, and so many batches
  guard.max_rollbacks = 3  # then the run ends (exit code 6)

  config.eval = evaluation = ConfigDict()
  evaluation.every_steps = 250  # 0: at the end only
  evaluation.sets = dict(validation=dict(split='validation'))  # name -> data fields
  evaluation.batch_size = None  # None: train.batch_size
  evaluation.max_batches = 0  # 0: the whole split

  config.checkpoint = checkpoint = ConfigDict()
  checkpoint.every_steps = 250  # 0: at the end only
  checkpoint.keep_last = 2
  checkpoint.keep_best = 1  # 0: off
  checkpoint.best_metric = 'validation/loss'  # lower is better
  checkpoint.asynchronous = True
  # A failed save is tried again after each of these; training goes on meanwhile.
  checkpoint.retry_seconds = (1.0, 5.0, 30.0, 120.0)

  config.logging = logging = ConfigDict()
  logging.every_steps = 10
  logging.tensorboard = True
  logging.wandb_project = ''  # '': off; WANDB_MODE=offline needs no account
  logging.sample_every_steps = 0  # 0: at the end only
  logging.sample_prompts = ('',)  # '': begin by itself; () = no samples
  logging.sample_tokens = 128
  logging.layer_norms_every_steps = 0  # parameter, gradient, update norms; 0 = off
  logging.profile_start_step = 10
  logging.profile_steps = 0  # 0 = off; the trace lands in WORKDIR/profile
  logging.figures = True

  config.inference = inference = ConfigDict()
  inference.max_new_tokens = 256
  inference.temperature = 0.8  # 0: greedy
  inference.top_k = 0  # 0: off
  inference.top_p = 1.0  # 1: off

  return config.lock()
