"""What the first and the last stage do besides layers: the table of tokens, and the loss."""

from cordee.plan.layout import Job
from cordee.plan.work.layers import Pass, added, matmul_backward
from cordee.plan.work.operators import Collective, Matmul, Operator, Vector
from cordee.plan.work.shape import HALF


def embedding_pass(job: Job) -> Pass:
    """Rows of the table for the tokens of a micro-batch, and their gradients."""
    tokens, hidden = _tokens(job), job.model.hidden
    forward: list[Operator] = [Vector("embedding", 3 * tokens * hidden * HALF, 2)]
    if job.layout.tensor > 1:
        forward.append(Collective("embedding", "reduce", tokens * hidden * HALF, "tensor"))
    backward: list[Operator] = [Vector("embedding", 4 * tokens * hidden * HALF, 2)]
    if job.model.injected:
        product = Matmul("injected", tokens, job.model.injected, hidden)
        moved = Vector("injected", 5 * tokens * job.model.injected * HALF, 3)
        forward += [product, moved]
        backward += [*matmul_backward(product, added(job), job.program.trains_all), moved]
    return Pass(tuple(forward), tuple(backward))


def head_pass(job: Job) -> Pass:
    """Logits over the vocabulary and the loss, reckoned in fp32."""
    layout, model = job.layout, job.model
    tokens = _tokens(job)
    columns = model.vocabulary / layout.tensor
    product = Matmul("logits", tokens, columns, model.hidden, is_wide=True)
    forward: list[Operator] = [product]
    if layout.tensor > 1 and layout.sequence_parallel:
        size = tokens * model.hidden * HALF
        forward.append(Collective("logits", "gather", size, "tensor"))
    # A cast, the largest, differences, exponentials and their sum: five times 4 to 8 bytes.
    forward.append(Vector("loss", tokens * columns * 26, 8))
    backward: list[Operator] = [Vector("loss", tokens * columns * 14, 4)]
    backward += matmul_backward(product, added(job), job.program.trains_all)
    if layout.tensor > 1:
        backward.append(Collective("logits", "reduce", tokens * model.hidden * HALF, "tensor"))
    return Pass(tuple(forward), tuple(backward))


def _tokens(job: Job) -> float:
    return job.layout.micro_batch * job.sequence / job.layout.context
