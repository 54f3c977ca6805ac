"""House rules that a machine can read: sizes, names, docstrings, tests, safe loads."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = sorted((ROOT / 'gpt_jax').rglob('*.py'))
SCRIPTS = [
  path
  for folder in ('configs', 'experiments', 'launch', 'tests')
  for path in sorted((ROOT / folder).rglob('*.py'))
]

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 80
MAX_TEST_NAME = 60
THE_LIST_OF_KNOBS = 'configs/base.py'

FIRST_EDITION = (
  r'config_door|microbatch_loss|hlo_(text|records)|\b[dD]etours?\b|\btally\b'
  r'|\bassembly\b|gone on with|set aside|\bthe door\b|parallel\.rules|\brooms?\b'
  r'|skip_corrupt|slow_seconds|stall_seconds|vocab_multiple\b'
)
"""Words that had a meaning here only; decision 0009 says what replaced them."""
OLD_NAMES_ON_DISK = (
  'gpt_jax/config/migrate.py', 'gpt_jax/train/resume.py', 'gpt_jax/train/save.py',
)  # fmt: skip
"""Modules that read or write records under names that first-edition runs have."""

UNSAFE_MODULES = {
  'pickle',
  'cPickle',
  'marshal',
  'shelve',
  'dill',
  'cloudpickle',
  'joblib',
}
UNSAFE_CALLS = {'eval', 'exec'}
UNSAFE_METHODS = {('yaml', 'load'), ('yaml', 'unsafe_load'), ('yaml', 'full_load')}

TESTED_TOGETHER = {
  'config/test_schema': ['config/methods'],
  'program/test_build': ['program/resolved'],
  'train/test_average': ['program/new_run'],
  'train/test_compress': ['commands/compress_command', 'program/unpacked_reader',
    'program/converted_reader'],
  'compress/test_methods': [
    'compress/awq', 'compress/bfloat16', 'compress/calibration', 'compress/folding',
    'compress/gptq', 'compress/int4', 'compress/int8', 'compress/method',
    'compress/storing', 'compress/w8a8',
  ],
  'quantization/test_linear': ['quantization/matmul_cpu', 'quantization/rows'],
  'quantization/test_packed': ['quantization/int4'],
  'compress/test_input_sums': ['model/linear_inputs', 'compress/input_sums'],
  'peft/test_linears': ['model/linear_maps', 'quantization/linear_map'],
  'train/test_combine': ['program/adapted_run', 'program/over_base'],
  'peft_formats/test_parity': [
    'peft_formats/format', 'peft_formats/ia3_format', 'peft_formats/lora_format',
    'peft_formats/virtual_format',
  ],
  'peft/test_methods': ['peft/adapter'],
  'peft/test_prefix': ['peft/p_tuning_v2'],
  'test_api': ['program/trained'],
  'test_cli': ['__init__', '__main__'],
  'train/test_adapted_runs': [
    'program/adapted_checkpoints', 'program/base', 'program/init_adapter',
  ],
  'benchmarks/test_corpus_speed': ['benchmarks/corpus_peers'],
  'benchmarks/test_serving_load': ['benchmarks/load_figure'],
  'benchmarks/test_report': ['benchmarks/figure'],
  'benchmarks/test_session': ['benchmarks/peaks'],
  'benchmarks/test_torch_gpt2': ['benchmarks/gpt2_shape'],
  'commands/test_plan_command': ['planning/tables'],
  'core/test_matmul': ['core/matmul_cpu'],
  'corpus/test_prepare': [
    'corpus/decisions', 'corpus/encode', 'corpus/finish', 'corpus/plan',
    'corpus/progress_bar', 'corpus/quality', 'corpus/report', 'corpus/shard_files',
    'corpus/shard_report', 'corpus/shard_work', 'corpus/step', 'corpus/workers',
  ],
  'corpus/test_readers': ['corpus/json_text'],
  'data/test_documents': ['data/fields'],
  'data/test_prepared': [
    'data/file_bytes', 'data/manifest', 'data/range_reader', 'data/sharded_store',
  ],
  'data/test_word_table': ['data/key_table', 'data/word_splits'],
  'data/test_faults': ['data/corpus'],
  'data/test_pipeline': ['data/loader'],
  'data/test_sources': [
    'data/array_records', 'data/files', 'data/json_lines', 'data/python_library',
    'data/source', 'data/splits', 'data/text_files', 'data/text_source',
    'data/tfds_sets',
  ],
  'data/test_synthetic': ['data/dyck', 'data/markov', 'data/repetition'],
  'data/test_token_cache': ['core/progress', 'data/checksums', 'data/token_build'],
  'data/test_tokenizers': ['data/bpe', 'data/sentencepieces'],
  'hlo/test_costs': ['hlo/types'],
  'keys/test_store': ['keys/statements'],
  'inference/test_grammar': [
    'inference/choice_guide', 'inference/grammar_library', 'inference/json_ending',
    'inference/json_guide', 'inference/regex_guide',
  ],
  'inference/test_text': ['inference/text_scores'],
  'inference/test_speculative_engine': [
    'inference/model_draft', 'inference/speculation',
  ],
  'evaluation/test_relation_scores': ['evaluation/scores'],
  'harness/test_bias': ['harness/bias_words'],
  'safety/test_audit_check': ['commands/audit_command'],
  'harness/test_lm_eval_run': ['harness/lm_eval_data', 'harness/lm_eval_model'],
  'launchers/test_gke': ['launchers/cloud_flags', 'launchers/jobset_progress'],
  'launchers/test_tpu_vm': [
    'launchers/queued_resource', 'launchers/tpu_script', 'launchers/tpu_supervision',
    'launchers/tpu_workers',
  ],
  'interop/test_export_model': [
    'commands/export_command', 'interop/safetensors_writer',
  ],
  'interop/test_mapping': ['interop/family'],
  'interop/test_parity': [
    'interop/dialect', 'interop/gemma', 'interop/gpt2', 'interop/gpt_neox',
    'interop/llama', 'interop/mistral', 'interop/qwen',
  ],
  'interop/test_reader': [
    'interop/families', 'interop/numerics', 'interop/open_model',
  ],
  'interop/test_gguf_model': ['interop/gguf_configs'],
  'interop/test_import_model': ['commands/import_command'],
  'interop/test_tokenizer_files': ['interop/tokenizer_export'],
  'program/test_literals': ['program/jaxpr_calls'],
  'program/test_restore': ['program/reference_errors'],
  'safety/test_policy': ['safety/rules'],
  'serving/test_classify': ['serving/embeddings'],
  'serving/test_completions': ['serving/generation', 'serving/texts'],
  'serving/test_chat': ['serving/chat_format'],
  'serving/test_models': ['serving/model'],
  'serving/test_pipeline': [
    'serving/app', 'serving/call', 'serving/errors', 'serving/hooks',
    'serving/settings',
  ],
  'serving/test_schema': ['serving/fields'],
  'serving/test_server': ['serving/protocol'],
  'storage/test_buckets': [
    'storage/bucket_paths', 'storage/download', 'storage/growing', 'storage/mirror',
    'storage/objects', 'storage/versions',
  ],
  'storage/test_patience': ['storage/gcs_requests'],
  'storage/test_urls': [
    'storage/kvstore', 'storage/places', 'storage/scratch', 'storage/systems',
  ],
  'sweeps/test_validation': ['sweeps/experiment'],
  'search/test_search': ['search/database'],
  'search/test_outputs': ['search/display', 'search/figure'],
  'test_house': ['core/axes', 'core/types'],  # names only
  'train/test_loop': ['train/alone'],
  'workdir/test_lock': ['workdir/owners'],
  'train/test_resume': ['train/changeable'],
  'train/test_divergence': ['train/session', 'train/step_metrics'],
  'train/test_replay': ['commands/replay_command'],
  'train/test_task_end': [
    'commands/predict_command', 'tasks/classification', 'tasks/task', 'train/predict',
    'train/task_scores',
  ],
}  # fmt: skip
TESTED_ELSEWHERE = {
  f'gpt_jax/{module}.py': test
  for test, modules in TESTED_TOGETHER.items()
  for module in modules
}
"""Module -> the test file that covers it, where that is not its namesake."""


def relative(path):
  return str(path.relative_to(ROOT))


def covering_test(path):
  """Returns the test file of the module at `path`, below tests/."""
  if relative(path) in TESTED_ELSEWHERE:
    return f'{TESTED_ELSEWHERE[relative(path)]}.py'
  module = path.relative_to(ROOT / 'gpt_jax').with_suffix('')
  if module.name == '__init__':  # a package's registry
    return 'test_extension_points.py'
  return str(module.parent / f'test_{module.name}.py')


def functions_of(tree):
  return [
    node
    for node in ast.walk(tree)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
  ]


def unsafe_parts(tree):
  """Returns one line for each way in `tree` by which data could run code."""
  lines = []
  for node in ast.walk(tree):
    names = []
    if isinstance(node, ast.Import):
      names = [alias.name.split('.')[0] for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      names = [(node.module or '').split('.')[0]]
    lines += [f'import {name}' for name in names if name in UNSAFE_MODULES]
    if isinstance(node, ast.Call):
      called = node.func
      if isinstance(called, ast.Name) and called.id in UNSAFE_CALLS:
        lines.append(f'{called.id}()')
      if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
        if (called.value.id, called.attr) in UNSAFE_METHODS:
          lines.append(f'{called.value.id}.{called.attr}()')
      for keyword in node.keywords:
        if keyword.arg == 'allow_pickle':
          if not (isinstance(keyword.value, ast.Constant) and not keyword.value.value):
            lines.append('allow_pickle')
  return lines


def test_modules_begin_with_a_docstring():
  trees = {relative(path): ast.parse(path.read_text()) for path in PACKAGE + SCRIPTS}
  assert [
    name for name, t in trees.items() if t.body and not ast.get_docstring(t)
  ] == []


def test_files_and_functions_stay_readable():
  long = []
  for path in PACKAGE + SCRIPTS:
    text = path.read_text()
    if (lines := len(text.splitlines())) > MAX_FILE_LINES:
      long.append(f'{relative(path)}: {lines} lines')
    for node in functions_of(ast.parse(text)):
      lines = node.end_lineno - node.lineno + 1
      if lines >= MAX_FUNCTION_LINES and relative(path) != THE_LIST_OF_KNOBS:
        long.append(f'{relative(path)} {node.name}: {lines} lines')
  assert not long, '\n'.join(long)


def test_helpers_live_with_their_subject():
  assert [relative(p) for p in PACKAGE + SCRIPTS if 'utils' in p.stem] == []


def test_no_file_runs_code_that_comes_as_data():
  unsafe = {
    relative(p): unsafe_parts(ast.parse(p.read_text())) for p in PACKAGE + SCRIPTS
  }
  assert {name: parts for name, parts in unsafe.items() if parts} == {}


def test_test_names_are_short_enough_to_read():
  long = [
    f'{relative(path)} {node.name}'
    for path in sorted((ROOT / 'tests').rglob('test_*.py'))
    for node in functions_of(ast.parse(path.read_text()))
    if node.name.startswith('test_') and len(node.name) > MAX_TEST_NAME
  ]
  assert not long, '\n'.join(long)


def test_names_of_the_first_edition_stay_out():
  found = [
    f'{relative(path)}:{number}: {line.strip()}'
    for path in PACKAGE + sorted((ROOT / 'configs').glob('*.py'))
    for number, line in enumerate(path.read_text().splitlines(), start=1)
    if re.search(FIRST_EDITION, line) and relative(path) not in OLD_NAMES_ON_DISK
  ]
  assert not found, '\n'.join(found)


def test_every_module_has_its_test_file():
  untested = []
  for path in PACKAGE:
    if path.stem == '__init__' and len(ast.parse(path.read_text()).body) <= 1:
      continue  # a docstring, or nothing
    if not (ROOT / 'tests' / covering_test(path)).exists():
      untested.append(f'{relative(path)}: expected tests/{covering_test(path)}')
  assert not untested, '\n'.join(untested)


def test_the_map_of_exceptions_names_files_that_exist():
  for module in TESTED_ELSEWHERE:
    assert (ROOT / module).exists(), module


@pytest.mark.parametrize(
  'source, found',
  [
    ('import pickle', ['import pickle']),
    ('from marshal import loads', ['import marshal']),
    ('def f(x):\n  return eval(x)', ['eval()']),
    ('yaml.load(file)', ['yaml.load()']),
    ('np.load(path, allow_pickle=True)', ['allow_pickle']),
    ('np.load(path, allow_pickle=False)', []),
    ('model.eval(x)', []),
    ('yaml.safe_load(file)', []),
  ],
)
def test_the_check_itself_finds_what_is_unsafe(source, found):
  assert unsafe_parts(ast.parse(source)) == found
