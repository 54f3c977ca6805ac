"""Every field of a config, its default and meaning; other configs state differences.

A field is one line here and one in `gpt_jax/config/schema.py`, which has its type and
range. The values are those of a small GPT-2-like model on text that comes with Python;
to train one, start from `configs/tiny.py`.
"""

from ml_collections import ConfigDict


def get_config():
  config = ConfigDict()
  config.seed = 0  # of initialization, dropout and, by default, the data
  config.init_from = ''  # workdir of a run whose parameters to start from ...
  config.init = init = ConfigDict()  # ... and what becomes of them: README.md
  # rules; matching (what has the same name and shape), for_task (all but heads has to
  # be there), layers (some of a deeper model) or "my_package.my_file:make".
  init.transform = 'rules'
  # Dicts of one of skip, fresh, overlap, cast (a regex) or rename (regex, replacement).
  init.rules = ()
  init.options = dict()  # of the transform, for one that declares any
  init.tokenizer = 'keep'  # that of init_from, which this config has to name; or new
  init.model = (
    'own'  # the model section below; keep: that of init_from, with its dropout
  )

  config.model = model = ConfigDict()
  model.vocab_size = None  # None: ids of the tokenizer plus those of the objective
  model.pad_vocab_to_multiple_of = 1  # of its rows; they also fill the mesh
  model.num_layers = 4
  model.d_model = 128
  model.num_heads = 4
  model.num_kv_heads = None  # None: num_heads; fewer is grouped-query, 1 multi-query
  model.head_dim = None  # None: d_model / num_heads
  model.d_ff = None  # None: 4 d_model; gated: 8/3 d_model, rounded up to 8
  model.max_seq_len = None  # rows of the learned positions; None: data.seq_len
  model.layer_pattern = ('global',)  # repeated over layers; 'local:W': last W keys only
  # parallel: attention and MLP after one norm (PaLM, GPT-J); parallel_norms: each after
  # its own (GPT-NeoX); attention_only: no MLP
  model.block = 'serial'
  model.position = 'learned'  # sinusoidal, rope, alibi, none
  model.position_options = dict()  # of the encoding, for one that declares any
  model.rope_theta = 10_000.0  # base of the wavelengths
  model.rope_local_theta = None  # that of local layers, never scaled; None: rope_theta
  model.rope_fraction = 1.0  # of head_dim that rotates, its first dimensions
  model.rope_scaling = 'none'  # linear (interpolation), ntk, llama3
  model.rope_factor = 1.0  # how many times the context of the original training
  model.rope_original_len = 8192  # llama3: that context, in tokens
  model.norm = 'layernorm'  # rmsnorm
  model.norm_position = 'pre'  # post, sandwich (both)
  model.norm_bias = True  # in LayerNorm
  model.norm_zero_centered = False  # scales are stored less 1 (Gemma)
  model.norm_eps = 1e-5
  model.qk_norm = 'none'  # layernorm or rmsnorm of queries and keys, per head
  model.bias = True  # in all linear layers ...
  model.qkv_bias = None  # ... of queries, keys and values; None: as bias
  model.out_bias = None  # ... after attention
  model.mlp_bias = None  # ... of the MLP
  model.activation = 'gelu'  # gelu_exact relu silu relu2; gated: swiglu geglu reglu
  model.token_types = 0  # rows of an embedding of each token's part (BERT: 2); 0: none
  model.pooler = False  # a dense layer with tanh over the first token (BERT)
  # transform: a dense layer, the activation and a norm before it (BERT); none: no
  # output over the vocabulary, as encoders without one.
  model.head = 'linear'
  model.head_bias = False  # in the output layer
  model.tie_embeddings = True  # the output layer is the embedding, transposed
  model.scale_embeddings = False  # times sqrt(d_model)
  model.logit_softcap = 0.0  # c: logits -> c tanh(logits / c); 0: off
  model.dropout = 0.0  # default of the three below
  model.embed_dropout = None  # after the embedding
  model.attention_dropout = None  # of attention weights
  model.residual_dropout = None  # of each branch's output
  model.stochastic_depth = 0.0  # drop rate of the last layer; linearly from 0 before
  model.init = 'gpt2'  # N(0, init_std); fan_in: truncated, 1/sqrt(fan_in); mup
  model.init_std = 0.02
  model.mup_base_width = 256  # muP: d_model at which the rate was tuned; docs/mup.md
  # Rematerialization. full: recompute layers in the backward pass; dots: keep matmul
  # outputs; names: keep the costly ones (model/remat.py); auto: full on TPUs with
  # scan_layers, where it is also the fastest, else none.
  model.remat = 'none'
  model.scan_layers = True  # one compiled layer; False: unrolled, faster at few layers
  model.dtype = 'float32'  # of activations and matmuls: bfloat16, float16
  # Of parameters; optimizer states are float32. In bfloat16 a weight moves by 1/256 of
  # itself or not at all; float16 reaches from 6e-8 to 65,504, without loss scaling.
  model.param_dtype = 'float32'
  # Kernels of blocks in few bits: what `gpt-jax compress` writes (docs/compress.md).
  model.quantization = 'none'  # int8, int4 (by groups) or nf4 (QLoRA's 4 bits)
  model.quantization_group = 32  # weights that share a scale of int4
  model.quantized_embedding = False  # embedding and output layer in int8, a scale a row
  model.quantized_activations = False  # of int8: inputs in int8 too, a scale a token
  model.outlier_threshold = 0.0  # then, inputs from here on stay as they are; 0: none
  # Quantization-aware training: kernels are rounded so in the forward pass.
  model.fake_quantization = 'none'  # int8 or int4

  config.attention = attention = ConfigDict()
  # auto, dense, fused (cuDNN), splash (TPUs), blockwise (long rows, any backend) or
  # ring (rows sharded over devices, with parallel.preset='sequence').
  attention.kernel = 'auto'  # by devices, model and row length; the choice is logged
  attention.softcap = 0.0  # c: scores -> c tanh(scores / c); 0: off
  attention.scale = None  # of q.k; None: 1/sqrt(head_dim), under muP 1/head_dim
  attention.options = dict()  # of the kernel, for one that declares any

  config.parallel = parallel = ConfigDict()
  # Devices along each mesh axis; -1: those that are left. With another -1, data=-1 is
  # the number of TPU slices.
  parallel.mesh = dict(data=-1, fsdp=1, sequence=1, tensor=1, expert=1)
  parallel.preset = 'fsdp_tensor'  # replicated, fsdp, sequence: parallel/sharding.py
  parallel.overrides = dict()  # logical axis -> mesh axes, instead of the preset's

  config.data = data = ConfigDict()
  # python_docs python_source text jsonl tfds array_record prepared; with known entropy:
  # markov uniform copy dyck induction modular symbol_map; or "my_package.my_file:make".
  data.source = 'python_docs'
  data.path = ''  # text, jsonl, array_record: file, glob or folder; prepared: folder
  data.name = ''  # tfds: name or name:version; prepared: a member of its mixture
  # validation, test, validation+test, all; tfds also takes slices: train[:10%]
  data.split = 'train'
  # Which files are of a split: names (train.txt, valid/), content (90/5/5 % of all
  # documents, those of less than 100 each cut by position); auto: names where they say.
  data.split_by = 'auto'
  data.data_dir = ''  # of relative paths; '': GPT_JAX_DATA, for tfds TFDS_DATA_DIR
  data.text_field = 'text'  # field of a record that holds the text; or ...
  data.prompt_field = ''  # ... the part without loss, and ...
  data.response_field = ''  # ... the part with loss, end token included
  data.label_field = ''  # field of a record that holds its class; '': none
  data.label_names = ()  # classes that are text, in the order of their ids
  data.num_labels = None  # classes that are numbers from 0; tfds knows by itself
  data.encoding = 'utf-8'  # of the texts: any that Python knows, as gb18030 or cp1252
  data.mixture = dict()  # name -> {weight, any data field}; empty: one source, as above
  data.seq_len = 256  # tokens of a row
  data.packing = 'concat'  # concat: consecutive rows of all documents joined;
  # concat_begin: each with begin_token in front; windows: rows from any token on;
  # first_fit: whole documents side by side; pad: one a row
  data.mask_documents = False  # concat: no attention across documents
  data.begin_token = ''  # special token before each document, as [CLS]; '': none
  data.append_eos = True  # end each document with the tokenizer's end token
  data.shuffle = True
  data.seed = None  # None: seed
  data.cache_dir = ''  # of tokens and learned tokenizers, shared; '': in the workdir
  data.prefetch_batches = 2
  data.max_corrupt_records = 0  # records to skip, at most, before stopping
  data.warn_after_seconds = 60.0  # without a batch ...
  data.timeout_seconds = 1800.0  # ... and stop with exit code 3
  data.generator = generator = ConfigDict()  # of the synthetic languages
  generator.vocab_size = 16
  generator.order = 2  # markov: symbols that the next one depends on
  generator.concentration = 0.2  # markov: Dirichlet parameter of each row
  generator.language_seed = 0  # of the language; data.seed draws documents from it
  generator.num_documents = 4096
  generator.document_len = 1024
  generator.max_depth = 4  # dyck: open brackets
  generator.min_period = 8  # induction: length of the repeated segment, from ...
  generator.max_period = 32  # ... to
  data.options = dict()  # of the source, for one that declares any

  # A supervised task in place of the text that `data` has: docs/finetuning.md.
  config.task = task = ConfigDict()
  # '': none; classification prompt_classification pairs ner relations qa generative_qa
  # choice recommendation regression preference summarization translation dialogue
  # generation; `gpt-jax tasks` says more
  task.name = ''
  # {'train': FILE, 'validation': FILE, 'test': FILE}, lists where examples take several
  # files; {'all': FILE} is divided 70 : 15 : 15 and {'train+validation': FILE} 85 : 15,
  # by a hash; {'by_time': FILE} in time, for each user. Relative to data.data_dir.
  task.files = dict()
  task.reader = 'auto'  # by the ending of the file: tsv csv jsonl json conll squad ...
  task.columns = dict()  # field of the task -> column or key of the file
  task.label_names = ()  # (): those of the training split, in alphabetic order
  task.max_examples = None  # of the training split; None: all
  task.max_eval_examples = None  # of each other split; None: all
  # Examples of more than data.seq_len tokens: lose their end (truncate) or beginning
  # (truncate_left), are read in windows, or are left out (drop); counted and said.
  task.too_long = 'truncate'
  task.window_stride = 64  # window: tokens from one window to the next
  task.buckets = ()  # lengths to which rows are padded; (): some up to data.seq_len
  # Other words in training examples, anew in each epoch: shares of the words of a text;
  # of classification, pairs and ner (arXiv:1901.11196; docs/templates.md).
  task.augmentation = augmentation = ConfigDict()
  augmentation.synonyms = 0.0  # become one of their synonyms
  augmentation.insert = 0.0  # get a synonym somewhere in the text
  augmentation.swap = 0.0  # change places
  augmentation.delete = 0.0  # are left out
  augmentation.table = ''  # file of synonyms: lines word<TAB>synonym,synonym
  augmentation.share = 1.0  # of the examples of an epoch; the others stay as they are
  # Other examples in the same training, or other tasks for the same output: name ->
  # {fields of the task, share}. A share is of the rows; the rest goes by size^(1/T).
  task.mixture = dict()
  task.mixture_temperature = 1.0  # T; above 1, small members come more often
  task.options = dict()  # of the task, for one that declares any

  config.tokenizer = tokenizer = ConfigDict()
  tokenizer.name = 'byte'  # char bpe gpt2 sentencepiece json
  tokenizer.path = ''  # gpt2: folder of encoder.json and vocab.bpe; else the file
  tokenizer.vocab_size = 1024  # bpe: tokens to learn from the training split
  tokenizer.options = dict()  # of the tokenizer, for one that declares any

  config.objective = objective = ConfigDict()
  # prefix_lm masked_lm span_corruption; layer_skip (exits); with a task head
  # class_labels token_labels span_labels regression reward
  objective.name = 'causal_lm'
  objective.head = 'linear'  # mlp mlp_relu; of objectives that predict labels
  objective.label_smoothing = 0.0
  objective.z_loss = 0.0  # times mean(logsumexp(logits)^2); PaLM: 1e-4
  objective.loss = 'auto'  # plain, fused (never all logits at once); auto: by size
  objective.mask_rate = 0.15  # masked_lm: fraction of tokens to predict, and ...
  objective.mask_split = (0.8, 0.1, 0.1)  # ... of these: [MASK], random, unchanged
  objective.span_density = 0.15  # span_corruption: fraction of tokens removed
  objective.span_mean = 3.0  # span_corruption: mean span length
  objective.prefix_min = 0.25  # prefix_lm: fraction of the row, uniform from ...
  objective.prefix_max = 0.75  # ... to
  objective.options = dict()  # of the objective, for one that declares any

  config.optimizer = optimizer = ConfigDict()
  optimizer.name = 'adamw'  # adafactor lion muon sgd
  optimizer.learning_rate = 1e-3  # at the peak of the schedule
  optimizer.b1 = 0.9
  optimizer.b2 = 0.95
  optimizer.eps = 1e-8
  optimizer.momentum = 0.95  # sgd, muon
  optimizer.nesterov = True  # sgd, muon
  optimizer.weight_decay = 0.1
  optimizer.weight_decay_mode = 'coupled'  # to the learning rate; or independent
  optimizer.decay_mask = 'matrices'  # what decays: all, none, or a regex on names
  optimizer.clip_norm = 1.0  # of the global gradient; 0: off
  optimizer.muon_learning_rate = 0.02  # muon: of hidden matrices; AdamW has the rest
  optimizer.ema_decay = 0.0  # of averaged parameters, which eval uses; 0: off
  # Dicts of match (a regex) and any of learning_rate_scale, weight_decay, freeze; a
  # parameter belongs to the first group that matches its name.
  optimizer.groups = ()
  # d: the rate of layer l of L times d^(L - l), of embeddings d^(L + 1); 1: off
  optimizer.layer_decay = 1.0
  # Freezes all but the last so many layers, the last norm and the heads; 0: but the
  # heads; None: nothing.
  optimizer.train_last_layers = None
  # After each update: keep_zeros (of kernels and embeddings: a pruned model trains on)
  # or "my_package.my_file:make"; '': nothing.
  optimizer.post_update = ''
  optimizer.post_update_options = dict()  # of it, for one that declares any
  optimizer.options = dict()  # of the optimizer, for one that declares any

  config.schedule = schedule = ConfigDict()
  schedule.name = 'cosine'  # linear inverse_sqrt wsd constant
  schedule.warmup_steps = None  # n: rates of 1/n, 2/n, ... 1 of the peak; or ...
  schedule.warmup_tokens = None  # ... in tokens; or ...
  schedule.warmup_fraction = None  # ... of the run; all None: no warm-up
  schedule.decay_steps = None  # end of the decay, from step 0 on; or ...
  schedule.decay_tokens = None  # ... in tokens; both None: end of the run
  schedule.final_fraction = 0.1  # of the peak, after the decay
  schedule.cooldown_fraction = 0.2  # wsd: last fraction of the run, which decays
  schedule.options = dict()  # of the schedule, for one that declares any

  # Of training steps, and of nothing else: docs/regularization.md.
  config.regularization = regularization = ConfigDict()
  regularization.mixup = 0.0  # alpha of the Beta distribution (class_labels); 0: off
  regularization.cutoff = 0.0  # rate at which the embedding of a token becomes 0
  # Perturbed embeddings. fgm: one step; pgd: several; freelb: all of them train.
  regularization.adversarial = 'none'
  regularization.adversarial_epsilon = 1.0  # L2 norm for each document, at most
  regularization.adversarial_steps = 3  # pgd, freelb
  regularization.adversarial_step_size = 0.3  # pgd, freelb: L2 norm of each step
  regularization.adversarial_weight = 1.0  # fgm, pgd: of the loss under perturbation
  regularization.r_drop = 0.0  # times the divergence of two dropout passes; 0: off
  regularization.l2_sp = 0.0  # times |w - w0|^2 / 2, w0 those of init_from; 0: off

  # A smaller model learns from another run: docs/distillation.md.
  config.distill = distill = ConfigDict()
  distill.teacher = ''  # workdir of that run, of the same tokenizer; '': none
  distill.weight = 0.5  # of the teacher's distribution; the targets have the rest
  distill.temperature = 2.0  # of both distributions
  distill.hidden_weight = 0.0  # times the distance of the hidden states
  distill.hidden_loss = 'cosine'  # 1 - cosine; mse
  # STUDENT:TEACHER, layers counted from 1, such as 1:2,2:4; (): those at equal depth.
  distill.layers = ()

  # Few parameters train, those of init_from stay: docs/peft.md.
  config.peft = peft = ConfigDict()
  # '': all train; lora adalora vera adapters ia3 bitfit last_layers prefix prompt
  # p_tuning_v2
  peft.name = ''
  peft.options = dict()  # of the method; their defaults are those of its paper
  # How the matrices of the base lie in memory: int8, nf4 (QLoRA), or as_is.
  peft.base_storage = 'as_is'
  # A run whose adapter trains on, over its base: name and options come from there.
  peft.init_from = ''

  config.train = train = ConfigDict()
  train.steps = 1000  # length of the run, in steps or ...
  train.tokens = None  # ... in tokens or ...
  train.epochs = None  # ... in passes over the training data
  train.batch_size = 32  # sequences of a step, over all devices
  train.grad_accum = 1  # microbatches of a step
  train.ramp_start_batch_size = None  # GPT-3's ramp: from here to batch_size ...
  train.ramp_tokens = None  # ... linearly over these tokens

  # A step whose loss, gradient or update is not finite changes nothing: `guard.py`.
  config.guard = guard = ConfigDict()
  guard.max_bad_steps = 5  # in a row; then the run ends with exit code 6
  guard.spikes = 'off'  # skip: no update; rollback: to a checkpoint, other data
  guard.spike_window = 128  # spike: a loss above the median of the last so many ...
  guard.spike_threshold = 6.0  # ... by so many robust deviations
  guard.rollback_steps = 100  # to the newest checkpoint at least so long before
  guard.rollback_extra_steps = 100  # batches to leave out beyond those done since then
  guard.max_rollbacks = 3  # then the run ends with exit code 6

  config.eval = evaluation = ConfigDict()
  evaluation.every_steps = 250  # 0: at the end only
  # In place of every_steps: a share of an epoch, or more.
  evaluation.every_epochs = None
  evaluation.at_start = False  # before the first step, too
  evaluation.sets = dict(validation=dict(split='validation'))  # name -> data fields
  # Beside those of the objective: top5_accuracy macro_f1 calibration_error
  # loss_by_position
  evaluation.metrics = ()
  evaluation.batch_size = None  # None: train.batch_size
  evaluation.max_batches = 100  # the first of each set, said if not all; 0: all
  # attacked_loss and attacked_accuracy, after a step of this L2 norm against each
  # document in its embeddings (FGM); 0: off
  evaluation.attack_epsilon = 0.0

  config.checkpoint = checkpoint = ConfigDict()
  checkpoint.every_steps = 250  # 0: at the end only
  checkpoint.every_epochs = None  # in place of every_steps
  checkpoint.keep_last = 2
  checkpoint.keep_best = 1  # 0: off
  checkpoint.best_metric = 'validation/loss'  # SET/METRIC of eval.sets
  checkpoint.best_mode = 'min'  # lower is better; or max
  checkpoint.asynchronous = True
  # Waits before a failed save is tried again, while training continues.
  checkpoint.retry_seconds = (1.0, 5.0, 30.0, 120.0)

  # Ends a run whose metric has not improved by more than min_delta for so many
  # evaluations; the best step is kept if checkpoints come with the evaluations.
  config.early_stopping = stopping = ConfigDict()
  stopping.patience = 0  # evaluations; 0: off
  stopping.metric = ''  # SET/METRIC; '': checkpoint.best_metric and its mode
  stopping.mode = 'min'
  stopping.min_delta = 0.0

  config.logging = logging = ConfigDict()
  logging.every_steps = 10
  logging.tensorboard = True
  logging.wandb_project = ''  # '': off; WANDB_MODE=offline needs no account
  logging.sample_every_steps = 0  # 0: at the end only
  # '': from nothing; (): no samples. A text on the command line is one prompt, commas
  # and spaces included; several are "('Once, ', 'The ')".
  logging.sample_prompts = ('',)
  logging.sample_tokens = 128
  logging.layer_norms_every_steps = 0  # of parameters, gradients, updates; 0: off
  # Of intermediates, on the batch of the step: max_attention_logit residual_rms
  # prefix_matching log_z, or "my_package.my_file:NAME"
  logging.statistics = ()
  logging.statistics_every_steps = 0  # 0: at the end only
  logging.profile_start_step = 10
  logging.profile_steps = 0  # 0: off; traces go to WORKDIR/profile
  logging.figures = True  # plots, in WORKDIR/figures

  # Of `generate`, of gpt_jax.load and of the samples of a training, unless given there.
  config.inference = inference = ConfigDict()
  inference.depth = None  # first layers to use, then the last norm; None: all
  # Tokens leave the layers when the model is sure of the next (CALM). margin: of the
  # two likeliest tokens' probabilities; similarity: of the stream before and after.
  inference.exit_measure = 'none'
  inference.exit_threshold = 0.9  # of the measure, to leave; 1: never
  inference.exit_decay = 0.0  # by which it falls over a text; 0: it stays
  inference.exit_after = 1  # layers that every token goes through
  # Speculative decoding: ngram (copies of the text), exit:N (the first N layers) or the
  # workdir of a smaller run with the same tokenizer; '': off.
  inference.draft = ''
  inference.draft_tokens = 4  # drafted for each pass of the model
  inference.max_new_tokens = 256  # samples of a training: logging.sample_tokens
  inference.temperature = 0.8  # 0: greedy
  inference.top_k = 0  # 0: off
  inference.top_p = 1.0  # 1: off
  inference.min_p = 0.0  # least share of the likeliest token's probability; 0: off
  inference.typical_p = 1.0  # 1: off
  inference.repetition_penalty = 1.0  # above 1: less repetition of prompt and text
  inference.presence_penalty = 0.0  # above 0: what was written becomes less likely,
  inference.frequency_penalty = 0.0  # ... as often as it was
  # Texts that outgrow learned positions: 'error', or 'slide': on from their last part.
  inference.beyond_positions = 'error'
  # Of many requests at once: docs/decoding.md, "Many requests".
  # Of keys and values: float32, bfloat16, float16, int8; auto: the fastest.
  inference.cache_dtype = 'auto'
  inference.slots = None  # texts written at a time; None: 16 on CPUs, else 64, that fit
  inference.slot_tokens = None  # of a prompt and its text; None: as the requests need
  inference.prefill_chunk = 64  # tokens of a prompt read at a time; a power of two
  inference.prefix_cache_tokens = None  # of prompts, kept for others that begin alike
  inference.queue_limit = 1024  # requests that wait; more are refused

  return config.lock()
