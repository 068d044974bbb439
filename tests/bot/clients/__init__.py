"""Programs that people use, against the running bot: `python -m tests.bot.clients`."""
