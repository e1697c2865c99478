"""`rlottery.prune` on PyTorch modules, compared with torch.nn.utils.prune; and the PyTorch examples of a page of docs.

Arguments: the checkout and the page. rlottery is imported from the checkout; here it needs NumPy alone.
"""

import re
import sys
import warnings
from pathlib import Path

sys.path.insert(0, sys.argv[1])

import torch
import torch.nn.utils.prune as torch_prune
from stable_baselines3 import SAC
from torch import nn

import rlottery

warnings.simplefilter("error")


def mlp(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, 4))


def kernels(module: nn.Sequential) -> list[tuple[nn.Module, str]]:
    return [(module[index], "weight") for index in (0, 2, 4)]


def same(masks: dict[str, torch.Tensor], pruned: nn.Module) -> bool:
    buffers = dict(pruned.named_buffers())
    return all(
        mask.dtype == torch.bool and torch.equal(mask, buffers[f"{name}_mask"] > 0) for name, mask in masks.items()
    )


ours, theirs = mlp(0), mlp(0)
torch_prune.global_unstructured(kernels(theirs), pruning_method=torch_prune.L1Unstructured, amount=0.6)
mask = rlottery.prune(ours, "magnitude", sparsity=0.6)
assert same(mask.to_torch(ours), theirs)
assert same(rlottery.prune(ours.state_dict(), sparsity=0.6).to_torch(ours), theirs)

each = mlp(0)
for module, name in kernels(each):
    torch_prune.l1_unstructured(module, name, amount=0.5)
assert same(rlottery.prune(ours, allocation=[0.5, 0.5, 0.5]).to_torch(ours), each)

# A mask that is applied gives the same outputs, and holds when the module is trained.
batch = torch.randn(16, 6)
copy = mask.apply(ours.state_dict())
mask.apply(ours)
assert torch.equal(ours(batch), theirs(batch))
optimizer = torch.optim.AdamW(ours.parameters(), lr=0.1)
for _ in range(3):
    optimizer.zero_grad()
    ours(batch).square().mean().backward()
    optimizer.step()
assert all(
    torch.equal(dict(ours.named_modules())[name[:-7]].weight != 0, kept) for name, kept in mask.to_torch(ours).items()
)
plain = mlp(1)
plain.load_state_dict(copy)
assert torch.equal(plain(batch), theirs(batch)), "a state_dict is masked in a copy"

# What is pruned already stays pruned, in a second round. PyTorch computes the masked weights when a module is called.
ours(batch)
second = rlottery.prune(ours, sparsity=0.8, within=mask)
assert all((second.layers[layer] <= mask.layers[layer]).all() for layer in mask.layers)
torch_prune.global_unstructured(kernels(ours), pruning_method=torch_prune.L1Unstructured, amount=0.5)
assert same(second.to_torch(ours), ours)

# Gradients that need no graph of ours: |w| E|g| by hand.
network = mlp(2)
batches = []
for _ in range(3):
    network.zero_grad()
    network(torch.randn(8, 6)).square().mean().backward()
    batches.append({name: parameter.grad.clone() for name, parameter in network.named_parameters()})
taylor = rlottery.prune(network, "taylor", 0.5, data={"gradients": iter(batches)})
mean = {name: torch.stack([of[name].abs().double() for of in batches]).mean(0) for name in batches[0]}
scores = {f"{i}.weight": network[i].weight.detach().abs().double() * mean[f"{i}.weight"] for i in (0, 2, 4)}
median = torch.cat([of.flatten() for of in scores.values()]).sort().values[(6 * 32 + 32 * 24 + 24 * 4) // 2]
assert all(torch.equal(kept, scores[name] >= median) for name, kept in taylor.to_torch(network).items())

half = mlp(0).to(torch.bfloat16)
assert rlottery.prune(half, sparsity=0.5).sparsity == 0.5

agent = SAC("MlpPolicy", "Pendulum-v1", policy_kwargs={"net_arch": [16, 16]})
sparsity = {"policy": 0.7, "actor.log_std": 0.0, "critic.qf0": 0.6, "critic.qf1": 0.6}
layers = {"policy": ["actor.latent_pi.0", "actor.latent_pi.2", "actor.mu"]}
networks = {"actor": agent.actor, "critic": agent.critic}
found = rlottery.prune(networks, "synflow", sparsity, networks=layers | {"deviation": ["actor.log_std"]})
assert list(found.networks) == ["policy", "deviation", "critic.qf0", "critic.qf1"]
assert found.apply(networks) is not None

for wrong, words in (
    (nn.LazyLinear(3), "Call the module on a batch first"),
    (nn.Conv2d(1, 2, 3), "only matrices can be pruned"),
):
    try:
        rlottery.prune(wrong, sparsity=0.5)
    except rlottery.RlotteryError as error:
        assert words in str(error), error
    else:
        raise AssertionError(words)

examples = re.findall(r"^```python\n(.*?)^```", Path(sys.argv[2]).read_text(), flags=re.M | re.S)
shown = [code for code in examples if "import torch" in code]
assert shown, "the page has no example for PyTorch"
for code in shown:
    exec(compile(code, sys.argv[2], "exec"), {"rlottery": rlottery})
print("rlottery.prune agrees with PyTorch")
