import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self, inputs, hidden, classes):
        super().__init__()
        self.first = nn.Linear(inputs, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.last = nn.Linear(hidden, classes)

    def forward(self, x):
        x = x.view(x.size(0), -1)
        x = F.relu(self.first(x))
        x = torch.tanh(self.second(x))
        return F.log_softmax(self.last(x), dim=1)


def fill(model):
    for n, p in enumerate(model.parameters()):
        values = (torch.arange(p.numel()) * 37 + n * 11) % 101
        p.data.copy_((values.to(p.dtype) / 101 - 0.5).view(p.size()))


torch.manual_seed(0)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
images = ((torch.arange(6 * 2 * 4).float() % 7) / 7).to(torch.get_default_dtype()).reshape(6, 2, 4)
labels = torch.LongTensor([0, 2, 1, 1, 0, 2])
loader = DataLoader(TensorDataset(images, labels), batch_size=4, shuffle=False, num_workers=0)

model = Net(8, 5, 3).to(device)
fill(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
criterion = nn.NLLLoss()
losses = []
correct = 0
for _ in range(3):
    model.train()
    for data, target in loader:
        data, target = data.to(device), target.to(device)
        optimizer.zero_grad()
        output = model(data)
        loss = criterion(output, target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    with torch.no_grad():
        predicted = model(images).max(1, keepdim=True)[1]
        correct += predicted.eq(labels.view_as(predicted)).sum().item()
losses.append(correct)
