"""What a person looks at after a run: the page, the picture, the model card and the last words on the terminal.

Functions of `RunSummary` and the lines of metrics.jsonl. Standard library only, but for matplotlib in `draw_loss`. This
file imports none of them: the quickest commands need the wording alone.
"""
