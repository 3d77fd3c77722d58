"""``torch.backends``: settings of PyTorch's libraries. They can be set, and change nothing."""

from microtensor.torch.backends import cudnn as cudnn
from microtensor.torch.backends import mps as mps
