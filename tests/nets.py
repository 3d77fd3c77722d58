"""Networks and programs that are in no gallery: branches, shared modules, unrolled steps, long names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import microtensor as mt
from microtensor import nn


def random(*shape: int, name: str = "x") -> mt.Tensor:
    return mt.tensor(np.random.default_rng(1).normal(size=shape), requires_grad=True, name=name)


def labels(count: int) -> mt.Tensor:
    return mt.tensor(np.arange(count) % 2, name="t")


class Net(nn.Module):
    """A network of named parts, whose forward is a function of it and its input."""

    def __init__(self, forward: Callable[[Any, mt.Tensor], mt.Tensor], **parts: nn.Module) -> None:
        super().__init__()
        self.computed = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: mt.Tensor) -> mt.Tensor:
        return self.computed(self, x)


def linear(size_in: int, size_out: int) -> nn.Linear:
    return nn.Linear(size_in, size_out, rng=0)


def residual() -> Net:
    return Net(
        lambda net, x: x + net.fc2(mt.relu(net.fc1(net.norm(x)))),
        fc1=linear(8, 8),
        norm=nn.LayerNorm(8),
        fc2=linear(8, 8),
    )


def two_branches() -> mt.Tensor:
    net = Net(
        lambda net, x: net.join(mt.relu(net.left(x)) * mt.sigmoid(net.right_hand_side_branch(x))),
        left=nn.Sequential(linear(4, 6), nn.BatchNorm1d(6)),
        right_hand_side_branch=linear(4, 6),
        join=linear(6, 2),
    )
    return net(random(8, 4))


def autoencoder() -> mt.Tensor:
    net = Net(
        lambda net, x: net.decoder(net.encoder(x)),
        encoder=nn.Sequential(linear(8, 4), nn.Tanh(), linear(4, 2)),
        decoder=nn.Sequential(linear(2, 4), nn.Tanh(), linear(4, 8)),
    )
    return mt.mse_loss(net(random(4, 8)), random(4, 8, name="target"))


def dense() -> mt.Tensor:
    def forward(net: Any, x: mt.Tensor) -> mt.Tensor:
        a = mt.relu(net.a(x))
        b = mt.relu(net.b(mt.concat([x, a], axis=1)))
        result: mt.Tensor = net.c(mt.concat([x, a, b], axis=1))
        return result

    return Net(forward, a=linear(4, 4), b=linear(8, 4), c=linear(12, 4))(random(3, 4))


def gated() -> mt.Tensor:
    net = Net(
        lambda net, x: net.norm(mt.sigmoid(net.gate(x)) * net.value(x) + x),
        gate=linear(4, 4),
        value=linear(4, 4),
        norm=nn.RMSNorm(4),
    )
    return net(random(3, 4))


def convolutional() -> mt.Tensor:
    net = Net(
        lambda net, x: net.classifier(net.features(x)),
        features=nn.Sequential(nn.Conv2d(1, 4, 3, rng=0), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2)),
        classifier=nn.Sequential(nn.Flatten(), linear(36, 10)),
    )
    return net(random(2, 1, 8, 8))


def sequential() -> mt.Tensor:
    net = nn.Sequential(linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), linear(6, 2))
    return mt.cross_entropy(net(random(8, 4)), labels(8))


def shared() -> mt.Tensor:
    fc = linear(4, 4)
    result: mt.Tensor = fc(mt.tanh(fc(mt.tanh(fc(random(2, 4))))))
    return result


def unrolled() -> mt.Tensor:
    cell = nn.LSTMCell(3, 4, rng=0)
    h, c = random(2, 4, name="h0"), random(2, 4, name="c0")
    for step in range(2):
        h, c = cell(random(2, 3, name=f"x{step}"), (h, c))
    return h


def scopes() -> mt.Tensor:
    x = random(8, 4)
    with mt.name_scope("a rather long name of a part"):
        h = mt.exp(x)
        with mt.name_scope("inner part with a long name"):
            h = mt.tanh(h) + x
    return h.sum()


def attention() -> mt.Tensor:
    x = random(2, 3, 8)
    result: mt.Tensor = nn.MultiheadAttention(8, 2, batch_first=True, rng=0)(x, x, x)[0]
    return result


def stack() -> mt.Tensor:
    return nn.Sequential(residual(), residual(), linear(8, 2))(random(4, 8))


NETS: dict[str, Callable[[], mt.Tensor]] = {
    "residual": lambda: residual()(random(4, 8)),
    "two branches": two_branches,
    "autoencoder": autoencoder,
    "dense": dense,
    "gated": gated,
    "convolutional": convolutional,
    "sequential": sequential,
    "shared": shared,
    "unrolled": unrolled,
    "scopes": scopes,
    "attention": attention,
    "stack": stack,
}
