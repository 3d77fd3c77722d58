"""Finds the norms in a recorded graph: what a statistic is, its gradient says.

The spelling of a norm says little: a mean can be a matrix product, and x̂ can be x · inv + shift. Gradients are the same
for every spelling. So the operations from a tensor z on run again at a *generic point*, with random numbers for z, and
a small result v is judged by its gradient with respect to z, for a random cotangent:

- v is a *shift* of z over some axes when the gradient is constant along them, as that of a mean is;
- v is a *scale* when the gradient is a multiple of z − mean(z) along them, or of z itself, as those of a variance and
  of a mean square are.

z is the *input of a norm* when a scale of z meets a larger result, and what comes out of this meeting hardly changes
between 1,000 z and 1,000,000 z. A gate such as x · var(x) grows with z, so it is no norm.
"""

from microtensor.inspect.statistics.find import MOST, norms_among, norms_of
from microtensor.inspect.statistics.model import Kind, Norm, Norms, Statistic

__all__ = ["MOST", "Kind", "Norm", "Norms", "Statistic", "norms_among", "norms_of"]
