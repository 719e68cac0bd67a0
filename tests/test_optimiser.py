"""training/optimiser.py: Adam on the rows that a step touches."""
import torch

from training.optimiser import RowAdam, distinct_rows


def test_row_adam_is_adam_on_the_rows_it_touches():
    torch.manual_seed(0)
    start, grads = torch.randn(6, 3), torch.randn(4, 2, 3)
    dense, table = torch.nn.Parameter(start[:2].clone()), torch.nn.Parameter(start.clone())
    adam, rows = torch.optim.Adam([dense], lr=0.1), RowAdam([table], lr=0.1)
    for grad in grads:
        dense.grad = grad.clone()
        table.grad = torch.sparse_coo_tensor(torch.tensor([[0, 1]]), grad.clone(), (6, 3), check_invariants=True)
        adam.step(), rows.step()
    assert torch.allclose(table[:2], dense, atol=1e-6) and torch.equal(table[2:], start[2:])


def test_repeated_rows_of_a_gradient_are_summed():
    grad = torch.sparse_coo_tensor(torch.tensor([[4, 1, 4]]), torch.tensor([[1.0], [2.0], [5.0]]), (6, 1),
                                   check_invariants=True)
    rows, values = distinct_rows(grad, torch.zeros(6, dtype=torch.int32))
    assert rows.tolist() == [1, 4] and values.flatten().tolist() == [2, 6]
