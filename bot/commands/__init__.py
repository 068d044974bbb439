"""Commands: everything admins and reviewers can do, for every front end.

A front end reads a line with `grammar.parse`, runs a command that shows something with
`executor.run`, queues one that changes something with `executor.enqueue`, executes it with
`executor.execute_queued`, and renders the plain result. Nothing here depends on a front end.

- `registry`: the declaration of each command: name, help, role, arguments
- `commands`: every command, a frozen dataclass each
- `grammar`: typed lines to commands and back
- `perform`: performing one command: its context and its result
- `overview_commands`: help, status, domains, the review digest
- `adapter_commands`: list, promote, roll back, retire
- `run_commands`: list, retrain, dry run, cancel
- `trigger_commands`: when a domain retrains by itself
- `comparison_commands`: start, ramp, stop, results, decisions, policy
- `channel_commands`: a Slack channel: its domain, and which messages are answered
- `lineage_commands`: what an adapter learned from, and where a pair went
- `people_commands`: roles, and the erasure of a person's data
- `executor`: the role check, the transaction, the queue
- `command_json`: commands and results as JSON, as the queue stores them
- `roles`: the check whether a person may give a command
- `requester`: the person who gives a command, with their role as the front end knows it
- `admin`: the operations behind commands, the command line and the HTTP API
- `retrain_plan`: what a retrain would do, without doing it
- `scores`: an adapter's scores as a sentence
"""
