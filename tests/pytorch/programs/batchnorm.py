import torch
import torch.nn as nn


class BatchNorm(nn.Module):
    def __init__(self, features, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.gamma = nn.Parameter(torch.ones(1, features))
        self.beta = nn.Parameter(torch.zeros(1, features))
        self.register_buffer("running_mean", torch.zeros(1, features))
        self.register_buffer("running_var", torch.ones(1, features))

    def forward(self, x):
        if self.training:
            mean, var = x.mean(dim=0, keepdim=True), x.var(dim=0, keepdim=True, unbiased=False)
            with torch.no_grad():
                self.running_mean = (1 - self.momentum) * self.running_mean + self.momentum * mean
                self.running_var.mul_(1 - self.momentum).add_(self.momentum * x.var(0, keepdim=True))
        else:
            mean, var = self.running_mean, self.running_var
        return self.gamma * (x - mean) / torch.sqrt(var + self.eps) + self.beta


class MakeMore(nn.Module):
    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(2147483647)
        self.C = nn.Parameter(torch.randn((5, 2), generator=generator))
        self.W1 = nn.Parameter(torch.randn((6, 8), generator=generator) * (5 / 3) / 6**0.5)
        self.W2 = nn.Parameter(torch.randn((8, 5), generator=generator) * 0.1)
        self.norm = BatchNorm(8)

    def forward(self, x):
        embedded = self.C[x]
        hidden = torch.tanh(self.norm(embedded.view(embedded.shape[0], -1) @ self.W1))
        return hidden @ self.W2


model = MakeMore()
for n, p in enumerate(model.parameters()):
    p.data = (((torch.arange(p.numel()) * 43 + n * 13) % 61).to(p.dtype) / 61 - 0.4).view(p.shape)
contexts = torch.tensor([[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 0], [4, 0, 1], [1, 1, 1], [0, 0, 2]])
answers = torch.tensor([3, 4, 0, 1, 2, 1, 0])
losses = []
for _ in range(4):
    logits = model(contexts)
    counts = logits.exp()
    probabilities = counts / counts.sum(1, keepdims=True)
    loss = -probabilities[torch.arange(len(answers)), answers].log().mean()
    for p in model.parameters():
        p.grad = None
    loss.backward()
    for p in model.parameters():
        p.data += -0.1 * p.grad
    losses.append(loss.item())
model.eval()
losses.append(nn.functional.cross_entropy(model(contexts), answers).item())
losses += model.norm.running_mean.view(-1).tolist() + model.norm.running_var.view(-1).tolist()
