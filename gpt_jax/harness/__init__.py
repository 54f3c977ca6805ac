"""Tasks of public benchmarks, scored by us or by lm-evaluation-harness.

`sets.py` reads local data sets, `choice_tasks.py` makes questions of them and scores
them without any package. `lm_eval_model.py` is our model for the harness,
`lm_eval_run.py` runs it there; the .yaml files are its tasks over the same sets.
`bias.py` and `toxicity.py` measure stereotypes, over the words of `bias_words.py`.
`fine_tuning.py` trains a recipe beside the same in PyTorch.
"""
