"""Tuning runs: the queue, the trials of a search, and the reports.

- `chart_axes`: scales, ticks and paths that every chart of a run shares
- `loss_chart`: draws training and held-out losses as SVG
- `method_choice`: which judgements a method learns from, and the method that `auto` stands for
- `methods`: the tuning methods, and what each learns from
- `phases`: the phases of a run: the stored codes and the text for people
- `report`: the report of a run, as an HTML page and as text
- `runs`: the queue of runs, and the state of each
- `search_report`: the results of a search, as text and as SVG
- `trials`: the trials of a search
"""
