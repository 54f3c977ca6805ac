"""Customer service: questions answered from a folder of documents, with citations.

Read `service.py` first: it searches (gpt_jax/retrieval), lets an answerer read what was
found, and says so where nothing fits (`confidence.py`). ANSWERERS in `answerers.py` are
chosen by the run that is given. `conversation.py` adds the dialogue around it: fixed
replies (`replies.py`, `replies.yaml`), questions that follow up (`follow_up.py`), a
person who takes over (`hand_over.py`). `evaluate.py` has the figures, on the questions
of `questions.py`.
"""
