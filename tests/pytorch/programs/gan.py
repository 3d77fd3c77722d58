import numpy as np
import torch
import torch.nn as nn

latent, batch = 3, 4
Tensor = torch.DoubleTensor if torch.get_default_dtype() == torch.float64 else torch.FloatTensor


def network(inputs, outputs, last):
    return nn.Sequential(nn.Linear(inputs, 6), nn.LeakyReLU(0.2, inplace=True), nn.Linear(6, outputs), last)


def fill(model, shift):
    for n, p in enumerate(model.parameters()):
        values = (np.arange(p.numel()) * 31 + n * 5 + shift) % 83 / 83 - 0.5
        p.data = torch.from_numpy(values).type(Tensor).view(p.size())


generator, discriminator = network(latent, 2, nn.Tanh()), network(2, 1, nn.Sigmoid())
fill(generator, 0)
fill(discriminator, 17)
loss_function = nn.BCELoss()
steps = [torch.optim.Adam(net.parameters(), lr=0.02, betas=(0.5, 0.999)) for net in (generator, discriminator)]
valid, fake = Tensor(batch, 1).fill_(1.0), Tensor(batch, 1).fill_(0.0)
real = Tensor([[0.5, 0.25], [0.25, 0.75], [-0.5, 0.125], [0.0, 1.0]])
losses = []
for step in range(2):
    noise = Tensor(np.cos(np.arange(batch * latent) + step).reshape(batch, latent).round(3))
    steps[0].zero_grad()
    made = generator(noise)
    generator_loss = loss_function(discriminator(made), valid)
    generator_loss.backward()
    steps[0].step()
    steps[1].zero_grad()
    real_loss = loss_function(discriminator(real), valid)
    fake_loss = loss_function(discriminator(made.detach()), fake)
    discriminator_loss = real_loss + fake_loss / 4
    discriminator_loss.backward()
    steps[1].step()
    losses += [generator_loss.item(), discriminator_loss.item()]
model = nn.ModuleDict({"generator": generator, "discriminator": discriminator})
