"""`understudy demo`: the whole loop on this machine, with the shipped model and domain.

`stage.py` sets the stage (folder, store, processes, first adapter), `show.py` shows it to a
person, `rounds.py` goes round the loop without one. Nothing here is a mock: it starts the same
processes as `understudy up` and speaks to them over HTTP like any client.
"""
