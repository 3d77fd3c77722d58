"""Writes pickles.json: one pickle of each kind of value, as the version before the package's rooms moved wrote them.

Run once, with that version installed; what is stored must load for ever.
"""

import base64
import json
import pickle
from pathlib import Path

import numpy as np

import microtensor as mt


def values() -> dict[str, object]:
    leaf = mt.tensor([[1.0, -2.5]], dtype="float32", requires_grad=True, name="x")
    mt.manual_seed(0)
    net = mt.nn.Sequential(mt.nn.Linear(2, 3), mt.nn.BatchNorm1d(3), mt.nn.GELU())
    net(mt.tensor(np.arange(8.0).reshape(4, 2)))
    return {
        "leaf": leaf,
        "detached": (leaf * 2).detach(),
        "parameter": mt.nn.Parameter([1.0, 2.0], name="γ"),
        "network": net,
        "primitives": [
            mt.ops.primitives["contract_to"],
            mt.add,
            mt.tanh,
            mt.relu,
            mt.reshape,
            mt.max,
            mt.matmul,
            mt.sum,
            mt.astype,
        ],
    }


if __name__ == "__main__":
    stored = {name: base64.b64encode(pickle.dumps(value)).decode() for name, value in values().items()}
    Path(__file__).with_name("pickles.json").write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
