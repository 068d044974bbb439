"""Tuning runs: the queue, the trials of a search, and the reports.

- `chart_axes`: scales, ticks and paths of charts, which every drawing of a run shares
- `loss_chart`: loss curves as an SVG drawing: the training loss of each step, and beside it the
  losses on what was held out: facts that training never sees, and single phrasings of facts that it
  does
- `methods`: the tuning methods: what each learns from
- `phases`: the phases of a run: codes that the store holds, and the text that people read
- `report`: what a run showed, for people who decide about its adapter: one page, and the same in
  words
- `runs`: tuning runs: the queue between those who ask for a retrain and the worker that does it
- `search_report`: what a search found, as a table and a plot: in words for a terminal, and as an
  SVG drawing
- `trials`: trials: the trainings that a run does before it settles on a recipe, and how each went
"""
