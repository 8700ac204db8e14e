"""Which part of the parameters a chip has, of weights, gradients and optimizer."""

from dataclasses import dataclass, replace

from cordee.plan.layout import Job
from cordee.plan.model import Experts


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Parameters on the chip that has most of them."""

    dense_parameters: float
    """Of layers and tables, experts left out."""
    expert_parameters: float
    layer_bytes: float
    """Of one layer's weights at 2 bytes, before they are shared out with zero 3."""
    optimizer_parameters: float
    """Those whose optimizer states it keeps."""
    table_parameters: float
    """Of the dense ones, those of tables of tokens."""
    table_optimizer_parameters: float
    """Of those whose states it keeps, those of tables."""

    def of(self, *, layers: float, tables: float) -> "Share":
        """A chip with that part of the layers and of the tables."""
        body = self.dense_parameters - self.table_parameters
        states = self.optimizer_parameters - self.table_optimizer_parameters
        return replace(
            self,
            dense_parameters=body * layers + self.table_parameters * tables,
            expert_parameters=self.expert_parameters * layers,
            optimizer_parameters=states * layers + self.table_optimizer_parameters * tables,
            table_parameters=self.table_parameters * tables,
            table_optimizer_parameters=self.table_optimizer_parameters * tables,
        )


def shares(job: Job) -> Share:
    """Count them for the stage with the loss or the table, which have most."""
    model, layout = job.model, job.layout
    layers, copies = layout.fullest(len(model.layers)), layout.turns.copies
    experts = model.expert_parameters
    body = sum(layer.parameters(model.hidden) * n for layer, n in model.kinds) - experts
    one_end = model.tied or (layout.pipeline > 1 and not layout.turns.folds)
    table = model.vocabulary * model.hidden * (1 if one_end else 2) + model.injected_parameters
    part = layers / len(model.layers)
    dense = (copies * body * part + table) / layout.tensor
    spread = max(layout.expert, 1)
    # The fullest stage has nothing but layers with experts, where there are as many.
    sparse = sum(n for layer, n in model.kinds if isinstance(layer.mlp, Experts))
    full = experts * min(layers, sparse) / sparse if sparse else 0.0
    here = copies * full / (spread if spread > 1 else layout.tensor)
    extra = sum(layer.parameters(model.hidden) for layer in model.mtp_layers)
    here += extra / max(spread, layout.tensor)
    # Where a pipeline has several copies of its weights, they share out the optimizer's states, too.
    replicas = layout.data * layout.context * copies if layout.zero else 1
    alike = layout.data * layout.context * layout.tensor // spread * copies
    of_experts = max(alike, 1) if spread > 1 else replicas
    kept = dense / replicas + here / (of_experts if layout.zero else 1)
    layer_bytes = 2 * (body + experts) / len(model.layers) / layout.tensor
    return Share(
        dense_parameters=dense,
        expert_parameters=here,
        layer_bytes=layer_bytes,
        optimizer_parameters=kept,
        table_parameters=table / layout.tensor,
        table_optimizer_parameters=table / layout.tensor / replicas,
    )
