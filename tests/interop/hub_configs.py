"""config.json of published models, with the fields that their authors wrote."""

GPT2 = dict(
  activation_function='gelu_new', architectures=['GPT2LMHeadModel'], attn_pdrop=0.1,
  bos_token_id=50256, embd_pdrop=0.1, eos_token_id=50256, initializer_range=0.02,
  layer_norm_epsilon=1e-05, model_type='gpt2', n_ctx=1024, n_embd=768, n_head=12,
  n_layer=12, n_positions=1024, resid_pdrop=0.1, summary_activation=None,
  summary_first_dropout=0.1, summary_proj_to_labels=True, summary_type='cls_index',
  summary_use_proj=True, vocab_size=50257,
  task_specific_params={'text-generation': {'do_sample': True, 'max_length': 50}},
)  # fmt: skip
PYTHIA = dict(
  architectures=['GPTNeoXForCausalLM'], bos_token_id=0, eos_token_id=0,
  hidden_act='gelu', hidden_size=768, initializer_range=0.02, intermediate_size=3072,
  layer_norm_eps=1e-05, max_position_embeddings=2048, model_type='gpt_neox',
  num_attention_heads=12, num_hidden_layers=12, rotary_emb_base=10000, rotary_pct=0.25,
  tie_word_embeddings=False, torch_dtype='float16', transformers_version='4.24.0',
  use_cache=True, use_parallel_residual=True, vocab_size=50304,
)  # fmt: skip
LLAMA3 = dict(
  architectures=['LlamaForCausalLM'], attention_bias=False, attention_dropout=0.0,
  bos_token_id=128000, eos_token_id=128001, head_dim=64, hidden_act='silu',
  hidden_size=2048, initializer_range=0.02, intermediate_size=8192,
  max_position_embeddings=131072, mlp_bias=False, model_type='llama',
  num_attention_heads=32, num_hidden_layers=16, num_key_value_heads=8,
  pretraining_tp=1, rms_norm_eps=1e-05, rope_theta=500000.0, tie_word_embeddings=True,
  rope_scaling=dict(
    factor=32.0, high_freq_factor=4.0, low_freq_factor=1.0, rope_type='llama3',
    original_max_position_embeddings=8192),
  torch_dtype='bfloat16', transformers_version='4.45.0.dev0', use_cache=True,
  vocab_size=128256,
)  # fmt: skip
MISTRAL = dict(
  architectures=['MistralForCausalLM'], bos_token_id=1, eos_token_id=2,
  hidden_act='silu', hidden_size=4096, initializer_range=0.02,
  intermediate_size=14336, max_position_embeddings=32768, model_type='mistral',
  num_attention_heads=32, num_hidden_layers=32, num_key_value_heads=8,
  rms_norm_eps=1e-05, rope_theta=10000.0, sliding_window=4096,
  tie_word_embeddings=False, torch_dtype='bfloat16', use_cache=True, vocab_size=32000,
)  # fmt: skip
QWEN2 = dict(
  architectures=['Qwen2ForCausalLM'], attention_dropout=0.0, bos_token_id=151643,
  eos_token_id=151643, hidden_act='silu', hidden_size=896, initializer_range=0.02,
  intermediate_size=4864, max_position_embeddings=32768, max_window_layers=24,
  model_type='qwen2', num_attention_heads=14, num_hidden_layers=24,
  num_key_value_heads=2, rms_norm_eps=1e-06, rope_theta=1000000.0,
  sliding_window=32768, tie_word_embeddings=True, torch_dtype='bfloat16',
  use_cache=True, use_mrope=False, use_sliding_window=False, vocab_size=151936,
)  # fmt: skip
QWEN3 = dict(
  architectures=['Qwen3ForCausalLM'], attention_bias=False, attention_dropout=0.0,
  bos_token_id=151643, eos_token_id=151645, head_dim=128, hidden_act='silu',
  hidden_size=1024, initializer_range=0.02, intermediate_size=3072,
  max_position_embeddings=40960, max_window_layers=28, model_type='qwen3',
  num_attention_heads=16, num_hidden_layers=28, num_key_value_heads=8,
  rms_norm_eps=1e-06, rope_scaling=None, rope_theta=1000000, sliding_window=None,
  tie_word_embeddings=True, torch_dtype='bfloat16', use_cache=True,
  use_sliding_window=False, vocab_size=151936,
)  # fmt: skip
GEMMA2 = dict(
  architectures=['Gemma2ForCausalLM'], attention_bias=False, attention_dropout=0.0,
  attn_logit_softcapping=50.0, bos_token_id=2, cache_implementation='hybrid',
  eos_token_id=1, final_logit_softcapping=30.0, head_dim=256,
  hidden_act='gelu_pytorch_tanh', hidden_activation='gelu_pytorch_tanh',
  hidden_size=2304, initializer_range=0.02, intermediate_size=9216,
  max_position_embeddings=8192, model_type='gemma2', num_attention_heads=8,
  num_hidden_layers=26, num_key_value_heads=4, pad_token_id=0,
  query_pre_attn_scalar=256, rms_norm_eps=1e-06, rope_theta=10000.0,
  sliding_window=4096, torch_dtype='float32', use_cache=True, vocab_size=256000,
)  # fmt: skip
GEMMA3 = dict(
  _sliding_window_pattern=6, architectures=['Gemma3ForCausalLM'],
  attention_bias=False, attention_dropout=0.0, attn_logit_softcapping=None,
  bos_token_id=2, eos_token_id=1, final_logit_softcapping=None, head_dim=256,
  hidden_activation='gelu_pytorch_tanh', hidden_size=640, initializer_range=0.02,
  intermediate_size=2048, max_position_embeddings=32768, model_type='gemma3_text',
  num_attention_heads=4, num_hidden_layers=18, num_key_value_heads=1, pad_token_id=0,
  query_pre_attn_scalar=256, rms_norm_eps=1e-06, rope_local_base_freq=10000.0,
  rope_scaling=None, rope_theta=1000000.0, sliding_window=512, torch_dtype='bfloat16',
  use_bidirectional_attention=False, use_cache=True, vocab_size=262144,
  layer_types=[*['sliding_attention'] * 5, 'full_attention'] * 3,
)  # fmt: skip

SHIPPED = {
  'gpt2:124m': GPT2,
  'pythia:160m': PYTHIA,
  'llama3:3.2-1b': LLAMA3,
  'mistral:7b-v0.1': MISTRAL,
  'qwen:2.5-0.5b': QWEN2,
  'qwen:3-0.6b': QWEN3,
  'gemma:2-2b': GEMMA2,
  'gemma:3-270m': GEMMA3,
}
"""Our config -> that of the same model."""
