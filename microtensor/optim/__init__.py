"""Optimisers: they turn gradients into new values of the parameters, and nothing else writes to these.

PyTorch's names, defaults and numbers. Every optimiser is one update rule; parameter groups, checks and state
are shared, and :mod:`lr_scheduler` moves the learning rate.
"""

from microtensor.optim import lr_scheduler
from microtensor.optim.adagrad import Adagrad
from microtensor.optim.adam import Adam, AdamW
from microtensor.optim.groups import split_decay
from microtensor.optim.optimizer import Optimizer
from microtensor.optim.rmsprop import RMSprop
from microtensor.optim.sgd import SGD

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "lr_scheduler", "split_decay"]
