import torch


class Legendre(torch.autograd.Function):
    @staticmethod
    def forward(ctx, input):
        ctx.save_for_backward(input)
        return 0.5 * (5 * input**3 - 3 * input)

    @staticmethod
    def backward(ctx, grad_output):
        (input,) = ctx.saved_tensors
        return grad_output * 1.5 * (5 * input**2 - 1)


class Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, factor):
        ctx.save_for_backward(x, weight)
        ctx.factor = factor
        return x * weight * factor

    @staticmethod
    def backward(ctx, grad_output):
        x, weight = ctx.saved_tensors
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_x = grad_output * weight * ctx.factor
        if ctx.needs_input_grad[1]:
            grad_weight = grad_output * x * ctx.factor
        return grad_x, grad_weight, None


dtype = torch.get_default_dtype()
x = torch.linspace(-3, 3, 25, dtype=dtype)
y = x.abs() / 2 - x.pow(2) / 7
a, b, c, d = (torch.full((), value, dtype=dtype, requires_grad=True) for value in (0.0, -1.0, 0.5, 0.3))
weight = torch.ones(25, dtype=dtype, requires_grad=True)
losses = []
for step in range(4):
    shape = Legendre.apply(c + d * x)
    predicted = a + b * Scale.apply(shape, weight, 0.5)
    loss = (predicted - y).pow(2).sum()
    losses.append(loss.item())
    loss.backward()
    with torch.no_grad():
        for parameter in (a, b, c, d, weight):
            parameter -= 1e-3 * parameter.grad
            kept = parameter.grad.clone()
            if step < 3:
                parameter.grad.zero_()
slope = torch.autograd.grad(Legendre.apply(x.requires_grad_()).sum(), x)[0]
losses.append(slope.norm().item())
model = [a, b, c, d, weight]
