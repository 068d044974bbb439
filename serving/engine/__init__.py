"""One vLLM engine: its command line, process, files, ports and capacity.

- `capacity`: how many adapters an engine has room for, worked out from the registry
- `command`: how vLLM is started: which build is installed, its command line and its environment
- `engine`: keeps one vLLM running: a child process, supervised by one thread
- `external_engine`: an engine that somebody else runs, watched from here: the same face as
  `engine.py`'s, without the power to start or stop it
- `files`: what an engine leaves on the machine beside its answers: its log, and the sockets over
  which its processes talk
- `gpu_flags`: what an engine is told about the card it shares with tuning: flags and environment
- `host_memory`: whether a second engine fits beside the first for a moment, by what the kernel says
- `management_api`: one request to an engine's management side, and what it means when the engine
  refuses
- `ports`: who has a port of loopback: asked before an engine is started there, and again when
  something answers
- `vllm_process`: the program that `engine.py` starts: vLLM's API server, in a process that cannot
  be orphaned
"""
