import torch
import torch.nn as nn
import torch.nn.functional as F


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode1, self.encode_mean, self.encode_log_var = nn.Linear(8, 6), nn.Linear(6, 2), nn.Linear(6, 2)
        self.decode1, self.decode2 = nn.Linear(2, 6), nn.Linear(6, 8)

    def encode(self, x):
        h = F.relu(self.encode1(x))
        return self.encode_mean(h), self.encode_log_var(h)

    def reparameterize(self, mu, logvar, noise):
        std = logvar.mul(0.5).exp_()
        return noise.mul(std).add_(mu)

    def forward(self, x, noise):
        mu, logvar = self.encode(x.view(-1, 8))
        z = self.reparameterize(mu, logvar, noise)
        return torch.sigmoid(self.decode2(F.relu(self.decode1(z)))), mu, logvar


def loss_function(recon, x, mu, logvar):
    bce = F.binary_cross_entropy(recon, x.view(-1, 8), reduction="sum")
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return bce + kld


model = Autoencoder()
for n, p in enumerate(model.parameters()):
    p.data.copy_((((torch.arange(p.numel()) * 47 + n * 3) % 79).to(p.dtype) / 79 - 0.5).reshape(p.shape))
data = (((torch.arange(5 * 8) * 7) % 11).to(torch.get_default_dtype()) / 11).view(5, 2, 4)
noise = (((torch.arange(10) * 3) % 7).to(torch.get_default_dtype()) / 7 - 0.5).view(5, 2)
optimizer = torch.optim.Adagrad(model.parameters(), lr=0.05)
losses = []
best = None
for _ in range(3):
    optimizer.zero_grad()
    recon, mu, logvar = model(data, noise)
    loss = loss_function(recon, data, mu, logvar)
    loss.backward()
    optimizer.step()
    losses.append(loss.item() / len(data))
saved = {key: value.clone() for key, value in model.state_dict().items()}
with torch.no_grad():
    for p in model.parameters():
        p.zero_()
model.load_state_dict(saved)
losses.append(loss_function(*(lambda r, m, v: (r, data, m, v))(*model(data, noise))).item())
