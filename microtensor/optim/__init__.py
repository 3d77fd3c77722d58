"""Optimisers: they compute new values of the parameters from the gradients.

Names, defaults and results are PyTorch's. Every optimiser is one update rule. Parameter groups, checks and state are
shared. :mod:`lr_scheduler` changes the learning rate.
"""

from microtensor.optim import lr_scheduler
from microtensor.optim.adagrad import Adagrad
from microtensor.optim.adam import Adam, AdamW
from microtensor.optim.groups import split_decay
from microtensor.optim.optimizer import Optimizer
from microtensor.optim.rmsprop import RMSprop
from microtensor.optim.sgd import SGD

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "lr_scheduler", "split_decay"]
