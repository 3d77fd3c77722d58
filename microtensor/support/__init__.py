"""Tools for every room: axes, arrays, calls, error texts and modes. They know no node, no rule and no tensor."""
