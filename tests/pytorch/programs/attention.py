import math

import torch
import torch.nn as nn
import torch.nn.functional as F


class SelfAttention(nn.Module):
    def __init__(self, width, heads, length):
        super().__init__()
        self.heads = heads
        self.key_query_value = nn.Linear(width, 3 * width, bias=False)
        self.project = nn.Linear(width, width)
        self.register_buffer("mask", torch.tril(torch.ones(length, length)).view(1, 1, length, length))

    def forward(self, x):
        batch, length, width = x.size()
        q, k, v = self.key_query_value(x).split(width, dim=2)
        q, k, v = (t.view(batch, length, self.heads, width // self.heads).transpose(1, 2) for t in (q, k, v))
        scores = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        scores = scores.masked_fill(self.mask[:, :, :length, :length] == 0, float("-inf"))
        out = F.softmax(scores, dim=-1) @ v
        return self.project(out.transpose(1, 2).contiguous().view(batch, length, width))


class Block(nn.Module):
    def __init__(self, width, heads, length):
        super().__init__()
        self.first_norm, self.second_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads, length)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x):
        x = x + self.attention(self.first_norm(x))
        return x + self.mlp(self.second_norm(x))


class Model(nn.Module):
    def __init__(self, vocabulary=7, width=8, heads=2, length=5):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.zeros(1, length, width))
        self.blocks = nn.ModuleList([Block(width, heads, length) for _ in range(2)])
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, indices, targets):
        x = self.tokens(indices) + self.positions[:, : indices.size(1), :]
        for block in self.blocks:
            x = block(x)
        logits = self.head(x)
        return logits, F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))


model = Model()
with torch.no_grad():
    for n, p in enumerate(model.parameters()):
        p.copy_((((torch.arange(p.numel()) * 53 + n * 7) % 103).to(p.dtype) / 103 - 0.5).view(*p.shape))
indices = torch.tensor([[0, 3, 5, 1, 2], [6, 6, 4, 0, 1]])
targets = torch.roll(indices, -1, 1)
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, betas=(0.9, 0.95), eps=1e-3, weight_decay=0.1)
losses = []
for _ in range(3):
    logits, loss = model(indices, targets)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
values, best = torch.topk(F.softmax(logits[:, -1, :], dim=-1), 2)
losses += values.view(-1).tolist() + best.view(-1).tolist()
