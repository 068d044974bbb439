"""The corpus of bad adapters: what each is called, how a sound folder is made so, and the words
that must be in the reason for refusing it.

A folder is spoilt before it is registered, as a broken tool would leave it; one that is
`registered_before` has the sound one's digest in the registry.
"""

import math
import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.adapters.files import CONFIG, WEIGHTS
from tests import adapter_maker
from tests.spoil import (
    LAYERS,
    Q,
    absurd_header,
    added,
    beside,
    config,
    config_text,
    first,
    grown,
    header,
    header_text,
    instead,
    linked,
    linked_folder,
    many_files,
    many_tensors,
    matrix,
    number,
    overlap,
    pickled,
    shuffled,
    sparse,
    tensors,
    weights_file,
    with_header,
    zipped,
)


@dataclass(frozen=True)
class Case:
    name: str
    spoil: Callable[[Path], object]
    cause: str  # a regular expression
    registered_before: bool = False  # the digest cannot, or must not, be that of the bad files


CASES = (
    # damaged on the way
    Case("empty weights", weights_file(lambda c: b""), "truncated"),
    Case("cut in the length", weights_file(lambda c: c[:5]), "truncated"),
    Case("cut in the header", weights_file(lambda c: c[:300]), "truncated"),
    Case("cut in the numbers", weights_file(lambda c: c[: len(c) // 2]), "truncated: it has"),
    Case("last byte missing", weights_file(lambda c: c[:-1]), "truncated: it has"),
    Case("bytes left over", weights_file(lambda c: c + bytes(8)), "belong to no tensor"),
    Case("empty config", config_text(lambda c: b""), f"{CONFIG} is unreadable"),
    Case("cut config", config_text(lambda c: c[:-9]), f"{CONFIG} is unreadable"),
    Case("config as list", config_text(lambda c: b"[" + c + b"]"), "not a JSON object"),
    Case("config not UTF-8", config_text(lambda c: c[:-1] + b', "\xff": 1}'), "unreadable"),
    Case("no config", lambda f: (f / CONFIG).unlink(), f"has no {CONFIG}", True),
    Case("no weights", lambda f: (f / WEIGHTS).unlink(), f"has no {WEIGHTS}", True),
    Case("no folder", shutil.rmtree, "no adapter folder", True),
    Case("git lfs pointer", weights_file(
        lambda c: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
    ), "Git LFS pointer"),
    Case("other contents", tensors(lambda w: w.update(adapter_maker.weights(seed=9))),
         "have changed since the adapter was registered", True),
    Case("other alpha", config(lora_alpha=64), "have changed since", True),
    # numbers
    Case("NaN", number(math.nan), "contains NaN"),
    Case("NaN in half precision", number(math.nan, np.float16), "contains NaN"),
    Case("infinity", number(math.inf), "infinite number"),
    Case("minus infinity", number(-math.inf), "infinite number"),
    Case("beyond float16", number(1e5), "diverged"),
    Case("beyond float16 once scaled", number(40_000.0), "diverged"),
    Case("alpha is NaN", config_text(lambda c: c.replace(b'"lora_alpha":16', b'"lora_alpha":NaN')),
         "not JSON"),
    Case("huge alpha", config(lora_alpha=1e12), "no usable lora_alpha"),
    Case("alpha beyond floats", config_text(
        lambda c: c.replace(b'"lora_alpha":16', b'"lora_alpha":1e999')
    ), "lora_alpha|not JSON"),
    Case("negative alpha", config(lora_alpha=-16), "no usable lora_alpha"),
    # another base, another rank
    Case("wrong base", config(base_model_name_or_path="other/base"), "tuned for the base model"),
    Case("path as base", config(base_model_name_or_path="../../../etc"), "tuned for the base"),
    Case("no base", config(base_model_name_or_path=None), "tuned for the base model None"),
    Case("config says another rank", config(r=16), "but the rank is 16"),
    Case("rank that is not served", config(r=513), "rank is 513; engines serve ranks"),
    Case("rank as text", config(r="8"), "rank is '8'"),
    Case("absurd rank", config(r=2**62), "engines serve ranks from 1 to 512"),
    Case("absent layer", added(f"{LAYERS}.99.self_attn.q_proj.lora_A.weight"), "does not have"),
    Case("absent module", added(f"{LAYERS}.0.self_attn.w_pack.lora_A.weight"), "does not have"),
    Case("target without weights", config(target_modules=["q_proj", "v_proj", "down_proj", "gate"]),
         "no weights for it"),
    Case("weights without target", config(target_modules=["q_proj"]), "does not name"),
    # methods that the engine ignores or refuses late
    Case("another method", config(peft_type="IA3"), "peft_type 'IA3'"),
    Case("DoRA", config(use_dora=True), "DoRA"),
    Case("DoRA's vectors", added(f"{Q}.lora_magnitude_vector", (192,)), "not the weight of a LoRA"),
    Case("bias", config(bias="lora_only"), "tunes a bias"),
    Case("LoRA bias", config(lora_bias=True), "LoRA bias"),
    Case("modules_to_save", config(modules_to_save=["lm_head"]), "modules_to_save"),
    Case("a whole saved module", added("base_model.model.lm_head.weight"), "the whole weights"),
    Case("embeddings", added("base_model.model.model.embed_tokens.lora_A.weight"), "cannot serve"),
    Case("PiSSA", config(init_lora_weights="pissa"), "change the base model"),
    Case("a method of tomorrow", config(use_quantum=True), "use_quantum"),
    # shapes and types
    Case("A transposed", matrix("A", np.transpose), "but the rank is 8"),
    Case("B transposed", matrix("B", np.transpose), "but the rank is 8"),
    Case("A too narrow", matrix("A", lambda a: a[:, :-1]), "does not match the base"),
    Case("B too tall", matrix("B", lambda b: np.vstack([b, b])), "does not match the base"),
    Case("three dimensions", matrix("A", lambda a: a[None]), "must be a matrix"),
    Case("nothing in it", matrix("A", lambda a: a[:, :0]), "must be a matrix"),
    Case("B missing", tensors(lambda w: w.pop(f"{Q}.lora_B.weight")), "not its other half"),
    Case("halves of different modules", tensors(shuffled), "not its other half"),
    Case("extra tensor", added("base_model.model.extra"), "not the weight of a LoRA"),
    Case("integers", matrix("A", lambda a: a.astype(np.int8)), "type I8"),
    Case("doubles", matrix("A", lambda a: a.astype(np.float64)), "type F64"),
    Case("integers as floats", header(lambda h: first(h).update(dtype="F16")), "instead of"),
    Case("an unknown type", header(lambda h: first(h).update(dtype="F4")), "type F4"),
    # a header that parsers could read differently
    Case("name twice in the header", header_text(
        lambda h: h[: h.rindex(b"}")] + b"," + h[1 : h.index(b"},") + 1] + h[h.rindex(b"}") :]
    ), "twice"),
    Case("name twice in the config", config_text(lambda c: b'{"r":512,' + c[1:]), "'r' twice"),
    Case("overlapping tensors", header(overlap), "overlap or leave gaps"),
    Case("negative offset", header(lambda h: first(h).update(data_offsets=[-4, 8])),
         "whole number"),
    Case("offsets beyond 64 bits", header(
        lambda h: first(h).update(data_offsets=[0, 1e30])
    ), "whole number"),
    Case("offsets the wrong way round", header(
        lambda h: first(h).update(data_offsets=[64, 0])
    ), "overlap or leave gaps"),
    Case("shape that multiplies to zero", header(lambda h: first(h).update(shape=[2**63, 2])),
         "instead of|rank is 8"),
    Case("header is a list", weights_file(lambda c: with_header(b"[]")), "not a JSON object"),
    Case("header of texts", weights_file(lambda c: with_header(b'{"a":"b"}')), "unreadable header"),
    Case("header not UTF-8", header_text(lambda h: h.replace(b"q_proj", b"q_pr\xff\xff", 1)),
         "unreadable header"),
    Case("a lone surrogate", header_text(lambda h: h.replace(b"q_proj", b"\\ud800", 1)),
         "unreadable header"),
    Case("metadata with numbers", header(lambda h: h.update(__metadata__={"n": 1})),
         "not all texts"),
    # other formats, which can carry code
    Case("pickle beside", beside("adapter_model.bin", pickled()), "does not belong"),
    Case("torch file beside", beside("adapter_model.pt", zipped()), "does not belong"),
    Case("program beside", beside("modeling.py", b"import os"), "does not belong"),
    Case("second weights beside", beside("more.safetensors"), "does not belong"),
    Case("pickle under the name", weights_file(lambda c: pickled()), "is a pickle"),
    Case("zip bomb under the name", weights_file(lambda c: zipped()), "is a zip archive"),
    # path tricks
    Case("path as target", config(target_modules=["../../a"]), "no weights for it"),
    Case("pattern as target", config(target_modules="(a+)+$"), "not a list of names"),
    Case("path as tensor", added("base_model.model.../../a.lora_A.weight"), "does not have"),
    Case("file name not UTF-8", beside(b"\xff\xfe.exe"), "does not belong"),
    Case("file name that paints", beside("\x1b[2J\n.exe"), r"\\x1b\[2J\\n.exe does not belong"),
    Case("linked weights", instead(WEIGHTS, linked), "symbolic link", True),
    Case("linked config", instead(CONFIG, linked), "symbolic link", True),
    Case("linked file beside", lambda f: (f / "x.json").symlink_to("/etc/passwd"), "symbolic link"),
    Case("linked folder", linked_folder, "behind a link|no adapter folder", True),
    Case("weights are a pipe", instead(WEIGHTS, os.mkfifo), "not a regular file", True),
    Case("config is a pipe", instead(CONFIG, os.mkfifo), "not a regular file", True),
    Case("weights are a folder", instead(WEIGHTS, os.mkdir), "not a regular file", True),
    Case("a folder inside", lambda f: (f / "inner").mkdir(), "not a regular file"),
    # made to use up memory, disk or time
    Case("absurd header length", weights_file(
        lambda c: struct.pack("<Q", 1 << 62) + c[8:]
    ), "truncated"),
    Case("header as long as the file", absurd_header, "has a header of", True),
    Case("terabyte of zeros", sparse((8, 1 << 35), 1 << 40), "does not match the base", True),
    Case("sparse tail", grown(WEIGHTS, 1 << 40), "belong to no tensor", True),
    Case("sparse config", grown(CONFIG, 1 << 40), "far too large", True),
    Case("megabytes of config", config_text(lambda c: c[:-1] + b" " * (8 << 20) + b"}"),
         "far too large"),
    Case("huge readme", lambda f: (f / "README.md").touch() or grown("README.md", 1 << 40)(f),
         "far too large"),
    Case("deep config", config_text(lambda c: b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
         "unreadable"),
    Case("deep header", weights_file(lambda c: with_header(b"{" + b'"a":[' * 3_000)), "unreadable"),
    Case("a hundred thousand tensors", many_tensors, "has a header of"),
    Case("five thousand files", many_files, "more than 32 files"),
    Case("a name of a megabyte", header_text(lambda h: h.replace(b"q_proj", b"q" * 60_000, 1)),
         "does not have|no weights|not the weight"),
)  # fmt: skip
