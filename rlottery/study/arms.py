"""Arms: one recipe each. `dense`, or a ticket kind that the `pruning:` section and a pruning method name."""

from dataclasses import dataclass

from rlottery.config import Pruning
from rlottery.errors import RlotteryError
from rlottery.pruning.criteria import CRITERIA

METHODS = ("magnitude", "gradient")
_GUIDE = Pruning()


@dataclass(frozen=True)
class Arm:
    """A kind of ticket.

    Attributes:
        name: its folder's name: what tells it from other arms, readable.
        method: "magnitude" or "gradient", as the user asked; it names the mask's file.
        criterion: what scores the weights: "magnitude", "taylor" or "gradient".
        sparsity: pruned share by group, {"actor": ..., "critic": ...}.
        batches, batch_size: replay that the score is averaged over; 0 where the criterion reads none.
    """

    name: str
    method: str
    criterion: str
    actor_sparsity: float
    critic_sparsity: float
    batches: int
    batch_size: int

    @property
    def sparsity(self) -> dict[str, float]:
        return {"actor": self.actor_sparsity, "critic": self.critic_sparsity}

    @property
    def needs_replay(self) -> bool:
        return self.batches > 0


def arm_for(method: str, pruning: Pruning) -> Arm:
    """The arm that a pruning method and the config's `pruning:` section name.

    Raises:
        RlotteryError: there is no such method.
    """
    if method not in METHODS:
        raise RlotteryError(f"Unknown pruning method {method!r}; choose one of: {', '.join(METHODS)}.")
    criterion: str = "magnitude" if method == "magnitude" else pruning.gradient_method
    needs_gradient = CRITERIA[criterion].needs_gradient
    actor, critic = pruning.sparsity.actor, pruning.sparsity.critic
    name: str = "gradient-magnitude" if method == "gradient" and criterion == "magnitude" else criterion
    name += f"-{_percent(actor)}" if actor == critic else f"-a{_percent(actor)}-c{_percent(critic)}"
    batches = (pruning.num_gradient_batches, pruning.gradient_batch_size) if needs_gradient else (0, 0)
    if needs_gradient and batches != (_GUIDE.num_gradient_batches, _GUIDE.gradient_batch_size):
        name += f"-{batches[0]}x{batches[1]}"
    return Arm(name, method, criterion, actor, critic, *batches)


def _percent(share: float) -> str:
    return f"{100 * share:.10g}"
