from alpaca_lora.evaluation import Annotation
from alpaca_lora.evaluation.answering import Answered
from alpaca_lora.evaluation.examples import compare_lengths, pick_examples
from alpaca_lora.evaluation.sets import Task
from alpaca_lora.models import RowLoss
from alpaca_lora.records import Record

TASKS = [Task(Record(f"task {number}", "", "x")) for number in range(30)]


def verdicts(number, shares, lengths=(5, 5)):
    return [
        Annotation(
            instruction=f"task {number}",
            output_1="b" * lengths[0],
            generator_1="base",
            output_2="m" * lengths[1],
            generator_2="new",
            preference=None if share is None else 1 + share,
            is_switched_outputs=bool(switched),
        )
        for switched, share in enumerate(shares)
    ]


def answered(losses=None):
    own = tuple(RowLoss(loss, 2) if loss is not None else None for loss in losses or [None] * 30)
    return {
        "new": Answered(("m",) * 30, (True,) * 30, own),
        "base": Answered(("b",) * 30, (True,) * 30, (RowLoss(2.0, 2),) * 30 if losses else (None,) * 30),
    }


def test_a_verdict_that_the_order_turns_is_a_half_and_a_missing_one_is_no_comparison():
    rows = [*verdicts(0, (1.0, 0.8)), *verdicts(1, (1.0, 0.0)), *verdicts(2, (1.0, None)), *verdicts(3, (0.5, 0.5))]
    found = compare_lengths(TASKS[:5], rows)
    assert [(item.place, item.share) for item in found] == [(0, 0.9), (1, 0.5), (3, 0.5)]


def test_the_same_question_twice_is_two_comparisons():
    tasks = [TASKS[0], TASKS[0]]
    rows = [*verdicts(0, (1.0, 1.0), (5, 9)), *verdicts(0, (0.0, 0.0), (5, 1))]
    assert [(item.share, item.longer) for item in compare_lengths(tasks, rows)] == [(1.0, 4), (0.0, -4)]
    equal = [*verdicts(0, (1.0, 1.0)), *verdicts(0, (0.0, 0.0))]
    assert [(item.place, item.share) for item in compare_lengths(tasks, equal)] == [(0, 1.0), (1, 0.0)]


def test_the_verdict_against_length_and_rate_comes_first():
    rows = [row for n in range(30) for row in verdicts(n, (1.0, 1.0) if n % 2 else (0.0, 0.0), (9, 12 if n % 2 else 5))]
    rows[14:16] = verdicts(7, (0.0, 0.0), (9, 60))
    examples = pick_examples(TASKS, answered(), compare_lengths(TASKS, rows))
    assert len(examples) == 20
    assert examples[0].task is TASKS[7]
    assert examples[0].why.startswith("the judge gave it 0% and 0%, where ")
    assert examples[0].why.endswith("its answer is 51 characters longer")


def test_without_a_judge_the_largest_change_of_loss_comes_first():
    losses = [2.0] * 30
    losses[4], losses[9] = 12.0, 1.0
    first, second, *_ = pick_examples(TASKS, answered(losses), ())
    assert (first.task, first.why) == (TASKS[4], "the loss of the reference answer changed by +5.00 nats per token")
    assert (second.task, second.why) == (TASKS[9], "the loss of the reference answer changed by -0.50 nats per token")


def test_without_references_there_are_examples_all_the_same():
    assert [example.why for example in pick_examples(TASKS, answered(), ())] == [""] * 20
