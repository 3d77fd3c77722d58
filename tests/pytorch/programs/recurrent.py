import torch
from torch import nn
from torch.autograd import Variable


class Tagger(nn.Module):
    def __init__(self, vocabulary, size, kind):
        super().__init__()
        self.hidden_size = size
        self.embedding = nn.Embedding(vocabulary, size)
        self.rnn = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[kind](size, size, batch_first=True)
        self.out = nn.Linear(size, vocabulary)
        self.kind = kind

    def start(self, batch):
        zeros = Variable(torch.zeros(1, batch, self.hidden_size))
        return (zeros, zeros.clone()) if self.kind == "lstm" else zeros

    def forward(self, x, state):
        out, state = self.rnn(self.embedding(x), state)
        return self.out(out.contiguous().view(-1, self.hidden_size)), state


text = "hello, torch of the world"
letters = sorted(set(text))
index = {letter: i for i, letter in enumerate(letters)}
encoded = torch.tensor([index[letter] for letter in text], dtype=torch.long)
inputs, targets = encoded[:24].view(2, 12), encoded[1:25].view(2, 12)
losses = []
models = nn.ModuleList([Tagger(len(letters), 6, kind) for kind in ("rnn", "gru", "lstm")])
for n, p in enumerate(models.parameters()):
    p.data = (((torch.arange(p.numel()) * 41 + n) % 89).to(p.dtype) / 89 - 0.5).view_as(p)
optimizer = torch.optim.RMSprop(models.parameters(), lr=0.01, eps=1e-2)
for _ in range(2):
    optimizer.zero_grad()
    total = 0
    for model in models:
        state = model.start(2)
        for part in range(2):
            logits, state = model(inputs[:, part * 6 : part * 6 + 6], state)
            total += nn.functional.cross_entropy(logits, targets[:, part * 6 : part * 6 + 6].reshape(-1))
            state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
    total.backward()
    optimizer.step()
    losses.append(total.item())
model = models
