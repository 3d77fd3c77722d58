import torch
import torch.nn as nn
import torch.optim as optim
from torch.optim.lr_scheduler import StepLR


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        out = self.norm(self.conv(x))
        out += x
        return self.relu(out)


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 4, kernel_size=3), nn.ReLU(), nn.MaxPool2d(2), Block(4))
        self.pool = nn.AvgPool2d(2)
        self.classifier = nn.Sequential(nn.Dropout(0.0), nn.Linear(4, 3))

    def forward(self, x):
        x = self.pool(self.features(x))
        return self.classifier(torch.flatten(x, 1))


def fill(module):
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        values = (torch.arange(module.weight.numel()) * 29) % 97
        module.weight.data = (values.to(module.weight.dtype) / 97 - 0.5).reshape(module.weight.shape)
        if module.bias is not None:
            nn.init.constant_(module.bias, 0.1)


model = ConvNet()
model.apply(fill)
images = (((torch.arange(4 * 6 * 6) * 13) % 31).to(torch.get_default_dtype()) / 31).view(4, 1, 6, 6)
labels = torch.tensor([0, 1, 2, 1])
optimizer = optim.Adam(model.parameters(), lr=0.01)
scheduler = StepLR(optimizer, step_size=2, gamma=0.5)
criterion = nn.CrossEntropyLoss()
losses = []
running = 0.0
for _ in range(4):
    optimizer.zero_grad()
    outputs = model(images)
    loss = criterion(outputs, labels)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    scheduler.step()
    running += loss.item()
    losses.append(loss.item())
_, predicted = torch.max(outputs.data, 1)
losses.append((predicted == labels).float().mean().item())
