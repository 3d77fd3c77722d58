"""``torch.utils``: data sets and loaders, and a tensorboard writer that writes nothing."""

from microtensor.torch.utils import data as data
from microtensor.torch.utils import tensorboard as tensorboard
