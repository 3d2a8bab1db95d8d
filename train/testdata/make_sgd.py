"""Writes sgd.json: what torch.optim.SGD makes of two parameters, in float64, where
the second decays and the first does not.

    python make_sgd.py > sgd.json    # torch 2.6
"""

import json

import torch

SETTINGS = [
    dict(lr=0.1),
    dict(lr=0.1, momentum=0.9),
    dict(lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    dict(lr=0.02, momentum=0.8, dampening=0.3, weight_decay=0.1),
]
START = [[1.0, -2.0, 0.25], [0.5, 3.0, -0.75]]
GRADS = [[[(7 * s + 3 * p + 5 * i) % 11 / 4 - 1.25 for i in range(3)] for p in range(2)] for s in range(5)]

runs = []
for settings in SETTINGS:
    params = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in START]
    decay = settings.get("weight_decay", 0.0)
    optimizer = torch.optim.SGD(
        [dict(params=params[:1], weight_decay=0.0), dict(params=params[1:], weight_decay=decay)],
        **{k: v for k, v in settings.items() if k != "weight_decay"},
    )
    after = []
    for grads in GRADS:
        for p, g in zip(params, grads):
            p.grad = torch.tensor(g, dtype=torch.float64)
        optimizer.step()
        after.append([p.tolist() for p in params])
    runs.append(dict(settings=settings, after=after))
print(json.dumps(dict(start=START, grads=GRADS, runs=runs)))
