REFERENCE = {"losses": [1.5, 1.25], "heldout_loss": 1.0}


def test_the_same_work_has_no_fault(part, cell):
    assert part("gate").faults(cell(), REFERENCE) == []


def test_another_first_loss_is_a_fault(part, cell):
    assert part("gate").faults(cell(losses=[1.52, 1.25]), REFERENCE) == ["step-1 loss 1.5200, reference 1.5000"]


def test_a_loss_that_is_no_number_is_a_fault(part, cell):
    assert part("gate").faults(cell(losses=[float("nan"), 1.25]), REFERENCE) == ["step-1 loss nan, reference 1.5000"]


def test_another_number_of_steps_is_a_fault(part, cell):
    assert part("gate").faults(cell(losses=[1.5]), REFERENCE) == ["1 steps, reference 2"]


def test_another_direction_of_one_gradient_is_a_fault(part, cell):
    cosines = cell()["cosines"] | {"layers.25": 0.99}
    assert part("gate").faults(cell(cosines=cosines), REFERENCE) == ["gradient cosine 0.99000 at layers.25"]


def test_another_heldout_loss_is_a_fault_in_either_direction(part, cell):
    faults = part("gate").faults
    assert [len(faults(cell(heldout_loss=loss), REFERENCE)) for loss in (0.98, 0.995, 1.005, 1.02)] == [1, 0, 0, 1]
