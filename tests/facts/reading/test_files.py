"""Whatever a person names is opened: files, archives, data sets; anything else by its true name."""

import gzip
import io
import zipfile
from pathlib import Path

import pytest
from support.files import HEADER, imported, said, triples, wordings, zipped

from rotelab.errors import InputError, LabError
from rotelab.facts.formats import hub
from rotelab.facts.reading import files
from rotelab.facts.reading.importer import read_files

FACTS = HEADER + "river,A,x\n"


@pytest.mark.parametrize(
    "data, what",
    [
        (b"%PDF-1.7 x", "is a PDF. Give a table"),
        (b"\x89PNG\r\n", "is a picture"),
        (b"SQLite format 3\0", "is an SQLite database"),
        (b"\x80\x04\x95", "is a Python pickle, which is never opened"),
        (b"<!DOCTYPE html><html>", "is a web page or XML"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "is only a pointer to the file"),
    ],
)
def test_other_files_are_refused_by_their_names(data, what):
    with pytest.raises(InputError, match=what):
        imported(data)


def test_missing_folders_and_large_files_are_refused(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"^no\.csv: there is no such file"):
        read_files([tmp_path / "no.csv"])
    with pytest.raises(InputError, match="is a folder. Name a file in it"):
        read_files([tmp_path])
    path = tmp_path / "x.csv"
    with path.open("wb") as out:
        out.truncate(500_000_000)
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("it was read"))
    with pytest.raises(InputError, match="is 500 MB; at most 400 MB are read"):
        read_files([path])


def test_a_packed_file_is_unpacked():
    assert triples(imported(gzip.compress(FACTS.encode()), "x.csv.gz")) == [("river", "A", "x")]
    with pytest.raises(InputError, match="can't be unpacked"):
        imported(gzip.compress(FACTS.encode())[:-12], "x.csv.gz")


def test_a_zip_of_facts_and_wordings_is_one_pack():
    data = zipped({
        "mine/facts.csv": FACTS,
        "mine/prompts.csv": "relation,role,language,text\nriver,train,en,{subject} lies on\n",
        "mine/README.md": "words", "__MACOSX/mine/._facts.csv": b"\0\1", ".hidden.csv": "x",
    })  # fmt: skip
    got = imported(data, "mine.zip")
    assert triples(got) == [("river", "A", "x")]
    assert wordings(got) == [("river", "train", "{subject} lies on")]
    assert [read.table.source for read in got.tables] == [
        "mine.zip/mine/facts.csv", "mine.zip/mine/prompts.csv",
    ]  # fmt: skip


def test_bad_zips_are_refused(monkeypatch):
    with pytest.raises(InputError, match="holds no table"):
        imported(zipped({"a.md": "x"}), "x.zip")
    with pytest.raises(InputError, match="holds another zip"):
        imported(zipped({"a.zip": zipped({})}), "x.zip")
    with pytest.raises(InputError, match=r"^x\.zip/a\.csv, row 1: has 2 cells"):
        imported(zipped({"a.csv": "subject,object,relation\n1,2\n"}), "x.zip")
    broken = bytearray(zipped({"a.csv": FACTS * 50}, zipfile.ZIP_STORED))
    broken[60] ^= 255
    with pytest.raises(InputError, match="can't be unpacked"):
        imported(bytes(broken), "x.zip")
    monkeypatch.setattr(files, "MAX_MEMBERS", 2)
    with pytest.raises(InputError, match="holds 3 files"):
        imported(zipped(dict.fromkeys("abc", "")), "x.zip")


def test_a_zip_bomb_is_not_unpacked(monkeypatch):
    monkeypatch.setattr(files, "MAX_BYTES", 100_000)
    with pytest.raises(InputError, match="at most 400 MB are read"):
        imported(zipped({"a.csv": bytes(1_000_000)}), "x.zip")
    with pytest.raises(InputError, match="at most 400 MB are read"):
        imported(gzip.compress(bytes(1_000_000)), "x.gz")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("[Content_Types].xml", "")
        archive.writestr("xl/x.xml", bytes(1_000_000))
    with pytest.raises(InputError, match="at most 400 MB are read"):
        imported(out.getvalue(), "x.xlsx")


# The Hub


class Hub:
    """Stands for the Hub: the files of data sets, by revision."""

    def __init__(self, monkeypatch, folder: Path, listed: dict[str | None, list[str]]):
        import huggingface_hub

        self.fetched: list[tuple] = []

        def listing(api, repository, repo_type, revision):
            if revision not in listed:
                raise ConnectionError("no network")
            return listed[revision]

        def fetch(repository, path, repo_type, revision):
            self.fetched.append((repository, path, repo_type, revision))
            target = folder / "fetched"
            target.write_text(FACTS)
            return str(target)

        monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", listing)
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)


def test_a_data_set_is_fetched_by_its_name(monkeypatch, tmp_path):
    there = Hub(monkeypatch, tmp_path, {None: ["README.md", "dataset_infos.json", "test.csv"]})
    got = read_files(["hf:owner/name"])
    assert triples(got) == [("river", "A", "x")]
    assert there.fetched == [("owner/name", "test.csv", "dataset", None)]
    assert got.tables[0].table.source == "owner/name/test.csv"
    read_files(["hf:owner/name/data/other.csv"])
    assert there.fetched[1][1] == "data/other.csv"
    read_files(["owner/name"])
    assert len(there.fetched) == 3


def test_a_data_set_in_another_form_has_a_parquet_copy(monkeypatch, tmp_path):
    there = Hub(monkeypatch, tmp_path, {None: ["x.py"], hub.CONVERTED: ["default/0000.parquet"]})
    read_files(["hf:owner/name"])
    assert there.fetched == [("owner/name", "default/0000.parquet", "dataset", hub.CONVERTED)]


def test_of_several_files_one_must_be_named(monkeypatch, tmp_path):
    Hub(monkeypatch, tmp_path, {None: ["train.csv", "test.csv"]})
    with pytest.raises(InputError, match="has 2 files. Name one: hf:owner/name/train.csv, hf:"):
        read_files(["hf:owner/name"])


def test_without_the_network_a_data_set_says_so(monkeypatch, tmp_path):
    Hub(monkeypatch, tmp_path, {})
    with pytest.raises(LabError, match="it can't be reached: that needs the network"):
        read_files(["hf:owner/name"])
    with pytest.raises(InputError, match="is no data set's name. Write hf:owner/name"):
        read_files(["hf:name"])


def test_what_is_a_file_here_is_no_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert hub.is_data_set("owner/name")
    for name in ("name", "owner/name.csv", "a/b/c", Path("owner/name"), "./name", "/x/name"):
        assert not hub.is_data_set(name)
    Path("owner").mkdir()
    assert not hub.is_data_set("owner/name")


def test_doubts_name_their_file():
    got = imported(zipped({"a.csv": FACTS, "b.csv": HEADER + "river,B,B\n"}), "x.zip")
    assert said(got).startswith("x.zip/b.csv, row 1, column 'object': 'B' is the subject itself")
