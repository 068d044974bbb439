"""One vLLM engine: its command line, process, files, ports and capacity.

- `capacity`: how many adapters an engine can hold, computed from the registry
- `command`: how vLLM is started: the installed build, its command line and its environment
- `engine`: keeps one vLLM running: a child process, supervised by one thread
- `external_engine`: an engine that is watched but not started or stopped here
- `files`: the files of an engine on this machine: its log and its sockets
- `gpu_flags`: flags and environment of an engine that shares its GPU with tuning
- `host_memory`: whether the machine has memory for a second engine
- `liveness`: notices an engine that accepts requests but writes nothing any more
- `lora_operations`: which LoRA operations an engine uses on a CPU
- `management_api`: requests to the management API of an engine, and their errors
- `ports`: which process listens on a loopback port
- `vllm_process`: the program that `engine.py` starts: vLLM's API server, which ends with its parent
"""
